//! Workers on real threads hammer a small conntrack table for a second: what loom proves, seen on hardware.
#![cfg(not(loom))]

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
use std::thread;
use std::time::Duration;

use guideway_dataplane::backend::{BackendHandle, Generation};
use guideway_dataplane::conntrack::{
    Census, ConntrackTable, Entry, Inserted, Stage, Standing, SweepCursor, TrackingKey,
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

/// Workers contend for every slot while a backend's generation moves on; whenever they rest, what they have counted is what a
/// walk of the table finds.
#[test]
fn what_workers_have_counted_is_what_a_walk_finds() {
    const WORKERS: usize = 4;
    const ROUNDS: usize = 200;
    const STEPS: usize = 500;
    const BACKENDS: u32 = 3;
    // A single pair of buckets, and twice as many keys as it has slots.
    const KEYS: u64 = 16;
    let table = ConntrackTable::with_capacity(4).unwrap();
    let census = Census::new(WORKERS, BACKENDS as usize);
    let generations: [AtomicU32; BACKENDS as usize] = Default::default();
    let in_force = |backend: u32| Generation(generations[backend as usize].load(Ordering::Relaxed));
    // Of entries that persist, no generation moves on.
    let judge = |entry: &Entry| {
        let is_void = !entry.persists && entry.generation != in_force(entry.backend.0);
        if is_void { Standing::Void } else { entry.stage.standing() }
    };
    let start = Barrier::new(WORKERS + 1);
    let counted = AtomicU64::new(0);
    thread::scope(|scope| {
        let (table, census, start, generations) = (&table, &census, &start, &generations);
        for worker in 0..WORKERS {
            scope.spawn(move || {
                let own = census.worker(worker);
                let mut seed = worker as u64;
                let mut cursor = SweepCursor::default();
                for _ in 0..ROUNDS {
                    start.wait();
                    for _ in 0..STEPS {
                        let dice = random(&mut seed);
                        let key = TrackingKey(dice % KEYS);
                        let backend = (dice >> 8) as u32 % BACKENDS;
                        let persists = dice & 1 << 20 != 0;
                        let entry = Entry {
                            backend: BackendHandle(backend),
                            generation: if persists { Generation(0) } else { in_force(backend) },
                            persists,
                            stage: Stage::ALL[(dice >> 32) as usize % 4],
                            seen: Tick(0),
                        };
                        match dice >> 60 {
                            0 => drop(generations[backend as usize].fetch_add(1, Ordering::Relaxed)),
                            1..4 => drop(table.sweep_counted(&mut cursor, 2, judge, own)),
                            4..9 => drop(table.restart_counted(key, entry, judge, own)),
                            _ => drop(table.insert_counted(key, entry, judge, own)),
                        }
                    }
                    start.wait();
                }
            });
        }
        for round in 0..ROUNDS {
            start.wait();
            start.wait();
            for backend in (0..BACKENDS).map(BackendHandle) {
                let of_backend = |entry: &Entry| {
                    entry.backend == backend && (entry.persists || entry.generation == in_force(backend.0))
                };
                let walked = table.entries().filter(|(_, entry)| of_backend(entry)).count() as u64;
                let told = census.entries(backend, in_force(backend.0), Generation(0));
                assert_eq!(told, walked, "{backend:?} in round {round}");
                counted.fetch_add(walked, Ordering::Relaxed);
            }
        }
    });
    assert!(counted.into_inner() > ROUNDS as u64, "the table was nearly empty");
}

#[test]
fn workers_that_insert_one_key_at_once_agree() {
    const WORKERS: u32 = 4;
    const ROUNDS: u64 = 5_000;
    let table = ConntrackTable::with_capacity(10).unwrap();
    let census = Census::new(WORKERS as usize, WORKERS as usize);
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
            let (table, census, start) = (&table, &census, &start);
            scope.spawn(move || {
                let own = census.worker(worker as usize);
                let mut learned = Vec::new();
                for round in 0..ROUNDS {
                    start.wait();
                    let outcome =
                        table.insert_counted(TrackingKey(round), entry(worker), |_| Standing::Live, own);
                    learned.push(if let Inserted::Lost(winner) = outcome {
                        winner.backend.0
                    } else {
                        worker
                    });
                    if start.wait().is_leader() {
                        assert_eq!(table.occupancy(), 1);
                        let told = (0..WORKERS).map(BackendHandle);
                        let told = told.map(|backend| census.entries(backend, Generation(0), Generation(0)));
                        assert_eq!(told.sum::<u64>(), 1, "whoever has settled it for whom");
                        let (cursor, buckets) = (&mut SweepCursor::default(), table.bucket_count());
                        table.sweep_counted(cursor, buckets, |_| Standing::Void, own);
                    }
                }
                learned
            })
        });
        workers.map(|worker| worker.join().unwrap())
    });
    assert!(learned.iter().all(|of_one| *of_one == learned[0]), "two workers learned different winners");
}

