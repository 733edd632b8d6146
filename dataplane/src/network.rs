//! Networks: each a world of its own, with virtual IP addresses, clients, routes and the appliance's own addresses, which may
//! be those of another network too.
//!
//! A frame is of the network that it came by ([`ingress`](crate::ingress)). Everything after that is looked up in its network
//! alone: rules and routes are the network's, a service is of one network, so is all that the service's key names in the
//! conntrack table, and packets leave by their service's network.

use std::sync::Arc;

use crate::address::Address;
use crate::egress::PortId;
use crate::forwarding_rule::ForwardingRules;
use crate::ingress::{ByTag, Ingress, NetworkId, PortNetworks};

/// A network as packets see it.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// Number of the network.
    pub id: NetworkId,
    /// Rules and routes that lead the network's packets to services.
    pub rules: Arc<ForwardingRules>,
    /// Own addresses of the appliance, from which it sends ICMP errors.
    pub own: OwnAddresses,
    /// Limit on the ICMP errors that a worker sends in a second.
    pub icmp_errors_per_sec: u32,
}

/// Own addresses of the appliance in a network, one of each family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnAddresses {
    /// IPv4 address.
    pub ipv4: Option<Address>,
    /// IPv6 address.
    pub ipv6: Option<Address>,
}

impl OwnAddresses {
    /// Own address of the same family as `address`.
    pub fn like(&self, address: Address) -> Option<Address> {
        if address.is_ipv4() { self.ipv4 } else { self.ipv6 }
    }
}

impl Network {
    /// Source of an ICMP error about a packet to `dst`: the appliance's own address, else the VIP, for which it
    /// speaks. `None` for a packet that came by a route, whose destination is somebody else's.
    pub fn error_source(&self, dst: Address) -> Option<Address> {
        self.own.like(dst).or_else(|| self.rules.is_vip(dst).then_some(dst))
    }
}

/// Networks of a snapshot, and the one that each frame is of.
#[derive(Clone, Debug, Default)]
pub struct Networks {
    // In its place, so that it costs no further read.
    first: Network,
    /// By [`NetworkId`], with the first among them and empty ones for numbers that no network has; none where the first is
    /// the only one.
    by_id: Box<[Network]>,
    ingress: Ingress,
}

impl Networks {
    /// Sole network, of which every frame is.
    pub fn one(network: Network) -> Self {
        Self { first: network, by_id: Box::default(), ingress: Ingress::default() }
    }

    /// Networks, each under its number, and the way of frames to them.
    ///
    /// # Panics
    /// If there is none.
    pub fn new(networks: impl IntoIterator<Item = Network>, ingress: Ingress) -> Self {
        let networks: Vec<Network> = networks.into_iter().collect();
        let first = networks.first().expect("an appliance is in one network at least").clone();
        if networks.len() == 1 {
            return Self { first, by_id: Box::default(), ingress };
        }
        let len = networks.iter().map(|network| usize::from(network.id.0) + 1).max().unwrap_or(0);
        let mut by_id = vec![Network::default(); len];
        for network in networks {
            let index = usize::from(network.id.0);
            by_id[index] = network;
        }
        Self { first, by_id: by_id.into(), ingress }
    }

    /// First network, and the only one of nearly all appliances.
    #[inline]
    pub fn first(&self) -> &Network {
        &self.first
    }

    /// Network with this number.
    ///
    /// # Panics
    /// If there is none.
    #[inline]
    pub fn get(&self, id: NetworkId) -> &Network {
        if id == self.first.id { &self.first } else { &self.by_id[usize::from(id.0)] }
    }

    /// Network with this number; [`None`], or an empty one, where no network has it.
    pub fn find(&self, id: NetworkId) -> Option<&Network> {
        if id == self.first.id { Some(&self.first) } else { self.by_id.get(usize::from(id.0)) }
    }

    /// Way of frames to their networks.
    pub fn ingress(&self) -> &Ingress {
        &self.ingress
    }

    /// Networks of the frames that come by a port.
    #[inline]
    pub(crate) fn of_port(&self, port: PortId) -> OfPort<'_> {
        match self.ingress.of_port(port) {
            None => OfPort::One(&self.first),
            Some(PortNetworks::One(id)) => OfPort::One(self.get(*id)),
            Some(PortNetworks::ByTag(by_tag)) => OfPort::ByTag(by_tag),
        }
    }
}

/// Networks of the frames that come by one port.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OfPort<'n> {
    /// All frames are of this one.
    One(&'n Network),
    /// Frames of each tag, and those of none, are of one of their own, or of none.
    ByTag(&'n ByTag),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::NetworkLink;

    fn network(id: u8) -> Network {
        Network { id: NetworkId(id), icmp_errors_per_sec: u32::from(id) + 1, ..Network::default() }
    }

    #[test]
    fn networks_are_found_by_their_numbers_whatever_their_order_and_gaps() {
        let link =
            |id: u8| NetworkLink { network: NetworkId(id), port: PortId(0), vlan: Some(u16::from(id) + 1) };
        let ids = [5, 127, 0, 2];
        let networks = Networks::new(ids.map(network), Ingress::new(&ids.map(link)));
        for id in ids {
            assert_eq!(networks.get(NetworkId(id)).icmp_errors_per_sec, u32::from(id) + 1);
            assert_eq!(networks.find(NetworkId(id)).map(|found| found.id), Some(NetworkId(id)));
        }
        assert_eq!(networks.first().id, NetworkId(5));
        let limit = |id| networks.find(NetworkId(id)).map(|found| found.icmp_errors_per_sec);
        assert_eq!((limit(3), Networks::one(network(7)).find(NetworkId(3)).map(|_| ())), (Some(0), None));
    }

    #[test]
    fn a_sole_network_has_every_frame_whatever_its_number() {
        let networks = Networks::new([network(9)], Ingress::default());
        assert!(matches!(networks.of_port(PortId(3)), OfPort::One(network) if network.id == NetworkId(9)));
        assert_eq!(networks.get(NetworkId(9)).id, NetworkId(9));
    }
}
