//! A worker's share of the engine: its pipeline, its view of the snapshots, its part in ageing the conntrack table.

use std::fmt;
use std::sync::Arc;

use guideway_dataplane::affinity::TrackingHasher;
use guideway_dataplane::conntrack::{ConntrackTable, SweepCursor};
use guideway_dataplane::counters::Counters;
use guideway_dataplane::frame::Frame;
use guideway_dataplane::pipeline::{Decision, Pipeline};
use guideway_dataplane::snapshot::Snapshot;
use guideway_dataplane::time::Tick;

use crate::publish::Subscriber;

/// One worker. It moves to its thread once, and shares nothing with the others but snapshots and the table.
pub struct Worker {
    pipeline: Pipeline,
    snapshots: Subscriber<Snapshot>,
    table: Arc<ConntrackTable>,
    swept: Tick,
    cursor: SweepCursor,
}

impl Worker {
    /// A worker on `table`, whose keys all workers make with the same `hasher`.
    pub fn new(snapshots: Subscriber<Snapshot>, table: Arc<ConntrackTable>, hasher: TrackingHasher) -> Self {
        Self {
            pipeline: Pipeline::new(hasher),
            snapshots,
            table,
            swept: Tick::default(),
            cursor: SweepCursor::default(),
        }
    }

    /// One turn of the poll loop: takes the newest snapshot and decides a burst, which may be empty.
    ///
    /// # Panics
    /// As [`Pipeline::process`] does.
    pub fn poll<F: Frame>(&mut self, frames: &mut [F], decisions: &mut [Decision], now: Tick) {
        let snapshot = self.snapshots.repin();
        self.pipeline.process(frames, decisions, now, snapshot, &self.table);
        if now > self.swept {
            let due = (now.0 - self.swept.0) as usize * self.table.buckets_per_second();
            self.table.sweep(&mut self.cursor, due, |entry| snapshot.prospect(entry, now));
            self.swept = now;
        }
    }

    /// What this worker has counted.
    pub fn counters(&self) -> &Counters {
        self.pipeline.counters()
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("swept", &self.swept).finish_non_exhaustive()
    }
}
