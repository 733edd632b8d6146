//! Report of a seed: its story, its counts, its digest, and the first thing that was wrong.

use std::collections::VecDeque;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use crate::invariant::Violation;

/// Lines of a story that are kept: the latest ones.
const LINES: usize = 400;

/// Account of a simulation while it goes on.
#[derive(Debug, Default)]
pub struct Report {
    story: VecDeque<String>,
    digest: DefaultHasher,
    /// Counts of what has happened.
    pub counts: Counts,
}

/// Counts of what has happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Counts {
    /// Packets that clients have sent.
    pub packets: u64,
    /// Packets that were forwarded to backends.
    pub forwarded: u64,
    /// Choices of a backend for a new connection.
    pub choices: u64,
    /// Packets that had to follow their connection, and did.
    pub kept: u64,
    /// Faults.
    pub faults: u64,
    /// Acts of operators that were answered.
    pub acts: u64,
    /// Snapshots that were seen.
    pub snapshots: u64,
    /// Frames that the network has lost.
    pub lost: u64,
}

impl Report {
    /// Tells what has happened.
    pub fn tell(&mut self, now: Duration, what: fmt::Arguments<'_>) {
        let line = format!("{:>9.3} s  {what}", now.as_secs_f64());
        line.hash(&mut self.digest);
        if self.story.len() == LINES {
            self.story.pop_front();
        }
        self.story.push_back(line);
    }

    /// Takes a frame into the digest.
    pub fn frame(&mut self, now: Duration, bytes: &[u8]) {
        (now, bytes).hash(&mut self.digest);
    }

    /// Ends the account.
    pub fn end(mut self, seed: u64, violation: Option<Violation>, lasted: Duration) -> Outcome {
        self.counts.hash(&mut self.digest);
        Outcome {
            seed,
            violation,
            lasted,
            digest: self.digest.finish(),
            counts: self.counts,
            story: self.story.into(),
        }
    }
}

/// Outcome of a seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Seed.
    pub seed: u64,
    /// First invariant that did not hold.
    pub violation: Option<Violation>,
    /// Virtual time that it lasted.
    pub lasted: Duration,
    /// Digest of all frames, events and counts.
    pub digest: u64,
    /// Counts of what has happened.
    pub counts: Counts,
    /// Latest lines of the story.
    pub story: Vec<String>,
}

impl Outcome {
    /// Text of the outcome: the story where it is asked for, and always where an invariant did not hold.
    pub fn text(&self, with_story: bool) -> String {
        let story = if with_story || self.violation.is_some() { &self.story[..] } else { &[] };
        story.iter().map(|line| format!("{line}\n")).chain([format!("{self}\n")]).collect()
    }

    /// Command that replays the seed.
    pub fn command(&self) -> String {
        format!("cargo run --release -p guideway-simulation -- --seed {}", self.seed)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { packets, forwarded, choices, kept, faults, acts, snapshots, lost } = self.counts;
        writeln!(
            f,
            "seed {}: {:.1} s, {packets} packets, {forwarded} forwarded ({choices} chosen, {kept} kept), {faults} faults, \
             {acts} acts, {snapshots} snapshots, {lost} frames lost, digest {:016x}",
            self.seed,
            self.lasted.as_secs_f64(),
            self.digest
        )?;
        match &self.violation {
            None => write!(f, "every invariant held"),
            Some(violation) => write!(f, "{violation}\nreplay: {}", self.command()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariant::Invariant;

    #[test]
    fn a_seed_that_fails_always_tells_its_story() {
        let outcome = |violation| {
            let mut report = Report::default();
            report.tell(Duration::ZERO, format_args!("a backend dies"));
            report.end(7, violation, Duration::ZERO)
        };
        let violation = Invariant::Health.violated(0, Duration::ZERO, "b0 is healthy, and dead".to_owned());
        let failed = outcome(Some(violation)).text(false);
        let parts = [
            "a backend dies\n",
            "health at 0.000 s, appliance 0: b0 is healthy",
            "replay: cargo run",
            "--seed 7\n",
        ];
        assert!(parts.iter().all(|part| failed.contains(part)), "{failed}");
        assert!(outcome(None).text(true).contains("a backend dies"));
        assert!(!outcome(None).text(false).contains("a backend dies"));
    }
}
