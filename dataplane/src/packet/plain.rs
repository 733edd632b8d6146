//! The packets that nearly all are: untagged, without IP options or extension headers, whole, TCP or UDP.
//!
//! Everything lies where it always does, so all conditions come down to one branch. What fails any of them, or is
//! shorter than a TCP header makes it, is left to the general parser, which says what is wrong with it if anything is.

use super::Packet;
use crate::address::Address;
use crate::flow::{Flow, Fragment};
use crate::wire::ethernet::HEADER_LEN as L3;
use crate::wire::{ipv4, ipv6, protocol, tcp, udp};

/// Offset of the layer-4 header in an IPv4 and in an IPv6 frame, and of the end of TCP's.
const V4_L4: usize = L3 + ipv4::HEADER_LEN;
const V4_LEN: usize = V4_L4 + tcp::HEADER_LEN;
const V6_L4: usize = L3 + ipv6::HEADER_LEN;
const V6_LEN: usize = V6_L4 + tcp::HEADER_LEN;

/// Bits of a fragment: more to follow, or an offset.
const FRAGMENTED: u16 = 0x3fff;

/// A plain packet: its connection, and what its delivery needs to know.
//
// Small enough that it stays in registers between the parse and the conntrack key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plain {
    /// Addresses, protocol and ports.
    pub(crate) flow: Flow,
    /// Length of the IP packet.
    pub(crate) l3_len: u16,
    /// TTL or hop limit.
    pub(crate) ttl: u8,
    /// DSCP and ECN.
    pub(crate) traffic_class: u8,
    /// Flags of a TCP segment that open or close its connection: those of [`tcp::TURNING`]; zero for all else.
    pub(crate) tcp_flags: u8,
    /// True if the sender forbids routers to fragment the packet: IPv6, or IPv4 with DF.
    pub(crate) dont_fragment: bool,
}

impl Plain {
    /// Reads plain IPv4 as the general parser does. None for all else.
    #[inline(always)]
    pub(crate) fn read_ipv4(frame: &[u8]) -> Option<Self> {
        let head = frame.first_chunk::<V4_LEN>()?;
        // EtherType, version and header length.
        if u32::from_be_bytes(bytes_at(head, L3 - 2)) & 0xffff_ff00 != 0x0800_4500 {
            return None;
        }
        let l3_len = u16_at(head, L3 + 2);
        let fragment = u16_at(head, L3 + 6);
        let protocol = head[L3 + 9];
        let fits = (L3 + usize::from(l3_len) <= frame.len())
            & (layer4_len(head, V4_L4, protocol) + ipv4::HEADER_LEN <= usize::from(l3_len))
            & (fragment & FRAGMENTED == 0);
        if !fits {
            return None;
        }
        let (src, dst) = (Address::v4(bytes_at(head, L3 + 12)), Address::v4(bytes_at(head, L3 + 16)));
        Some(Self {
            flow: flow(src, dst, head, V4_L4, protocol),
            l3_len,
            ttl: head[L3 + 8],
            traffic_class: head[L3 + 1],
            tcp_flags: tcp_flags(head, V4_L4, protocol),
            dont_fragment: fragment & ipv4::DONT_FRAGMENT != 0,
        })
    }

    /// Reads plain IPv6 as the general parser does. None for all else.
    #[inline(always)]
    pub(crate) fn read_ipv6(frame: &[u8]) -> Option<Self> {
        let head = frame.first_chunk::<V6_LEN>()?;
        // EtherType and version.
        if u32::from_be_bytes(bytes_at(head, L3 - 2)) & 0xffff_f000 != 0x86dd_6000 {
            return None;
        }
        let payload_len = usize::from(u16_at(head, L3 + 4));
        let protocol = head[L3 + 6];
        let (src, dst) = (Address::v6(bytes_at(head, L3 + 8)), Address::v6(bytes_at(head, L3 + 24)));
        let fits = (V6_L4 + payload_len <= frame.len()) & (layer4_len(head, V6_L4, protocol) <= payload_len);
        if !fits | src.is_ipv4() | dst.is_ipv4() {
            return None;
        }
        Some(Self {
            flow: flow(src, dst, head, V6_L4, protocol),
            // The longest frame that fits an mbuf is shorter than 2^16 bytes.
            l3_len: u16::try_from(ipv6::HEADER_LEN + payload_len).ok()?,
            ttl: head[L3 + 7],
            traffic_class: (u16_at(head, L3) >> 4) as u8,
            tcp_flags: tcp_flags(head, V6_L4, protocol),
            dont_fragment: true,
        })
    }

    /// Reads a frame that is known to hold a plain packet of one family.
    #[inline(always)]
    pub(crate) fn read(frame: &[u8], is_ipv4: bool) -> Option<Self> {
        if is_ipv4 { Self::read_ipv4(frame) } else { Self::read_ipv6(frame) }
    }

    /// Writes the packet as the general parser has it.
    //
    // Field by field: a whole packet would be put together elsewhere and copied, before its parts have reached memory.
    #[inline(always)]
    pub(crate) fn write_to(self, packet: &mut Packet) {
        let is_ipv4 = self.flow.src.is_ipv4();
        packet.flow.src = self.flow.src;
        packet.flow.dst = self.flow.dst;
        packet.flow.src_port = self.flow.src_port;
        packet.flow.dst_port = self.flow.dst_port;
        packet.flow.protocol = self.flow.protocol;
        packet.flow.fragment = self.flow.fragment;
        packet.l3_offset = L3 as u16;
        packet.l4_offset = if is_ipv4 { V4_L4 as u16 } else { V6_L4 as u16 };
        packet.l3_len = self.l3_len.into();
        packet.ttl = self.ttl;
        packet.traffic_class = self.traffic_class;
        packet.tcp_flags = self.tcp_flags;
        packet.icmp_error = false;
        packet.neighbor_discovery = false;
        packet.dont_fragment = self.dont_fragment;
        packet.is_ipv4 = is_ipv4;
    }
}

#[inline(always)]
fn flow<const N: usize>(src: Address, dst: Address, head: &[u8; N], layer4: usize, protocol: u8) -> Flow {
    let (src_port, dst_port) = (u16_at(head, layer4), u16_at(head, layer4 + 2));
    Flow { src, dst, src_port, dst_port, protocol, fragment: Fragment::No }
}

#[inline(always)]
fn tcp_flags<const N: usize>(head: &[u8; N], layer4: usize, protocol: u8) -> u8 {
    if protocol == protocol::TCP { head[layer4 + tcp::FLAGS] & tcp::TURNING } else { 0 }
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
        Plain::read_ipv4(frame).or_else(|| Plain::read_ipv6(frame))?.write_to(&mut packet);
        Some(packet)
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
