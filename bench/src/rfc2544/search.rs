//! Search for the highest rates that meet several goals at once: told a trial's outcome, it says the next trial.
//!
//! The method is that of MLRsearch (draft-ietf-bmwg-mlrsearch). All goals share their trials. Each comes to its own
//! precision by steps ([`Goal::targets`]), the first with short trials and wide bounds. At each step the bounds of the
//! step before are tried anew; one that no longer holds is looked for outwards, twice as far each time; and what lies
//! between two bounds is halved.
//!
//! There is no clock and no device here: time is what the outcomes say.

#[cfg(test)]
mod simulation;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::goal::{Goal, Target};
use super::record::{Bounds, Measured, Record};

/// Trials at one rate that the generator may fail to offer before the rate counts as beyond it: other load on the
/// machine makes it fail now and then.
const SHORTFALLS: usize = 3;

/// Limits of a search.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Limits {
    /// Lowest rate that is tried, in frames per second.
    pub(super) min_rate: u64,
    /// Highest rate that is tried, in frames per second.
    pub(super) max_rate: u64,
    /// Number of trials after which the search ends.
    pub(super) max_trials: usize,
    /// Time of all trials that the search may take.
    pub(super) max_time: Duration,
    /// Share of the rate by which the generator may fall short.
    pub(super) rate_tolerance: f64,
}

/// Trial that is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trial {
    /// Frames per second.
    pub(super) rate: u64,
    /// Time for which frames are sent.
    pub(super) duration: Duration,
}

/// Outcome of a trial.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Outcome {
    /// Frames that were sent.
    pub(super) sent: u64,
    /// Frames of these that did not come back.
    pub(super) lost: u64,
    /// Frames per second that the generator has offered.
    pub(super) offered: u64,
    /// Time that the trial took with its pauses.
    pub(super) took: Duration,
}

/// Reason for which the search for a goal's rate has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ending {
    /// The bounds are as close as the goal asks.
    Found,
    /// The highest rate meets the goal.
    AtMaximum,
    /// The highest rate that the generator can offer meets the goal.
    AtGenerator,
    /// The lowest rate does not meet the goal.
    BelowMinimum,
    /// The trials were used up.
    OutOfTrials,
    /// The time was used up.
    OutOfTime,
}

/// Result for one goal.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Found {
    pub(super) ending: Ending,
    /// Highest rate that meets the goal: the NDR or PDR if the search has found it.
    pub(super) lower: Option<u64>,
    /// Lowest rate above it that does not.
    pub(super) upper: Option<u64>,
    /// Frames per second that came through at the lower rate, by the worst of the trials that count.
    pub(super) throughput: Option<f64>,
}

/// State of a search.
#[derive(Clone, Debug)]
pub(super) struct Search {
    limits: Limits,
    record: Record,
    approach: Approach,
    goals: Vec<Ascent>,
    /// Highest rate that is still tried: the maximum, or what the generator can offer.
    ceiling: u64,
    /// Rates that were offered in place of one that the generator has not reached since.
    shortfalls: BTreeMap<u64, Vec<u64>>,
    /// True if the generator can't offer the lowest rate.
    is_stuck: bool,
    trials: usize,
    time: Duration,
}

/// First trials, which find out where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Approach {
    /// At the highest rate.
    Ceiling,
    /// At the rate that came through when the highest was offered.
    Forwarded(u64),
    /// A little above or below that, with it.
    Beside(u64, u64),
    Done,
}

/// Way of one goal through its targets.
#[derive(Clone, Debug)]
struct Ascent {
    targets: Vec<Target>,
    step: usize,
    /// Bounds of the step before, or the rates of the first trials.
    hints: Bounds,
}

impl Search {
    /// Begins a search.
    ///
    /// # Panics
    /// If there is no goal, or the limits hold no rate.
    pub(super) fn new(goals: &[Goal], limits: Limits) -> Self {
        assert!(!goals.is_empty(), "a search has a goal");
        assert!(0 < limits.min_rate && limits.min_rate <= limits.max_rate, "limits hold a rate");
        let ascent = |goal: &Goal| Ascent { targets: goal.targets(), step: 0, hints: Bounds::default() };
        Self {
            ceiling: limits.max_rate,
            limits,
            record: Record::default(),
            approach: Approach::Ceiling,
            goals: goals.iter().map(ascent).collect(),
            shortfalls: BTreeMap::new(),
            is_stuck: false,
            trials: 0,
            time: Duration::ZERO,
        }
    }

