//! Queues in memory: frames that a test or a benchmark puts in at one end come out at the other.

use std::fmt;

use guideway_dataplane::frame::Frame;

use super::frame_ring::{FrameReceiver, FrameSender, frame_ring};
use super::{Burst, QueuePair};

/// Queue pair in memory, with a fixed number of descriptors.
pub struct LoopbackQueues<F> {
    rx: FrameReceiver<F>,
    tx: FrameSender<F>,
}

/// Far end of [`LoopbackQueues`], as a cable is to a port.
pub struct Wire<F> {
    to_port: FrameSender<F>,
    from_port: FrameReceiver<F>,
}

/// Makes a queue pair with `descriptors` for each direction, and the wire to it.
pub fn loopback<F>(descriptors: usize) -> (LoopbackQueues<F>, Wire<F>) {
    let (to_port, rx) = frame_ring(descriptors);
    let (tx, from_port) = frame_ring(descriptors);
    (LoopbackQueues { rx, tx }, Wire { to_port, from_port })
}

impl<F: Frame> QueuePair for LoopbackQueues<F> {
    type Frame = F;

    #[inline]
    fn rx_burst(&mut self, burst: &mut Burst<F>) {
        self.rx.receive_burst(burst);
    }

    #[inline]
    fn tx_burst(&mut self, burst: &mut Burst<F>) {
        self.tx.send_burst(burst);
    }

    fn refused(&self) -> u64 {
        0
    }
}

impl<F> Wire<F> {
    /// Puts a frame on the wire, for the port to receive.
    ///
    /// # Errors
    /// Gives the frame back where the port has no descriptor for it.
    pub fn send(&mut self, frame: F) -> Result<(), F> {
        self.to_port.send(frame)
    }

    /// Takes the next frame that the port has sent.
    pub fn receive(&mut self) -> Option<F> {
        self.from_port.receive()
    }
}

impl<F> fmt::Debug for LoopbackQueues<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopbackQueues").field("waiting", &self.rx.waiting()).finish_non_exhaustive()
    }
}

impl<F> fmt::Debug for Wire<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("waiting", &self.from_port.waiting()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use guideway_dataplane::pipeline::BURST;

    use super::*;
    use crate::mbuf::Mbuf;

    fn mbuf(byte: u8) -> Mbuf {
        let mut mbuf = Mbuf::new();
        mbuf.fill(&[byte]);
        mbuf
    }

    fn bytes(burst: &Burst<Mbuf>) -> Vec<u8> {
        burst.iter().map(|mbuf| mbuf.bytes()[0]).collect()
    }

    #[test]
    fn a_burst_takes_what_it_has_room_for_and_the_rest_waits() {
        let (mut queues, mut wire) = loopback(64);
        for byte in 0..40 {
            wire.send(mbuf(byte)).expect("64 descriptors");
        }
        let mut burst = Burst::new();
        queues.rx_burst(&mut burst);
        assert_eq!(bytes(&burst), (0..BURST as u8).collect::<Vec<_>>());
        burst.clear();
        queues.rx_burst(&mut burst);
        assert_eq!(bytes(&burst), (BURST as u8..40).collect::<Vec<_>>());
    }

    #[test]
    fn a_full_queue_leaves_frames_in_the_burst_in_their_order() {
        let (mut queues, mut wire) = loopback(3);
        let mut burst: Burst<_> = (0..5).map(mbuf).collect();
        queues.tx_burst(&mut burst);
        assert_eq!(bytes(&burst), [3, 4]);
        assert_eq!(wire.receive().expect("three were sent").bytes(), [0]);
        queues.tx_burst(&mut burst);
        assert_eq!(bytes(&burst), [4]);
    }
}
