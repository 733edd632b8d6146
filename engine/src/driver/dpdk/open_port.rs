//! Port between its opening and its end: stopped and closed when nobody has it any more.
#![allow(unsafe_code)]

use std::marker::PhantomData;

use guideway_dpdk_sys as sys;

/// Configured port, which is closed with the last of its owners: the control thread's end and its queue pairs.
pub(super) struct OpenPort<'eal> {
    id: u16,
    /// True unless every frame that the driver hands over is known to lie in one mbuf.
    may_segment: bool,
    started: bool,
    /// Key of the device's hash, which drivers read when they start, by the pointer that they were configured with.
    rss_key: Vec<u8>,
    eal: PhantomData<&'eal ()>,
}

impl OpenPort<'_> {
    /// Takes over a port that is to be opened; only [`Eal::open`] does, once for each.
    ///
    /// [`Eal::open`]: super::Eal::open
    pub(super) fn new(id: u16, may_segment: bool, rss_key: Vec<u8>) -> Self {
        Self { id, may_segment, started: false, rss_key, eal: PhantomData }
    }

    /// Key of the device's hash; it stays where it is until the port is closed.
    pub(super) fn rss_key(&mut self) -> &mut [u8] {
        &mut self.rss_key
    }

    /// True if a received frame may lie in several mbufs, so that its header has to be looked at.
    pub(super) fn may_segment(&self) -> bool {
        self.may_segment
    }

    /// Number that DPDK has given the port.
    pub(super) fn id(&self) -> u16 {
        self.id
    }

    /// Notes that the port is started, and to be stopped before it is closed.
    pub(super) fn mark_started(&mut self) {
        self.started = true;
    }
}

impl Drop for OpenPort<'_> {
    fn drop(&mut self) {
        if self.started {
            // SAFETY: EAL runs, since `'eal` does not end before `self`. All that poll the port's queues hold `self`.
            unsafe { sys::rte_eth_dev_stop(self.id) };
        }
        // SAFETY: as above, and the port is stopped; nobody opens it again.
        unsafe { sys::rte_eth_dev_close(self.id) };
    }
}
