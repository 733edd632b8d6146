//! Findings of the doctor: what was looked at, what was found, what it should be, and the command that mends it.

use serde::{Deserialize, Serialize};

use super::facts::{AdminSocket, Facts};
pub(super) use crate::run::machine::shell_word::quoted;

/// Weight of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Subject that is as it should be.
    Ok,
    /// Something to know, which harms nothing by itself.
    Note,
    /// The appliance runs, and is slower or less safe for it, or will not do all that it should.
    Warning,
    /// The appliance does not start, or does not forward as it should.
    Fault,
}

/// State of the appliance, as far as its admin socket tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApplianceState {
    /// The appliance answers.
    Running,
    /// The appliance has taken a connection, and does not answer.
    Silent,
    /// No appliance listens.
    Absent,
    /// The socket cannot be asked, or is somebody else's.
    Unknown,
}

/// Finding of one check about one subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Name of the check.
    pub check: String,
    /// Weight of the finding.
    pub level: Level,
    /// Subject of the finding: a port, a core, a file.
    pub subject: String,
    /// State that was found.
    pub found: String,
    /// State that should be; `null` where nothing is wrong, or where `found` says it.
    pub expected: Option<String>,
    /// Command that can be pasted, or a line of the configuration; `null` where there is nothing to do.
    pub remedy: Option<String>,
}

/// Result of all checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// Version of the program.
    pub version: String,
    /// Path of the configuration file.
    pub config: String,
    /// State of the appliance.
    pub appliance: ApplianceState,
    /// Process of the running appliance; `null` where none answers.
    pub appliance_pid: Option<u32>,
    /// Number of faults.
    pub faults: usize,
    /// Number of warnings.
    pub warnings: usize,
    /// Number of notes.
    pub notes: usize,
    /// Findings, the worst first.
    pub findings: Vec<Finding>,
}

impl Finding {
    /// Finding that nothing is wrong with a subject.
    pub fn ok(subject: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(Level::Ok, subject, found)
    }

    /// Finding to know.
    pub fn note(subject: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(Level::Note, subject, found)
    }

    /// Finding of something that should be otherwise.
    pub fn warning(subject: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(Level::Warning, subject, found)
    }

    /// Finding of something that must be otherwise.
    pub fn fault(subject: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(Level::Fault, subject, found)
    }

    fn new(level: Level, subject: impl Into<String>, found: impl Into<String>) -> Self {
        let (subject, found) = (subject.into(), found.into());
        Self { check: String::new(), level, subject, found, expected: None, remedy: None }
    }

    /// Adds the command that mends what was found, where that says by itself what should be.
    #[must_use]
    pub fn mended_by(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Adds the state that should be, and the command that leads to it.
    #[must_use]
    pub fn should_be(mut self, expected: impl Into<String>, remedy: impl Into<String>) -> Self {
        (self.expected, self.remedy) = (Some(expected.into()), Some(remedy.into()));
        self
    }
}

impl Diagnosis {
    /// Sums up findings.
    pub fn new(facts: &Facts, findings: Vec<Finding>) -> Self {
        let of = |level| findings.iter().filter(|finding| finding.level == level).count();
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            config: facts.config_path.clone(),
            appliance: match &facts.admin_socket {
                _ if facts.status.is_some() => ApplianceState::Running,
                AdminSocket::Silent(_) => ApplianceState::Silent,
                AdminSocket::Free | AdminSocket::NotASocket => ApplianceState::Absent,
                AdminSocket::Forbidden | AdminSocket::Stranger(_) => ApplianceState::Unknown,
            },
            appliance_pid: facts.status.as_ref().map(|status| status.pid),
            faults: of(Level::Fault),
            warnings: of(Level::Warning),
            notes: of(Level::Note),
            findings,
        }
    }
}

/// Writes numbers as the kernel lists cores: `0-3,8`.
pub(super) fn list(numbers: &[usize]) -> String {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for number in sorted {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let text = |(first, last): (usize, usize)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    ranges.into_iter().map(text).collect::<Vec<_>>().join(",")
}

/// Names cores in a sentence: `core 3`, `cores 0-3,8`.
pub(super) fn named_cores(numbers: &[usize]) -> String {
    let noun = if numbers.len() == 1 { "core" } else { "cores" };
    format!("{noun} {}", list(numbers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_listed_in_ranges() {
        assert_eq!(list(&[3, 1, 2, 8, 8, 10, 11]), "1-3,8,10-11");
        assert_eq!(list(&[]), "");
        assert_eq!((named_cores(&[3]), named_cores(&[3, 2])), ("core 3".to_owned(), "cores 2-3".to_owned()));
    }
}
