//! The outer header of a tunnelled packet: a template made with the snapshot, and the few fields that follow the
//! packet.
//!
//! ```text
//! ipip  IP                         │ packet
//! gre   IP │ GRE 4                 │ packet
//! gue   IP │ UDP 8 │ GUE 4         │ packet
//! ```

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use crate::address::{Address, Prefix};
use crate::flow::Flow;
use crate::packet::Packet;
use crate::wire::checksum;
use crate::wire::ipv4::{self, Ipv4Header};
use crate::wire::ipv6::{self, Ipv6Header};
use crate::wire::protocol;

use super::{DeliveryMode, Tunnel};

/// Length of a GRE header without options (RFC 2784, section 2).
pub(super) const GRE_LEN: usize = 4;
/// Length of a UDP header.
pub(super) const UDP_LEN: usize = 8;
/// Length of a GUE header, variant 0, without options (draft-ietf-intarea-gue-09, section 3.1).
pub(super) const GUE_LEN: usize = 4;

/// Length of the longest outer header: IPv6, UDP and GUE.
const LONGEST: usize = ipv6::HEADER_LEN + UDP_LEN + GUE_LEN;

const TTL: u8 = 64;

/// Outer header of a tunnel, but for the fields that follow the packet.
#[derive(Clone, Debug)]
pub struct OuterHeader {
    /// Template for IPv4 packets, and the one for IPv6 packets.
    templates: [Template; 2],
    len: usize,
    is_ipv4: bool,
    encapsulation: Encapsulation,
    /// Prefix that the source address is taken from; the templates' is zero then.
    source_range: Option<Box<Prefix>>,
}

/// Headers that a tunnel has between its IP header and the packet. Every match over them names each of them, so that a
/// new one says for itself which of its fields follow the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encapsulation {
    /// None.
    Ipip,
    /// GRE.
    Gre,
    /// UDP and GUE.
    Gue { dst_port: u16 },
}

impl Encapsulation {
    /// The encapsulation of a mode; none for `l2`.
    pub(super) fn of(mode: DeliveryMode) -> Option<Self> {
        match mode {
            DeliveryMode::L2 => None,
            DeliveryMode::Ipip => Some(Self::Ipip),
            DeliveryMode::Gre => Some(Self::Gre),
            DeliveryMode::Gue { dst_port } => Some(Self::Gue { dst_port }),
        }
    }

    /// True if a UDP header follows the IP header: its source port, length and checksum follow the packet.
    #[inline]
    const fn has_udp_header(self) -> bool {
        match self {
            Self::Ipip | Self::Gre => false,
            Self::Gue { .. } => true,
        }
    }
}

/// Bytes of a header that are the same for every packet of one family; those that are not are zero.
#[derive(Clone, Copy, Debug)]
struct Template {
    bytes: [u8; LONGEST],
    /// One's complement sum of an IPv4 header's bytes, to which the changing words are added.
    sum: u32,
}

impl OuterHeader {
    /// The outer header of a tunnel; none for `l2`.
    pub(super) fn new(mode: DeliveryMode, tunnel: &Tunnel) -> Option<Self> {
        let encapsulation = Encapsulation::of(mode)?;
        let is_ipv4 = tunnel.endpoint.is_ipv4();
        Some(Self {
            templates: [true, false].map(|inner_is_ipv4| Template::new(encapsulation, tunnel, inner_is_ipv4)),
            len: mode.overhead(is_ipv4),
            is_ipv4,
            encapsulation,
            source_range: tunnel.source_range.map(Box::new),
        })
    }

    /// True if the outer header is IPv4.
    pub fn is_ipv4(&self) -> bool {
        self.is_ipv4
    }

    /// Encapsulation, if nothing but the length and the entropy of the packet's flow changes in its headers.
    pub(super) fn plain_encapsulation(&self) -> Option<Encapsulation> {
        self.source_range.is_none().then_some(self.encapsulation)
    }

    /// Bytes before every packet of one family, zero where they follow the packet.
    pub(super) fn template(&self, inner_is_ipv4: bool) -> &[u8] {
        &self.templates[usize::from(!inner_is_ipv4)].bytes[..self.len]
    }

    /// True if there is a UDP header whose checksum covers the packet: all else costs a few additions.
    pub(super) fn has_udp_checksum(&self) -> bool {
        !self.is_ipv4 && self.encapsulation.has_udp_header()
    }

