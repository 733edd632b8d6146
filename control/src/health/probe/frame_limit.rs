//! A limit on the HTTP/2 frames that are read from a stream.
//!
//! h2 keeps some frames of a few bytes until they are asked for, such as interim responses, at twenty times their size: a
//! bound on bytes is none on memory.

use super::limited::Limit;

/// The most frames that a probe reads: settings, headers, a kilobyte of a body and trailers, in however small pieces an
/// honest server sends them.
const MAX_FRAMES: usize = 256;

/// The head of a frame (RFC 9113, section 4.1): three bytes of length, then what is of no matter here.
const HEAD_BYTES: usize = 9;

/// A count of frames, whatever pieces they come in.
#[derive(Debug)]
pub(super) struct FrameLimit {
    left: usize,
    /// Bytes of the current head that have come.
    head: usize,
    /// The length as far as the head has told it; then the bytes of that frame that are still to come.
    payload: usize,
}

impl FrameLimit {
    pub(super) const fn new() -> Self {
        Self { left: MAX_FRAMES, head: 0, payload: 0 }
    }
}

impl Limit for FrameLimit {
    fn admit(&mut self, mut bytes: &[u8]) -> bool {
        while let Some((first, rest)) = bytes.split_first() {
            if self.head == HEAD_BYTES {
                let passed = self.payload.min(bytes.len());
                self.payload -= passed;
                bytes = &bytes[passed..];
            } else {
                if self.head < 3 {
                    self.payload = self.payload << 8 | usize::from(*first);
                }
                self.head += 1;
                bytes = rest;
            }
            if self.head == HEAD_BYTES && self.payload == 0 {
                self.head = 0;
                let Some(left) = self.left.checked_sub(1) else { return false };
                self.left = left;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::peer::{frame, settings};
    use super::*;

    #[test]
    fn frames_are_counted_however_they_are_cut() {
        let two = [settings(), frame(0, 0, 1, &[0; 300])].concat();
        for piece in [1, 2, 7, 9, 100, two.len()] {
            let mut limit = FrameLimit::new();
            assert!(two.chunks(piece).all(|bytes| limit.admit(bytes)));
            assert_eq!((limit.left, limit.head), (MAX_FRAMES - 2, 0), "pieces of {piece}");
        }
    }

    #[test]
    fn one_more_than_the_bound_is_too_much() {
        let mut limit = FrameLimit::new();
        assert!(limit.admit(&settings().repeat(MAX_FRAMES)));
        assert!(!limit.admit(&settings()));
    }
}
