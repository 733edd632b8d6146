//! Segments that an IP packet carries: a transport's header and the payload behind it.

use std::net::IpAddr;

use super::checksum;

/// Protocol numbers of the segments (IANA, Assigned Internet Protocol Numbers).
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const GRE: u8 = 47;
const ESP: u8 = 50;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;

/// Header that an IP packet carries before its payload.
#[derive(Clone, Debug)]
pub(crate) enum Segment {
    Tcp {
        ports: [u16; 2],
        flags: u8,
        seq: u32,
        ack: u32,
    },
    Udp {
        ports: [u16; 2],
        checksum: bool,
    },
    /// Header of ICMP or ICMPv6, by the family of the addresses.
    Icmp {
        kind: u8,
        code: u8,
        rest: [u8; 4],
    },
    Esp {
        spi: u32,
        seq: u32,
    },
    Gre {
        ether_type: u16,
    },
    Sctp {
        ports: [u16; 2],
        tag: u32,
    },
    Other {
        protocol: u8,
    },
}

impl Segment {
    /// Protocol number by which the IP header, or its last extension header, names the segment.
    pub(crate) fn protocol(&self, v4: bool) -> u8 {
        match self {
            Self::Tcp { .. } => TCP,
            Self::Udp { .. } => UDP,
            Self::Icmp { .. } if v4 => ICMP,
            Self::Icmp { .. } => ICMPV6,
            Self::Esp { .. } => ESP,
            Self::Gre { .. } => GRE,
            Self::Sctp { .. } => SCTP,
            Self::Other { protocol } => *protocol,
        }
    }

    /// Builds the header and the payload and, if the transport has one, the checksum of both.
    pub(super) fn bytes(&self, src: IpAddr, dst: IpAddr, payload: &[u8]) -> Vec<u8> {
        let mut bytes = self.header(payload.len());
        bytes.extend(payload);
        let protocol = self.protocol(src.is_ipv4());
        match self {
            Self::Tcp { .. } => {
                let sum = checksum::with_pseudo_header(src, dst, protocol, &bytes);
                bytes[16..18].copy_from_slice(&sum.to_be_bytes());
            }
            Self::Udp { checksum: true, .. } => {
                // RFC 768: 0 means no checksum, so a sum of 0 is sent as its other form.
                let sum = match checksum::with_pseudo_header(src, dst, protocol, &bytes) {
                    0 => 0xffff,
                    sum => sum,
                };
                bytes[6..8].copy_from_slice(&sum.to_be_bytes());
            }
            Self::Icmp { .. } => {
                // RFC 4443, section 2.3: ICMPv6 sums a pseudo-header, which ICMP does not.
                let sum = if src.is_ipv4() {
                    checksum::internet(&bytes)
                } else {
                    checksum::with_pseudo_header(src, dst, protocol, &bytes)
                };
                bytes[2..4].copy_from_slice(&sum.to_be_bytes());
            }
            Self::Sctp { .. } => {
                // RFC 9260, appendix A: the CRC is sent with its low byte first.
                let crc = checksum::crc32c(&bytes);
                bytes[8..12].copy_from_slice(&crc.to_le_bytes());
            }
            Self::Udp { .. } | Self::Esp { .. } | Self::Gre { .. } | Self::Other { .. } => {}
        }
        bytes
    }

    /// Builds the header, with zeros for its checksum.
    fn header(&self, payload_len: usize) -> Vec<u8> {
        let mut header = Vec::new();
        match self {
            Self::Tcp { ports, flags, seq, ack } => {
                header.extend(ports.iter().flat_map(|port| port.to_be_bytes()));
                header.extend(seq.to_be_bytes());
                header.extend(ack.to_be_bytes());
                // Data offset in words, flags, window, checksum, urgent pointer.
                header.extend([5 << 4, *flags, 0xff, 0xff, 0, 0, 0, 0]);
            }
            Self::Udp { ports, .. } => {
                header.extend(ports.iter().flat_map(|port| port.to_be_bytes()));
                header.extend((8 + payload_len as u16).to_be_bytes());
                header.extend([0, 0]);
            }
            Self::Icmp { kind, code, rest } => {
                header.extend([*kind, *code, 0, 0]);
                header.extend(rest);
            }
            Self::Esp { spi, seq } => {
                header.extend(spi.to_be_bytes());
                header.extend(seq.to_be_bytes());
            }
            Self::Gre { ether_type } => {
                // RFC 2784: no checksum, version 0.
                header.extend([0, 0]);
                header.extend(ether_type.to_be_bytes());
            }
            Self::Sctp { ports, tag } => {
                header.extend(ports.iter().flat_map(|port| port.to_be_bytes()));
                header.extend(tag.to_be_bytes());
                header.extend([0; 4]);
            }
            Self::Other { .. } => {}
        }
        header
    }
}
