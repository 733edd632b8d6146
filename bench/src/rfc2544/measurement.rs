//! Measurement of one frame length: a warm-up, the search for all goals, and latencies below the first goal's rate.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::frame_len::{FrameLen, wire_bits};
use super::goal::Goal;
use super::latency::LatencySummary;
use super::rig::Rig;
use super::search::{Ending, Found, Limits, Outcome, Search, Trial};
use super::traffic::Traffic;
use super::trial::{Run, Seen};

/// Settings of all measurements.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Plan {
    pub(super) goals: Vec<Goal>,
    pub(super) limits: Limits,
    /// Length of the trial before all others, which does not count.
    pub(super) warm_up: Duration,
    /// Time that the last frames of a trial have to come back.
    pub(super) settle: Duration,
    /// Frames that are made up for after a stall of the sender, at most.
    pub(super) backlog: u32,
    /// Shares of the first goal's rate at which latencies are measured.
    pub(super) latency_shares: Vec<f64>,
    /// Length of the trials that measure latencies.
    pub(super) latency_trial: Duration,
}

/// Results for one frame length.
#[derive(Debug, Serialize)]
pub(super) struct Measured {
    pub(super) frame_len: FrameLen,
    /// Bytes of the shortest frame as it was sent, with its check sequence.
    pub(super) shortest_frame: usize,
    /// Bits that a frame takes on the wire, on average.
    pub(super) wire_bits: f64,
    pub(super) goals: Vec<GoalResult>,
    pub(super) latencies: Vec<LatencyResult>,
    pub(super) trials: Vec<TrialResult>,
    pub(super) seconds: f64,
}

/// Result for one goal.
#[derive(Debug, Serialize)]
pub(super) struct GoalResult {
    pub(super) name: &'static str,
    pub(super) loss_ratio: f64,
    #[serde(flatten)]
    pub(super) found: Found,
}

/// Latencies at a share of the first goal's rate.
#[derive(Debug, Serialize)]
pub(super) struct LatencyResult {
    pub(super) share: f64,
    pub(super) rate: u64,
    pub(super) lost: u64,
    pub(super) latency_ns: Option<LatencySummary>,
}

/// Counts of one trial.
#[derive(Clone, Debug, Serialize)]
pub(super) struct TrialResult {
    pub(super) rate: u64,
    pub(super) seconds: f64,
    pub(super) offered: u64,
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) duplicates: u64,
    pub(super) reordered: u64,
    pub(super) strangers: u64,
    /// Frames that the tester had no memory for, and those that its ports had no room for.
    pub(super) no_memory: u64,
    pub(super) missed: u64,
}

/// One measurement under way.
struct Bench<'m> {
    plan: &'m Plan,
    rig: &'m mut dyn Rig,
    traffic: &'m Traffic,
    clock: Instant,
    signatures: fastrand::Rng,
}

/// Measures one frame length.
///
/// # Errors
/// If the rig fails.
pub(super) fn measure(
    plan: &Plan,
    frame_len: FrameLen,
    round: &[usize],
    traffic: &Traffic,
    rig: &mut dyn Rig,
) -> Result<Measured, String> {
    let clock = Instant::now();
    let mut bench = Bench { plan, rig, traffic, clock, signatures: fastrand::Rng::new() };
    let (found, trials) = bench.search()?;
    let goals: Vec<GoalResult> = plan
        .goals
        .iter()
        .zip(found)
        .map(|(goal, found)| GoalResult { name: goal.name(), loss_ratio: goal.loss_ratio, found })
        .collect();
    let latencies = match goals[0].found.lower {
        Some(rate) => bench.latencies(rate)?,
        None => Vec::new(),
    };
    Ok(Measured {
        frame_len,
        shortest_frame: round.iter().copied().min().unwrap_or(0),
        wire_bits: wire_bits(round),
        goals,
        latencies,
        trials,
        seconds: clock.elapsed().as_secs_f64(),
    })
}

