//! Queues of one DPDK port for one worker: an inert pair that can be sent to the worker, and the live one that it
//! polls. A pair may have one direction alone, on a device that has more queues of it than of the other.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::sync::Arc;

use guideway_dpdk_sys as sys;

use super::open_port::OpenPort;
use super::{DpdkMbuf, Lcore};
use crate::driver::{self, Burst};

/// Receive and transmit queue of a port, for one worker to take to its thread.
///
/// There is one of each, and it cannot be cloned or shared, so no two threads poll the same queue.
pub struct QueuePair<'eal> {
    port: Arc<OpenPort<'eal>>,
    rx_queue: Option<u16>,
    tx_queue: Option<u16>,
    not_sync: PhantomData<Cell<()>>,
}

impl<'eal> QueuePair<'eal> {
    /// Makes one of a port's queue pairs; only `Eal::open` does, with each queue that it has set up in one of them.
    pub(super) fn new(port: Arc<OpenPort<'eal>>, rx_queue: Option<u16>, tx_queue: Option<u16>) -> Self {
        Self { port, rx_queue, tx_queue, not_sync: PhantomData }
    }

    /// Number of the receive queue on its port; None if the pair receives nothing.
    pub fn rx_queue(&self) -> Option<u16> {
        self.rx_queue
    }

    /// Number of the transmit queue on its port; None if the pair sends nothing.
    pub fn tx_queue(&self) -> Option<u16> {
        self.tx_queue
    }
}

impl fmt::Debug for QueuePair<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueuePair")
            .field("port", &self.port.id())
            .field("rx_queue", &self.rx_queue)
            .field("tx_queue", &self.tx_queue)
            .finish()
    }
}

/// Queue pair on the thread that polls it.
#[derive(Debug)]
pub struct LiveQueues<'l, 'eal> {
    pair: QueuePair<'eal>,
    /// Number of the port, beside those of the queues.
    port: u16,
    may_segment: bool,
    refused: u64,
    /// Registration of the thread, which the queues do not leave and do not outlive.
    lcore: PhantomData<&'l Lcore<'eal>>,
}

impl<'eal> Lcore<'eal> {
    /// Takes a queue pair to poll on this thread.
    pub fn attach<'l>(&'l self, queues: QueuePair<'eal>) -> LiveQueues<'l, 'eal> {
        LiveQueues {
            port: queues.port.id(),
            may_segment: queues.port.may_segment(),
            pair: queues,
            refused: 0,
            lcore: PhantomData,
        }
    }
}

impl<'eal> LiveQueues<'_, 'eal> {
    /// Returns the queue pair, to be attached to another thread.
    pub fn detach(self) -> QueuePair<'eal> {
        self.pair
    }

    /// Frees the frames that lie in several segments, and counts them.
    #[cold]
    fn refuse_segmented(&mut self, burst: &mut Burst<DpdkMbuf<'eal>>) {
        let before = burst.len();
        burst.retain(|frame| frame.segments_but_one() == 0);
        self.refused += (before - burst.len()) as u64;
    }
}

impl<'eal> driver::QueuePair for LiveQueues<'_, 'eal> {
    type Frame = DpdkMbuf<'eal>;

    /// Frames in several segments are freed and counted: the port is set up so that each fits one mbuf.
    #[inline]
    fn rx_burst(&mut self, burst: &mut Burst<DpdkMbuf<'eal>>) {
        let Some(queue) = self.pair.rx_queue else { return };
        let before = burst.len();
        let room = burst.remaining_capacity();
        // SAFETY: the offset is at most the capacity of `burst`.
        let spare = unsafe { burst.as_mut_ptr().add(before) };
        // SAFETY: the port is started and the queue set up as long as `pair.port` lives, and nobody else polls this
        // queue. A `DpdkMbuf` is a pointer in memory, and there is room for so many behind those that `burst` holds.
        let count = unsafe { sys::guideway_rx_burst(self.port, queue, spare.cast(), room as u16) };
        // SAFETY: the driver has written `count` pointers, at most `room`, and handed over their mbufs, which are
        // initialised; each comes from the pool that its queue was set up with, or from one of the same EAL that another
        // port sent it from. Each lies in one segment: the driver makes no others, or the look below frees those that do not.
        unsafe { burst.set_len(before + usize::from(count)) };
        if !self.may_segment {
            return;
        }
        // All of them, without a branch for each: their headers come from memory side by side.
        let extra = burst[before..].iter().fold(0, |extra, frame| extra | frame.segments_but_one());
        if extra != 0 {
            self.refuse_segmented(burst);
        }
    }

    #[inline]
    fn tx_burst(&mut self, burst: &mut Burst<DpdkMbuf<'eal>>) {
        let Some(queue) = self.pair.tx_queue else { return };
        let count = burst.len();
        let mbufs = burst.as_mut_ptr().cast::<*mut sys::rte_mbuf>();
        // SAFETY: the port is started and the queue set up as long as `pair.port` lives, and nobody else polls this
        // queue. A `DpdkMbuf` is a pointer in memory, and `burst` holds `count` of them.
        let sent = unsafe { sys::guideway_tx_burst(self.port, queue, mbufs, count as u16) };
        // The driver has taken these over and frees them once they are sent.
        if usize::from(sent) == count {
            // SAFETY: nothing has zero elements to be initialised.
            unsafe { burst.set_len(0) };
        } else {
            burst.drain(..usize::from(sent)).for_each(mem::forget);
        }
    }

    fn refused(&self) -> u64 {
        self.refused
    }
}
