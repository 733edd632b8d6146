//! The packets that nearly all are: without IP options or extension headers, whole, TCP or UDP, behind one VLAN tag at most.
//!
//! Everything lies where it always does, so all conditions come down to a few comparisons. What fails any of them, or is
//! shorter than a TCP header makes it, is left to the general parser, which says what is wrong with it if anything is.

use super::Packet;
use crate::address::Address;
use crate::affinity::{KeyParts, TrackingHasher};
use crate::conntrack::TrackingKey;
use crate::flow::{Flow, Fragment};
use crate::forwarding_rule::{Answer, PlainRule, RuleTable};
use crate::wire::ethernet::{ADDRESSES_LEN, HEADER_LEN};
use crate::wire::{ipv4, ipv6, protocol, tcp, udp};

/// Bits of a fragment: more to follow, or an offset.
const FRAGMENTED: u16 = 0x3fff;

/// Bytes of headers that are looked at: a UDP header's are fewer than TCP's, but shorter packets are rare.
const IPV4_HEAD: usize = ipv4::HEADER_LEN + tcp::HEADER_LEN;
const IPV6_HEAD: usize = ipv6::HEADER_LEN + tcp::HEADER_LEN;

/// Bytes of both ports.
const PORTS_LEN: usize = 4;

/// EtherType of a frame and the two bytes behind it: all that tells a plain packet's family, version and header length.
///
/// A little-endian word of the bytes.
#[derive(Clone, Copy)]
pub(crate) struct Lead(u32);

impl Lead {
    /// Lead of a frame behind so many bytes of VLAN tags. None for a frame that is shorter than any plain one.
    #[inline(always)]
    pub(crate) fn behind<const TAG: usize>(frame: &[u8]) -> Option<Self> {
        // As long as the shortest plain frame, so that its length is asked for once.
        let header = frame.first_chunk::<{ HEADER_LEN + IPV4_HEAD }>()?;
        Some(Self(u32::from_le_bytes(bytes_at(header, ADDRESSES_LEN + TAG))))
    }

    /// Lead of packets of this EtherType, whose first byte is this.
    const fn new(ethertype: u16, first: u8) -> Self {
        Self(ethertype.swap_bytes() as u32 | (first as u32) << 16)
    }

    /// True if a VLAN tag follows.
    #[inline(always)]
    pub(crate) fn is_tag(self) -> bool {
        self.0 & 0xffff == Self::new(0x8100, 0).0
    }
}

/// A plain packet of one family, as it lies in its frame.
//
// Nothing is copied out: the headers are in the first-level cache, where a field is as near as in a register that has to
// be saved meanwhile.
pub(crate) trait Plain<'f>: Copy {
    /// Lead of the family's packets, and the bits of it that they have in common.
    const LEAD: (Lead, u32);

    /// True for IPv4, false for IPv6.
    const IS_IPV4: bool;

    /// True if packets of the family that may be plain have this lead.
    #[inline(always)]
    fn is_led_by(lead: Lead) -> bool {
        lead.0 & Self::LEAD.1 == Self::LEAD.0.0
    }

    /// Reads a packet that begins with its IP header and has the family's lead, as the general parser does. None if it is
    /// not plain.
    fn read(packet: &'f [u8]) -> Option<Self>;

    /// Packet of which [`Self::read`] has said before that it is plain: its length alone is checked.
    fn known(packet: &'f [u8]) -> Option<Self>;

    /// Length of the IP packet.
    fn l3_len(self) -> u16;

    /// TTL or hop limit.
    fn ttl(self) -> u8;

    /// DSCP and ECN.
    fn traffic_class(self) -> u8;

    /// True if the sender forbids routers to fragment the packet: IPv6, or IPv4 with DF.
    fn dont_fragment(self) -> bool;

    /// Protocol number: TCP or UDP.
    fn protocol(self) -> u8;

    /// Addresses, ports and protocol.
    fn flow(self) -> Flow;

    /// Bytes from the layer-4 header on.
    fn segment(self) -> &'f [u8; tcp::HEADER_LEN];

    /// Rule for the packet.
    ///
    /// # Errors
    /// The answer of the rules, where it is none.
    fn rule(self, rules: &RuleTable) -> Result<&PlainRule, &Answer>;

    /// Key of the packet's connection.
    fn tracking_key(self, hasher: &TrackingHasher, parts: &KeyParts) -> TrackingKey;

    /// Key of the packet's connection that both directions have: of its ends in order, as in [`Flow::in_order`].
    fn tracking_key_in_order(self, hasher: &TrackingHasher, parts: &KeyParts) -> TrackingKey;

    /// Flags of a TCP segment that open or close its connection: those of [`tcp::TURNING`]; zero for all else.
    #[inline(always)]
    fn tcp_flags(self) -> u8 {
        if self.protocol() == protocol::TCP { self.segment()[tcp::FLAGS] & tcp::TURNING } else { 0 }
    }

    /// True for a TCP segment with SYN set.
    #[inline(always)]
    fn opens(self) -> bool {
        self.tcp_flags() & tcp::SYN != 0
    }

    /// Writes the packet, which comes behind so many bytes of VLAN tags, as the general parser has it.
    //
    // Field by field: a whole packet would be put together elsewhere and copied, before its parts have reached memory.
    #[inline(always)]
    fn write_to(self, tag_len: u8, packet: &mut Packet) {
        let l3_offset = HEADER_LEN + usize::from(tag_len);
        let header_len = if Self::IS_IPV4 { ipv4::HEADER_LEN } else { ipv6::HEADER_LEN };
        packet.flow = self.flow();
        packet.l3_offset = l3_offset as u16;
        packet.l4_offset = (l3_offset + header_len) as u16;
        packet.l3_len = self.l3_len().into();
        packet.ttl = self.ttl();
        packet.traffic_class = self.traffic_class();
        packet.tcp_flags = self.tcp_flags();
        packet.icmp_error = false;
        packet.neighbor_discovery = false;
        packet.dont_fragment = self.dont_fragment();
        packet.is_ipv4 = Self::IS_IPV4;
    }
}

/// A plain packet over IPv4.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlainIpv4<'f> {
    head: &'f [u8; IPV4_HEAD],
}

