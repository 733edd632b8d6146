//! Carries packets for the appliance itself from a worker to the control thread, and the control thread's own to a
//! worker's ports.
//!
//! Each worker has a host path of its own: two bounded rings, one in each direction, so that neither side waits for the
//! other. The worker has the [`HostQueue`], the control thread the [`WorkerMailbox`]. A
//! full ring costs the frame, and the loss is counted: a flood of foreign packets must not slow the workers down.
//!
//! Nor must a flood keep others out. So few frames of one sort may wait at once, and of one sender in it: a flood of ARP leaves
//! the answers to probes their room, a neighbour that floods leaves room to all others, and a flood that comes by a router
//! leaves room to the router's own ARP and neighbour discovery, and to the answers of backends behind it.

mod waiting;

use std::fmt;
use std::sync::Arc;

use rtrb::{Consumer, Producer, RingBuffer};

use guideway_dataplane::address::Address;
use guideway_dataplane::egress::PortId;
use guideway_dataplane::frame::Frame;
use waiting::{Claim, Waiting};

pub use waiting::{MOST_OF_A_SENDER, MOST_OF_A_SORT};

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
    to_host: Producer<(HostFrame<F>, Claim)>,
    waiting: Arc<Waiting>,
    from_host: Consumer<HostFrame<F>>,
}

/// Control thread's end of one worker's host path: receives passed frames, and hands over frames to send.
pub struct WorkerMailbox<F> {
    to_worker: Producer<HostFrame<F>>,
    from_worker: Consumer<(HostFrame<F>, Claim)>,
    waiting: Arc<Waiting>,
}

/// Makes the two ends of a host path that holds at most `frames` in each direction.
pub fn host_path<F>(frames: usize) -> (HostQueue<F>, WorkerMailbox<F>) {
    let (to_host, from_worker) = RingBuffer::new(frames);
    let (to_worker, from_host) = RingBuffer::new(frames);
    let waiting = Arc::new(Waiting::new());
    let mailbox = WorkerMailbox { to_worker, from_worker, waiting: Arc::clone(&waiting) };
    (HostQueue { to_host, waiting, from_host }, mailbox)
}

impl<F> HostQueue<F> {
    /// Hands a frame to the control thread; false if it was dropped because too many wait: in all, of its sort, or of its
    /// sender in that sort.
    #[inline]
    pub fn pass(&mut self, port: PortId, frame: F) -> bool
    where
        F: Frame,
    {
        let Some(claim) = self.waiting.claim(frame.bytes()) else { return false };
        let is_passed = self.to_host.push((HostFrame { port, frame }, claim)).is_ok();
        if !is_passed {
            self.waiting.refuse(claim);
        }
        is_passed
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
        let (passed, claim) = self.from_worker.pop().ok()?;
        self.waiting.release(claim);
        Some(passed)
    }

    /// Frames that the worker could not pass, because too many waited.
    pub fn refused(&self) -> u64 {
        self.waiting.refused()
    }

    /// Frames of ARP and neighbour discovery that the worker could not pass: answers of neighbours may be among them.
    pub fn refused_of_neighbours(&self) -> u64 {
        self.waiting.refused_of_neighbours()
    }

    /// Sets the appliance's own addresses, whose packets have a room of their own: answers to probes are among them.
    pub fn set_own_addresses(&self, addresses: impl IntoIterator<Item = Address>) {
        self.waiting.set_own(addresses);
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
