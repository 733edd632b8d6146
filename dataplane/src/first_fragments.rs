//! First fragments that were forwarded a moment ago: the later ones of their datagrams follow them.
//!
//! Only a datagram's first fragment has the ports, which rules and hashes may need. So a worker remembers where it sent
//! the firsts, for as long as a receiver would wait for the rest. The memory is of a fixed size and made once; it is
//! zeroed memory of the system, so that its pages cost nothing before fragments touch them.
//!
//! ```text
//! bucket:  slot │ slot │ slot │ slot          four slots of 32 bytes
//! slot:    key 8 │ rule 8 │ backend's identity 8 │ backend's handle 4 │ seen 4
//! ```
//!
//! The key's bits choose the bucket. A new datagram takes its own slot again, else one that is empty or out of date,
//! else the one that was seen first: a flood of firsts pushes out firsts and nothing else. The key is a keyed hash, so
//! nobody outside can aim at a bucket. It is all that the memory knows of a datagram: two of 8,192 have the same with a
//! probability of 2^-39.
//!
//! Rules and backends are remembered by what they are called ([`RuleIdentity`], [`Backend::identity`]): a reload gives
//! them other numbers, and matters to no datagram whose rule and backend are still there.
//!
//! [`Backend::identity`]: crate::snapshot::Backend::identity

use std::fmt;

use crate::affinity::DatagramKey;
use crate::backend::BackendHandle;
use crate::forwarding_rule::RuleIdentity;
use crate::time::Tick;

/// Number of firsts that a worker remembers.
pub const CAPACITY: usize = BUCKETS * BUCKET;

/// Seconds for which later fragments follow their first.
//
// RFC 791, section 3.2, proposes 15 seconds for reassembly, RFC 8200, section 4.5, sets 60.
pub const FOLLOW_SECONDS: u32 = 30;

const BUCKETS: usize = 2_048;
const BUCKET: usize = 4;

/// Destination of a datagram's first fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct First {
    /// Rule that the first fragment belonged to.
    pub rule: RuleIdentity,
    /// Backend that the first fragment went to.
    pub backend: BackendHandle,
    /// Identity of the backend, whose handle may have another user by now.
    pub backend_identity: u64,
    /// Time of the first fragment.
    pub seen: Tick,
}

/// Memory of the first fragments that one worker has forwarded.
pub struct FirstFragments {
    /// Words of the slots: plain numbers, which alone are allocated as zeroed memory.
    slots: Box<[[u64; 4]]>,
}

impl FirstFragments {
    /// Memory without any first fragment.
    pub fn new() -> Self {
        Self { slots: vec![[0; 4]; CAPACITY].into() }
    }

    /// Remembers the first fragment of a datagram, instead of an earlier one of the same.
    pub fn remember(&mut self, key: DatagramKey, first: First) {
        let word = word(key);
        let bucket = self.bucket_mut(word);
        let own = bucket.iter().position(|slot| slot[0] == word);
        let index = own.unwrap_or_else(|| given_up(bucket, first.seen));
        bucket[index] = pack(word, &first);
    }

    /// First fragment that a later one of the same datagram follows at `now`.
    pub fn find(&self, key: DatagramKey, now: Tick) -> Option<First> {
        let word = word(key);
        let bucket: &[_; BUCKET] =
            self.slots[bucket_of(word)..].first_chunk().expect("the memory is made of whole buckets");
        let slot = bucket.iter().find(|slot| slot[0] == word)?;
        let first = unpack(slot);
        (now.0.saturating_sub(first.seen.0) <= FOLLOW_SECONDS).then_some(first)
    }

    fn bucket_mut(&mut self, word: u64) -> &mut [[u64; 4]; BUCKET] {
        let start = bucket_of(word);
        self.slots[start..].first_chunk_mut().expect("the memory is made of whole buckets")
    }
}

impl Default for FirstFragments {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for FirstFragments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstFragments").finish_non_exhaustive()
    }
}

/// Index of the slot that a new datagram takes: an empty one, else that of the oldest first.
#[inline(never)]
fn given_up(bucket: &[[u64; 4]; BUCKET], now: Tick) -> usize {
    let age = |slot: &[u64; 4]| now.0.saturating_sub(unpack(slot).seen.0);
    let rank = |slot: &[u64; 4]| if slot[0] == 0 { 0 } else { 1 + u64::from(u32::MAX - age(slot)) };
    (0..BUCKET).min_by_key(|&index| rank(&bucket[index])).expect("a bucket has slots")
}