    /// Trial to make next; none once all goals are met, or the trials or the time used up.
    pub(super) fn next(&self) -> Option<Trial> {
        let trial = self.wanted()?;
        let fits = self.trials < self.limits.max_trials && self.time + trial.duration <= self.limits.max_time;
        fits.then_some(trial)
    }

    /// Takes in the outcome of a trial.
    pub(super) fn take_in(&mut self, trial: Trial, outcome: &Outcome) {
        self.trials += 1;
        self.time += outcome.took;
        let Outcome { sent, lost, offered, took } = *outcome;
        if sent == 0 || (offered as f64) < trial.rate as f64 * (1.0 - self.limits.rate_tolerance) {
            self.fall_short(trial.rate, offered);
            return;
        }
        self.shortfalls.remove(&trial.rate);
        let loss_ratio = lost as f64 / sent as f64;
        self.record.add(trial.rate, Measured { duration: trial.duration, loss_ratio, took });
        self.continue_approach(trial.rate, loss_ratio);
        if self.approach == Approach::Done {
            for goal in &mut self.goals {
                goal.climb(&self.record, &self.limits, self.ceiling);
            }
        }
    }

    /// Results of the goals, in their order.
    pub(super) fn found(&self) -> Vec<Found> {
        let found = |goal: &Ascent| {
            let target = goal.targets.last().expect("a goal has a target");
            let bounds = self.record.bounds(target);
            let Bounds { lower, upper } = bounds;
            let ending = if lower.zip(upper).is_some_and(|(lower, upper)| target.is_close(lower, upper)) {
                Ending::Found
            } else if self.is_stuck || lower.is_some_and(|lower| lower >= self.ceiling) {
                if self.is_stuck || self.ceiling < self.limits.max_rate {
                    Ending::AtGenerator
                } else {
                    Ending::AtMaximum
                }
            } else if upper.is_some_and(|upper| upper <= self.limits.min_rate) {
                Ending::BelowMinimum
            } else if self.trials >= self.limits.max_trials {
                Ending::OutOfTrials
            } else {
                Ending::OutOfTime
            };
            let throughput = lower.and_then(|lower| self.record.throughput(target, lower));
            Found { ending, lower, upper, throughput }
        };
        self.goals.iter().map(found).collect()
    }

    fn wanted(&self) -> Option<Trial> {
        if self.is_stuck {
            return None;
        }
        let shortest = || self.goals.iter().map(|goal| goal.targets[0].trial).max().expect("there is a goal");
        match self.approach {
            Approach::Ceiling => Some(Trial { rate: self.ceiling, duration: shortest() }),
            Approach::Forwarded(rate) | Approach::Beside(_, rate) => {
                Some(Trial { rate, duration: shortest() })
            }
            // The shortest first, so that all goals have bounds before much time is spent on one; of these the
            // lowest, whose loss says something of all above it.
            Approach::Done => {
                let wanted = self
                    .goals
                    .iter()
                    .filter_map(|goal| goal.wanted(&self.record, &self.limits, self.ceiling));
                wanted.min_by_key(|trial| (trial.duration, trial.rate))
            }
        }
    }

    /// Notes that the generator has offered less than it was asked for; lowers the ceiling if that comes again and again.
    fn fall_short(&mut self, rate: u64, offered: u64) {
        let offers = self.shortfalls.entry(rate).or_default();
        offers.push(offered);
        if offers.len() < SHORTFALLS {
            return;
        }
        self.is_stuck = rate == self.limits.min_rate;
        let best = offers.iter().copied().max().unwrap_or(0);
        let reached = (best as f64 * (1.0 - self.limits.rate_tolerance / 2.0)) as u64;
        self.ceiling =
            self.ceiling.min(reached.clamp(self.limits.min_rate, (rate - 1).max(self.limits.min_rate)));
        match &mut self.approach {
            Approach::Ceiling | Approach::Done => {}
            Approach::Forwarded(rate) | Approach::Beside(_, rate) => *rate = (*rate).min(self.ceiling),
        }
        for goal in &mut self.goals {
            goal.climb(&self.record, &self.limits, self.ceiling);
        }
    }

