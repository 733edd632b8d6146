//! A stream of which only so much is read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most bytes that a probe reads, TLS and framing included.
///
/// The largest honest answer is a TLS handshake with a long certificate chain (rustls takes 64 KiB), 16 KiB
/// of headers, and the piece of a body that comes with them. More is a peer that does not stop; what it sends
/// cheaply, such as empty HTTP/2 frames or interim responses, is bounded by this alone.
pub const MAX_READ_BYTES: usize = 128 * 1024;

/// A bound on what is read from a stream.
pub(super) trait Limit {
    /// Takes in bytes that were read; false where they exceed the limit.
    fn admit(&mut self, bytes: &[u8]) -> bool;
}

/// A number of bytes, of which this many may still be read.
#[derive(Debug)]
pub(super) struct ByteLimit(pub(super) usize);

impl Limit for ByteLimit {
    fn admit(&mut self, bytes: &[u8]) -> bool {
        let left = self.0.checked_sub(bytes.len());
        self.0 = left.unwrap_or(0);
        left.is_some()
    }
}

/// A stream whose reads fail once they exceed a limit; writes pass unchanged.
#[derive(Debug)]
pub(super) struct Limited<S, L> {
    stream: S,
    limit: L,
    is_exceeded: bool,
}

impl<S, L: Limit> Limited<S, L> {
    pub(super) fn new(stream: S, limit: L) -> Self {
        Self { stream, limit, is_exceeded: false }
    }

    /// True if a read has failed because the peer sent more than the limit.
    pub(super) fn is_exceeded(&self) -> bool {
        self.is_exceeded
    }
}

impl<S: AsyncRead + Unpin, L: Limit + Unpin> AsyncRead for Limited<S, L> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.is_exceeded {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
            if this.limit.admit(&buffer.filled()[before..]) {
                return Poll::Ready(Ok(()));
            }
            this.is_exceeded = true;
            buffer.set_filled(before);
        }
        // Protocols pass on the kind of an error, and not what is in it. No socket has one of this kind.
        Poll::Ready(Err(io::Error::new(io::ErrorKind::QuotaExceeded, "the answer is too long")))
    }
}

impl<S: AsyncWrite + Unpin, L: Unpin> AsyncWrite for Limited<S, L> {
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

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    async fn read(bytes: &[u8], limit: usize) -> (io::Result<Vec<u8>>, bool) {
        let mut stream = Limited::new(tokio::io::join(bytes, tokio::io::sink()), ByteLimit(limit));
        let mut read = Vec::new();
        let result = stream.read_to_end(&mut read).await.map(|_| read);
        (result, stream.is_exceeded())
    }

    #[tokio::test]
    async fn as_much_as_the_limit_is_read() {
        let (read, is_exceeded) = read(b"four", 4).await;
        assert_eq!(read.expect("all is read"), b"four");
        assert!(!is_exceeded);
    }

    #[tokio::test]
    async fn a_byte_more_is_an_error() {
        let (read, is_exceeded) = read(b"fives", 4).await;
        assert!(read.is_err());
        assert!(is_exceeded);
    }

    #[tokio::test]
    async fn nothing_is_read_beyond_an_exceeded_limit() {
        let bytes = tokio::io::repeat(0);
        let mut stream = Limited::new(tokio::io::join(bytes, tokio::io::sink()), ByteLimit(4));
        assert!(stream.read_u64().await.is_err());
        assert!(stream.read_u8().await.is_err());
    }
}
