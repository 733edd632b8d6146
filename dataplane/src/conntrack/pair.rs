//! Pairs of buckets: the slots that one key may have its entry in, on two neighbouring cache lines.

use super::slot::Slot;

/// Number of slots in a bucket: a cache line. Models have two, which leaves them fewer interleavings to try.
pub(super) const BUCKET: usize = if cfg!(loom) { 2 } else { 4 };

/// Number of slots that a key may have its entry in: those of its home bucket and of the other one of the pair.
pub(super) const PAIR: usize = 2 * BUCKET;

/// Two buckets: all slots that a key may have its entry in.
#[cfg_attr(not(loom), repr(C, align(128)))]
pub(super) struct Pair(pub(super) [Slot; PAIR]);

#[cfg(not(loom))]
const _: () = assert!(size_of::<Pair>() == 128, "a pair is two cache lines");
