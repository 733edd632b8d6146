//! Plan of a reload: what it would change, and what would become of tracked connections.
//!
//! Judged on two copies of the forwarding state, one as it is and one after the reload, by what the workers themselves go by:
//! lookup tables, generations and deadlines. Entries of the conntrack table are shown to it one by one; without any, as where
//! two files are compared, it says what would become of those that there may be.

mod fate;
mod lost_rules;
mod moved;

use std::collections::BTreeMap;
use std::time::Duration;

use guideway_dataplane::conntrack::{Entry, Standing};
use guideway_dataplane::snapshot::Snapshot;
use guideway_dataplane::time::Tick;

use crate::config::Config;
use crate::config_diff::Change;
use crate::egress_lookup::StandInMacs;
use crate::forwarding_state::{ForwardingState, StateChange};
use crate::lookup_table_view::NamedTable;
use crate::removals::Removals;

use fate::{Destiny, Judge};
pub use fate::{Fate, FateKind};
use moved::moved_share;

/// Plan of a reload.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Differences between the configurations, in words; empty where a reload would change nothing.
    pub changes: Vec<Change>,
    /// Removals that need a word of the operator.
    pub removals: Option<Removals>,
    /// Services that are there before or after the reload, by name.
    pub services: Vec<PlannedService>,
    /// Connections that do not simply go on, by service, backend and cause.
    pub fates: Vec<Fate>,
}

/// Service before and after a reload.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedService {
    /// Name of the service.
    pub name: String,
    /// Number of eligible backends before; `None` where the service is new.
    pub eligible_before: Option<usize>,
    /// Number of eligible backends after, new ones counting as healthy; `None` where the service is gone.
    pub eligible_after: Option<usize>,
    /// Number of slots of the lookup table before the reload.
    pub slots: usize,
    /// Number of slots that lead to another backend afterwards; `None` where slots cannot be compared one by one, as with
    /// subsets or another hash.
    pub slots_moved: Option<usize>,
    /// Share of the hash space that leads to another backend afterwards, from 0 to 1.
    pub share_moved: f64,
    /// Tracked connections of the service; `None` where no table was looked at.
    pub tracked: Option<u64>,
}

/// Planner of a reload: the state before and after it, and the entries that it was shown.
#[derive(Debug)]
pub struct Planner {
    before: ForwardingState,
    after: ForwardingState,
    before_snapshot: Snapshot,
    after_snapshot: Snapshot,
    changes: Vec<Change>,
    removals: Option<Removals>,
    judge: Judge,
    counted: Option<Counts>,
}

/// Entries that the planner was shown.
#[derive(Debug, Default)]
struct Counts {
    tracked: BTreeMap<String, u64>,
    /// By service, backend, kind and cause.
    fates: BTreeMap<(String, String, FateKind, String), u64>,
}

impl Planner {
    /// Planner of a reload of `config` at `now` by an appliance in the state `before`, a copy.
    pub fn new(mut before: ForwardingState, config: Config, now: Duration) -> Self {
        let before_snapshot = before.snapshot(&StandInMacs);
        let mut after = before.copied();
        let is_nothing = after.is_in_force(&config);
        let removals = Removals::between(before.config(), &config);
        let mut changes = Vec::new();
        if is_nothing {
            // Settings that wait for the next start are told all the same.
            changes = crate::config_diff::changes(before.config(), &config);
        } else {
            changes.append(&mut after.apply([StateChange::Config(Box::new(config))], now).config);
        }
        let after_snapshot = after.snapshot(&StandInMacs);
        let judge = Judge::new(&before, &before_snapshot, &after, &after_snapshot);
        Self { before, after, before_snapshot, after_snapshot, changes, removals, judge, counted: None }
    }

    /// Begins to count entries: from now on, connections that nobody has shown are none.
    pub fn begin_count(&mut self) {
        self.counted.get_or_insert_default();
    }

    /// Counts an entry of the conntrack table.
    pub fn count(&mut self, entry: &Entry, now: Tick) {
        let counts = self.counted.get_or_insert_default();
        if self.before_snapshot.standing(entry, now) == Standing::Void {
            return;
        }
        let Some(Destiny { service, backend, kind, cause }) = self.judge.destiny(entry.backend) else {
            return;
        };
        *entry_of(&mut counts.tracked, service) += 1;
        let is_void = self.after_snapshot.standing(entry, now) == Standing::Void;
        let (kind, cause) = match kind {
            Some(FateKind::MayEnd) | None if is_void => (FateKind::Move, VOID),
            // The backend had unhealthy entries and those that persist: some of them go on.
            Some(FateKind::Move) if !is_void && *cause == fate::VOIDED => return,
            Some(kind) => (*kind, &**cause),
            None => return,
        };
        let key = (service.clone(), backend.clone(), kind, cause.to_owned());
        *counts.fates.entry(key).or_default() += 1;
    }

    /// Plan, with the entries that were shown.
    pub fn plan(self) -> Plan {
        let services = self.services();
        let fate = |((service, backend, kind, cause), connections): ((_, _, _, _), _)| Fate {
            service,
            backend,
            kind,
            cause,
            connections,
        };
        let fates = match self.counted {
            Some(counts) => counts.fates.into_iter().map(|(key, count)| fate((key, Some(count)))).collect(),
            None => self.judge.possible().into_iter().map(|key| fate((key, None))).collect(),
        };
        Plan { changes: self.changes, removals: self.removals, services, fates }
    }

    fn services(&self) -> Vec<PlannedService> {
        let names: std::collections::BTreeSet<&str> =
            self.before.services().iter().chain(self.after.services().iter()).map(|(name, _)| name).collect();
        names.into_iter().map(|name| self.service(name)).collect()
    }

    fn service(&self, name: &str) -> PlannedService {
        let eligible =
            |state: &ForwardingState| state.services().get(name).map(|service| service.eligible().len());
        let tables = (table(&self.before, name), table(&self.after, name));
        let slots = tables.0.or(tables.1).map_or(0, |table| table.table().len());
        let (slots_moved, share_moved) = match tables {
            (Some(before), Some(after)) => {
                let hash_stays =
                    self.judge.hash_stays(name) && self.before_snapshot.seed == self.after_snapshot.seed;
                moved_share(before, after, hash_stays)
            }
            _ => (Some(slots), 1.0),
        };
        PlannedService {
            name: name.to_owned(),
            eligible_before: eligible(&self.before),
            eligible_after: eligible(&self.after),
            slots,
            slots_moved,
            share_moved,
            tracked: self.counted.as_ref().map(|counts| counts.tracked.get(name).copied().unwrap_or(0)),
        }
    }
}

/// Cause of a void entry that nothing else explains.
const VOID: &str = "the entry has been idle for longer than the new timeout";

fn entry_of<'a>(counts: &'a mut BTreeMap<String, u64>, name: &str) -> &'a mut u64 {
    if !counts.contains_key(name) {
        counts.insert(name.to_owned(), 0);
    }
    counts.get_mut(name).expect("it was just put there")
}

fn table<'a>(state: &'a ForwardingState, service: &str) -> Option<NamedTable<'a>> {
    state.lookup_tables().find(|table| table.service() == service)
}

impl Plan {
    /// True if a reload would change nothing, and nothing waits for a restart.
    pub fn is_nothing(&self) -> bool {
        self.changes.is_empty()
    }

    /// True if connections end or move, or may: draining ones go on for a while.
    pub fn puts_connections_at_risk(&self) -> bool {
        self.fates.iter().any(|fate| fate.kind != FateKind::Drain)
    }
}

#[cfg(test)]
mod tests;
