//! A stream of HTTP/2 frames of which only so many are read.
//!
//! h2 keeps some frames of a few bytes until they are asked for, such as interim responses, at twenty times their size: a
//! bound on bytes is none on memory.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::budget::too_long;

/// How many frames a probe reads: settings, headers, a kilobyte of a body and trailers, in however small pieces an honest
/// server sends them.
const MAX_FRAMES: usize = 256;

/// The head of a frame (RFC 9113, section 4.1): three bytes of length, then what is of no matter here.
const HEAD_BYTES: usize = 9;

/// A stream whose reads fail once it has more frames than it may have.
#[derive(Debug)]
pub(super) struct Frames<S> {
    stream: S,
    left: usize,
    /// How many bytes of a head have come.
    head: usize,
    /// What is known of the length in the head; then what is still to come of that frame.
    payload: usize,
}

impl<S> Frames<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, left: MAX_FRAMES, head: 0, payload: 0 }
    }

    /// Takes in what was read; false where that is too much.
    fn count(&mut self, mut bytes: &[u8]) -> bool {
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

impl<S: AsyncRead + Unpin> AsyncRead for Frames<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        if this.count(&buffer.filled()[before..]) {
            return Poll::Ready(Ok(()));
        }
        buffer.set_filled(before);
        Poll::Ready(Err(too_long()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Frames<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
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
            let mut frames = Frames::new(());
            assert!(two.chunks(piece).all(|bytes| frames.count(bytes)));
            assert_eq!((frames.left, frames.head), (MAX_FRAMES - 2, 0), "pieces of {piece}");
        }
    }

    #[test]
    fn one_more_than_the_bound_is_too_much() {
        let mut frames = Frames::new(());
        assert!(frames.count(&settings().repeat(MAX_FRAMES)));
        assert!(!frames.count(&settings()));
    }
}