    /// Fills `headers`, as long as the mode's overhead, for `inner`, the bytes of `packet` from its IP header on.
    ///
    /// `flow` is told apart from others by what receivers spread load by. Where the UDP checksum is `offloaded`, the
    /// sum of the pseudo header stands there instead.
    #[inline(always)]
    pub(super) fn write(
        &self,
        headers: &mut [u8],
        inner: &[u8],
        packet: &Packet,
        flow: &Flow,
        offloaded: bool,
    ) {
        let template = &self.templates[usize::from(!packet.is_ipv4)];
        let inner_len = packet.l3_len as usize;
        if self.is_ipv4 {
            // What may not be fragmented carries nothing that tells its flow apart, but for a source or a port.
            let needs_entropy =
                self.encapsulation.has_udp_header() | self.source_range.is_some() | !packet.dont_fragment;
            let entropy = if needs_entropy { flow.entropy() } else { 0 };
            let total_len = (self.len + inner_len) as u16;
            let (ip, shim) = template.copy_to::<{ ipv4::HEADER_LEN }>(headers);
            self.complete_ipv4(ip, template.sum, total_len, inner, packet, entropy);
            match self.encapsulation {
                Encapsulation::Ipip | Encapsulation::Gre => {}
                Encapsulation::Gue { .. } => complete_udp(shim, total_len - ipv4::HEADER_LEN as u16, entropy),
            }
        } else {
            let entropy = flow.entropy();
            let payload_len = (self.len - ipv6::HEADER_LEN + inner_len) as u16;
            let (ip, shim) = template.copy_to::<{ ipv6::HEADER_LEN }>(headers);
            self.complete_ipv6(ip, payload_len, packet, entropy);
            match self.encapsulation {
                Encapsulation::Ipip | Encapsulation::Gre => {}
                Encapsulation::Gue { .. } => {
                    complete_udp(shim, payload_len, entropy);
                    let pseudo = pseudo_header_sum(&ip[8..], payload_len);
                    // A checksum of zero means none (RFC 768), but in IPv6 one is required (RFC 8200, section 8.1).
                    let checksum =
                        if offloaded { !checksum::finish(pseudo) } else { udp_checksum(pseudo, shim, inner) };
                    shim[6..8].copy_from_slice(&checksum.to_be_bytes());
                }
            }
        }
    }

    #[inline]
    fn complete_ipv4(
        &self,
        ip: &mut [u8; ipv4::HEADER_LEN],
        sum: u32,
        total_len: u16,
        inner: &[u8],
        packet: &Packet,
        entropy: u32,
    ) {
        let header = Ipv4Header::mut_from_bytes(ip).expect("it is as long as the header");
        // RFC 6040, section 4.1, normal mode: the outer ECN field is a copy, CE too; DSCP likewise.
        header.traffic_class = packet.traffic_class;
        header.total_len.set(total_len);
        let mut sum = sum + u32::from(packet.traffic_class) + u32::from(total_len);
        if packet.dont_fragment {
            // RFC 2003, section 3.1: DF goes outward. RFC 6864, section 4.1: such a packet needs no identification.
            header.flags_offset.set(ipv4::DONT_FRAGMENT);
            sum += u32::from(ipv4::DONT_FRAGMENT);
        } else if let Some(original) = Ipv4Header::parse(inner) {
            // May be fragmented: the sender's own identification, kept apart from that of the tunnel's other flows, and
            // from that of the other fragments of its datagram, which are packets of their own here.
            let id = identification(original.id.get(), original.fragment_offset(), entropy);
            header.id.set(id);
            sum += u32::from(id);
        }
        if let Some(range) = &self.source_range {
            header.src = range.with_host(u128::from(entropy)).v4_bytes();
            sum += checksum::sum(&header.src);
        }
        header.checksum.set(checksum::finish(sum));
    }

    #[inline]
    fn complete_ipv6(
        &self,
        ip: &mut [u8; ipv6::HEADER_LEN],
        payload_len: u16,
        packet: &Packet,
        entropy: u32,
    ) {
        let header = Ipv6Header::mut_from_bytes(ip).expect("it is as long as the header");
        // RFC 6438: the flow label tells the flows of one tunnel apart.
        let label = entropy & ipv6::FLOW_LABEL;
        header.version_class_label.set(6 << 28 | u32::from(packet.traffic_class) << 20 | label);
        header.payload_len.set(payload_len);
        if let Some(range) = &self.source_range {
            header.src = range.with_host(u128::from(entropy)).v6_bytes();
        }
    }
}

