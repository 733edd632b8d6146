//! Census: number of conntrack entries of each backend, kept by the workers that make and end entries.
//!
//! A look at it costs a few loads for each worker, where a count of the table would read all of it. Nobody shares a counter:
//! each worker has its own, which it alone writes. An entry that one worker makes is often ended by another, so a worker's
//! number may be negative, and only the sum over the workers says anything.
//!
//! Each change of what a slot holds is a compare-exchange that one worker alone wins, from a state that it knows. That
//! worker counts: one more when it has taken a slot for an entry, one less for the entry that it has taken the slot from, has
//! withdrawn or swept. So the sum is what a walk of the table finds, whoever settles an entry for whom, while no worker is in
//! the middle of an insertion.
//!
//! # Voided entries
//!
//! Entries are voided by number, in one step, and stay in their slots for a while. So what is counted is a generation's
//! entries: a counter bears the [`Generation`] that it counts, and begins anew at the first entry of a later one. What ends
//! of an earlier generation is not counted any more. A reader adds up the counters of the generation in force, and finds none
//! of the entries that it has voided.
//!
//! ```text
//!  63                 17 16          0
//! ┌─────────────────────┬─────────────┐
//! │   entries, signed   │ generation  │     one for entries that persist on unhealthy backends, one for others
//! └─────────────────────┴─────────────┘
//! ```
//!
//! Of two generations the later one is told by the shorter way round, 2^16 steps at most. A counter that its worker has not
//! touched for longer, 18 hours at a step a second, while it counts some, may count none for as long again. Entries that are
//! void for their age are counted until they are swept or pushed out.
//!
//! # Memory
//!
//! A worker has room for the counters of all handles that there can be, 32 MiB of addresses: one whose snapshot is older than
//! an entry that it ends finds the entry's counter all the same. Memory is taken for those that are used, 16 bytes each, page
//! by page; where the kernel gives huge pages unasked, these are of 2 MiB.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use zerocopy::{FromZeros, KnownLayout};

use super::Entry;
use crate::backend::{BackendHandle, Generation};
use crate::worker_cells::WorkerCells;

/// Numbers of conntrack entries by backend, counted by the workers that share a table.
#[derive(Debug, Default)]
pub struct Census {
    workers: Box<[Arc<WorkerCensus>]>,
}

/// Counters of one worker, by handle; written by it alone.
pub struct WorkerCensus(WorkerCells<Counter>);

/// Entries of one handle: those that do not persist, and those that do.
#[derive(FromZeros, KnownLayout)]
#[repr(C)]
struct Counter([AtomicU64; 2]);

/// Word of a counter: entries of one generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Count(u64);

impl Count {
    const GENERATION: u64 = Generation::LIMIT as u64 - 1;
    const ENTRIES: u32 = Generation::LIMIT.ilog2();

    fn generation(self) -> u32 {
        (self.0 & Self::GENERATION) as u32
    }

    fn entries(self) -> i64 {
        self.0 as i64 >> Self::ENTRIES
    }

    /// Count after so many entries of a generation have come; fewer than none have gone.
    #[inline(always)]
    fn after(self, generation: Generation, entries: i64) -> Self {
        // Without a shift of the word: nearly all counts are of the entry's generation.
        if self.generation() == generation.0 {
            return Self(self.0.wrapping_add((entries as u64) << Self::ENTRIES));
        }
        self.turned(generation, entries)
    }

    /// Count after so many entries of another generation.
    #[cold]
    fn turned(self, generation: Generation, entries: i64) -> Self {
        let ahead = generation.0.wrapping_sub(self.generation()) & (Generation::LIMIT - 1);
        if ahead < Generation::LIMIT / 2 || self.entries() == 0 {
            return Self((entries as u64) << Self::ENTRIES | u64::from(generation.0));
        }
        self
    }
}

impl Census {
    /// Census by so many workers, of so many backend handles: an entry of one beyond them is not counted.
    pub fn new(workers: usize, handles: usize) -> Self {
        let worker = |_| Arc::new(WorkerCensus(WorkerCells::new(handles)));
        Self { workers: (0..workers).map(worker).collect() }
    }

    /// Census by so many workers, of all backend handles that there can be.
    pub fn of_all_handles(workers: usize) -> Self {
        Self::new(workers, BackendHandle::LIMIT as usize)
    }

    /// Counters of a worker; `None` if nobody reads what it counts.
    pub fn worker(&self, worker: usize) -> Option<&WorkerCensus> {
        self.workers.get(worker).map(|worker| &**worker)
    }

    /// Counters of each worker.
    pub(crate) fn workers(&self) -> impl Iterator<Item = &Arc<WorkerCensus>> {
        self.workers.iter()
    }

