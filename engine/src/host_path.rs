//! Carries packets for the appliance itself from a worker to the control thread, and the control thread's own to a
//! worker's ports.
//!
//! Each worker has a host path of its own: two bounded rings, one in each direction, so that neither side waits for the
//! other. The worker has the [`HostQueue`], the control thread the [`WorkerMailbox`]. A
//! full ring costs the frame, and the loss is counted: a flood of foreign packets must not slow the workers down.

use std::fmt;

use rtrb::{Consumer, Producer, RingBuffer};

use guideway_dataplane::egress::PortId;

/// Frame on the host path, with the port that it came in by or is to leave by.
#[derive(Debug)]
pub struct HostFrame<F> {
    /// Port that the frame came in by, or is to leave by.
    pub port: PortId,
    /// Frame from its Ethernet header on.
    pub frame: F,
}

/// Worker's end of its host path: passes frames to the control thread, and takes those that it is to send.
pub struct HostQueue<F> {
    to_host: Producer<HostFrame<F>>,
    from_host: Consumer<HostFrame<F>>,
}

/// Control thread's end of one worker's host path: receives passed frames, and hands over frames to send.
pub struct WorkerMailbox<F> {
    to_worker: Producer<HostFrame<F>>,
    from_worker: Consumer<HostFrame<F>>,
}

/// Makes the two ends of a host path that holds at most `frames` in each direction.
pub fn host_path<F>(frames: usize) -> (HostQueue<F>, WorkerMailbox<F>) {
    let (to_host, from_worker) = RingBuffer::new(frames);
    let (to_worker, from_host) = RingBuffer::new(frames);
    (HostQueue { to_host, from_host }, WorkerMailbox { to_worker, from_worker })
}

impl<F> HostQueue<F> {
    /// Hands a frame to the control thread; false if it was dropped because too many wait.
    #[inline]
    pub fn pass(&mut self, port: PortId, frame: F) -> bool {
        self.to_host.push(HostFrame { port, frame }).is_ok()
    }

    /// Takes the next frame that the control thread has this worker send.
    #[inline]
    pub fn take(&mut self) -> Option<HostFrame<F>> {
        self.from_host.pop().ok()
    }
}

impl<F> WorkerMailbox<F> {
    /// Takes the next frame that the worker has passed to the appliance itself.
    pub fn receive(&mut self) -> Option<HostFrame<F>> {
        self.from_worker.pop().ok()
    }

    /// Hands the worker a frame to send; false if it was dropped because too many wait.
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
