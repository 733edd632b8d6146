//! Floods of neighbour discovery.

use pcap_fixtures::packet::Packet;

use crate::besieged::flooded;
use crate::document::assert_row;
use crate::lan::{OWN_MAC, VIP, discovery};
use crate::sources::again;

/// Frames that are built ahead: their checksums are looked at.
const BUILT: u16 = 1_024;

const OVERRIDE: u32 = 0x2000_0000;

fn mac(number: u16) -> [u8; 6] {
    let [high, low] = number.to_be_bytes();
    [2, 0x66, 0, 0, high, low]
}

#[test]
fn a_flood_of_solicitations_of_one_asker() {
    let asked = discovery(135, 0, ["2001:db8::66", VIP[1]], VIP[1], mac(1), 1);
    let toll = flooded(&again(vec![asked]));
    assert_row(
        "neighbour solicitations for a VIP, of one asker",
        &toll,
        ("ndp", "a_flood_of_solicitations_of_one_asker"),
    );
}

#[test]
fn a_flood_of_solicitations_of_many_askers() {
    let asked = (0..BUILT).map(|number| {
        discovery(135, 0, [&format!("2001:db8::66:{number:x}"), VIP[1]], VIP[1], mac(number), 1)
    });
    let toll = flooded(&again(asked.collect()));
    assert_row(
        "neighbour solicitations for a VIP, from 1,024 MAC addresses",
        &toll,
        ("ndp", "a_flood_of_solicitations_of_many_askers"),
    );
}

#[test]
fn a_flood_of_advertisements_that_nobody_asked_for() {
    let told = (0..BUILT).map(|number| {
        let claimed = ["2001:db8::d", "2001:db8::e", "2001:db8::77"][usize::from(number % 3)];
        discovery(136, OVERRIDE, [claimed, "2001:db8::1"], claimed, mac(number), 2)
    });
    let toll = flooded(&again(told.collect()));
    assert_row(
        "neighbour advertisements to no question, which claim backends' addresses",
        &toll,
        ("ndp", "a_flood_of_advertisements_that_nobody_asked_for"),
    );
}

#[test]
fn a_flood_of_claims_to_the_appliances_addresses() {
    let told = (0..BUILT).map(|number| {
        let claimed = [VIP[1], "2001:db8::1"][usize::from(number % 2)];
        discovery(136, OVERRIDE, [claimed, "2001:db8::1"], claimed, mac(number), 2)
    });
    let toll = flooded(&again(told.collect()));
    assert_row(
        "neighbour advertisements that claim a VIP and the appliance's own address",
        &toll,
        ("ndp", "a_flood_of_claims_to_the_appliances_addresses"),
    );
}

#[test]
fn a_flood_of_router_advertisements_and_redirects() {
    let told = (0..BUILT).map(|number| {
        let from = format!("fe80::{:x}", number + 1);
        let kind = if number.is_multiple_of(2) { 134 } else { 137 };
        let body = [&[0; 8][..], &[1, 1], &mac(number)].concat();
        let packet = Packet::between(&from, "2001:db8::1").ttl(255).icmp(kind, 0, 0x4000_0708);
        packet.payload(&body).macs(mac(number), OWN_MAC).build()
    });
    let toll = flooded(&again(told.collect()));
    assert_row(
        "router advertisements and redirects",
        &toll,
        ("ndp", "a_flood_of_router_advertisements_and_redirects"),
    );
}

#[test]
fn a_flood_of_group_queries() {
    let asked = (0..BUILT).map(|number| {
        let from = format!("fe80::{:x}", number + 1);
        let packet = Packet::between(&from, "ff02::1").ttl(1).hop_by_hop(&[5, 2, 0, 0, 1, 0]);
        packet.icmp(130, 0, 0).payload(&[0; 20]).macs(mac(number), [0x33, 0x33, 0, 0, 0, 1]).build()
    });
    let toll = flooded(&again(asked.collect()));
    assert_row("queries for IPv6 groups (MLD)", &toll, ("ndp", "a_flood_of_group_queries"));
}
