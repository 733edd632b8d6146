//! Queues of one DPDK port for one worker: an inert pair that can be sent to the worker, and the live one that it
//! polls.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use guideway_dataplane::pipeline::BURST;
use guideway_dpdk_sys as sys;

use super::open_port::OpenPort;
use super::{DpdkMbuf, Lcore};
use crate::driver::{self, Burst};

/// Receive and transmit queue of a port, for one worker to take to its thread.
///
/// There is one of each, and it cannot be cloned or shared, so no two threads poll the same queue.
pub struct QueuePair<'eal> {
    port: Arc<OpenPort<'eal>>,
    queue: u16,
    not_sync: PhantomData<Cell<()>>,
}

impl<'eal> QueuePair<'eal> {
    /// Makes one of a port's queue pairs; only [`OpenPort`] does, one for each queue that it has set up.
    pub(super) fn new(port: Arc<OpenPort<'eal>>, queue: u16) -> Self {
        Self { port, queue, not_sync: PhantomData }
    }

    /// Number of the queues on their port.
    pub fn queue(&self) -> u16 {
        self.queue
    }
}

impl fmt::Debug for QueuePair<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueuePair").field("port", &self.port.id()).field("queue", &self.queue).finish()
    }
}

/// Queue pair on the thread that polls it.
#[derive(Debug)]
pub struct LiveQueues<'l, 'eal> {
    pair: QueuePair<'eal>,
    refused: u64,
    /// Registration of the thread, which the queues do not leave and do not outlive.
    lcore: PhantomData<&'l Lcore<'eal>>,
}

impl<'eal> Lcore<'eal> {
    /// Takes a queue pair to poll on this thread.
    pub fn attach<'l>(&'l self, queues: QueuePair<'eal>) -> LiveQueues<'l, 'eal> {
        LiveQueues { pair: queues, refused: 0, lcore: PhantomData }
    }
}

impl<'eal> LiveQueues<'_, 'eal> {
    /// Returns the queue pair, to be attached to another thread.
    pub fn detach(self) -> QueuePair<'eal> {
        self.pair
    }
}

impl<'eal> driver::QueuePair for LiveQueues<'_, 'eal> {
    type Frame = DpdkMbuf<'eal>;

    /// Frames in several segments are freed and counted: the port is set up so that each fits one mbuf.
    #[inline]
    fn rx_burst(&mut self, burst: &mut Burst<DpdkMbuf<'eal>>) {
        let mut mbufs: [*mut sys::rte_mbuf; BURST] = [ptr::null_mut(); BURST];
        let room = burst.remaining_capacity() as u16;
        // SAFETY: the port is started and the queue set up as long as `pair.port` lives, and nobody else polls this
        // queue. `room` is at most the capacity of `burst`, which is the length of `mbufs`.
        let count =
            unsafe { sys::guideway_rx_burst(self.pair.port.id(), self.pair.queue, mbufs.as_mut_ptr(), room) };
        for mbuf in mbufs.into_iter().take(usize::from(count)).filter_map(NonNull::new) {
            // SAFETY: the driver has handed over the mbufs that it counted; each comes from the pool that its queue
            // was set up with, or from one of the same EAL that another port sent it from.
            match unsafe { DpdkMbuf::from_raw(mbuf) } {
                Some(frame) => burst.push(frame),
                None => self.refused += 1,
            }
        }
    }

    #[inline]
    fn tx_burst(&mut self, burst: &mut Burst<DpdkMbuf<'eal>>) {
        let count = burst.len() as u16;
        let mbufs = burst.as_mut_ptr().cast::<*mut sys::rte_mbuf>();
        // SAFETY: the port is started and the queue set up as long as `pair.port` lives, and nobody else polls this
        // queue. A `DpdkMbuf` is a pointer in memory, and `burst` holds `count` of them.
        let sent = unsafe { sys::guideway_tx_burst(self.pair.port.id(), self.pair.queue, mbufs, count) };
        // The driver has taken these over and frees them once they are sent.
        burst.drain(..usize::from(sent)).for_each(mem::forget);
    }

    fn refused(&self) -> u64 {
        self.refused
    }
}
