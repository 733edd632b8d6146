//! Simulated devices, by which the search is tried: of a known capacity, with noise, with loss at every rate.

use std::time::Duration;

use proptest::prelude::*;

use super::{Ending, Found, Limits, Outcome, Search, Trial};
use crate::rfc2544::goal::Goal;

const SECOND: Duration = Duration::from_secs(1);
const PDR: f64 = 0.005;

/// Device under test, and the generator before it.
#[derive(Clone, Debug)]
struct Device {
    /// Frames per second that come through.
    capacity: f64,
    /// Share by which the capacity differs from trial to trial, at most.
    noise: f64,
    /// Share of the frames that are lost at any rate.
    leak: f64,
    /// Share of the capacity that is left where more is offered.
    overload: f64,
    /// Frames per second that the generator offers at most.
    generator: f64,
    seed: u64,
}

impl Device {
    fn of(capacity: u64) -> Self {
        Self { capacity: capacity as f64, noise: 0.0, leak: 0.0, overload: 1.0, generator: f64::MAX, seed: 1 }
    }

    fn try_out(&self, trial: Trial, random: &mut fastrand::Rng) -> Outcome {
        let rate = (trial.rate as f64).min(self.generator);
        let sent = rate * trial.duration.as_secs_f64();
        let capacity = self.capacity * (1.0 - self.noise * random.f64());
        let through = if rate > capacity { capacity * self.overload } else { rate };
        let lost = sent * (1.0 - through / rate * (1.0 - self.leak));
        Outcome { sent: sent as u64, lost: lost.round() as u64, offered: rate as u64, took: trial.duration }
    }
}

/// Search that is over, with its trials.
#[derive(Debug)]
struct Searched {
    found: Vec<Found>,
    trials: Vec<Trial>,
}

fn search(goals: &[Goal], limits: &Limits, device: &Device) -> Searched {
    let mut random = fastrand::Rng::with_seed(device.seed);
    let mut search = Search::new(goals, *limits);
    let mut trials = Vec::new();
    while let Some(trial) = search.next() {
        assert!((limits.min_rate..=limits.max_rate).contains(&trial.rate), "{trial:?} of {limits:?}");
        trials.push(trial);
        assert!(trials.len() <= limits.max_trials);
        search.take_in(trial, &device.try_out(trial, &mut random));
    }
    let time: Duration = trials.iter().map(|trial| trial.duration).sum();
    assert!(time <= limits.max_time, "{time:?} of {limits:?}");
    Searched { found: search.found(), trials }
}

/// NDR and PDR by trials of a second, and at last of eight.
fn strict() -> [Goal; 2] {
    [0.0, PDR].map(|loss_ratio| Goal {
        loss_ratio,
        exceed_ratio: 0.0,
        width: 0.005,
        initial_trial: SECOND,
        final_trial: 8 * SECOND,
        duration_sum: 8 * SECOND,
    })
}

/// NDR and PDR by the majority of eleven trials of a second.
fn by_majority() -> [Goal; 2] {
    strict().map(|goal| Goal { exceed_ratio: 0.5, final_trial: SECOND, duration_sum: 11 * SECOND, ..goal })
}

fn limits() -> Limits {
    let max_time = Duration::from_secs(100_000);
    Limits { min_rate: 1_000, max_rate: 150_000_000, max_trials: 1_000, max_time, rate_tolerance: 0.005 }
}

/// Asserts that both bounds are there, in order and as close as the goal asks.
fn assert_close(found: &Found, goal: &Goal) -> (u64, u64) {
    assert_eq!(found.ending, Ending::Found, "{found:?}");
    let (lower, upper) = found.lower.zip(found.upper).expect("both bounds");
    assert!(lower < upper && (upper - lower <= 1 || (upper - lower) as f64 <= goal.width * upper as f64));
    (lower, upper)
}

