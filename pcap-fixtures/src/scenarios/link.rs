//! The link layer: VLAN tags, padding, frames that are not IP and frames for everyone.

use super::{VIP, client, client_v6, web};
use crate::configuration::Configuration;
use crate::delivery_mode::Mode;
use crate::fixture::{Fixture, Outcome, hit, new};
use crate::packet::Packet;
use crate::packet::tcp::{ACK, SYN};

pub(super) fn fixtures() -> Vec<Fixture> {
    vec![vlan(), vlan_in_tunnels(), padding(), padding_in_tunnels(), not_ip(), group_addresses(), snapped()]
}

const NOT_IP: Outcome = Outcome::Pass("not_ip");

fn behind_ipip(endpoint: &str) -> Configuration {
    Configuration::new()
        .external("web", "")
        .rule("web", "ip_address = '203.0.113.10'\nports = [80, 443]")
        .rule("web-v6", "ip_address = '2001:db8::10'\nports = [80, 443]")
        .group("far", Mode::Ipip, &[("b1", endpoint)])
}

fn vlan() -> Fixture {
    Fixture::new(
        "link/vlan-tags-are-kept",
        "VLAN and QinQ tags, priority bits and all, are kept; the connection is the same with and without \
         them.",
        web(""),
    )
    .unhealthy("b2")
    .frame(&client(7).vlan(100).tcp(40_000, 443, SYN), new("web", "b1"))
    .frame(&client(7).vlan(0xe000 | 100).tcp(40_000, 443, ACK), hit("web", "b1"))
    .frame(&client(7).service_vlan(5).vlan(100).tcp(40_000, 443, ACK), hit("web", "b1"))
    .frame(&client(7).vlan(5).vlan(100).tcp(40_000, 443, ACK), hit("web", "b1"))
    .frame(&client(7).tcp(40_000, 443, ACK), hit("web", "b1"))
}

fn vlan_in_tunnels() -> Fixture {
    Fixture::new(
        "link/vlan-tags-are-kept-around-tunnels",
        "A tunnel's outer header goes behind the VLAN tags, and the innermost EtherType follows the outer \
         family.",
        behind_ipip("2001:db8:2::1"),
    )
    .frame(&client(7).vlan(100).tcp(40_000, 443, SYN), new("web", "b1"))
    .frame(&client(7).service_vlan(5).vlan(100).tcp(40_000, 443, ACK), hit("web", "b1"))
    .frame(&client_v6(7).service_vlan(5).vlan(100).tcp(40_000, 443, SYN), new("web-v6", "b1"))
}

fn padding() -> Fixture {
    Fixture::new(
        "link/padding-is-kept-by-l2",
        "What pads a short frame is no part of the packet; l2 leaves it where it is.",
        web(""),
    )
    .unhealthy("b2")
    .frame(&client(7).tcp(40_000, 443, SYN).trailer(&[0; 6]), new("web", "b1"))
    .frame(&client(7).tcp(40_000, 443, ACK).trailer(&[0xee; 26]), hit("web", "b1"))
}

fn padding_in_tunnels() -> Fixture {
    Fixture::new(
        "link/padding-is-trimmed-in-tunnels",
        "What pads a short frame does not end up inside a tunnel.",
        behind_ipip("198.18.0.1"),
    )
    .frame(&client(7).tcp(40_000, 443, SYN).trailer(&[0; 6]), new("web", "b1"))
    .frame(&client(7).tcp(40_000, 443, ACK).trailer(&[0xee; 26]), hit("web", "b1"))
    .frame(&client_v6(7).tcp(40_000, 443, SYN).trailer(&[0xee; 4]), new("web-v6", "b1"))
}

fn not_ip() -> Fixture {
    let link = |ether_type: u16, payload: &[u8]| {
        [&[0xff; 6][..], &[2, 0, 0, 0, 0, 1], &ether_type.to_be_bytes(), payload].concat()
    };
    // RFC 826: who has 203.0.113.10? Tell 203.0.113.1.
    let arp = [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 203, 0, 113, 1, 0, 0, 0, 0, 0, 0, 203, 0, 113, 10];
    let three_tags = client(7).vlan(1).vlan(2).vlan(3).tcp(40_000, 443, SYN).build();
    Fixture::new(
        "link/what-is-not-ip-is-passed",
        "ARP, LLDP, 802.3 frames, MPLS and a third VLAN tag are passed to the host path, VIP or not.",
        web(""),
    )
    .raw(&link(0x0806, &arp), NOT_IP)
    .raw(&link(0x88cc, &[2, 7, 4, 2, 0, 0, 0, 0, 1, 0, 0]), NOT_IP)
    .raw(&link(0x0026, &[0x42, 0x42, 0x03, 0, 0, 0, 0, 0]), NOT_IP)
    .raw(&link(0x8847, &[0, 1, 1, 64, 0x45]), NOT_IP)
    .raw(&three_tags, NOT_IP)
    .raw(&link(0x0806, &[]), NOT_IP)
}

fn group_addresses() -> Fixture {
    let to = |mac| client(7).macs([2, 0, 0, 0, 0, 1], mac).tcp(40_000, 443, SYN);
    let refused = Outcome::Refuse("web", "link_layer_group");
    let host = Packet::between("198.51.100.7", "203.0.113.99").udp(5000, 5000);
    Fixture::new(
        "link/broadcast-frames-are-not-forwarded",
        "A packet for a VIP in a broadcast or multicast frame is dropped; for anyone else it is passed.",
        web(""),
    )
    .unhealthy("b2")
    .frame(&to([0xff; 6]), refused)
    .frame(&to([0x01, 0, 0x5e, 0, 0, 1]), refused)
    .frame(&to([2, 0, 0, 0, 0, 2]), new("web", "b1"))
    .frame(&host.macs([2, 0, 0, 0, 0, 1], [0xff; 6]), Outcome::Pass("no_forwarding_rule"))
}

fn snapped() -> Fixture {
    let data = client(7).tcp(40_000, 443, ACK).payload_len(1000);
    Fixture::new(
        "link/cut-captures-are-replayed-at-their-wire-length",
        "Frames that the capture cut short are decided by the headers that it holds, and count as long as \
         they were.",
        behind_ipip("198.18.0.1"),
    )
    .snapped(&client(7).tcp(40_000, 443, SYN), 96, new("web", "b1"))
    .snapped(&data, 96, hit("web", "b1"))
    .snapped(&data.clone().payload_len(1480 - 40).dont_fragment(), 96, hit("web", "b1"))
    .snapped(&data.payload(&[0; 1481 - 40]).dont_fragment(), 96, hit("web", "b1").but_too_big(Some(1480)))
    .snapped(
        &Packet::between("198.51.100.7", VIP).udp(1, 2).payload_len(500),
        64,
        Outcome::Pass("no_forwarding_rule"),
    )
}
