//! Queues that several owners poll by turns, on one thread.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;

use guideway_engine::driver::{Burst, QueuePair};

/// Owner of queues that others own too.
pub(in crate::pipeline) struct Shared<Q>(Rc<RefCell<Q>>);

impl<Q> Shared<Q> {
    /// Makes the first owner.
    pub(in crate::pipeline) fn new(queues: Q) -> Self {
        Self(Rc::new(RefCell::new(queues)))
    }

    /// Queues, between polls.
    pub(in crate::pipeline) fn borrow_mut(&self) -> RefMut<'_, Q> {
        self.0.borrow_mut()
    }
}

impl<Q> Clone for Shared<Q> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<Q: QueuePair> QueuePair for Shared<Q> {
    type Frame = Q::Frame;

    #[inline]
    fn rx_burst(&mut self, burst: &mut Burst<Q::Frame>) {
        self.0.borrow_mut().rx_burst(burst);
    }

    #[inline]
    fn tx_burst(&mut self, burst: &mut Burst<Q::Frame>) {
        self.0.borrow_mut().tx_burst(burst);
    }

    fn refused(&self) -> u64 {
        self.0.borrow().refused()
    }
}
