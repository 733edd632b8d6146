//! Queue pairs as a worker's poll loop sees them, whether a NIC's or a test's.

use arrayvec::ArrayVec;
use guideway_dataplane::frame::Frame;
use guideway_dataplane::pipeline::BURST;

pub mod device;
#[cfg(feature = "dpdk")]
pub mod dpdk;
mod frame_ring;
pub mod gate;
pub mod loopback;
mod mempool_options;
pub mod pci_function;
pub mod queue_plan;
pub mod steering;

pub use mempool_options::MempoolOptions;

/// Frames that are received, decided or sent together, in place: no burst allocates.
pub type Burst<F> = ArrayVec<F, BURST>;

/// Queues of one port for one worker: one to receive from, one to send to.
///
/// Drivers rely on there being one thread that polls a pair: the one that holds it by `&mut`.
pub trait QueuePair {
    /// Frame that the queues receive and send.
    type Frame: Frame;

    /// Appends frames that have come in to `burst`, as many as it has room for; never waits.
    fn rx_burst(&mut self, burst: &mut Burst<Self::Frame>);

    /// Takes frames off the front of `burst` and sends them; those that the queue has no room for stay, in order.
    fn tx_burst(&mut self, burst: &mut Burst<Self::Frame>);

    /// Attends to the device at a poll that receives nothing from it: workers that keep away from a device's receive queue, or
    /// have none, keep up with its state all the same.
    fn attend(&mut self) {}

    /// Number of frames that came in since the start and could not be handed on, because they were too long for one
    /// mbuf, or because the worker that they belong to had no room.
    fn refused(&self) -> u64;

    /// Number of frames that came in several mbufs since the start, and were handed on in one.
    fn joined(&self) -> u64 {
        0
    }
}
