//! Ring of frames from one thread to another, without a lock.

use rtrb::{Consumer, Producer, PushError, RingBuffer};

use super::Burst;

/// End that frames are put into.
pub(super) struct FrameSender<F>(Producer<F>);

/// End that frames come out of.
pub(super) struct FrameReceiver<F>(Consumer<F>);

/// Makes a ring that holds `frames`.
pub(super) fn frame_ring<F>(frames: usize) -> (FrameSender<F>, FrameReceiver<F>) {
    let (sender, receiver) = RingBuffer::new(frames);
    (FrameSender(sender), FrameReceiver(receiver))
}

impl<F> FrameSender<F> {
    /// Puts in one frame.
    ///
    /// # Errors
    /// Gives the frame back if the ring is full.
    #[inline]
    pub(super) fn send(&mut self, frame: F) -> Result<(), F> {
        self.0.push(frame).map_err(|PushError::Full(frame)| frame)
    }

    /// Takes frames off the front of `burst`; those that the ring has no room for stay, in order.
    #[inline]
    pub(super) fn send_burst(&mut self, burst: &mut Burst<F>) {
        let count = self.0.slots().min(burst.len());
        let slots = self.0.write_chunk_uninit(count);
        let slots = slots.unwrap_or_else(|_| unreachable!("only this end takes slots"));
        slots.fill_from_iter(burst.drain(..count));
    }
}

impl<F> FrameReceiver<F> {
    /// Number of frames that wait.
    #[inline]
    pub(super) fn waiting(&self) -> usize {
        self.0.slots()
    }

    /// Takes the next frame.
    #[inline]
    pub(super) fn receive(&mut self) -> Option<F> {
        self.0.pop().ok()
    }

    /// Appends frames to `burst`, as many as it has room for.
    #[inline]
    pub(super) fn receive_burst(&mut self, burst: &mut Burst<F>) {
        let count = self.0.slots().min(burst.remaining_capacity());
        let frames = self.0.read_chunk(count).unwrap_or_else(|_| unreachable!("so many wait"));
        burst.extend(frames);
    }
}
