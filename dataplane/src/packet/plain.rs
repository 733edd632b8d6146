//! The packets that nearly all are: untagged, without IP options or extension headers, whole, TCP or UDP.
//!
//! Everything lies where it always does, so all conditions come down to one branch. What fails any of them, or is
//! shorter than a TCP header makes it, is left to the general parser, which says what is wrong with it if anything is.

use super::Packet;
use crate::address::Address;
use crate::flow::{Flow, Fragment};
use crate::wire::ethernet::HEADER_LEN as L3;
use crate::wire::{ipv4, ipv6, protocol, tcp, udp};

/// Where the layer-4 header starts in an IPv4 and in an IPv6 frame, and where TCP's ends.
const V4_L4: usize = L3 + ipv4::HEADER_LEN;
const V4_LEN: usize = V4_L4 + tcp::HEADER_LEN;
const V6_L4: usize = L3 + ipv6::HEADER_LEN;
const V6_LEN: usize = V6_L4 + tcp::HEADER_LEN;

/// More fragments, or an offset.
const FRAGMENTED: u16 = 0x3fff;

/// What the general parser would say of `frame`; `None` where this one does not know.
#[inline(always)]
pub(super) fn parse(frame: &[u8]) -> Option<Packet> {
    let kind = frame.first_chunk::<{ L3 + 2 }>()?;
    // EtherType, version and header length.
    match [kind[L3 - 2], kind[L3 - 1], kind[L3]] {
        [0x08, 0x00, 0x45] => ipv4(frame),
        [0x86, 0xdd, 0x60..=0x6f] => ipv6(frame),
        _ => None,
    }
}

#[inline(always)]
fn ipv4(frame: &[u8]) -> Option<Packet> {
    let head = frame.first_chunk::<V4_LEN>()?;
    let l3_len = usize::from(u16_at(head, L3 + 2));
    let fragment = u16_at(head, L3 + 6);
    let layer4 = Layer4::read(head, V4_L4, head[L3 + 9]);
    let fits = L3 + l3_len <= frame.len() && layer4.fits(l3_len.wrapping_sub(ipv4::HEADER_LEN));
    if !fits | (fragment & FRAGMENTED != 0) {
        return None;
    }
    Some(Packet {
        flow: Flow {
            src: Address::v4(bytes_at(head, L3 + 12)),
            dst: Address::v4(bytes_at(head, L3 + 16)),
            src_port: layer4.src_port,
            dst_port: layer4.dst_port,
            protocol: layer4.protocol,
            fragment: Fragment::No,
        },
        l3_offset: L3 as u16,
        l4_offset: V4_L4 as u16,
        l3_len: l3_len as u32,
        ttl: head[L3 + 8],
        traffic_class: head[L3 + 1],
        tcp_syn: layer4.syn,
        icmp_error: false,
        neighbor_discovery: false,
        dont_fragment: fragment & ipv4::DONT_FRAGMENT != 0,
    })
}

#[inline(always)]
fn ipv6(frame: &[u8]) -> Option<Packet> {
    let head = frame.first_chunk::<V6_LEN>()?;
    let payload_len = usize::from(u16_at(head, L3 + 4));
    let layer4 = Layer4::read(head, V6_L4, head[L3 + 6]);
    let (src, dst) = (Address::v6(bytes_at(head, L3 + 8)), Address::v6(bytes_at(head, L3 + 24)));
    let fits = V6_L4 + payload_len <= frame.len() && layer4.fits(payload_len);
    if !fits | src.is_ipv4() | dst.is_ipv4() {
        return None;
    }
    Some(Packet {
        flow: Flow {
            src,
            dst,
            src_port: layer4.src_port,
            dst_port: layer4.dst_port,
            protocol: layer4.protocol,
            fragment: Fragment::No,
        },
        l3_offset: L3 as u16,
        l4_offset: V6_L4 as u16,
        l3_len: (ipv6::HEADER_LEN + payload_len) as u32,
        ttl: head[L3 + 7],
        traffic_class: (u16_at(head, L3) >> 4) as u8,
        tcp_syn: layer4.syn,
        icmp_error: false,
        neighbor_discovery: false,
        dont_fragment: true,
    })
}

/// The first bytes of a TCP or UDP header, read as both.
struct Layer4 {
    protocol: u8,
    src_port: u16,
    dst_port: u16,
    syn: bool,
    /// How long the payload of the IP packet must be at least; nothing is as long where it is neither TCP nor UDP.
    least_len: usize,
}

impl Layer4 {
    /// Reads at `offset`; the caller knows that a TCP header would be there whole.
    #[inline(always)]
    fn read<const N: usize>(head: &[u8; N], offset: usize, protocol: u8) -> Self {
        let tcp_len = usize::from(head[offset + 12] >> 4) * 4;
        let udp_len = usize::from(u16_at(head, offset + 4));
        let impossible = usize::MAX;
        let (is_tcp, is_udp) = (protocol == protocol::TCP, protocol == protocol::UDP);
        let tcp_least = if tcp_len >= tcp::HEADER_LEN { tcp_len } else { impossible };
        let udp_least = if is_udp & (udp_len >= udp::HEADER_LEN) { udp_len } else { impossible };
        Self {
            protocol,
            src_port: u16_at(head, offset),
            dst_port: u16_at(head, offset + 2),
            syn: is_tcp & (head[offset + 13] & tcp::SYN != 0),
            least_len: if is_tcp { tcp_least } else { udp_least },
        }
    }

    /// Whether a payload of `len` bytes holds it; a length below zero, wrapped round, does not.
    #[inline(always)]
    fn fits(&self, len: usize) -> bool {
        self.least_len <= len && len <= usize::from(u16::MAX)
    }
}

#[inline(always)]
fn u16_at<const N: usize>(bytes: &[u8; N], offset: usize) -> u16 {
    u16::from_be_bytes(bytes_at(bytes, offset))
}

#[inline(always)]
fn bytes_at<const N: usize, const LEN: usize>(bytes: &[u8; N], offset: usize) -> [u8; LEN] {
    *bytes[offset..].first_chunk().expect("every field lies within the headers")
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcap_fixtures::packet::{Packet as Frame, tcp};
    use proptest::prelude::*;

    fn frames() -> Vec<Vec<u8>> {
        let v4 = || Frame::between("192.0.2.7", "203.0.113.10");
        let v6 = || Frame::between("2001:db8::7", "2001:db8::10");
        let packets = [
            v4().tcp(40001, 443, tcp::SYN),
            v4().tcp(40001, 443, tcp::ACK).payload_len(100),
            v4().udp(40001, 443).payload_len(50),
            v6().tcp(40001, 443, tcp::SYN),
            v6().udp(40001, 443).payload_len(50),
        ];
        packets.into_iter().map(|packet| packet.build()).collect()
    }

    #[test]
    fn plain_packets_of_both_families_and_protocols_are_known() {
        for frame in frames() {
            assert_eq!(parse(&frame).map(Ok), Some(Packet::parse(&frame)));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        /// Whatever becomes of the headers, it agrees with the general parser or leaves the frame to it.
        #[test]
        fn what_is_known_is_what_the_general_parser_says(
            which in 0..5usize,
            damage in prop::collection::vec((12..74usize, any::<u8>()), 0..4),
            len in 0..160usize,
        ) {
            let mut frame = frames().swap_remove(which);
            for (place, value) in damage {
                if let Some(byte) = frame.get_mut(place) {
                    *byte = value;
                }
            }
            frame.truncate(len);
            if let Some(packet) = parse(&frame) {
                prop_assert_eq!(Ok(packet), Packet::parse(&frame));
            }
        }
    }
}
