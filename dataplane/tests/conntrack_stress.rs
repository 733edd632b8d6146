//! Workers on real threads hammer a small conntrack table for a second: what loom proves, seen on hardware.
#![cfg(not(loom))]

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use guideway_dataplane::backend::{BackendHandle, Generation};
use guideway_dataplane::conntrack::{
    ConntrackTable, Entry, Inserted, Stage, Standing, SweepCursor, TrackingKey,
};
use guideway_dataplane::time::Tick;

/// SplitMix64: enough to keep the workers out of step.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z ^ (z >> 29)
}

#[test]
fn no_worker_ever_finds_another_keys_entry() {
    // 64 keys in 16 slots: most insertions evict. An entry tells its key by its generation.
    const KEYS: u64 = 64;
    let table = ConntrackTable::with_capacity(10).unwrap();
    let stop = AtomicBool::new(false);
    let judge = |entry: &Entry| {
        if entry.backend.0.is_multiple_of(2) { Standing::Void } else { entry.stage.standing() }
    };
    thread::scope(|scope| {
        let (table, stop) = (&table, &stop);
        for worker in 0..4u64 {
            scope.spawn(move || {
                let mut seed = worker;
                let mut cursor = SweepCursor::default();
                while !stop.load(Ordering::Relaxed) {
                    let dice = random(&mut seed);
                    let number = dice % KEYS;
                    let key = TrackingKey(number << 58 | number);
                    let now = Tick((dice >> 40) as u32 & 0xff);
                    if let Some(found) = table.lookup(key) {
                        assert_eq!(u64::from(found.entry().generation.0), number);
                        if dice & 1 << 61 != 0 {
                            table.close(key, found, now);
                        } else {
                            found.refresh(now, false);
                        }
                    }
                    let entry = Entry {
                        backend: BackendHandle((dice >> 8) as u32 % BackendHandle::LIMIT),
                        generation: Generation(number as u32),
                        persists: dice & 1 << 60 != 0,
                        stage: Stage::ALL[(dice >> 32) as usize % 4],
                        seen: now,
                    };
                    match dice >> 62 {
                        0 => drop(table.restart(key, entry, judge)),
                        1 => drop(table.sweep(&mut cursor, 1, judge)),
                        _ => {
                            if let Inserted::Lost(winner) = table.insert(key, entry, judge) {
                                assert_eq!(u64::from(winner.generation.0), number);
                            }
                        }
                    }
                }
            });
        }
        thread::sleep(Duration::from_millis(500));
        stop.store(true, Ordering::Relaxed);
    });
    let held = (0..KEYS).filter(|n| table.lookup(TrackingKey(n << 58 | n)).is_some()).count();
    assert_eq!(table.occupancy(), held, "every entry is some key's only one");
}

#[test]
fn workers_that_insert_one_key_at_once_agree() {
    const WORKERS: u32 = 4;
    const ROUNDS: u64 = 5_000;
    let table = ConntrackTable::with_capacity(10).unwrap();
    let start = Barrier::new(WORKERS as usize);
    let entry = |worker| Entry {
        backend: BackendHandle(worker),
        generation: Generation(0),
        persists: false,
        stage: Stage::Established,
        seen: Tick(0),
    };
    let learned = thread::scope(|scope| {
        let workers = [0, 1, 2, 3].map(|worker| {
            let (table, start) = (&table, &start);
            scope.spawn(move || {
                let mut learned = Vec::new();
                for round in 0..ROUNDS {
                    start.wait();
                    let outcome = table.insert(TrackingKey(round), entry(worker), |_| Standing::Live);
                    learned.push(if let Inserted::Lost(winner) = outcome {
                        winner.backend.0
                    } else {
                        worker
                    });
                    if start.wait().is_leader() {
                        assert_eq!(table.occupancy(), 1);
                        table.sweep(&mut SweepCursor::default(), table.bucket_count(), |_| Standing::Void);
                    }
                }
                learned
            })
        });
        workers.map(|worker| worker.join().unwrap())
    });
    assert!(learned.iter().all(|of_one| *of_one == learned[0]), "two workers learned different winners");
}
