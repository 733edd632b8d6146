//! Connections that tables are filled with and asked for, in the order that a NIC might bring them.

use std::hash::{Hash, Hasher};
use std::iter;

use guideway_dataplane::backend::BackendHandle;
use zerocopy::{Immutable, IntoBytes};

/// TCP connection by its 5-tuple, in the 16 bytes that a table of IPv4 connections would use.
///
/// ```text
/// client 4 │ VIP 4 │ client's port 2 │ VIP's port 2 │ protocol 1 │ zero 3
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Immutable, IntoBytes)]
#[repr(C)]
pub(super) struct Key {
    addresses: u64,
    rest: u64,
}

/// Hashes a key in one step of the hasher, not in one for each field.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(u128::from(self.addresses) << 64 | u128::from(self.rest));
    }
}

pub(super) const TCP: u8 = 6;
const HTTPS: u16 = 443;

impl Key {
    /// Makes the connection of client `number`: different numbers give different addresses.
    fn of_client(number: u32, random: &mut fastrand::Rng) -> Self {
        // A multiplication by an odd number permutes all addresses.
        let client = number.wrapping_mul(0x9e37_79b1);
        let vip = u32::from_be_bytes([203, 0, 113, random.u8(..)]);
        Self {
            addresses: u64::from(client) << 32 | u64::from(vip),
            rest: u64::from(random.u16(1024..)) << 48 | u64::from(HTTPS) << 32 | u64::from(TCP) << 24,
        }
    }

    /// Makes source, destination and ports as little-endian words of the bytes that a packet's headers have.
    #[inline]
    pub(super) fn header_words(self) -> (u32, u32, u32) {
        let (client, vip) = ((self.addresses >> 32) as u32, self.addresses as u32);
        (client.swap_bytes(), vip.swap_bytes(), ((self.rest >> 32) as u32).swap_bytes())
    }

    /// Makes a number below `limit`, as good as random.
    #[inline]
    pub(super) fn any_of(self, limit: usize) -> usize {
        let mixed = (self.addresses ^ self.rest.rotate_left(16)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((u128::from(mixed) * limit as u128) >> 64) as usize
    }

    /// Makes the backend that a table is to remember for the key: any function will do that tells most keys apart.
    #[inline]
    pub(super) fn backend(self) -> BackendHandle {
        BackendHandle(((self.addresses >> 32) as u32 ^ (self.rest >> 48) as u32) % BackendHandle::LIMIT)
    }
}

/// Connections that a table has, and as many that it doesn't have.
pub(super) struct Traffic {
    pub(super) known: Vec<Key>,
    pub(super) unknown: Vec<Key>,
}

impl Traffic {
    /// Makes `entries` connections of each kind, the same ones for the same number, in random order.
    pub(super) fn new(entries: usize) -> Self {
        let entries = u32::try_from(entries).expect("clients have IPv4 addresses");
        let mut random = fastrand::Rng::with_seed(u64::from(entries));
        let mut keys = |numbers: std::ops::Range<u32>| -> Vec<Key> {
            let mut keys: Vec<Key> = numbers.map(|number| Key::of_client(number, &mut random)).collect();
            random.shuffle(&mut keys);
            keys
        };
        Self { known: keys(0..entries), unknown: keys(entries..2 * entries) }
    }
}

/// Lists `count` keys from `offset` on; the first follows the last.
pub(super) fn cyclic(keys: &[Key], offset: usize, count: usize) -> Vec<&[Key]> {
    let (mut offset, mut left) = (offset % keys.len(), count);
    iter::from_fn(|| {
        let run = &keys[offset..][..left.min(keys.len() - offset)];
        left -= run.len();
        offset = (offset + run.len()) % keys.len();
        (!run.is_empty()).then_some(run)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use guideway_dataplane::address::Address;
    use guideway_dataplane::affinity::{KeyParts, ServiceKey, TrackingHasher, Tuple};
    use guideway_dataplane::flow::{Flow, Fragment};

    use super::*;

    #[test]
    fn no_connection_comes_twice() {
        let traffic = Traffic::new(1000);
        let bytes = |key: &Key| key.as_bytes().to_vec();
        let all: HashSet<Vec<u8>> = traffic.known.iter().chain(&traffic.unknown).map(bytes).collect();
        assert_eq!(all.len(), 2000);
    }

    #[test]
    fn traffic_is_the_same_each_time_and_in_no_order() {
        assert_eq!(Traffic::new(100).known, Traffic::new(100).known);
        let in_order = |entries: &Traffic| {
            (0..100).all(|number: u32| {
                entries.known[number as usize].addresses >> 32 == u64::from(number.wrapping_mul(0x9e37_79b1))
            })
        };
        assert!(!in_order(&Traffic::new(100)));
    }

    #[test]
    fn header_words_are_those_of_the_flow() {
        let key = Key { addresses: 0xc000_0207_cb00_710a, rest: 40_001 << 48 | 443 << 32 | 6 << 24 };
        let (src, dst, ports) = key.header_words();
        let flow = Flow {
            src: Address::v4(src.to_le_bytes()),
            dst: Address::v4(dst.to_le_bytes()),
            src_port: 40_001,
            dst_port: 443,
            protocol: TCP,
            fragment: Fragment::No,
        };
        assert_eq!((flow.src, flow.dst), (Address::v4([192, 0, 2, 7]), Address::v4([203, 0, 113, 10])));
        let hasher = TrackingHasher::new([1, 2, 3, 4]);
        let parts = KeyParts::new(ServiceKey(9), Tuple::Five, TCP);
        assert_eq!(hasher.ipv4_key(&parts, src, dst, ports), hasher.key(ServiceKey(9), Tuple::Five, &flow));
    }

    #[test]
    fn lines_are_spread_over_the_whole_area() {
        let keys = Traffic::new(1000).known;
        let mut hit = [0; 10];
        keys.iter().for_each(|key| hit[key.any_of(10)] += 1);
        assert!(hit.iter().all(|count| (50..200).contains(count)), "{hit:?}");
    }

    #[test]
    fn a_run_of_keys_goes_round() {
        let keys = Traffic::new(10).known;
        let runs = cyclic(&keys, 17, 25);
        assert_eq!(runs.concat(), [&keys[7..], &keys[..], &keys[..], &keys[..2]].concat());
        assert!(cyclic(&keys, 3, 0).is_empty());
    }
}
