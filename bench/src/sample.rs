//! Samples: several runs of one measurement, and the turns of several that are compared.

use serde::Serialize;

/// Results of several runs of one measurement.
///
/// The minimum is the code with the least disturbance; the distance to the median tells of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Sample {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
    pub(crate) runs: usize,
}

impl Sample {
    /// # Panics
    /// If there is no run.
    pub(crate) fn of(mut runs: Vec<f64>) -> Self {
        runs.sort_unstable_by(f64::total_cmp);
        let (&min, &max) = runs.first().zip(runs.last()).expect("a sample has a run");
        let middle = runs.len() / 2;
        let median =
            if runs.len() % 2 == 1 { runs[middle] } else { f64::midpoint(runs[middle - 1], runs[middle]) };
        Self { min, median, max, runs: runs.len() }
    }
}

/// Lists the turns of `count` contestants over some rounds: each turn's round and contestant.
///
/// Everybody has one turn a round, so that a disturbance of some rounds meets all; and each round begins with another
/// one, so that nobody always comes after the whole round's pause.
pub(crate) fn turns(rounds: usize, count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rounds).flat_map(move |round| (0..count).map(move |turn| (round, (round + turn) % count)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_ordered() {
        assert_eq!(Sample::of(vec![3.0, 1.0, 2.0]), Sample { min: 1.0, median: 2.0, max: 3.0, runs: 3 });
        assert_eq!(Sample::of(vec![4.0, 1.0, 2.0, 9.0]), Sample { min: 1.0, median: 3.0, max: 9.0, runs: 4 });
        assert_eq!(Sample::of(vec![5.0]), Sample { min: 5.0, median: 5.0, max: 5.0, runs: 1 });
    }

    #[test]
    fn rounds_take_turns_and_begin_with_another_contestant() {
        let order: Vec<(usize, usize)> = turns(2, 3).collect();
        assert_eq!(order, [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (1, 0)]);
    }
}
