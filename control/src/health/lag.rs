//! How late probes begin, and which do not begin at all: the signs of a control thread that has too much to do.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use hdrhistogram::Histogram;

/// How late probes began.
#[derive(Debug)]
pub struct Lag {
    /// In microseconds.
    histogram: RefCell<Histogram<u64>>,
    begun: Cell<u64>,
    missed: Cell<u64>,
}

/// The longest lag that is told apart, in microseconds.
const LONGEST_MICROS: u64 = 600_000_000;

impl Default for Lag {
    fn default() -> Self {
        let histogram = Histogram::new_with_max(LONGEST_MICROS, 2).expect("two digits up to ten minutes");
        Self { histogram: RefCell::new(histogram), begun: Cell::new(0), missed: Cell::new(0) }
    }
}

impl Lag {
    /// Notes that a probe began so much later than it was due.
    pub fn note(&self, late: Duration) {
        self.begun.set(self.begun.get() + 1);
        self.histogram.borrow_mut().saturating_record(late.as_micros() as u64);
    }

    /// How many probes have begun.
    pub fn begun(&self) -> u64 {
        self.begun.get()
    }

    /// Notes that so many intervals went by in which a check ought to have begun a probe and did not.
    pub fn miss(&self, intervals: u64) {
        self.missed.set(self.missed.get() + intervals);
    }

    /// How many intervals went by without the probe that was due.
    pub fn missed(&self) -> u64 {
        self.missed.get()
    }

    /// How late probes began, `share` of them at most.
    pub fn at_quantile(&self, share: f64) -> Duration {
        Duration::from_micros(self.histogram.borrow().value_at_quantile(share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_what_was_noted() {
        let lag = Lag::default();
        (1..=100).for_each(|millis| lag.note(Duration::from_millis(millis)));
        assert_eq!(lag.begun(), 100);
        let median = lag.at_quantile(0.5);
        assert!(median.abs_diff(Duration::from_millis(50)) <= Duration::from_millis(1), "{median:?}");
        lag.note(Duration::from_secs(10_000));
        assert!(lag.at_quantile(1.0) >= Duration::from_secs(599));
    }
}
