//! News of neighbours, for the log: whose MAC address has changed, whose address was claimed in vain, and who needs them.

use std::collections::BTreeMap;

use guideway_dataplane::address::Address;
use guideway_dataplane::ingress::NetworkId;
use guideway_dataplane::wire::ethernet::MacAddress;

use super::Appliance;
use crate::net::host_stack::{NeighbourEvent, NextHop, RefusedClaims};

/// Change of a neighbour's MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighbourChange {
    /// MAC address that was known before.
    pub before: MacAddress,
    /// MAC address now.
    pub now: MacAddress,
}

/// Backends and gateways that a neighbour is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NeighbourUsers {
    /// True if the neighbour is a gateway of its link.
    pub is_gateway: bool,
    /// Backends that packets are sent to by this neighbour, by service and name.
    pub backends: Vec<(String, String)>,
}

/// Changes that nobody has been told of; one for each neighbour, however often it has changed.
#[derive(Debug, Default)]
pub(super) struct NeighbourNews(BTreeMap<(NetworkId, NextHop), NeighbourChange>);

impl NeighbourNews {
    /// Takes in events of host stacks.
    pub(super) fn take_in(&mut self, events: impl IntoIterator<Item = (NetworkId, NeighbourEvent)>) {
        for (network, event) in events {
            if let (true, Some(now), Some(before)) = (event.is_change(), event.mac, event.before) {
                let change =
                    self.0.entry((network, event.next_hop)).or_insert(NeighbourChange { before, now });
                change.now = now;
            }
        }
    }
}

impl Appliance {
    /// Takes the changes of neighbours' MAC addresses since the last call.
    pub fn take_neighbour_changes(&mut self) -> Vec<(NetworkId, NextHop, NeighbourChange)> {
        let news = std::mem::take(&mut self.neighbour_news.0).into_iter();
        news.filter(|(_, change)| change.before != change.now)
            .map(|((network, next_hop), change)| (network, next_hop, change))
            .collect()
    }

    /// Takes the claims to neighbours' addresses that were refused since the last call.
    pub fn take_refused_claims(&mut self) -> Vec<(NetworkId, NextHop, RefusedClaims)> {
        self.hosts.take_refused_claims()
    }

    /// Backends and gateways that a neighbour is.
    pub fn users_of(&self, network: NetworkId, next_hop: NextHop) -> NeighbourUsers {
        let mut users = NeighbourUsers::default();
        if !self.hosts.has(network) {
            return users;
        }
        let host = self.host(network);
        let link = host.link(next_hop.link);
        users.is_gateway = [link.ipv4_gateway, link.ipv6_gateway].contains(&Some(next_hop.address));
        for (name, service) in
            self.state.services().iter().filter(|(_, service)| service.network() == network)
        {
            let by_it = service.backends().filter(|backend| {
                let address = Address::from(backend.endpoint.address);
                backend.next_hop_mac().is_none() && host.next_hop(address) == Some(next_hop)
            });
            users.backends.extend(by_it.map(|backend| (name.to_owned(), backend.endpoint.name.to_string())));
        }
        users
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::host_stack::LinkId;

    const MACS: [MacAddress; 3] =
        [MacAddress([2, 0, 0, 0, 0, 1]), MacAddress([2, 0, 0, 0, 0, 2]), MacAddress([2, 0, 0, 0, 0, 3])];

    #[test]
    fn changes_of_a_neighbour_between_two_looks_are_one() {
        let next_hop = NextHop { link: LinkId(0), address: Address::v4([192, 0, 2, 7]) };
        let event = |mac, before| (NetworkId(0), NeighbourEvent { next_hop, mac, before });
        let [first, second, third] = MACS.map(Some);
        let mut news = NeighbourNews::default();
        news.take_in([event(first, None), event(None, first), event(first, first)]);
        assert!(news.0.is_empty(), "known, lost and found again is no change");
        news.take_in([event(second, first), event(third, second)]);
        let change = NeighbourChange { before: MACS[0], now: MACS[2] };
        assert_eq!(news.0, BTreeMap::from([((NetworkId(0), next_hop), change)]));
    }
}
