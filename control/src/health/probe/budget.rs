//! A stream of which only so much is read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much a probe reads in all, TLS and framing included.
///
/// The largest honest answer is a TLS handshake with a long certificate chain (rustls takes 64 KiB), 16 KiB
/// of headers, and the piece of a body that comes with them. More is a peer that does not stop; what it sends
/// cheaply, such as empty HTTP/2 frames or interim responses, is bounded by this alone.
pub const MAX_READ_BYTES: usize = 128 * 1024;

/// A stream whose reads fail once `left` bytes were read.
#[derive(Debug)]
pub(super) struct Budget<S> {
    stream: S,
    left: usize,
    is_spent: bool,
}

impl<S> Budget<S> {
    pub(super) fn new(stream: S, bytes: usize) -> Self {
        Self { stream, left: bytes, is_spent: false }
    }

    /// Whether a read has failed because there were more bytes than that.
    pub(super) fn is_spent(&self) -> bool {
        self.is_spent
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Budget<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        if this.is_spent {
            return Poll::Ready(Err(too_long()));
        }
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        let read = buffer.filled().len() - before;
        let Some(left) = this.left.checked_sub(read) else {
            this.is_spent = true;
            buffer.set_filled(before);
            return Poll::Ready(Err(too_long()));
        };
        this.left = left;
        Poll::Ready(Ok(()))
    }
}

pub(super) fn too_long() -> io::Error {
    // Protocols pass on the kind of an error, and not what is in it. No socket has one of this kind.
    io::Error::new(io::ErrorKind::QuotaExceeded, "the answer is too long")
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Budget<S> {
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

    async fn read(bytes: &[u8], budget: usize) -> (io::Result<Vec<u8>>, bool) {
        let mut stream = Budget::new(tokio::io::join(bytes, tokio::io::sink()), budget);
        let mut read = Vec::new();
        let result = stream.read_to_end(&mut read).await.map(|_| read);
        (result, stream.is_spent())
    }

    #[tokio::test]
    async fn as_much_as_the_budget_is_read() {
        let (read, is_spent) = read(b"four", 4).await;
        assert_eq!(read.expect("all is read"), b"four");
        assert!(!is_spent);
    }

    #[tokio::test]
    async fn a_byte_more_is_an_error() {
        let (read, is_spent) = read(b"fives", 4).await;
        assert!(read.is_err());
        assert!(is_spent);
    }

    #[tokio::test]
    async fn a_spent_budget_reads_nothing_more() {
        let bytes = tokio::io::repeat(0);
        let mut stream = Budget::new(tokio::io::join(bytes, tokio::io::sink()), 4);
        assert!(stream.read_u64().await.is_err());
        assert!(stream.read_u8().await.is_err());
    }
}
