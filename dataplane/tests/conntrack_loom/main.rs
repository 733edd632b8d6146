//! The conntrack table's claims about concurrent workers, tried under the interleavings that loom finds.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test -p guideway-dataplane --release --test conntrack_loom
//! ```
//!
//! Under `--cfg loom` a bucket has two slots, so a table of one pair has four. The number of
//! preemptions in a run is bounded: three with two workers, two with three, which keeps the suite at some three minutes of
//! processor time.
//!
//! Where one side mostly reads, it is the spawned one. loom 0.7 runs the spawning thread first and goes back to the
//! last write before each read; of a word that was read first and written later it forgets the read, and with the
//! sides exchanged it would try a single interleaving.
#![cfg(loom)]

mod overflow;

use guideway_dataplane::backend::{BackendHandle, Generation};
use guideway_dataplane::conntrack::{
    Census, ConntrackTable, Entry, Inserted, Stage, Standing, SweepCursor, TrackingKey,
};
use guideway_dataplane::time::Tick;
use loom::sync::Arc;
use loom::thread;

/// The clock of all workers here; void entries bear time zero.
const NOW: Tick = Tick(100);

fn model(claim: impl Fn() + Send + Sync + 'static) {
    bounded_model(3, claim);
}

fn model_of_three(claim: impl Fn() + Send + Sync + 'static) {
    bounded_model(2, claim);
}

fn bounded_model(preemptions: usize, claim: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(claim);
}

fn to_backend(backend: u32) -> Entry {
    Entry {
        backend: BackendHandle(backend),
        generation: Generation(0),
        persists: false,
        stage: Stage::Established,
        seen: NOW,
    }
}

fn long_idle(backend: u32) -> Entry {
    Entry { seen: Tick(0), ..to_backend(backend) }
}

fn judge(entry: &Entry) -> Standing {
    match entry {
        entry if entry.idle(NOW) > 60 => Standing::Void,
        entry => entry.stage.standing(),
    }
}

/// One pair of buckets with these entries in it.
fn table(entries: &[(u64, Entry)]) -> Arc<ConntrackTable> {
    let table = ConntrackTable::with_capacity(2).expect("a model has memory");
    assert_eq!(table.slot_count(), 4);
    for &(key, entry) in entries {
        assert_eq!(table.insert(TrackingKey(key), entry, |_| Standing::Live), Inserted::New);
    }
    Arc::new(table)
}

fn insert(table: &ConntrackTable, key: u64, entry: Entry) -> Inserted {
    table.insert(TrackingKey(key), entry, judge)
}

fn backend_of(table: &ConntrackTable, key: u64) -> Option<u32> {
    table.lookup(TrackingKey(key)).map(|found| found.entry().backend.0)
}

/// Closes the connection of `key`, and says which backend the entry had that was found for it.
fn close(table: &ConntrackTable, key: u64) -> Option<u32> {
    let found = table.lookup(TrackingKey(key))?;
    table.close(TrackingKey(key), found, NOW);
    Some(found.entry().backend.0)
}

/// A table that is full of live entries, but for that of key 2.
fn full_but_for(entry: Entry) -> Arc<ConntrackTable> {
    table(&[(2, entry), (4, to_backend(40)), (6, to_backend(60)), (7, to_backend(70))])
}

/// Inserts an entry for key 8, and says which backend the worker learns: from the outcome, and from every lookup after.
fn learned(table: &ConntrackTable, own: u32) -> u32 {
    learned_by(table, own, judge).expect("there was room")
}

/// Inserts an entry for key 8 as a worker that judges others so; says which backend it learns, if there was room.
fn learned_by(table: &ConntrackTable, own: u32, judge: impl Fn(&Entry) -> Standing) -> Option<u32> {
    let learned = match table.insert(TrackingKey(8), to_backend(own), judge) {
        Inserted::Lost(winner) => winner.backend.0,
        Inserted::Full => return None,
        _ => own,
    };
    assert_eq!(backend_of(table, 8), Some(learned));
    Some(learned)
}

/// Inserts as `learned` does, for a worker that tries again with its next packet while the others hold all slots of the home bucket busy.
fn learned_at_last(table: &ConntrackTable, own: u32) -> u32 {
    loop {
        match learned_by(table, own, judge) {
            Some(learned) => return learned,
            None => thread::yield_now(),
        }
    }
}

