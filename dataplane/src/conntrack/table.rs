//! The table: finds a key's entry, and gives a new one its slot.

use core::fmt;
use core::hint::select_unpredictable;

use super::census::WorkerCensus;
use super::entry::{Entry, Stage};
use super::found::{Found, Glance};
use super::insertion::ATTEMPTS;
#[cfg(not(loom))]
use super::memory::Memory;
use super::neighbourhood::{Home, Neighbourhood};
use super::pair::{BUCKET, PAIR, Pair};
use super::slot::Slot;
use super::{Inserted, Standing, TrackingKey};
use crate::prefetch::prefetch;
use crate::time::Tick;

/// Connection-tracking table, shared by all workers.
///
/// See the [module](super) for its layout and why it is safe to share.
pub struct ConntrackTable {
    pairs: Pairs,
}

#[cfg(not(loom))]
type Pairs = Memory;
#[cfg(loom)]
type Pairs = Box<[Pair]>;

/// Error of a conntrack table whose memory could not be had: `max_entries` is more than the machine has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableTooLarge {
    /// Number of entries that were asked for.
    pub max_entries: usize,
}

impl fmt::Display for TableTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no memory for a conntrack table of {} entries (24 bytes each)", self.max_entries)
    }
}

impl core::error::Error for TableTooLarge {}

impl ConntrackTable {
    /// Table for `max_entries` connections, in 24 bytes each: three slots for every two entries.
    ///
    /// The memory is reserved here and zero; the operating system provides a page of it at its first use.
    ///
    /// # Errors
    /// [`TableTooLarge`] where the memory can't be had.
    pub fn with_capacity(max_entries: usize) -> Result<Self, TableTooLarge> {
        let too_large = TableTooLarge { max_entries };
        let pairs = max_entries.div_ceil(2).checked_mul(3).ok_or(too_large)?.div_ceil(PAIR).max(1);
        Ok(Self { pairs: empty_pairs(pairs).ok_or(too_large)? })
    }

    /// Asks the operating system for the memory of one share of the table, of so many, now, so that no packet has to wait for
    /// a page. The pages are those nearest to the calling thread; threads may populate shares beside each other.
    ///
    /// # Errors
    /// Where it can't: before Linux 5.14, or for want of memory. The table works, and gets its pages at their first use.
    #[cfg(not(loom))]
    pub fn populate(&self, share: usize, of: usize) -> std::io::Result<()> {
        self.pairs.populate(share, of)
    }

    /// Bytes of the pages that the table lies on: 1 GiB where a large table found reserved ones, else 2 MiB, which the
    /// kernel gives where it can.
    #[cfg(not(loom))]
    #[must_use]
    pub fn page_bytes(&self) -> usize {
        self.pairs.page_bytes()
    }

