//! Ethernet II with up to two VLAN tags (IEEE 802.1Q, 802.1ad).

use core::fmt;

use super::{ipv4, ipv6};

/// MAC address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// True if the address names a group: multicast or broadcast.
    #[inline]
    pub fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// Length of the header without tags.
pub const HEADER_LEN: usize = 14;

/// Length of the two addresses at the start of every frame.
pub const ADDRESSES_LEN: usize = 12;

/// Promise of the callers.
const WHOLE: &str = "the frame has a whole header";

/// Length of a VLAN tag.
pub const TAG_LEN: usize = 4;
const MOST_TAGS: usize = 2;

/// EtherTypes of a customer tag, of a service tag, and of the service tag of equipment older than 802.1ad.
const CUSTOMER_TAG: u16 = 0x8100;
const SERVICE_TAG: u16 = 0x88a8;
const OLD_SERVICE_TAG: u16 = 0x9100;

/// Bits of a tag that name the VLAN; the others are a priority and whether the frame may be dropped.
const VLAN: u16 = 0x0fff;

/// Number that names no VLAN (IEEE 802.1Q, table 9-2).
const NO_VLAN: u16 = 0x0fff;

/// Type of a frame's payload, as its header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EtherType {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
    /// Anything else: ARP, LLDP, a third VLAN tag, an 802.3 length.
    Other(u16),
}

/// Finds the payload behind the header and its tags: its type, and its offset in the frame.
///
/// `None` where the frame ends inside its own header.
pub fn payload(frame: &[u8]) -> Option<(EtherType, usize)> {
    let mut offset = HEADER_LEN;
    for _ in 0..=MOST_TAGS {
        let ethertype = u16::from_be_bytes([*frame.get(offset - 2)?, *frame.get(offset - 1)?]);
        match ethertype {
            ipv4::ETHERTYPE => return Some((EtherType::Ipv4, offset)),
            ipv6::ETHERTYPE => return Some((EtherType::Ipv6, offset)),
            CUSTOMER_TAG | SERVICE_TAG | OLD_SERVICE_TAG if offset < HEADER_LEN + MOST_TAGS * TAG_LEN => {
                offset += TAG_LEN;
            }
            other => return Some((EtherType::Other(other), offset)),
        }
    }
    None
}

/// VLAN that the only tag of a frame names; 0 for a frame without a tag, or with one that has nothing but a priority; 4095, which
/// names none, for a frame with a service tag or with several.
///
/// `None` where the frame ends inside its own header.
#[inline]
pub fn vlan(frame: &[u8]) -> Option<u16> {
    let word = |offset: usize| Some(u16::from_be_bytes([*frame.get(offset)?, *frame.get(offset + 1)?]));
    match word(ADDRESSES_LEN)? {
        CUSTOMER_TAG => match word(ADDRESSES_LEN + TAG_LEN)? {
            CUSTOMER_TAG | SERVICE_TAG | OLD_SERVICE_TAG => Some(NO_VLAN),
            _ => Some(word(ADDRESSES_LEN + 2)? & VLAN),
        },
        SERVICE_TAG | OLD_SERVICE_TAG => Some(NO_VLAN),
        _ => Some(0),
    }
}

/// Destination address of a frame of at least [`HEADER_LEN`] bytes.
#[inline]
pub fn destination(frame: &[u8]) -> MacAddress {
    MacAddress(*frame.first_chunk().expect(WHOLE))
}

/// Source address of a frame of at least [`HEADER_LEN`] bytes.
pub fn source(frame: &[u8]) -> MacAddress {
    MacAddress(*frame[6..].first_chunk().expect(WHOLE))
}

/// Writes both addresses of a frame of at least [`HEADER_LEN`] bytes.
#[inline]
pub fn set_addresses(frame: &mut [u8], destination: MacAddress, source: MacAddress) {
    let addresses: &mut [u8; ADDRESSES_LEN] = frame.first_chunk_mut().expect(WHOLE);
    addresses[..6].copy_from_slice(&destination.0);
    addresses[6..].copy_from_slice(&source.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESSES: [u8; 12] = [2, 0, 0, 0, 0, 0x0a, 2, 0, 0, 0, 0, 1];

    fn frame(tail: &[u8]) -> Vec<u8> {
        [&ADDRESSES, tail].concat()
    }

    #[test]
    fn untagged_tagged_and_double_tagged_payloads_are_found() {
        assert_eq!(payload(&frame(&[0x08, 0x00])), Some((EtherType::Ipv4, 14)));
        assert_eq!(payload(&frame(&[0x81, 0, 0, 100, 0x86, 0xdd])), Some((EtherType::Ipv6, 18)));
        assert_eq!(payload(&frame(&[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 8, 0])), Some((EtherType::Ipv4, 22)));
    }

    #[test]
    fn a_third_tag_is_not_ours() {
        let tags = [0x81, 0, 0, 1, 0x81, 0, 0, 2, 0x81, 0, 0, 3, 8, 0];
        assert_eq!(payload(&frame(&tags)), Some((EtherType::Other(0x8100), 22)));
    }

    #[test]
    fn a_frame_that_ends_in_its_header_has_no_payload() {
        assert_eq!(payload(&frame(&[0x08])), None);
        assert_eq!(payload(&frame(&[0x81, 0x00, 0x00])), None);
        assert_eq!(payload(&[]), None);
    }
}
