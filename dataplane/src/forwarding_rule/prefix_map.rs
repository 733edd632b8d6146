//! A map from prefixes, built once: one hash probe for each length that there is, longest first.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::address_map::AddressMap;
use crate::address::{Address, Prefix};

/// Map from prefixes, built once.
#[derive(Debug)]
pub(super) struct PrefixMap<T> {
    /// Lengths in the 128-bit form, longest first, each with a map from its networks.
    lengths: Box<[(u8, AddressMap<T>)]>,
}

impl<T> PrefixMap<T> {
    /// True if the map holds nothing, so that no lookup needs to be made.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Prefixes that are held.
    pub(super) fn keys(&self) -> impl Iterator<Item = Prefix> {
        let networks =
            self.lengths.iter().flat_map(|(bits, networks)| networks.keys().map(|key| (key, *bits)));
        networks.map(|(network, bits)| network.in_prefix(bits).expect("its prefix has this length"))
    }

    /// Values of all prefixes, in no order.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.lengths.iter().flat_map(|(_, networks)| networks.values())
    }

    /// Values of the prefixes that hold `address`, longest first.
    #[inline]
    pub(super) fn holding(&self, address: Address) -> impl Iterator<Item = &T> {
        let lengths = self.lengths.iter();
        lengths.filter_map(move |(bits, networks)| networks.get(address.in_prefix(*bits)?.network()))
    }
}

impl<T> From<BTreeMap<Prefix, T>> for PrefixMap<T> {
    fn from(values: BTreeMap<Prefix, T>) -> Self {
        let mut by_length: BTreeMap<Reverse<u8>, BTreeMap<Address, T>> = BTreeMap::new();
        for (prefix, value) in values {
            by_length.entry(Reverse(prefix.bits())).or_default().insert(prefix.network(), value);
        }
        let lengths = by_length.into_iter().map(|(Reverse(bits), networks)| (bits, networks.into()));
        Self { lengths: lengths.collect() }
    }
}

impl<T> Default for PrefixMap<T> {
    fn default() -> Self {
        Self { lengths: Box::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn address(text: &str) -> Address {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn an_address_is_in_every_prefix_that_holds_it_longest_first() {
        let prefixes = [
            ("0.0.0.0", 0),
            ("10.0.0.0", 8),
            ("10.1.0.0", 16),
            ("10.1.0.0", 28),
            ("10.1.0.5", 32),
            ("::", 0),
            ("2001:db8::", 32),
            ("2001:db8::", 96),
            ("2001:db8::", 127),
        ];
        let prefixes = prefixes.map(|(network, length)| Prefix::new(address(network), length));
        let map: PrefixMap<Prefix> =
            prefixes.map(|prefix| (prefix, prefix)).into_iter().collect::<BTreeMap<_, _>>().into();
        for text in [
            "10.1.0.5",
            "10.1.0.15",
            "10.1.0.16",
            "10.2.0.0",
            "9.9.9.9",
            "2001:db8::1",
            "2001:db8::2",
            "2001:db8:1::",
            "1::",
        ] {
            let mut expected: Vec<_> =
                prefixes.into_iter().filter(|prefix| prefix.contains(address(text))).collect();
            expected.sort_by_key(|prefix| Reverse(prefix.bits()));
            assert!(!expected.is_empty());
            assert_eq!(map.holding(address(text)).copied().collect::<Vec<_>>(), expected, "{text}");
        }
        assert!(!map.is_empty() && PrefixMap::<()>::default().is_empty());
    }
}
