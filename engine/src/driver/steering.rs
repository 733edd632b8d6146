//! Steers frames to workers in software, on a device that has fewer queues than there are workers, or does not spread
//! flows over them.
//!
//! ```text
//! device: receive queue 0 → worker 0 ─┬─ its own share
//!                                     ├─ ring → worker 2
//!         receive queue 1 → worker 1 ─┼─ ring → worker 2        and back: worker 2 → ring → worker 0 → transmit queue 0
//!                                     └─ its own share
//! ```
//!
//! A worker that polls a queue of the device hands each frame to the worker that its flow falls to, itself among them, as
//! the [plan](QueuePlan) says. A flow's packets stay with one worker and so in order, in both directions where the device
//! puts both into one queue; which worker that is does not matter, as all share the connections. Fragments go by addresses
//! and protocol alone: the worker that forwards the first of a datagram must get the later ones, which have no ports.
//! The parse for it costs a part of what a NIC's RSS would save: this is for devices that leave no choice. A worker without
//! a transmit queue of its own hands its frames to one that has one, which sends them before it next receives.

use std::fmt;

use guideway_dataplane::frame::Frame;
use guideway_dataplane::packet::Packet;

use super::frame_ring::{FrameReceiver, FrameSender, frame_ring};
use super::queue_plan::{QueuePlan, SLOTS};
use super::{Burst, QueuePair};

/// Rings between a port's workers, as one of them holds them.
pub struct Rings<F> {
    steering: Option<Steering<F>>,
    /// Ends of the rings by which others hand over this worker's share.
    from_pollers: Vec<FrameReceiver<F>>,
    /// Ring to the worker that sends this one's frames.
    to_carrier: Option<FrameSender<F>>,
    /// Ends of the rings of workers whose frames this one sends.
    carried: Vec<FrameReceiver<F>>,
}

/// Shares of the receive queue that a worker polls.
struct Steering<F> {
    /// By slot: 0 for the worker itself, or the index of a follower's ring and 1.
    owners: Box<[u8; SLOTS]>,
    followers: Vec<FrameSender<F>>,
}

/// Makes the rings that a plan needs, for each worker by its number. Those to one worker hold `rx_descriptors` frames
/// together, those from one `tx_descriptors`: as many as queues of its own would.
pub fn rings<F>(plan: &QueuePlan, rx_descriptors: usize, tx_descriptors: usize) -> Vec<Rings<F>> {
    let mut all: Vec<Rings<F>> = (0..plan.workers()).map(|_| Rings::none()).collect();
    for queue in 0..plan.rx_queues() {
        let shares = plan.shares(queue);
        let mut steering = Steering { owners: Box::new([0; SLOTS]), followers: Vec::new() };
        let mut slot = shares[0].slots;
        for share in &shares[1..] {
            let sources = plan.distributors(share.worker).len();
            let (sender, receiver) = frame_ring(rx_descriptors.div_ceil(sources));
            steering.followers.push(sender);
            all[usize::from(share.worker)].from_pollers.push(receiver);
            steering.owners[slot..slot + share.slots].fill(steering.followers.len() as u8);
            slot += share.slots;
        }
        if !steering.followers.is_empty() {
            all[usize::from(plan.poller(queue))].steering = Some(steering);
        }
    }
    for worker in 0..plan.workers() {
        if let Some(carrier) = plan.carrier(worker) {
            let (sender, receiver) = frame_ring(tx_descriptors);
            all[usize::from(worker)].to_carrier = Some(sender);
            all[usize::from(carrier)].carried.push(receiver);
        }
    }
    all
}

impl<F> Rings<F> {
    /// No ring: the worker has queues of its own, and polls and sends for itself alone.
    fn none() -> Self {
        Self { steering: None, from_pollers: Vec::new(), to_carrier: None, carried: Vec::new() }
    }

    fn is_none(&self) -> bool {
        self.steering.is_none()
            && self.from_pollers.is_empty()
            && self.to_carrier.is_none()
            && self.carried.is_empty()
    }
}

/// Queues of one port for one worker: its own of the device, or some that it shares with others.
#[derive(Debug)]
pub enum WorkerQueues<Q: QueuePair> {
    /// The worker has queues of the device for itself.
    Own(Q),
    /// The worker shares queues of the device with others.
    Shared(Box<SharedQueues<Q>>),
}

