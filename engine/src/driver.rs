//! The port trait: what a worker's poll loop asks of a pair of queues, a NIC's or a test's.

use arrayvec::ArrayVec;
use guideway_dataplane::frame::Frame;
use guideway_dataplane::pipeline::BURST;

pub mod device;
#[cfg(feature = "dpdk")]
pub mod dpdk;
pub mod loopback;
pub mod steering;

/// Frames that are received, decided or sent together, in place: no burst allocates.
pub type Burst<F> = ArrayVec<F, BURST>;

/// One worker's queues of one port: one to receive from, one to send to.
///
/// Whoever has it by `&mut` is the only one to poll it, which is what drivers rely on.
pub trait QueuePair {
    /// What a frame is held in.
    type Frame: Frame;

    /// Appends what has come in to `burst`, as far as it has room; never waits.
    fn rx_burst(&mut self, burst: &mut Burst<Self::Frame>);

    /// Takes frames off the front of `burst` and sends them; what the queue has no room for stays, in order.
    fn tx_burst(&mut self, burst: &mut Burst<Self::Frame>);

    /// How many frames came in since the start and could not be handed on: too long for one mbuf, or for a worker
    /// that had no room.
    fn refused(&self) -> u64;
}
