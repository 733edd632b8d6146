//! What a reload has changed; that the appliance stops.

use serde::{Deserialize, Serialize};

use crate::appliance;

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

impl From<&appliance::Change> for Change {
    fn from(change: &appliance::Change) -> Self {
        let kind = match change.sort {
            appliance::Sort::Added => ChangeKind::Added,
            appliance::Sort::Removed => ChangeKind::Removed,
            appliance::Sort::Changed => ChangeKind::Changed,
            appliance::Sort::NeedsRestart => ChangeKind::NeedsRestart,
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