impl Bench<'_> {
    fn search(&mut self) -> Result<(Vec<Found>, Vec<TrialResult>), String> {
        let mut search = Search::new(&self.plan.goals, self.plan.limits);
        self.warm_up()?;
        let mut trials = Vec::new();
        while let Some(trial) = search.next() {
            let began = Instant::now();
            let seen = self.trial(trial, false, false)?;
            search.take_in(trial, &outcome(&seen, trial, began.elapsed()));
            let result = TrialResult::new(trial, &seen);
            eprintln!("{result}");
            trials.push(result);
        }
        Ok((search.found(), trials))
    }

    /// Sends two frames of each connection: then the device knows it, its neighbours, and that its backends are healthy.
    fn warm_up(&mut self) -> Result<(), String> {
        let duration = self.plan.warm_up;
        let rate = f64::from(2 * self.traffic.flows()) / duration.as_secs_f64();
        let rate = (rate as u64).clamp(1, self.plan.limits.max_rate);
        let seen = self.trial(Trial { rate, duration }, true, false)?;
        eprintln!("warm-up: {} frames sent, {} came back", seen.sent, seen.received);
        Ok(())
    }

    fn latencies(&mut self, rate: u64) -> Result<Vec<LatencyResult>, String> {
        let plan = self.plan;
        let mut results = Vec::new();
        for share in &plan.latency_shares {
            let rate = ((rate as f64 * share) as u64).max(1);
            let seen = self.trial(Trial { rate, duration: plan.latency_trial }, false, true)?;
            results.push(LatencyResult {
                share: *share,
                rate,
                lost: seen.sent - seen.received,
                latency_ns: seen.latencies.and_then(|latencies| latencies.summary()),
            });
        }
        Ok(results)
    }

    fn trial(&mut self, trial: Trial, is_new: bool, with_latencies: bool) -> Result<Seen, String> {
        let run = Run {
            rate: trial.rate,
            duration: trial.duration,
            settle: self.plan.settle,
            backlog: self.plan.backlog,
            signature: self.signatures.u32(..),
            is_new,
            with_latencies,
            clock: self.clock,
        };
        self.rig.trial(self.traffic, &run)
    }
}

/// Outcome of a trial for the search. A tester that could not receive what came back was too slow, as one that could not
/// send; the device has not lost it.
fn outcome(seen: &Seen, trial: Trial, took: Duration) -> Outcome {
    let Seen { sent, received, missed, .. } = *seen;
    let lost = (sent - received).saturating_sub(missed);
    let kept_up = 1.0 - (sent - received - lost) as f64 / sent.max(1) as f64;
    let offered = (seen.offered as f64 * kept_up) as u64;
    Outcome { sent, lost, offered, took: took.max(trial.duration) }
}

impl TrialResult {
    fn new(trial: Trial, seen: &Seen) -> Self {
        let Seen { sent, received, duplicates, reordered, strangers, offered, no_memory, missed, .. } = *seen;
        let seconds = trial.duration.as_secs_f64();
        Self {
            rate: trial.rate,
            seconds,
            offered,
            sent,
            received,
            duplicates,
            reordered,
            strangers,
            no_memory,
            missed,
        }
    }
}

impl std::fmt::Display for TrialResult {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lost = (self.sent - self.received) as f64 / self.sent.max(1) as f64 * 100.0;
        write!(
            f,
            "{} frames/s for {:.1} s: offered {}, lost {lost:.4} %",
            self.rate, self.seconds, self.offered
        )?;
        for (count, what) in [
            (self.duplicates, "twice"),
            (self.reordered, "out of order"),
            (self.strangers, "strange"),
            (self.no_memory, "without memory"),
            (self.missed, "missed by the tester"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}

impl Ending {
    /// Reason in words, for a table.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::AtMaximum => "at the maximum",
            Self::AtGenerator => "at the tester's limit",
            Self::BelowMinimum => "below the minimum",
            Self::OutOfTrials => "out of trials",
            Self::OutOfTime => "out of time",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_tester_missed_is_not_the_devices_loss() {
        let seen = |received, missed| Seen {
            sent: 1_000,
            received,
            duplicates: 0,
            reordered: 0,
            strangers: 0,
            offered: 2_000,
            no_memory: 0,
            missed,
            latencies: None,
        };
        let trial = Trial { rate: 2_000, duration: Duration::from_millis(500) };
        let took = Duration::from_secs(1);
        let rows = [
            ("nothing is lost", seen(1_000, 0), 0, 2_000),
            ("strangers were missed", seen(1_000, 50), 0, 2_000),
            ("the device has lost all that is missing", seen(900, 0), 100, 2_000),
            ("the tester has missed half of it", seen(900, 50), 50, 1_900),
            ("and all of it", seen(900, 100), 0, 1_800),
        ];
        for (claim, seen, lost, offered) in rows {
            assert_eq!(outcome(&seen, trial, took), Outcome { sent: 1_000, lost, offered, took }, "{claim}");
        }
    }
}
