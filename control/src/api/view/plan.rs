//! Plan of a reload: what it would change, and what would become of tracked connections.

use guideway_model::plan;
use serde::{Deserialize, Serialize};

use super::reload::{Change, ChangeKind};

/// Plan of a reload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Name of the configuration that the new one is compared with.
    pub old: String,
    /// Name of the new configuration.
    pub new: String,
    /// Number of configurations that the running appliance has accepted; `null` where two files are compared.
    pub configuration_generation: Option<u64>,
    /// Outcome of the whole.
    pub verdict: PlanVerdict,
    /// True if a part of the changes waits for the next start.
    pub needs_restart: bool,
    /// Changes, as a reload lists them; empty where it would change nothing.
    pub changes: Vec<Change>,
    /// Removals for which a reload needs `--yes`; `null` where there are none.
    pub removals: Option<String>,
    /// Services that are there before or after the reload, by name.
    pub services: Vec<PlannedService>,
    /// Connections that do not simply go on, by service, backend and cause.
    pub connections: Vec<PlannedConnections>,
    /// Warnings that the new configuration alone gives.
    pub warnings: Vec<String>,
}

/// Outcome of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanVerdict {
    /// A reload would change nothing.
    Nothing,
    /// A reload would change something, and no tracked connection ends or moves at once.
    Changes,
    /// Tracked connections would end or move, or may.
    ConnectionsAtRisk,
}

/// Service before and after a reload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedService {
    /// Name of the service.
    pub service: String,
    /// Eligible backends before the reload; `null` where the service is new.
    pub eligible_before: Option<u64>,
    /// Eligible backends after the reload, new ones counting as healthy; `null` where the service is gone.
    pub eligible_after: Option<u64>,
    /// Slots of the lookup table.
    pub slots: u64,
    /// Slots that lead to another backend afterwards; `null` where they cannot be compared one by one.
    pub slots_moved: Option<u64>,
    /// Share of the hash space that leads to another backend afterwards, from 0 to 1.
    pub share_moved: f64,
    /// Tracked connections; `null` where two files are compared.
    pub tracked: Option<u64>,
}

/// Tracked connections of one backend that do not simply go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedConnections {
    /// Service of the connections.
    pub service: String,
    /// Backend that they are on.
    pub backend: String,
    /// Fate of the connections.
    pub fate: Fate,
    /// Cause, in words.
    pub cause: String,
    /// Number of the connections; `null` where two files are compared.
    pub count: Option<u64>,
}

/// Fate of tracked connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// The connections end: their backend, or everything that leads to their service, is gone.
    End,
    /// The connections go by their hash again, most of them to another backend, which does not know them.
    Move,
    /// Connections end that came by a rule that is gone or takes fewer packets.
    MayEnd,
    /// The connections go on until the draining timeout of their service.
    Drain,
}

impl Plan {
    /// Plan of a reload of `new` in place of `old`, by these names.
    pub fn new(plan: plan::Plan, old: &str, new: &str, warnings: Vec<String>) -> Self {
        let changes: Vec<Change> = plan.changes.iter().map(Change::from).collect();
        Self {
            old: old.to_owned(),
            new: new.to_owned(),
            configuration_generation: None,
            verdict: match (plan.is_nothing(), plan.puts_connections_at_risk()) {
                (true, _) => PlanVerdict::Nothing,
                (false, false) => PlanVerdict::Changes,
                (false, true) => PlanVerdict::ConnectionsAtRisk,
            },
            needs_restart: changes.iter().any(|change| change.change == ChangeKind::NeedsRestart),
            changes,
            removals: plan.removals.map(|removals| removals.to_string()),
            services: plan.services.into_iter().map(PlannedService::from).collect(),
            connections: plan.fates.into_iter().map(PlannedConnections::from).collect(),
            warnings,
        }
    }

    /// Number of a service's connections of this fate; `None` where two files are compared.
    pub fn count(&self, service: &PlannedService, fate: Fate) -> Option<u64> {
        service.tracked?;
        let of = self.connections.iter().filter(|one| one.service == service.service && one.fate == fate);
        Some(of.filter_map(|one| one.count).sum())
    }
}

impl Fate {
    /// Word that tables show.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::End => "end",
            Self::Move => "move",
            Self::MayEnd => "may end",
            Self::Drain => "drain",
        }
    }
}

impl From<plan::PlannedService> for PlannedService {
    fn from(service: plan::PlannedService) -> Self {
        let number = |number: usize| number as u64;
        Self {
            service: service.name,
            eligible_before: service.eligible_before.map(number),
            eligible_after: service.eligible_after.map(number),
            slots: number(service.slots),
            slots_moved: service.slots_moved.map(number),
            share_moved: service.share_moved,
            tracked: service.tracked,
        }
    }
}

impl From<plan::Fate> for PlannedConnections {
    fn from(fate: plan::Fate) -> Self {
        Self {
            service: fate.service,
            backend: fate.backend,
            fate: match fate.kind {
                plan::FateKind::End => Fate::End,
                plan::FateKind::Move => Fate::Move,
                plan::FateKind::MayEnd => Fate::MayEnd,
                plan::FateKind::Drain => Fate::Drain,
            },
            cause: fate.cause,
            count: fate.connections,
        }
    }
}
