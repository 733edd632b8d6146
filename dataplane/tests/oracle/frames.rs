//! Frames to read: well-formed ones of every kind, chains of IPv6 extension headers, and damaged ones.

use pcap_fixtures::packet::{Packet, tcp};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// A well-formed frame of any kind.
pub(crate) fn described() -> impl Strategy<Value = Vec<u8>> {
    let link = (vec(any::<bool>(), 0..=3), vec(any::<u8>(), 0..=20));
    let ip = (any::<bool>(), any::<[u8; 2]>(), any::<[u8; 2]>(), any::<bool>());
    let headers = (vec(any::<u8>(), 0..=40), vec((0..3u8, 0..=20usize), 0..=4));
    let part = proptest::option::weighted(0.3, ((0..=8190usize), any::<bool>()));
    let transport = (0..9u8, any::<[u16; 2]>(), any::<u8>(), 0..=80usize);
    (link, ip, headers, part, transport).prop_map(|((tags, trailer), ip, headers, part, transport)| {
        let (is_ipv4, [a, b], [ttl, tos], dont_fragment) = ip;
        let mut packet = if is_ipv4 {
            Packet::between(&format!("198.51.{a}.7"), &format!("203.0.{b}.10")).options(&headers.0)
        } else {
            Packet::between(&format!("2001:db8:c::{a:x}"), &format!("2001:db8::{b:x}"))
        };
        for is_service in tags {
            packet = if is_service { packet.service_vlan(100) } else { packet.vlan(100) };
        }
        for (position, (kind, len)) in headers.1.into_iter().enumerate().filter(|_| !is_ipv4) {
            let body = vec![0; len];
            packet = match kind {
                0 if position == 0 => packet.hop_by_hop(&body),
                1 => packet.routing(&body),
                _ => packet.destination_options(&body),
            };
        }
        packet = if dont_fragment { packet.dont_fragment() } else { packet };
        packet = packet.ttl(ttl).tos(tos).trailer(&trailer);
        if let Some((units, more)) = part {
            // Mostly near the start, where the rules differ.
            packet = packet.fragment(if units > 4000 { 0 } else { units * 8 }, more);
        }
        carrying(packet, transport).build()
    })
}

fn carrying(packet: Packet, (kind, [src, dst], byte, len): (u8, [u16; 2], u8, usize)) -> Packet {
    match kind {
        0 | 1 => packet.tcp(src, dst, if byte & 1 == 1 { tcp::SYN } else { tcp::ACK }),
        2 => packet.udp(src, dst),
        3 => packet.icmp(byte, 0, u32::from(src)),
        4 => packet.esp(src.into()),
        5 => packet.gre(0x0800),
        6 => packet.sctp(src, dst, 1),
        7 => packet.icmp(if byte & 1 == 1 { 3 } else { 1 }, 4, 0),
        _ => packet.protocol(byte),
    }
    .payload_len(len)
}

/// An IPv6 packet of these extension headers: number, length byte and, for a fragment header, offset and flags; then
/// `last`, and the bytes behind all of them.
pub(crate) fn chain(headers: &[(u8, u8, u16)], last: u8, content: &[u8]) -> Vec<u8> {
    let numbers: Vec<u8> = headers.iter().map(|(number, ..)| *number).chain([last]).collect();
    let mut payload = Vec::new();
    for ((number, len, word), next) in headers.iter().zip(&numbers[1..]) {
        // An authentication header counts words of 4 bytes beyond the second, the others units of 8 beyond the first.
        let bytes = match number {
            44 => 8,
            51 => (usize::from(*len) + 2) * 4,
            _ => (usize::from(*len) + 1) * 8,
        };
        let mut header = vec![0; bytes.max(8)];
        header[..4].copy_from_slice(&[*next, *len, (word >> 8) as u8, *word as u8]);
        payload.extend(header);
    }
    payload.extend(content);
    let packet = Packet::between("2001:db8:c::7", "2001:db8::10").payload(&payload);
    packet.patch(14 + 6, &numbers[..1]).build()
}

/// Chains of extension headers of all kinds, in any order and number.
pub(crate) fn chained() -> impl Strategy<Value = Vec<u8>> {
    let number = select(vec![0u8, 43, 44, 44, 51, 60, 60, 60, 135, 139, 140]);
    let header = (number, 0..=2u8, select(vec![0u16, 0, 1, 8, 9, 0xfff8]));
    let last = select(vec![6u8, 17, 58, 1, 2, 50, 59, 253]);
    (vec(header, 0..=10), last, vec(any::<u8>(), 0..=40))
        .prop_map(|(headers, last, content)| chain(&headers, last, &content))
}

/// A frame that was well-formed before something happened to it.
pub(crate) fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let whole = || prop_oneof![described(), chained()];
    (whole(), whole(), vec(damage(), 1..=4)).prop_map(|(mut frame, other, damages)| {
        for damage in damages {
            damage.apply(&mut frame, &other);
        }
        frame
    })
}

#[derive(Clone, Copy, Debug)]
enum Damage {
    Flip(Index, u8),
    Set(Index, u8),
    Cut(Index),
    Splice(Index, Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let byte = select(vec![0u8, 1, 4, 5, 6, 8, 17, 20, 40, 44, 51, 58, 60, 0x45, 0x60, 0x7f, 0x80, 0xff]);
    prop_oneof![
        4 => (any::<Index>(), 0..8u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        4 => (any::<Index>(), byte).prop_map(|(at, value)| Damage::Set(at, value)),
        1 => any::<Index>().prop_map(Damage::Cut),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Damage::Splice(from, to)),
    ]
}

impl Damage {
    fn apply(self, frame: &mut Vec<u8>, other: &[u8]) {
        if frame.is_empty() {
            return;
        }
        // Headers are near the start.
        let near = frame.len().min(90);
        match self {
            Self::Flip(at, bit) => frame[at.index(near)] ^= 1 << bit,
            Self::Set(at, value) => frame[at.index(near)] = value,
            Self::Cut(at) => frame.truncate(at.index(frame.len())),
            Self::Splice(from, to) => {
                frame.truncate(from.index(frame.len()));
                frame.extend(&other[to.index(other.len())..]);
            }
        }
    }
}
