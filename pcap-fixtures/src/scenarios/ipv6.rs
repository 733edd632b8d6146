//! IPv6 and its extension headers, which travel unchanged and hide no ports.

use super::{NEAR_V6, client_v6, everything_v6};
use crate::configuration::Configuration;
use crate::delivery_mode::Mode;
use crate::fixture::{Fixture, Outcome, hit, new, off};
use crate::packet::Packet;
use crate::packet::tcp::{ACK, SYN};

pub(super) fn fixtures() -> Vec<Fixture> {
    vec![plain(), extension_headers(), neighbor_discovery()]
}

fn web_v6() -> Configuration {
    Configuration::new()
        .external("web", "")
        .rule("web", "ip_address = '2001:db8::10'\nports = [80, 443]")
        .group("near", Mode::L2, NEAR_V6)
}

fn plain() -> Fixture {
    let flow = |port, flags| client_v6(7).flow_label(0x12345).tcp(port, 443, flags);
    Fixture::new(
        "ipv6/connections-are-tracked",
        "IPv6 connections are selected and tracked as IPv4's are, and the flow label is left alone.",
        web_v6(),
    )
    .unhealthy("b2")
    .frame(&flow(40_000, SYN), new("web", "b1"))
    .healthy("b2")
    .unhealthy("b1")
    .frame(&flow(40_000, ACK).payload_len(33), hit("web", "b1"))
    .frame(&client_v6(7).flow_label(0x54321).tcp(40_000, 443, ACK), hit("web", "b1"))
    .frame(&flow(40_001, SYN), new("web", "b2"))
}

fn extension_headers() -> Fixture {
    let flow = client_v6(7).tcp(40_000, 443, ACK).payload_len(5);
    Fixture::new(
        "ipv6/ports-are-found-behind-extension-headers",
        "A packet with extension headers of every kind belongs to the same connection as one without.",
        web_v6(),
    )
    .unhealthy("b2")
    .frame(&client_v6(7).tcp(40_000, 443, SYN), new("web", "b1"))
    .healthy("b2")
    .frame(&flow, hit("web", "b1"))
    .frame(&flow.clone().hop_by_hop(&[5, 2, 0, 0]), hit("web", "b1"))
    .frame(&flow.clone().destination_options(&[1, 8, 0, 0, 0, 0, 0, 0, 0, 0]), hit("web", "b1"))
    .frame(&flow.clone().routing(&[4, 0, 0, 0, 0, 0]), hit("web", "b1"))
    .frame(
        &flow
            .clone()
            .hop_by_hop(&[1, 4, 0, 0, 0, 0])
            .destination_options(&[1, 4, 0, 0, 0, 0])
            .routing(&[4, 0, 0, 0, 0, 0])
            .destination_options(&[1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        hit("web", "b1"),
    )
    .frame(&flow.destination_options(&[0; 1000]), hit("web", "b1"))
}

fn neighbor_discovery() -> Fixture {
    let from_router = || Packet::between("fe80::1", "2001:db8::10");
    let ours = Outcome::Pass("neighbor_discovery");
    let mut fixture = Fixture::new(
        "ipv6/neighbor-discovery-is-for-the-appliance",
        "A router that asks for a VIP's link-layer address asks the appliance, also where L3_DEFAULT takes ICMPv6.",
        everything_v6("protocol = 'UNSPECIFIED'"),
    )
    .unhealthy("b2");
    for kind in 133..=137 {
        fixture = fixture.frame(&from_router().icmp(kind, 0, 0).payload(&[0; 16]).ttl(255), ours);
    }
    fixture
        // What a router has forwarded is none, and an echo request is the backends'.
        .frame(&client_v6(7).icmp(135, 0, 0).payload(&[0; 16]).ttl(254), off("all", "b1"))
        .frame(&client_v6(7).echo_request(1, 1).ttl(255), off("all", "b1"))
}
