//! Frames in heap memory, for captures, tests and benchmarks to hand to the pipeline.

use guideway_dataplane::frame::{Frame, HEADROOM};

/// Frame in heap memory with [`HEADROOM`] bytes before it.
///
/// ```text
/// memory:  | headroom      | frame                    |
///          0               start                      memory.len()
/// ```
///
/// An `Mbuf` is made to be filled again and again: once its memory holds the longest frame, it allocates no more.
#[derive(Clone, Debug)]
pub struct Mbuf {
    memory: Vec<u8>,
    start: usize,
}

impl Mbuf {
    /// Makes an empty frame; the first fill allocates.
    pub fn new() -> Self {
        Self { memory: Vec::new(), start: 0 }
    }

    /// Makes an empty frame whose memory holds frames of up to `len` bytes without a further allocation.
    pub fn with_capacity(len: usize) -> Self {
        Self { memory: Vec::with_capacity(HEADROOM + len), start: 0 }
    }

    /// Replaces the frame by `bytes` and restores the headroom.
    pub fn fill(&mut self, bytes: &[u8]) {
        self.fill_padded(bytes, bytes.len());
    }

    /// Replaces the frame by `bytes` and as many zeros as make it `wire_len` bytes long.
    ///
    /// A frame that its capture cut at the snapshot length gets its length on the wire back in this way: the
    /// headers that decide its way are whole, and the payload that was not kept reads as zeros. A `wire_len`
    /// shorter than `bytes` is ignored.
    pub fn fill_padded(&mut self, bytes: &[u8], wire_len: usize) {
        self.memory.resize(HEADROOM, 0);
        self.start = HEADROOM;
        self.memory.extend_from_slice(bytes);
        self.memory.resize(HEADROOM + wire_len.max(bytes.len()), 0);
    }

    /// Number of bytes that were put before the frame since it was filled.
    pub fn prepended(&self) -> usize {
        self.memory.len().min(HEADROOM) - self.start
    }
}

impl Default for Mbuf {
    fn default() -> Self {
        Self::new()
    }
}

impl Frame for Mbuf {
    fn bytes(&self) -> &[u8] {
        &self.memory[self.start..]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..]
    }

    fn prepend(&mut self, count: usize) -> bool {
        let Some(start) = self.start.checked_sub(count) else {
            return false;
        };
        self.start = start;
        true
    }

    fn truncate(&mut self, len: usize) {
        self.memory.truncate(self.start.saturating_add(len));
    }

    /// Allocates: there is no pool behind it.
    fn another(&self, [first, second]: [&[u8]; 2]) -> Option<Self> {
        let mut other = Self::with_capacity(first.len() + second.len());
        other.fill(first);
        other.memory.extend_from_slice(second);
        Some(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_mbuf_is_an_empty_frame_without_headroom() {
        let mut mbuf = Mbuf::new();
        assert!(mbuf.bytes().is_empty());
        assert!(!mbuf.prepend(1));
    }

    #[test]
    fn prepend_takes_the_headroom_and_no_more() {
        let mut mbuf = Mbuf::new();
        mbuf.fill(b"frame");
        assert_eq!(mbuf.prepended(), 0);
        assert!(mbuf.prepend(HEADROOM - 1));
        assert_eq!(mbuf.prepended(), HEADROOM - 1);
        assert!(!mbuf.prepend(2));
        assert_eq!(mbuf.bytes().len(), HEADROOM - 1 + 5);
        assert!(mbuf.prepend(1));
        assert!(!mbuf.prepend(1));
        assert!(!mbuf.prepend(usize::MAX));
        assert!(mbuf.bytes().ends_with(b"frame"));
    }

    #[test]
    fn a_fill_replaces_the_frame_and_restores_the_headroom() {
        let mut mbuf = Mbuf::new();
        mbuf.fill(b"a longer frame");
        assert!(mbuf.prepend(HEADROOM));
        mbuf.bytes_mut().fill(0xff);
        mbuf.fill(b"short");
        assert_eq!(mbuf.bytes(), b"short");
        assert!(mbuf.prepend(HEADROOM));
    }

    #[test]
    fn a_frame_that_was_cut_reads_as_zeros_up_to_its_length_on_the_wire() {
        let mut mbuf = Mbuf::new();
        mbuf.fill(&[0xff; 64]);
        mbuf.fill_padded(b"head", 8);
        assert_eq!(mbuf.bytes(), b"head\0\0\0\0");
        mbuf.fill_padded(b"head", 2);
        assert_eq!(mbuf.bytes(), b"head");
    }

    #[test]
    fn truncate_counts_from_the_frames_first_byte() {
        let mut mbuf = Mbuf::new();
        mbuf.fill(b"frame");
        assert!(mbuf.prepend(2));
        mbuf.bytes_mut()[..2].copy_from_slice(b"a ");
        mbuf.truncate(4);
        assert_eq!(mbuf.bytes(), b"a fr");
        mbuf.truncate(usize::MAX);
        assert_eq!(mbuf.bytes(), b"a fr");
        mbuf.truncate(0);
        assert!(mbuf.bytes().is_empty());
    }

    #[test]
    fn a_refill_of_no_greater_length_allocates_nothing() {
        let mut mbuf = Mbuf::with_capacity(1514);
        let memory = mbuf.memory.as_ptr();
        for len in [1514, 60, 0, 1514] {
            mbuf.fill_padded(&[7; 60][..len.min(60)], len);
            assert!(mbuf.prepend(HEADROOM));
        }
        assert_eq!(mbuf.memory.as_ptr(), memory);
    }
}
