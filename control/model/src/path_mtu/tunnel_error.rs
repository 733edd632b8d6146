//! ICMP error about a tunnel packet: what it tells, and whether the appliance can have sent the packet that it quotes.

use std::net::IpAddr;

use guideway_dataplane::address::Address;
use guideway_dataplane::delivery::DeliveryMode;
use guideway_dataplane::flow::Fragment;
use guideway_dataplane::packet::Packet;
use guideway_dataplane::wire::ipv4::{self, Ipv4Header};
use guideway_dataplane::wire::ipv6::{self, Ipv6Header};
use guideway_dataplane::wire::{checksum, icmp, protocol};
use ipnet::IpNet;

use crate::service::BackendState;

#[derive(Clone, Copy, Debug)]
pub(super) enum Cause {
    /// The packet was too big for a link of this MTU.
    TooBig(u32),
    /// The packet was not delivered, for this reason in words.
    Unreachable(&'static str),
}

/// ICMP error and the packet that it quotes, from an address that the error is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct TunnelError<'a> {
    pub(super) cause: Cause,
    pub(super) told_by: Address,
    /// Source of the quoted packet.
    source: Address,
    /// Destination of the quoted packet.
    pub(super) endpoint: Address,
    /// Protocol of the quoted packet.
    protocol: u8,
    /// Length of the quoted packet.
    pub(super) quoted_len: u16,
    /// Length of the quoted packet's headers up to `behind`.
    headers_len: usize,
    /// True if the quoted packet is a fragment: its length says nothing about the packet inside.
    is_fragment: bool,
    /// Bytes of the quote behind its IP headers, at least 8.
    behind: &'a [u8],
}

impl<'a> TunnelError<'a> {
    /// Reads an error; `None` where `frame` holds something else, or the quote is none of a tunnel packet.
    pub(super) fn read(frame: &'a [u8]) -> Option<Self> {
        let packet = Packet::parse(frame).ok()?;
        if !packet.icmp_error || packet.flow.fragment != Fragment::No {
            return None;
        }
        let end = usize::from(packet.l3_offset) + packet.l3_len as usize;
        let message = frame.get(usize::from(packet.l4_offset)..end)?;
        let pseudo = if packet.is_ipv4 {
            0
        } else {
            let addresses =
                [packet.flow.src, packet.flow.dst].map(|address| checksum::sum(&address.v6_bytes()));
            addresses[0] + addresses[1] + message.len() as u32 + u32::from(protocol::ICMPV6)
        };
        if checksum::finish(pseudo + checksum::sum(message)) != 0 {
            return None;
        }
        let cause = cause(message, packet.is_ipv4)?;
        let quote = &message[icmp::HEADER_LEN..];
        let is_too_big = matches!(cause, Cause::TooBig(_));
        let mut error = if packet.is_ipv4 {
            let header = Ipv4Header::parse(quote)?;
            // Tunnels have no options, and only what has DF is too big (RFC 1191, section 3).
            if header.header_len() != ipv4::HEADER_LEN
                || header.fragment_offset() != 0
                || (is_too_big && !header.dont_fragment())
            {
                return None;
            }
            Self {
                cause,
                told_by: packet.flow.src,
                source: Address::v4(header.src),
                endpoint: Address::v4(header.dst),
                protocol: header.protocol,
                quoted_len: header.total_len.get(),
                headers_len: ipv4::HEADER_LEN,
                is_fragment: header.more_fragments(),
                behind: &quote[ipv4::HEADER_LEN..],
            }
        } else {
            let header = Ipv6Header::parse(quote)?;
            Self {
                cause,
                told_by: packet.flow.src,
                source: Address::v6(header.src),
                endpoint: Address::v6(header.dst),
                protocol: header.next_header,
                quoted_len: header.payload_len.get().checked_add(ipv6::HEADER_LEN as u16)?,
                headers_len: ipv6::HEADER_LEN,
                is_fragment: false,
                behind: &quote[ipv6::HEADER_LEN..],
            }
        };
        if !packet.is_ipv4 && error.protocol == ipv6::FRAGMENT {
            let (fragment_header, behind) = error.behind.split_first_chunk::<8>()?;
            // Behind the first fragment's header is the tunnel's; behind those of later ones, the middle of something.
            if u16::from_be_bytes([fragment_header[2], fragment_header[3]]) & 0xfff8 != 0 {
                return None;
            }
            (error.protocol, error.is_fragment, error.behind) = (fragment_header[0], true, behind);
            error.headers_len += fragment_header.len();
        }
        let is_tunnel =
            matches!(error.protocol, protocol::IPV4 | protocol::IPV6 | protocol::GRE | protocol::UDP);
        (is_tunnel && error.source == packet.flow.dst && error.behind.len() >= 8).then_some(error)
    }