#[test]
fn two_workers_with_one_key_agree_on_one_entry() {
    model(|| {
        let table = table(&[]);
        let other = thread::spawn({
            let table = table.clone();
            move || learned(&table, 1)
        });
        let here = learned(&table, 2);
        assert_eq!(here, other.join().unwrap());
        assert_eq!(table.occupancy(), 1);
        assert_eq!(backend_of(&table, 8), Some(here));
    });
}

#[test]
fn workers_that_took_different_slots_for_one_key_agree_on_one_entry() {
    model(|| {
        // The sweep opens a lower slot to the one while the other may already be on its way to a higher.
        let table = table(&[(2, long_idle(9))]);
        let other = thread::spawn({
            let table = table.clone();
            move || {
                table.sweep(&mut SweepCursor::default(), 1, judge);
                learned(&table, 1)
            }
        });
        let here = learned(&table, 2);
        assert_eq!(here, other.join().unwrap());
        assert_eq!(table.entries().filter(|(_, entry)| entry.backend.0 != 9).count(), 1);
        assert_eq!(backend_of(&table, 8), Some(here));
    });
}

#[test]
fn workers_that_replace_one_void_entry_agree_on_one_entry() {
    model(|| {
        let table = table(&[(8, long_idle(9))]);
        let other = thread::spawn({
            let table = table.clone();
            move || learned(&table, 1)
        });
        let here = learned(&table, 2);
        assert_eq!(here, other.join().unwrap());
        assert_eq!(table.occupancy(), 1);
        assert_eq!(backend_of(&table, 8), Some(here));
    });
}

#[test]
fn three_workers_with_one_key_agree_on_one_entry() {
    model_of_three(|| {
        let table = table(&[(2, long_idle(9))]);
        let others = [1, 2].map(|own| {
            let table = table.clone();
            thread::spawn(move || {
                if own == 1 {
                    table.sweep(&mut SweepCursor::default(), 1, judge);
                }
                learned_at_last(&table, own)
            })
        });
        let here = learned_at_last(&table, 3);
        for other in others {
            assert_eq!(here, other.join().unwrap());
        }
        assert_eq!(table.entries().filter(|(_, entry)| entry.backend.0 != 9).count(), 1);
    });
}

/// Workers sweep and replace the same entry, and insert the same key: the entry that stands is counted once, whoever has
/// settled it, and what has gone is not.
#[test]
fn workers_that_contend_for_a_key_count_what_stands() {
    model(|| {
        let census = Arc::new(Census::new(3, 16));
        let table = table(&[]);
        let of_before = census.worker(2);
        for (key, entry) in [(2, long_idle(9)), (8, long_idle(8))] {
            table.insert_counted(TrackingKey(key), entry, |_| Standing::Live, of_before);
        }
        let other = thread::spawn({
            let (table, census) = (table.clone(), census.clone());
            move || {
                let own = census.worker(0);
                table.sweep_counted(&mut SweepCursor::default(), 1, judge, own);
                table.restart_counted(TrackingKey(8), to_backend(1), judge, own);
            }
        });
        table.insert_counted(TrackingKey(8), to_backend(2), judge, census.worker(1));
        other.join().unwrap();
        for backend in [1, 2, 8, 9].map(BackendHandle) {
            let walked = table.entries().filter(|(_, entry)| entry.backend == backend).count();
            let generation = Generation(0);
            assert_eq!(census.entries(backend, generation, generation), walked as u64, "{backend:?}");
        }
    });
}

#[test]
fn a_restart_beside_an_insertion_leaves_one_entry() {
    model(|| {
        let table = table(&[(8, to_backend(9))]);
        let other = thread::spawn({
            let table = table.clone();
            move || match insert(&table, 8, to_backend(2)) {
                Inserted::Lost(winner) => winner.backend.0,
                outcome => {
                    assert_eq!(outcome, Inserted::New);
                    2
                }
            }
        });
        let here = match table.restart(TrackingKey(8), to_backend(1), judge) {
            Inserted::Lost(winner) => winner.backend.0,
            outcome => {
                assert_eq!(outcome, Inserted::Replaced);
                1
            }
        };
        let other = other.join().unwrap();
        assert_eq!(table.occupancy(), 1);
        assert_eq!(backend_of(&table, 8), Some(here));
        assert!(other == 9 || other == here, "{other} is neither the former entry nor the one that stands");
    });
}

#[test]
fn an_entry_that_a_worker_can_count_it_can_find() {
    model(|| {
        let table = table(&[]);
        let other = thread::spawn({
            let table = table.clone();
            move || {
                if table.occupancy() == 1 {
                    assert_eq!(backend_of(&table, 8), Some(1));
                }
            }
        });
        assert_eq!(insert(&table, 8, to_backend(1)), Inserted::New);
        other.join().unwrap();
    });
}

