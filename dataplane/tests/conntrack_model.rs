//! One worker's conntrack table against a map: what it must find, and what may give way.
#![cfg(not(loom))]

use std::collections::HashMap;

use guideway_dataplane::backend::{BackendHandle, Generation};
use guideway_dataplane::conntrack::{
    ConntrackTable, Entry, Inserted, Stage, Standing, SweepCursor, TrackingKey,
};
use guideway_dataplane::time::Tick;
use proptest::prelude::*;

const IDLE_TIMEOUT: u32 = 600;

/// The slots of a table of one pair of buckets.
const SLOTS: usize = 8;

#[derive(Clone, Debug)]
enum Step {
    Insert { key: u64, entry: Entry },
    Restart { key: u64, entry: Entry },
    Use { key: u64, opens: bool },
    Close { key: u64 },
    Wait { seconds: u32 },
    VoidBackend { backend: usize },
    Sweep { buckets: usize },
}

fn entry() -> impl Strategy<Value = Entry> {
    (0..4u32, any::<bool>(), 0..4usize).prop_map(|(backend, persists, stage)| Entry {
        backend: BackendHandle(backend),
        generation: Generation(0),
        persists,
        stage: Stage::ALL[stage],
        seen: Tick(0),
    })
}

fn steps(keys: u64) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..keys, entry()).prop_map(|(key, entry)| Step::Insert { key, entry }),
        2 => (0..keys, entry()).prop_map(|(key, entry)| Step::Restart { key, entry }),
        4 => (0..keys, any::<bool>()).prop_map(|(key, opens)| Step::Use { key, opens }),
        2 => (0..keys).prop_map(|key| Step::Close { key }),
        2 => (1..400u32).prop_map(|seconds| Step::Wait { seconds }),
        1 => (0..4usize).prop_map(|backend| Step::VoidBackend { backend }),
        1 => (1..4usize).prop_map(|buckets| Step::Sweep { buckets }),
    ];
    prop::collection::vec(step, 1..200)
}

/// A table of one pair, the map that it must agree with, and the world that makes entries void.
struct Trial {
    table: ConntrackTable,
    expected: HashMap<u64, Entry>,
    generations: [Generation; 4],
    now: Tick,
    cursor: SweepCursor,
    keys: u64,
}

impl Trial {
    fn new(keys: u64, start: u32) -> Self {
        let table = ConntrackTable::with_capacity(4).expect("128 bytes");
        assert_eq!(table.slot_count(), SLOTS);
        Self {
            table,
            expected: HashMap::new(),
            generations: [Generation(0); 4],
            now: Tick(start),
            cursor: SweepCursor::default(),
            keys,
        }
    }

    /// The standing of an entry of the map, by a clock that doesn't wrap.
    fn standing(&self, entry: &Entry) -> Standing {
        let expired = self.now.0 - entry.seen.0 > IDLE_TIMEOUT;
        if expired || entry.generation != self.generations[entry.backend.0 as usize] {
            Standing::Void
        } else {
            worth(entry.stage)
        }
    }

    /// The standing of an entry of the table.
    fn judge(&self) -> impl Fn(&Entry) -> Standing + use<> {
        let (now, generations) = (self.now, self.generations);
        move |entry| {
            if entry.idle(now) > IDLE_TIMEOUT || entry.generation != generations[entry.backend.0 as usize] {
                Standing::Void
            } else {
                worth(entry.stage)
            }
        }
    }

