//! Link types of captures, and their frames made into Ethernet frames.

use std::fmt;
use std::ops::Range;

/// Bytes of an Ethernet header: destination, source and EtherType.
const ETHERNET_HEADER_LEN: usize = 14;

/// EtherTypes of the two IP versions.
const ETHER_TYPE_IPV4: [u8; 2] = [0x08, 0x00];
const ETHER_TYPE_IPV6: [u8; 2] = [0x86, 0xdd];

/// Link type of a capture, which says what a frame starts with: a number of the tcpdump group's registry
/// (<https://www.tcpdump.org/linktypes.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkType(pub u16);

impl LinkType {
    /// Link type of frames that start with an Ethernet header.
    pub const ETHERNET: Self = Self(1);
    /// Link type of frames that start with an IPv4 or IPv6 header.
    pub const RAW: Self = Self(101);
    /// Link type of frames with the pseudo-header of a Linux "cooked" capture, as old versions of `tcpdump -i any`
    /// write it.
    pub const LINUX_SLL: Self = Self(113);
    /// Link type of frames that start with an IPv4 header.
    pub const IPV4: Self = Self(228);
    /// Link type of frames that start with an IPv6 header.
    pub const IPV6: Self = Self(229);
    /// Link type of frames with the pseudo-header of [`LinkType::LINUX_SLL`] in its second version.
    pub const LINUX_SLL2: Self = Self(276);

    /// Numbers that some systems wrote for [`LinkType::RAW`]: their own DLT_RAW in place of the registry's.
    const RAW_BSD: Self = Self(12);
    const RAW_OPENBSD: Self = Self(14);

    /// Makes an Ethernet frame of the one at `frame`, in place; None if frames of this link type cannot be made one.
    ///
    /// A link layer other than Ethernet gives way to an Ethernet header without addresses (all zeros), which is
    /// written over it or into the memory before it: at least 14 bytes must be there.
    pub(super) fn make_ethernet(self, memory: &mut [u8], frame: Range<usize>) -> Option<Range<usize>> {
        let bytes = &memory[frame.clone()];
        let (header_len, ether_type) = match self {
            Self::ETHERNET => return Some(frame),
            Self::IPV4 => (0, ETHER_TYPE_IPV4),
            Self::IPV6 => (0, ETHER_TYPE_IPV6),
            Self::RAW | Self::RAW_BSD | Self::RAW_OPENBSD => match bytes.first().map(|first| first >> 4) {
                Some(6) => (0, ETHER_TYPE_IPV6),
                _ => (0, ETHER_TYPE_IPV4),
            },
            Self::LINUX_SLL => (16, ether_type_at(bytes, 14)),
            Self::LINUX_SLL2 => (20, ether_type_at(bytes, 0)),
            _ => return None,
        };
        let payload = frame.start + header_len.min(bytes.len());
        let start = payload - ETHERNET_HEADER_LEN;
        memory[start..payload - 2].fill(0);
        memory[payload - 2..payload].copy_from_slice(&ether_type);
        Some(start..frame.end)
    }

    /// Name of the link type in the registry, for those that are met in practice.
    fn name(self) -> Option<&'static str> {
        Some(match self {
            Self(0) => "BSD loopback",
            Self::ETHERNET => "Ethernet",
            Self(9) => "PPP",
            Self::RAW | Self::RAW_BSD | Self::RAW_OPENBSD => "raw IP",
            Self(105) => "IEEE 802.11",
            Self(108) => "OpenBSD loopback",
            Self::LINUX_SLL => "Linux cooked",
            Self(127) => "IEEE 802.11 with radiotap",
            Self(189 | 220) => "USB",
            Self::IPV4 => "raw IPv4",
            Self::IPV6 => "raw IPv6",
            Self(239) => "Linux NFLOG",
            Self(252) => "Wireshark upper PDU",
            Self(253) => "Linux netlink",
            Self::LINUX_SLL2 => "Linux cooked v2",
            _ => return None,
        })
    }
}

impl fmt::Display for LinkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} (link type {})", self.0),
            None => write!(f, "link type {}", self.0),
        }
    }
}

/// Reads the EtherType at `offset`; 0, which is no EtherType, if the frame was cut before it.
fn ether_type_at(bytes: &[u8], offset: usize) -> [u8; 2] {
    bytes.get(offset..offset + 2).map_or([0; 2], |pair| [pair[0], pair[1]])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes an Ethernet frame of `frame`, if that is possible.
    fn ethernet(link_type: LinkType, frame: &[u8]) -> Option<Vec<u8>> {
        let mut memory = [&[0xee; 16], frame].concat();
        let range = 16..memory.len();
        link_type.make_ethernet(&mut memory, range).map(|range| memory[range].to_vec())
    }

    #[test]
    fn an_ethernet_frame_is_left_alone() {
        assert_eq!(ethernet(LinkType::ETHERNET, b"frame").unwrap(), b"frame");
    }

    #[test]
    fn a_raw_packet_gets_the_ether_type_of_its_version() {
        for link_type in [LinkType::RAW, LinkType::RAW_BSD, LinkType::RAW_OPENBSD, LinkType::IPV4] {
            let frame = ethernet(link_type, b"\x45packet").unwrap();
            assert_eq!(frame, b"\0\0\0\0\0\0\0\0\0\0\0\0\x08\0\x45packet");
        }
        for link_type in [LinkType::RAW, LinkType::RAW_BSD, LinkType::RAW_OPENBSD, LinkType::IPV6] {
            let frame = ethernet(link_type, b"\x60packet").unwrap();
            assert_eq!(frame, b"\0\0\0\0\0\0\0\0\0\0\0\0\x86\xdd\x60packet");
        }
    }

    #[test]
    fn a_cooked_packet_keeps_its_protocol_as_ether_type() {
        // packet type, ARPHRD, address length, address, protocol
        let cooked = b"\0\0\0\x01\0\x06\x02\0\0\0\0\x01\0\0\x08\0payload";
        assert_eq!(ethernet(LinkType::LINUX_SLL, cooked).unwrap(), b"\0\0\0\0\0\0\0\0\0\0\0\0\x08\0payload");
        // protocol, reserved, interface, ARPHRD, packet type, address length, address
        let cooked = b"\x86\xdd\0\0\0\0\0\x02\0\x01\0\x06\x02\0\0\0\0\x01\0\0payload";
        assert_eq!(
            ethernet(LinkType::LINUX_SLL2, cooked).unwrap(),
            b"\0\0\0\0\0\0\0\0\0\0\0\0\x86\xddpayload"
        );
    }

    #[test]
    fn a_frame_cut_inside_its_link_layer_becomes_an_ethernet_header_alone() {
        assert_eq!(ethernet(LinkType::LINUX_SLL, b"\0\0\0").unwrap(), [0; 14]);
        assert_eq!(ethernet(LinkType::LINUX_SLL2, b"\x08").unwrap(), [0; 14]);
        assert_eq!(ethernet(LinkType::RAW, b"").unwrap(), b"\0\0\0\0\0\0\0\0\0\0\0\0\x08\0");
    }

    #[test]
    fn what_is_neither_ethernet_nor_ip_is_refused_by_name() {
        assert_eq!(ethernet(LinkType(105), b"beacon"), None);
        assert_eq!(LinkType(105).to_string(), "IEEE 802.11 (link type 105)");
        assert_eq!(LinkType(9999).to_string(), "link type 9999");
    }
}
