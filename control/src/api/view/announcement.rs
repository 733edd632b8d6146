//! What routers are told, and how far that has come; the appliance that is drained.

use std::fmt;
use std::net::IpAddr;

use guideway_model::config::Hook;
use serde::{Deserialize, Serialize};

use crate::announce::{Announced, Reason};

/// An address of an announcement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// The announcement's name.
    pub announcement: String,
    /// The address.
    pub address: IpAddr,
    /// The first rule of the announcement that has the address.
    pub forwarding_rule: String,
    /// Who is told: a BIRD protocol or a program.
    pub hook: String,
    /// Whether it is to be announced.
    pub wanted: bool,
    /// Why, or why not.
    pub reason: AnnouncementReason,
    /// What the hook was told last; `null` where it has not heard.
    pub announced: Option<bool>,
    /// Since when that is so, in seconds since 1970.
    pub since_unix_sec: u64,
    /// How often in a row the hook has not heard.
    pub failures: u32,
    /// Why not, the last time; `null` where it has heard.
    pub last_error: Option<String>,
}

/// Why an address is announced or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnnouncementReason {
    /// The policy is met.
    Served,
    /// No rule's service has enough healthy backends.
    TooFewHealthy,
    /// A worker has stalled.
    WorkerStalled,
    /// The appliance is drained.
    Draining,
    /// The appliance stops.
    Stopping,
    /// It is no longer configured.
    Removed,
}

/// An appliance that is drained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// Whether every announcement has been withdrawn.
    pub withdrawn: bool,
    /// How long no packet has been forwarded.
    pub quiet_sec: u64,
    /// How long one waits for that at most; what is left of it.
    pub deadline_sec: u64,
    /// How the wait has ended; `null` while it goes on.
    pub end: Option<DrainEnd>,
    /// Whether the appliance stops then.
    pub stops: bool,
}

/// How the wait for the end of traffic has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DrainEnd {
    /// All is withdrawn, and no packet has been forwarded for a while.
    Quiet,
    /// The time was over.
    Deadline,
}

/// The appliance serves again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undrained {
    /// Whether it was drained before.
    pub was_drained: bool,
}

impl fmt::Display for AnnouncementReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Served => "served",
            Self::TooFewHealthy => "too few healthy",
            Self::WorkerStalled => "worker stalled",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
            Self::Removed => "removed",
        })
    }
}

impl From<Reason> for AnnouncementReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Served => Self::Served,
            Reason::TooFewHealthy => Self::TooFewHealthy,
            Reason::WorkerStalled => Self::WorkerStalled,
            Reason::Draining => Self::Draining,
            Reason::Stopping => Self::Stopping,
            Reason::Removed => Self::Removed,
        }
    }
}

impl From<Announced> for Announcement {
    fn from(Announced { hook, address, progress }: Announced) -> Self {
        let since = progress.since.duration_since(std::time::UNIX_EPOCH);
        Self {
            announcement: progress.wish.announcement,
            address,
            forwarding_rule: progress.wish.rule,
            hook: match hook {
                Hook::Bird { protocol, .. } => format!("BIRD protocol {protocol}"),
                Hook::Command(words) => words.join(" "),
            },
            wanted: progress.wish.reason.announces(),
            reason: progress.wish.reason.into(),
            announced: progress.announced,
            since_unix_sec: since.map_or(0, |since| since.as_secs()),
            failures: progress.failures,
            last_error: progress.last_error,
        }
    }
}
