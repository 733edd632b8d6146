//! The headers of a burst's frames, each of which is on its way before its turn comes.

use crate::frame::Frame;
use crate::prefetch::prefetch;

/// Number of packets ahead that headers are prefetched: a line comes from the third-level cache, where NICs put it, in
/// the time that some four take to parse.
const AHEAD: usize = 4;

/// Bytes of the frames, in order; their headers are prefetched meanwhile.
#[inline(always)]
pub(super) fn with_headers_ahead<F: Frame>(frames: &[F]) -> impl Iterator<Item = &[u8]> {
    frames.iter().take(AHEAD).for_each(prefetch_header);
    frames.iter().enumerate().map(|(index, frame)| {
        // The last ones ask for what has come: that costs less than a branch.
        prefetch_header(frames.get(index + AHEAD).unwrap_or(frame));
        frame.bytes()
    })
}

#[inline(always)]
fn prefetch_header<F: Frame>(frame: &F) {
    prefetch(frame.bytes().as_ptr());
}
