//! Packets, described field by field and built into the bytes of their Ethernet frames.

mod checksum;
mod segment;

use std::net::IpAddr;

pub(crate) use segment::Segment;

/// Flags of a TCP header (RFC 9293, section 3.1).
pub mod tcp {
    /// Flag FIN: no more data comes from the sender.
    pub const FIN: u8 = 0x01;
    /// Flag SYN: the connection starts.
    pub const SYN: u8 = 0x02;
    /// Flag RST: the connection ends abruptly.
    pub const RST: u8 = 0x04;
    /// Flag PSH: the data is to be handed on at once.
    pub const PSH: u8 = 0x08;
    /// Flag ACK: the acknowledgment number counts.
    pub const ACK: u8 = 0x10;
}

/// Packet, described field by field; [`Packet::build`] makes its frame.
///
/// Fields that are not set have a plain value: TTL 64, no tags, no options, no payload. Lengths and checksums are
/// right, whatever is set, until [`Packet::patch`] makes them wrong.
///
/// ```
/// use pcap_fixtures::packet::{Packet, tcp};
///
/// let frame = Packet::between("198.51.100.7", "203.0.113.10").vlan(42).tcp(40_000, 443, tcp::SYN).build();
/// assert_eq!(frame.len(), 14 + 4 + 20 + 20);
/// ```
#[derive(Clone, Debug)]
pub struct Packet {
    pub(crate) src_mac: [u8; 6],
    pub(crate) dst_mac: [u8; 6],
    /// VLAN tags, outermost first: EtherType and tag of each.
    pub(crate) tags: Vec<(u16, u16)>,
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    pub(crate) ttl: u8,
    pub(crate) tos: u8,
    pub(crate) flow_label: u32,
    pub(crate) identification: u32,
    pub(crate) dont_fragment: bool,
    pub(crate) options: Vec<u8>,
    /// Extension headers: number and body of each, without next header and length.
    pub(crate) extensions: Vec<(u8, Vec<u8>)>,
    pub(crate) fragment: Option<Fragment>,
    pub(crate) segment: Segment,
    pub(crate) payload: Vec<u8>,
    pub(crate) trailer: Vec<u8>,
    pub(crate) patches: Vec<(usize, Vec<u8>)>,
}

/// Part of a datagram that a fragment carries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fragment {
    /// Offset in bytes, a multiple of 8.
    pub(crate) offset: usize,
    pub(crate) more: bool,
}

impl Packet {
    /// Starts a packet from `src` to `dst`, of either family; by default it carries no protocol's header (253, which
    /// RFC 3692 gives to experiments).
    ///
    /// # Panics
    ///
    /// If one of them is no address, or they are of two families.
    pub fn between(src: &str, dst: &str) -> Self {
        let [src, dst] = [src, dst].map(|text| text.parse::<IpAddr>().expect("an IP address"));
        assert_eq!(src.is_ipv4(), dst.is_ipv4(), "two families in one packet");
        Self {
            src_mac: [0x02, 0, 0, 0, 0, 0x01],
            dst_mac: [0x02, 0, 0, 0, 0, 0x02],
            tags: Vec::new(),
            src,
            dst,
            ttl: 64,
            tos: 0,
            flow_label: 0,
            identification: 0,
            dont_fragment: false,
            options: Vec::new(),
            extensions: Vec::new(),
            fragment: None,
            segment: Segment::Other { protocol: 253 },
            payload: Vec::new(),
            trailer: Vec::new(),
            patches: Vec::new(),
        }
    }

    /// Sets the frame's MAC addresses.
    pub fn macs(self, src_mac: [u8; 6], dst_mac: [u8; 6]) -> Self {
        Self { src_mac, dst_mac, ..self }
    }

    /// Adds an 802.1Q tag inside those added before.
    pub fn vlan(mut self, tag: u16) -> Self {
        self.tags.push((0x8100, tag));
        self
    }

    /// Adds an 802.1ad service tag (QinQ) inside those added before; call it before [`Packet::vlan`].
    pub fn service_vlan(mut self, tag: u16) -> Self {
        self.tags.push((0x88a8, tag));
        self
    }

    /// Sets the TTL, or hop limit.
    pub fn ttl(self, ttl: u8) -> Self {
        Self { ttl, ..self }
    }

