//! Queues that exchange one burst for another, and so cost next to nothing.

use std::mem;

use guideway_engine::driver::{Burst, QueuePair};

use crate::pipeline::slot::Slot;

/// Queues that exchange a burst that is filled beforehand.
pub(in crate::pipeline) struct WaitingBurst(Burst<Box<Slot>>);

impl WaitingBurst {
    /// Makes queues of which `burst` is received first.
    pub(in crate::pipeline) fn new(burst: Burst<Box<Slot>>) -> Self {
        Self(burst)
    }

    /// Frames that are received next: those that were sent last.
    pub(in crate::pipeline) fn frames_mut(&mut self) -> &mut [Box<Slot>] {
        &mut self.0
    }
}

impl QueuePair for WaitingBurst {
    type Frame = Box<Slot>;

    #[inline]
    fn rx_burst(&mut self, burst: &mut Burst<Box<Slot>>) {
        mem::swap(&mut self.0, burst);
    }

    #[inline]
    fn tx_burst(&mut self, burst: &mut Burst<Box<Slot>>) {
        mem::swap(&mut self.0, burst);
    }

    fn refused(&self) -> u64 {
        0
    }
}
