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
    /// First fragment; its ports are no part of its hashes, so that it goes where the later ones go.
    First,
    /// Any other fragment, without ports.
    Later,
}

impl Flow {
    /// True if the ports take part in the 5-tuple: TCP or UDP, and not a fragment.
    #[inline]
    pub fn is_ported(&self) -> bool {
        self.fragment == Fragment::No && matches!(self.protocol, protocol::TCP | protocol::UDP)
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
    pub fn entropy(&self) -> u32 {
        let ports =
            if self.is_ported() { u128::from(self.src_port) << 16 | u128::from(self.dst_port) } else { 0 };
        let words =
            self.src.0 ^ self.dst.0.rotate_left(64) ^ ports.rotate_left(32) ^ u128::from(self.protocol);
        let folded = (words as u64) ^ ((words >> 64) as u64).rotate_left(32);
        // The finalizer of MurmurHash3 (public domain, A. Appleby): two multiplications spread every input bit.
        let mut mixed = (folded ^ (folded >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        (mixed >> 32) as u32
    }
}