#[test]
fn an_entry_that_never_gives_way_is_always_found_while_its_bucket_overflows_and_drains() {
    // All even, so that they share the home bucket of a single pair; half of them live at a time, so that it overflows.
    const WORKERS: u64 = 4;
    const KEYS: u64 = 12;
    let table = ConntrackTable::with_capacity(4).unwrap();
    let key = |number: u64| TrackingKey(2 * number);
    // Odd while the key has an entry that nobody may push out.
    let epochs: [AtomicU64; KEYS as usize] = Default::default();
    let stop = AtomicBool::new(false);
    let entry = |number: u64, stage| Entry {
        backend: BackendHandle(number as u32),
        generation: Generation(0),
        persists: false,
        stage,
        seen: Tick(0),
    };
    let judge = |entry: &Entry| match entry.stage {
        Stage::Established => Standing::Live,
        _ => Standing::Void,
    };
    let overflowed = AtomicU64::new(0);
    thread::scope(|scope| {
        let (table, epochs, stop, overflowed) = (&table, &epochs, &stop, &overflowed);
        let epoch = |number: u64| epochs[number as usize].load(Ordering::SeqCst);
        let look =
            move |number: u64| table.lookup(key(number)).map(|found| u64::from(found.entry().backend.0));
        for worker in 0..WORKERS {
            scope.spawn(move || {
                let mut seed = worker;
                let mut cursor = SweepCursor::default();
                while !stop.load(Ordering::Relaxed) {
                    let dice = random(&mut seed);
                    // A key has one writer, and every other worker for a reader.
                    let own = dice % (KEYS / WORKERS) * WORKERS + worker;
                    if epoch(own) % 2 == 1 {
                        assert_eq!(look(own), Some(own), "nobody may push it out");
                        epochs[own as usize].fetch_add(1, Ordering::SeqCst);
                        table.restart(key(own), entry(own, Stage::HalfOpen), judge);
                    } else {
                        match table.restart(key(own), entry(own, Stage::Established), judge) {
                            Inserted::Full => {}
                            Inserted::Lost(winner) => panic!("lost to {winner:?} with no other writer"),
                            _ => {
                                epochs[own as usize].fetch_add(1, Ordering::SeqCst);
                            }
                        }
                    }
                    let other = (dice >> 8) % KEYS;
                    let before = epoch(other);
                    let found = look(other);
                    fence(Ordering::SeqCst);
                    if before % 2 == 1 && epoch(other) == before {
                        assert_eq!(found, Some(other), "nobody may push it out");
                    }
                    if dice & 1 << 40 != 0 {
                        table.sweep(&mut cursor, 2, judge);
                    }
                    let live = (0..KEYS).filter(|number| epoch(*number) % 2 == 1).count();
                    overflowed.fetch_add(u64::from(live > 4), Ordering::Relaxed);
                }
            });
        }
        thread::sleep(Duration::from_millis(500));
        stop.store(true, Ordering::Relaxed);
    });
    assert!(overflowed.into_inner() > 0, "the bucket never overflowed");
    let held = (0..KEYS).filter(|n| table.lookup(key(*n)).is_some()).count();
    assert_eq!(table.occupancy(), held, "every entry is some key's only one");
}

#[test]
fn workers_that_insert_one_key_into_a_bucket_that_overflows_and_drains_agree() {
    const ROUNDS: u64 = 5_000;
    const SETTERS: u32 = 3;
    let table = ConntrackTable::with_capacity(4).unwrap();
    let start = Barrier::new(SETTERS as usize + 1);
    let entry = |backend| Entry {
        backend: BackendHandle(backend),
        generation: Generation(0),
        persists: false,
        stage: Stage::Established,
        seen: Tick(0),
    };
    let key = TrackingKey(0);
    // The bucket's other entries, which one worker takes for void.
    const OTHERS: std::ops::Range<u32> = 10..14;
    let is_other_void = |entry: &Entry| {
        if OTHERS.contains(&entry.backend.0) { Standing::Void } else { Standing::Live }
    };
    let learned = thread::scope(|scope| {
        let workers: Vec<_> = (0..=SETTERS)
            .map(|worker| {
                let (table, start) = (&table, &start);
                scope.spawn(move || {
                    let mut learned = Vec::new();
                    for _ in 0..ROUNDS {
                        if start.wait().is_leader() {
                            table.sweep(&mut SweepCursor::default(), 2, |_| Standing::Void);
                            for other in OTHERS {
                                let other = (TrackingKey(2 * u64::from(other)), entry(other));
                                assert_eq!(table.insert(other.0, other.1, |_| Standing::Live), Inserted::New);
                            }
                        }
                        start.wait();
                        let outcome = if worker == SETTERS {
                            table.sweep(&mut SweepCursor::default(), 2, is_other_void);
                            table.insert(key, entry(worker), is_other_void)
                        } else {
                            table.insert(key, entry(worker), |_| Standing::Live)
                        };
                        learned.push(match outcome {
                            Inserted::Lost(winner) => winner.backend.0,
                            Inserted::Full => panic!("four slots were empty"),
                            _ => worker,
                        });
                        start.wait();
                        let entries = table.entries().filter(|(found, _)| *found == key).count();
                        assert_eq!(entries, 1, "two settled entries of a key");
                        start.wait();
                    }
                    learned
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(learned.iter().all(|of_one| *of_one == learned[0]), "two workers learned different winners");
}