proptest! {
    #[test]
    fn a_known_capacity_is_found(capacity in 1_100_u64..140_000_000, overload in 0.2..=1.0) {
        let device = Device { overload, ..Device::of(capacity) };
        let searched = search(&strict(), &limits(), &device);
        let (lower, upper) = assert_close(&searched.found[0], &strict()[0]);
        prop_assert!(lower <= capacity && capacity < upper, "{lower} {capacity} {upper}");
        // Under overload, a device may lose far more than the goal allows as soon as it loses anything.
        let (lower, upper) = assert_close(&searched.found[1], &strict()[1]);
        let most = if overload > 1.0 - PDR { capacity as f64 * overload / (1.0 - PDR) } else { capacity as f64 };
        prop_assert!(lower as f64 <= most + 1.0 && most <= upper as f64 + 1.0, "{lower} {most} {upper}");
        prop_assert!(searched.trials.len() <= 60, "{} trials", searched.trials.len());
        // A rate that is reported has been tried for as long as the goal asks.
        for found in &searched.found {
            let full = Trial { rate: found.lower.unwrap_or(0), duration: 8 * SECOND };
            prop_assert!(searched.trials.contains(&full));
        }
    }

    #[test]
    fn a_device_that_falls_a_little_short_needs_few_long_trials(capacity in 100_000_u64..140_000_000) {
        let searched = search(&strict(), &limits(), &Device::of(capacity));
        let long = searched.trials.iter().filter(|trial| trial.duration == 8 * SECOND).count();
        prop_assert!(long <= 8 && searched.trials.len() <= 30, "{long} of {}", searched.trials.len());
    }

    #[test]
    fn noise_is_endured(
        capacity in 2_000_u64..140_000_000,
        noise in 0.0..0.2,
        seed: u64,
        majority: bool,
    ) {
        let goals = if majority { by_majority() } else { strict() };
        let device = Device { noise, seed, ..Device::of(capacity) };
        let searched = search(&goals, &limits(), &device);
        for (found, goal) in searched.found.iter().zip(&goals) {
            let (lower, upper) = assert_close(found, goal);
            let (least, most) = (capacity as f64 * (1.0 - noise), capacity as f64 / (1.0 - PDR));
            prop_assert!(upper as f64 >= least && lower as f64 <= most + 1.0, "{found:?} of {device:?}");
        }
        prop_assert!(searched.trials.len() <= 400, "{} trials", searched.trials.len());
    }

    #[test]
    fn loss_at_every_rate_ends_at_the_lowest(capacity in 1_100_u64..140_000_000, leak in 0.001..0.004) {
        let searched = search(&strict(), &limits(), &Device { leak, ..Device::of(capacity) });
        let ndr = &searched.found[0];
        // Of a thousand frames, less than one in a thousand may be none.
        prop_assert_eq!(ndr.ending, Ending::BelowMinimum);
        prop_assert!(ndr.lower.is_none() && ndr.upper == Some(1_000) && ndr.throughput.is_none());
        assert_close(&searched.found[1], &strict()[1]);
        prop_assert!(searched.trials.len() <= 60, "{} trials", searched.trials.len());
    }

    #[test]
    fn a_capacity_above_the_maximum_ends_there(max_rate in 1_000_u64..1_000_000) {
        let searched = search(&strict(), &Limits { max_rate, ..limits() }, &Device::of(1_000_000));
        for found in searched.found {
            prop_assert_eq!((found.ending, found.lower, found.upper), (Ending::AtMaximum, Some(max_rate), None));
            prop_assert_eq!(found.throughput, Some(max_rate as f64));
        }
        prop_assert!(searched.trials.len() <= 3);
    }

    #[test]
    fn a_slow_generator_is_not_the_devices_loss(generator in 2_000.0..140_000_000.0) {
        let searched = search(&strict(), &limits(), &Device { generator, ..Device::of(150_000_000) });
        for found in &searched.found {
            prop_assert_eq!(found.ending, Ending::AtGenerator);
            let lower = found.lower.map_or(0.0, |lower| lower as f64);
            prop_assert!(lower > generator * 0.99 && lower <= generator + 1.0, "{lower} of {generator}");
            prop_assert_eq!(found.upper, None);
        }
        prop_assert!(searched.trials.len() <= 10, "{} trials", searched.trials.len());
    }

    #[test]
    fn no_outcomes_keep_a_search_from_its_end(
        outcomes in prop::collection::vec((0_u64..1_000_000, 0.0..=1.0, 0.9..=1.0), 1..40),
        max_trials in 1_usize..60,
        seconds in 1_u64..300,
        majority: bool,
    ) {
        let goals = if majority { by_majority() } else { strict() };
        let limits = Limits { max_trials, max_time: Duration::from_secs(seconds), ..limits() };
        let mut search = Search::new(&goals, limits);
        let mut time = Duration::ZERO;
        let mut trials = 0;
        for (sent, loss, share) in outcomes.iter().cycle() {
            let Some(trial) = search.next() else { break };
            prop_assert!((limits.min_rate..=limits.max_rate).contains(&trial.rate));
            time += trial.duration;
            trials += 1;
            let (lost, offered) = ((*sent as f64 * loss) as u64, (trial.rate as f64 * share) as u64);
            search.take_in(trial, &Outcome { sent: *sent, lost, offered, took: trial.duration });
        }
        prop_assert!(trials <= max_trials && time <= limits.max_time);
        for found in search.found() {
            prop_assert!(found.lower.zip(found.upper).is_none_or(|(lower, upper)| lower < upper));
            prop_assert_eq!(found.throughput.is_some(), found.lower.is_some());
        }
    }
}

#[test]
fn a_stall_of_the_generator_is_tried_again() {
    let mut search = Search::new(&strict(), Limits { max_rate: 1_000_000, ..limits() });
    let mut stalls = 0;
    while let Some(trial) = search.next() {
        let mut outcome = Device::of(600_000).try_out(trial, &mut fastrand::Rng::with_seed(1));
        // Every other trial is disturbed.
        stalls += 1;
        if stalls % 2 == 0 {
            outcome.offered = trial.rate / 2;
            outcome.lost = outcome.sent;
        }
        search.take_in(trial, &outcome);
    }
    assert_close(&search.found()[0], &strict()[0]);
}

#[test]
fn a_generator_that_can_not_even_offer_the_lowest_rate_ends_the_search() {
    let limits = Limits { min_rate: 10_000, max_rate: 10_000, ..limits() };
    let searched = search(&strict(), &limits, &Device { generator: 5_000.0, ..Device::of(20_000) });
    assert_eq!((searched.trials.len(), searched.found[0].ending), (3, Ending::AtGenerator));
    assert_eq!(searched.found[0].lower, None);
}
