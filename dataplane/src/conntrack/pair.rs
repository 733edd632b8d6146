//! Pairs of buckets: the slots that one key may have its entry in, on two neighbouring cache lines.

use super::slot::Slot;
use crate::primitive::{Ordering, fence};

/// Number of slots in a bucket: a cache line. Models have two, which leaves them fewer interleavings to try.
pub(super) const BUCKET: usize = if cfg!(loom) { 2 } else { 4 };

/// Number of slots that a key may have its entry in: those of its home bucket and of the other one of the pair.
pub(super) const PAIR: usize = 2 * BUCKET;

/// Two buckets: all slots that a key may have its entry in.
#[cfg_attr(not(loom), repr(C, align(128)))]
pub(super) struct Pair(pub(super) [Slot; PAIR]);

#[cfg(not(loom))]
const _: () = assert!(size_of::<Pair>() == 128, "a pair is two cache lines");

impl Pair {
    /// Bucket that starts at `first`, a multiple of [`BUCKET`].
    #[inline(always)]
    pub(super) fn bucket(&self, first: usize) -> &[Slot; BUCKET] {
        self.0[first..].first_chunk().expect("a pair is two buckets")
    }

    /// True if the overflow bit of the bucket that starts at `first` is still needed: an entry of one of its keys is in
    /// the other bucket, or may be about to be.
    ///
    /// For the worker that has made the bit's slot busy, and may clear the bit where this is false.
    pub(super) fn still_overflows(&self, first: usize) -> bool {
        let other = self.bucket(first ^ BUCKET);
        let lowest_bit = (first / BUCKET) as u64;
        let holds = || other.iter().any(|slot| slot.may_hold(lowest_bit));
        // A first look, which proves nothing, mostly spares the fence.
        holds() || {
            // SeqCst; pairs with the first fence of `settle` on a worker that puts an entry there. Either this look comes
            // after that fence and sees the entry, or that worker sees the busy slot and does not rely on its bit.
            fence(Ordering::SeqCst);
            holds()
        }
    }

    /// Clears what overflow bits are no longer needed, of slots that are empty.
    pub(super) fn clear_overflow(&self) {
        for first in [0, BUCKET] {
            for slot in self.bucket(first) {
                let state = slot.state();
                if state.is_empty() && state.overflows() && !self.still_overflows(first) {
                    slot.clear_overflow(state, || self.still_overflows(first));
                }
            }
        }
    }
}