impl Template {
    fn new(encapsulation: Encapsulation, tunnel: &Tunnel, inner_is_ipv4: bool) -> Self {
        let inner_protocol = if inner_is_ipv4 { protocol::IPV4 } else { protocol::IPV6 };
        let (next, shim) = match encapsulation {
            Encapsulation::Ipip => (inner_protocol, Vec::new()),
            // RFC 2784, section 2: no checksum, version 0, then the EtherType of what follows.
            Encapsulation::Gre if inner_is_ipv4 => (protocol::GRE, vec![0, 0, 0x08, 0x00]),
            Encapsulation::Gre => (protocol::GRE, vec![0, 0, 0x86, 0xdd]),
            Encapsulation::Gue { dst_port } => {
                let [high, low] = dst_port.to_be_bytes();
                // Behind the UDP header: variant 0, a data message without options, what follows, no flags.
                (protocol::UDP, vec![0, 0, high, low, 0, 0, 0, 0, 0, inner_protocol, 0, 0])
            }
        };
        let source = if tunnel.source_range.is_some() { Address(0) } else { tunnel.source };
        let (ip, sum) = if tunnel.endpoint.is_ipv4() {
            let header = Ipv4Header {
                version_ihl: 0x45,
                ttl: TTL,
                protocol: next,
                src: source.v4_bytes(),
                dst: tunnel.endpoint.v4_bytes(),
                ..FromZeros::new_zeroed()
            };
            (header.as_bytes().to_vec(), checksum::sum(header.as_bytes()))
        } else {
            let header = Ipv6Header {
                next_header: next,
                hop_limit: TTL,
                src: source.v6_bytes(),
                dst: tunnel.endpoint.v6_bytes(),
                ..FromZeros::new_zeroed()
            };
            (header.as_bytes().to_vec(), 0)
        };
        let mut bytes = [0; LONGEST];
        bytes[..ip.len()].copy_from_slice(&ip);
        bytes[ip.len()..ip.len() + shim.len()].copy_from_slice(&shim);
        Self { bytes, sum }
    }

    /// Copies as much of the template as `headers` has room for, and parts the IP header from what is behind it.
    #[inline(always)]
    fn copy_to<'h, const IP: usize>(&self, headers: &'h mut [u8]) -> (&'h mut [u8; IP], &'h mut [u8]) {
        let (ip, shim) = headers.split_first_chunk_mut::<IP>().expect("a template has an IP header");
        // Of a known length, a copy is a few moves; of any other, a call.
        *ip = *self.bytes.first_chunk().expect("a template has room for either IP header");
        if !shim.is_empty() {
            shim.copy_from_slice(&self.bytes[IP..IP + shim.len()]);
        }
        (ip, shim)
    }
}

/// Identification of an outer packet that may be fragmented, from the packet's own, the offset of the fragment that the
/// packet may be, and its flow's entropy.
#[inline(always)]
pub(super) fn identification(original: u16, fragment_offset: usize, entropy: u32) -> u16 {
    original ^ entropy as u16 ^ spread(fragment_offset)
}

/// Spreads a fragment's offset over the identifications, so that neighbouring datagrams' fragments do not meet; zero
/// stays zero.
#[inline]
fn spread(fragment_offset: usize) -> u16 {
    ((fragment_offset / 8) as u16).wrapping_mul(0x9e37)
}

/// Sets the source port and the length in the UDP header that `shim` begins with.
#[inline]
pub(super) fn complete_udp(shim: &mut [u8], len: u16, entropy: u32) {
    // RFC 6335, section 6: the dynamic ports, 49152 to 65535.
    let src_port = U16::new(0xc000 | (entropy as u16));
    shim[..2].copy_from_slice(src_port.as_bytes());
    shim[4..6].copy_from_slice(&len.to_be_bytes());
}

/// The sum of UDP's pseudo header over IPv6 (RFC 8200, section 8.1); `addresses` is the outer header's 32 bytes.
fn pseudo_header_sum(addresses: &[u8], udp_len: u16) -> u32 {
    checksum::sum(addresses) + u32::from(udp_len) + u32::from(protocol::UDP)
}

/// The UDP checksum; `shim` is the UDP and GUE headers.
fn udp_checksum(pseudo: u32, shim: &[u8], inner: &[u8]) -> u16 {
    match checksum::finish(pseudo + checksum::sum(shim) + checksum::sum(inner)) {
        0 => 0xffff,
        checksum => checksum,
    }
}
