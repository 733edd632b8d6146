//! The outer header of a tunnelled packet: a template made with the snapshot, and the few fields that follow the
//! packet.
//!
//! ```text
//! ipip  IP                         │ packet
//! gre   IP │ GRE 4                 │ packet
//! gue   IP │ UDP 8 │ GUE 4         │ packet
//! ```

use zerocopy::{FromZeros, IntoBytes};

use crate::address::{Address, Prefix};
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

const TTL: u8 = 64;

/// An outer header but for the fields that follow the packet.
#[derive(Clone, Copy, Debug)]
pub struct OuterHeader {
    template: Template,
    shim: Shim,
    /// Where the source address is taken from; the template's is zero then.
    source_range: Option<Prefix>,
}

#[derive(Clone, Copy, Debug)]
enum Template {
    V4 {
        header: Ipv4Header,
        /// The one's complement sum of the template, to which the changing words are added.
        sum: u32,
    },
    V6 {
        header: Ipv6Header,
    },
}

/// What stands between the outer IP header and the packet.
#[derive(Clone, Copy, Debug)]
enum Shim {
    None,
    Gre,
    Gue { dst_port: u16 },
}

impl OuterHeader {
    /// The outer header of a tunnel; none for `l2`.
    pub(super) fn new(mode: DeliveryMode, tunnel: &Tunnel) -> Option<Self> {
        let shim = match mode {
            DeliveryMode::L2 => return None,
            DeliveryMode::Ipip => Shim::None,
            DeliveryMode::Gre => Shim::Gre,
            DeliveryMode::Gue { dst_port } => Shim::Gue { dst_port },
        };
        let source = if tunnel.source_range.is_some() { Address(0) } else { tunnel.source };
        let template = if tunnel.endpoint.is_ipv4() {
            let header = Ipv4Header {
                version_ihl: 0x45,
                ttl: TTL,
                src: source.v4_bytes(),
                dst: tunnel.endpoint.v4_bytes(),
                ..FromZeros::new_zeroed()
            };
            Template::V4 { header, sum: checksum::sum(header.as_bytes()) }
        } else {
            let header = Ipv6Header {
                hop_limit: TTL,
                src: source.v6_bytes(),
                dst: tunnel.endpoint.v6_bytes(),
                ..FromZeros::new_zeroed()
            };
            Template::V6 { header }
        };
        Some(Self { template, shim, source_range: tunnel.source_range })
    }

    /// Whether the outer header is IPv4.
    pub fn is_ipv4(&self) -> bool {
        matches!(self.template, Template::V4 { .. })
    }

    /// Whether it has a UDP header whose checksum covers the packet: all else costs a few additions.
    pub(super) fn has_udp_checksum(&self) -> bool {
        matches!((self.template, self.shim), (Template::V6 { .. }, Shim::Gue { .. }))
    }

    /// Fills `headers`, as long as the mode's overhead, for `inner`, the bytes of `packet` from its IP header on.
    ///
    /// Where the UDP checksum is `offloaded`, the sum of the pseudo header stands in its place.
    pub(super) fn write(
        &self,
        headers: &mut [u8],
        inner: &[u8],
        packet: &Packet,
        entropy: u32,
        offloaded: bool,
    ) {
        let inner_protocol = if packet.is_ipv4() { protocol::IPV4 } else { protocol::IPV6 };
        let ip_len = if self.is_ipv4() { ipv4::HEADER_LEN } else { ipv6::HEADER_LEN };
        let payload_len = (headers.len() - ip_len + inner.len()) as u16;
        let (ip, shim) = headers.split_at_mut(ip_len);
        let varying = Varying {
            payload_len,
            protocol: match self.shim {
                Shim::None => inner_protocol,
                Shim::Gre => protocol::GRE,
                Shim::Gue { .. } => protocol::UDP,
            },
            source: self.source_range.map(|range| range.with_host(u128::from(entropy))),
            entropy,
        };
        match self.template {
            Template::V4 { header, sum } => {
                ip.copy_from_slice(ipv4_header(header, sum, &varying, inner, packet).as_bytes());
            }
            Template::V6 { header } => ip.copy_from_slice(ipv6_header(header, &varying, packet).as_bytes()),
        }
        match self.shim {
            Shim::None => {}
            Shim::Gre => {
                // RFC 2784, section 2: no checksum, version 0, then the EtherType of what follows.
                let ethertype: u16 = if packet.is_ipv4() { 0x0800 } else { 0x86dd };
                shim[..2].fill(0);
                shim[2..].copy_from_slice(&ethertype.to_be_bytes());
            }
            Shim::Gue { dst_port } => {
                // RFC 6335, section 6: the dynamic ports, 49152 to 65535.
                let src_port = 0xc000 | (entropy as u16);
                shim[..2].copy_from_slice(&src_port.to_be_bytes());
                shim[2..4].copy_from_slice(&dst_port.to_be_bytes());
                shim[4..6].copy_from_slice(&payload_len.to_be_bytes());
                // A checksum of zero means none (RFC 768); in IPv6 one is required (RFC 8200, section 8.1).
                shim[6..8].fill(0);
                // Variant 0, a data message without options, the protocol of what follows, no flags.
                shim[8..].copy_from_slice(&[0, inner_protocol, 0, 0]);
                if self.has_udp_checksum() {
                    let pseudo = pseudo_header_sum(&ip[8..], payload_len);
                    let checksum =
                        if offloaded { !checksum::finish(pseudo) } else { udp_checksum(pseudo, shim, inner) };
                    shim[6..8].copy_from_slice(&checksum.to_be_bytes());
                }
            }
        }
    }
}

/// The fields that differ between the packets of one tunnel.
struct Varying {
    payload_len: u16,
    protocol: u8,
    source: Option<Address>,
    entropy: u32,
}

fn ipv4_header(
    mut header: Ipv4Header,
    sum: u32,
    varying: &Varying,
    inner: &[u8],
    packet: &Packet,
) -> Ipv4Header {
    // RFC 6040, section 4.1, normal mode: the outer ECN field is a copy, CE too; DSCP likewise.
    header.traffic_class = packet.traffic_class;
    header.total_len.set(ipv4::HEADER_LEN as u16 + varying.payload_len);
    header.protocol = varying.protocol;
    if packet.dont_fragment {
        // RFC 2003, section 3.1: DF goes outward. RFC 6864, section 4.1: such a packet needs no identification.
        header.flags_offset.set(ipv4::DONT_FRAGMENT);
    } else if let Some(original) = Ipv4Header::parse(inner) {
        // May be fragmented: the sender's own identification, kept apart from that of the tunnel's other flows.
        header.id.set(original.id.get() ^ varying.entropy as u16);
    }
    let mut sum = sum
        + u32::from(header.traffic_class)
        + u32::from(header.total_len.get())
        + u32::from(header.protocol)
        + u32::from(header.id.get())
        + u32::from(header.flags_offset.get());
    if let Some(source) = varying.source {
        header.src = source.v4_bytes();
        sum += checksum::sum(&header.src);
    }
    header.checksum.set(checksum::finish(sum));
    header
}

fn ipv6_header(mut header: Ipv6Header, varying: &Varying, packet: &Packet) -> Ipv6Header {
    // RFC 6438: the flow label tells the flows of one tunnel apart.
    let label = varying.entropy & 0x000f_ffff;
    header.version_class_label.set(6 << 28 | u32::from(packet.traffic_class) << 20 | label);
    header.payload_len.set(varying.payload_len);
    header.next_header = varying.protocol;
    if let Some(source) = varying.source {
        header.src = source.v6_bytes();
    }
    header
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
