//! The addresses and ports of a TCP segment, which tell the connection that it belongs to.

use std::net::IpAddr;

use smoltcp::wire::{IpProtocol, IpVersion, Ipv4Packet, Ipv6Packet, TcpPacket};

/// The addresses and ports of a TCP segment. Checksums and flags are left to smoltcp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) from: IpAddr,
    pub(super) from_port: u16,
    pub(super) to: IpAddr,
    pub(super) to_port: u16,
}

impl Segment {
    /// Reads a packet; `None` where it holds no whole TCP segment.
    pub(super) fn parse(packet: &[u8]) -> Option<Self> {
        // smoltcp looks for the version before it looks whether there is anything.
        packet.first()?;
        match IpVersion::of_packet(packet).ok()? {
            IpVersion::Ipv4 => {
                let packet = Ipv4Packet::new_checked(packet).ok()?;
                if packet.more_frags() || packet.frag_offset() != 0 || packet.next_header() != IpProtocol::Tcp
                {
                    return None;
                }
                Self::of(packet.src_addr().into(), packet.dst_addr().into(), packet.payload())
            }
            IpVersion::Ipv6 => {
                let packet = Ipv6Packet::new_checked(packet).ok()?;
                if packet.next_header() != IpProtocol::Tcp {
                    return None;
                }
                Self::of(packet.src_addr().into(), packet.dst_addr().into(), packet.payload())
            }
        }
    }

    fn of(from: IpAddr, to: IpAddr, payload: &[u8]) -> Option<Self> {
        let tcp = TcpPacket::new_checked(payload).ok()?;
        Some(Self { from, from_port: tcp.src_port(), to, to_port: tcp.dst_port() })
    }
}
