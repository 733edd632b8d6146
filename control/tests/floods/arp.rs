//! Floods of ARP.

use crate::besieged::flooded;
use crate::document::assert_row;
use crate::lan::arp;
use crate::sources::{Frames, again};

const VIP: [u8; 4] = [192, 0, 2, 100];
const STRANGER: [u8; 6] = [2, 0, 0, 0, 0, 0x66];

/// A MAC address of its own for each number.
fn mac(number: u32) -> [u8; 6] {
    let [a, b, c, d] = number.to_be_bytes();
    [2, 0x66, a, b, c, d]
}

#[test]
fn a_flood_of_questions_of_one_asker() {
    let toll = flooded(&again(vec![arp(1, STRANGER, [[192, 0, 2, 66], VIP])]));
    assert_row("ARP requests for a VIP, of one asker", &toll, ("arp", "a_flood_of_questions_of_one_asker"));
}

#[test]
fn a_flood_of_questions_of_many_askers() {
    let questions: Frames = Box::new(|number| arp(1, mac(number), [[192, 0, 2, (number % 250) as u8], VIP]));
    let toll = flooded(&questions);
    assert_row(
        "ARP requests for a VIP, each from another MAC address",
        &toll,
        ("arp", "a_flood_of_questions_of_many_askers"),
    );
}

#[test]
fn a_flood_of_questions_for_others() {
    let scan: Frames =
        Box::new(|number| arp(1, STRANGER, [[192, 0, 2, 66], [192, 0, 2, 110 + (number % 100) as u8]]));
    let toll = flooded(&scan);
    assert_row("ARP requests for addresses of others", &toll, ("arp", "a_flood_of_questions_for_others"));
}

#[test]
fn a_flood_of_replies_that_nobody_asked_for() {
    // Backends' addresses at another MAC address, and those of everybody else.
    let replies: Frames = Box::new(|number| {
        let claimed = match number % 4 {
            0 => 11,
            1 => 12,
            _ => (number % 250) as u8 | 0x80,
        };
        let from = if claimed == 100 || claimed == 1 { 200 } else { claimed };
        arp(2, mac(number % 1_024), [[192, 0, 2, from], [192, 0, 2, 1]])
    });
    let toll = flooded(&replies);
    assert_row(
        "ARP replies to no question, which claim backends' addresses",
        &toll,
        ("arp", "a_flood_of_replies_that_nobody_asked_for"),
    );
}

#[test]
fn a_flood_of_gratuitous_claims_to_backends() {
    let claims: Frames = Box::new(|number| {
        let claimed = [192, 0, 2, 11 + (number % 2) as u8];
        arp(1, mac(number % 1_024), [claimed, claimed])
    });
    let toll = flooded(&claims);
    assert_row(
        "gratuitous ARP that claims backends' addresses",
        &toll,
        ("arp", "a_flood_of_gratuitous_claims_to_backends"),
    );
}

#[test]
fn a_flood_of_gratuitous_claims_to_the_appliances_addresses() {
    let claims: Frames = Box::new(|number| {
        let claimed = [VIP, [192, 0, 2, 1]][(number % 2) as usize];
        arp(1, mac(number % 1_024), [claimed, claimed])
    });
    let toll = flooded(&claims);
    assert_row(
        "gratuitous ARP that claims a VIP and the appliance's own address",
        &toll,
        ("arp", "a_flood_of_gratuitous_claims_to_the_appliances_addresses"),
    );
}
