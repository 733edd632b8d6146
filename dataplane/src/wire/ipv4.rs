//! IPv4 (RFC 791).

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// IPv4 header without its options.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Ipv4Header {
    /// Version and header length in 32-bit words.
    pub version_ihl: u8,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// Length of header and payload.
    pub total_len: U16,
    /// Identification, for reassembly.
    pub id: U16,
    /// Flags and fragment offset in units of 8 bytes.
    pub flags_offset: U16,
    /// Time to live.
    pub ttl: u8,
    /// Protocol of the payload.
    pub protocol: u8,
    /// Header checksum.
    pub checksum: U16,
    /// Source address.
    pub src: [u8; 4],
    /// Destination address.
    pub dst: [u8; 4],
}

/// Length of the header without options.
pub const HEADER_LEN: usize = 20;

/// EtherType of the packets.
pub const ETHERTYPE: u16 = 0x0800;

/// The flag "don't fragment" in [`Ipv4Header::flags_offset`].
pub const DONT_FRAGMENT: u16 = 0x4000;
/// The flag "more fragments" in [`Ipv4Header::flags_offset`].
pub const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET_MASK: u16 = 0x1fff;

impl Ipv4Header {
    /// The header at the start of `bytes`, where version and header length are possible at all.
    ///
    /// The total length is left to the caller: a packet must hold it, a quote in an ICMP error need not.
    pub fn parse(bytes: &[u8]) -> Option<&Self> {
        let (header, _) = Self::ref_from_prefix(bytes).ok()?;
        (header.version_ihl >> 4 == 4 && header.header_len() >= HEADER_LEN).then_some(header)
    }

    /// The header at the start of `bytes`, to be changed; the caller has parsed it before.
    pub fn parse_mut(bytes: &mut [u8]) -> Option<&mut Self> {
        Some(Self::mut_from_prefix(bytes).ok()?.0)
    }

    /// Length of the header with its options, in bytes.
    pub fn header_len(&self) -> usize {
        usize::from(self.version_ihl & 0x0f) * 4
    }

    /// Fragment offset in bytes.
    pub fn fragment_offset(&self) -> usize {
        usize::from(self.flags_offset.get() & OFFSET_MASK) * 8
    }

    /// True if further fragments follow this one.
    pub fn more_fragments(&self) -> bool {
        self.flags_offset.get() & MORE_FRAGMENTS != 0
    }

    /// True if the sender forbids fragmentation.
    pub fn dont_fragment(&self) -> bool {
        self.flags_offset.get() & DONT_FRAGMENT != 0
    }

    /// Takes one from the TTL and adjusts the checksum by that change alone: a wrong one stays wrong.
    #[inline]
    pub fn decrement_ttl(&mut self) {
        self.ttl -= 1;
        // RFC 1624, eqn. 3: the complement of the sum falls by 0x0100, so the checksum rises by it, with the carry at its end
        // (and zero for 0xffff). Read the other way round, 0x0100 is one.
        let raised = u32::from(u16::from_le_bytes(self.checksum.to_bytes())) + 1;
        self.checksum = U16::from_bytes(((raised + u32::from(raised >= 0xffff)) as u16).to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::checksum;

    /// A SYN's header from 192.0.2.7 to 203.0.113.10, checksum made by Linux.
    const BYTES: [u8; 20] = [
        0x45, 0x00, 0x00, 0x28, 0x00, 0x01, 0x40, 0x00, 0x40, 0x06, 0x7d, 0x1b, 192, 0, 2, 7, 203, 0, 113, 10,
    ];

    #[test]
    fn fields_are_read_where_rfc_791_puts_them() {
        let header = Ipv4Header::parse(&BYTES).unwrap();
        assert_eq!((header.header_len(), header.total_len.get()), (20, 40));
        assert_eq!((header.ttl, header.protocol), (64, 6));
        assert!(header.dont_fragment() && !header.more_fragments());
        assert_eq!(header.fragment_offset(), 0);
        assert_eq!((header.src, header.dst), ([192, 0, 2, 7], [203, 0, 113, 10]));
    }

    #[test]
    fn every_checksum_is_adjusted_as_rfc_1624_has_it() {
        for checksum in 0..=u16::MAX {
            let mut header = *Ipv4Header::parse(&BYTES).unwrap();
            header.checksum.set(checksum);
            header.decrement_ttl();
            let sum = u32::from(!checksum) + 0xfeff;
            assert_eq!(header.checksum.get(), !((sum & 0xffff) + (sum >> 16)) as u16, "{checksum:#x}");
        }
    }

    #[test]
    fn decrement_keeps_a_right_checksum_right_and_a_wrong_one_wrong() {
        let mut right = *Ipv4Header::parse(&BYTES).unwrap();
        right.checksum.set(0);
        right.checksum.set(checksum::finish(checksum::sum(right.as_bytes())));
        let mut wrong = right;
        wrong.checksum.set(right.checksum.get() ^ 0x0101);
        right.decrement_ttl();
        wrong.decrement_ttl();
        assert_eq!(checksum::finish(checksum::sum(right.as_bytes())), 0);
        assert_ne!(checksum::finish(checksum::sum(wrong.as_bytes())), 0);
    }

    #[test]
    fn decrement_agrees_with_a_new_sum() {
        let mut header = *Ipv4Header::parse(&BYTES).unwrap();
        for ttl in 1..=255u8 {
            for id in [0x0000, 0x0001, 0x7d1b, 0xfffe, 0xffff] {
                let whole = |ttl, id| {
                    let mut header = *Ipv4Header::parse(&BYTES).unwrap();
                    (header.ttl, header.id, header.checksum) = (ttl, U16::new(id), U16::new(0));
                    checksum::finish(checksum::sum(header.as_bytes()))
                };
                (header.ttl, header.id, header.checksum) = (ttl, U16::new(id), U16::new(whole(ttl, id)));
                header.decrement_ttl();
                assert_eq!((header.ttl, header.checksum.get()), (ttl - 1, whole(ttl - 1, id)));
            }
        }
    }

    #[test]
    fn impossible_versions_and_header_lengths_are_refused() {
        for first in [0x44, 0x40, 0x55, 0x65, 0x00] {
            let mut bytes = BYTES;
            bytes[0] = first;
            assert!(Ipv4Header::parse(&bytes).is_none(), "{first:#04x}");
        }
        assert!(Ipv4Header::parse(&BYTES[..19]).is_none());
    }
}