impl<'f> Plain<'f> for PlainIpv4<'f> {
    const LEAD: (Lead, u32) = (Lead::new(ipv4::ETHERTYPE, 0x45), 0x00ff_ffff);
    const IS_IPV4: bool = true;

    #[inline(always)]
    fn known(packet: &'f [u8]) -> Option<Self> {
        Some(Self { head: packet.first_chunk()? })
    }

    #[inline(always)]
    fn read(packet: &'f [u8]) -> Option<Self> {
        let plain = Self::known(packet)?;
        let len = usize::from(plain.l3_len());
        let is_plain = plain.fragment() & FRAGMENTED == 0
            && len <= packet.len()
            && has_whole_layer4(plain.protocol(), plain.segment(), len, ipv4::HEADER_LEN);
        is_plain.then_some(plain)
    }

    #[inline(always)]
    fn l3_len(self) -> u16 {
        u16_at(self.head, 2)
    }

    #[inline(always)]
    fn ttl(self) -> u8 {
        self.head[8]
    }

    #[inline(always)]
    fn traffic_class(self) -> u8 {
        self.head[1]
    }

    #[inline(always)]
    fn dont_fragment(self) -> bool {
        self.fragment() & ipv4::DONT_FRAGMENT != 0
    }

    #[inline(always)]
    fn protocol(self) -> u8 {
        self.head[9]
    }

    #[inline(always)]
    fn flow(self) -> Flow {
        flow_of_ipv4(self.head.first_chunk().expect("it is the beginning of the headers"))
    }

    #[inline(always)]
    fn segment(self) -> &'f [u8; tcp::HEADER_LEN] {
        self.head.last_chunk().expect("it is the end of the headers")
    }

    #[inline(always)]
    fn rule(self, rules: &RuleTable) -> Result<&PlainRule, &Answer> {
        // Destination, source port, destination port.
        let end = u64::from_le_bytes(bytes_at(self.head, 16));
        rules.get_ipv4(end, self.protocol(), || u32::from_be_bytes(bytes_at(self.head, 12)))
    }

    #[inline(always)]
    fn tracking_key(self, hasher: &TrackingHasher, parts: &KeyParts) -> TrackingKey {
        let word = |offset| u32::from_le_bytes(bytes_at(self.head, offset));
        let (src, dst, ports) = (word(12), word(16), word(20));
        hasher.ipv4_key(parts, src, dst, ports)
    }

    #[inline(always)]
    fn tracking_key_in_order(self, hasher: &TrackingHasher, parts: &KeyParts) -> TrackingKey {
        let word = |offset| u32::from_le_bytes(bytes_at(self.head, offset));
        let (src, dst, ports) = (word(12), word(16), word(20));
        let end = |address: u32, port: u32| (address.swap_bytes(), (port as u16).swap_bytes());
        if end(dst, ports >> 16) < end(src, ports) {
            hasher.ipv4_key(parts, dst, src, ports.rotate_left(16))
        } else {
            hasher.ipv4_key(parts, src, dst, ports)
        }
    }
}

