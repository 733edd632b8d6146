//! Frames of a flood, each made of one that was built once, with a number written into it.

use pcap_fixtures::packet::Packet;

use crate::lan::{OWN_MAC, ROUTER_MAC};

/// Frames of a flood, by their number.
pub(crate) type Frames = Box<dyn Fn(u32) -> Vec<u8>>;

/// A packet's frame, as the router hands it to the appliance.
pub(crate) fn by_router(packet: &Packet) -> Vec<u8> {
    packet.clone().macs(ROUTER_MAC, OWN_MAC).build()
}

/// Frames that differ in the address that they come from; nobody has checked their checksums.
pub(crate) fn spread(packet: &Packet) -> Frames {
    let template = by_router(packet);
    // The last three bytes of the source address.
    let len = packet.ip_bytes().len();
    let (start, end) = (template.len() - len, template.len());
    let number_at =
        if template[start - 2..start] == [8, 0] { start + 13..start + 16 } else { start + 21..start + 24 };
    assert!(number_at.end <= end, "a frame with both addresses");
    Box::new(move |number| {
        let mut frame = template.clone();
        frame[number_at.clone()].copy_from_slice(&number.to_be_bytes()[1..]);
        frame
    })
}

/// Frames of several kinds, by turns.
pub(crate) fn by_turns(kinds: Vec<Frames>) -> Frames {
    let count = kinds.len() as u32;
    Box::new(move |number| kinds[(number % count) as usize](number / count))
}

/// Frames that were built, by turns.
pub(crate) fn again(frames: Vec<Vec<u8>>) -> Frames {
    Box::new(move |number| frames[number as usize % frames.len()].clone())
}
