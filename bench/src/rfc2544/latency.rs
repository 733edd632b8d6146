//! Latencies of a trial's frames, from their making to their return.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Latencies of a trial.
#[derive(Clone, Debug)]
pub(super) struct Latencies(Histogram<u64>);

/// Latencies of a trial in figures, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct LatencySummary {
    pub(super) min: u64,
    pub(super) p50: u64,
    pub(super) p90: u64,
    pub(super) p99: u64,
    pub(super) p99_9: u64,
    pub(super) max: u64,
}

impl Latencies {
    /// Makes an empty record.
    pub(super) fn new() -> Self {
        Self(Histogram::new_with_bounds(1, u64::from(u32::MAX), 3).expect("sound bounds"))
    }

    /// Takes in the lower 32 bits of two times.
    #[inline]
    pub(super) fn record(&mut self, sent: u32, received: u32) {
        self.0.saturating_record(received.wrapping_sub(sent).into());
    }

    /// Figures of the latencies; none if no frame has come back.
    pub(super) fn summary(&self) -> Option<LatencySummary> {
        let at = |quantile| self.0.value_at_quantile(quantile);
        (!self.0.is_empty()).then(|| LatencySummary {
            min: self.0.min(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: self.0.max(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_summed_up_across_a_wrap_of_the_clock() {
        let mut latencies = Latencies::new();
        assert_eq!(latencies.summary(), None);
        for latency in 1..=1_000 {
            latencies.record(u32::MAX - 500, (u32::MAX - 500).wrapping_add(latency));
        }
        let summary = latencies.summary().expect("a thousand");
        assert_eq!(summary, LatencySummary { min: 1, p50: 500, p90: 900, p99: 990, p99_9: 999, max: 1_000 });
    }
}
