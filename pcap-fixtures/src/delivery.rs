//! Frames that a backend must get for a packet, written from the RFCs and not by the data plane.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::configuration::{Configuration, Endpoint, GATEWAY_MAC, OWN_V4, OWN_V6};
use crate::delivery_mode::Mode;
use crate::packet::{Packet, Segment};

/// Makes the frame that `endpoint` gets for `packet`.
pub(crate) fn delivered(config: &Configuration, endpoint: &Endpoint, packet: &Packet) -> Vec<u8> {
    encapsulated(config, endpoint, packet, &packet.forwarded())
}

/// Makes the frame that `endpoint` gets for `packet`, which is `inner` once its time to live has been decremented.
pub(crate) fn encapsulated(
    config: &Configuration,
    endpoint: &Endpoint,
    packet: &Packet,
    inner: &Packet,
) -> Vec<u8> {
    let own_mac = config.own_mac.unwrap_or(packet.dst_mac);
    if endpoint.mode == Mode::L2 {
        return inner.clone().macs(own_mac, endpoint.mac()).build();
    }
    outer(config, endpoint, packet, inner).build()
}

/// Makes the frames that `endpoint` gets for `packet` by a tunnel whose path takes packets of `mtu` bytes.
pub(crate) fn fragmented(
    config: &Configuration,
    endpoint: &Endpoint,
    packet: &Packet,
    mtu: usize,
) -> Vec<Vec<u8>> {
    let mut whole = outer(config, endpoint, packet, &packet.forwarded());
    let mut headers_len = 20;
    if endpoint.address.is_ipv6() {
        // The fragment header is one too. Fragments of the packet inside are packets of their own.
        headers_len = 40 + 8;
        let flags_offset = u16::from_be_bytes([packet.ip_bytes()[6], packet.ip_bytes()[7]]);
        let own = packet.identification << 16 | u32::from(flags_offset);
        whole = whole.identification(own ^ entropy(packet));
    }
    whole.fragments((mtu - headers_len) / 8 * 8).iter().map(Packet::build).collect()
}

/// Makes the packet in which `inner` travels to `endpoint`.
fn outer(config: &Configuration, endpoint: &Endpoint, packet: &Packet, inner: &Packet) -> Packet {
    let own_mac = config.own_mac.unwrap_or(packet.dst_mac);
    let entropy = entropy(packet);
    let mut outer = Packet::between(&source(config, endpoint, entropy), &endpoint.address.to_string())
        .macs(own_mac, GATEWAY_MAC)
        // DSCP is copied and ECN too (RFC 6040, section 4.1, normal mode).
        .tos(packet.tos);
    outer.tags.clone_from(&packet.tags);
    if endpoint.address.is_ipv6() {
        outer = outer.flow_label(entropy & 0xf_ffff);
    } else if packet.src.is_ipv6() || packet.dont_fragment {
        // RFC 2003, section 3.1: what must not be fragmented inside must not be outside.
        outer = outer.dont_fragment();
    } else {
        // Fragments of one datagram have one identification, and are packets of their own here.
        let offset = packet.fragment.map_or(0, |fragment| fragment.offset as u32 / 8);
        outer = outer.identification((packet.identification ^ entropy ^ (offset * 0x9e37)) & 0xffff);
    }
    let inner_bytes = inner.ip_bytes();
    let (protocol, ether_type) = if packet.src.is_ipv4() { (4, 0x0800) } else { (41, 0x86dd) };
    match endpoint.mode {
        Mode::Gre => outer.gre(ether_type).payload(&inner_bytes),
        Mode::Gue { dst_port } => {
            let port = 0xc000 | entropy as u16;
            let shim = [0, protocol, 0, 0];
            let payload = [&shim[..], &inner_bytes].concat();
            // RFC 8200, section 8.1: over IPv6 a UDP checksum is required.
            let outer = match endpoint.address {
                IpAddr::V4(_) => outer.udp_without_checksum(port, dst_port),
                IpAddr::V6(_) => outer.udp(port, dst_port),
            };
            outer.payload(&payload)
        }
        Mode::Ipip | Mode::L2 => outer.protocol(protocol).payload(&inner_bytes),
    }
}

/// Makes the frame that tells the sender of `packet` that it is too big for `mtu`.
pub(crate) fn too_big(packet: &Packet, mtu: u16) -> Vec<u8> {
    // RFC 1812, section 4.3.2.3: a datagram of up to 576 bytes; RFC 4443, section 2.4(c): of up to 1,280.
    let (own, quote_len) = if packet.src.is_ipv4() { (OWN_V4, 576 - 28) } else { (OWN_V6, 1280 - 48) };
    let mut answer = Packet::between(own, &packet.src.to_string())
        .macs(packet.dst_mac, packet.src_mac)
        // RFC 1812, section 4.3.2.5: precedence 6.
        .tos(0xc0)
        .dont_fragment()
        .packet_too_big(mtu, packet, quote_len);
    answer.tags.clone_from(&packet.tags);
    answer.build()
}

fn source(config: &Configuration, endpoint: &Endpoint, entropy: u32) -> String {
    let prefix =
        config.tunnel_sources.iter().find(|(network, _)| network.is_ipv4() == endpoint.address.is_ipv4());
    match prefix {
        None if endpoint.address.is_ipv4() => OWN_V4.to_owned(),
        None => OWN_V6.to_owned(),
        Some((IpAddr::V4(network), length)) => {
            let host = u32::MAX.checked_shr(u32::from(*length)).unwrap_or(0);
            Ipv4Addr::from_bits(network.to_bits() | entropy & host).to_string()
        }
        Some((IpAddr::V6(network), length)) => {
            let host = u128::MAX.checked_shr(u32::from(*length)).unwrap_or(0);
            Ipv6Addr::from_bits(network.to_bits() | u128::from(entropy) & host).to_string()
        }
    }
}

/// Hashes a packet's flow to the 32 bits that an outer header carries for it: the upper half of MurmurHash3's 64-bit
/// finalizer over addresses, protocol and, of an unfragmented TCP or UDP packet, ports, folded to one word.
fn entropy(packet: &Packet) -> u32 {
    let [src, dst] = [packet.src, packet.dst].map(|address| match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    });
    let whole = packet.fragment.is_none_or(|fragment| fragment.offset == 0 && !fragment.more);
    let ports = match &packet.segment {
        Segment::Tcp { ports: [src, dst], .. } | Segment::Udp { ports: [src, dst], .. } if whole => {
            u128::from(*src) << 48 | u128::from(*dst) << 32
        }
        _ => 0,
    };
    let protocol = u128::from(packet.segment.protocol(packet.src.is_ipv4()));
    let word = src ^ dst.rotate_left(64) ^ ports ^ protocol;
    let mut hash = word as u64 ^ ((word >> 64) as u64).rotate_left(32);
    hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (hash >> 32) as u32
}
