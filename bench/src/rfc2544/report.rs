//! Report of all measurements, as tables and as JSON.

use std::fmt;

use serde::Serialize;

use super::frame_len::FrameLen;
use super::measurement::{GoalResult, Measured, Plan};
use super::protocol::{Family, Protocol};
use crate::environment::Environment;
use crate::output::markdown;

/// Results of all frame lengths, with their settings and environment.
#[derive(Serialize)]
pub(super) struct Report {
    /// Device under test, and the tester's ports before it.
    pub(super) device: String,
    pub(super) family: Family,
    pub(super) protocol: Protocol,
    pub(super) flows: u32,
    pub(super) targets: usize,
    #[serde(flatten)]
    pub(super) plan: Plan,
    pub(super) measured: Vec<Measured>,
    /// Things that a reader must know of this tester.
    pub(super) remarks: Vec<String>,
    pub(super) environment: Environment,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let goal = &self.plan.goals[0];
        writeln!(
            f,
            "{}\n{} over {}, {} flows to {} targets; trials of {:?} to {:?}, {:?} in all at a rate, {} % of it may \
             exceed; width {} %\n",
            self.device,
            self.protocol,
            self.family,
            self.flows,
            self.targets,
            goal.initial_trial,
            goal.final_trial,
            goal.duration_sum,
            goal.exceed_ratio * 100.0,
            goal.width * 100.0
        )?;
        let header = [
            "frame",
            "goal",
            "search",
            "loss",
            "frames/s",
            "not at",
            "came through",
            "Gbit/s on the wire",
            "trials",
            "s",
        ];
        let rows = self.measured.iter().flat_map(|one| one.goals.iter().map(|goal| one.row(goal)));
        writeln!(f, "{}\n", markdown(header, rows, 3))?;
        let header = ["frame", "load", "frames/s", "lost", "min µs", "p50", "p90", "p99", "p99.9", "max"];
        let rows = self.measured.iter().flat_map(Measured::latency_rows);
        writeln!(f, "{}\n", markdown(header, rows, 1))?;
        self.remarks.iter().try_for_each(|remark| writeln!(f, "{remark}"))?;
        write!(f, "{}", self.environment)
    }
}

impl Measured {
    fn row(&self, goal: &GoalResult) -> Vec<String> {
        let or_none = |rate: Option<u64>| rate.map_or_else(|| "-".to_owned(), |rate| rate.to_string());
        let found = &goal.found;
        let gigabits = found.lower.map(|rate| rate as f64 * self.wire_bits / 1e9);
        vec![
            self.frame(),
            goal.name.to_owned(),
            found.ending.words().to_owned(),
            format!("{} %", goal.loss_ratio * 100.0),
            or_none(found.lower),
            or_none(found.upper),
            or_none(found.throughput.map(|through| through as u64)),
            gigabits.map_or_else(|| "-".to_owned(), |gigabits| format!("{gigabits:.3}")),
            self.trials.len().to_string(),
            format!("{:.0}", self.seconds),
        ]
    }

    fn latency_rows(&self) -> impl Iterator<Item = Vec<String>> + '_ {
        self.latencies.iter().map(|one| {
            let mut row = vec![
                self.frame(),
                format!("{} %", one.share * 100.0),
                one.rate.to_string(),
                one.lost.to_string(),
            ];
            match one.latency_ns {
                Some(of) => row.extend(
                    [of.min, of.p50, of.p90, of.p99, of.p99_9, of.max]
                        .map(|nanos| format!("{:.1}", nanos as f64 / 1e3)),
                ),
                None => row.extend(std::iter::repeat_n("-".to_owned(), 6)),
            }
            row
        })
    }

    /// Length of the frames, and of the shortest if it had to be longer.
    fn frame(&self) -> String {
        match self.frame_len {
            FrameLen::Bytes(bytes) if usize::from(bytes) < self.shortest_frame => {
                format!("{bytes} as {}", self.shortest_frame)
            }
            len => len.to_string(),
        }
    }
}
