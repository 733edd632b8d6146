//! From probe to packet: the time from a probe that turns a backend to workers that forward by it.
//!
//! ```text
//!  probe ends ── decided ──▶ published (generation) ──▶ each worker's first poll by it
//!  └────────────────────── the publish latency ──────────────────────────────────────┘ the last worker's
//! ```
//!
//! Workers tell the newest snapshot alone. One that has gone on to a later snapshot before it was asked has that one's
//! time: what is measured is never too short.

use std::collections::VecDeque;
use std::time::Duration;

use guideway_engine::counters::Adoption;
use hdrhistogram::Histogram;

/// Publications that may wait for their workers; more than a few wait for one worker that is stalled.
const PENDING: usize = 1_024;

/// The longest time that is told apart, in microseconds.
const LONGEST_MICROS: u64 = 600_000_000;

/// The times from deciding probes to workers that forward by them.
#[derive(Debug)]
pub(super) struct PublishLatency {
    /// End of the first probe whose outcome no snapshot has yet.
    decided: Option<Duration>,
    /// The newest generation that is known.
    generation: u64,
    pending: VecDeque<Publication>,
    /// In microseconds.
    histogram: Histogram<u64>,
}

/// A snapshot that has the outcome of a probe.
#[derive(Debug)]
struct Publication {
    generation: u64,
    /// End of the first probe that decided something in it.
    decided: Duration,
    /// By worker: time of the first poll by it.
    adopted: Box<[Option<Duration>]>,
}

impl PublishLatency {
    /// A measurement that begins while the snapshot of `generation` is the newest.
    pub(super) fn new(generation: u64) -> Self {
        let histogram = Histogram::new_with_max(LONGEST_MICROS, 2).expect("two digits up to ten minutes");
        Self { decided: None, generation, pending: VecDeque::new(), histogram }
    }

    /// Notes that a probe, which ended at this time, has changed something that the next snapshot will have.
    pub(super) fn decide(&mut self, ended: Duration) {
        self.decided = Some(self.decided.map_or(ended, |decided| decided.min(ended)));
    }

    /// Takes in that all decisions so far are in the snapshot of `generation`, and which snapshots the workers poll by.
    pub(super) fn look(&mut self, generation: u64, adoptions: impl ExactSizeIterator<Item = Adoption>) {
        let decided = self.decided.take();
        if generation != self.generation {
            self.generation = generation;
            if let Some(decided) = decided.filter(|_| self.pending.len() < PENDING) {
                let adopted = vec![None; adoptions.len()].into_boxed_slice();
                self.pending.push_back(Publication { generation, decided, adopted });
            }
        }
        if self.pending.is_empty() {
            return;
        }
        for (worker, adoption) in adoptions.enumerate() {
            for publication in &mut self.pending {
                if adoption.generation >= publication.generation {
                    publication.adopted[worker].get_or_insert(adoption.at);
                }
            }
        }
        // In the order of their generations: none is complete before those in front of it.
        while let Some(latency) = self.pending.front().and_then(Publication::latency) {
            self.histogram.saturating_record(latency.as_micros() as u64);
            self.pending.pop_front();
        }
    }

    /// Number of measured times.
    pub(super) fn measured(&self) -> u64 {
        self.histogram.len()
    }

    /// The time that a `share` of the measured times do not exceed.
    pub(super) fn at_quantile(&self, share: f64) -> Duration {
        Duration::from_micros(self.histogram.value_at_quantile(share))
    }
}

impl Publication {
    /// Time until the last worker polled by it; none before that.
    fn latency(&self) -> Option<Duration> {
        let adopted = self.adopted.iter().copied().collect::<Option<Vec<_>>>()?;
        Some(adopted.into_iter().max()?.saturating_sub(self.decided))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(generation: u64, millis: u64) -> Adoption {
        Adoption { generation, at: Duration::from_millis(millis) }
    }

    /// The only measured time, in milliseconds.
    fn only(publish_latency: &PublishLatency) -> u128 {
        assert_eq!(publish_latency.measured(), 1);
        publish_latency.at_quantile(1.0).as_millis()
    }

    #[test]
    fn a_time_ends_with_the_last_worker() {
        let mut publish_latency = PublishLatency::new(1);
        publish_latency.decide(Duration::from_millis(102));
        publish_latency.decide(Duration::from_millis(100));
        publish_latency.look(2, [at(1, 5), at(1, 6)].into_iter());
        assert_eq!(publish_latency.measured(), 0);
        publish_latency.look(2, [at(2, 150), at(1, 6)].into_iter());
        assert_eq!(publish_latency.measured(), 0, "one worker forwards by the old snapshot");
        publish_latency.look(2, [at(2, 150), at(2, 160)].into_iter());
        assert_eq!(only(&publish_latency), 60);
    }

    #[test]
    fn a_worker_that_leaves_a_snapshot_out_has_the_time_of_the_next() {
        let mut publish_latency = PublishLatency::new(1);
        publish_latency.decide(Duration::from_millis(100));
        publish_latency.look(2, [at(1, 5)].into_iter());
        publish_latency.look(3, [at(3, 130)].into_iter());
        assert_eq!(only(&publish_latency), 30, "snapshot 3 was not decided by a probe");
    }

    #[test]
    fn a_worker_that_goes_on_meanwhile_keeps_its_first_time() {
        let mut publish_latency = PublishLatency::new(1);
        publish_latency.decide(Duration::from_millis(100));
        publish_latency.look(2, [at(2, 110), at(1, 5)].into_iter());
        publish_latency.look(3, [at(3, 500), at(3, 120)].into_iter());
        assert_eq!(only(&publish_latency), 20);
    }

    #[test]
    fn what_changes_no_snapshot_is_not_measured() {
        let mut publish_latency = PublishLatency::new(1);
        publish_latency.decide(Duration::from_millis(100));
        publish_latency.look(1, [at(1, 5)].into_iter());
        publish_latency.look(2, [at(2, 900)].into_iter());
        assert_eq!(publish_latency.measured(), 0);
    }

    #[test]
    fn a_stalled_worker_holds_up_no_more_than_a_bounded_number() {
        let mut publish_latency = PublishLatency::new(0);
        for generation in 1..=2_000 {
            publish_latency.decide(Duration::from_millis(generation));
            publish_latency.look(generation, [at(0, 0)].into_iter());
        }
        publish_latency.look(2_000, [at(2_000, 3_000)].into_iter());
        assert_eq!(publish_latency.measured(), PENDING as u64);
    }
}
