//! Empties slots whose entries have outlived their use, a few buckets at a time, so that no clock or generation wraps
//! over an entry.
//!
//! An entry that nobody looks up stays in its slot after it has become void. That is harmless until a counter comes
//! round and it looks valid again:
//!
//! - `seen` wraps after 2^18 s. An entry is void once it is older than its idle timeout, 57,600 s at most, and must be
//!   gone [`CLOCK_SKEW`](Entry::CLOCK_SKEW) before the wrap: 2^18 − 57,600 − 4,096 = 200,448 s, 2.3 days.
//! - a backend's generation wraps after 2^17 steps. At a step a second, faster than any health check turns, that is
//!   131,072 s: 1.5 days.
//!
//! A pass over the table in at most [`LONGEST_PASS_SECONDS`], a day, is inside both with room to spare. For 16 million
//! entries (6.3 million buckets) that is 73 buckets a second: 4.6 KB of memory traffic. Faster passes are for the sake
//! of [`occupancy`](ConntrackTable::occupancy), not of safety.
//!
//! # Workers
//!
//! [`Sweeps`] are one worker's part. A worker has to pass over a share of the table that is its own, so many buckets a
//! second, a few of them with each poll. Idle polls sweep besides, the whole table in [`IDLE_PASS_SECONDS`]: each worker
//! a share that is another one's in the next round, so that a busy worker's share is passed over by those that are not.
//!
//! ```text
//!  share       0         1         2         3
//!         ├─────────┼─────────┼─────────┼─────────┤
//!  due     worker 0  worker 1  worker 2  worker 3     in a day, always
//!  idle    worker 3  worker 0  worker 1  worker 2     in round 1; one further in each round
//! ```
//!
//! Nothing is shared but the table. The price is that nobody does the part that a worker owes while it stands still: its
//! share is as late as it is, but for what others' idle polls sweep there. It catches up with its next polls; a bucket
//! then waits for a day and the worker's stall, and may for 1.5 days.

use core::ops::Range;

use super::Standing;
use super::census::WorkerCensus;
use super::entry::{Entry, Phase};
use super::pair::BUCKET;
use super::table::ConntrackTable;
use crate::time::Tick;

/// Longest time that a pass of sweeps over the whole table may take, while no worker stands still.
pub const LONGEST_PASS_SECONDS: usize = 86_400;

/// Seconds in which idle workers pass over the whole table: entries that have outlived their use are counted as occupied
/// for about so long.
pub const IDLE_PASS_SECONDS: usize = 60;

/// Buckets that a poll sweeps of those that are due: neighbours, which the processor fetches ahead, so that a packet hardly
/// waits.
const A_POLL: usize = 8;

/// Buckets that an idle poll sweeps: about a microsecond's worth, so that a packet that comes meanwhile hardly waits.
const AN_IDLE_POLL: usize = 16;

/// Seconds of what is due that a worker may put off, poll by poll. What is older is swept at once: only a clock that
/// jumps, as that of a capture does, or a worker that has stood still owes so much.
const PUT_OFF_SECONDS: usize = 3_600;

/// Bucket that the next sweep begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepCursor(usize);

impl ConntrackTable {
    /// Empties the slots of void entries in the next `buckets` buckets (at most one pass); returns how many those were.
    ///
    /// Clears the overflow bits of empty slots that nothing needs any longer, too. `judge` says what an entry is worth now.
    /// Safe beside lookups, refreshes and insertions on other workers: an entry goes only from the very state that was
    /// judged, so one that is refreshed or replaced meanwhile stays.
    pub fn sweep(
        &self,
        cursor: &mut SweepCursor,
        buckets: usize,
        judge: impl Fn(&Entry) -> Standing,
    ) -> usize {
        self.sweep_counted(cursor, buckets, judge, None)
    }

    /// Empties slots as [`sweep`](Self::sweep) does, and counts their entries in a worker's census.
    pub fn sweep_counted(
        &self,
        cursor: &mut SweepCursor,
        buckets: usize,
        judge: impl Fn(&Entry) -> Standing,
        census: Option<&WorkerCensus>,
    ) -> usize {
        let mut emptied = 0;
        for _ in 0..buckets.min(self.bucket_count()) {
            let bucket = cursor.0 % self.bucket_count();
            emptied += self.sweep_buckets(bucket..bucket + 1, &judge, census);
            cursor.0 = (cursor.0 + 1) % self.bucket_count();
        }
        emptied
    }

    /// Empties the slots of void entries in these buckets; returns how many those were.
    fn sweep_buckets(
        &self,
        buckets: Range<usize>,
        judge: &impl Fn(&Entry) -> Standing,
        census: Option<&WorkerCensus>,
    ) -> usize {
        let mut emptied = 0;
        for number in buckets {
            let pair = self.pair_of_bucket(number);
            for slot in pair.bucket(number % 2 * BUCKET) {
                let state = slot.state();
                let void = state.phase() == Phase::Settled && judge(&state.entry()) == Standing::Void;
                if void && slot.vacate(state) {
                    emptied += 1;
                    if let Some(census) = census {
                        census.leave(&state.entry());
                    }
                }
            }
            // Mostly both buckets of the pair have just been swept: what had overflowed may have been void.
            if number % 2 == 1 {
                pair.clear_overflow();
            }
        }
        emptied
    }
}

