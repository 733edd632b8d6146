//! The links of networks, behind the configured ports.

use std::net::IpAddr;

use guideway_dataplane::address::Address;
use guideway_dataplane::delivery::DeliveryMode;
use guideway_dataplane::egress::PortId;
use guideway_dataplane::wire::ethernet::MacAddress;
use guideway_model::config::{BackendGroup, Config, NetworkLink};

use crate::net::host_stack::{HostAddress, Link, VlanId};

/// Facts about the device of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nic {
    /// MAC address of the device.
    pub mac: MacAddress,
    /// True if the device computes UDP checksums.
    pub offloads_udp_checksum: bool,
}

/// The links of the network with this index, in the order of its ports, whose devices are `nics`; the configuration may give the appliance
/// another MAC address there.
///
/// An address of the network table that no link has is the first link's, with nothing else on its link: routers send
/// packets for it there.
pub(super) fn links(config: &Config, network: usize, nics: &[Nic]) -> Vec<Link> {
    let own = config.links().filter(|link| link.network == network);
    // A network whose port is new is on no link before the next start.
    let mut links: Vec<Link> = own.filter_map(|own| Some(link(&own, *nics.get(own.port)?))).collect();
    let network = &config.networks[network];
    for link in &mut links {
        link.mac = config.mac_of_port(usize::from(link.port.0)).map_or(link.mac, MacAddress);
    }
    let own = [network.ipv4_address.map(IpAddr::V4), network.ipv6_address.map(IpAddr::V6)];
    for address in own.into_iter().flatten().map(Address::from) {
        let is_links = links.iter().flat_map(|link| &link.addresses).any(|own| own.address == address);
        if let (Some(first), false) = (links.first_mut(), is_links) {
            let length = if address.is_ipv4() { 32 } else { 128 };
            first.addresses.push(HostAddress::new(address, length));
        }
    }
    links
}

fn link(own: &NetworkLink<'_>, nic: Nic) -> Link {
    let addresses = own.addresses.iter();
    Link {
        port: PortId(own.port as u8),
        vlan: own.vlan.map(VlanId),
        mac: nic.mac,
        offloads_udp_checksum: nic.offloads_udp_checksum,
        addresses: addresses.map(|own| HostAddress::new(own.addr().into(), own.prefix_len())).collect(),
        ipv4_gateway: own.ipv4_gateway.map(Address::from),
        ipv6_gateway: own.ipv6_gateway.map(Address::from),
    }
}

/// True if the configuration has tunnels whose UDP header needs a checksum: by GUE, over IPv6. Those that a reload brings to
/// ports that were opened without them have it computed by the workers.
pub fn needs_udp_checksum(config: &Config) -> bool {
    let is_gue = |group: &&BackendGroup| matches!(group.delivery, DeliveryMode::Gue { .. });
    let mut endpoints = config.groups.iter().filter(is_gue).flat_map(|group| &group.endpoints);
    endpoints.any(|endpoint| endpoint.address.is_ipv6())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_has_one_mac_address_in_all_its_networks() {
        let text = "[[port]]\nname = \"trunk\"\ndevice = \"net_null0\"\n\
                    [[network]]\nname = \"blue\"\nvlan = 100\nmac_address = \"02:00:00:00:00:01\"\n\
                    [[network]]\nname = \"red\"\nvlan = 200\n";
        let config = Config::parse("test", text).unwrap_or_else(|errors| panic!("{errors}"));
        let nics = [Nic { mac: MacAddress([2, 0, 0, 0, 0, 9]), offloads_udp_checksum: false }];
        for network in [0, 1] {
            let macs: Vec<MacAddress> = links(&config, network, &nics).iter().map(|link| link.mac).collect();
            assert_eq!(macs, [MacAddress([2, 0, 0, 0, 0, 1])], "{network}");
        }
    }

    #[test]
    fn a_udp_checksum_is_asked_for_where_a_tunnel_needs_one() {
        let needs = |delivery: &str, address: &str| {
            let text = format!(
                "[[backend_group]]\nname = \"a\"\ndelivery = \"{delivery}\"\n\
                 endpoints = [{{ name = \"a\", ip_address = \"{address}\" }}]\n\
                 [network]\nipv4_address = \"192.0.2.1\"\nipv6_address = \"2001:db8::1\"\n"
            );
            needs_udp_checksum(&Config::parse("test", &text).unwrap_or_else(|errors| panic!("{errors}")))
        };
        assert!(needs("gue", "2001:db8::11"));
        assert!(!needs("gue", "192.0.2.11"));
        assert!(!needs("gre", "2001:db8::11") && !needs("l2", "2001:db8::11"));
    }
}