    /// Bytes that the table takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.pairs.len() * size_of::<Pair>()
    }

    /// Starts to bring `key`'s home bucket into the cache: enough for nearly all packets.
    #[inline(always)]
    pub fn prefetch(&self, key: TrackingKey) {
        prefetch(self.neighbourhood(key).slot(0));
    }

    /// Starts to bring both buckets of `key` into the cache, for a packet that opens a connection, where nobody looks at the
    /// home bucket before the insertion.
    #[inline]
    pub fn prefetch_pair(&self, key: TrackingKey) {
        let near = self.neighbourhood(key);
        prefetch(near.slot(0));
        prefetch(near.slot(BUCKET));
    }

    /// Starts to bring `key`'s other bucket into the cache, if the home bucket, which should have come, says that a lookup or
    /// an insertion may need it.
    ///
    /// For packets that may well have no entry.
    #[inline]
    pub fn prefetch_other(&self, key: TrackingKey) {
        let near = self.neighbourhood(key);
        // Without a branch: in a table that is neither empty nor full nobody can foresee which keys need it. Where the home
        // bucket has not come, the prefetch waits for it, and nothing else does.
        prefetch(near.slot(select_unpredictable(near.may_need_other(), BUCKET, 0)));
    }

    /// Entry of `key`, valid or not.
    ///
    /// A lookup never waits and writes nothing.
    #[must_use]
    #[inline]
    pub fn lookup(&self, key: TrackingKey) -> Option<Found<'_>> {
        let near = self.neighbourhood(key);
        near.settled_in(near.home).or_else(|| near.settled_away())
    }

    /// Home bucket of `key`, which it starts to bring into the cache for a [`glance`](Self::glance).
    #[inline(always)]
    pub(crate) fn approach(&self, key: TrackingKey) -> Home<'_> {
        let home = self.neighbourhood(key).home();
        home.prefetch();
        home
    }

    /// Glance at the entry of `key`, whose home bucket is known: what nearly every packet needs to know of it.
    #[inline(always)]
    pub(crate) fn glance(&self, key: TrackingKey, home: Home<'_>) -> Glance {
        let at_home = home.glance(key);
        if !at_home.is_nothing() { at_home } else { self.neighbourhood(key).glance_away() }
    }

    /// Gives `key` an entry, unless it has one that isn't void.
    ///
    /// For a packet that no valid entry was found for. `judge` says what an entry is worth now; of those in `key`'s
    /// two buckets a void one gives way first, then a half-open one, then one that is closed or unconfirmed; of each
    /// rank the one that has been idle for longest.
    pub fn insert(&self, key: TrackingKey, entry: Entry, judge: impl Fn(&Entry) -> Standing) -> Inserted {
        self.insert_counted(key, entry, judge, None)
    }

    /// Gives `key` an entry as [`insert`](Self::insert) does, and counts what comes and goes in a worker's census.
    pub fn insert_counted(
        &self,
        key: TrackingKey,
        entry: Entry,
        judge: impl Fn(&Entry) -> Standing,
        census: Option<&WorkerCensus>,
    ) -> Inserted {
        self.neighbourhood(key).insert(&entry, false, &judge, census)
    }

    /// Gives `key` a new entry instead of any that it has.
    ///
    /// For a TCP SYN that starts a new connection.
    pub fn restart(&self, key: TrackingKey, entry: Entry, judge: impl Fn(&Entry) -> Standing) -> Inserted {
        self.restart_counted(key, entry, judge, None)
    }

    /// Gives `key` a new entry as [`restart`](Self::restart) does, and counts what comes and goes in a worker's census.
    pub fn restart_counted(
        &self,
        key: TrackingKey,
        entry: Entry,
        judge: impl Fn(&Entry) -> Standing,
        census: Option<&WorkerCensus>,
    ) -> Inserted {
        self.neighbourhood(key).insert(&entry, true, &judge, census)
    }

    /// Notes that a packet which closes the connection of `key` came at `now`; `found` is the entry that it found.
    ///
    /// Unlike a refresh, it isn't lost where another worker notes a use at the same time: no later packet would make
    /// up for it.
    #[inline(never)]
    pub fn close<'t>(&'t self, key: TrackingKey, mut found: Found<'t>, now: Tick) {
        for _ in 0..ATTEMPTS {
            if found.note(now, Stage::Closed) {
                return;
            }
            let frozen = found.state.frozen();
            match self.lookup(key) {
                Some(again) if again.state.frozen() == frozen => found = again,
                _ => return,
            }
        }
    }

    /// Entries with their keys, in no order, each as it is when the iterator comes by.
    ///
    /// Reads the whole table: for the control thread.
    pub fn entries(&self) -> impl Iterator<Item = (TrackingKey, Entry)> {
        self.slots().filter_map(Slot::settled).map(|(key, state)| (key, state.entry()))
    }

    /// Number of entries, void ones that have not been swept included.
    ///
    /// Reads the whole table: for the control thread.
    #[must_use]
    pub fn occupancy(&self) -> usize {
        self.entries().count()
    }

    /// Number of slots: three for every two entries of the capacity, rounded up to whole pairs.
    #[must_use]
    pub fn slot_count(&self) -> usize {
        self.pairs.len() * PAIR
    }

    /// Number of buckets.
    #[must_use]
    pub fn bucket_count(&self) -> usize {
        self.pairs.len() * 2
    }

    /// Pair that the bucket with this number is in, counted over all pairs.
    pub(super) fn pair_of_bucket(&self, number: usize) -> &Pair {
        &self.pairs[number / 2]
    }

    fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.pairs.iter().flat_map(|pair| &pair.0)
    }

    #[inline(always)]
    fn neighbourhood(&self, key: TrackingKey) -> Neighbourhood<'_> {
        // The key's upper bits scaled to the number of pairs, which so need not be a power of two: memory is what was
        // asked for, not up to twice that. The lowest bit picks the home bucket.
        let pairs: &[Pair] = &self.pairs;
        let index = ((u128::from(key.0) * pairs.len() as u128) >> 64) as usize;
        Neighbourhood { key, pair: &pairs[index], home: (key.0 as usize & 1) * BUCKET }
    }
}

impl fmt::Debug for ConntrackTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConntrackTable").field("slot_count", &self.slot_count()).finish_non_exhaustive()
    }
}