/// One worker's part in the sweeps of a table, by the clock.
#[derive(Clone, Debug)]
pub struct Sweeps {
    worker: usize,
    workers: usize,
    /// Number of the table's buckets.
    buckets: usize,
    /// Second up to which `due` is reckoned.
    reckoned: Tick,
    /// Buckets that are due, of the share that the worker has to sweep.
    due: usize,
    own: Walk,
    /// Buckets that idle polls may still sweep in this second.
    spare: usize,
    idle: Walk,
}

/// Buckets that are passed over again and again.
#[derive(Clone, Debug)]
struct Walk {
    share: Range<usize>,
    /// Bucket of the share that comes next.
    offset: usize,
}

impl Walk {
    /// Next buckets, at most so many, and none beyond the end of the share.
    fn next(&mut self, most: usize) -> Range<usize> {
        let first = self.share.start + self.offset;
        let last = self.share.end.min(first + most);
        self.offset = if last == self.share.end { 0 } else { self.offset + most };
        first..last
    }
}

impl Sweeps {
    /// Part of the worker of this number, of so many, in the sweeps of `table`.
    ///
    /// # Panics
    /// If there is no such worker.
    #[must_use]
    pub fn new(table: &ConntrackTable, worker: usize, workers: usize) -> Self {
        Self::over(table.bucket_count(), worker, workers)
    }

    fn over(buckets: usize, worker: usize, workers: usize) -> Self {
        assert!(worker < workers, "there is no worker {worker} of {workers}");
        let share = share(buckets, worker, workers);
        let own = Walk { share: share.clone(), offset: 0 };
        let idle = Walk { share, offset: 0 };
        Self { worker, workers, buckets, reckoned: Tick::default(), due: 0, own, spare: 0, idle }
    }

    /// True if a poll at `now` has buckets to sweep; `is_idle` says that it has no packets.
    #[inline]
    #[must_use]
    pub fn have_work(&self, now: Tick, is_idle: bool) -> bool {
        now > self.reckoned || self.due > 0 || (is_idle && self.spare > 0)
    }

    /// Sweeps what a poll at `now` has to; returns how many slots it has emptied, whose entries it counts in the worker's
    /// census. `is_idle` says that it has no packets.
    #[cold]
    pub fn poll(
        &mut self,
        table: &ConntrackTable,
        now: Tick,
        is_idle: bool,
        judge: impl Fn(&Entry) -> Standing,
        census: Option<&WorkerCensus>,
    ) -> usize {
        let mut emptied = 0;
        self.take(now, is_idle, |buckets| emptied += table.sweep_buckets(buckets, &judge, census));
        emptied
    }

    /// Takes the buckets that a poll at `now` has to sweep.
    fn take(&mut self, now: Tick, is_idle: bool, mut sweep: impl FnMut(Range<usize>)) {
        if now > self.reckoned {
            self.reckon(now);
        }
        let mut left = self.due.min(A_POLL).max(self.due.saturating_sub(self.put_off()));
        self.due -= left;
        while left > 0 {
            let buckets = self.own.next(left);
            left -= buckets.len();
            sweep(buckets);
        }
        if is_idle && self.spare > 0 {
            let buckets = self.idle.next(self.spare.min(AN_IDLE_POLL));
            self.spare -= buckets.len();
            sweep(buckets);
        }
    }

    /// Adds what has become due up to the second `now`.
    fn reckon(&mut self, now: Tick) {
        let seconds = (now.0 - self.reckoned.0) as usize;
        self.reckoned = now;
        let buckets = self.own.share.len();
        self.due = self.due.saturating_add(seconds.saturating_mul(self.a_second())).min(buckets);
        let round = now.0 as usize / IDLE_PASS_SECONDS;
        let share = share(self.buckets, (self.worker + round) % self.workers, self.workers);
        // Goes on where this worker has stopped in its last share: the others have stopped about there in this one.
        self.idle.offset = if self.idle.offset < share.len() { self.idle.offset } else { 0 };
        self.spare = share.len().div_ceil(IDLE_PASS_SECONDS);
        self.idle.share = share;
    }

    /// Buckets that become due in a second.
    fn a_second(&self) -> usize {
        self.own.share.len().div_ceil(LONGEST_PASS_SECONDS)
    }

    /// Buckets that may be put off.
    fn put_off(&self) -> usize {
        PUT_OFF_SECONDS * self.a_second()
    }
}