    /// Sets the type of service, or traffic class: DSCP and ECN.
    pub fn tos(self, tos: u8) -> Self {
        Self { tos, ..self }
    }

    /// Sets the flow label of an IPv6 packet.
    pub fn flow_label(self, flow_label: u32) -> Self {
        Self { flow_label, ..self }
    }

    /// Sets the number that a datagram's fragments share: 16 bits in IPv4, 32 in IPv6.
    pub fn identification(self, identification: u32) -> Self {
        Self { identification, ..self }
    }

    /// Sets the "don't fragment" bit of an IPv4 packet.
    pub fn dont_fragment(self) -> Self {
        Self { dont_fragment: true, ..self }
    }

    /// Sets the options of an IPv4 header, padded with "end of options" to whole words.
    pub fn options(self, options: &[u8]) -> Self {
        let mut options = options.to_vec();
        options.resize(options.len().next_multiple_of(4), 0);
        assert!(options.len() <= 40, "an IPv4 header has room for 40 bytes of options");
        Self { options, ..self }
    }

    /// Adds a hop-by-hop options header to an IPv6 packet; `body` is what follows its first two bytes.
    pub fn hop_by_hop(self, body: &[u8]) -> Self {
        self.extension(0, body)
    }

    /// Adds a routing header to an IPv6 packet. Checksums are of the destination in the IPv6 header, as they are once
    /// no segments are left.
    pub fn routing(self, body: &[u8]) -> Self {
        self.extension(43, body)
    }

    /// Adds a destination options header to an IPv6 packet.
    pub fn destination_options(self, body: &[u8]) -> Self {
        self.extension(60, body)
    }

    fn extension(mut self, header: u8, body: &[u8]) -> Self {
        // Whole units of 8 bytes, with the two of next header and length.
        let mut body = body.to_vec();
        body.resize((body.len() + 2).next_multiple_of(8) - 2, 0);
        self.extensions.push((header, body));
        self
    }

    /// Makes this the fragment at `offset` bytes of a datagram, with more to come or not: what the packet carries is
    /// taken to be that fragment's part as it is. [`Packet::fragments`] cuts a whole datagram.
    pub fn fragment(self, offset: usize, more: bool) -> Self {
        assert!(offset.is_multiple_of(8) && offset < 65_536, "no fragment starts at {offset}");
        Self { fragment: Some(Fragment { offset, more }), ..self }
    }

    /// Makes the packet a TCP segment.
    pub fn tcp(self, src_port: u16, dst_port: u16, flags: u8) -> Self {
        Self { segment: Segment::Tcp { ports: [src_port, dst_port], flags, seq: 0, ack: 0 }, ..self }
    }

    /// Sets the sequence number of a TCP segment or of an ESP packet.
    pub fn seq(mut self, number: u32) -> Self {
        match &mut self.segment {
            Segment::Tcp { seq, .. } | Segment::Esp { seq, .. } => *seq = number,
            segment => panic!("{segment:?} has no sequence number"),
        }
        self
    }

    /// Sets the acknowledgment number of a TCP segment.
    pub fn ack(mut self, number: u32) -> Self {
        match &mut self.segment {
            Segment::Tcp { ack, .. } => *ack = number,
            segment => panic!("{segment:?} has no acknowledgment number"),
        }
        self
    }

    /// Makes the packet a UDP datagram.
    pub fn udp(self, src_port: u16, dst_port: u16) -> Self {
        Self { segment: Segment::Udp { ports: [src_port, dst_port], checksum: true }, ..self }
    }

    /// Makes the packet a UDP datagram whose sender made no checksum.
    pub fn udp_without_checksum(self, src_port: u16, dst_port: u16) -> Self {
        Self { segment: Segment::Udp { ports: [src_port, dst_port], checksum: false }, ..self }
    }

    /// Makes the packet an echo request of the addresses' family.
    pub fn echo_request(self, identifier: u16, sequence: u16) -> Self {
        let kind = if self.src.is_ipv4() { 8 } else { 128 };
        self.icmp(kind, 0, u32::from(identifier) << 16 | u32::from(sequence))
    }

