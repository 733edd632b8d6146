//! Queues in memory that make the frames which they receive, and take back those that they send.

use std::collections::VecDeque;

use guideway_dataplane::frame::Frame;
use guideway_engine::driver::{Burst, QueuePair};

use crate::pipeline::slot::Slot;
use crate::pipeline::traffic::{Sent, Traffic};

/// Slots that go round, as many as those of the pipeline's measurement.
const SLOTS: usize = 256;

/// Queue pair that receives established connections' packets without end.
pub(in crate::pipeline) struct MemoryQueues<'t> {
    traffic: &'t Traffic,
    flows: u32,
    random: fastrand::Rng,
    /// Flows that have yet to come twice, before those that come at random.
    first: std::ops::Range<u32>,
    slots: VecDeque<Box<Slot>>,
}

impl<'t> MemoryQueues<'t> {
    /// Makes queues that receive each flow twice, and then random ones of all.
    pub(in crate::pipeline) fn new(traffic: &'t Traffic, flows: u32) -> Self {
        let slots = (0..SLOTS).map(|_| Box::new(Slot::empty())).collect();
        Self { traffic, flows, random: fastrand::Rng::with_seed(0), first: 0..2 * flows, slots }
    }
}

impl QueuePair for MemoryQueues<'_> {
    type Frame = Box<Slot>;

    #[inline]
    fn rx_burst(&mut self, burst: &mut Burst<Box<Slot>>) {
        for _ in 0..burst.remaining_capacity() {
            let flow = self.first.next().map_or_else(|| self.random.u32(..self.flows), |number| number / 2);
            let Some(mut slot) = self.slots.pop_front() else { return };
            self.traffic.receive(&mut slot, flow, Sent::InForm);
            burst.push(slot);
        }
    }

    #[inline]
    fn tx_burst(&mut self, burst: &mut Burst<Box<Slot>>) {
        self.slots.extend(burst.drain(..));
    }

    fn refused(&self) -> u64 {
        0
    }
}

impl Frame for Box<Slot> {
    #[inline]
    fn bytes(&self) -> &[u8] {
        (**self).bytes()
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        (**self).bytes_mut()
    }

    #[inline]
    fn prepend(&mut self, count: usize) -> bool {
        (**self).prepend(count)
    }

    #[inline]
    fn reframe(&mut self, count: usize, len: usize) -> Option<&mut [u8]> {
        (**self).reframe(count, len)
    }

    #[inline]
    fn truncate(&mut self, len: usize) {
        (**self).truncate(len);
    }
}
