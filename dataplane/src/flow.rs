//! A flow: the parts of a packet that decide which rule, connection and backend it belongs to.

use crate::address::Address;
use crate::wire::protocol;

/// Addresses, protocol and ports of a packet, seen from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The client.
    pub src: Address,
    /// The VIP, or an address behind a route.
    pub dst: Address,
    /// The client's port; zero where there is none.
    pub src_port: u16,
    /// The VIP's port; zero where there is none.
    pub dst_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Part of a datagram that the packet is.
    pub fragment: Fragment,
}

/// Part of a datagram that a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragment {
    /// Whole datagram.
    No,
    /// First fragment, which has the ports; they are part of TCP's hashes alone.
    First,
    /// Any other fragment, without ports.
    Later,
}

impl Flow {
    /// True if the ports take part in the 5-tuple: TCP or UDP, and not a fragment, or the first fragment of TCP.
    //
    // Google Cloud hashes fragmented UDP by 3-tuple, and tracks TCP by 5-tuple always.
    #[inline]
    pub fn is_ported(&self) -> bool {
        self.is_whole_with_ports() || (self.fragment == Fragment::First && self.protocol == protocol::TCP)
    }

    #[inline]
    fn is_whole_with_ports(&self) -> bool {
        self.fragment == Fragment::No && matches!(self.protocol, protocol::TCP | protocol::UDP)
    }

    /// True for TCP and UDP in fragments, of which the later ones follow the first.
    #[inline]
    pub fn is_followed(&self) -> bool {
        self.fragment != Fragment::No && matches!(self.protocol, protocol::TCP | protocol::UDP)
    }

    /// Flow of the opposite direction.
    #[must_use]
    pub fn reversed(&self) -> Self {
        let Self { src, dst, src_port, dst_port, .. } = *self;
        Self { src: dst, dst: src, src_port: dst_port, dst_port: src_port, ..*self }
    }

    /// Flow with its ends in order, the lower address first, then the lower port: the same for both directions.
    #[must_use]
    pub fn in_order(&self) -> Self {
        let (src_port, dst_port) = if self.is_ported() { (self.src_port, self.dst_port) } else { (0, 0) };
        if (self.dst, dst_port) < (self.src, src_port) { self.reversed() } else { *self }
    }

    /// Bits that both directions of a flow share, and all fragments of one protocol between its ends: what has them
    /// in common can meet at one worker.
    #[inline(never)]
    pub fn meeting_point(&self) -> u32 {
        // A first fragment has ports and the later ones have none.
        let fragment = if self.fragment == Fragment::No { Fragment::No } else { Fragment::Later };
        Self { fragment, ..*self }.in_order().entropy()
    }

    /// Port that a forwarding rule may list; a packet without ports matches only rules for all of them.
    #[inline]
    pub fn rule_port(&self) -> Option<u16> {
        let has_ports = matches!(self.protocol, protocol::TCP | protocol::UDP);
        (has_ports && self.fragment != Fragment::Later).then_some(self.dst_port)
    }

    /// Bits that differ between flows and stay with a flow, for receivers that spread load by outer headers.
    ///
    /// Neither keyed nor used for any choice of our own: it is the same in every build, so that captures compare.
    //
    // Always inlined: a part of each tunnelled packet's price.
    #[inline(always)]
    pub fn entropy(&self) -> u32 {
        // A fragment's take no part: all parts of a datagram travel alike.
        let ports = if self.is_whole_with_ports() {
            u128::from(self.src_port) << 16 | u128::from(self.dst_port)
        } else {
            0
        };
        let words =
            self.src.0 ^ self.dst.0.rotate_left(64) ^ ports.rotate_left(32) ^ u128::from(self.protocol);
        let folded = (words as u64) ^ ((words >> 64) as u64).rotate_left(32);
        // The finalizer of MurmurHash3 (public domain, A. Appleby): two multiplications spread every input bit.
        let mut mixed = (folded ^ (folded >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        (mixed >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Flows among few ends, so that equal addresses and ports occur.
    fn flows() -> impl Strategy<Value = Flow> {
        let fragments = prop::sample::select(vec![Fragment::No, Fragment::First, Fragment::Later]);
        let protocols = prop::sample::select(vec![protocol::TCP, protocol::UDP, protocol::ESP]);
        let end = || (prop::sample::select(vec![1u8, 2, 9, 200]), 0..4u16);
        (end(), end(), protocols, fragments, any::<bool>()).prop_map(
            |(src, dst, protocol, fragment, is_ipv4)| {
                let address = |last: u8| {
                    if is_ipv4 {
                        Address::v4([192, 0, 2, last])
                    } else {
                        Address(0x2001_0db8 << 96 | u128::from(last))
                    }
                };
                let ports = |port: u16| {
                    if fragment == Fragment::Later || protocol == protocol::ESP { 0 } else { port }
                };
                Flow {
                    src: address(src.0),
                    dst: address(dst.0),
                    src_port: ports(src.1),
                    dst_port: ports(dst.1),
                    protocol,
                    fragment,
                }
            },
        )
    }

    /// Ends of a flow as numbers, with the ports where they count.
    fn ends(flow: &Flow) -> [(u128, u16); 2] {
        let port = |port| if flow.is_ported() { port } else { 0 };
        [(flow.src.0, port(flow.src_port)), (flow.dst.0, port(flow.dst_port))]
    }

    proptest! {
        #[test]
        fn order_is_that_of_the_sorted_ends(flow in flows()) {
            let mut sorted = ends(&flow);
            sorted.sort_unstable();
            prop_assert_eq!(ends(&flow.in_order()), sorted);
            prop_assert_eq!(ends(&flow.reversed().in_order()), sorted);
            let unchanged = |flow: Flow| (flow.protocol, flow.fragment);
            prop_assert_eq!(unchanged(flow.in_order()), unchanged(flow));
        }

        #[test]
        fn both_directions_meet_and_so_do_all_fragments(flow in flows()) {
            prop_assert_eq!(flow.meeting_point(), flow.reversed().meeting_point());
            let part = |fragment, src_port, dst_port| Flow { fragment, src_port, dst_port, ..flow };
            let later = part(Fragment::Later, 0, 0);
            prop_assert_eq!(part(Fragment::First, 7, 9).meeting_point(), later.meeting_point());
            prop_assert_eq!(part(Fragment::First, 7, 9).meeting_point(), later.reversed().meeting_point());
        }
    }

    #[test]
    fn a_first_fragment_of_tcp_alone_is_ported() {
        let flow = |protocol, fragment| Flow {
            src: Address(1),
            dst: Address(2),
            src_port: 1,
            dst_port: 2,
            protocol,
            fragment,
        };
        for (protocol, fragment, ported, followed) in [
            (protocol::TCP, Fragment::No, true, false),
            (protocol::UDP, Fragment::No, true, false),
            (protocol::TCP, Fragment::First, true, true),
            (protocol::UDP, Fragment::First, false, true),
            (protocol::TCP, Fragment::Later, false, true),
            (protocol::UDP, Fragment::Later, false, true),
            (protocol::ESP, Fragment::No, false, false),
            (protocol::ESP, Fragment::Later, false, false),
        ] {
            let flow = flow(protocol, fragment);
            assert_eq!((flow.is_ported(), flow.is_followed()), (ported, followed), "{flow:?}");
        }
    }
}
