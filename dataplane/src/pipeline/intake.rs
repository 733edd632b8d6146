//! Intakes: what the first loop, and whoever looks up a packet's rule after it, knows of the network that the packet is of.

use super::Round;
use crate::address::Address;
use crate::affinity::TrackingHasher;
use crate::conntrack::ConntrackTable;
use crate::forwarding_rule::{ForwardingRules, RuleId};
use crate::ingress::NetworkId;
use crate::network::Network;
use crate::snapshot::Snapshot;

/// Inputs that are the same for all packets of one network in a burst. Rules are found by way of it alone, so that none is
/// found in another network.
pub(super) struct Intake<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) table: &'a ConntrackTable,
    pub(super) hasher: &'a TrackingHasher,
    pub(super) rules: &'a ForwardingRules,
    pub(super) network: NetworkId,
    /// Number of the worker.
    number: usize,
}

impl<'a> Round<'a> {
    /// Intake of packets of a network.
    #[inline(always)]
    pub(super) fn intake(&self, network: &'a Network) -> Intake<'a> {
        let Self { snapshot, table, hasher, number, .. } = *self;
        Intake { snapshot, table, hasher, rules: &network.rules, network: network.id, number }
    }
}

impl Intake<'_> {
    /// True if the access list of a rule denies packets from `source`; counts what it says.
    #[inline(always)]
    pub(super) fn denies(&self, rule: RuleId, source: Address) -> bool {
        !self.snapshot.access_lists.is_empty() && self.denies_by_list(rule, source)
    }

    #[inline(never)]
    pub(super) fn denies_by_list(&self, rule: RuleId, source: Address) -> bool {
        let Some(id) = self.rules.targets().access_list(rule) else { return false };
        let list = &self.snapshot.access_lists[usize::from(id.0)];
        let is_admitted = list.admits(source);
        if let Some(counted) = self.snapshot.traffic_counters.worker(self.number) {
            counted.judge(id, is_admitted);
        }
        !is_admitted
    }
}
