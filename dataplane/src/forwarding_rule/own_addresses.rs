//! Own addresses of the appliance: packets for them are its own, and none from them is forwarded.

use std::collections::BTreeSet;

use crate::address::{Address, Prefix};

/// Addresses of a network that the appliance has.
#[derive(Debug, Default)]
pub(super) struct OwnAddresses {
    /// Addresses of interfaces, and the ranges that tunnels come from.
    prefixes: Box<[Prefix]>,
    /// Addresses among these, without the ranges.
    single: Box<[Address]>,
    /// Bits of the single addresses, by [`bit_of`]: nearly every source has none of them, and is compared with no address.
    bits: u64,
}

impl OwnAddresses {
    pub(super) fn new(prefixes: impl IntoIterator<Item = Prefix>) -> Self {
        let prefixes: Box<[Prefix]> = prefixes.into_iter().collect();
        let single: BTreeSet<Address> =
            prefixes.iter().filter(|own| own.is_one_address()).map(|own| own.network()).collect();
        let bits = single.iter().fold(0, |bits, address| bits | bit_of(*address));
        Self { prefixes, single: single.into_iter().collect(), bits }
    }

    /// Iterates over all of them.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = Prefix> {
        self.prefixes.iter().copied()
    }

    /// True if an address is one of these, or in one of the ranges.
    pub(super) fn hold(&self, address: Address) -> bool {
        self.prefixes.iter().any(|own| own.contains(address))
    }

    /// True if a source is one of the single addresses.
    #[inline]
    pub(super) fn have_source(&self, source: Address) -> bool {
        self.bits & bit_of(source) != 0 && self.single.contains(&source)
    }
}

/// Bit of an address, of 64: spread by a multiplication, as neighbouring addresses differ in few bits.
#[inline]
const fn bit_of(address: Address) -> u64 {
    let folded = (address.0 >> 64) as u64 ^ address.0 as u64;
    1 << (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_addresses_are_sources_however_many_there_are_and_no_other_is() {
        let v4 = |number: u8| Address::v4([192, 0, 2, number]);
        let v6 = |number: u8| Address(0x2001_0db8 << 96 | u128::from(number));
        let even = (0..=254).step_by(2).flat_map(|number| [v4(number), v6(number)]);
        let range = Prefix::new(Address::v4([100, 64, 0, 0]), 10);
        for count in [0, 1, 3, 256] {
            let single: Vec<Address> = even.clone().take(count).collect();
            let own = OwnAddresses::new(single.iter().map(|address| (*address).into()).chain([range]));
            for address in (0..=255).flat_map(|number| [v4(number), v6(number)]) {
                assert_eq!(own.have_source(address), single.contains(&address), "{address} of {count}");
                assert_eq!(own.hold(address), single.contains(&address), "{address} of {count}");
            }
            let of_range = Address::v4([100, 64, 7, 7]);
            assert!(own.hold(of_range) && !own.have_source(of_range));
        }
    }
}
