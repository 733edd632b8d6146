//! Empties slots whose entries have outlived their use, a few buckets at a time, so that no clock or generation wraps
//! over an entry.
//!
//! An entry that nobody looks up stays in its slot after it has become void. That is harmless until a counter comes
//! round and it looks valid again:
//!
//! - `seen` wraps after 2^18 s. An entry is void once it is older than its idle timeout, 57,600 s at most, and must be
//!   gone [`CLOCK_SKEW`](Entry::CLOCK_SKEW) before the wrap: 2^18 − 57,600 − 4,096 = 200,448 s, 2.3 days.
//! - a backend's generation wraps after 2^18 steps. At a step a second, faster than any health check turns, that is
//!   262,144 s: 3 days.
//!
//! A pass over the table in at most [`LONGEST_PASS_SECONDS`], a day, is inside both with room to spare. For 16 million
//! entries (6.3 million buckets) that is 73 buckets a second: 4.6 KB of memory traffic. Faster passes are for the sake
//! of [`occupancy`](ConntrackTable::occupancy), not of safety.

use super::Standing;
use super::entry::{Entry, Phase};
use super::table::ConntrackTable;

/// Longest time that a pass of sweeps over the whole table may take.
pub const LONGEST_PASS_SECONDS: usize = 86_400;

/// Bucket that the next sweep begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepCursor(usize);

impl ConntrackTable {
    /// Empties the slots of void entries in the next `buckets` buckets (at most one pass); returns how many those were.
    ///
    /// `judge` says what an entry is worth now. Safe beside lookups, refreshes and insertions on other workers: an
    /// entry goes only from the very state that was judged, so one that is refreshed or replaced meanwhile stays.
    pub fn sweep(
        &self,
        cursor: &mut SweepCursor,
        buckets: usize,
        judge: impl Fn(&Entry) -> Standing,
    ) -> usize {
        let mut emptied = 0;
        for _ in 0..buckets.min(self.bucket_count()) {
            for slot in self.bucket(cursor.0 % self.bucket_count()) {
                let state = slot.state();
                let void = state.phase() == Phase::Settled && judge(&state.entry()) == Standing::Void;
                if void && slot.vacate(state) {
                    emptied += 1;
                }
            }
            cursor.0 = (cursor.0 + 1) % self.bucket_count();
        }
        emptied
    }

    /// Least number of buckets to sweep in a second.
    #[must_use]
    pub fn buckets_per_second(&self) -> usize {
        self.bucket_count().div_ceil(LONGEST_PASS_SECONDS)
    }
}
