//! News of neighbours, for the log: whose MAC address has changed, whose address was claimed in vain, and who needs them.

use std::collections::{BTreeMap, BTreeSet};

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
    /// First backends that packets are sent to by this neighbour, by service and name.
    pub backends: Vec<(String, String)>,
    /// Number of the other backends, which are not named.
    pub more: usize,
}

/// Backends that are named of a neighbour: a gateway may have a million of them.
const BACKENDS_NAMED: usize = 3;

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

    /// Backends and gateways that these neighbours are, by one look at each backend of their networks.
    pub fn users_of(
        &self,
        neighbours: &BTreeSet<(NetworkId, NextHop)>,
    ) -> BTreeMap<(NetworkId, NextHop), NeighbourUsers> {
        let mut users: BTreeMap<_, _> =
            neighbours.iter().map(|neighbour| (*neighbour, NeighbourUsers::default())).collect();
        let networks: BTreeSet<NetworkId> = neighbours.iter().map(|(network, _)| *network).collect();
        for network in networks.into_iter().filter(|network| self.hosts.has(*network)) {
            let host = self.host(network);
            for ((_, next_hop), users) in users.iter_mut().filter(|((of, _), _)| *of == network) {
                let link = host.link(next_hop.link);
                users.is_gateway = [link.ipv4_gateway, link.ipv6_gateway].contains(&Some(next_hop.address));
            }
            let services = self.state.services().iter().filter(|(_, service)| service.network() == network);
            for (name, service) in services {
                for backend in service.backends().filter(|backend| backend.next_hop_mac().is_none()) {
                    let next_hop = host.next_hop(Address::from(backend.endpoint.address));
                    let Some(users) = next_hop.and_then(|next_hop| users.get_mut(&(network, next_hop)))
                    else {
                        continue;
                    };
                    if users.backends.len() < BACKENDS_NAMED {
                        users.backends.push((name.to_owned(), backend.endpoint.name.to_string()));
                    } else {
                        users.more += 1;
                    }
                }
            }
        }
        users
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use guideway_model::config::Config;
    use guideway_model::forwarding_state::Setup;

    use super::super::Nic;
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

    #[test]
    fn neighbours_are_named_by_their_first_backends_and_a_number_and_strangers_by_nobody() {
        let endpoints: String = (11..20)
            .map(|host| {
                let beyond = if host < 13 { "192.0.2" } else { "203.0.113" };
                format!("{{ name = \"b{host}\", ip_address = \"{beyond}.{host}\" }},")
            })
            .collect();
        let text = format!(
            "[network]\nipv4_address = \"192.0.2.1\"\n[[port]]\nname = \"lan\"\ndevice = \"net_null0\"\n\
             ip_addresses = [\"192.0.2.1/24\"]\ngateways = [\"192.0.2.254\"]\n\
             [[forwarding_rule]]\nname = \"web\"\nip_address = \"192.0.2.100\"\nports = [80]\n\
             backend_service = \"web\"\n\
             [[backend_service]]\nname = \"web\"\nhealth_checks = [\"alive\"]\nbackends = [{{ group = \"web\" }}]\n\
             [[health_check]]\nname = \"alive\"\ntype = \"TCP\"\nport = 80\n\
             [[backend_group]]\nname = \"web\"\ndelivery = \"ipip\"\nendpoints = [{endpoints}]\n"
        );
        let config = Config::parse("test", &text).unwrap_or_else(|errors| panic!("{errors}"));
        let nic = Nic { mac: MACS[0], offloads_udp_checksum: false };
        let appliance = Appliance::new(config, &[nic], Setup::OFFLINE, Duration::ZERO);
        let of = |host| (NetworkId(0), NextHop { link: LinkId(0), address: Address::v4([192, 0, 2, host]) });
        let elsewhere = (NetworkId(7), of(11).1);
        let asked = BTreeSet::from([of(254), of(11), of(66), elsewhere]);
        let named =
            |names: &[&str]| names.iter().map(|name| ("web".to_owned(), (*name).to_owned())).collect();
        let gateway = NeighbourUsers { is_gateway: true, backends: named(&["b13", "b14", "b15"]), more: 4 };
        let backend = NeighbourUsers { backends: named(&["b11"]), ..NeighbourUsers::default() };
        let nobody = NeighbourUsers::default();
        let expected = BTreeMap::from([
            (of(254), gateway),
            (of(11), backend),
            (of(66), nobody.clone()),
            (elsewhere, nobody),
        ]);
        assert_eq!(appliance.users_of(&asked), expected);
    }
}
