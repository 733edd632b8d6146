//! Goals of a search: the loss that a rate may have, and the trials that prove it.

use std::time::Duration;

use serde::Serialize;

/// Targets that lead up to a goal: each has shorter trials and twice the width of the next.
const PRECEDING: i32 = 2;

/// Loss that is allowed at the rate that is looked for, and the precision and length of its trials.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Goal {
    /// Share of a trial's frames that may be lost; 0 for the NDR.
    pub(super) loss_ratio: f64,
    /// Share of the trials at one rate, by their time, that may lose more.
    pub(super) exceed_ratio: f64,
    /// Distance of the two bounds that ends the search, as a share of the upper one.
    pub(super) width: f64,
    /// Length of the first trials.
    pub(super) initial_trial: Duration,
    /// Length of the trials that decide.
    pub(super) final_trial: Duration,
    /// Time of trials after which a rate is decided in any case.
    pub(super) duration_sum: Duration,
}

/// Step on the way to a goal, the last of which is the goal itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Target {
    pub(super) loss_ratio: f64,
    pub(super) exceed_ratio: f64,
    pub(super) width: f64,
    pub(super) trial: Duration,
    pub(super) sum: Duration,
}

impl Goal {
    /// Targets of the goal, the coarsest first.
    pub(super) fn targets(&self) -> Vec<Target> {
        let shortest = self.initial_trial.as_secs_f64();
        let growth = self.duration_sum.as_secs_f64() / shortest;
        // A coarse target saves nothing where the first trials are as long as the last ones.
        let preceding = if growth > 1.0 { PRECEDING } else { 0 };
        let target = |step: i32| {
            let share = if preceding == 0 { 1.0 } else { f64::from(step) / f64::from(preceding) };
            let sum = if step == preceding {
                self.duration_sum
            } else {
                Duration::from_secs_f64(shortest * growth.powf(share))
            };
            Target {
                loss_ratio: self.loss_ratio,
                exceed_ratio: self.exceed_ratio,
                width: (self.width * f64::from(1 << (preceding - step))).min(0.5),
                trial: self.final_trial.min(sum),
                sum,
            }
        };
        (0..=preceding).map(target).collect()
    }

    /// Usual name of the rate that meets the goal.
    pub(super) fn name(&self) -> &'static str {
        if self.loss_ratio == 0.0 { "NDR" } else { "PDR" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goal(initial: u64, last: u64, sum: u64) -> Goal {
        let [initial_trial, final_trial, duration_sum] = [initial, last, sum].map(Duration::from_secs);
        Goal { loss_ratio: 0.0, exceed_ratio: 0.0, width: 0.005, initial_trial, final_trial, duration_sum }
    }

    #[test]
    fn targets_become_longer_and_narrower() {
        let targets = goal(1, 64, 64).targets();
        let seconds: Vec<_> = targets.iter().map(|target| target.trial.as_secs()).collect();
        let widths: Vec<_> = targets.iter().map(|target| target.width).collect();
        assert_eq!((seconds, widths), (vec![1, 8, 64], vec![0.02, 0.01, 0.005]));
    }

    #[test]
    fn many_trials_of_one_length_are_a_longer_sum() {
        let targets = goal(1, 1, 25).targets();
        let lens: Vec<_> =
            targets.iter().map(|target| (target.trial.as_secs(), target.sum.as_secs())).collect();
        assert_eq!(lens, [(1, 1), (1, 5), (1, 25)]);
        assert_eq!(goal(5, 5, 5).targets().len(), 1);
    }
}