    /// Makes the packet an echo reply of the addresses' family.
    pub fn echo_reply(self, identifier: u16, sequence: u16) -> Self {
        let kind = if self.src.is_ipv4() { 0 } else { 129 };
        self.icmp(kind, 0, u32::from(identifier) << 16 | u32::from(sequence))
    }

    /// Makes the packet any ICMP or ICMPv6 message, by the addresses' family; `rest` is the header's second word.
    pub fn icmp(self, kind: u8, code: u8, rest: u32) -> Self {
        Self { segment: Segment::Icmp { kind, code, rest: rest.to_be_bytes() }, ..self }
    }

    /// Makes the packet "fragmentation needed" or "packet too big", with the next hop's MTU and up to `quote_len`
    /// bytes of `quoted`'s IP packet.
    pub fn packet_too_big(self, mtu: u16, quoted: &Self, quote_len: usize) -> Self {
        let (kind, code) = if self.src.is_ipv4() { (3, 4) } else { (2, 0) };
        self.icmp(kind, code, u32::from(mtu)).quoting(quoted, quote_len)
    }

    /// Sets the payload of an ICMP error: the first `quote_len` bytes of `quoted` from its IP header on, or all of it
    /// if it is shorter.
    pub fn quoting(self, quoted: &Self, quote_len: usize) -> Self {
        let mut payload = quoted.ip_packet();
        payload.truncate(quote_len);
        Self { payload, ..self }
    }

    /// Makes the packet an ESP packet (RFC 4303); the payload stands for what is encrypted.
    pub fn esp(self, spi: u32) -> Self {
        Self { segment: Segment::Esp { spi, seq: 1 }, ..self }
    }

    /// Makes the packet a GRE packet without options (RFC 2784).
    pub fn gre(self, ether_type: u16) -> Self {
        Self { segment: Segment::Gre { ether_type }, ..self }
    }

    /// Makes the packet an SCTP packet with its common header; the payload stands for its chunks.
    pub fn sctp(self, src_port: u16, dst_port: u16, tag: u32) -> Self {
        Self { segment: Segment::Sctp { ports: [src_port, dst_port], tag }, ..self }
    }

    /// Makes the packet one of any protocol, which is all payload.
    pub fn protocol(self, protocol: u8) -> Self {
        Self { segment: Segment::Other { protocol }, ..self }
    }

    /// Sets the bytes behind the transport's header.
    pub fn payload(self, payload: &[u8]) -> Self {
        Self { payload: payload.to_vec(), ..self }
    }

    /// Puts `len` bytes behind the transport's header: 0, 1, 2, ...
    pub fn payload_len(self, len: usize) -> Self {
        Self { payload: (0..len).map(|index| index as u8).collect(), ..self }
    }

    /// Adds bytes to the frame behind the IP packet, as a short frame's padding.
    pub fn trailer(self, trailer: &[u8]) -> Self {
        Self { trailer: trailer.to_vec(), ..self }
    }

    /// Overwrites bytes of the frame after all is built: a wrong length, a broken checksum.
    pub fn patch(mut self, offset: usize, bytes: &[u8]) -> Self {
        self.patches.push((offset, bytes.to_vec()));
        self
    }

    /// Builds the frame, from the destination MAC address on, without a frame check sequence.
    ///
    /// # Panics
    ///
    /// If a patch lies outside the frame, or the packet is longer than its length field can say.
    pub fn build(&self) -> Vec<u8> {
        self.frame(&self.ip_packet())
    }

    /// Cuts the packet into fragments, each of up to `part_len` bytes of what the whole carries.
    ///
    /// # Panics
    ///
    /// If `part_len` is no multiple of 8, which all fragments but the last must be.
    pub fn fragments(&self, part_len: usize) -> Vec<Self> {
        let whole = self.segment.bytes(self.src, self.dst, &self.payload);
        let protocol = self.segment.protocol(self.src.is_ipv4());
        let parts = whole.chunks(part_len).enumerate();
        parts
            .map(|(index, part)| {
                let offset = index * part_len;
                let more = offset + part.len() < whole.len();
                self.clone().protocol(protocol).payload(part).fragment(offset, more)
            })
            .collect()
    }