/// Word that a slot knows a datagram by; zero is that of an empty slot.
fn word(key: DatagramKey) -> u64 {
    key.0.max(1)
}

/// Index of a bucket's first slot.
fn bucket_of(word: u64) -> usize {
    (word >> 32) as usize % BUCKETS * BUCKET
}

fn pack(word: u64, first: &First) -> [u64; 4] {
    let backend = u64::from(first.backend.0) << 32 | u64::from(first.seen.0);
    [word, first.rule.0, first.backend_identity, backend]
}

fn unpack(&[_, rule, backend_identity, backend]: &[u64; 4]) -> First {
    First {
        rule: RuleIdentity(rule),
        backend: BackendHandle((backend >> 32) as u32),
        backend_identity,
        seen: Tick(backend as u32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn first(number: u32, seen: u32) -> First {
        First {
            rule: RuleIdentity(u64::from(number) << 40 | 7),
            backend: BackendHandle(number),
            backend_identity: u64::MAX - u64::from(number),
            seen: Tick(seen),
        }
    }

    /// A key of bucket `bucket`.
    fn key(bucket: u64, number: u64) -> DatagramKey {
        DatagramKey(bucket << 32 | number)
    }

    #[test]
    fn a_first_is_followed_for_thirty_seconds() {
        let mut firsts = FirstFragments::new();
        firsts.remember(key(5, 1), first(1, 100));
        for (now, followed) in [(100, true), (130, true), (131, false)] {
            let expected = followed.then(|| first(1, 100));
            assert_eq!(firsts.find(key(5, 1), Tick(now)), expected, "at {now}");
        }
        assert_eq!(firsts.find(key(5, 2), Tick(100)), None, "another datagram");
    }

    #[test]
    fn a_key_of_zero_is_no_empty_slot() {
        let mut firsts = FirstFragments::new();
        assert_eq!(firsts.find(DatagramKey(0), Tick(0)), None);
        firsts.remember(DatagramKey(0), first(3, 0));
        assert_eq!(firsts.find(DatagramKey(0), Tick(0)), Some(first(3, 0)));
    }

    #[test]
    fn a_full_bucket_gives_up_its_oldest_first() {
        let mut firsts = FirstFragments::new();
        for number in 0..4 {
            firsts.remember(key(9, u64::from(number)), first(number, 10 + number));
        }
        firsts.remember(key(9, 2), first(20, 14));
        firsts.remember(key(9, 4), first(4, 14));
        let found: Vec<_> = (0..5).map(|number| firsts.find(key(9, number), Tick(15))).collect();
        let expected =
            [None, Some(first(1, 11)), Some(first(20, 14)), Some(first(3, 13)), Some(first(4, 14))];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_flood_leaves_the_memory_as_large_as_it_was_and_the_newest_in_it() {
        let mut firsts = FirstFragments::new();
        for number in 0..10 * CAPACITY as u64 {
            firsts.remember(DatagramKey(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)), first(number as u32, 0));
        }
        assert_eq!(firsts.slots.len(), CAPACITY);
        firsts.remember(key(1, 1), first(1, 0));
        assert_eq!(firsts.find(key(1, 1), Tick(0)), Some(first(1, 0)));
    }

    proptest! {
        /// As long as no bucket is full the memory is a map.
        #[test]
        fn a_memory_with_room_is_a_map(steps in prop::collection::vec((0..6u64, 0..4u64, any::<bool>()), 0..200)) {
            let (mut firsts, mut map) = (FirstFragments::new(), HashMap::new());
            for (now, (bucket, number, writes)) in (0..).zip(steps) {
                let (name, key) = ((bucket, number), key(bucket, number + 1));
                if writes {
                    firsts.remember(key, first(now, now));
                    map.insert(name, first(now, now));
                }
                let known = map.get(&name).copied().filter(|first| now - first.seen.0 <= FOLLOW_SECONDS);
                prop_assert_eq!(firsts.find(key, Tick(now)), known);
            }
        }
    }
}
