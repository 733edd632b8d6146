//! Claims about entries in the other bucket of their pair, and the overflow bit that tells of them.

use super::*;

/// Judgement of a worker whose snapshot has voided nothing yet.
fn all_live(_: &Entry) -> Standing {
    Standing::Live
}

/// Inserts an entry for a key whose home bucket is full of entries that this worker takes for live.
fn overflow(table: &ConntrackTable, key: u64, backend: u32) -> Inserted {
    table.insert(TrackingKey(key), to_backend(backend), all_live)
}

/// A table whose even bucket is full: of a void entry, of key 2, and a live one. Its other bucket is empty.
fn half_full() -> Arc<ConntrackTable> {
    table(&[(2, Entry { stage: Stage::HalfOpen, ..long_idle(20) }), (4, to_backend(40))])
}

/// A table like [`half_full`] that has overflowed: key 6 has had its entry in the other bucket, as the slot of key 2 still
/// says.
fn once_overflowed() -> Arc<ConntrackTable> {
    let table = half_full();
    assert_eq!(overflow(&table, 6, 60), Inserted::New);
    let judge = |entry: &Entry| if entry.backend.0 == 60 { Standing::Void } else { Standing::Live };
    assert_eq!(table.sweep(&mut SweepCursor::default(), 2, judge), 1);
    table
}

/// Empties the slots of void entries, and clears overflow bits.
fn sweep(table: &ConntrackTable) -> usize {
    table.sweep(&mut SweepCursor::default(), 2, judge)
}

#[test]
fn a_worker_that_sees_room_in_the_home_bucket_agrees_with_one_that_saw_it_full() {
    model(|| {
        let table = half_full();
        let other = thread::spawn({
            let table = table.clone();
            move || {
                sweep(&table);
                learned(&table, 1)
            }
        });
        let here = learned_by(&table, 2, all_live).expect("the other bucket is empty");
        assert_eq!(here, other.join().unwrap());
        assert_eq!(table.entries().filter(|(key, _)| key.0 == 8).count(), 1);
        assert_eq!(backend_of(&table, 8), Some(here));
    });
}

#[test]
fn workers_agree_while_an_overflow_bit_is_cleared() {
    model(|| {
        let table = once_overflowed();
        let other = thread::spawn({
            let table = table.clone();
            move || {
                sweep(&table);
                learned(&table, 1)
            }
        });
        let here = learned_by(&table, 2, all_live);
        let there = other.join().unwrap();
        assert!(here.is_none_or(|here| here == there), "{here:?} and {there}");
        assert_eq!(table.entries().filter(|(key, _)| key.0 == 8).count(), 1);
        assert_eq!(backend_of(&table, 8), Some(there));
    });
}

#[test]
fn an_entry_that_relies_on_an_overflow_bit_is_found_after_the_bit_is_taken_over() {
    model(|| {
        let table = once_overflowed();
        let other = thread::spawn({
            let table = table.clone();
            move || insert(&table, 10, to_backend(1))
        });
        let here = learned_by(&table, 2, all_live);
        assert!(matches!(other.join().unwrap(), Inserted::EvictedVoid));
        assert_eq!((backend_of(&table, 8), backend_of(&table, 10)), (here, Some(1)));
    });
}

#[test]
fn an_entry_that_relies_on_an_overflow_bit_is_found_after_a_sweep_for_it() {
    model(|| {
        let table = once_overflowed();
        let other = thread::spawn({
            let table = table.clone();
            move || sweep(&table)
        });
        let here = learned_by(&table, 2, all_live);
        assert_eq!(other.join().unwrap(), 1);
        assert_eq!(backend_of(&table, 8), here);
    });
}

#[test]
fn workers_agree_while_one_clears_an_overflow_bit_and_another_sets_one() {
    // A single preemption: that of a worker which has looked at one slot, while the others come and go.
    bounded_model(1, || {
        let table = once_overflowed();
        let clears = thread::spawn({
            let table = table.clone();
            move || {
                sweep(&table);
                insert(&table, 8, to_backend(1))
            }
        });
        let sets = thread::spawn({
            let table = table.clone();
            move || overflow(&table, 10, 3)
        });
        overflow(&table, 8, 2);
        clears.join().unwrap();
        let set = sets.join().unwrap();
        let backends: Vec<u32> =
            table.entries().filter(|(key, _)| key.0 == 8).map(|(_, e)| e.backend.0).collect();
        assert!(backends.len() <= 1, "{backends:?}");
        assert_eq!(backend_of(&table, 8), backends.first().copied());
        assert_eq!(backend_of(&table, 10), (set != Inserted::Full).then_some(3));
    });
}

#[test]
fn an_entry_in_the_other_bucket_is_found_while_the_slot_that_says_so_changes_hands() {
    model(|| {
        let table = half_full();
        assert_eq!(overflow(&table, 6, 60), Inserted::New);
        let other = thread::spawn({
            let table = table.clone();
            move || assert_eq!(backend_of(&table, 6), Some(60))
        });
        sweep(&table);
        assert!(matches!(insert(&table, 8, to_backend(1)), Inserted::New));
        other.join().unwrap();
        assert_eq!((backend_of(&table, 6), backend_of(&table, 8)), (Some(60), Some(1)));
    });
}

#[test]
fn an_entry_in_the_other_bucket_that_a_worker_can_count_it_can_find() {
    model(|| {
        let table = half_full();
        let other = thread::spawn({
            let table = table.clone();
            move || {
                if table.occupancy() == 3 {
                    assert_eq!(backend_of(&table, 8), Some(1));
                }
            }
        });
        assert_eq!(overflow(&table, 8, 1), Inserted::New);
        other.join().unwrap();
    });
}

#[test]
fn a_use_is_noted_beside_an_overflow() {
    model(|| {
        let table = half_full();
        let other = thread::spawn({
            let table = table.clone();
            move || overflow(&table, 8, 1)
        });
        table.lookup(TrackingKey(2)).expect("it was inserted").refresh(NOW, false);
        other.join().unwrap();
        let entry = table.lookup(TrackingKey(2)).expect("nothing gave way").entry();
        assert_eq!((entry.stage, entry.idle(NOW)), (Stage::Established, 0));
    });
}