/// Buckets of the share of this number, of so many.
fn share(buckets: usize, number: usize, of: usize) -> Range<usize> {
    let end = |number: usize| (buckets as u128 * number as u128 / of as u128) as usize;
    end(number)..end(number + 1)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Buckets that a worker takes with one poll.
    fn taken(sweeps: &mut Sweeps, now: u32, is_idle: bool) -> Vec<Range<usize>> {
        let mut taken = Vec::new();
        sweeps.take(Tick(now), is_idle, |buckets| taken.push(buckets));
        taken
    }

    /// Part of each of so many workers in the sweeps of so many buckets.
    fn team(buckets: usize, workers: usize) -> Vec<Sweeps> {
        (0..workers).map(|worker| Sweeps::over(buckets, worker, workers)).collect()
    }

    #[test]
    fn shares_are_the_whole_table_and_nothing_twice() {
        for (buckets, workers) in [(1, 1), (2, 3), (384, 64), (37_500_000, 64), (402_653_184, 7)] {
            let shares: Vec<_> = (0..workers).map(|number| share(buckets, number, workers)).collect();
            assert_eq!((shares[0].start, shares[workers - 1].end), (0, buckets));
            assert!(shares.windows(2).all(|pair| pair[0].end == pair[1].start), "{shares:?}");
            let most = shares.iter().map(ExactSizeIterator::len).max();
            assert!(most <= Some(buckets.div_ceil(workers)), "{shares:?}");
        }
    }

    #[test]
    fn busy_workers_pass_over_the_whole_table_in_a_day_and_not_much_sooner() {
        const BUCKETS: usize = 600_000;
        let mut latest = vec![0; BUCKETS];
        let mut team = team(BUCKETS, 3);
        let mut all = 0;
        for second in 1..=2 * LONGEST_PASS_SECONDS as u32 {
            for worker in &mut team {
                for buckets in taken(worker, second, false) {
                    assert!(buckets.len() <= A_POLL, "a packet would wait");
                    all += buckets.len();
                    for bucket in buckets {
                        assert!(second - latest[bucket] <= LONGEST_PASS_SECONDS as u32);
                        latest[bucket] = second;
                    }
                }
            }
        }
        let day = LONGEST_PASS_SECONDS as u32;
        assert!(latest.iter().all(|latest| *latest >= day), "each bucket is swept once a day");
        assert!(all < 3 * BUCKETS, "{all} buckets in two days");
    }

    #[test]
    fn a_second_of_a_large_table_is_spread_over_polls() {
        let mut sweeps = Sweeps::over(37_500_000, 0, 1);
        let polls: Vec<usize> =
            (0..100).map(|_| taken(&mut sweeps, 1, false).iter().map(ExactSizeIterator::len).sum()).collect();
        let a_second = 37_500_000_usize.div_ceil(LONGEST_PASS_SECONDS);
        assert_eq!(polls.iter().sum::<usize>(), a_second);
        assert!(polls.iter().all(|buckets| *buckets <= A_POLL));
        assert!(!sweeps.have_work(Tick(1), false) && sweeps.have_work(Tick(2), false));
    }

    #[test]
    fn idle_workers_together_pass_over_the_table_once_a_round_whoever_is_busy_in_it() {
        const BUCKETS: usize = 60_000;
        const BUSY: usize = 2;
        let mut team = team(BUCKETS, 5);
        let mut idle_reads = vec![0_usize; BUCKETS];
        let round = IDLE_PASS_SECONDS as u32;
        for second in round..3 * round {
            for (_, worker) in team.iter_mut().enumerate().filter(|(number, _)| *number != BUSY) {
                while worker.have_work(Tick(second), false) {
                    taken(worker, second, false);
                }
                while worker.have_work(Tick(second), true) {
                    for buckets in taken(worker, second, true) {
                        assert!(buckets.len() <= AN_IDLE_POLL);
                        idle_reads[buckets].iter_mut().for_each(|reads| *reads += 1);
                    }
                }
            }
        }
        // In one round the busy one leaves a share to nobody, in the next another.
        assert!(idle_reads.iter().all(|reads| *reads >= 1), "every share has had an idle worker");
        let all: usize = idle_reads.iter().sum();
        assert_eq!(all, 2 * BUCKETS / 5 * 4, "four of five shares in each of two rounds");
    }

    #[test]
    fn a_worker_that_stood_still_catches_up_at_once_with_all_but_an_hour() {
        const BUCKETS: usize = 10 * LONGEST_PASS_SECONDS;
        let mut sweeps = Sweeps::over(BUCKETS, 0, 1);
        let late: usize = taken(&mut sweeps, 30_000, false).iter().map(ExactSizeIterator::len).sum();
        assert_eq!(late, 10 * (30_000 - PUT_OFF_SECONDS));
        let week: usize = taken(&mut sweeps, 7 * 86_400, false).iter().map(ExactSizeIterator::len).sum();
        assert_eq!(week, BUCKETS - 10 * PUT_OFF_SECONDS, "no more than a pass is ever due");
    }
}
