//! Port between its opening and its end: stopped and closed when nobody has it any more, or when its device is removed.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};

use guideway_dpdk_sys as sys;

use crate::driver::gate::Gate;

/// Configured port, which is closed with the last of its owners: the control thread's end and its queue pairs.
pub(super) struct OpenPort<'eal> {
    id: u16,
    /// True unless every frame that the driver hands over is known to lie in one mbuf.
    may_segment: bool,
    /// True if the device may take VLAN tags off, once it filters VLANs.
    may_strip_tags: bool,
    /// True while tags that the device has taken off are to be put back: networks of the port are in VLANs. Without any, a tag is
    /// that of a VLAN that the PF keeps its VF in, and no frame is to have it.
    restores_tags: AtomicBool,
    /// True for a bond, which sends messages of its own as part of its transmit function.
    is_bond: bool,
    /// Key of the device's hash, which drivers read when they start, by the pointer that they were configured with.
    rss_key: Vec<u8>,
    /// Gate that each worker with queues of the port looks at before it polls them.
    gate: Gate,
    closed: AtomicBool,
    /// True while a reset has the driver to itself.
    claimed: AtomicBool,
    /// True while DPDK has the device: false once it was given back, to be made anew.
    plugged: AtomicBool,
    /// True from the time at which the device was given back until its next one serves.
    is_new: AtomicBool,
    eal: PhantomData<&'eal ()>,
}

impl OpenPort<'_> {
    /// Takes over a port that is to be opened; only [`Eal::open`] does, once for each.
    ///
    /// [`Eal::open`]: super::Eal::open
    pub(super) fn new(id: u16, is_bond: bool, may_strip_tags: bool, rss_key: Vec<u8>) -> Self {
        Self {
            id,
            may_segment: true,
            may_strip_tags,
            restores_tags: AtomicBool::new(false),
            is_bond,
            rss_key,
            gate: Gate::new(0),
            closed: AtomicBool::new(false),
            claimed: AtomicBool::new(false),
            plugged: AtomicBool::new(true),
            is_new: AtomicBool::new(false),
            eal: PhantomData,
        }
    }

    /// Makes the gate for so many queue pairs, once it is known how many the device takes.
    pub(super) fn admit(&mut self, queue_pairs: u16) {
        self.gate = Gate::new(queue_pairs.into());
    }

    /// Notes that the driver hands over each frame in one mbuf.
    pub(super) fn mark_whole(&mut self) {
        self.may_segment = false;
    }

    /// Key of the device's hash; it stays where it is until the port is closed.
    pub(super) fn rss_key(&self) -> &[u8] {
        &self.rss_key
    }

    /// True if a received frame may lie in several mbufs, so that its header has to be looked at.
    pub(super) fn may_segment(&self) -> bool {
        self.may_segment
    }

    /// True if the device may take VLAN tags off, once it filters VLANs.
    pub(super) fn may_strip_tags(&self) -> bool {
        self.may_strip_tags
    }

    /// True while tags that the device has taken off are to be put back.
    #[inline]
    pub(super) fn restores_tags(&self) -> bool {
        // Relaxed: it carries nothing but itself.
        self.restores_tags.load(Ordering::Relaxed)
    }

    /// Says from now on whether tags are put back.
    pub(super) fn restore_tags(&self, restores: bool) {
        // Relaxed: it carries nothing but itself.
        self.restores_tags.store(restores, Ordering::Relaxed);
    }

    /// True for a bond.
    pub(super) fn is_bond(&self) -> bool {
        self.is_bond
    }

    /// Number that DPDK has given the port.
    #[inline]
    pub(super) fn id(&self) -> u16 {
        self.id
    }

    /// Gate that keeps workers from polling the port while its device is reset; a queue pair is its user by its number.
    #[inline]
    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Claims the driver for a reset or a removal; false if another one has it.
    pub(super) fn claim_driver(&self) -> bool {
        // Acquire: pairs with the Release in `release_driver`; what the last one did is over.
        !self.claimed.swap(true, Ordering::Acquire)
    }

    /// Gives the driver back; only whoever has claimed it does.
    pub(super) fn release_driver(&self) {
        self.claimed.store(false, Ordering::Release);
    }

    /// True while DPDK has the device.
    pub(super) fn is_plugged(&self) -> bool {
        // Relaxed: whoever has claimed the driver reads what the last one wrote, by way of the claim.
        self.plugged.load(Ordering::Relaxed)
    }

    /// Notes that DPDK has the device, or has it no longer; only whoever has claimed the driver does.
    pub(super) fn set_plugged(&self, plugged: bool) {
        self.plugged.store(plugged, Ordering::Relaxed);
        if !plugged {
            // Relaxed: as above.
            self.is_new.store(true, Ordering::Relaxed);
        }
    }

    /// Takes the word that the device is another one than when this was asked last.
    pub(super) fn take_new(&self) -> bool {
        // Relaxed: read once the reset has come to its end, by way of a channel or on the same thread.
        self.is_new.swap(false, Ordering::Relaxed)
    }

    /// True until the port is closed.
    pub(super) fn is_open(&self) -> bool {
        // Relaxed: the control thread reads what it wrote itself.
        !self.closed.load(Ordering::Relaxed)
    }

    /// Stops and closes the port, once. Whoever calls this has made sure that nobody polls it, now or later.
    pub(super) fn close(&self) {
        // Relaxed: the last owner sees it by way of the counter of owners.
        if self.closed.swap(true, Ordering::Relaxed) || !self.is_plugged() {
            return;
        }
        // SAFETY: EAL runs, since `'eal` does not end before `self`, and nobody polls. A port that does not run is left as it is.
        unsafe { sys::rte_eth_dev_stop(self.id) };
        // SAFETY: as above, and the port is stopped; nobody opens it again.
        unsafe { sys::rte_eth_dev_close(self.id) };
    }
}

impl Drop for OpenPort<'_> {
    fn drop(&mut self) {
        // All that poll the port's queues hold `self`.
        self.close();
    }
}
