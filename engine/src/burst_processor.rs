//! Decides bursts for one worker: the pipeline, by the newest snapshot, and a part in ageing the conntrack table.

use std::fmt;
use std::sync::Arc;

use guideway_dataplane::affinity::TrackingHasher;
use guideway_dataplane::conntrack::{ConntrackTable, Sweeps};
use guideway_dataplane::counters::Counters;
use guideway_dataplane::egress::PortId;
use guideway_dataplane::frame::Frame;
use guideway_dataplane::pipeline::{Decision, Look, Pipeline};
use guideway_dataplane::snapshot::Snapshot;
use guideway_dataplane::time::Tick;
use guideway_dataplane::traffic_counters::WorkerTrafficCounters;

use crate::publish::Subscriber;

/// Decides the bursts of one worker: it belongs to the worker's thread, and shares nothing with those of the other
/// workers but the snapshots and the conntrack table.
pub struct BurstProcessor {
    pipeline: Pipeline,
    snapshots: Subscriber<Snapshot>,
    table: Arc<ConntrackTable>,
    number: usize,
    sweeps: Sweeps,
}

impl BurstProcessor {
    /// Makes the processor of the worker of this number, which names its traffic counters, on `table`; the processors of
    /// all workers need the same `hasher`. It ages the whole table, unless it is told [of others](Self::among).
    pub fn new(
        snapshots: Subscriber<Snapshot>,
        table: Arc<ConntrackTable>,
        hasher: TrackingHasher,
        number: usize,
    ) -> Self {
        let sweeps = Sweeps::new(&table, 0, 1);
        Self { pipeline: Pipeline::new(hasher, number), snapshots, table, number, sweeps }
    }

    /// Leaves to the other workers, of so many in all, their share in ageing the table: each of them must poll.
    ///
    /// # Panics
    /// If the number of this worker is not below theirs.
    #[must_use]
    pub fn among(mut self, workers: usize) -> Self {
        self.sweeps = Sweeps::new(&self.table, self.number, workers);
        self
    }

    /// Takes the newest snapshot, decides a burst that came by a port, which may be empty, and ages a little of the conntrack table. Returns
    /// the snapshot's generation.
    ///
    /// # Panics
    /// If [`Pipeline::process`] does.
    pub fn poll<F: Frame>(
        &mut self,
        port: PortId,
        frames: &mut [F],
        decisions: &mut [Decision],
        now: Tick,
    ) -> u64 {
        let snapshot = self.snapshots.repin();
        self.pipeline.process(port, frames, decisions, now, snapshot, &self.table);
        if self.sweeps.have_work(now, frames.is_empty()) {
            let judge = |entry: &_| snapshot.standing(entry, now);
            let counted = snapshot.traffic_counters.worker(self.number);
            let census = counted.map(WorkerTrafficCounters::census);
            let swept = self.sweeps.poll(&self.table, now, frames.is_empty(), judge, census);
            self.pipeline.count_swept(swept);
        }
        snapshot.generation
    }

    /// Takes the newest snapshot, and finds the facts that a frame which came by a port would meet now, without deciding it.
    pub fn look(&mut self, port: PortId, frame: &[u8], now: Tick) -> Look {
        let snapshot = self.snapshots.repin();
        self.pipeline.look(port, frame, now, snapshot, &self.table)
    }

    /// Looks the entry of a look's connection up again, after the packet was decided.
    pub fn look_again(&self, look: &mut Look) {
        look.take_again(&self.table);
    }

    /// Counters of the packets that this processor has decided.
    pub fn counters(&self) -> &Counters {
        self.pipeline.counters()
    }
}

