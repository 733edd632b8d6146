//! Measures one kind of queues: alone, with the pipeline, and in the poll loop, by turns.

use std::sync::Arc;

use guideway_dataplane::affinity::TrackingHasher;
use guideway_dataplane::conntrack::ConntrackTable;
use guideway_dataplane::egress::PortId;
use guideway_dataplane::pipeline::{BURST, Decision};
use guideway_dataplane::snapshot::Snapshot;
use guideway_engine::burst_processor::BurstProcessor;
use guideway_engine::clock::{Clock, CoarseClock};
use guideway_engine::counters::counters;
use guideway_engine::driver::{Burst, QueuePair};
use guideway_engine::host_path::host_path;
use guideway_engine::poll_loop::PollLoop;
use guideway_engine::publish::Publisher;

use super::Effort;
use super::shared::Shared;
use crate::pinned::processor_ns;
use crate::pipeline::scenario::Scenario;

/// Frames that a host path holds; nothing is passed.
const HOST_FRAMES: usize = 64;

/// Queues that are polled by turns, and all that polls them.
pub(super) struct ByTurns<Q: QueuePair> {
    queues: Shared<Q>,
    processor: BurstProcessor,
    poll_loop: PollLoop<Shared<Q>>,
    clock: CoarseClock,
    burst: Burst<Q::Frame>,
    decisions: [Decision; BURST],
    /// Owner of the snapshot.
    _publisher: Publisher<Snapshot>,
}

impl<Q: QueuePair> ByTurns<Q> {
    /// Makes processor and poll loop over a table of their own, and has them see every flow twice.
    pub(super) fn new(scenario: &Scenario, queues: Q) -> Self {
        let publisher = Publisher::new(scenario.snapshot(1));
        let table =
            Arc::new(ConntrackTable::with_capacity(scenario.capacity()).expect("memory for the table"));
        let clock = Clock::start();
        let queues = Shared::new(queues);
        let processor = |number| {
            let hasher = TrackingHasher::new([11, 12, 13, 14]);
            BurstProcessor::new(publisher.feed().subscribe(), Arc::clone(&table), hasher, number)
        };
        let (host_queue, _) = host_path(HOST_FRAMES);
        let ports = vec![queues.clone()];
        let mut by_turns = Self {
            poll_loop: PollLoop::new(processor(0), ports, host_queue, clock, counters().0),
            processor: processor(0),
            queues,
            clock: clock.coarse(),
            burst: Burst::new(),
            decisions: [Decision::PENDING; BURST],
            _publisher: publisher,
        };
        // Two rounds of a capture, or twice each flow.
        by_turns.turn_over((2 * scenario.flows).div_ceil(BURST));
        by_turns
    }

    /// Returns the nanoseconds per packet of the queues alone, with the pipeline, in the poll loop, and by `alone`.
    ///
    /// # Panics
    /// If a packet was not forwarded, or not sent.
    pub(super) fn measure(&mut self, effort: Effort, alone: &mut impl FnMut(usize) -> f64) -> [f64; 4] {
        let mut least = [f64::INFINITY; 4];
        let packets = (effort.bursts * BURST) as f64;
        for _ in 0..effort.runs {
            let taken = [
                pass_through(&mut self.queues, &mut self.burst, effort.bursts),
                self.decide(effort.bursts),
                self.turn_over(effort.bursts),
                alone(effort.bursts),
            ];
            least.iter_mut().zip(taken).for_each(|(least, taken)| *least = least.min(taken / packets));
        }
        let counted = self.poll_loop.counters();
        assert_eq!(counted.pipeline.forwarded, counted.pipeline.offered, "every packet has a backend");
        assert_eq!(counted.io.sent, counted.pipeline.offered, "none is lost");
        least
    }

    /// Measures the queues with the pipeline between.
    #[inline(never)]
    fn decide(&mut self, bursts: usize) -> f64 {
        let start = processor_ns();
        for _ in 0..bursts {
            self.queues.rx_burst(&mut self.burst);
            let now = self.clock.now();
            self.processor.poll(PortId(0), &mut self.burst, &mut self.decisions, now);
            self.queues.tx_burst(&mut self.burst);
            self.burst.clear();
        }
        processor_ns() - start
    }

    /// Measures the poll loop.
    #[inline(never)]
    fn turn_over(&mut self, bursts: usize) -> f64 {
        let start = processor_ns();
        for _ in 0..bursts {
            self.poll_loop.turn();
        }
        processor_ns() - start
    }
}

/// Measures the queues alone: nanoseconds of so many bursts.
#[inline(never)]
pub(super) fn pass_through<Q: QueuePair>(queues: &mut Q, burst: &mut Burst<Q::Frame>, bursts: usize) -> f64 {
    let start = processor_ns();
    for _ in 0..bursts {
        queues.rx_burst(burst);
        assert!(burst.is_full(), "the queues have packets without end");
        queues.tx_burst(burst);
        burst.clear();
    }
    processor_ns() - start
}
