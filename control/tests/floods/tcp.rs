//! Floods of TCP segments.

use pcap_fixtures::packet::Packet;
use pcap_fixtures::packet::tcp::{ACK, FIN, PSH, RST, SYN};

use crate::besieged::{CONFIG, FLOOD_MS, FRAMES_A_MS, flooded, flooded_with};
use crate::document::assert_row;
use crate::lan::VIP;
use crate::sources::{Frames, by_router, by_turns, spread};

/// Segments with these flags, each of a client of its own, over both families by turns.
fn segments(port: u16, flags: u8) -> Frames {
    let of = |client: &str, vip: &str| spread(&Packet::between(client, vip).tcp(40_000, port, flags));
    by_turns(vec![of("100.0.0.0", VIP[0]), of("2001:db8:f::", VIP[1])])
}

#[test]
fn a_flood_of_syns() {
    let toll = flooded(&segments(80, SYN));
    assert_row("SYNs, each from another source", &toll, ("tcp", "a_flood_of_syns"));
}

#[test]
fn a_flood_of_syns_for_a_port_without_a_rule() {
    let toll = flooded(&segments(81, SYN));
    assert_row(
        "SYNs for a port of the VIP that has no rule",
        &toll,
        ("tcp", "a_flood_of_syns_for_a_port_without_a_rule"),
    );
}

#[test]
fn a_flood_of_acks_without_a_connection() {
    let toll = flooded(&segments(80, ACK));
    assert_row(
        "ACKs of no connection, each from another source",
        &toll,
        ("tcp", "a_flood_of_acks_without_a_connection"),
    );
}

#[test]
fn a_flood_of_resets_and_ends() {
    let toll = flooded(&by_turns(vec![segments(80, RST), segments(80, FIN | ACK), segments(80, SYN | ACK)]));
    assert_row("RSTs, FINs and SYN-ACKs of no connection", &toll, ("tcp", "a_flood_of_resets_and_ends"));
}

#[test]
fn a_flood_of_flags_that_contradict_each_other() {
    let toll = flooded(&by_turns(vec![segments(80, 0), segments(80, SYN | FIN | PSH), segments(80, 0xff)]));
    assert_row(
        "segments without flags, with SYN and FIN, or with all flags",
        &toll,
        ("tcp", "a_flood_of_flags_that_contradict_each_other"),
    );
}

#[test]
fn a_flood_of_whole_handshakes() {
    let kinds = [SYN, ACK, PSH | ACK, ACK].map(|flags| segments(80, flags));
    let toll = flooded(&by_turns(kinds.into()));
    assert_row(
        "handshakes with data, of four segments, each from another source",
        &toll,
        ("tcp", "a_flood_of_whole_handshakes"),
    );
}

#[test]
fn a_flood_of_segments_that_come_again_in_the_next_second() {
    // Nearly as many as fill the table, whose next packet after the second has begun confirms them. Then others come.
    let once = segments(80, ACK);
    let others = FLOOD_MS * FRAMES_A_MS / 4 * 3;
    let again: Frames = Box::new(move |number| once(if number < others { number % 2_600 } else { number }));
    let toll = flooded(&again);
    assert_row(
        "ACKs of 2,600 sources again and again over the end of a second, then of others",
        &toll,
        ("tcp", "a_flood_of_segments_that_come_again_in_the_next_second"),
    );
}

#[test]
fn a_flood_of_sources_that_the_access_list_denies() {
    let denied = spread(&Packet::between("198.18.0.0", VIP[0]).tcp(40_000, 80, SYN));
    // Half of the last two bytes' range each.
    let within: Frames = Box::new(move |number| {
        let mut frame = denied(number);
        frame[27] = 18;
        frame
    });
    let toll = flooded(&within);
    assert_row(
        "SYNs of sources that the access list denies",
        &toll,
        ("tcp", "a_flood_of_sources_that_the_access_list_denies"),
    );
}

#[test]
fn a_flood_of_segments_for_the_appliance_itself() {
    let of = |client: &str, own: &str| spread(&Packet::between(client, own).tcp(80, 40_000, ACK));
    let toll = flooded(&by_turns(vec![of("100.0.0.0", "192.0.2.1"), of("2001:db8:f::", "2001:db8::1")]));
    assert_row(
        "segments for the appliance's own addresses",
        &toll,
        ("tcp", "a_flood_of_segments_for_the_appliance_itself"),
    );
}

#[test]
fn a_flood_of_segments_for_the_appliance_itself_from_many_senders() {
    let of = |client: &str, own: &str| spread(&Packet::between(client, own).tcp(80, 40_000, ACK));
    let segments = by_turns(vec![of("100.0.0.0", "192.0.2.1"), of("2001:db8:f::", "2001:db8::1")]);
    let forged: Frames = Box::new(move |number| {
        let mut frame = segments(number);
        frame[7..9].copy_from_slice(&(number as u16 % 1_024 + 0x6000).to_be_bytes());
        frame
    });
    let toll = flooded(&forged);
    assert_row(
        "segments for the appliance's own addresses, from 1,024 MAC addresses",
        &toll,
        ("tcp", "a_flood_of_segments_for_the_appliance_itself_from_many_senders"),
    );
}

/// SYNs of 32 sources, half of each family, each from another port.
fn syns_of_few_sources() -> Frames {
    let of = |client: &str, vip: &str, host_at: usize, port_at: usize| -> Frames {
        let template = by_router(&Packet::between(client, vip).tcp(40_000, 80, SYN));
        Box::new(move |number| {
            let mut frame = template.clone();
            frame[host_at] = number as u8 % 16;
            frame[port_at..port_at + 2].copy_from_slice(&(1_024 + (number / 16) as u16).to_be_bytes());
            frame
        })
    };
    by_turns(vec![of("100.0.0.0", VIP[0], 29, 34), of("2001:db8:f::", VIP[1], 29, 54)])
}

#[test]
fn a_flood_of_syns_of_few_sources_that_are_limited() {
    // Clients of IPv6 share a /64, and are a source each.
    let limit =
        "max_entries = 2_048\nnew_connections_per_source_per_sec = 4\nsource_ipv6_prefix_length = 128";
    let config = CONFIG.replacen("max_entries = 2_048", limit, 1);
    let toll = flooded_with(&config, &syns_of_few_sources());
    // Two seconds have begun.
    let (before, during) = (&toll.before.pipeline, &toll.during.pipeline);
    assert_eq!(during.conntrack.inserts - before.conntrack.inserts, 32 * 4 * 2);
    assert_row(
        "SYNs of 32 sources, each of which may begin 4 connections in a second",
        &toll,
        ("tcp", "a_flood_of_syns_of_few_sources_that_are_limited"),
    );
}
