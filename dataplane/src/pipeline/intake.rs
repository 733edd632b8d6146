//! Intakes: what the first loop, and whoever looks up a packet's rule after it, knows of the network that the packet is of.

use super::Round;
use crate::affinity::TrackingHasher;
use crate::conntrack::ConntrackTable;
use crate::forwarding_rule::ForwardingRules;
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
}

impl<'a> Round<'a> {
    /// Intake of packets of a network.
    #[inline(always)]
    pub(super) fn intake(&self, network: &'a Network) -> Intake<'a> {
        let Self { snapshot, table, hasher, .. } = *self;
        Intake { snapshot, table, hasher, rules: &network.rules, network: network.id }
    }
}
