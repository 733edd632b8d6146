//! The links that the appliance is attached to, its own addresses there, and the next hop to a destination.

use guideway_dataplane::address::{Address, Prefix};
use guideway_dataplane::egress::PortId;
use guideway_dataplane::wire::ethernet::MacAddress;

/// The VLAN that a tag names, 1 to 4094 (IEEE 802.1Q).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VlanId(pub u16);

/// The index of a link among those that the host stack was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u16);

/// A broadcast domain that a port reaches, untagged or under one VLAN tag, and the appliance's addresses in it.
///
/// A port that is a trunk has a link for each VLAN in which the appliance has an address.
#[derive(Clone, Debug)]
pub struct Link {
    /// The port that reaches the link.
    pub port: PortId,
    /// The tag of the link's frames; `None` where they are untagged.
    pub vlan: Option<VlanId>,
    /// The appliance's MAC address here.
    pub mac: MacAddress,
    /// True if the port's device computes UDP checksums.
    pub offloads_udp_checksum: bool,
    /// The appliance's own addresses here.
    pub addresses: Vec<HostAddress>,
    /// The router that takes IPv4 packets to other links.
    pub ipv4_gateway: Option<Address>,
    /// The router that takes IPv6 packets to other links; a link-local address will do.
    pub ipv6_gateway: Option<Address>,
}

/// An address of the appliance itself, and the prefix that it shares with its neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostAddress {
    /// The address.
    pub address: Address,
    /// The prefix whose addresses are on the link.
    pub on_link: Prefix,
}

impl HostAddress {
    /// An address whose prefix has `length` bits.
    pub fn new(address: Address, length: u8) -> Self {
        Self { address, on_link: Prefix::new(address, length) }
    }
}

/// A neighbour on a link: the destination itself, or the gateway on the way to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NextHop {
    /// The link. A link-local address means nothing without it.
    pub link: LinkId,
    /// The neighbour's address.
    pub address: Address,
}

impl Link {
    /// The length of the longest prefix of this link that holds `address`; `None` where none does.
    fn on_link(&self, address: Address) -> Option<u8> {
        let own = self.addresses.iter();
        own.filter(|own| own.on_link.contains(address)).map(|own| own.on_link.bits()).max()
    }

    /// The address from which the appliance asks for `target`: one of the target's own prefix where there is one, as
    /// hosts may ignore a question from another prefix.
    pub(super) fn source_for(&self, target: Address) -> Option<Address> {
        let family = || self.addresses.iter().filter(|own| own.address.is_ipv4() == target.is_ipv4());
        family().find(|own| own.on_link.contains(target)).or_else(|| family().next()).map(|own| own.address)
    }

    fn gateway(&self, destination: Address) -> Option<Address> {
        if destination.is_ipv4() { self.ipv4_gateway } else { self.ipv6_gateway }
    }
}

/// The appliance's links, by [`LinkId`].
#[derive(Debug)]
pub(super) struct Links(pub(super) Vec<Link>);

impl Links {
    pub(super) fn get(&self, link: LinkId) -> &Link {
        &self.0[usize::from(link.0)]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.0.iter().enumerate().map(|(index, link)| (LinkId(index as u16), link))
    }

    /// The link of a frame that came by `port` under this tag.
    pub(super) fn of(&self, port: PortId, vlan: Option<VlanId>) -> Option<LinkId> {
        self.iter().find(|(_, link)| link.port == port && link.vlan == vlan).map(|(id, _)| id)
    }

    /// The link that `address` is on: the one with the longest prefix that holds it.
    pub(super) fn holding(&self, address: Address) -> Option<LinkId> {
        let holding = self.iter().filter_map(|(id, link)| Some((link.on_link(address)?, id)));
        holding.max_by_key(|(bits, id)| (*bits, std::cmp::Reverse(*id))).map(|(_, id)| id)
    }

    /// The neighbour whose MAC address a packet to `destination` needs.
    pub(super) fn next_hop(&self, destination: Address) -> Option<NextHop> {
        if let Some(link) = self.holding(destination) {
            return Some(NextHop { link, address: destination });
        }
        let mut gateways = self.iter().filter_map(|(id, link)| Some((id, link, link.gateway(destination)?)));
        let (link, _, address) = gateways.find(|(_, link, gateway)| link.source_for(*gateway).is_some())?;
        Some(NextHop { link, address })
    }

    /// True if `mac` is the appliance's own on any link.
    pub(super) fn is_own(&self, mac: MacAddress) -> bool {
        self.0.iter().any(|link| link.mac == mac)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn address(text: &str) -> Address {
        text.parse::<IpAddr>().unwrap().into()
    }

    fn links() -> Links {
        let link = |port, addresses: &[(&str, u8)], gateways: [Option<&str>; 2]| Link {
            port: PortId(port),
            vlan: None,
            mac: MacAddress([2, 0, 0, 0, 0, port]),
            offloads_udp_checksum: false,
            addresses: addresses.iter().map(|(text, bits)| HostAddress::new(address(text), *bits)).collect(),
            ipv4_gateway: gateways[0].map(address),
            ipv6_gateway: gateways[1].map(address),
        };
        Links(vec![
            link(0, &[("192.0.2.10", 24), ("2001:db8::10", 64)], [Some("192.0.2.1"), Some("fe80::1")]),
            link(1, &[("192.0.2.130", 25)], [None, None]),
        ])
    }

    #[test]
    fn the_longest_prefix_names_the_link() {
        assert_eq!(links().holding(address("192.0.2.7")), Some(LinkId(0)));
        assert_eq!(links().holding(address("192.0.2.200")), Some(LinkId(1)));
        assert_eq!(links().holding(address("198.51.100.1")), None);
    }

    #[test]
    fn what_is_on_no_link_goes_by_the_gateway_of_its_family() {
        let next_hop = |text| links().next_hop(address(text)).map(|next_hop| next_hop.address.to_string());
        assert_eq!(next_hop("192.0.2.7").as_deref(), Some("192.0.2.7"));
        assert_eq!(next_hop("198.51.100.1").as_deref(), Some("192.0.2.1"));
        assert_eq!(next_hop("2001:db8:1::1").as_deref(), Some("fe80::1"));
    }
}
