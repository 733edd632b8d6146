//! The links behind the configured ports.

use std::net::IpAddr;

use guideway_dataplane::address::Address;
use guideway_dataplane::egress::PortId;
use guideway_dataplane::wire::ethernet::MacAddress;

use crate::config::{Config, Port};
use crate::host_stack::{HostAddress, Link};

/// A link for each port, whose MAC addresses are `macs`, unless the configuration gives the appliance one.
///
/// An address of the network table that no port has is the first port's, with nothing else on its link: routers send
/// packets for it there.
pub(super) fn links(config: &Config, macs: &[MacAddress]) -> Vec<Link> {
    let mut links: Vec<Link> = config.ports.iter().zip(macs).enumerate().map(link).collect();
    let network = &config.network;
    for link in &mut links {
        link.mac = network.mac_address.map_or(link.mac, MacAddress);
    }
    let own = [network.ipv4_address.map(IpAddr::V4), network.ipv6_address.map(IpAddr::V6)];
    for address in own.into_iter().flatten() {
        let is_ports = config.ports.iter().flat_map(|port| &port.addresses).any(|own| own.addr() == address);
        if let (Some(first), false) = (links.first_mut(), is_ports) {
            let length = if address.is_ipv4() { 32 } else { 128 };
            first.addresses.push(HostAddress::new(address.into(), length));
        }
    }
    links
}

fn link((place, (port, mac)): (usize, (&Port, &MacAddress))) -> Link {
    let own = port.addresses.iter();
    Link {
        port: PortId(place as u8),
        vlan: None,
        mac: *mac,
        addresses: own.map(|own| HostAddress::new(own.addr().into(), own.prefix_len())).collect(),
        ipv4_gateway: port.ipv4_gateway.map(Address::from),
        ipv6_gateway: port.ipv6_gateway.map(Address::from),
    }
}
