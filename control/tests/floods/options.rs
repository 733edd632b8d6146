//! Floods of IPv4 options and IPv6 extension headers.

use pcap_fixtures::packet::Packet;
use pcap_fixtures::packet::tcp::SYN;

use crate::besieged::flooded;
use crate::document::assert_row;
use crate::lan::VIP;
use crate::sources::{by_turns, spread};

#[test]
fn a_flood_of_ipv4_options() {
    let with =
        |options: &[u8]| spread(&Packet::between("100.0.0.0", VIP[0]).options(options).tcp(40_000, 80, SYN));
    // Record route, loose source route, timestamps, router alert, and forty bytes of one-byte options.
    let lists: [&[u8]; 5] =
        [&[7, 39, 4, 0, 0, 0, 0], &[131, 7, 4, 192, 0, 2, 11], &[68, 36, 5, 0], &[148, 4, 0, 0], &[1; 40]];
    let toll = flooded(&by_turns(lists.map(with).into()));
    assert_row("SYNs with IPv4 options of all sorts", &toll, ("options", "a_flood_of_ipv4_options"));
}

#[test]
fn a_flood_of_impossible_ipv4_options() {
    // Lengths of zero, of one, and beyond the header.
    let with =
        |options: &[u8]| spread(&Packet::between("100.0.0.0", VIP[0]).options(options).tcp(40_000, 80, SYN));
    let lists: [&[u8]; 3] = [&[7, 0, 4, 0], &[131, 1, 0, 0], &[68, 255, 5, 0]];
    let toll = flooded(&by_turns(lists.map(with).into()));
    assert_row(
        "SYNs with IPv4 options of impossible lengths",
        &toll,
        ("options", "a_flood_of_impossible_ipv4_options"),
    );
}

#[test]
fn a_flood_of_extension_headers() {
    let base = || Packet::between("2001:db8:f::", VIP[1]);
    let mut chain = base();
    for _ in 0..60 {
        chain = chain.destination_options(&[1, 4, 0, 0, 0, 0]);
    }
    let packets = [
        base().hop_by_hop(&[5, 2, 0, 0, 1, 0]),
        base().routing(&[0, 0, 0, 0, 0, 0]),
        base()
            .hop_by_hop(&[1, 4, 0, 0, 0, 0])
            .destination_options(&[1, 4, 0, 0, 0, 0])
            .routing(&[4, 0, 0, 0, 0, 0]),
        chain,
    ];
    let toll = flooded(&by_turns(packets.map(|packet| spread(&packet.tcp(40_000, 80, SYN))).into()));
    assert_row(
        "SYNs behind IPv6 extension headers, up to 60 of them",
        &toll,
        ("options", "a_flood_of_extension_headers"),
    );
}

#[test]
fn a_flood_of_impossible_extension_headers() {
    let base = || {
        Packet::between("2001:db8:f::", VIP[1]).destination_options(&[1, 4, 0, 0, 0, 0]).tcp(40_000, 80, SYN)
    };
    // A header that is longer than its packet, a hop-by-hop header that is not the first, and no next header.
    let packets = [base().patch(55, &[255]), base().patch(54, &[0]), base().patch(54, &[59])];
    let toll = flooded(&by_turns(packets.map(|packet| spread(&packet)).into()));
    assert_row(
        "IPv6 extension headers that contradict their packets",
        &toll,
        ("options", "a_flood_of_impossible_extension_headers"),
    );
}
