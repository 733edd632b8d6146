//! The control thread's end of a worker's tap: it takes the recorded frames out of the rings.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;
use rtrb::Consumer;

use super::SNAPLEN;
use super::frame::{TappedBytes, TappedFrame};
use super::head::{Head, Lengths};

/// Control thread's end of a worker's tap: reads the recorded frames.
pub struct TapReader {
    pub(super) heads: Consumer<Head>,
    pub(super) bytes: Consumer<u8>,
    pub(super) missed: Arc<CachePadded<AtomicU64>>,
    /// Copies of the frame that was read last: in their ring they may lie in two pieces.
    pub(super) copies: Box<[u8; 2 * SNAPLEN]>,
}

impl TapReader {
    /// Takes the next frame that the worker has recorded.
    ///
    /// A worker may record as fast as this is called: whoever has other things to do reads no more at once
    /// than were [`waiting`](Self::waiting).
    pub fn read(&mut self) -> Option<TappedFrame<'_>> {
        let head = *self.heads.peek().ok()?;
        let recorded = |lengths: Option<Lengths>| lengths.map_or(0, |lengths| usize::from(lengths.recorded));
        let (received_len, sent_len) = (recorded(head.received), recorded(head.sent));
        let len = received_len + sent_len;
        let bytes = self.bytes.read_chunk(len).expect("the worker writes them before their head");
        let (first, second) = bytes.as_slices();
        self.copies[..first.len()].copy_from_slice(first);
        self.copies[first.len()..len].copy_from_slice(second);
        bytes.commit_all();
        self.heads.pop().expect("it was there before its bytes were read");
        let (received, rest) = self.copies.split_at(received_len);
        let copy = |lengths: Option<Lengths>, bytes| {
            lengths.map(|lengths: Lengths| TappedBytes { bytes, wire_len: lengths.wire })
        };
        Some(TappedFrame {
            timestamp_nanos: head.timestamp_nanos,
            generation: head.generation,
            came_by: head.came_by,
            decision: head.decision,
            flow: head.flow,
            look: head.look,
            received: copy(head.received, received),
            sent: copy(head.sent, &rest[..sent_len]),
        })
    }

    /// Number of frames that can be read now.
    pub fn waiting(&self) -> usize {
        self.heads.slots()
    }

    /// Drops the frames that wait, which an earlier capture left.
    pub fn discard(&mut self) {
        for _ in 0..self.waiting() {
            self.read();
        }
    }

    /// Number of frames since the worker's start that an order wanted and no slot was free for.
    pub fn missed(&self) -> u64 {
        // Relaxed: the count carries nothing but itself, and has one writer.
        self.missed.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for TapReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TapReader").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}
