//! Bytes sent, and bytes that must come back: what probes of the types TCP and SSL say.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{ProbeError, WeightReport};
use crate::config::Exchange;

/// Sends the request, if there is one, and compares the answer, if one is expected.
///
/// Google Cloud's reference of `TCPHealthCheck` and `SSLHealthCheck`: `response` holds "the bytes to match against the
/// beginning of the response data"; if it is empty, "any response will indicate health", so that none is waited for.
/// What follows those bytes is not read.
pub(super) async fn ask<S>(mut stream: S, exchange: &Exchange) -> Result<WeightReport, ProbeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let failed = |error: std::io::Error| ProbeError::from_io(&error);
    stream.write_all(exchange.request.as_bytes()).await.map_err(failed)?;
    stream.flush().await.map_err(failed)?;

    let mut expected = exchange.response.as_bytes();
    let mut piece = [0; PIECE_BYTES];
    while !expected.is_empty() {
        let room = expected.len().min(piece.len());
        let read = stream.read(&mut piece[..room]).await.map_err(failed)?;
        if read == 0 {
            return Err(ProbeError::Ended);
        }
        expected = expected.strip_prefix(&piece[..read]).ok_or(ProbeError::UnexpectedAnswer)?;
    }
    Ok(WeightReport::NotAsked)
}

/// How much of an answer is compared at a time: an answer that is expected has at most 1,024 bytes.
const PIECE_BYTES: usize = 1024;
