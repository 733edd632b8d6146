//! IP addresses and prefixes of both families as one 128-bit word.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IP address; an IPv4 address stands in its IPv4-mapped form (RFC 4291, section 2.5.5.2).
///
/// A mapped address never travels in an IPv6 packet that anyone may forward, so the two families cannot be confused:
/// the pipeline drops such packets as martians.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub u128);

const MAPPED: u128 = 0xffff_0000_0000;

/// IPv4 blocks of 2^24 addresses that no packet may come from: 0.0.0.0/8, 127.0.0.0/8, 224.0.0.0/4 and all above.
/// 169.254.0.0/16, which is smaller, is tested apart.
static MARTIAN_FIRST_BYTES: [bool; 256] = {
    let mut martian = [false; 256];
    martian[0] = true;
    martian[127] = true;
    let mut first = 224;
    while first < 256 {
        martian[first] = true;
        first += 1;
    }
    martian
};

impl Address {
    /// Address made of the four bytes in an IPv4 header.
    pub const fn v4(bytes: [u8; 4]) -> Self {
        Self(MAPPED | u32::from_be_bytes(bytes) as u128)
    }

    /// Address made of the sixteen bytes in an IPv6 header.
    pub const fn v6(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// True for an IPv4 address.
    pub const fn is_ipv4(self) -> bool {
        self.0 >> 32 == MAPPED >> 32
    }

    /// The four bytes of an IPv4 address; of another, its last four.
    pub const fn v4_bytes(self) -> [u8; 4] {
        (self.0 as u32).to_be_bytes()
    }

    /// The sixteen bytes of an IPv6 address; of an IPv4 address, its mapped form.
    pub const fn v6_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// Prefix of so many bits, in the 128-bit form, that holds the address; none where IPv4 has none so short.
    #[inline]
    pub fn in_prefix(self, bits: u8) -> Option<Prefix> {
        // A length of 96 and more may be either family's; a shorter one is IPv6's alone.
        let has_one = bits >= 96 || !self.is_ipv4();
        has_one.then(|| Prefix { network: Self(self.0 & Prefix::mask(bits)), bits })
    }

    /// True if no packet from this address may be forwarded (RFC 1812, section 5.3.7; RFC 4291, section 2.5; RFC 3927,
    /// section 2.7).
    #[inline]
    pub fn is_martian_source(self) -> bool {
        if self.is_ipv4() {
            let first = (self.0 as u32 >> 24) as u8;
            MARTIAN_FIRST_BYTES[usize::from(first)] | (self.0 as u32 >> 16 == 0xa9fe)
        } else {
            // ::, ::1, fe80::/10, ff00::/8. Mapped addresses look like IPv4 here: whoever parses IPv6 refuses them.
            self.0 <= 1 || self.0 >> 118 == 0xfe80 >> 6 || self.0 >> 120 == 0xff
        }
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::v4(v4.octets()),
            IpAddr::V6(v6) => Self::v6(v6.octets()),
        }
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        if address.is_ipv4() {
            Self::V4(Ipv4Addr::from(address.v4_bytes()))
        } else {
            Self::V6(Ipv6Addr::from(address.v6_bytes()))
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A range of addresses of one family that share their leading bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    network: Address,
    /// Leading bits in the 128-bit form: an IPv4 length and 96.
    bits: u8,
}

impl Prefix {
    /// The prefix of `length` bits, as written behind the slash, that holds `address`; host bits are cleared.
    ///
    /// A length beyond the family's is taken for the whole address.
    pub fn new(address: Address, length: u8) -> Self {
        let bits = if address.is_ipv4() { 96 + length.min(32) } else { length.min(128) };
        Self { network: Address(address.0 & Self::mask(bits)), bits }
    }

    /// True if `address` is in the prefix.
    pub fn contains(self, address: Address) -> bool {
        // ::/0 holds the mapped block, but IPv6 prefixes hold no IPv4 addresses.
        (address.0 ^ self.network.0) & Self::mask(self.bits) == 0 && address.is_ipv4() == self.is_ipv4()
    }

    /// First address of the prefix.
    pub fn network(self) -> Address {
        self.network
    }

    /// Length in the 128-bit form, by which prefixes of one family compare.
    pub fn bits(self) -> u8 {
        self.bits
    }

    /// True if the prefix holds one address alone.
    pub fn is_one_address(self) -> bool {
        self.bits == 128
    }

    /// True if the prefix holds IPv4 addresses.
    pub fn is_ipv4(self) -> bool {
        self.bits >= 96 && self.network.is_ipv4()
    }

    /// Address in the prefix whose host bits are the low bits of `host`.
    pub fn with_host(self, host: u128) -> Address {
        Address(self.network.0 | (host & !Self::mask(self.bits)))
    }

    /// The 128-bit form's leading `bits`.
    fn mask(bits: u8) -> u128 {
        u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
    }
}

/// The prefix that holds this address alone.
impl From<Address> for Prefix {
    fn from(address: Address) -> Self {
        Self { network: address, bits: 128 }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = if self.is_ipv4() { self.bits - 96 } else { self.bits };
        write!(f, "{}/{length}", self.network)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn addresses_of_both_families_survive_the_round_trip() {
        for text in ["203.0.113.10", "0.0.0.0", "255.255.255.255", "2001:db8::10", "::", "::1"] {
            assert_eq!(address(text).to_string(), text);
        }
    }

    #[test]
    fn prefixes_hold_their_own_family_alone() {
        let v4 = Prefix::new(address("198.51.100.77"), 24);
        assert!(v4.contains(address("198.51.100.5")) && !v4.contains(address("198.51.101.5")));
        let all_v6 = Prefix::new(address("::"), 0);
        assert!(all_v6.contains(address("2001:db8::1")) && !all_v6.contains(address("192.0.2.1")));
        let all_v4 = Prefix::new(address("0.0.0.0"), 0);
        assert!(all_v4.contains(address("192.0.2.1")) && !all_v4.contains(address("2001:db8::1")));
    }

    #[test]
    fn host_bits_fill_the_rest_of_a_prefix() {
        let prefix = Prefix::new(address("10.200.0.0"), 16);
        assert_eq!(prefix.with_host(0xffff_ffff_1234).to_string(), "10.200.18.52");
    }

    #[test]
    fn martians_of_both_families_are_known() {
        for text in [
            "0.1.2.3",
            "127.0.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "169.254.9.9",
            "::",
            "::1",
            "fe80::1",
            "febf::1",
            "ff02::1",
        ] {
            assert!(address(text).is_martian_source(), "{text}");
        }
        for text in ["192.0.2.1", "10.0.0.1", "223.255.255.255", "169.253.0.1", "2001:db8::1", "fec0::1"] {
            assert!(!address(text).is_martian_source(), "{text}");
        }
    }
}