    /// Makes the packet that a router sends on: one hop less to live.
    pub fn forwarded(&self) -> Self {
        Self { ttl: self.ttl - 1, ..self.clone() }
    }

    /// Builds the IP packet within the frame, patches included.
    pub fn ip_bytes(&self) -> Vec<u8> {
        let start = 14 + 4 * self.tags.len();
        let len = self.ip_packet().len();
        self.build()[start..start + len].to_vec()
    }

    fn frame(&self, ip_packet: &[u8]) -> Vec<u8> {
        let mut frame = [self.dst_mac, self.src_mac].concat();
        for (ether_type, tag) in &self.tags {
            frame.extend(ether_type.to_be_bytes());
            frame.extend(tag.to_be_bytes());
        }
        frame.extend(if self.src.is_ipv4() { [0x08, 0x00] } else { [0x86, 0xdd] });
        frame.extend(ip_packet);
        frame.extend(&self.trailer);
        for (offset, bytes) in &self.patches {
            frame[*offset..*offset + bytes.len()].copy_from_slice(bytes);
        }
        frame
    }

    fn ip_packet(&self) -> Vec<u8> {
        let segment = self.segment.bytes(self.src, self.dst, &self.payload);
        match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => self.ipv4(src.octets(), dst.octets(), &segment),
            (IpAddr::V6(src), IpAddr::V6(dst)) => self.ipv6(src.octets(), dst.octets(), &segment),
            _ => unreachable!("Packet::between refuses two families"),
        }
    }

    /// Builds an IPv4 packet (RFC 791, section 3.1).
    fn ipv4(&self, src: [u8; 4], dst: [u8; 4], part: &[u8]) -> Vec<u8> {
        let header_len = 20 + self.options.len();
        let total_len = u16::try_from(header_len + part.len()).expect("an IPv4 packet of up to 65,535 bytes");
        let mut flags_and_offset = if self.dont_fragment { 0x4000 } else { 0 };
        if let Some(Fragment { offset, more }) = self.fragment {
            flags_and_offset |= (offset / 8) as u16 | if more { 0x2000 } else { 0 };
        }
        let mut packet = vec![0x40 | (header_len / 4) as u8, self.tos];
        packet.extend(total_len.to_be_bytes());
        packet.extend((self.identification as u16).to_be_bytes());
        packet.extend(flags_and_offset.to_be_bytes());
        packet.extend([self.ttl, self.segment.protocol(true), 0, 0]);
        packet.extend(src);
        packet.extend(dst);
        packet.extend(&self.options);
        let sum = checksum::internet(&packet);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet.extend(part);
        packet
    }

    /// Builds an IPv6 packet (RFC 8200, sections 3 and 4): the headers before a fragment header are in every
    /// fragment, and here that is all.
    fn ipv6(&self, src: [u8; 16], dst: [u8; 16], part: &[u8]) -> Vec<u8> {
        const FRAGMENT_HEADER: u8 = 44;
        let mut headers = self.extensions.clone();
        if let Some(Fragment { offset, more }) = self.fragment {
            let mut body = (offset as u16 | u16::from(more)).to_be_bytes().to_vec();
            body.extend(self.identification.to_be_bytes());
            headers.push((FRAGMENT_HEADER, body));
        }
        let mut next_headers =
            headers.iter().map(|(header, _)| *header).chain([self.segment.protocol(false)]);
        let first = next_headers.next().expect("the protocol's number at least");

        let mut content = Vec::new();
        for ((header, body), next_header) in headers.iter().zip(next_headers) {
            // In units of 8 bytes beyond the first; a fragment header has zeros in its place.
            let len = if *header == FRAGMENT_HEADER { 0 } else { (body.len() + 2) / 8 - 1 };
            content.extend([next_header, len as u8]);
            content.extend(body);
        }
        content.extend(part);

        let payload_len = u16::try_from(content.len()).expect("an IPv6 payload of up to 65,535 bytes");
        let mut packet =
            (6 << 28 | u32::from(self.tos) << 20 | self.flow_label & 0xf_ffff).to_be_bytes().to_vec();
        packet.extend(payload_len.to_be_bytes());
        packet.extend([first, self.ttl]);
        packet.extend(src);
        packet.extend(dst);
        packet.extend(content);
        packet
    }
}
