//! Fragments of an outer packet that is longer than the path to its endpoint takes.
//!
//! ```text
//! IPv4 (RFC 791)    link │ IP, offset, MF                    │ piece of what follows the IP header
//! IPv6 (RFC 8200)   link │ IP │ fragment header, offset, M   │ piece of what follows the fragment header
//! ```
//!
//! The endpoint puts them together before it takes the tunnel's headers off, and so gets the packet inside as the client
//! sent it (RFC 2003, section 3.1; RFC 2473, section 7.2). An IPv6 packet has got its fragment header with delivery,
//! where the packet inside and its flow are known, which the identification is made of; without being cut it is an
//! atomic fragment (RFC 6946).

use zerocopy::{FromBytes, IntoBytes};

use crate::frame::Frame;
use crate::wire::checksum;
use crate::wire::ethernet::{self, EtherType};
use crate::wire::ipv4::{self, Ipv4Header};
use crate::wire::ipv6::{self, Ipv6Header};

/// Length of IPv6's fragment header (RFC 8200, section 4.5).
const FRAGMENT_HEADER_LEN: usize = 8;

/// Length of the longest headers before a piece: link layer with two tags, IPv6, fragment header.
const LONGEST: usize = ethernet::HEADER_LEN + 2 * 4 + ipv6::HEADER_LEN + FRAGMENT_HEADER_LEN;

/// Fragment of a frame's outer packet: a frame in two parts.
#[derive(Clone, Copy, Debug)]
pub struct Fragment<'a> {
    headers: [u8; LONGEST],
    headers_len: usize,
    /// Piece of the outer packet behind its headers.
    pub piece: &'a [u8],
}

impl Fragment<'_> {
    /// Headers before the piece, from the Ethernet header on.
    pub fn headers(&self) -> &[u8] {
        &self.headers[..self.headers_len]
    }
}

/// Iterator over the fragments of a frame, in the order of their offsets.
#[derive(Clone, Debug)]
pub struct Fragments<'a> {
    headers: &'a [u8],
    l3: usize,
    rest: &'a [u8],
    /// Bytes of every piece but the last.
    room: usize,
    offset: usize,
}

/// Fragments of a frame that [`Delivery::deliver_in_fragments`](super::Delivery::deliver_in_fragments) has made, of which
/// no IP packet is longer than `mtu`.
///
/// None where `frame` holds no such packet, or `mtu` has no room for one.
pub fn fragments(frame: &[u8], mtu: usize) -> Fragments<'_> {
    let none = Fragments { headers: &[], l3: 0, rest: &[], room: 0, offset: 0 };
    let (l3, ip_len) = match ethernet::payload(frame) {
        Some((EtherType::Ipv4, l3)) => (l3, ipv4::HEADER_LEN),
        Some((EtherType::Ipv6, l3)) => (l3, ipv6::HEADER_LEN + FRAGMENT_HEADER_LEN),
        _ => return none,
    };
    // Offsets are in units of 8 bytes.
    let room = mtu.saturating_sub(ip_len) & !7;
    match frame.split_at_checked(l3 + ip_len) {
        Some((headers, rest)) if room > 0 => Fragments { headers, l3, rest, room, offset: 0 },
        _ => none,
    }
}

impl<'a> Iterator for Fragments<'a> {
    type Item = Fragment<'a>;

    fn next(&mut self) -> Option<Fragment<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let (piece, rest) = self.rest.split_at(self.room.min(self.rest.len()));
        let mut fragment = Fragment { headers: [0; LONGEST], headers_len: self.headers.len(), piece };
        fragment.headers[..self.headers.len()].copy_from_slice(self.headers);
        let ip = &mut fragment.headers[self.l3..self.headers.len()];
        let more = !rest.is_empty();
        if ip.len() == ipv4::HEADER_LEN {
            write_ipv4(ip, self.offset, piece.len(), more);
        } else {
            write_ipv6(ip, self.offset, piece.len(), more);
        }
        self.offset += piece.len();
        self.rest = rest;
        Some(fragment)
    }
}

fn write_ipv4(ip: &mut [u8], offset: usize, len: usize, more: bool) {
    let Ok((header, _)) = Ipv4Header::mut_from_prefix(ip) else { return };
    header.total_len.set((ipv4::HEADER_LEN + len) as u16);
    header.flags_offset.set((offset / 8) as u16 | if more { ipv4::MORE_FRAGMENTS } else { 0 });
    header.checksum.set(0);
    header.checksum.set(checksum::finish(checksum::sum(header.as_bytes())));
}

fn write_ipv6(ip: &mut [u8], offset: usize, len: usize, more: bool) {
    let Ok((header, behind)) = Ipv6Header::mut_from_prefix(ip) else { return };
    header.payload_len.set((FRAGMENT_HEADER_LEN + len) as u16);
    // The offset is a multiple of 8, whose lowest bits the flag has in this header.
    behind[2..4].copy_from_slice(&(offset as u16 | u16::from(more)).to_be_bytes());
}

/// Puts a fragment header behind the IPv6 header at `l3`, with this identification; offset and flag stay zero.
///
/// Returns false and changes nothing where the headroom is too short.
pub(super) fn insert_header<F: Frame>(frame: &mut F, l3: usize, identification: u32) -> bool {
    if !frame.prepend(FRAGMENT_HEADER_LEN) {
        return false;
    }
    let bytes = frame.bytes_mut();
    let end = l3 + ipv6::HEADER_LEN;
    bytes.copy_within(FRAGMENT_HEADER_LEN..FRAGMENT_HEADER_LEN + end, 0);
    let Ok((header, _)) = Ipv6Header::mut_from_prefix(&mut bytes[l3..]) else { return false };
    let next_header = std::mem::replace(&mut header.next_header, ipv6::FRAGMENT);
    header.payload_len.set(header.payload_len.get() + FRAGMENT_HEADER_LEN as u16);
    let fragment_header = &mut bytes[end..end + FRAGMENT_HEADER_LEN];
    fragment_header.fill(0);
    fragment_header[0] = next_header;
    fragment_header[4..].copy_from_slice(&identification.to_be_bytes());
    true
}