    fn fresh(&self, entry: Entry) -> Entry {
        Entry { generation: self.generations[entry.backend.0 as usize], seen: self.now, ..entry }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Insert { key, entry } => {
                let entry = self.fresh(entry);
                let outcome = self.table.insert(TrackingKey(key), entry, self.judge());
                match self.expected.get(&key).copied() {
                    Some(own) if self.standing(&own) != Standing::Void => {
                        assert_eq!(outcome, Inserted::Lost(stored(own)));
                    }
                    own => self.check_insertion(key, entry, own, outcome),
                }
            }
            Step::Restart { key, entry } => {
                let entry = self.fresh(entry);
                let outcome = self.table.restart(TrackingKey(key), entry, self.judge());
                self.check_insertion(key, entry, self.expected.get(&key).copied(), outcome);
            }
            Step::Use { key, opens } => {
                let found = self.table.lookup(TrackingKey(key));
                if let Some(found) = found {
                    found.refresh(self.now, opens);
                    let expected = self.expected.get_mut(&key).expect("it was inserted");
                    // A packet is confirmed by one of a later second; a SYN by none but another kind of packet.
                    let is_later = self.now > expected.seen;
                    expected.seen = self.now;
                    expected.stage = match expected.stage {
                        Stage::HalfOpen if opens => Stage::HalfOpen,
                        Stage::HalfOpen | Stage::Unconfirmed if is_later => Stage::Established,
                        Stage::HalfOpen | Stage::Unconfirmed => Stage::Unconfirmed,
                        other => other,
                    };
                }
            }
            Step::Close { key } => {
                if let Some(found) = self.table.lookup(TrackingKey(key)) {
                    self.table.close(TrackingKey(key), found, self.now);
                    let expected = self.expected.get_mut(&key).expect("it was inserted");
                    (expected.seen, expected.stage) = (self.now, Stage::Closed);
                }
            }
            Step::Wait { seconds } => self.now.0 += seconds,
            Step::VoidBackend { backend } => self.generations[backend] = self.generations[backend].next(),
            Step::Sweep { buckets } => {
                let judge = self.judge();
                let emptied = self.table.sweep(&mut self.cursor, buckets, judge);
                let gone = self.forget_what_is_gone();
                assert_eq!(gone.len(), emptied);
                assert!(gone.iter().all(|entry| self.standing(entry) == Standing::Void));
                if buckets >= self.table.bucket_count() {
                    assert!(self.expected.values().all(|entry| self.standing(entry) != Standing::Void));
                }
            }
        }
        self.compare();
    }

    fn check_insertion(&mut self, key: u64, entry: Entry, own: Option<Entry>, outcome: Inserted) {
        let room = self.expected.len() < SLOTS;
        let others = |standing| {
            self.expected
                .values()
                .filter(|entry| self.standing(entry) == standing)
                .copied()
                .collect::<Vec<_>>()
        };
        let (void, half_open) = (others(Standing::Void), others(Standing::HalfOpen));
        let worth_little = [others(Standing::Closed), others(Standing::Unconfirmed)].concat();
        if outcome != Inserted::Full {
            self.expected.insert(key, entry);
        }
        let gone = self.forget_what_is_gone();
        let check_eviction = |standing, better: &[&[Entry]], equals: &[Entry]| {
            // A void entry in the home bucket gives way before an empty slot elsewhere is looked for.
            assert!(own.is_none() && (!room || standing == Standing::Void));
            assert!(better.iter().all(|entries| entries.is_empty()));
            assert!(gone.len() == 1 && self.standing(&gone[0]) == standing);
            assert!(equals.iter().all(|entry| entry.seen >= gone[0].seen), "an older one was there");
        };
        match outcome {
            Inserted::Replaced => assert!(own.is_some() && gone.is_empty()),
            Inserted::New => assert!(own.is_none() && room && gone.is_empty()),
            Inserted::EvictedVoid => check_eviction(Standing::Void, &[], &[]),
            Inserted::EvictedHalfOpen => check_eviction(Standing::HalfOpen, &[&void], &half_open),
            Inserted::EvictedClosed => check_eviction(Standing::Closed, &[&void, &half_open], &worth_little),
            Inserted::EvictedUnconfirmed => {
                check_eviction(Standing::Unconfirmed, &[&void, &half_open], &worth_little);
            }
            Inserted::Full => {
                assert!(own.is_none() && !room && gone.is_empty());
                assert!([void, half_open, worth_little].concat().is_empty());
            }
            Inserted::Lost(winner) => panic!("lost to {winner:?} with no other worker"),
        }
    }

    /// Takes out of the map what the table no longer finds.
    fn forget_what_is_gone(&mut self) -> Vec<Entry> {
        let table = &self.table;
        self.expected
            .extract_if(|&key, _| table.lookup(TrackingKey(key)).is_none())
            .map(|(_, entry)| entry)
            .collect()
    }

    fn compare(&self) {
        for key in 0..self.keys {
            let found = self.table.lookup(TrackingKey(key)).map(|found| found.entry());
            assert_eq!(found, self.expected.get(&key).copied().map(stored), "key {key}");
        }
        assert_eq!(self.table.occupancy(), self.expected.len());
    }
}

/// Standing of a valid entry.
fn worth(stage: Stage) -> Standing {
    match stage {
        Stage::Established => Standing::Live,
        Stage::Closed => Standing::Closed,
        Stage::HalfOpen => Standing::HalfOpen,
        Stage::Unconfirmed => Standing::Unconfirmed,
    }
}

/// An entry as it comes out of the table.
fn stored(entry: Entry) -> Entry {
    Entry { seen: Tick(entry.seen.0 % (1 << Entry::SEEN_BITS)), ..entry }
}

/// Clocks that start far from the wrap of an entry's time, and just before it.
fn start() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), Just((1 << Entry::SEEN_BITS) - 1000)]
}

proptest! {
    #[test]
    fn with_room_for_every_key_the_table_is_a_map(start in start(), steps in steps(SLOTS as u64)) {
        let mut trial = Trial::new(SLOTS as u64, start);
        for step in steps {
            trial.take(step);
        }
    }

    #[test]
    fn without_room_only_the_worthless_give_way(start in start(), steps in steps(24)) {
        let mut trial = Trial::new(24, start);
        for step in steps {
            trial.take(step);
        }
    }
}

#[test]
fn untouched_memory_is_an_empty_table() {
    let table = ConntrackTable::with_capacity(10_000).unwrap();
    assert_eq!(table.occupancy(), 0);
    assert!(table.lookup(TrackingKey(0)).is_none());
}

#[test]
fn a_table_that_no_memory_holds_is_an_error() {
    for max_entries in [usize::MAX, usize::MAX / 2, usize::MAX / 32, usize::MAX / 64] {
        let error = ConntrackTable::with_capacity(max_entries).unwrap_err();
        assert_eq!(error.max_entries, max_entries);
    }
}

#[test]
fn an_entry_of_capacity_costs_24_bytes() {
    let table = ConntrackTable::with_capacity(1_000_000).unwrap();
    assert_eq!(table.slot_count(), 1_500_000);
}

#[test]
fn keys_spread_over_every_bucket() {
    let table = ConntrackTable::with_capacity(1_000).unwrap();
    let live = |_: &Entry| Standing::Live;
    let entry = Entry {
        backend: BackendHandle(1),
        generation: Generation(0),
        persists: false,
        stage: Stage::Established,
        seen: Tick(0),
    };
    // Fibonacci hashing: an even spread over the key's whole range.
    let keys = (0..100_000u64).map(|n| TrackingKey(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    for key in keys {
        table.insert(key, entry, live);
    }
    assert_eq!(table.occupancy(), table.slot_count());
}
