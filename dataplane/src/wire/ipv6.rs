//! IPv6 (RFC 8200) and the walk over its extension headers.

use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Fixed header of an IPv6 packet.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Ipv6Header {
    /// Version, traffic class and flow label.
    pub version_class_label: U32,
    /// Length of all that follows the fixed header.
    pub payload_len: U16,
    /// Protocol number of the header that follows.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub src: [u8; 16],
    /// Destination address.
    pub dst: [u8; 16],
}

/// Length of the fixed header.
pub const HEADER_LEN: usize = 40;

/// EtherType of the packets.
pub const ETHERTYPE: u16 = 0x86dd;

/// The flow label's bits in [`Ipv6Header::version_class_label`].
pub const FLOW_LABEL: u32 = 0x000f_ffff;

/// The smallest MTU that an IPv6 link may have (RFC 8200, section 5).
pub const MIN_MTU: usize = 1280;

impl Ipv6Header {
    /// The header at the start of `bytes`; the payload's length is left to the caller.
    pub fn parse(bytes: &[u8]) -> Option<&Self> {
        let (header, _) = Self::ref_from_prefix(bytes).ok()?;
        (header.version_class_label.get() >> 28 == 6).then_some(header)
    }

    /// The header at the start of `bytes`, to be changed; the caller has parsed it before.
    pub fn parse_mut(bytes: &mut [u8]) -> Option<&mut Self> {
        Some(Self::mut_from_prefix(bytes).ok()?.0)
    }

    /// DSCP and ECN.
    pub fn traffic_class(&self) -> u8 {
        (self.version_class_label.get() >> 20) as u8
    }
}

/// Header behind the extension headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpperLayer {
    /// Protocol number.
    pub protocol: u8,
    /// Offset from the start of the payload.
    pub offset: usize,
    /// Fragment offset in bytes and "more fragments", where a fragment header says that this is a fragment.
    pub fragment: Option<(usize, bool)>,
    /// Identification in the fragment header; zero without one.
    pub identification: u32,
}

/// More extension headers than any real packet carries; RFC 8200, section 4.1, names six kinds.
const MOST_HEADERS: usize = 8;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
/// Protocol number of the fragment header.
pub const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;
const MOBILITY: u8 = 135;
const HIP: u8 = 139;
const SHIM6: u8 = 140;

/// Walks the extension headers that start at `payload`; `None` where they run past its end or contradict each
/// other.
///
/// An authentication header is not walked over: it is a protocol by number here as it is in IPv4, and as it is
/// where Google Cloud lists what `L3_DEFAULT` carries. An atomic fragment (offset zero, none to follow) is a whole
/// packet (RFC 6946). Behind the first header of a later fragment nothing can be known.
pub fn upper_layer(first: u8, payload: &[u8]) -> Option<UpperLayer> {
    let mut protocol = first;
    let mut offset = 0;
    let mut fragment = None;
    let mut identification = 0;
    let mut fragment_headers = 0;
    for index in 0..=MOST_HEADERS {
        match protocol {
            // RFC 8200, section 4.3: directly behind the fixed header, or not at all.
            HOP_BY_HOP if index > 0 => return None,
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | MOBILITY | HIP | SHIM6 => {
                let length = 8 + 8 * usize::from(*payload.get(offset + 1)?);
                protocol = payload[offset];
                offset += length;
            }
            FRAGMENT => {
                fragment_headers += 1;
                let header = payload.get(offset..offset + 8)?;
                if fragment_headers > 1 {
                    return None;
                }
                let word = u16::from_be_bytes([header[2], header[3]]);
                let (start, more) = (usize::from(word & 0xfff8), word & 1 == 1);
                identification = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
                protocol = header[0];
                offset += 8;
                if start > 0 || more {
                    fragment = Some((start, more));
                }
                if start > 0 {
                    return Some(UpperLayer { protocol, offset, fragment, identification });
                }
            }
            _ => {
                let found = UpperLayer { protocol, offset, fragment, identification };
                return (offset <= payload.len()).then_some(found);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_every_kind_are_walked_over() {
        let payload = [
            43, 0, 1, 4, 0, 0, 0, 0, // hop-by-hop, next: routing
            60, 0, 0, 0, 0, 0, 0, 0, // routing, next: destination options
            17, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0, // destination options of 16 bytes, next: UDP
            1, 2, 3, 4,
        ];
        let expected = UpperLayer { protocol: 17, offset: 32, fragment: None, identification: 0 };
        assert_eq!(upper_layer(0, &payload), Some(expected));
    }

    #[test]
    fn fragments_first_later_and_atomic() {
        let first = [6, 0, 0, 1, 0, 0, 0, 9];
        assert_eq!(upper_layer(44, &first).unwrap().fragment, Some((0, true)));
        let later = [6, 0, 0x05, 0xa8, 0, 0, 0, 9];
        let expected =
            UpperLayer { protocol: 6, offset: 8, fragment: Some((1448, false)), identification: 9 };
        assert_eq!(upper_layer(44, &later), Some(expected));
        let atomic = [6, 0, 0, 0, 0, 0, 0, 9];
        assert_eq!(upper_layer(44, &atomic).unwrap().fragment, None);
    }

    #[test]
    fn an_authentication_header_is_the_upper_layer() {
        assert_eq!(upper_layer(51, &[6, 4, 0, 0]).unwrap().protocol, 51);
    }

    #[test]
    fn headers_past_the_end_doubled_fragments_and_late_hop_by_hop_are_refused() {
        assert_eq!(upper_layer(0, &[6]), None);
        assert_eq!(upper_layer(0, &[6, 3, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(upper_layer(44, &[44, 0, 0, 1, 0, 0, 0, 9, 6, 0, 0, 1, 0, 0, 0, 9]), None);
        assert_eq!(upper_layer(60, &[0, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0]), None);
    }

    #[test]
    fn an_endless_chain_is_refused() {
        let payload = [60u8, 0, 1, 4, 0, 0, 0, 0].repeat(100);
        assert_eq!(upper_layer(60, &payload), None);
    }
}