    /// Number of entries that a backend has under these generations; `persistent` is that of entries that persist.
    ///
    /// Of counters that change meanwhile each is read once, so that an entry which one worker makes and another ends may be
    /// missed: the number is that of a moment close by.
    pub fn entries(&self, backend: BackendHandle, ordinary: Generation, persistent: Generation) -> u64 {
        let entries = |worker: &Arc<WorkerCensus>| {
            let Some(Counter(words)) = worker.0.at(backend.0) else { return 0 };
            let of_generation = |(word, generation): (&AtomicU64, Generation)| {
                // Relaxed: each number stands for itself.
                let count = Count(word.load(Ordering::Relaxed));
                if count.generation() == generation.0 { count.entries() } else { 0 }
            };
            words.iter().zip([ordinary, persistent]).map(of_generation).sum::<i64>()
        };
        u64::try_from(self.workers.iter().map(entries).sum::<i64>()).unwrap_or(0)
    }
}

impl WorkerCensus {
    #[inline(always)]
    fn count(&self, entry: &Entry, entries: i64) {
        let Some(Counter(words)) = self.0.at(entry.backend.0) else { return };
        let word = &words[usize::from(entry.persists)];
        // Relaxed: only this worker writes it, so it needs no exchange.
        let count = Count(word.load(Ordering::Relaxed));
        word.store(count.after(entry.generation, entries).0, Ordering::Relaxed);
    }

    /// Counts an entry that has come into the table.
    #[inline(always)]
    pub(super) fn enter(&self, entry: &Entry) {
        self.count(entry, 1);
    }

    /// Counts an entry that has gone out of the table.
    #[inline(always)]
    pub(super) fn leave(&self, entry: &Entry) {
        self.count(entry, -1);
    }

    /// Addresses that the worker writes to.
    pub fn addresses(&self) -> Range<usize> {
        self.0.addresses()
    }
}

impl fmt::Debug for WorkerCensus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerCensus").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::conntrack::Stage;
    use crate::time::Tick;
    use crate::worker_cells::LINES;

    const HANDLE: BackendHandle = BackendHandle(7);

    fn entry(generation: u32, persists: bool) -> Entry {
        let (stage, seen) = (Stage::Established, Tick(0));
        Entry { backend: HANDLE, generation: Generation(generation), persists, stage, seen }
    }

    fn census() -> Census {
        Census::new(2, HANDLE.0 as usize + 1)
    }

    fn entries(census: &Census, ordinary: u32, persistent: u32) -> u64 {
        census.entries(HANDLE, Generation(ordinary), Generation(persistent))
    }

    #[test]
    fn an_entry_that_one_worker_makes_and_another_ends_is_counted_no_more() {
        let census = census();
        let [first, second] = [0, 1].map(|worker| census.worker(worker).unwrap());
        (0..3).for_each(|_| first.enter(&entry(0, false)));
        first.enter(&entry(0, true));
        second.leave(&entry(0, false));
        assert_eq!(entries(&census, 0, 0), 3);
        (0..2).for_each(|_| second.leave(&entry(0, false)));
        second.leave(&entry(0, true));
        assert_eq!(entries(&census, 0, 0), 0);
    }

    #[test]
    fn a_step_of_the_generation_voids_its_entries_alone_and_their_ends_count_for_nothing() {
        let census = census();
        let [first, second] = [0, 1].map(|worker| census.worker(worker).unwrap());
        for persists in [false, true] {
            (0..4).for_each(|_| first.enter(&entry(Generation::LIMIT - 1, persists)));
        }
        let last = Generation::LIMIT - 1;
        assert_eq!((entries(&census, last, last), entries(&census, 0, last)), (8, 4));
        second.enter(&entry(0, false));
        first.leave(&entry(last, false));
        first.enter(&entry(0, false));
        second.leave(&entry(last, false));
        first.leave(&entry(last, false));
        assert_eq!(entries(&census, 0, last), 6);
        second.leave(&entry(0, false));
        second.leave(&entry(last, false));
        second.enter(&entry(0, false));
        assert_eq!(entries(&census, 0, last), 6, "an earlier one may take over a count of none");
    }

    #[test]
    fn handles_beyond_the_counters_are_nobodys() {
        let census = Census::new(1, 7);
        census.worker(0).unwrap().enter(&Entry { backend: BackendHandle(7 + 1_000), ..entry(0, false) });
        assert_eq!(entries(&census, 0, 0), 0);
        assert!(census.worker(1).is_none());
        let all = Census::of_all_handles(1);
        let backend = BackendHandle(BackendHandle::LIMIT - 1);
        all.worker(0).unwrap().enter(&Entry { backend, ..entry(0, false) });
        assert_eq!(all.entries(backend, Generation(0), Generation(0)), 1);
    }

    #[test]
    fn no_line_is_written_by_two_workers() {
        let census = Census::new(8, 5);
        let lines = |worker: &WorkerCensus| {
            let addresses = worker.addresses();
            (addresses.start / LINES..addresses.end.div_ceil(LINES)).collect::<Vec<_>>()
        };
        let mut all: Vec<usize> = census.workers().flat_map(|worker| lines(worker)).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count, "workers share a line");
    }
}
