//! Floods by the router that is the gateway of the backends, which asks and answers questions of its own meanwhile.

use pcap_fixtures::packet::Packet;
use pcap_fixtures::packet::tcp::ACK;

use crate::besieged::flooded_by_gateway;
use crate::document::assert_row;
use crate::lan::{OWN, VIP};
use crate::sources::{Frames, by_turns, spread};

const CLIENTS: [&str; 2] = ["100.0.0.0", "2001:db8:f::"];

/// Packets of clients everywhere, over both families by turns.
fn of_clients(packet: impl Fn(usize) -> Packet) -> Frames {
    by_turns(vec![spread(&packet(0)), spread(&packet(1))])
}

#[test]
fn a_flood_without_a_rule_by_the_gateway() {
    let datagram =
        |family: usize| Packet::between(CLIENTS[family], VIP[family]).udp(5_353, 54).payload_len(30);
    let toll = flooded_by_gateway(&of_clients(datagram));
    assert_row(
        "UDP datagrams for a port without a rule, by the gateway of all backends",
        &toll,
        ("gateway", "a_flood_without_a_rule_by_the_gateway"),
    );
}

#[test]
fn a_flood_of_echo_requests_by_the_gateway() {
    let ping =
        |family: usize| Packet::between(CLIENTS[family], VIP[family]).echo_request(9, 1).payload_len(56);
    let toll = flooded_by_gateway(&of_clients(ping));
    assert_row(
        "echo requests for the VIPs, by the gateway of all backends",
        &toll,
        ("gateway", "a_flood_of_echo_requests_by_the_gateway"),
    );
}

#[test]
fn a_flood_for_the_appliance_itself_by_the_gateway() {
    let segment = |family: usize| Packet::between(CLIENTS[family], OWN[family]).tcp(80, 40_000, ACK);
    let datagram = |family: usize| Packet::between(CLIENTS[family], VIP[family]).udp(5_353, 54);
    let toll = flooded_by_gateway(&by_turns(vec![of_clients(segment), of_clients(datagram)]));
    assert_row(
        "segments for the appliance's own addresses, and as many datagrams without a rule, by the gateway of all backends",
        &toll,
        ("gateway", "a_flood_for_the_appliance_itself_by_the_gateway"),
    );
}
