//! Meter of sources: connections that each source prefix has begun in the present second, on one worker.
//!
//! The meter is of a fixed size and made once; it is zeroed memory of the system, so that its pages cost nothing before a limit
//! is on and sources are counted.
//!
//! ```text
//! bucket:  slot │ slot │ slot │ slot          four slots of 16 bytes
//! slot:    key 8 │ second 4 │ count 4
//! ```
//!
//! The key is a keyed hash of network and prefix, whose bits choose the bucket, so that nobody outside can aim at one. A source
//! that is new in its bucket takes a slot that is empty or of an earlier second, else the one with the fewest connections. So
//! the meter errs to one side: a source that is pushed out begins anew at none, and may exceed its limit. No source is counted
//! for another, but for two of one 64-bit key: of 10,000 sources in a second some two share one with a probability of 2^-38. A
//! flood of more sources than the meter has slots pushes out those that have begun few, and leaves in place the three of
//! each bucket that have begun most.

use std::fmt;

use crate::time::Tick;

/// Number of sources that a worker counts in one second.
pub const CAPACITY: usize = BUCKETS * BUCKET;

const BUCKETS: usize = 16_384;
const BUCKET: usize = 4;

/// Keyed hash of a network and a source prefix: all that the meter knows of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceKey(pub u64);

/// Connections that sources have begun in the present second.
pub struct SourceMeter {
    /// Words of the slots: plain numbers, which alone are allocated as zeroed memory.
    slots: Box<[[u64; 2]]>,
}

impl SourceMeter {
    /// Meter of which no source is known.
    pub fn new() -> Self {
        Self { slots: vec![[0; 2]; CAPACITY].into() }
    }

    /// Number of connections that a source has begun in the second `now`.
    pub fn begun(&self, key: SourceKey, now: Tick) -> u32 {
        let word = word(key);
        let start = bucket_of(word);
        let slot = self.slots[start..start + BUCKET].iter().find(|slot| slot[0] == word);
        slot.map_or(0, |slot| count_at(slot, now))
    }

    /// Counts a connection that a source begins in the second `now`.
    pub fn count(&mut self, key: SourceKey, now: Tick) {
        let word = word(key);
        let bucket = self.bucket_mut(word);
        let own = bucket.iter().position(|slot| slot[0] == word);
        let index = own.unwrap_or_else(|| given_up(bucket, now));
        let before = if own.is_some() { count_at(&bucket[index], now) } else { 0 };
        bucket[index] = [word, u64::from(now.0) << 32 | u64::from(before.saturating_add(1))];
    }

    fn bucket_mut(&mut self, word: u64) -> &mut [[u64; 2]] {
        let start = bucket_of(word);
        &mut self.slots[start..start + BUCKET]
    }
}

impl Default for SourceMeter {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SourceMeter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceMeter").finish_non_exhaustive()
    }
}

/// Index of the slot that a new source takes: one of no source or of an earlier second, else that of the fewest connections.
fn given_up(bucket: &[[u64; 2]], now: Tick) -> usize {
    (0..BUCKET).min_by_key(|&index| count_at(&bucket[index], now)).expect("a bucket has slots")
}

/// Connections of a slot's source in the second `now`.
fn count_at(slot: &[u64; 2], now: Tick) -> u32 {
    if slot[1] >> 32 == u64::from(now.0) { slot[1] as u32 } else { 0 }
}

/// Word that a slot knows a source by; zero is that of an empty slot.
fn word(key: SourceKey) -> u64 {
    key.0.max(1)
}

/// Index of a bucket's first slot.
fn bucket_of(word: u64) -> usize {
    (word >> 32) as usize % BUCKETS * BUCKET
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    /// A key of bucket `bucket`.
    fn key(bucket: u64, number: u64) -> SourceKey {
        SourceKey(bucket << 32 | number)
    }

    fn counted(meter: &mut SourceMeter, key: SourceKey, times: u32, now: u32) {
        for _ in 0..times {
            meter.count(key, Tick(now));
        }
    }

    #[test]
    fn a_count_is_that_of_its_second() {
        let mut meter = SourceMeter::new();
        // The first second of the clock, too, and the key that empty slots have.
        for (key, now) in [(SourceKey(0), 0), (key(5, 1), 0), (key(5, 1), 1), (key(5, 1), 70_000)] {
            assert_eq!(meter.begun(key, Tick(now)), 0, "{key:?} at {now}");
            counted(&mut meter, key, 3, now);
            assert_eq!(meter.begun(key, Tick(now)), 3, "{key:?} at {now}");
            assert_eq!(meter.begun(key, Tick(now + 1)), 0);
        }
    }

    #[test]
    fn a_full_bucket_gives_up_an_older_second_and_then_the_fewest_connections() {
        let mut meter = SourceMeter::new();
        for (number, times, now) in [(1, 9, 10), (2, 5, 11), (3, 2, 11), (4, 7, 11)] {
            counted(&mut meter, key(9, number), times, now);
        }
        let begun =
            |meter: &SourceMeter| [1, 2, 3, 4, 5, 6].map(|number| meter.begun(key(9, number), Tick(11)));
        counted(&mut meter, key(9, 5), 4, 11);
        assert_eq!(begun(&meter), [0, 5, 2, 7, 4, 0], "that of the second before has made room");
        counted(&mut meter, key(9, 6), 1, 11);
        assert_eq!(begun(&meter), [0, 5, 0, 7, 4, 1], "the third had the fewest");
    }

    #[test]
    fn a_flood_of_sources_pushes_out_none_that_has_begun_more() {
        let mut meter = SourceMeter::new();
        let heavy: Vec<_> = (0..3).map(|number| key(1, number << 20)).collect();
        heavy.iter().for_each(|key| counted(&mut meter, *key, 2, 3));
        for number in 0..10 * CAPACITY as u64 {
            meter.count(SourceKey(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)), Tick(3));
        }
        assert!(heavy.iter().all(|key| meter.begun(*key, Tick(3)) == 2));
        assert_eq!(meter.slots.len(), CAPACITY);
    }

    proptest! {
        /// As long as no bucket is full the meter is a map.
        #[test]
        fn a_meter_with_room_is_a_map(
            steps in prop::collection::vec((0..6u64, 0..4u64, prop::bool::weighted(0.75), 0..20u32), 0..300),
        ) {
            let (mut meter, mut map) = (SourceMeter::new(), HashMap::<_, u32>::new());
            let mut now = 0;
            for (bucket, number, counts, seconds) in steps {
                // Most steps are within one second.
                now += seconds.saturating_sub(17);
                let (name, key) = ((bucket, number, now), key(bucket, number + 1));
                if counts {
                    meter.count(key, Tick(now));
                    *map.entry(name).or_default() += 1;
                }
                prop_assert_eq!(meter.begun(key, Tick(now)), map.get(&name).copied().unwrap_or(0));
            }
        }

        /// However full its buckets are, the meter counts no source for another.
        #[test]
        fn a_meter_without_room_counts_too_few_and_never_too_many(
            steps in prop::collection::vec((0..2u64, 0..9u64), 0..300),
        ) {
            let (mut meter, mut map) = (SourceMeter::new(), HashMap::<_, u32>::new());
            for (bucket, number) in steps {
                meter.count(key(bucket, number + 1), Tick(1));
                *map.entry((bucket, number)).or_default() += 1;
            }
            for ((bucket, number), count) in map {
                prop_assert!(meter.begun(key(bucket, number + 1), Tick(1)) <= count);
            }
        }
    }
}