#[test]
fn two_workers_that_want_the_last_slot_never_mix_their_keys() {
    model(|| {
        let table = table(&[(2, to_backend(20)), (4, to_backend(40)), (6, to_backend(60))]);
        let other = thread::spawn({
            let table = table.clone();
            move || insert(&table, 8, to_backend(1))
        });
        let here = insert(&table, 10, to_backend(2));
        match (here, other.join().unwrap()) {
            (Inserted::New, Inserted::Full) => {
                assert_eq!((backend_of(&table, 10), backend_of(&table, 8)), (Some(2), None));
            }
            (Inserted::Full, Inserted::New) => {
                assert_eq!((backend_of(&table, 10), backend_of(&table, 8)), (None, Some(1)));
            }
            outcomes => panic!("{outcomes:?}"),
        }
        for key in [2, 4, 6] {
            assert_eq!(backend_of(&table, key), Some(10 * key as u32));
        }
    });
}

#[test]
fn a_lookup_beside_an_eviction_finds_its_own_keys_entry_or_none() {
    model(|| {
        let table =
            table(&[(2, long_idle(20)), (4, to_backend(40)), (6, to_backend(60)), (7, to_backend(70))]);
        let other = thread::spawn({
            let table = table.clone();
            move || {
                assert!(matches!(backend_of(&table, 2), None | Some(20)));
                assert!(matches!(backend_of(&table, 8), None | Some(1)));
            }
        });
        assert_eq!(insert(&table, 8, to_backend(1)), Inserted::EvictedVoid);
        other.join().unwrap();
        assert_eq!((backend_of(&table, 2), backend_of(&table, 8)), (None, Some(1)));
    });
}

#[test]
fn a_lookup_never_sees_an_entry_that_loses_its_contest() {
    model_of_three(|| {
        let table = table(&[(2, long_idle(9))]);
        let one = thread::spawn({
            let table = table.clone();
            move || {
                table.sweep(&mut SweepCursor::default(), 1, judge);
                learned(&table, 1)
            }
        });
        let two = thread::spawn({
            let table = table.clone();
            move || backend_of(&table, 8)
        });
        let here = learned(&table, 2);
        assert_eq!(here, one.join().unwrap());
        assert!(two.join().unwrap().is_none_or(|seen| seen == here));
    });
}

#[test]
fn a_refresh_never_hides_an_entry() {
    model(|| {
        let table = table(&[(8, Entry { stage: Stage::HalfOpen, seen: Tick(90), ..to_backend(1) })]);
        let other = thread::spawn({
            let table = table.clone();
            move || table.lookup(TrackingKey(8)).expect("it was inserted").refresh(NOW, false)
        });
        table.lookup(TrackingKey(8)).expect("a refresh hides nothing").refresh(NOW, true);
        assert_eq!(backend_of(&table, 8), Some(1));
        other.join().unwrap();
        let entry = table.lookup(TrackingKey(8)).expect("a refresh hides nothing").entry();
        assert_eq!(entry.idle(NOW), 0);
    });
}

#[test]
fn a_refresh_never_brings_a_replaced_entry_back() {
    model(|| {
        let table = table(&[(8, Entry { seen: Tick(90), ..to_backend(1) })]);
        let other = thread::spawn({
            let table = table.clone();
            move || {
                if let Some(found) = table.lookup(TrackingKey(8)) {
                    found.refresh(NOW, true);
                }
            }
        });
        assert_eq!(table.restart(TrackingKey(8), to_backend(2), judge), Inserted::Replaced);
        other.join().unwrap();
        assert_eq!(backend_of(&table, 8), Some(2));
        assert_eq!(table.occupancy(), 1);
    });
}

#[test]
fn a_close_beside_a_refresh_closes() {
    model(|| {
        let table = table(&[(8, Entry { stage: Stage::Unconfirmed, seen: Tick(90), ..to_backend(1) })]);
        let other = thread::spawn({
            let table = table.clone();
            move || table.lookup(TrackingKey(8)).expect("it was inserted").refresh(NOW, false)
        });
        close(&table, 8).expect("a refresh hides nothing");
        other.join().unwrap();
        let entry = table.lookup(TrackingKey(8)).expect("a close hides nothing").entry();
        assert_eq!((entry.stage, entry.idle(NOW)), (Stage::Closed, 0));
    });
}

