//! Parsed packets: all that the pipeline knows of a frame after one parse.

mod plain;

use crate::address::Address;
use crate::flow::{Flow, Fragment};
use crate::verdict::{DropReason, PassReason, Verdict};
use crate::wire::ethernet::{self, EtherType};
use crate::wire::ipv4::Ipv4Header;
use crate::wire::ipv6::{self, Ipv6Header};
use crate::wire::{icmp, protocol, tcp, udp};

pub(crate) use plain::{Lead, Plain, PlainIpv4, PlainIpv6, flow_of_ipv4, flow_of_ipv6};

/// Well-formed IP packet in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Addresses, protocol and ports in the packet's own headers.
    pub flow: Flow,
    /// Offset of the IP header in the frame.
    pub l3_offset: u16,
    /// Offset of the layer-4 header in the frame: at most eight extension headers of 2 KiB lie before it.
    pub l4_offset: u16,
    /// Length of the IP packet; what follows it in the frame is padding.
    pub l3_len: u32,
    /// TTL or hop limit.
    pub ttl: u8,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// Flags of a TCP segment that open or close its connection: those of [`tcp::TURNING`]; zero for all else.
    pub tcp_flags: u8,
    /// True for an ICMP or ICMPv6 error, which quotes another packet.
    pub icmp_error: bool,
    /// True for a message of IPv6 neighbour discovery: for the appliance itself, whatever rule its destination has.
    pub neighbor_discovery: bool,
    /// True if the sender forbids routers to fragment the packet: IPv6, or IPv4 with DF.
    pub dont_fragment: bool,
    /// True for IPv4, false for IPv6.
    pub is_ipv4: bool,
}

impl Packet {
    /// Parses one frame.
    ///
    /// # Errors
    /// The verdict on a frame that holds no well-formed IP packet.
    pub fn parse(frame: &[u8]) -> Result<Self, Verdict> {
        let mut packet = Self::NONE;
        packet.read(frame)?;
        Ok(packet)
    }

    /// Parses one frame in place: the fields are written once, where they will be read.
    ///
    /// A copy of them would be loaded in words that were stored in parts, which a processor waits for.
    ///
    /// # Errors
    /// The verdict on a frame that holds no well-formed IP packet; the packet is then unspecified.
    pub(crate) fn read(&mut self, frame: &[u8]) -> Result<(), Verdict> {
        match ethernet::payload(frame) {
            Some((EtherType::Ipv4, offset)) => self.read_ipv4(&frame[offset..], offset),
            Some((EtherType::Ipv6, offset)) => self.read_ipv6(&frame[offset..], offset),
            Some((EtherType::Other(_), _)) => Err(Verdict::Pass(PassReason::NotIp)),
            None => Err(Verdict::Drop(DropReason::MalformedEthernet)),
        }
    }

    /// True for a TCP segment with SYN set.
    #[inline]
    pub fn opens(&self) -> bool {
        self.tcp_flags & tcp::SYN != 0
    }

    /// True for a TCP segment with FIN or RST set.
    #[inline]
    pub fn closes(&self) -> bool {
        self.tcp_flags & (tcp::FIN | tcp::RST) != 0
    }

    /// Packet before one is read.
    pub(crate) const NONE: Self = Self {
        flow: Flow {
            src: Address(0),
            dst: Address(0),
            src_port: 0,
            dst_port: 0,
            protocol: 0,
            fragment: Fragment::No,
        },
        l3_offset: 0,
        l4_offset: 0,
        l3_len: 0,
        ttl: 0,
        traffic_class: 0,
        tcp_flags: 0,
        icmp_error: false,
        neighbor_discovery: false,
        dont_fragment: false,
        is_ipv4: false,
    };

