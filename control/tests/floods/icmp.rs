//! Floods of ICMP and ICMPv6.

use pcap_fixtures::packet::Packet;
use pcap_fixtures::packet::tcp::ACK;

use crate::besieged::flooded;
use crate::document::assert_row;
use crate::lan::{CLIENTS, VIP};
use crate::sources::{Frames, again, by_router, by_turns, spread};

/// A packet of a backend to somebody, by way of the VIP's address, as an error quotes it.
fn quoted(family: usize, to: &str) -> Packet {
    Packet::between(VIP[family], to).tcp(80, 40_000, ACK).payload_len(20)
}

/// Errors from routers everywhere, of which each quotes this packet.
fn errors(family: usize, quoted: &Packet) -> Frames {
    let router = ["100.0.0.0", "2001:db8:f::"][family];
    let unreachable = [3, 1][family];
    let packet = Packet::between(router, VIP[family]).icmp(unreachable, 0, 0).quoting(quoted, 48);
    spread(&packet)
}

#[test]
fn a_flood_of_errors_that_quote_nothing_known() {
    let strangers = vec![errors(0, &quoted(0, "172.16.9.9")), errors(1, &quoted(1, "2001:db8:e::9"))];
    let toll = flooded(&by_turns(strangers));
    assert_row(
        "ICMP errors that quote packets of no connection",
        &toll,
        ("icmp", "a_flood_of_errors_that_quote_nothing_known"),
    );
}

#[test]
fn a_flood_of_errors_that_quote_connections() {
    let of_clients = (0..CLIENTS).map(|number| {
        let family = usize::from(number % 2);
        let [high, low] = number.to_be_bytes();
        let client =
            if family == 0 { format!("10.1.{high}.{low}") } else { format!("2001:db8:1::{number:x}") };
        let router = ["100.0.0.7", "2001:db8:f::7"][family];
        let error = Packet::between(router, VIP[family]).packet_too_big(1_280, &quoted(family, &client), 48);
        by_router(&error)
    });
    let toll = flooded(&again(of_clients.collect()));
    assert_row(
        "\"packet too big\" that quotes established connections",
        &toll,
        ("icmp", "a_flood_of_errors_that_quote_connections"),
    );
}

#[test]
fn a_flood_of_errors_that_quote_too_little() {
    let short = |family: usize| {
        let router = ["100.0.0.0", "2001:db8:f::"][family];
        let error = Packet::between(router, VIP[family]).icmp([3, 1][family], 0, 0);
        spread(&error.quoting(&quoted(family, ["10.1.0.0", "2001:db8:1::1"][family]), 12))
    };
    let toll = flooded(&by_turns(vec![short(0), short(1)]));
    assert_row(
        "ICMP errors whose quotation ends in the header",
        &toll,
        ("icmp", "a_flood_of_errors_that_quote_too_little"),
    );
}

#[test]
fn a_flood_of_echo_requests() {
    let echo = |family: usize| {
        let client = ["100.0.0.7", "2001:db8:f::7"][family];
        by_router(&Packet::between(client, VIP[family]).echo_request(1, 1).payload_len(56))
    };
    let toll = flooded(&again(vec![echo(0), echo(1)]));
    assert_row("echo requests for the VIPs, by the router", &toll, ("icmp", "a_flood_of_echo_requests"));
}
