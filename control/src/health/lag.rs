//! The delays with which probes begin, and the probes that do not begin at all: signs of a control thread that has too
//! much to do.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use hdrhistogram::Histogram;

/// The delays of all probes that began, and the number of those that did not.
#[derive(Debug)]
pub struct Lag {
    /// Delays in microseconds.
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
    /// Notes that a probe began `late` after it was due.
    pub fn note(&self, late: Duration) {
        self.begun.set(self.begun.get() + 1);
        self.histogram.borrow_mut().saturating_record(late.as_micros() as u64);
    }

    /// Number of probes that have begun.
    pub fn begun(&self) -> u64 {
        self.begun.get()
    }

    /// Notes a number of intervals that went by in which a check ought to have begun a probe and did not.
    pub fn miss(&self, intervals: u64) {
        self.missed.set(self.missed.get() + intervals);
    }

    /// Number of intervals that went by without the probe that was due.
    pub fn missed(&self) -> u64 {
        self.missed.get()
    }

    /// The delay that a `share` of the probes did not exceed.
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