impl fmt::Debug for BurstProcessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BurstProcessor").field("number", &self.number).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use guideway_dataplane::address::Address;
    use guideway_dataplane::affinity::AffinityPolicy;
    use guideway_dataplane::backend::{BackendHandle, Generation};
    use guideway_dataplane::conntrack::{Entry, Inserted, Stage, Standing, TrackingKey};
    use guideway_dataplane::delivery::{Delivery, DeliveryMode, Tunnel};
    use guideway_dataplane::egress::Egress;
    use guideway_dataplane::forwarding_rule::{ForwardingRule, RuleId, RulePorts, RuleProtocol};
    use guideway_dataplane::snapshot::SnapshotBuilder;
    use guideway_dataplane::wire::ethernet::MacAddress;
    use pcap_fixtures::packet::Packet;

    use super::*;
    use crate::mbuf::Mbuf;
    use crate::publish::Publisher;

    /// One rule before one backend in an IPv4 tunnel of 20 bytes.
    fn snapshot() -> Snapshot {
        let mut builder = SnapshotBuilder::new();
        let service = builder.service(AffinityPolicy::default());
        let own = Address::v4([192, 0, 2, 1]);
        let tunnel = Tunnel { endpoint: Address::v4([10, 1, 0, 7]), source: own, source_range: None };
        let egress = Egress::to(MacAddress([2, 0, 0, 0, 1, 1]));
        builder.backend(service, "a", 1, Delivery::tunnel(DeliveryMode::Ipip, &tunnel, egress, 1500));
        let vip = Address::v4([203, 0, 113, 10]);
        builder.rule(ForwardingRule::new(vip, RuleProtocol::Udp, RulePorts::All, service));
        builder.own(own).counted_workers(1).build()
    }

    #[test]
    fn a_rule_counts_frames_as_they_came_and_a_backend_as_they_are_sent() {
        let to_vip = || Packet::between("198.51.100.7", "203.0.113.10").udp(1025, 53);
        let rows = [
            ("an outer header is the backend's alone", to_vip().payload_len(100), 142, 162),
            ("padding comes in, and does not go into the tunnel", to_vip().trailer(&[0; 18]), 60, 62),
            (
                "an answer is shorter than what it answers",
                to_vip().payload_len(1453).dont_fragment(),
                1495,
                0,
            ),
            ("what is dropped came in", to_vip().ttl(1), 42, 0),
            (
                "what is passed has no rule",
                Packet::between("198.51.100.7", "203.0.113.11").udp(1025, 53),
                0,
                0,
            ),
        ];
        for (claim, packet, received, sent) in rows {
            let publisher = Publisher::new(snapshot());
            let table = Arc::new(ConntrackTable::with_capacity(100).expect("a few kB"));
            let mut subscriber = publisher.feed().subscribe();
            let mut processor = BurstProcessor::new(
                publisher.feed().subscribe(),
                table,
                TrackingHasher::new([1, 2, 3, 4]),
                0,
            );
            let mut frames = [Mbuf::new()];
            frames[0].fill(&packet.build());
            processor.poll(PortId(0), &mut frames, &mut [Decision::PENDING], Tick(0));
            let counters = &subscriber.repin().traffic_counters;
            assert_eq!(counters.rule(RuleId(0)).volume.bytes, received, "{claim}");
            assert_eq!(counters.backend(BackendHandle(0)).volume.bytes, sent, "{claim}");
        }
    }

    /// In the first minute, while nobody has packets: later, workers take each other's share in turns.
    #[test]
    fn workers_age_a_share_of_the_table_each_and_all_of_it_together() {
        const ENTRIES: u64 = 500;
        let table = Arc::new(ConntrackTable::with_capacity(1_000).expect("24 kB"));
        for number in 0..ENTRIES {
            // An entry of a backend that no snapshot has.
            let entry = Entry {
                backend: BackendHandle(7),
                generation: Generation(0),
                persists: false,
                stage: Stage::Established,
                seen: Tick(0),
            };
            let key = TrackingKey(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            assert_eq!(table.insert(key, entry, |_| Standing::Live), Inserted::New);
        }
        let publisher = Publisher::new(snapshot());
        let swept = [0, 1, 2].map(|number| {
            let (feed, hasher) = (publisher.feed(), TrackingHasher::new([1, 2, 3, 4]));
            let mut worker =
                BurstProcessor::new(feed.subscribe(), Arc::clone(&table), hasher, number).among(3);
            for poll in 0..59 * 10 {
                worker.poll::<Mbuf>(PortId(0), &mut [], &mut [], Tick(1 + poll / 10));
            }
            worker.counters().conntrack.swept
        });
        assert_eq!(swept.iter().sum::<u64>(), ENTRIES, "{swept:?}");
        assert!(swept.iter().all(|swept| (100..240).contains(swept)), "{swept:?}");
    }
}
