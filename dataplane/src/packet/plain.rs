//! The packets that nearly all are: untagged, without IP options or extension headers, whole, TCP or UDP.
//!
//! Everything lies where it always does, so all conditions come down to one branch. What fails any of them, or is
//! shorter than a TCP header makes it, is left to the general parser, which says what is wrong with it if anything is.

use super::Packet;
use crate::address::Address;
use crate::flow::Fragment;
use crate::wire::ethernet::HEADER_LEN as L3;
use crate::wire::{ipv4, ipv6, protocol, tcp, udp};

/// Offset of the layer-4 header in an IPv4 and in an IPv6 frame, and of the end of TCP's.
const V4_L4: usize = L3 + ipv4::HEADER_LEN;
const V4_LEN: usize = V4_L4 + tcp::HEADER_LEN;
const V6_L4: usize = L3 + ipv6::HEADER_LEN;
const V6_LEN: usize = V6_L4 + tcp::HEADER_LEN;

/// Bits of a fragment: more to follow, or an offset.
const FRAGMENTED: u16 = 0x3fff;

/// Reads plain IPv4 into `packet` as the general parser does. False for all else.
//
// Field by field: a whole packet would be put together elsewhere and copied, before its parts have reached memory.
#[inline(always)]
pub(super) fn read_ipv4(packet: &mut Packet, frame: &[u8]) -> bool {
    let Some(head) = frame.first_chunk::<V4_LEN>() else { return false };
    // EtherType, version and header length.
    if u32::from_be_bytes(bytes_at(head, L3 - 2)) & 0xffff_ff00 != 0x0800_4500 {
        return false;
    }
    let l3_len = usize::from(u16_at(head, L3 + 2));
    let fragment = u16_at(head, L3 + 6);
    let protocol = head[L3 + 9];
    let fits = (L3 + l3_len <= frame.len())
        & (layer4_len(head, V4_L4, protocol) + ipv4::HEADER_LEN <= l3_len)
        & (fragment & FRAGMENTED == 0);
    if !fits {
        return false;
    }
    packet.flow.src = Address::v4(bytes_at(head, L3 + 12));
    packet.flow.dst = Address::v4(bytes_at(head, L3 + 16));
    packet.l4_offset = V4_L4 as u16;
    packet.l3_len = l3_len as u32;
    packet.ttl = head[L3 + 8];
    packet.traffic_class = head[L3 + 1];
    packet.dont_fragment = fragment & ipv4::DONT_FRAGMENT != 0;
    packet.is_ipv4 = true;
    read_layer4(packet, head, V4_L4, protocol);
    true
}

/// Reads plain IPv6 into `packet` as the general parser does. False for all else.
#[inline(always)]
pub(super) fn read_ipv6(packet: &mut Packet, frame: &[u8]) -> bool {
    let Some(head) = frame.first_chunk::<V6_LEN>() else { return false };
    // EtherType and version.
    if u32::from_be_bytes(bytes_at(head, L3 - 2)) & 0xffff_f000 != 0x86dd_6000 {
        return false;
    }
    let payload_len = usize::from(u16_at(head, L3 + 4));
    let protocol = head[L3 + 6];
    let (src, dst) = (Address::v6(bytes_at(head, L3 + 8)), Address::v6(bytes_at(head, L3 + 24)));
    let fits = (V6_L4 + payload_len <= frame.len()) & (layer4_len(head, V6_L4, protocol) <= payload_len);
    if !fits | src.is_ipv4() | dst.is_ipv4() {
        return false;
    }
    (packet.flow.src, packet.flow.dst) = (src, dst);
    packet.l4_offset = V6_L4 as u16;
    packet.l3_len = (ipv6::HEADER_LEN + payload_len) as u32;
    packet.ttl = head[L3 + 7];
    packet.traffic_class = (u16_at(head, L3) >> 4) as u8;
    packet.dont_fragment = true;
    packet.is_ipv4 = false;
    read_layer4(packet, head, V6_L4, protocol);
    true
}

/// Fills the fields that both families fill alike.
#[inline(always)]
fn read_layer4<const N: usize>(packet: &mut Packet, head: &[u8; N], offset: usize, protocol: u8) {
    packet.flow.src_port = u16_at(head, offset);
    packet.flow.dst_port = u16_at(head, offset + 2);
    packet.flow.protocol = protocol;
    packet.flow.fragment = Fragment::No;
    packet.l3_offset = L3 as u16;
    packet.tcp_flags = if protocol == protocol::TCP { head[offset + tcp::FLAGS] & tcp::TURNING } else { 0 };
    packet.icmp_error = false;
    packet.neighbor_discovery = false;
}

/// Length that the packet must have from `offset` on for its TCP header, or its UDP datagram; longer than any packet if
/// it is neither, or if its fields are impossible.
#[inline(always)]
fn layer4_len<const N: usize>(head: &[u8; N], offset: usize, protocol: u8) -> usize {
    const IMPOSSIBLE: usize = 1 << 17;
    let (least, len) = match protocol {
        protocol::TCP => (tcp::HEADER_LEN, usize::from(head[offset + 12] >> 4) * 4),
        protocol::UDP => (udp::HEADER_LEN, usize::from(u16_at(head, offset + 4))),
        _ => return IMPOSSIBLE,
    };
    if len >= least { len } else { IMPOSSIBLE }
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

    fn read(frame: &[u8]) -> Option<Packet> {
        // No field may keep what another packet has left in it.
        let mut packet = Packet::NONE;
        (packet.l3_len, packet.icmp_error, packet.neighbor_discovery) = (7, true, true);
        (packet.read_plain_ipv4(frame) || packet.read_plain_ipv6(frame)).then_some(packet)
    }

    #[test]
    fn plain_packets_of_both_families_and_protocols_are_known() {
        for frame in frames() {
            assert_eq!(read(&frame).map(Ok), Some(Packet::parse(&frame)));
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
            for (offset, value) in damage {
                if let Some(byte) = frame.get_mut(offset) {
                    *byte = value;
                }
            }
            frame.truncate(len);
            if let Some(packet) = read(&frame) {
                prop_assert_eq!(Ok(packet), Packet::parse(&frame));
            }
        }
    }
}