impl PlainIpv4<'_> {
    /// Flags and fragment offset.
    #[inline(always)]
    fn fragment(self) -> u16 {
        u16_at(self.head, 6)
    }
}

/// A plain packet over IPv6.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlainIpv6<'f> {
    head: &'f [u8; IPV6_HEAD],
}

impl<'f> Plain<'f> for PlainIpv6<'f> {
    const LEAD: (Lead, u32) = (Lead::new(ipv6::ETHERTYPE, 0x60), 0x00f0_ffff);
    const IS_IPV4: bool = false;

    #[inline(always)]
    fn known(packet: &'f [u8]) -> Option<Self> {
        Some(Self { head: packet.first_chunk()? })
    }

    #[inline(always)]
    fn read(packet: &'f [u8]) -> Option<Self> {
        let plain = Self::known(packet)?;
        let len = ipv6::HEADER_LEN + usize::from(u16_at(plain.head, 4));
        // The longest frame that fits an mbuf is shorter than 2^16 bytes.
        let is_plain = len <= packet.len().min(usize::from(u16::MAX))
            && has_whole_layer4(plain.protocol(), plain.segment(), len, ipv6::HEADER_LEN)
            && !plain.is_mapped(8)
            && !plain.is_mapped(24);
        is_plain.then_some(plain)
    }

    #[inline(always)]
    fn l3_len(self) -> u16 {
        u16_at(self.head, 4) + ipv6::HEADER_LEN as u16
    }

    #[inline(always)]
    fn ttl(self) -> u8 {
        self.head[7]
    }

    #[inline(always)]
    fn traffic_class(self) -> u8 {
        (u16_at(self.head, 0) >> 4) as u8
    }

    #[inline(always)]
    fn dont_fragment(self) -> bool {
        true
    }

    #[inline(always)]
    fn protocol(self) -> u8 {
        self.head[6]
    }

    #[inline(always)]
    fn flow(self) -> Flow {
        flow_of_ipv6(self.head.first_chunk().expect("it is the beginning of the headers"))
    }

    #[inline(always)]
    fn segment(self) -> &'f [u8; tcp::HEADER_LEN] {
        self.head.last_chunk().expect("it is the end of the headers")
    }

    #[inline(always)]
    fn rule(self, rules: &RuleTable) -> Result<&PlainRule, &Answer> {
        let dst = u128::from_le_bytes(bytes_at(self.head, 24));
        let ports = u32::from_le_bytes(bytes_at(self.head, 40));
        rules.get_ipv6(dst, ports, self.protocol(), || u128::from_be_bytes(bytes_at(self.head, 8)))
    }

    #[inline(always)]
    fn tracking_key(self, hasher: &TrackingHasher, parts: &KeyParts) -> TrackingKey {
        let word = |offset| u128::from_le_bytes(bytes_at(self.head, offset));
        let (src, dst) = (word(8), word(24));
        hasher.ipv6_key(parts, src, dst, u32::from_le_bytes(bytes_at(self.head, 40)))
    }

    #[inline(always)]
    fn tracking_key_in_order(self, hasher: &TrackingHasher, parts: &KeyParts) -> TrackingKey {
        let word = |offset| u128::from_le_bytes(bytes_at(self.head, offset));
        let (src, dst) = (word(8), word(24));
        let ports = u32::from_le_bytes(bytes_at(self.head, 40));
        let end = |address: u128, port: u32| (address.swap_bytes(), (port as u16).swap_bytes());
        if end(dst, ports >> 16) < end(src, ports) {
            hasher.ipv6_key(parts, dst, src, ports.rotate_left(16))
        } else {
            hasher.ipv6_key(parts, src, dst, ports)
        }
    }
}

impl PlainIpv6<'_> {
    /// True if the address at `offset` is an IPv4-mapped one.
    #[inline(always)]
    fn is_mapped(self, offset: usize) -> bool {
        let high = u64::from_ne_bytes(bytes_at(self.head, offset));
        let low = u32::from_be_bytes(bytes_at(self.head, offset + 8));
        (high == 0) & (low == 0xffff)
    }
}

