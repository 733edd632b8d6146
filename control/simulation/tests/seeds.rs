//! Seeds in the debug profile: every invariant holds, a seed has one course, and the simulation does what it is for.

use std::process::Command;
use std::thread;

use guideway_simulation::report::Outcome;
use guideway_simulation::{seeds, simulate};

/// Number of the seeds; `.ci/run simulation` has hundreds.
const SEEDS: u64 = 24;

#[test]
fn every_invariant_holds_and_every_kind_of_thing_happens() {
    let mut outcomes = Vec::new();
    seeds::run(1..=SEEDS, simulate, |outcome| outcomes.push(outcome));
    for outcome in &outcomes {
        assert!(outcome.violation.is_none(), "{}", outcome.text(true));
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
