//! Seeds by threads: each on one thread from its begin to its end, told in their order up to the first that fails.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

use crate::report::Outcome;

/// Runs seeds by as many threads as there are cores, and tells their outcomes in the order of the seeds; ends with the first
/// that fails. True if none does.
///
/// # Panics
/// Where a seed panics, once the seeds that run beside it have ended.
pub fn run(
    seeds: RangeInclusive<u64>,
    simulate: impl Fn(u64) -> Outcome + Sync,
    mut tell: impl FnMut(Outcome),
) -> bool {
    let (next, last) = (AtomicU64::new(*seeds.start()), AtomicU64::new(*seeds.end()));
    let (sender, outcomes) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            let (sender, simulate, next, last) = (sender.clone(), &simulate, &next, &last);
            scope.spawn(move || {
                loop {
                    // Relaxed: both numbers carry nothing but themselves.
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > last.load(Ordering::Relaxed) {
                        return;
                    }
                    let outcome = simulate(seed);
                    if outcome.violation.is_some() {
                        last.fetch_min(seed, Ordering::Relaxed);
                    }
                    if sender.send(outcome).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let (mut due, mut early, mut failed) = (*seeds.start(), BTreeMap::new(), false);
        for outcome in outcomes {
            early.insert(outcome.seed, outcome);
            while let Some(outcome) = early.remove(&due)
                && !failed
            {
                due += 1;
                failed = outcome.violation.is_some();
                tell(outcome);
            }
        }
        !failed
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::invariant::Invariant;
    use crate::report::Report;

    /// Seeds that are told of those up to 40, where some fail.
    fn told(failing: &[u64]) -> (bool, Vec<u64>) {
        let simulate = |seed: u64| {
            // The later ones are done first.
            thread::sleep(Duration::from_millis(40 - seed));
            let violation = failing
                .contains(&seed)
                .then(|| Invariant::Alive.violated(0, Duration::ZERO, "it was made to fail".to_owned()));
            Report::default().end(seed, violation, Duration::ZERO)
        };
        let mut told = Vec::new();
        let held = run(1..=40, simulate, |outcome| told.push(outcome.seed));
        (held, told)
    }

    #[test]
    fn seeds_are_told_in_their_order_up_to_the_first_that_fails() {
        assert_eq!(told(&[]), (true, (1..=40).collect()));
        assert_eq!(told(&[18, 17, 30]), (false, (1..=17).collect()));
    }
}
