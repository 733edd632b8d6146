//! Steers frames to workers in software, on a device that has one queue pair or does not spread flows over its
//! queues.
//!
//! ```text
//! device → distributor ─┬─ its own share → worker 0
//!                       ├─ ring → follower → worker 1
//!                       └─ ring → follower → worker 2      and back the same way
//! ```
//!
//! One worker polls the device and hands each frame to the worker that its flow falls to, itself among them. A flow's
//! packets stay with one worker and so in order, in both directions; which worker that is does not matter, as all share
//! the connections. Fragments go by addresses and protocol alone: the worker that forwards the first of a datagram must
//! get the later ones, which have no ports.
//! The parse for it costs the distributor a part of what a NIC's RSS would save it: this is for devices that leave no
//! choice.

use std::fmt;

use guideway_dataplane::frame::Frame;
use guideway_dataplane::packet::Packet;

use super::loopback::{LoopbackQueues, Wire, loopback};
use super::{Burst, QueuePair};

/// Queues of one port for one worker: its own of the device, or by way of the distributor.
#[derive(Debug)]
pub enum WorkerQueues<Q: QueuePair> {
    /// The worker has queues of the device for itself.
    Own(Q),
    /// The worker polls the device for all workers.
    Distributor(Distributor<Q>),
    /// The worker gets its share from the distributor.
    Follower(LoopbackQueues<Q::Frame>),
}

/// Rings to the followers, on their way to the worker that is to be the distributor.
#[derive(Debug)]
pub struct Followers<F>(Vec<Wire<F>>);

/// Makes the rings between a distributor and `count` followers, of `descriptors` each way; returns the distributor's
/// ends and the followers'.
pub fn followers<F>(count: usize, descriptors: usize) -> (Followers<F>, Vec<LoopbackQueues<F>>) {
    let (queues, wires) = (0..count).map(|_| loopback(descriptors)).unzip();
    (Followers(wires), queues)
}

/// Queue pair that one worker polls for all workers.
pub struct Distributor<Q: QueuePair> {
    queues: Q,
    followers: Followers<Q::Frame>,
    incoming: Burst<Q::Frame>,
    /// Frames of the followers that the device has no room for yet.
    outgoing: Burst<Q::Frame>,
    /// Frames that a follower had no room for.
    missed: u64,
}

impl<Q: QueuePair> Distributor<Q> {
    /// Makes the distributor that polls `queues` for its worker and the followers.
    pub fn new(queues: Q, followers: Followers<Q::Frame>) -> Self {
        Self { queues, followers, incoming: Burst::new(), outgoing: Burst::new(), missed: 0 }
    }

    fn rx_burst(&mut self, burst: &mut Burst<Q::Frame>) {
        self.send_for_followers();
        if self.incoming.is_empty() {
            self.queues.rx_burst(&mut self.incoming);
        }
        let workers = self.followers.0.len() + 1;
        let count = self.incoming.len().min(burst.remaining_capacity());
        for frame in self.incoming.drain(..count) {
            match worker_of(frame.bytes(), workers) {
                0 => burst.push(frame),
                worker => self.missed += u64::from(self.followers.0[worker - 1].send(frame).is_err()),
            }
        }
    }

    /// Sends the followers' frames. Those that the device has no room for wait here; frames that find a follower's
    /// ring full meanwhile are counted by that follower.
    fn send_for_followers(&mut self) {
        for wire in &mut self.followers.0 {
            while !self.outgoing.is_full()
                && let Some(frame) = wire.receive()
            {
                self.outgoing.push(frame);
            }
            if !self.outgoing.is_empty() {
                self.queues.tx_burst(&mut self.outgoing);
            }
        }
    }
}

/// Index of the worker that a frame belongs to: that of its flow, or 0, the distributor, if it has no flow.
fn worker_of(frame: &[u8], workers: usize) -> usize {
    Packet::parse(frame).map_or(0, |packet| (packet.flow.meeting_point() as usize * workers) >> u32::BITS)
}

impl<Q: QueuePair> QueuePair for WorkerQueues<Q> {
    type Frame = Q::Frame;

    #[inline]
    fn rx_burst(&mut self, burst: &mut Burst<Q::Frame>) {
        match self {
            Self::Own(queues) => queues.rx_burst(burst),
            Self::Distributor(distributor) => distributor.rx_burst(burst),
            Self::Follower(queues) => queues.rx_burst(burst),
        }
    }

    #[inline]
    fn tx_burst(&mut self, burst: &mut Burst<Q::Frame>) {
        match self {
            Self::Own(queues) => queues.tx_burst(burst),
            Self::Distributor(distributor) => distributor.queues.tx_burst(burst),
            Self::Follower(queues) => queues.tx_burst(burst),
        }
    }

