//! Record of a search's trials, and the bounds that they make for a target.
//!
//! A rate is judged by all of its trials together, as draft-ietf-bmwg-mlrsearch does. Trials that are shorter than the
//! target's may show that the rate is too high, and only those of full length that it isn't.

use std::collections::BTreeMap;
use std::time::Duration;

use super::goal::Target;

/// Result of one trial.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Measured {
    pub(super) duration: Duration,
    pub(super) loss_ratio: f64,
    /// Time that the trial took with its pauses.
    pub(super) took: Duration,
}

/// Trials by the rate that they had, in frames per second.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    trials: BTreeMap<u64, Vec<Measured>>,
}

/// Rates between which a target lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Highest rate below the upper bound that meets the target.
    pub(super) lower: Option<u64>,
    /// Lowest rate that doesn't meet it.
    pub(super) upper: Option<u64>,
}

/// Judgement of one rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Lower,
    Upper,
    Undecided,
}

impl Record {
    pub(super) fn add(&mut self, rate: u64, measured: Measured) {
        self.trials.entry(rate).or_default().push(measured);
    }

    /// Bounds of the target at this moment.
    pub(super) fn bounds(&self, target: &Target) -> Bounds {
        let mut bounds = Bounds::default();
        for (rate, trials) in &self.trials {
            match standing(target, trials) {
                Standing::Upper => {
                    bounds.upper = Some(*rate);
                    break;
                }
                Standing::Lower => bounds.lower = Some(*rate),
                Standing::Undecided => {}
            }
        }
        bounds
    }

    /// Frames per second that come through at this rate, by the worst of the trials that the target counts on.
    pub(super) fn throughput(&self, target: &Target, rate: u64) -> Option<f64> {
        let mut full: Vec<&Measured> =
            self.trials.get(&rate)?.iter().filter(|trial| trial.duration >= target.trial).collect();
        full.sort_by(|one, other| one.loss_ratio.total_cmp(&other.loss_ratio));
        let measured: Duration = full.iter().map(|trial| trial.took).sum();
        let mut missing = measured.max(target.sum).as_secs_f64() * (1.0 - target.exceed_ratio);
        let mut worst = None;
        for trial in full {
            if missing <= 0.0 {
                break;
            }
            worst = Some(trial.loss_ratio);
            missing -= trial.took.as_secs_f64();
        }
        worst.map(|loss| rate as f64 * (1.0 - loss))
    }
}

// draft-ietf-bmwg-mlrsearch, "Load Classification Logic".
fn standing(target: &Target, trials: &[Measured]) -> Standing {
    let sum = |full: bool, high: bool| {
        let of_kind = |trial: &&Measured| {
            (trial.duration >= target.trial) == full && (trial.loss_ratio > target.loss_ratio) == high
        };
        trials.iter().filter(of_kind).map(|trial| trial.took.as_secs_f64()).sum::<f64>()
    };
    let balance = sum(false, false) * target.exceed_ratio / (1.0 - target.exceed_ratio);
    let high = sum(true, true) + (sum(false, true) - balance).max(0.0);
    let low = sum(true, false);
    let whole = (high + low).max(target.sum.as_secs_f64());
    let allowed = whole * target.exceed_ratio;
    if high > allowed {
        Standing::Upper
    } else if whole - low <= allowed {
        Standing::Lower
    } else {
        Standing::Undecided
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(exceed_ratio: f64, trial: u64, sum: u64) -> Target {
        let [trial, sum] = [trial, sum].map(Duration::from_secs);
        Target { loss_ratio: 0.005, exceed_ratio, width: 0.005, trial, sum }
    }

    fn trial(seconds: u64, loss_ratio: f64) -> Measured {
        let duration = Duration::from_secs(seconds);
        Measured { duration, loss_ratio, took: duration }
    }

    #[test]
    fn rates_are_judged_by_all_of_their_trials() {
        let (low, high) = (0.004, 0.006);
        let (strict, half, long_half) = (target(0.0, 4, 4), target(0.5, 1, 5), target(0.5, 4, 4));
        let rows = [
            ("nothing is known of a rate without trials", &strict, vec![], Standing::Undecided),
            ("a short trial without loss proves nothing", &strict, vec![trial(1, low)], Standing::Undecided),
            ("a short trial with loss is enough", &strict, vec![trial(1, high)], Standing::Upper),
            ("a long one without loss is enough", &strict, vec![trial(4, low)], Standing::Lower),
            ("later loss takes it back", &strict, vec![trial(4, low), trial(1, high)], Standing::Upper),
            (
                "two of five can still be either",
                &half,
                vec![trial(1, low), trial(1, low)],
                Standing::Undecided,
            ),
            ("three of five are the half", &half, vec![trial(1, low); 3], Standing::Lower),
            ("and so they are with loss", &half, vec![trial(1, high); 3], Standing::Upper),
            (
                "the others count no more",
                &half,
                vec![trial(1, high), trial(1, low), trial(1, high), trial(1, low), trial(1, low)],
                Standing::Lower,
            ),
            (
                "short trials with loss are many enough alone",
                &long_half,
                vec![trial(1, high); 3],
                Standing::Upper,
            ),
            (
                "and not with as many without",
                &long_half,
                vec![trial(1, high), trial(1, low), trial(1, high), trial(1, low), trial(1, high)],
                Standing::Undecided,
            ),
        ];
        for (claim, target, trials, expected) in rows {
            assert_eq!(standing(target, &trials), expected, "{claim}");
        }
    }

    #[test]
    fn a_lower_bound_lies_below_the_lowest_upper_one() {
        let mut record = Record::default();
        let target = target(0.0, 1, 1);
        for (rate, loss) in [(10, 0.0), (20, 0.0), (30, 0.1), (40, 0.0)] {
            record.add(rate, trial(1, loss));
        }
        assert_eq!(record.bounds(&target), Bounds { lower: Some(20), upper: Some(30) });
    }

    #[test]
    fn throughput_is_the_worst_of_the_trials_that_count() {
        let mut record = Record::default();
        for loss in [0.5, 0.001, 0.002] {
            record.add(1_000, trial(1, loss));
        }
        assert_eq!(record.throughput(&target(0.5, 1, 3), 1_000), Some(998.0));
        assert_eq!(record.throughput(&target(0.0, 1, 3), 1_000), Some(500.0));
        assert_eq!(record.throughput(&target(0.0, 2, 3), 1_000), None);
    }
}