#[test]
fn a_close_never_touches_the_entry_that_replaces_the_closed_one() {
    model(|| {
        let table = table(&[(8, Entry { seen: Tick(90), ..to_backend(1) })]);
        let other = thread::spawn({
            let table = table.clone();
            move || close(&table, 8)
        });
        let opened = Entry { stage: Stage::HalfOpen, ..to_backend(2) };
        assert_eq!(table.restart(TrackingKey(8), opened, judge), Inserted::Replaced);
        let closed = other.join().unwrap();
        let entry = table.lookup(TrackingKey(8)).expect("it was inserted").entry();
        let stage = if closed == Some(2) { Stage::Closed } else { Stage::HalfOpen };
        assert_eq!((entry.backend.0, entry.stage), (2, stage));
        assert_eq!(table.occupancy(), 1);
    });
}

#[test]
fn an_entry_that_is_closed_beside_an_insertion_gives_way_or_stays_closed() {
    model(|| {
        let table = full_but_for(to_backend(20));
        let other = thread::spawn({
            let table = table.clone();
            move || insert(&table, 8, to_backend(1))
        });
        close(&table, 2);
        let outcome = other.join().unwrap();
        let stage = table.lookup(TrackingKey(2)).map(|found| found.entry().stage);
        match outcome {
            Inserted::EvictedClosed => assert_eq!((stage, backend_of(&table, 8)), (None, Some(1))),
            Inserted::Full => assert_eq!((stage, backend_of(&table, 8)), (Some(Stage::Closed), None)),
            outcome => panic!("{outcome:?}"),
        }
        assert_eq!(table.occupancy(), 4);
    });
}

#[test]
fn a_close_beside_an_eviction_neither_brings_an_entry_back_nor_closes_the_next() {
    model(|| {
        let table = full_but_for(Entry { stage: Stage::Unconfirmed, ..to_backend(20) });
        let other = thread::spawn({
            let table = table.clone();
            move || close(&table, 2)
        });
        let outcome = insert(&table, 8, to_backend(1));
        assert!(matches!(outcome, Inserted::EvictedUnconfirmed | Inserted::EvictedClosed), "{outcome:?}");
        other.join().unwrap();
        let entry = table.lookup(TrackingKey(8)).expect("it was inserted").entry();
        assert_eq!((entry.backend.0, entry.stage), (1, Stage::Established));
        assert_eq!((backend_of(&table, 2), table.occupancy()), (None, 4));
    });
}

#[test]
fn an_entry_that_is_confirmed_beside_an_insertion_gives_way_or_is_live() {
    model(|| {
        let table = full_but_for(Entry { stage: Stage::Unconfirmed, seen: Tick(90), ..to_backend(20) });
        let other = thread::spawn({
            let table = table.clone();
            move || {
                if let Some(found) = table.lookup(TrackingKey(2)) {
                    found.refresh(NOW, false);
                }
            }
        });
        let outcome = insert(&table, 8, to_backend(1));
        other.join().unwrap();
        let stage = table.lookup(TrackingKey(2)).map(|found| found.entry().stage);
        match outcome {
            Inserted::EvictedUnconfirmed => assert_eq!((stage, backend_of(&table, 8)), (None, Some(1))),
            Inserted::Full => assert_eq!((stage, backend_of(&table, 8)), (Some(Stage::Established), None)),
            outcome => panic!("{outcome:?}"),
        }
        assert_eq!(table.occupancy(), 4);
    });
}

#[test]
fn a_sweep_spares_an_entry_that_is_refreshed_first() {
    model(|| {
        let table = table(&[(8, long_idle(1))]);
        let other = thread::spawn({
            let table = table.clone();
            move || {
                if let Some(found) = table.lookup(TrackingKey(8)) {
                    found.refresh(NOW, true);
                }
            }
        });
        let swept = table.sweep(&mut SweepCursor::default(), 1, judge);
        other.join().unwrap();
        assert_eq!(table.occupancy(), 1 - swept);
        assert!(table.entries().all(|(_, entry)| entry.idle(NOW) == 0));
    });
}

#[test]
fn a_sweep_spares_the_entry_that_replaces_a_void_one() {
    model(|| {
        let table = table(&[(8, long_idle(1))]);
        let other = thread::spawn({
            let table = table.clone();
            move || table.sweep(&mut SweepCursor::default(), 2, judge)
        });
        let outcome = insert(&table, 8, to_backend(2));
        assert!(matches!(outcome, Inserted::New | Inserted::Replaced), "{outcome:?}");
        other.join().unwrap();
        assert_eq!(backend_of(&table, 8), Some(2));
        assert_eq!(table.occupancy(), 1);
    });
}
