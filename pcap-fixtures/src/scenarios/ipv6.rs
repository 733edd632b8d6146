//! IPv6 and its extension headers, which travel unchanged and hide no ports.

use super::{NEAR_V6, client_v6};
use crate::configuration::Configuration;
use crate::delivery::Mode;
use crate::fixture::{Fixture, hit, new};
use crate::packet::tcp::{ACK, SYN};

pub(super) fn fixtures() -> Vec<Fixture> {
    vec![plain(), extension_headers()]
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
