//! Answers to a reload and to a stop.

use serde::{Deserialize, Serialize};

use guideway_model::config_diff;

/// Configuration that a reload has put in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reload {
    /// Path of the configuration file.
    #[serde(default)]
    pub config_path: String,
    /// Number of configurations accepted, this one included; it stays where the file changes nothing.
    pub configuration_generation: u64,
    /// Changes; empty where the file says what it said before.
    pub changes: Vec<Change>,
    /// Warnings of settings that can never do what they are there for.
    pub warnings: Vec<String>,
}

/// Change of a part of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Kind of change.
    pub change: ChangeKind,
    /// Sentence that names the part.
    pub text: String,
}

/// Kind of change to a part of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// The part is new.
    Added,
    /// The part is gone.
    Removed,
    /// The part differs from before.
    Changed,
    /// The part differs in the file, and stays as it is until the next start.
    NeedsRestart,
}

impl From<&config_diff::Change> for Change {
    fn from(change: &config_diff::Change) -> Self {
        let kind = match change.kind {
            config_diff::ChangeKind::Added => ChangeKind::Added,
            config_diff::ChangeKind::Removed => ChangeKind::Removed,
            config_diff::ChangeKind::Changed => ChangeKind::Changed,
            config_diff::ChangeKind::NeedsRestart => ChangeKind::NeedsRestart,
        };
        Self { change: kind, text: change.text.clone() }
    }
}

impl ChangeKind {
    /// Sign before the change in a list.
    pub const fn sign(self) -> char {
        match self {
            Self::Added => '+',
            Self::Removed => '-',
            Self::Changed => '~',
            Self::NeedsRestart => '!',
        }
    }
}

/// Answer to a stop: the appliance stops.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stopping {
    /// Number of the process that ends.
    pub pid: u32,
}