/// Queues that a worker shares with others.
pub struct SharedQueues<Q: QueuePair> {
    /// Queues of the device, of one direction or both; None if the worker goes by rings alone.
    own: Option<Q>,
    rings: Rings<Q::Frame>,
    /// Frames of the device that are not shared out yet.
    incoming: Burst<Q::Frame>,
    /// Frames of others that the device has no room for yet.
    outgoing: Burst<Q::Frame>,
    /// Frames that a follower had no room for.
    missed: u64,
}

impl<Q: QueuePair> WorkerQueues<Q> {
    /// Makes a worker's queues of what it has of the device, and of its rings.
    pub fn new(own: Option<Q>, rings: Rings<Q::Frame>) -> Self {
        match own {
            Some(own) if rings.is_none() => Self::Own(own),
            own => Self::Shared(Box::new(SharedQueues {
                own,
                rings,
                incoming: Burst::new(),
                outgoing: Burst::new(),
                missed: 0,
            })),
        }
    }
}

impl<Q: QueuePair> SharedQueues<Q> {
    fn rx_burst(&mut self, burst: &mut Burst<Q::Frame>) {
        self.carry();
        if !self.rings.from_pollers.is_empty() {
            for ring in &mut self.rings.from_pollers {
                ring.receive_burst(burst);
            }
            // The ring that came first comes last the next time.
            self.rings.from_pollers.rotate_left(1);
            if let Some(own) = &mut self.own {
                own.attend();
            }
            return;
        }
        let Some(own) = &mut self.own else { return };
        let Some(steering) = &mut self.rings.steering else { return own.rx_burst(burst) };
        match self.incoming.is_empty() {
            true => own.rx_burst(&mut self.incoming),
            false => own.attend(),
        }
        let count = self.incoming.len().min(burst.remaining_capacity());
        for frame in self.incoming.drain(..count) {
            match steering.owners[slot_of(frame.bytes())] {
                0 => burst.push(frame),
                nth => {
                    let ring = &mut steering.followers[usize::from(nth) - 1];
                    self.missed += u64::from(ring.send(frame).is_err());
                }
            }
        }
    }

    fn tx_burst(&mut self, burst: &mut Burst<Q::Frame>) {
        match (&mut self.rings.to_carrier, &mut self.own) {
            (Some(ring), _) => ring.send_burst(burst),
            (None, Some(own)) => own.tx_burst(burst),
            (None, None) => {}
        }
    }

    /// Sends the frames of workers without a transmit queue. Those that the device has no room for wait here; frames that
    /// find their worker's ring full meanwhile are counted by that worker.
    fn carry(&mut self) {
        let Some(own) = &mut self.own else { return };
        for ring in &mut self.rings.carried {
            ring.receive_burst(&mut self.outgoing);
            if !self.outgoing.is_empty() {
                own.tx_burst(&mut self.outgoing);
            }
        }
        if self.rings.carried.len() > 1 {
            self.rings.carried.rotate_left(1);
        }
    }
}

/// Slot that a frame falls to: that of its flow, or 0, which is the poller's own, if it has no flow.
fn slot_of(frame: &[u8]) -> usize {
    Packet::parse(frame).map_or(0, |packet| (packet.flow.meeting_point() as usize * SLOTS) >> u32::BITS)
}

impl<Q: QueuePair> QueuePair for WorkerQueues<Q> {
    type Frame = Q::Frame;

    #[inline]
    fn rx_burst(&mut self, burst: &mut Burst<Q::Frame>) {
        match self {
            Self::Own(queues) => queues.rx_burst(burst),
            Self::Shared(queues) => queues.rx_burst(burst),
        }
    }

    #[inline]
    fn tx_burst(&mut self, burst: &mut Burst<Q::Frame>) {
        match self {
            Self::Own(queues) => queues.tx_burst(burst),
            Self::Shared(queues) => queues.tx_burst(burst),
        }
    }

    fn refused(&self) -> u64 {
        match self {
            Self::Own(queues) => queues.refused(),
            Self::Shared(queues) => queues.own.as_ref().map_or(0, Q::refused) + queues.missed,
        }
    }

    fn joined(&self) -> u64 {
        match self {
            Self::Own(queues) => queues.joined(),
            Self::Shared(queues) => queues.own.as_ref().map_or(0, Q::joined),
        }
    }
}

impl<F> fmt::Debug for Rings<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let followers = self.steering.as_ref().map_or(0, |steering| steering.followers.len());
        f.debug_struct("Rings")
            .field("followers", &followers)
            .field("pollers", &self.from_pollers.len())
            .field("carried", &self.carried.len())
            .finish_non_exhaustive()
    }
}

