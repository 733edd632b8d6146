//! Seeds in the debug profile: every invariant holds, a seed has one course, and the simulation does what it is for.

use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use guideway_simulation::report::Outcome;
use guideway_simulation::simulate;

/// Number of the seeds; `.ci/run simulation` has hundreds.
const SEEDS: u64 = 24;

/// Outcomes of these seeds, by as many threads as there are cores.
fn outcomes(last: u64) -> Vec<Outcome> {
    let (next, outcomes) = (AtomicU64::new(1), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    // Relaxed: the number carries nothing but itself.
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > last {
                        return;
                    }
                    let outcome = simulate(seed);
                    outcomes.lock().expect("no seed has panicked").push(outcome);
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().expect("no seed has panicked");
    outcomes.sort_by_key(|outcome| outcome.seed);
    outcomes
}

#[test]
fn every_invariant_holds_and_every_kind_of_thing_happens() {
    let outcomes = outcomes(SEEDS);
    for outcome in &outcomes {
        assert!(outcome.violation.is_none(), "{}\n{outcome}", outcome.story.join("\n"));
    }
    let total = |count: fn(&Outcome) -> u64| outcomes.iter().map(count).sum::<u64>();
    assert!(total(|outcome| outcome.counts.choices) > 5_000);
    assert!(total(|outcome| outcome.counts.kept) > 5_000);
    assert!(total(|outcome| outcome.counts.faults) > 200);
    assert!(total(|outcome| outcome.counts.acts) > 50);
    assert!(total(|outcome| outcome.counts.snapshots) > 300);
    assert!(total(|outcome| outcome.counts.lost) > 0);
}

#[test]
fn a_seed_has_one_course_whatever_runs_beside_it() {
    let alone = simulate(3);
    let other = thread::spawn(|| simulate(4));
    let beside = simulate(3);
    let other = other.join().expect("it does not panic");
    assert_eq!((alone.digest, alone.counts), (beside.digest, beside.counts));
    assert_eq!(alone.story, beside.story);
    assert_ne!(alone.digest, other.digest);
}

#[test]
fn the_command_replays_a_seed_with_its_story_and_the_same_digest() {
    let run = Command::new(env!("CARGO_BIN_EXE_guideway-simulation")).args(["--seed", "2"]).output();
    let run = run.expect("the command runs");
    let text = String::from_utf8(run.stdout).expect("it is text");
    assert!(run.status.success(), "{text}");
    assert!(text.contains("all faults end") && text.contains("all is well"), "{text}");
    assert!(text.contains(&format!("digest {:016x}", simulate(2).digest)), "{text}");
}
