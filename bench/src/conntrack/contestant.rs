//! Tables that are compared, each used as its documentation recommends for a packet path.

use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};

use ahash::RandomState;
use clap::ValueEnum;
use guideway_dataplane::affinity::{KeyParts, ServiceKey, TrackingHasher, Tuple};
use guideway_dataplane::backend::Generation;
use guideway_dataplane::conntrack::{ConntrackTable, Entry, Inserted, Stage, Standing, TrackingKey};
use guideway_dataplane::pipeline::BURST;
use guideway_dataplane::time::Tick;
use serde::Serialize;

use super::traffic::{Key, TCP};
use crate::memory::{Line, PageKind, Pages};

/// Kind of table, or of a bound for tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// Guideway's table, sized for twice the entries, as its documentation asks.
    Guideway,
    /// Guideway's table, sized for just the entries.
    GuidewayFull,
    #[value(name = "dashmap")]
    #[serde(rename = "dashmap")]
    DashMap,
    Papaya,
    SccHashMap,
    SccHashIndex,
    /// DPDK's table, by bulk lookup, sized for twice the entries.
    #[cfg(feature = "dpdk")]
    RteHash,
    /// Reads of one random cache line each, in as many bytes as Guideway's table has.
    FloorSmallPages,
    FloorHugePages,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Guideway => "Guideway",
            Self::GuidewayFull => "Guideway, full",
            Self::DashMap => "dashmap",
            Self::Papaya => "papaya",
            Self::SccHashMap => "scc HashMap",
            Self::SccHashIndex => "scc HashIndex",
            #[cfg(feature = "dpdk")]
            Self::RteHash => "DPDK rte_hash",
            Self::FloorSmallPages => "one line, 4 KiB pages",
            Self::FloorHugePages => "one line, 2 MiB pages",
        }
    }

    /// True for a table, false for a bound, which remembers nothing.
    pub(super) fn is_table(self) -> bool {
        !matches!(self, Self::FloorSmallPages | Self::FloorHugePages)
    }
}

/// Results of some lookups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LookupResults {
    pub(super) hits: usize,
    /// Sum of the backends' handles, which shows that each hit was the right one.
    pub(super) backends: u64,
}

impl LookupResults {
    /// Makes the results of looking up `keys` if all of them are in the table.
    pub(super) fn of_hits(keys: &[Key]) -> Self {
        let mut results = Self::default();
        keys.iter().for_each(|key| results.count(key.backend().0));
        results
    }

    #[inline]
    pub(super) fn count(&mut self, backend: u32) {
        self.hits += 1;
        self.backends += u64::from(backend);
    }
}

impl AddAssign for LookupResults {
    fn add_assign(&mut self, other: Self) {
        self.hits += other.hits;
        self.backends += other.backends;
    }
}

/// Table under measurement. One thread fills it; then any number look up.
pub(super) trait Table: Sync {
    /// Inserts a key; false if there was no room.
    fn insert(&mut self, key: Key) -> bool;

    /// Looks up all keys, in bursts of [`BURST`] where that helps, and notes each hit's use.
    fn look_up(&self, keys: &[Key]) -> LookupResults;
}

/// Time of all uses: entries are as recent as in the second of their last packet, so no lookup writes.
const NOW: Tick = Tick(1000);

/// Keys of aHash, with which every table hashes.
const HASH_KEYS: [u64; 4] = [0x2545_f491, 0x4f6c_dd1d, 0x1405_7b7e, 0xf767_814f];

pub(super) fn hasher() -> RandomState {
    let [first, second, third, fourth] = HASH_KEYS;
    RandomState::with_seeds(first, second, third, fourth)
}

pub(super) struct Guideway {
    hasher: TrackingHasher,
    parts: KeyParts,
    table: ConntrackTable,
}

impl Guideway {
    pub(super) fn new(capacity: usize) -> Self {
        let table = ConntrackTable::with_capacity(capacity).unwrap_or_else(|error| panic!("{error}"));
        let parts = KeyParts::new(ServiceKey(1), Tuple::Five, TCP);
        Self { hasher: TrackingHasher::new(HASH_KEYS), parts, table }
    }

    /// Makes a tracking key as the pipeline does for a plain packet.
    #[inline]
    fn tracking_key(&self, key: Key) -> TrackingKey {
        let (src, dst, ports) = key.header_words();
        self.hasher.ipv4_key(&self.parts, src, dst, ports)
    }
}

impl Table for Guideway {
    fn insert(&mut self, key: Key) -> bool {
        let generation = Generation(0);
        let stage = Stage::Established;
        let entry = Entry { backend: key.backend(), generation, persists: true, stage, seen: NOW };
        let inserted = self.table.insert(self.tracking_key(key), entry, |_| Standing::Live);
        assert!(matches!(inserted, Inserted::New | Inserted::Full), "{inserted:?}: nobody else inserts");
        inserted == Inserted::New
    }

    fn look_up(&self, keys: &[Key]) -> LookupResults {
        let mut results = LookupResults::default();
        for burst in keys.chunks(BURST) {
            let mut tracked = [TrackingKey(0); BURST];
            for (tracked, key) in tracked.iter_mut().zip(burst) {
                *tracked = self.tracking_key(*key);
                self.table.prefetch(*tracked);
            }
            for &key in &tracked[..burst.len()] {
                if let Some(found) = self.table.lookup(key) {
                    results.count(found.entry().backend.0);
                    found.refresh(NOW, false);
                }
            }
        }
        results
    }
}

