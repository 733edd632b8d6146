//! Bytes to send, and bytes that must come back, as probes of the types TCP and SSL have them.

use guideway_model::config::Exchange;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::ProbeError;

/// Sends the request, if there is one, and compares the answer, if one is expected.
///
/// Google Cloud's reference of `TCPHealthCheck` and `SSLHealthCheck`: `response` holds "the bytes to match
/// against the beginning of the response data"; if it is empty, "any response will indicate health", so that
/// none is waited for. What follows those bytes is not read.
pub(super) async fn ask<S>(mut stream: S, exchange: &Exchange) -> Result<(), ProbeError>
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
    Ok(())
}

/// The bytes of an answer that are compared at a time: an expected answer has at most 1,024.
const PIECE_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use guideway_model::config::{Exchange, Probe, ProxyHeader};

    use super::super::peer::{Then, ask as ask_peer, ask_in_time, exchange, floods, says};
    use super::super::{ProbeError, WeightReport};

    const HEALTHY: Result<Option<WeightReport>, ProbeError> = Ok(None);

    async fn tcp(exchange: Exchange, answer: &[u8]) -> (Result<Option<WeightReport>, ProbeError>, Vec<u8>) {
        ask_peer(Probe::Tcp(exchange), |stream| says(stream, answer, Then::Closes)).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_alone_is_a_success() {
        let silent = |stream| says(stream, b"", Then::Waits);
        let (result, told) = ask_peer(Probe::Tcp(exchange("", "")), silent).await;
        assert_eq!((result, told), (HEALTHY, vec![]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_is_sent_and_no_answer_awaited() {
        let silent = |stream| says(stream, b"", Then::Waits);
        let (result, told) = ask_peer(Probe::Tcp(exchange("PING\r\n", "")), silent).await;
        assert_eq!((result, told), (HEALTHY, b"PING\r\n".to_vec()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_must_begin_with_the_expected_bytes() {
        let ping = || exchange("PING", "PONG");
        assert_eq!(tcp(ping(), b"PONG").await, (HEALTHY, b"PING".to_vec()));
        assert_eq!(tcp(ping(), b"PONG and more").await.0, HEALTHY);
        assert_eq!(tcp(ping(), b" PONG").await.0, Err(ProbeError::UnexpectedAnswer));
        assert_eq!(tcp(ping(), b"PONK").await.0, Err(ProbeError::UnexpectedAnswer));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wrong_byte_is_enough_to_know() {
        let wrong = |stream| says(stream, b"X", Then::Waits);
        let (result, _) = ask_peer(Probe::Tcp(exchange("", "PONG")), wrong).await;
        assert_eq!(result, Err(ProbeError::UnexpectedAnswer));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_may_come_in_pieces_and_unasked() {
        let long = "x".repeat(1024);
        let by_piece = |stream| async move {
            let (_, mut writer) = tokio::io::split(stream);
            for _ in 0..1024 {
                tokio::io::AsyncWriteExt::write_all(&mut writer, b"x").await.expect("the probe reads on");
                tokio::task::yield_now().await;
            }
        };
        assert_eq!(ask_peer(Probe::Tcp(exchange("", &long)), by_piece).await.0, HEALTHY);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_ends_first_is_a_failure() {
        assert_eq!(tcp(exchange("PING", "PONG"), b"").await.0, Err(ProbeError::Ended));
        assert_eq!(tcp(exchange("PING", "PONG"), b"PON").await.0, Err(ProbeError::Ended));
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_hangs_up_on_a_silent_peer() {
        let silent = |stream| says(stream, b"", Then::Waits);
        let (result, told) = ask_in_time(Probe::Tcp(exchange("PING", "PONG")), silent).await;
        assert_eq!((result, told), (None, b"PING".to_vec()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_follows_the_expected_bytes_is_not_read() {
        let endless = |stream| floods(stream, b"PONG", b"PONG");
        let (result, written) = ask_peer(Probe::Tcp(exchange("PING", "PONG")), endless).await;
        assert_eq!(result, HEALTHY);
        assert!(written < 16 * 1024, "{written}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_proxy_header_precedes_the_request() {
        let exchange = Exchange { proxy_header: ProxyHeader::ProxyV1, ..exchange("PING", "PONG") };
        let (result, told) = tcp(exchange, b"PONG").await;
        assert_eq!(result, HEALTHY);
        assert_eq!(told, b"PROXY TCP4 198.51.100.7 192.0.2.10 40001 8080\r\nPING");
    }
}
