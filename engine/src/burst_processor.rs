//! Decides bursts for one worker: the pipeline, by the newest snapshot, and a part in ageing the conntrack table.

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

/// Seconds in which an idle worker passes over the whole conntrack table: entries that have outlived their use are
/// counted as occupied for about so long. A busy worker takes a day, as it must.
const IDLE_PASS_SECONDS: usize = 60;

/// Buckets that an idle poll sweeps: about a microsecond's worth, so that a packet that comes meanwhile hardly waits.
const IDLE_SWEEP: usize = 16;

/// Decides the bursts of one worker: it belongs to the worker's thread, and shares nothing with those of the other
/// workers but the snapshots and the conntrack table.
pub struct BurstProcessor {
    /// Number of the worker, which names its traffic counters.
    number: usize,
    pipeline: Pipeline,
    snapshots: Subscriber<Snapshot>,
    table: Arc<ConntrackTable>,
    /// Tick of the latest sweep that was due by time.
    swept: Tick,
    cursor: SweepCursor,
    /// Buckets that idle polls may still sweep in this second.
    spare_buckets: usize,
}

impl BurstProcessor {
    /// Makes the processor of worker 0 on `table`; the processors of all workers need the same `hasher`.
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

    /// Gives the processor to the worker of this number, which names its traffic counters.
    #[must_use]
    pub fn numbered(self, number: usize) -> Self {
        Self { number, ..self }
    }

    /// Takes the newest snapshot, decides a burst, which may be empty, and ages a little of the conntrack table. Returns
    /// the snapshot's generation.
    ///
    /// # Panics
    /// If [`Pipeline::process`] does.
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

    /// Counters of the packets that this processor has decided.
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