    fn refused(&self) -> u64 {
        match self {
            Self::Own(queues) => queues.refused(),
            Self::Distributor(distributor) => distributor.queues.refused() + distributor.missed,
            Self::Follower(queues) => queues.refused(),
        }
    }

    fn joined(&self) -> u64 {
        match self {
            Self::Own(queues) => queues.joined(),
            Self::Distributor(distributor) => distributor.queues.joined(),
            Self::Follower(queues) => queues.joined(),
        }
    }
}

impl<Q: QueuePair> fmt::Debug for Distributor<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Distributor").field("missed", &self.missed).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use pcap_fixtures::packet::Packet as Built;

    use super::*;
    use crate::mbuf::Mbuf;

    type Queues = WorkerQueues<LoopbackQueues<Mbuf>>;

    /// Makes a device in memory, and three workers on its one queue pair.
    fn three_workers(descriptors: usize) -> (Wire<Mbuf>, Vec<Queues>) {
        let (device, wire) = loopback(1024);
        let (followers, theirs) = followers(2, descriptors);
        let mut workers = vec![WorkerQueues::Distributor(Distributor::new(device, followers))];
        workers.extend(theirs.into_iter().map(WorkerQueues::Follower));
        (wire, workers)
    }

    /// Makes segments of `flows` connections in turn; a segment's number is in its payload.
    fn segments(flows: u16, count: u16) -> impl Iterator<Item = Mbuf> {
        (0..count).map(move |number| {
            let packet = Built::between("192.0.2.1", "203.0.113.10").tcp(1000 + number % flows, 80, 0x10);
            let mut mbuf = Mbuf::new();
            mbuf.fill(&packet.payload(&number.to_be_bytes()).build());
            mbuf
        })
    }

    fn number(mbuf: &Mbuf) -> u16 {
        let bytes = mbuf.bytes();
        u16::from_be_bytes([bytes[54], bytes[55]])
    }

    #[test]
    fn a_flow_stays_with_one_worker_in_order_and_every_worker_has_flows() {
        let (mut wire, mut workers) = three_workers(1024);
        for mbuf in segments(50, 1000) {
            wire.send(mbuf).expect("1024 descriptors");
        }
        let mut received: [Vec<u16>; 3] = Default::default();
        let mut burst = Burst::new();
        for _ in 0..1000 / 32 + 1 {
            for (queues, numbers) in workers.iter_mut().zip(&mut received) {
                queues.rx_burst(&mut burst);
                numbers.extend(burst.drain(..).map(|mbuf| number(&mbuf)));
            }
        }
        assert_eq!(received.iter().map(Vec::len).sum::<usize>(), 1000);
        let mut owner = [None; 50];
        for (worker, numbers) in received.iter().enumerate() {
            assert!(numbers.len() > 100, "{} of 1000 segments", numbers.len());
            assert!(numbers.is_sorted());
            for number in numbers {
                assert_eq!(*owner[usize::from(number % 50)].get_or_insert(worker), worker);
            }
        }
    }

    #[test]
    fn both_directions_and_all_fragments_between_two_ends_meet_at_one_worker() {
        let mut seen = [false; 3];
        for number in 0..40 {
            let (here, there) = (format!("192.0.2.{number}"), format!("198.51.{number}.9"));
            let (out, back) = (Built::between(&here, &there), Built::between(&there, &here));
            let worker = |packet: Built| worker_of(&packet.build(), 3);
            let whole = worker(out.clone().tcp(1000 + number, 80, 0x10));
            assert_eq!(whole, worker(back.clone().tcp(80, 1000 + number, 0x10)));
            let parts = |packet: Built| packet.payload_len(3000).fragments(1480);
            let fragments: Vec<usize> = [out.udp(1000 + number, 53), back.udp(53, 1000 + number)]
                .into_iter()
                .flat_map(parts)
                .map(worker)
                .collect();
            assert!(
                fragments.len() >= 6 && fragments.iter().all(|worker| *worker == fragments[0]),
                "{fragments:?}"
            );
            seen[whole] = true;
        }
        assert_eq!(seen, [true; 3]);
    }

    #[test]
    fn what_followers_send_leaves_by_the_device_and_what_they_cannot_take_is_counted() {
        let (mut wire, mut workers) = three_workers(4);
        for mbuf in segments(50, 60) {
            wire.send(mbuf).expect("1024 descriptors");
        }
        let mut burst = Burst::new();
        let mut received = 0;
        for _ in 0..3 {
            for queues in &mut workers {
                queues.rx_burst(&mut burst);
                received += burst.len() as u64;
                queues.tx_burst(&mut burst);
                assert!(burst.is_empty());
            }
        }
        assert_eq!(std::iter::from_fn(|| wire.receive()).count() as u64, received);
        assert!(workers[0].refused() > 0);
        assert_eq!(received + workers[0].refused(), 60);
    }
}
