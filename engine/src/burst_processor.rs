//! A worker's share of the engine: its pipeline, its view of the snapshots, its part in ageing the conntrack table.

use std::fmt;
use std::sync::Arc;

use guideway_dataplane::affinity::TrackingHasher;
use guideway_dataplane::conntrack::{ConntrackTable, SweepCursor};
use guideway_dataplane::counters::Counters;
use guideway_dataplane::forwarding_rule::RuleId;
use guideway_dataplane::frame::Frame;
use guideway_dataplane::pipeline::{Decision, Pipeline};
use guideway_dataplane::snapshot::Snapshot;
use guideway_dataplane::time::Tick;
use guideway_dataplane::traffic_counters::{Volume, WorkerTrafficCounters};
use guideway_dataplane::verdict::Verdict;

use crate::publish::Subscriber;

/// How long a pass of an idle worker over the conntrack table takes: entries that have outlived their use are counted as
/// there for about so long. A busy worker takes a day, as it must.
const IDLE_PASS_SECONDS: usize = 60;

/// How many buckets an idle poll sweeps: about a microsecond's worth, so that a packet that comes meanwhile hardly waits.
const IDLE_SWEEP: usize = 16;

/// One worker among those of an appliance. It moves to its thread once, and shares nothing with the others but snapshots and the table.
pub struct BurstProcessor {
    number: usize,
    pipeline: Pipeline,
    snapshots: Subscriber<Snapshot>,
    table: Arc<ConntrackTable>,
    swept: Tick,
    cursor: SweepCursor,
    /// Buckets that idle polls may still sweep in this second.
    spare_buckets: usize,
}

impl BurstProcessor {
    /// The first worker on `table`, or the only one; all workers make their keys with the same `hasher`.
    pub fn new(snapshots: Subscriber<Snapshot>, table: Arc<ConntrackTable>, hasher: TrackingHasher) -> Self {
        Self {
            number: 0,
            pipeline: Pipeline::new(hasher),
            snapshots,
            table,
            swept: Tick::default(),
            cursor: SweepCursor::default(),
            spare_buckets: 0,
        }
    }

    /// The same worker under another number, which names its traffic_counters.
    #[must_use]
    pub fn numbered(self, number: usize) -> Self {
        Self { number, ..self }
    }

    /// One turn of the poll loop: takes the newest snapshot and decides a burst, which may be empty. Returns the
    /// snapshot's generation.
    ///
    /// # Panics
    /// As [`Pipeline::process`] does.
    pub fn poll<F: Frame>(&mut self, frames: &mut [F], decisions: &mut [Decision], now: Tick) -> u64 {
        let snapshot = self.snapshots.repin();
        self.pipeline.process(frames, decisions, now, snapshot, &self.table);
        if let Some(traffic_counters) = snapshot.traffic_counters.worker(self.number) {
            count_traffic(traffic_counters, frames, decisions);
        }
        let mut due = 0;
        if now > self.swept {
            due = (now.0 - self.swept.0) as usize * self.table.buckets_per_second();
            self.swept = now;
            self.spare_buckets = self.table.bucket_count() / IDLE_PASS_SECONDS;
        } else if frames.is_empty() && self.spare_buckets > 0 {
            due = self.spare_buckets.min(IDLE_SWEEP);
            self.spare_buckets -= due;
        }
        if due > 0 {
            let swept = self.table.sweep(&mut self.cursor, due, |entry| snapshot.prospect(entry, now));
            self.pipeline.count_swept(swept);
        }
        snapshot.generation
    }

    /// What this worker has counted.
    pub fn counters(&self) -> &Counters {
        self.pipeline.counters()
    }
}

/// Counts each packet for its rule, and each forwarded one for its backend.
#[inline]
fn count_traffic<F: Frame>(traffic_counters: &WorkerTrafficCounters, frames: &[F], decisions: &[Decision]) {
    // Neighbours mostly have one rule: what they add to it is added at once.
    let mut rule = RuleId(0);
    let mut volume = Volume::default();
    for (frame, decision) in frames.iter().zip(decisions) {
        let Some((own_rule, _)) = decision.rule else { continue };
        let bytes = frame.bytes().len() as u64;
        if own_rule != rule {
            traffic_counters.count_rule(rule, std::mem::take(&mut volume));
            rule = own_rule;
        }
        volume.add(Volume { packets: 1, bytes });
        if let (Verdict::Forward, Some(backend)) = (decision.verdict, decision.backend) {
            traffic_counters.count_backend(backend, bytes);
        }
    }
    traffic_counters.count_rule(rule, volume);
}

impl fmt::Debug for BurstProcessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BurstProcessor").field("swept", &self.swept).finish_non_exhaustive()
    }
}
