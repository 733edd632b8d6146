//! Lists all fixtures, a file for each family of claims.

mod access_lists;
mod admission;
mod affinity;
mod delivery;
mod draining;
mod failover;
mod fragments;
mod health;
mod icmp_errors;
mod ipv6;
mod link;
mod malformed;
mod networks;
mod prefixes;
mod protocols;
mod routes;
mod rules;
mod sizes;
mod subsets;
mod tracking;
mod weights;

use crate::configuration::Configuration;
use crate::delivery_mode::Mode;
use crate::fixture::Fixture;
use crate::packet::Packet;

/// Lists all fixtures, by family.
pub fn fixtures() -> Vec<Fixture> {
    let families = [
        rules::fixtures(),
        prefixes::fixtures(),
        routes::fixtures(),
        access_lists::fixtures(),
        admission::fixtures(),
        affinity::fixtures(),
        subsets::fixtures(),
        tracking::fixtures(),
        protocols::fixtures(),
        fragments::fixtures(),
        ipv6::fixtures(),
        health::fixtures(),
        failover::fixtures(),
        draining::fixtures(),
        weights::fixtures(),
        delivery::fixtures(),
        link::fixtures(),
        sizes::fixtures(),
        icmp_errors::fixtures(),
        malformed::fixtures(),
        networks::fixtures(),
    ];
    families.into_iter().flatten().collect()
}

/// VIP of nearly all rules.
const VIP: &str = "203.0.113.10";
/// IPv6 VIP of nearly all rules.
const VIP_V6: &str = "2001:db8::10";

/// Names and addresses of two backends on the appliance's own segment.
const NEAR: &[(&str, &str)] = &[("b1", "192.0.2.11"), ("b2", "192.0.2.12")];
/// Names and IPv6 addresses of two backends on the appliance's own segment.
const NEAR_V6: &[(&str, &str)] = &[("b1", "2001:db8:1::11"), ("b2", "2001:db8:1::12")];

/// Starts a packet of a client to the VIP.
fn client(number: u8) -> Packet {
    Packet::between(&format!("198.51.100.{number}"), VIP)
}

/// Starts a packet of a client to the IPv6 VIP.
fn client_v6(number: u8) -> Packet {
    Packet::between(&format!("2001:db8:c::{number:x}"), VIP_V6)
}

/// Configures TCP for ports 80 and 443 before two backends; `lines` are the service's.
fn web(lines: &'static str) -> Configuration {
    Configuration::new()
        .external("web", lines)
        .rule("web", "ip_address = '203.0.113.10'\nports = [80, 443]")
        .group("near", Mode::L2, NEAR)
}

/// Configures every protocol and port before two backends; `lines` are the service's.
fn everything(lines: &'static str) -> Configuration {
    Configuration::new()
        .external("all", lines)
        .rule("all", "ip_address = '203.0.113.10'\nip_protocol = 'L3_DEFAULT'\nall_ports = true")
        .group("near", Mode::L2, NEAR)
}

/// Configures every protocol and port before two backends of an internal service; `lines` are the service's.
fn everything_internal(lines: &'static str) -> Configuration {
    Configuration::new()
        .internal("all", lines)
        .rule("all", "ip_address = '203.0.113.10'\nip_protocol = 'L3_DEFAULT'\nall_ports = true")
        .group("near", Mode::L2, NEAR)
}

/// Configures every protocol and port before two IPv6 backends; `lines` are the service's.
fn everything_v6(lines: &'static str) -> Configuration {
    Configuration::new()
        .external("all", lines)
        .rule("all", "ip_address = '2001:db8::10'\nip_protocol = 'L3_DEFAULT'\nall_ports = true")
        .group("near", Mode::L2, NEAR_V6)
}
