//! Floods of fragments.

use pcap_fixtures::packet::Packet;

use crate::besieged::flooded;
use crate::document::assert_row;
use crate::lan::VIP;
use crate::sources::{Frames, by_router, by_turns};

/// Fragments of datagrams to a VIP, each number's with an identification of its own; `cut` says which part it is.
fn fragments(family: usize, cut: impl Fn(Packet) -> Packet) -> Frames {
    let client = ["100.0.0.7", "2001:db8:f::7"][family];
    let packet = Packet::between(client, VIP[family]).identification(0x0102_0304).udp(5_353, 53);
    let template = by_router(&cut(packet.payload_len(64)));
    // IPv4: in the header; IPv6: in the fragment header, the first behind it.
    let at = [14 + 4, 14 + 40 + 4][family];
    Box::new(move |number| {
        let mut frame = template.clone();
        let identification = number.wrapping_mul(0x9e37_79b1).to_be_bytes();
        match family {
            // Sixteen bits are few: the source differs, too.
            0 => {
                frame[at..at + 2].copy_from_slice(&identification[..2]);
                frame[27..29].copy_from_slice(&(number as u16).to_be_bytes());
            }
            _ => frame[at..at + 4].copy_from_slice(&identification),
        }
        frame
    })
}

/// Frames of both families by turns.
fn both(cut: impl Fn(Packet) -> Packet) -> Frames {
    by_turns(vec![fragments(0, &cut), fragments(1, &cut)])
}

/// The part of a datagram from a byte on, as it is.
fn part(offset: usize, more: bool, len: usize) -> impl Fn(Packet) -> Packet {
    move |packet| packet.protocol(17).payload_len(len).fragment(offset, more)
}

#[test]
fn a_flood_of_first_fragments() {
    let toll = flooded(&both(|packet| packet.fragment(0, true)));
    assert_row(
        "first fragments alone, IPv4 and IPv6, each of another datagram",
        &toll,
        ("fragments", "a_flood_of_first_fragments"),
    );
}

#[test]
fn a_flood_of_last_fragments() {
    let toll = flooded(&both(part(1_480, false, 64)));
    assert_row(
        "last fragments alone, IPv4 and IPv6, each of another datagram",
        &toll,
        ("fragments", "a_flood_of_last_fragments"),
    );
}

#[test]
fn a_flood_of_datagrams_that_are_never_complete() {
    let toll = flooded(&by_turns(vec![both(|packet| packet.fragment(0, true)), both(part(1_480, true, 64))]));
    assert_row(
        "firsts and middles of datagrams whose ends never come",
        &toll,
        ("fragments", "a_flood_of_datagrams_that_are_never_complete"),
    );
}

#[test]
fn a_flood_of_overlapping_fragments() {
    let kinds =
        vec![both(|packet| packet.fragment(0, true)), both(part(8, true, 64)), both(part(16, false, 64))];
    let toll = flooded(&by_turns(kinds));
    assert_row(
        "fragments that overlap their datagrams' firsts, IPv4 and IPv6",
        &toll,
        ("fragments", "a_flood_of_overlapping_fragments"),
    );
}

#[test]
fn a_flood_of_tiny_fragments() {
    // A first without the whole header of its protocol, and one behind it that would bring the rest (RFC 1858).
    let first = |packet: Packet| packet.protocol(6).payload_len(8).fragment(0, true);
    let second = |packet: Packet| packet.protocol(6).payload_len(8).fragment(8, false);
    let toll = flooded(&by_turns(vec![both(first), both(second)]));
    assert_row(
        "tiny fragments, which part the TCP header",
        &toll,
        ("fragments", "a_flood_of_tiny_fragments"),
    );
}

#[test]
fn a_flood_of_fragments_beyond_the_longest_datagram() {
    let toll = flooded(&both(part(65_528, false, 64)));
    assert_row(
        "fragments that end behind byte 65,535 of their datagram",
        &toll,
        ("fragments", "a_flood_of_fragments_beyond_the_longest_datagram"),
    );
}
