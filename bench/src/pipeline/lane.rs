//! Lane of one worker of the benchmark: frames come into its slots, and the engine decides them.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use guideway_dataplane::affinity::TrackingHasher;
use guideway_dataplane::conntrack::ConntrackTable;
use guideway_dataplane::counters::Counters;
use guideway_dataplane::egress::PortId;
use guideway_dataplane::pipeline::{BURST, Decision};
use guideway_dataplane::snapshot::Snapshot;
use guideway_dataplane::time::Tick;
use guideway_engine::burst_processor::BurstProcessor;
use guideway_engine::clock::CoarseClock;
use guideway_engine::publish::Feed;
use hdrhistogram::Histogram;

use super::slot::Slot;
use super::traffic::{Sent, Traffic};
use crate::pinned::processor_ns;

/// Slots that go round: a receive ring's worth of frames in the second-level cache.
const SLOTS: usize = 256;

/// Nanoseconds of the longest burst that is recorded as it is.
const LONGEST_NANOS: u64 = 1_000_000_000;

/// State that one worker has on its own core.
pub(super) struct Lane<'t> {
    processor: BurstProcessor,
    traffic: &'t Traffic,
    slots: Box<[Slot]>,
    decisions: [Decision; BURST],
    next: usize,
    clock: CoarseClock,
    /// Seconds by which the lane is ahead of its clock.
    ahead: u32,
}

impl<'t> Lane<'t> {
    /// Makes the lane of worker `number` among those that share `table`.
    pub(super) fn new(
        number: usize,
        feed: &Feed<Snapshot>,
        table: &Arc<ConntrackTable>,
        traffic: &'t Traffic,
        clock: CoarseClock,
    ) -> Self {
        let hasher = TrackingHasher::new([11, 12, 13, 14]);
        Self {
            processor: BurstProcessor::new(feed.subscribe(), Arc::clone(table), hasher, number),
            traffic,
            slots: (0..SLOTS).map(|_| Slot::empty()).collect(),
            decisions: [Decision::PENDING; BURST],
            next: 0,
            clock,
            ahead: 0,
        }
    }

    /// Lets a second pass.
    pub(super) fn pass_a_second(&mut self) {
        self.ahead += 1;
    }

    /// Measures the nanoseconds for which the worker has a processor for `bursts` bursts of the flows that `flows`
    /// names, the making of frames included.
    #[inline(never)]
    pub(super) fn forward(&mut self, bursts: usize, sent: Sent, mut flows: impl FnMut() -> u32) -> f64 {
        let start = processor_ns();
        for _ in 0..bursts {
            let window = self.receive(sent, &mut flows);
            self.decide(window);
        }
        processor_ns() - start
    }

    /// Measures the nanoseconds that the making of the frames takes by itself.
    #[inline(never)]
    pub(super) fn make(&mut self, bursts: usize, sent: Sent, mut flows: impl FnMut() -> u32) -> f64 {
        let start = processor_ns();
        for _ in 0..bursts {
            let window = self.receive(sent, &mut flows);
            black_box(&mut self.slots[window..window + BURST]);
        }
        processor_ns() - start
    }

    /// Records the nanoseconds that the worker takes for each of `bursts` bursts.
    pub(super) fn time(
        &mut self,
        bursts: usize,
        sent: Sent,
        mut flows: impl FnMut() -> u32,
    ) -> Histogram<u64> {
        let mut histogram = Histogram::new_with_max(LONGEST_NANOS, 3).expect("three digits up to a second");
        for _ in 0..bursts {
            let window = self.receive(sent, &mut flows);
            let start = Instant::now();
            self.decide(window);
            histogram.saturating_record(start.elapsed().as_nanos() as u64);
        }
        histogram
    }

    /// Counters of the worker.
    pub(super) fn counters(&self) -> &Counters {
        self.processor.counters()
    }

    #[inline]
    fn receive(&mut self, sent: Sent, flows: &mut impl FnMut() -> u32) -> usize {
        let window = self.next;
        self.next = (window + BURST) % SLOTS;
        for slot in &mut self.slots[window..window + BURST] {
            self.traffic.receive(slot, flows(), sent);
        }
        window
    }

    #[inline]
    fn decide(&mut self, window: usize) {
        let now = Tick(self.clock.now().0 + self.ahead);
        let frames = &mut self.slots[window..window + BURST];
        self.processor.poll(PortId(0), frames, &mut self.decisions, now);
        black_box(&mut self.decisions);
    }
}
