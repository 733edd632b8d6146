//! Neighbourhoods: the slots where one key may have its entry, and how it is found there.

use core::fmt;
use core::hint::select_unpredictable;

use super::TrackingKey;
use super::entry::{Phase, State};
use super::found::{Found, Glance};
use super::pair::{BUCKET, Pair};
use super::slot::Slot;
use crate::prefetch::prefetch;

/// Slots where one key may have its entry.
pub(super) struct Neighbourhood<'t> {
    pub(super) key: TrackingKey,
    pub(super) pair: &'t Pair,
    /// Index of the home bucket's first slot in the pair.
    pub(super) home: usize,
}

/// Home bucket of a key, where nearly every lookup ends.
#[derive(Clone, Copy)]
pub(crate) struct Home<'t>(&'t [Slot; BUCKET]);

impl Home<'_> {
    /// Starts to bring the bucket into the cache.
    #[inline(always)]
    pub(super) fn prefetch(self) {
        prefetch(self.0);
    }

    /// State of the slot that bears the name of the key in this bucket.
    //
    // The slot cannot be foreseen, and a wrong guess costs more than all else here: there must be no branch.
    // The entry may be a tentative one beside the settled one where workers contend, as its phase says. A slot that has
    // no entry and yet bears the name, as a fresh one does that of key zero, may hide one: the insertion then finds it.
    #[inline(always)]
    pub(super) fn glance(self, key: TrackingKey) -> Glance {
        let mut word = 0;
        for slot in self.0 {
            let state = slot.state();
            word = select_unpredictable(slot.bears(key, state), state.0, word);
        }
        Glance(State(word))
    }
}

impl fmt::Debug for Home<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Home").finish_non_exhaustive()
    }
}

impl<'t> Neighbourhood<'t> {
    /// Slot with index `n` in the order of lookups: the home bucket's first. The order is the same on every worker.
    #[inline]
    pub(super) fn slot(&self, n: usize) -> &'t Slot {
        &self.pair.0[n ^ self.home]
    }

    /// Settled entry of the key in the bucket that starts at `first` of the pair.
    #[inline]
    pub(super) fn settled_in(&self, first: usize) -> Option<Found<'t>> {
        let mut found = None;
        for slot in self.pair.bucket(first).iter().rev() {
            let state = slot.state();
            if slot.bears(self.key, state) {
                found = Some(Found { slot, state });
            }
        }
        // Nearly always what bears the name is its settled entry. While workers contend it may be another's beside it.
        found.and_then(
            |found| if found.state.phase() == Phase::Settled { Some(found) } else { self.search(first) },
        )
    }

    /// Settled entry of the key in the other bucket, after none was found in the home bucket.
    #[inline(always)]
    pub(super) fn settled_away(&self) -> Option<Found<'t>> {
        if self.overflows() { self.settled_in_other() } else { None }
    }

    /// Settled entry of the key in the other bucket: a call, which leaves lookups in the home bucket as short as they can be.
    #[inline(never)]
    fn settled_in_other(&self) -> Option<Found<'t>> {
        self.settled_in(self.home ^ BUCKET)
    }

    /// Home bucket of the key.
    #[inline(always)]
    pub(super) fn home(&self) -> Home<'t> {
        Home(self.pair.bucket(self.home))
    }

    /// Glance at the other bucket, after nothing was found in the home bucket.
    #[inline(always)]
    pub(super) fn glance_away(&self) -> Glance {
        if self.overflows() {
            Home(self.pair.bucket(self.home ^ BUCKET)).glance(self.key)
        } else {
            Glance(State(0))
        }
    }

    /// True if the other bucket may have the key's entry: a slot of the home bucket says that it has overflowed.
    #[inline(always)]
    pub(super) fn overflows(&self) -> bool {
        let bucket = self.pair.bucket(self.home);
        State(bucket.iter().fold(0, |words, slot| words | slot.state().0)).overflows()
    }

    /// True if a lookup or an insertion may need the other bucket.
    #[inline(always)]
    pub(super) fn may_need_other(&self) -> bool {
        let words = self.pair.bucket(self.home).iter().map(|slot| slot.state().0);
        // Without a branch. The phase is uppermost in a word, and that of an empty slot the least.
        let (all, least) = words.fold((0, u64::MAX), |(all, least), word| (all | word, least.min(word)));
        State(all).overflows() | !State(least).is_empty()
    }

    /// Settled entry of the key in a bucket in which another slot bears its name, too.
    #[cold]
    fn search(&self, first: usize) -> Option<Found<'t>> {
        self.pair.bucket(first).iter().find_map(|slot| {
            let state = slot.held_by(self.key).filter(|state| state.phase() == Phase::Settled)?;
            Some(Found { slot, state })
        })
    }
}