impl<Q: QueuePair> fmt::Debug for SharedQueues<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedQueues").field("missed", &self.missed).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use pcap_fixtures::packet::Packet as Built;
    use proptest::prelude::*;

    use super::*;
    use crate::driver::loopback::{LoopbackQueues, Wire, loopback};
    use crate::mbuf::Mbuf;

    type Queues = WorkerQueues<Half>;

    /// Queues in memory, of which a worker may have one direction alone.
    struct Half {
        queues: LoopbackQueues<Mbuf>,
        receives: bool,
        sends: bool,
        /// Number of polls, with a receive queue or without.
        polls: usize,
    }

    impl QueuePair for Half {
        type Frame = Mbuf;

        fn rx_burst(&mut self, burst: &mut Burst<Mbuf>) {
            assert!(self.receives, "nobody polls a queue that it has not");
            self.polls += 1;
            self.queues.rx_burst(burst);
        }

        fn tx_burst(&mut self, burst: &mut Burst<Mbuf>) {
            assert!(self.sends, "nobody sends by a queue that it has not");
            self.queues.tx_burst(burst);
        }

        fn attend(&mut self) {
            self.polls += 1;
        }

        fn refused(&self) -> u64 {
            0
        }
    }

    /// Makes a device in memory, a wire to each of its queues, and the workers on it.
    fn workers(plan: &QueuePlan, descriptors: usize) -> (Vec<Wire<Mbuf>>, Vec<Queues>) {
        let mut wires = Vec::new();
        let rings = rings(plan, descriptors, descriptors);
        let queues = (0..plan.workers()).zip(rings).map(|(worker, rings)| {
            let (receives, sends) = (plan.rx_queue(worker).is_some(), plan.tx_queue(worker).is_some());
            let own = (receives || sends).then(|| {
                let (queues, wire) = loopback(1024);
                wires.push(wire);
                Half { queues, receives, sends, polls: 0 }
            });
            WorkerQueues::new(own, rings)
        });
        let queues = queues.collect();
        (wires, queues)
    }

    fn plan(workers: u16, rx_queues: u16, tx_queues: u16) -> QueuePlan {
        QueuePlan::new((0..workers).collect(), rx_queues, tx_queues)
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

    /// Lets every worker receive and send until nothing comes any more; returns the numbers that each received.
    fn drain(workers: &mut [Queues]) -> Vec<Vec<u16>> {
        let mut received = vec![Vec::new(); workers.len()];
        let mut burst = Burst::new();
        for _ in 0..200 {
            for (queues, numbers) in workers.iter_mut().zip(&mut received) {
                queues.rx_burst(&mut burst);
                numbers.extend(burst.iter().map(number));
                queues.tx_burst(&mut burst);
                burst.clear();
            }
        }
        received
    }

    /// Sends `count` segments of 64 flows to the device's receive queues, each flow to one, and holds each worker to
    /// them; returns how many each received, and how many left by each queue.
    fn share(plan: &QueuePlan, count: u16) -> (Vec<usize>, Vec<usize>) {
        const FLOWS: u16 = 640;
        let (mut wires, mut workers) = workers(plan, 1024);
        for (nth, mbuf) in segments(FLOWS, count).enumerate() {
            let queue = nth % usize::from(FLOWS) % usize::from(plan.rx_queues());
            wires[queue].send(mbuf).expect("1024 descriptors");
        }
        let received = drain(&mut workers);
        let mut owner = vec![None; usize::from(FLOWS)];
        for (worker, numbers) in received.iter().enumerate() {
            assert!(numbers.is_sorted() || plan.distributors(worker as u16).len() > 1);
            for number in numbers {
                let flow = usize::from(number % FLOWS);
                assert_eq!(*owner[flow].get_or_insert(worker), worker, "a flow stays with one worker");
            }
        }
        let sent = wires.iter_mut().map(|wire| std::iter::from_fn(|| wire.receive()).count()).collect();
        assert_eq!(workers.iter().map(QueuePair::refused).sum::<u64>(), 0);
        (received.iter().map(Vec::len).collect(), sent)
    }

    #[test]
    fn a_flow_stays_with_one_worker_in_order_and_every_worker_has_flows() {
        for (workers, rx_queues, tx_queues) in [(3, 1, 1), (7, 4, 4), (7, 4, 2), (5, 2, 5), (4, 4, 1)] {
            let plan = plan(workers, rx_queues, tx_queues);
            let (received, sent) = share(&plan, 1000);
            assert_eq!(received.iter().sum::<usize>(), 1000, "{plan}");
            assert!(received.iter().all(|count| *count > 30), "{plan}: {received:?}");
            assert_eq!(sent.iter().sum::<usize>(), 1000, "{plan}");
            let used = sent.iter().filter(|count| **count > 0).count();
            assert_eq!(used, usize::from(tx_queues), "{plan}: {sent:?}");
        }
    }

    #[test]
    fn queues_of_its_own_are_polled_without_a_detour() {
        let (_, own) = workers(&plan(2, 2, 2), 4);
        assert!(own.iter().all(|queues| matches!(queues, WorkerQueues::Own(_))));
        let (_, shared) = workers(&plan(2, 2, 1), 4);
        assert!(shared.iter().all(|queues| matches!(queues, WorkerQueues::Shared(_))));
    }

    #[test]
    fn a_worker_looks_at_its_queues_at_every_poll_whatever_it_has_of_the_device() {
        for (workers_of, rx_queues, tx_queues) in [(2, 2, 2), (4, 1, 3), (4, 3, 1), (3, 1, 1), (5, 2, 4)] {
            let plan = plan(workers_of, rx_queues, tx_queues);
            let (_wires, mut workers) = workers(&plan, 64);
            for queues in &mut workers {
                (0..10).for_each(|_| queues.rx_burst(&mut Burst::new()));
                let own = match queues {
                    WorkerQueues::Own(own) => Some(own),
                    WorkerQueues::Shared(shared) => shared.own.as_mut(),
                };
                assert!(own.is_none_or(|own| own.polls == 10), "{plan}");
            }
        }
    }

    #[test]
    fn both_directions_and_all_fragments_between_two_ends_meet_at_one_worker() {
        let steering =
            rings::<Mbuf>(&plan(3, 1, 1), 64, 64).remove(0).steering.expect("a device of one queue");
        let mut seen = [0; 3];
        for number in 0..60 {
            let (here, there) = (format!("192.0.2.{number}"), format!("198.51.{number}.9"));
            let (out, back) = (Built::between(&here, &there), Built::between(&there, &here));
            let worker = |packet: Built| steering.owners[slot_of(&packet.build())];
            let whole = worker(out.clone().tcp(1000 + number, 80, 0x10));
            assert_eq!(whole, worker(back.clone().tcp(80, 1000 + number, 0x10)));
            let parts = |packet: Built| packet.payload_len(3000).fragments(1480);
            let fragments: Vec<u8> = [out.udp(1000 + number, 53), back.udp(53, 1000 + number)]
                .into_iter()
                .flat_map(parts)
                .map(worker)
                .collect();
            assert!(
                fragments.len() >= 6 && fragments.iter().all(|worker| *worker == fragments[0]),
                "{fragments:?}"
            );
            seen[usize::from(whole)] += 1;
        }
        assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
    }

    #[test]
    fn what_followers_send_leaves_by_the_device_and_what_they_cannot_take_is_counted() {
        let (mut wires, mut workers) = workers(&plan(3, 1, 1), 4);
        for mbuf in segments(50, 60) {
            wires[0].send(mbuf).expect("1024 descriptors");
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
        // Frames that the last of them sent wait for the next poll of the worker with the queue.
        workers[0].rx_burst(&mut burst);
        assert_eq!(std::iter::from_fn(|| wires[0].receive()).count() as u64, received);
        assert!(workers[0].refused() > 0);
        assert_eq!(received + workers[0].refused(), 60);
    }

    proptest! {
        #[test]
        fn rings_hold_as_much_as_queues_would_and_reach_every_worker(
            (workers, rx_queues, tx_queues) in (1..=64_u16, 1..=64_u16, 1..=64_u16),
        ) {
            let plan = plan(workers, rx_queues, tx_queues);
            let all = rings::<Mbuf>(&plan, 64, 64);
            for (worker, rings) in (0..workers).zip(&all) {
                prop_assert_eq!(rings.from_pollers.len(), plan.distributors(worker).len());
                prop_assert_eq!(rings.to_carrier.is_some(), plan.tx_queue(worker).is_none());
                if let Some(steering) = &rings.steering {
                    // Slots fall to the workers in the plan's proportions.
                    let queue = plan.rx_queue(worker).expect("only a poller shares out");
                    for (nth, share) in plan.shares(queue).iter().enumerate() {
                        let owned = steering.owners.iter().filter(|owner| usize::from(**owner) == nth).count();
                        prop_assert_eq!(owned, share.slots);
                    }
                }
            }
        }
    }
}
