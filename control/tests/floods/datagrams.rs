//! Floods of UDP datagrams, and of protocols without ports.

use pcap_fixtures::packet::Packet;

use crate::besieged::flooded;
use crate::document::assert_row;
use crate::lan::VIP;
use crate::sources::{Frames, by_turns, spread};

/// Datagrams for a port, each of a client of its own, over both families by turns.
fn datagrams(to: [&str; 2], port: u16) -> Frames {
    let of = |client: &str, to: &str| spread(&Packet::between(client, to).udp(5_353, port).payload_len(30));
    by_turns(vec![of("100.0.0.0", to[0]), of("2001:db8:f::", to[1])])
}

#[test]
fn a_flood_of_datagrams() {
    let toll = flooded(&datagrams(VIP, 53));
    assert_row("UDP datagrams, each from another source", &toll, ("datagrams", "a_flood_of_datagrams"));
}

#[test]
fn a_flood_of_datagrams_without_a_rule() {
    let toll = flooded(&by_turns(vec![
        datagrams(VIP, 54),
        datagrams(["192.0.2.200", "2001:db8::200"], 53),
        datagrams(["203.0.113.9", "2001:db8:9::9"], 53),
    ]));
    assert_row(
        "UDP datagrams for a port without a rule, and for addresses of others",
        &toll,
        ("datagrams", "a_flood_of_datagrams_without_a_rule"),
    );
}

#[test]
fn a_flood_of_protocols_that_no_rule_takes() {
    let of = |protocol: u8, client: &str, vip: &str| {
        spread(&Packet::between(client, vip).protocol(protocol).payload_len(40))
    };
    let toll = flooded(&by_turns(vec![
        of(47, "100.0.0.0", VIP[0]),
        of(132, "100.0.0.0", VIP[0]),
        of(255, "2001:db8:f::", VIP[1]),
        of(59, "2001:db8:f::", VIP[1]),
    ]));
    assert_row(
        "GRE, SCTP and unknown protocols for the VIPs",
        &toll,
        ("datagrams", "a_flood_of_protocols_that_no_rule_takes"),
    );
}