    /// Goes on with the first trials after one at this rate.
    fn continue_approach(&mut self, rate: u64, loss_ratio: f64) {
        let targets = self.goals.iter().map(|goal| goal.targets[0]);
        let least = targets.clone().map(|target| target.loss_ratio).fold(1.0, f64::min);
        let width = targets.map(|target| target.width).fold(0.0, f64::max);
        let through = rate as f64 * (1.0 - loss_ratio) / (1.0 - least);
        let through = (through as u64).clamp(self.limits.min_rate, self.ceiling);
        self.approach = match self.approach {
            Approach::Ceiling if loss_ratio <= least || through >= rate => self.begin(rate, rate),
            Approach::Ceiling => Approach::Forwarded(through),
            Approach::Forwarded(first) => {
                let second = if loss_ratio > least {
                    through.min(lowered(first, width))
                } else {
                    raised(first, width)
                };
                let second = second.clamp(self.limits.min_rate, self.ceiling);
                if second == first { self.begin(first, first) } else { Approach::Beside(first, second) }
            }
            Approach::Beside(first, second) => self.begin(first.min(second), first.max(second)),
            Approach::Done => Approach::Done,
        };
    }

    /// Lets all goals begin between these rates.
    fn begin(&mut self, low: u64, high: u64) -> Approach {
        for goal in &mut self.goals {
            goal.hints = Bounds { lower: Some(low), upper: Some(high) };
        }
        Approach::Done
    }
}

impl Ascent {
    /// Goes on to the next targets while the current one has all that it needs.
    fn climb(&mut self, record: &Record, limits: &Limits, ceiling: u64) {
        while self.step + 1 < self.targets.len() && self.wanted(record, limits, ceiling).is_none() {
            self.hints = record.bounds(&self.targets[self.step]);
            self.step += 1;
        }
    }

    /// Trial that the current target asks for; none if it is met, or can't be.
    fn wanted(&self, record: &Record, limits: &Limits, ceiling: u64) -> Option<Trial> {
        let target = &self.targets[self.step];
        let bounds = record.bounds(target);
        let hints = [self.hints.lower, self.hints.upper].into_iter().flatten();
        let hint = hints.map(|rate| rate.min(ceiling)).find(|rate| target.gains_by(*rate, bounds));
        let rate = hint.or_else(|| match bounds {
            Bounds { lower: None, upper: None } => Some(ceiling),
            Bounds { lower: None, upper: Some(upper) } => {
                let from = self.hints.upper.unwrap_or(upper).max(upper);
                let next = twice_as_far(from, upper).min(lowered(upper, target.width));
                (upper > limits.min_rate).then(|| next.max(limits.min_rate))
            }
            Bounds { lower: Some(lower), upper: None } => {
                let from = self.hints.lower.unwrap_or(lower).min(lower);
                Some(twice_as_far(from, lower).max(raised(lower, target.width)))
            }
            Bounds { lower: Some(lower), upper: Some(upper) } => {
                (!target.is_close(lower, upper)).then(|| between(lower, upper))
            }
        })?;
        let rate = rate.min(ceiling);
        bounds.lower.is_none_or(|lower| lower < rate).then_some(Trial { rate, duration: target.trial })
    }
}

impl Target {
    /// True if the bounds are no further apart than the target's width, or nothing lies between them.
    fn is_close(&self, lower: u64, upper: u64) -> bool {
        upper - lower <= 1 || (upper - lower) as f64 <= self.width * upper as f64
    }

    /// True if a trial at this rate can make a bound, or a better one.
    fn gains_by(&self, rate: u64, bounds: Bounds) -> bool {
        let Bounds { lower, upper } = bounds;
        let is_inside = lower.is_none_or(|lower| lower < rate) && upper.is_none_or(|upper| rate < upper);
        is_inside && !lower.zip(upper).is_some_and(|(lower, upper)| self.is_close(lower, upper))
    }
}

/// Rate that lies by this share below another.
fn lowered(rate: u64, share: f64) -> u64 {
    ((rate as f64 * (1.0 - share)) as u64).min(rate.saturating_sub(1))
}

/// Rate of which another lies by this share below.
fn raised(rate: u64, share: f64) -> u64 {
    ((rate as f64 / (1.0 - share)) as u64).max(rate + 1)
}

/// Rate twice as far from `from` as `reached` is, by their ratio.
fn twice_as_far(from: u64, reached: u64) -> u64 {
    (reached as f64 * (reached as f64 / from as f64)) as u64
}

/// Rate in the middle of two others, by their ratio.
fn between(lower: u64, upper: u64) -> u64 {
    let middle = (lower as f64 * upper as f64).sqrt() as u64;
    middle.clamp(lower + 1, upper - 1)
}