    /// Identification that the fragments of a datagram share, of a fragment that was parsed from `frame`.
    pub(crate) fn fragment_identification(&self, frame: &[u8]) -> Option<u32> {
        let bytes = frame.get(usize::from(self.l3_offset)..)?;
        if self.is_ipv4 {
            return Some(Ipv4Header::parse(bytes)?.id.get().into());
        }
        let header = Ipv6Header::parse(bytes)?;
        let upper = ipv6::upper_layer(header.next_header, &bytes[ipv6::HEADER_LEN..])?;
        Some(upper.identification)
    }

    fn read_ipv4(&mut self, bytes: &[u8], l3_offset: usize) -> Result<(), Verdict> {
        const MALFORMED: Verdict = Verdict::Drop(DropReason::MalformedIpv4);
        let header = Ipv4Header::parse(bytes).ok_or(MALFORMED)?;
        let (header_len, total_len) = (header.header_len(), usize::from(header.total_len.get()));
        if total_len < header_len {
            return Err(MALFORMED);
        }
        if total_len > bytes.len() {
            return Err(Verdict::Drop(DropReason::Truncated));
        }
        let start = header.fragment_offset();
        // The "ping of death": a fragment that would end past the longest datagram that there can be.
        if start + (total_len - header_len) > usize::from(u16::MAX) - header_len {
            return Err(MALFORMED);
        }
        *self = Self {
            flow: Flow {
                src: Address::v4(header.src),
                dst: Address::v4(header.dst),
                src_port: 0,
                dst_port: 0,
                protocol: header.protocol,
                fragment: fragment(start, header.more_fragments()),
            },
            l3_offset: l3_offset as u16,
            l4_offset: (l3_offset + header_len) as u16,
            l3_len: total_len as u32,
            ttl: header.ttl,
            traffic_class: header.traffic_class,
            tcp_flags: 0,
            icmp_error: false,
            neighbor_discovery: false,
            dont_fragment: header.dont_fragment(),
            is_ipv4: true,
        };
        self.read_layer4(&bytes[header_len..total_len])
    }

    fn read_ipv6(&mut self, bytes: &[u8], l3_offset: usize) -> Result<(), Verdict> {
        const MALFORMED: Verdict = Verdict::Drop(DropReason::MalformedIpv6);
        let header = Ipv6Header::parse(bytes).ok_or(MALFORMED)?;
        let end = ipv6::HEADER_LEN + usize::from(header.payload_len.get());
        let payload = bytes.get(ipv6::HEADER_LEN..end).ok_or(Verdict::Drop(DropReason::Truncated))?;
        let (src, dst) = (Address::v6(header.src), Address::v6(header.dst));
        // An IPv4-mapped address must not travel; here it would be taken for the IPv4 address itself.
        if src.is_ipv4() || dst.is_ipv4() {
            return Err(Verdict::Drop(DropReason::MartianSource));
        }
        let upper = ipv6::upper_layer(header.next_header, payload).ok_or(MALFORMED)?;
        *self = Self {
            flow: Flow {
                src,
                dst,
                src_port: 0,
                dst_port: 0,
                protocol: upper.protocol,
                fragment: upper.fragment.map_or(Fragment::No, |(start, more)| fragment(start, more)),
            },
            l3_offset: l3_offset as u16,
            l4_offset: (l3_offset + ipv6::HEADER_LEN + upper.offset) as u16,
            l3_len: end as u32,
            ttl: header.hop_limit,
            traffic_class: header.traffic_class(),
            tcp_flags: 0,
            icmp_error: false,
            neighbor_discovery: false,
            dont_fragment: true,
            is_ipv4: false,
        };
        self.read_layer4(&payload[upper.offset..])
    }

