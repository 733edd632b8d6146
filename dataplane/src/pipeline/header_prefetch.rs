//! The headers of a burst's frames, each of which is on its way before its turn comes.

use crate::frame::Frame;
use crate::prefetch::prefetch;

/// Number of packets ahead that headers are prefetched: a line comes from the third-level cache, where NICs put it, in
/// the time that some four take to parse.
const AHEAD: usize = 4;

/// Frames whose headers are still to be prefetched, while those before them have their turn.
pub(super) struct HeadersAhead<'f, F>(&'f [F]);

impl<'f, F: Frame> HeadersAhead<'f, F> {
    /// Prefetches the first headers of a burst.
    #[inline(always)]
    pub(super) fn of(frames: &'f [F]) -> Self {
        let (first, ahead) = frames.split_at(AHEAD.min(frames.len()));
        first.iter().for_each(prefetch_header);
        Self(ahead)
    }

    /// Prefetches a header while the frame with this index has its turn.
    #[inline(always)]
    pub(super) fn prefetch(&self, index: usize) {
        if let Some(ahead) = self.0.get(index) {
            prefetch_header(ahead);
        }
    }
}

#[inline(always)]
fn prefetch_header<F: Frame>(frame: &F) {
    prefetch(frame.bytes().as_ptr());
}
