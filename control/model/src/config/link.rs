//! The appliance's place on a link, untagged or in a VLAN: its addresses, and the routers to all other destinations.

use std::net::IpAddr;

use ipnet::IpNet;

use super::limits::MAX_ADDRESSES_OF_A_PORT;
use super::report::Report;
use super::written::field::{Field, elements};
use super::written::lengths::limit;
use super::written::value::InterfaceAddress;

/// Addresses of the appliance on a link, and its routers.
pub(super) struct ParsedLink {
    /// Addresses; none if one of them is wrong.
    pub(super) addresses: Option<Vec<IpNet>>,
    /// Router to all other IPv4 destinations.
    pub(super) ipv4_gateway: Option<IpAddr>,
    /// Router to all other IPv6 destinations.
    pub(super) ipv6_gateway: Option<IpAddr>,
}

/// Parses the addresses and the gateways of a `noun`: a port or a network.
pub(super) fn parse(
    ip_addresses: &Option<Field<Vec<Field<InterfaceAddress>>>>,
    gateways: &Option<Field<Vec<Field<IpAddr>>>>,
    noun: &str,
    report: &mut Report,
) -> ParsedLink {
    let addresses = elements(ip_addresses);
    limit(&format!("addresses of one {noun}"), addresses, MAX_ADDRESSES_OF_A_PORT, report);
    let addresses: Option<Vec<IpNet>> = addresses.iter().map(|address| Some(address.copied()?.0)).collect();
    let [ipv4_gateway, ipv6_gateway] = parse_gateways(elements(gateways), addresses.as_deref(), noun, report);
    ParsedLink { addresses, ipv4_gateway, ipv6_gateway }
}

/// Gateways of both address families, each on the link.
fn parse_gateways(
    gateways: &[Field<IpAddr>],
    addresses: Option<&[IpNet]>,
    noun: &str,
    report: &mut Report,
) -> [Option<IpAddr>; 2] {
    let mut found: [Option<(IpAddr, &Field<IpAddr>)>; 2] = [None, None];
    for field in gateways {
        let Some(gateway) = field.copied() else { continue };
        let on_link =
            |addresses: &[IpNet]| addresses.iter().any(|own| own.contains(&gateway) && own.addr() != gateway);
        // A link-local gateway is on every link, but to ask for it takes an address of its family.
        let link_local = matches!(gateway, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let is_near = |addresses: &[IpNet]| {
            on_link(addresses) || (link_local && addresses.iter().any(|own| own.addr().is_ipv6()))
        };
        if addresses.is_some_and(|own| !is_near(own)) {
            report.error(
                field.span(),
                format!("gateway `{gateway}` is in no prefix of the {noun}'s `ip_addresses`"),
                format!(
                    "write the address of a neighbour on the link, or add the {noun}'s own address there"
                ),
            );
        }
        let family = &mut found[usize::from(gateway.is_ipv6())];
        if let Some((_, first)) = family.replace((gateway, field)) {
            report.error_beside(
                field.span(),
                "two gateways of one family",
                "keep at most one IPv4 gateway and one IPv6 gateway",
                [(first.span(), "the first".to_owned())],
            );
        }
    }
    found.map(|gateway| gateway.map(|(address, _)| address))
}