    /// True if the quoted packet can be one that the appliance has sent to `backend`.
    pub(super) fn is_about(&self, backend: &BackendState) -> bool {
        if Address::from(backend.endpoint.address) != self.endpoint {
            return false;
        }
        let network = &backend.network;
        let (own, range) = if self.endpoint.is_ipv4() {
            (network.ipv4_address.map(IpAddr::V4), network.tunnel_source_ipv4.map(IpNet::V4))
        } else {
            (network.ipv6_address.map(IpAddr::V6), network.tunnel_source_ipv6.map(IpNet::V6))
        };
        let source = IpAddr::from(self.source);
        let is_own = match range {
            Some(range) => range.contains(&source),
            None => own == Some(source),
        };
        is_own && self.has_headers_of(backend.delivery)
    }

    /// True if the quoted packet begins with the headers of a tunnel, and is as long as the packet in it says.
    fn has_headers_of(&self, mode: DeliveryMode) -> bool {
        let word = |offset: usize| u16::from_be_bytes([self.behind[offset], self.behind[offset + 1]]);
        let shim_len = match mode {
            DeliveryMode::L2 => return false,
            DeliveryMode::Ipip if matches!(self.protocol, protocol::IPV4 | protocol::IPV6) => 0,
            DeliveryMode::Gre if self.protocol == protocol::GRE => {
                if word(0) != 0 || !matches!(word(2), 0x0800 | 0x86dd) {
                    return false;
                }
                4
            }
            DeliveryMode::Gue { dst_port } if self.protocol == protocol::UDP => {
                // Tunnels leave from the dynamic ports.
                let udp_len = usize::from(self.quoted_len).checked_sub(self.headers_len);
                if word(0) < 0xc000
                    || word(2) != dst_port
                    || (!self.is_fragment && udp_len != Some(usize::from(word(4))))
                {
                    return false;
                }
                12
            }
            DeliveryMode::Ipip | DeliveryMode::Gre | DeliveryMode::Gue { .. } => return false,
        };
        // A quote may end before the packet inside.
        let Some(inner) = self.behind.get(shim_len..).filter(|inner| inner.len() >= 6) else { return true };
        let inner_word = |offset: usize| usize::from(u16::from_be_bytes([inner[offset], inner[offset + 1]]));
        let inner_len = match inner[0] >> 4 {
            4 => inner_word(2),
            6 => ipv6::HEADER_LEN + inner_word(4),
            _ => return false,
        };
        self.is_fragment || self.headers_len + shim_len + inner_len == usize::from(self.quoted_len)
    }
}

/// Cause that an ICMP or ICMPv6 error gives; `None` for others than these.
fn cause(message: &[u8], is_ipv4: bool) -> Option<Cause> {
    let rest = u32::from_be_bytes(*message[4..].first_chunk()?);
    Some(match (is_ipv4, message[0], message[1]) {
        // RFC 792, RFC 1191, RFC 1812.
        (true, icmp::UNREACHABLE, icmp::FRAGMENTATION_NEEDED) => Cause::TooBig(rest & 0xffff),
        (true, icmp::UNREACHABLE, 0) => Cause::Unreachable("ICMP network unreachable"),
        (true, icmp::UNREACHABLE, 1) => Cause::Unreachable("ICMP host unreachable"),
        (true, icmp::UNREACHABLE, 2) => Cause::Unreachable("ICMP protocol unreachable: no tunnel device?"),
        (true, icmp::UNREACHABLE, 3) => {
            Cause::Unreachable("ICMP port unreachable: nobody decapsulates there?")
        }
        (true, icmp::UNREACHABLE, 9 | 10 | 13) => Cause::Unreachable("ICMP administratively prohibited"),
        // RFC 4443.
        (false, icmp::V6_PACKET_TOO_BIG, _) => Cause::TooBig(rest),
        (false, 1, 0) => Cause::Unreachable("ICMPv6 no route"),
        (false, 1, 1) => Cause::Unreachable("ICMPv6 administratively prohibited"),
        (false, 1, 3) => Cause::Unreachable("ICMPv6 address unreachable"),
        (false, 1, 4) => Cause::Unreachable("ICMPv6 port unreachable: nobody decapsulates there?"),
        (false, 4, 1) => Cause::Unreachable("ICMPv6 unrecognized next header: no tunnel device?"),
        _ => return None,
    })
}
