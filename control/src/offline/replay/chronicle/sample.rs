//! Map of bounded size that keeps all keys while it has room, and then one of two, one of four and so on.
//!
//! Keys are hashes, so those that are kept are a fair sample: a key is kept while its lowest bits are zero, which a thousand
//! packets of one key agree on. A count over the sample, times the number of keys that each stands for, is an unbiased
//! estimate; while nothing was left out it is exact.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Keys that a sample holds at most.
pub const MOST_SAMPLED: usize = 1 << 20;

/// Sample of keys with their values.
#[derive(Debug)]
pub(super) struct Sample<V> {
    values: HashMap<u64, V, BuildHasherDefault<Hashed>>,
    most: usize,
    /// Lowest bits of a key that are zero in the keys that are kept.
    bits: u32,
}

impl<V> Sample<V> {
    pub(super) fn with_room(most: usize) -> Self {
        Self { values: HashMap::default(), most, bits: 0 }
    }

    /// Number of keys that each one stands for.
    pub(super) fn per_key(&self) -> u64 {
        1 << self.bits
    }

    /// Value of a key; `None` where the key is not in the sample, or new.
    pub(super) fn find(&mut self, key: u64) -> Option<&mut V> {
        self.values.get_mut(&key)
    }

    /// Adds a key that is not known; it is left out where it is none of the sample's.
    pub(super) fn insert(&mut self, key: u64, value: V) {
        while self.values.len() >= self.most && self.bits < 63 {
            self.bits += 1;
            let mask = self.per_key() - 1;
            self.values.retain(|key, _| key & mask == 0);
        }
        if key & (self.per_key() - 1) == 0 {
            self.values.insert(key, value);
        }
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.values.values()
    }
}

/// Hasher of keys that are hashes already.
#[derive(Debug, Default)]
pub(super) struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, key: u64) {
        // The low bits of sampled keys are alike; a table takes them for its slots.
        self.0 = key.swap_bytes() ^ key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_with_room_is_exact_and_one_without_is_fair() {
        let mut sample = Sample::with_room(1_000);
        let key = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).swap_bytes();
        for number in 0..1_000 {
            sample.insert(key(number), ());
        }
        assert_eq!((sample.per_key(), sample.values().count()), (1, 1_000));
        for number in 1_000..100_000 {
            sample.insert(key(number), ());
        }
        assert!(sample.values().count() <= 1_000);
        let estimate = sample.values().count() as u64 * sample.per_key();
        assert!((90_000..110_000).contains(&estimate), "{estimate}");
    }
}
