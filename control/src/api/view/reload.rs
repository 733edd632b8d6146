//! What a reload has changed; that the appliance stops.

use serde::{Deserialize, Serialize};

use guideway_model::config_diff;

/// A configuration that was taken over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reload {
    /// How many configurations have been accepted, this one included.
    pub configuration_generation: u64,
    /// What has changed; empty where the file says what it said before.
    pub changes: Vec<Change>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What became of it.
    pub change: ChangeKind,
    /// What it is, in words.
    pub text: String,
}

/// What became of a part of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is another than before.
    Changed,
    /// It was written otherwise, and stays as it is until the next start.
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
    /// The sign that stands before the change in a list.
    pub const fn sign(self) -> char {
        match self {
            Self::Added => '+',
            Self::Removed => '-',
            Self::Changed => '~',
            Self::NeedsRestart => '!',
        }
    }
}

/// The appliance stops.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stopping {
    /// The process that ends.
    pub pid: u32,
}