/// Flow of a plain packet over IPv4, by its header and its ports.
#[inline(always)]
pub(crate) fn flow_of_ipv4(head: &[u8; ipv4::HEADER_LEN + PORTS_LEN]) -> Flow {
    let (src, dst) = (Address::v4(bytes_at(head, 12)), Address::v4(bytes_at(head, 16)));
    let (src_port, dst_port) = (u16_at(head, 20), u16_at(head, 22));
    Flow { src, dst, src_port, dst_port, protocol: head[9], fragment: Fragment::No }
}

/// Flow of a plain packet over IPv6, by its header and its ports.
#[inline(always)]
pub(crate) fn flow_of_ipv6(head: &[u8; ipv6::HEADER_LEN + PORTS_LEN]) -> Flow {
    let (src, dst) = (Address::v6(bytes_at(head, 8)), Address::v6(bytes_at(head, 24)));
    let (src_port, dst_port) = (u16_at(head, 40), u16_at(head, 42));
    Flow { src, dst, src_port, dst_port, protocol: head[6], fragment: Fragment::No }
}

/// True if an IP packet of `len` bytes has room behind its header for a TCP header, or for its UDP datagram, whose fields
/// are possible.
#[inline(always)]
fn has_whole_layer4(protocol: u8, segment: &[u8; tcp::HEADER_LEN], len: usize, header_len: usize) -> bool {
    let has_room_for = |layer4_len: usize| header_len + layer4_len <= len;
    if protocol == protocol::TCP {
        let tcp_len = usize::from(segment[12] >> 2 & 0x3c);
        tcp_len >= tcp::HEADER_LEN && has_room_for(tcp_len)
    } else if protocol == protocol::UDP {
        let udp_len = usize::from(u16_at(segment, 4));
        udp_len >= udp::HEADER_LEN && has_room_for(udp_len)
    } else {
        false
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
    use crate::wire::ethernet::TAG_LEN;
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
            v4().tcp(40001, 443, tcp::ACK).vlan(7),
            v6().udp(40001, 443).payload_len(50).vlan(7),
        ];
        packets.into_iter().map(|packet| packet.build()).collect()
    }

    fn read(frame: &[u8]) -> Option<Packet> {
        // No field may keep what another packet has left in it.
        let mut packet = Packet::NONE;
        (packet.l3_len, packet.icmp_error, packet.neighbor_discovery) = (7, true, true);
        let (lead, tag_len) = lead_and_tag(frame)?;
        let payload = &frame[HEADER_LEN + tag_len..];
        if PlainIpv4::is_led_by(lead) {
            PlainIpv4::read(payload)?.write_to(tag_len as u8, &mut packet);
        } else if PlainIpv6::is_led_by(lead) {
            PlainIpv6::read(payload)?.write_to(tag_len as u8, &mut packet);
        } else {
            return None;
        }
        Some(packet)
    }

    fn lead_and_tag(frame: &[u8]) -> Option<(Lead, usize)> {
        let lead = Lead::behind::<0>(frame)?;
        if lead.is_tag() { Some((Lead::behind::<TAG_LEN>(frame)?, TAG_LEN)) } else { Some((lead, 0)) }
    }

    #[test]
    fn plain_packets_of_both_families_and_protocols_are_known() {
        for frame in frames() {
            assert_eq!(read(&frame).map(Ok), Some(Packet::parse(&frame)));
        }
    }

    #[test]
    fn keys_are_those_of_the_flow() {
        use crate::affinity::{ServiceKey, Tuple};
        let hasher = TrackingHasher::new([1, 2, 3, 4]);
        for frame in frames() {
            let (lead, tag_len) = lead_and_tag(&frame).expect("a plain frame");
            let payload = &frame[HEADER_LEN + tag_len..];
            for tuple in [Tuple::One, Tuple::Two, Tuple::Three, Tuple::Five] {
                let parts = |protocol| KeyParts::new(ServiceKey(9), tuple, protocol);
                let (key, flow) = if PlainIpv4::is_led_by(lead) {
                    let plain = PlainIpv4::read(payload).expect("a plain packet");
                    (plain.tracking_key(&hasher, &parts(plain.protocol())), plain.flow())
                } else {
                    let plain = PlainIpv6::read(payload).expect("a plain packet");
                    (plain.tracking_key(&hasher, &parts(plain.protocol())), plain.flow())
                };
                assert_eq!(key, hasher.key(ServiceKey(9), tuple, &flow), "{tuple:?} {flow:?}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        /// Whatever becomes of the headers, it agrees with the general parser or leaves the frame to it.
        #[test]
        fn what_is_known_is_what_the_general_parser_says(
            which in 0..7usize,
            damage in prop::collection::vec((12..78usize, any::<u8>()), 0..4),
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