#[cfg(not(loom))]
fn empty_pairs(count: usize) -> Option<Pairs> {
    Memory::new(count).ok()
}

#[cfg(loom)]
fn empty_pairs(count: usize) -> Option<Pairs> {
    Some((0..count).map(|_| Pair(core::array::from_fn(|_| Slot::empty()))).collect())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::entry::{State, ValidState};
    use super::super::{Census, SweepCursor};
    use super::*;
    use crate::backend::{BackendHandle, Generation};

    fn entry(backend: u32) -> Entry {
        Entry {
            backend: BackendHandle(backend),
            generation: Generation(0),
            persists: false,
            stage: Stage::Established,
            seen: Tick(5),
        }
    }

    fn glance(table: &ConntrackTable, key: TrackingKey) -> Glance {
        table.glance(key, table.approach(key))
    }

    /// The fourth holder of a slot has the turn of an empty one: with backend 0 its word is zero once it is gone, and
    /// the slot must not pass for one that bears its name.
    #[test]
    fn a_glance_sees_an_entry_beside_a_slot_that_its_key_has_had_before() {
        let table = ConntrackTable::with_capacity(4).expect("a few bytes");
        let sweep = |backend: u32| {
            let judge = |entry: &Entry| {
                if entry.backend.0 == backend { Standing::Void } else { Standing::Live }
            };
            table.sweep(&mut SweepCursor::default(), table.bucket_count(), judge);
        };
        // Even, so that all have one home bucket.
        let key = TrackingKey(2);
        let live = |_: &Entry| Standing::Live;
        assert_eq!(table.insert(TrackingKey(4), entry(2), live), Inserted::New);
        for n in 0..3 {
            assert_eq!(table.insert(TrackingKey(10 + 2 * n), entry(1), live), Inserted::New);
            sweep(1);
        }
        assert_eq!(table.insert(key, entry(0), live), Inserted::New);
        sweep(0);
        assert!(glance(&table, key).is_nothing());
        sweep(2);
        assert_eq!(table.insert(key, entry(0), live), Inserted::New);
        let valid = ValidState::new(BackendHandle(0), Generation(0), Generation(0));
        assert!(!glance(&table, key).is_nothing() && glance(&table, key).is_in_use(&valid, Tick(5)));
        assert_eq!(table.lookup(key).map(|found| found.entry()), Some(entry(0)));
    }

    fn live(_: &Entry) -> Standing {
        Standing::Live
    }

    /// Judges the entries of a backend void, and no others.
    fn void(backend: u32) -> impl Fn(&Entry) -> Standing {
        move |entry| if entry.backend.0 == backend { Standing::Void } else { Standing::Live }
    }

    /// A pair whose even bucket is full of entries of backend 1, the last one half-open, and has overflowed by one of
    /// backend 2.
    fn overflowed() -> ConntrackTable {
        let table = ConntrackTable::with_capacity(4).expect("a few bytes");
        for key in [0, 2, 4, 6] {
            let stage = if key == 6 { Stage::HalfOpen } else { Stage::Established };
            assert_eq!(table.insert(TrackingKey(key), Entry { stage, ..entry(1) }, live), Inserted::New);
        }
        assert!(!table.neighbourhood(TrackingKey(0)).overflows());
        assert_eq!(table.insert(TrackingKey(8), entry(2), live), Inserted::New);
        assert!(table.neighbourhood(TrackingKey(0)).overflows());
        assert!(!table.neighbourhood(TrackingKey(1)).overflows(), "the other bucket has room");
        table
    }

    fn sweep(table: &ConntrackTable, judge: impl Fn(&Entry) -> Standing) {
        table.sweep(&mut SweepCursor::default(), table.bucket_count(), judge);
    }

    #[test]
    fn a_bucket_overflows_until_no_entry_of_its_keys_is_in_the_other() {
        let table = overflowed();
        sweep(&table, void(1));
        assert_eq!(table.lookup(TrackingKey(8)).map(|found| found.entry()), Some(entry(2)));
        assert!(!glance(&table, TrackingKey(8)).is_nothing());
        assert!(table.neighbourhood(TrackingKey(0)).overflows());
        sweep(&table, void(2));
        assert!(!table.neighbourhood(TrackingKey(0)).overflows());
    }

    #[test]
    fn a_slot_that_changes_hands_keeps_its_overflow_bit_only_while_that_is_needed() {
        let evict_half_open = |entry: &Entry| entry.stage.standing();
        // The other bucket is filled with its own keys, so that the half-open entry gives way.
        let fill = |table: &ConntrackTable, keys: &[u64]| {
            for key in keys {
                assert_eq!(table.insert(TrackingKey(*key), entry(1), live), Inserted::New);
            }
        };
        let table = overflowed();
        fill(&table, &[1, 3, 5]);
        assert_eq!(table.insert(TrackingKey(10), entry(3), evict_half_open), Inserted::EvictedHalfOpen);
        assert!(table.neighbourhood(TrackingKey(0)).overflows());
        assert_eq!(table.lookup(TrackingKey(8)).map(|found| found.entry()), Some(entry(2)));

        let table = overflowed();
        sweep(&table, void(2));
        assert!(table.neighbourhood(TrackingKey(0)).overflows(), "no slot that has the bit is empty");
        fill(&table, &[1, 3, 5, 7]);
        assert_eq!(table.insert(TrackingKey(10), entry(3), evict_half_open), Inserted::EvictedHalfOpen);
        assert!(!table.neighbourhood(TrackingKey(0)).overflows());
    }

    #[test]
    fn an_entry_that_no_slot_can_speak_for_is_withdrawn() {
        let table = ConntrackTable::with_capacity(4).expect("a few bytes");
        let near = table.neighbourhood(TrackingKey(8));
        for n in 0..BUCKET {
            let key = TrackingKey(2 * n as u64);
            near.slot(n).occupy(State(0), key, &entry(1), || true).expect("it was empty");
        }
        let census = Census::new(1, 3);
        assert_eq!(
            table.insert_counted(TrackingKey(8), entry(2), live, census.worker(0)),
            Inserted::Full,
            "all are tentative, for ever"
        );
        assert_eq!(census.entries(BackendHandle(2), Generation(0), Generation(0)), 0);
        assert!((BUCKET..PAIR).all(|n| near.slot(n).state().is_empty()));
    }

    #[test]
    fn a_void_entry_in_the_home_bucket_gives_way_before_the_other_bucket_is_used() {
        let table = ConntrackTable::with_capacity(4).expect("a few bytes");
        for (key, backend) in [(0, 1), (2, 1), (4, 2), (6, 1)] {
            assert_eq!(table.insert(TrackingKey(key), entry(backend), live), Inserted::New);
        }
        assert_eq!(table.insert(TrackingKey(8), entry(3), void(2)), Inserted::EvictedVoid);
        assert!(!table.neighbourhood(TrackingKey(0)).overflows());
    }

    #[test]
    fn the_other_bucket_may_be_needed_once_the_home_bucket_is_full_or_has_been() {
        let table = ConntrackTable::with_capacity(4).expect("a few bytes");
        let needed = |table: &ConntrackTable| table.neighbourhood(TrackingKey(0)).may_need_other();
        for key in [0, 2, 4, 6] {
            assert!(!needed(&table));
            assert_eq!(table.insert(TrackingKey(key), entry(1), live), Inserted::New);
        }
        assert!(needed(&table));
        assert_eq!(table.insert(TrackingKey(8), entry(2), live), Inserted::New);
        sweep(&table, void(1));
        assert!(needed(&table));
        table.prefetch_other(TrackingKey(0));
    }

    /// Connections come and go for long, without a sweep, so that hardly a slot is ever empty.
    #[test]
    fn overflow_bits_go_with_what_set_them() {
        const LIFETIME: u32 = 64;
        let share = |valid_at_once: u32| {
            let table = ConntrackTable::with_capacity(4096).expect("some kilobytes");
            let mut key = 1u64;
            for now in 0..40 * LIFETIME {
                let judge = |entry: &Entry| {
                    if entry.idle(Tick(now)) > LIFETIME { Standing::Void } else { Standing::Live }
                };
                for _ in 0..valid_at_once / LIFETIME {
                    // SplitMix64.
                    key = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
                    let z = (key ^ (key >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                    table.insert(TrackingKey(z ^ (z >> 31)), Entry { seen: Tick(now), ..entry(1) }, judge);
                }
            }
            let buckets = (0..table.bucket_count()).filter(|number| {
                let bucket = table.pair_of_bucket(*number).bucket(number % 2 * BUCKET);
                bucket.iter().any(|slot| slot.state().overflows())
            });
            buckets.count() as f64 / table.bucket_count() as f64
        };
        // A quarter and a third of all slots.
        let (sparse, advised) = (share(1536), share(2048));
        assert!(sparse < 0.12 && advised < 0.25, "{sparse} and {advised} of the buckets have the bit");
    }
}
