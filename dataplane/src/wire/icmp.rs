//! ICMP (RFC 792) and ICMPv6 (RFC 4443): which messages are errors that quote a packet.

/// Length of the header before the quote.
pub const HEADER_LEN: usize = 8;

/// ICMP "destination unreachable".
pub const UNREACHABLE: u8 = 3;
/// ICMP "destination unreachable", code "fragmentation needed" (RFC 1191).
pub const FRAGMENTATION_NEEDED: u8 = 4;
/// ICMPv6 "packet too big".
pub const V6_PACKET_TOO_BIG: u8 = 2;

/// True if a message of this ICMP type quotes the packet that caused it.
pub fn is_error(kind: u8) -> bool {
    // Destination unreachable, time exceeded, parameter problem. Source quench is no more (RFC 6633), and a redirect
    // is for the link that it is sent on.
    matches!(kind, UNREACHABLE | 11 | 12)
}

/// True if a message of this ICMPv6 type quotes the packet that caused it.
pub fn is_v6_error(kind: u8) -> bool {
    // RFC 4443, section 2.1: error messages have the high bit clear.
    kind < 128
}

/// True for an ICMPv6 message of neighbour discovery from this very link: solicitations, advertisements, redirects.
pub fn is_neighbor_discovery(kind: u8, hop_limit: u8) -> bool {
    // RFC 4861, section 6.1 and 7.1: a router would have taken one from the hop limit.
    matches!(kind, 133..=137) && hop_limit == 255
}
