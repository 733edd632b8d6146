//! Announcements to routers and their progress; the drain of the appliance.

use std::fmt;
use std::time::Duration;

use guideway_model::config::{Hook, VipRange};
use serde::{Deserialize, Serialize};

use crate::announce::{Announced, Reason};

/// Address of an announcement, and how far routers have been told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// Name of the announcement.
    pub announcement: String,
    /// Address or prefix that is announced.
    pub address: VipRange,
    /// Name of the announcement's first rule that has the address.
    pub forwarding_rule: String,
    /// Network of the rule; absent where the appliance is in one network alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Hook that is told: a BIRD protocol or a program.
    pub hook: String,
    /// True if the address is to be announced.
    pub wanted: bool,
    /// Reason why the address is to be announced or not.
    pub reason: AnnouncementReason,
    /// Seconds until the hold-down of the latest withdrawal is over; `null` where none goes on.
    pub hold_down_left_sec: Option<u64>,
    /// State that the hook was told last, true for announced; `null` where it has not heard.
    pub announced: Option<bool>,
    /// Time of the last change of `announced`, in seconds since 1970.
    pub since_unix_sec: u64,
    /// Consecutive failures to tell the hook.
    pub failures: u32,
    /// Error of the last failure; `null` once the hook has heard.
    pub last_error: Option<String>,
}

/// Reason why an address is announced or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnnouncementReason {
    /// The policy is met.
    Served,
    /// No rule's service has enough healthy backends.
    TooFewHealthy,
    /// The policy is met again, and the hold-down of the latest withdrawal is not over.
    HeldDown,
    /// A worker has stalled.
    WorkerStalled,
    /// No port has a link.
    LinkDown,
    /// The appliance is drained.
    Draining,
    /// The appliance stops.
    Stopping,
    /// The address is no longer configured.
    Removed,
}

/// Guard: the process that withdraws announcements of an appliance that dies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// Number of the guard's process; `null` while no guard stands.
    pub pid: Option<u32>,
    /// Guards that have followed one that had died.
    pub restarts: u64,
    /// Cause for which a guard last ended, or could not be started; `null` if none has.
    pub last_error: Option<String>,
}

/// State of a drain of the appliance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// True if every announcement has been withdrawn.
    pub withdrawn: bool,
    /// Seconds since the last forwarded packet.
    pub quiet_sec: u64,
    /// Seconds left until the wait for the end of traffic is over.
    pub deadline_sec: u64,
    /// End of the wait; `null` while it goes on.
    pub end: Option<DrainEnd>,
    /// True if the appliance stops after the drain.
    pub stops: bool,
    /// VIPs that the appliance still answers ARP and neighbour discovery for, drained or not: their traffic goes on.
    #[serde(default)]
    pub answered_vips: Vec<VipRange>,
}

/// End of the wait for the end of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DrainEnd {
    /// Every announcement is withdrawn, and no packet has been forwarded for a while.
    Quiet,
    /// The deadline has passed.
    Deadline,
}

/// Answer to an undrain: the appliance serves again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undrained {
    /// True if the appliance was drained before.
    pub was_drained: bool,
}

impl fmt::Display for AnnouncementReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Served => "served",
            Self::TooFewHealthy => "too few healthy",
            Self::HeldDown => "held down",
            Self::WorkerStalled => "worker stalled",
            Self::LinkDown => "link down",
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
            Reason::HeldDown => Self::HeldDown,
            Reason::WorkerStalled => Self::WorkerStalled,
            Reason::LinkDown => Self::LinkDown,
            Reason::Draining => Self::Draining,
            Reason::Stopping => Self::Stopping,
            Reason::Removed => Self::Removed,
        }
    }
}

impl Announcement {
    /// State of an address at `now`, a time of the planner's clock.
    pub fn new(Announced { hook, address, progress }: Announced, now: Duration) -> Self {
        let hold_down_left_sec = progress.wish.hold_down_left_sec(now);
        let since = progress.since.duration_since(std::time::UNIX_EPOCH);
        Self {
            announcement: progress.wish.announcement,
            address,
            forwarding_rule: progress.wish.rule,
            network: progress.wish.network,
            hook: match hook {
                Hook::Bird { protocol, .. } => format!("BIRD protocol {protocol}"),
                Hook::Command(words) => words.join(" "),
            },
            wanted: progress.wish.reason.announces(),
            reason: progress.wish.reason.into(),
            hold_down_left_sec,
            announced: progress.announced,
            since_unix_sec: since.map_or(0, |since| since.as_secs()),
            failures: progress.failures,
            last_error: progress.last_error,
        }
    }
}
