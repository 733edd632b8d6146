//! The way of packets for the appliance itself: from a worker to the control thread, and back out of a port.
//!
//! Each worker has a link of its own, two bounded rings with one end at either side, so that neither waits for the
//! other. A full ring costs the frame, and the loss is counted: a flood of foreign packets must not slow the workers
//! down.

use std::fmt;

use rtrb::{Consumer, Producer, RingBuffer};

use guideway_dataplane::egress::PortId;

/// A frame, and the port that it came in by or is to leave by.
#[derive(Debug)]
pub struct HostFrame<F> {
    /// The port.
    pub port: PortId,
    /// The frame.
    pub frame: F,
}

/// A worker's end.
pub struct HostQueue<F> {
    to_host: Producer<HostFrame<F>>,
    from_host: Consumer<HostFrame<F>>,
}

/// The control thread's end.
pub struct WorkerMailbox<F> {
    to_worker: Producer<HostFrame<F>>,
    from_worker: Consumer<HostFrame<F>>,
}

/// A link that holds at most `frames` in each direction.
pub fn host_path<F>(frames: usize) -> (HostQueue<F>, WorkerMailbox<F>) {
    let (to_host, from_worker) = RingBuffer::new(frames);
    let (to_worker, from_host) = RingBuffer::new(frames);
    (HostQueue { to_host, from_host }, WorkerMailbox { to_worker, from_worker })
}

impl<F> HostQueue<F> {
    /// Hands a frame to the control thread; false where it was dropped, because too many wait.
    #[inline]
    pub fn pass(&mut self, port: PortId, frame: F) -> bool {
        self.to_host.push(HostFrame { port, frame }).is_ok()
    }

    /// Takes a frame that the control thread wants sent.
    #[inline]
    pub fn take(&mut self) -> Option<HostFrame<F>> {
        self.from_host.pop().ok()
    }
}

impl<F> WorkerMailbox<F> {
    /// Takes the next frame that the worker has passed.
    pub fn receive(&mut self) -> Option<HostFrame<F>> {
        self.from_worker.pop().ok()
    }

    /// Has the worker send a frame; false where it was dropped, because too many wait.
    pub fn send(&mut self, port: PortId, frame: F) -> bool {
        self.to_worker.push(HostFrame { port, frame }).is_ok()
    }
}

impl<F> fmt::Debug for HostQueue<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostQueue").finish_non_exhaustive()
    }
}

impl<F> fmt::Debug for WorkerMailbox<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerMailbox").finish_non_exhaustive()
    }
}