/// Entry of a map: in 8 bytes, like an entry of Guideway's table, backend and last use.
struct Remembered(AtomicU64);

impl Remembered {
    const SEEN_BITS: u32 = 32;

    fn new(key: Key) -> Self {
        Self(AtomicU64::new(u64::from(key.backend().0) << Self::SEEN_BITS | u64::from(NOW.0)))
    }

    /// Returns the backend and notes the use; writes only if the clock has moved on, as Guideway's table does.
    #[inline]
    fn backend_used(&self, now: Tick) -> u32 {
        // Relaxed, both: the word is all that there is.
        let state = self.0.load(Ordering::Relaxed);
        if state as u32 != now.0 {
            let used = state >> Self::SEEN_BITS << Self::SEEN_BITS | u64::from(now.0);
            let _ = self.0.compare_exchange(state, used, Ordering::Relaxed, Ordering::Relaxed);
        }
        (state >> Self::SEEN_BITS) as u32
    }
}

pub(super) struct DashMap(dashmap::DashMap<Key, Remembered, RandomState>);

impl DashMap {
    pub(super) fn new(capacity: usize) -> Self {
        Self(dashmap::DashMap::with_capacity_and_hasher(capacity, hasher()))
    }
}

impl Table for DashMap {
    fn insert(&mut self, key: Key) -> bool {
        self.0.insert(key, Remembered::new(key)).is_none()
    }

    fn look_up(&self, keys: &[Key]) -> LookupResults {
        let mut results = LookupResults::default();
        for key in keys {
            if let Some(remembered) = self.0.get(key) {
                results.count(remembered.backend_used(NOW));
            }
        }
        results
    }
}

pub(super) struct Papaya(papaya::HashMap<Key, Remembered, RandomState>);

impl Papaya {
    pub(super) fn new(capacity: usize) -> Self {
        Self(papaya::HashMap::with_capacity_and_hasher(capacity, hasher()))
    }
}

impl Table for Papaya {
    fn insert(&mut self, key: Key) -> bool {
        self.0.pin().insert(key, Remembered::new(key)).is_none()
    }

    fn look_up(&self, keys: &[Key]) -> LookupResults {
        let mut results = LookupResults::default();
        for burst in keys.chunks(BURST) {
            // Once a burst, so that what others remove is freed in time.
            let map = self.0.pin();
            for key in burst {
                if let Some(remembered) = map.get(key) {
                    results.count(remembered.backend_used(NOW));
                }
            }
        }
        results
    }
}

pub(super) struct SccHashMap(scc::HashMap<Key, Remembered, RandomState>);

impl SccHashMap {
    pub(super) fn new(capacity: usize) -> Self {
        Self(scc::HashMap::with_capacity_and_hasher(capacity, hasher()))
    }
}

impl Table for SccHashMap {
    fn insert(&mut self, key: Key) -> bool {
        self.0.insert_sync(key, Remembered::new(key)).is_ok()
    }

    fn look_up(&self, keys: &[Key]) -> LookupResults {
        let mut results = LookupResults::default();
        for key in keys {
            if let Some(backend) = self.0.read_sync(key, |_, remembered| remembered.backend_used(NOW)) {
                results.count(backend);
            }
        }
        results
    }
}

/// Map of scc that is made for reading.
pub(super) struct SccHashIndex(scc::HashIndex<Key, Remembered, RandomState>);

impl SccHashIndex {
    pub(super) fn new(capacity: usize) -> Self {
        Self(scc::HashIndex::with_capacity_and_hasher(capacity, hasher()))
    }
}

impl Table for SccHashIndex {
    fn insert(&mut self, key: Key) -> bool {
        self.0.insert_sync(key, Remembered::new(key)).is_ok()
    }

    fn look_up(&self, keys: &[Key]) -> LookupResults {
        let mut results = LookupResults::default();
        for burst in keys.chunks(BURST) {
            // Once a burst, as in papaya's.
            let guard = scc::Guard::new();
            for key in burst {
                if let Some(remembered) = self.0.peek(key, &guard) {
                    results.count(remembered.backend_used(NOW));
                }
            }
        }
        results
    }
}

/// Cost of memory alone: for each key one line of its own, at random, a burst at a time.
pub(super) struct Floor(Pages);

impl Floor {
    /// Makes a floor of as many bytes as Guideway's table has for this capacity.
    pub(super) fn new(capacity: usize, pages: PageKind) -> Self {
        let pages = Pages::new(capacity * 24, pages)
            .unwrap_or_else(|error| panic!("no memory for the floor: {error}"));
        Self(pages)
    }
}

impl Table for Floor {
    fn insert(&mut self, _: Key) -> bool {
        true
    }

    fn look_up(&self, keys: &[Key]) -> LookupResults {
        let lines = self.0.lines();
        let mut results = LookupResults::default();
        for burst in keys.chunks(BURST) {
            // No read depends on another one, and a burst of such small steps fits the processor's window: it has all
            // of them under way at once, as prefetching would.
            let read = |key: &Key| -> u64 {
                let Line(words) = &lines[key.any_of(lines.len())];
                words[0]
            };
            results.backends += burst.iter().map(read).sum::<u64>();
            results.hits += burst.len();
        }
        results
    }
}