    fn read_layer4(&mut self, segment: &[u8]) -> Result<(), Verdict> {
        if self.flow.fragment == Fragment::Later {
            return Ok(());
        }
        let whole = self.flow.fragment == Fragment::No;
        match self.flow.protocol {
            protocol::TCP => {
                if !tcp::is_well_formed(segment, whole) {
                    return Err(Verdict::Drop(DropReason::MalformedTcp));
                }
                self.tcp_flags = tcp::turning_flags(segment);
                self.read_ports(segment);
            }
            protocol::UDP => {
                if !udp::is_well_formed(segment, whole) {
                    return Err(Verdict::Drop(DropReason::MalformedUdp));
                }
                self.read_ports(segment);
            }
            // Each family has its own; the other's number is a protocol like any.
            protocol::ICMP if self.is_ipv4 => self.icmp_error = icmp::is_error(icmp_kind(segment)?),
            protocol::ICMPV6 if !self.is_ipv4 => {
                let kind = icmp_kind(segment)?;
                self.icmp_error = icmp::is_v6_error(kind);
                self.neighbor_discovery = icmp::is_neighbor_discovery(kind, self.ttl);
            }
            _ => {}
        }
        Ok(())
    }

    fn read_ports(&mut self, segment: &[u8]) {
        self.flow.src_port = u16::from_be_bytes([segment[0], segment[1]]);
        self.flow.dst_port = u16::from_be_bytes([segment[2], segment[3]]);
    }
}

/// Type of an ICMP message whose header is whole.
fn icmp_kind(message: &[u8]) -> Result<u8, Verdict> {
    if message.len() < icmp::HEADER_LEN {
        return Err(Verdict::Drop(DropReason::MalformedIcmp));
    }
    Ok(message[0])
}

/// Part of a datagram that starts at byte `start` of it, with `more` to follow.
pub(crate) fn fragment(start: usize, more: bool) -> Fragment {
    match (start, more) {
        (0, false) => Fragment::No,
        (0, true) => Fragment::First,
        _ => Fragment::Later,
    }
}

/// Flow of a frame's packet by its headers alone, whatever the frame lacks behind them: of one that was cut in a capture.
pub fn flow_of_headers(frame: &[u8]) -> Option<Flow> {
    let (ethertype, offset) = ethernet::payload(frame)?;
    match ethertype {
        EtherType::Ipv4 => parse_quote(&frame[offset..], true),
        EtherType::Ipv6 => parse_quote(&frame[offset..], false),
        EtherType::Other(_) => None,
    }
}

/// Reads a packet as an ICMP error quotes it: perhaps only its IP header and 8 bytes (RFC 792).
///
/// `None` where even that much is missing or contradicts itself.
pub(crate) fn parse_quote(quote: &[u8], is_ipv4: bool) -> Option<Flow> {
    let (mut flow, segment) = if is_ipv4 {
        let header = Ipv4Header::parse(quote)?;
        let flow = Flow {
            src: Address::v4(header.src),
            dst: Address::v4(header.dst),
            src_port: 0,
            dst_port: 0,
            protocol: header.protocol,
            fragment: fragment(header.fragment_offset(), header.more_fragments()),
        };
        (flow, quote.get(header.header_len()..)?)
    } else {
        let header = Ipv6Header::parse(quote)?;
        let (src, dst) = (Address::v6(header.src), Address::v6(header.dst));
        let payload = &quote[ipv6::HEADER_LEN..];
        let upper = ipv6::upper_layer(header.next_header, payload)?;
        if src.is_ipv4() || dst.is_ipv4() {
            return None;
        }
        let fragment = upper.fragment.map_or(Fragment::No, |(start, more)| fragment(start, more));
        let flow = Flow { src, dst, src_port: 0, dst_port: 0, protocol: upper.protocol, fragment };
        (flow, &payload[upper.offset..])
    };
    if flow.fragment != Fragment::Later && matches!(flow.protocol, protocol::TCP | protocol::UDP) {
        let ports = segment.get(..4)?;
        flow.src_port = u16::from_be_bytes([ports[0], ports[1]]);
        flow.dst_port = u16::from_be_bytes([ports[2], ports[3]]);
    }
    Some(flow)
}
