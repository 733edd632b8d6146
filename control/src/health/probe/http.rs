//! An HTTP/1.1 request, as probes of the types HTTP and HTTPS send it.

use guideway_model::config::HttpRequest;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT as USER_AGENT_HEADER};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{ExpectedText, ProbeError, Target, USER_AGENT, WeightReport, drive};

/// The longest status line with its headers, which is what common servers and clients take too. hyper reads
/// into a buffer of that size, so that it bounds what is kept of a body as well.
pub(super) const MAX_HEADER_BYTES: usize = 16 * 1024;

/// The most headers that an answer may have.
const MAX_HEADERS: usize = 100;

/// Sends the request, and judges the answer, whose head says what `weight` is.
pub(super) async fn ask<S>(
    stream: S,
    request: &HttpRequest,
    target: &Target,
    weight: &mut Option<WeightReport>,
) -> Result<(), ProbeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut expected = ExpectedText::new(&request.response);
    let question = Request::get(encoded_path(&request.path))
        .header(HOST, request.host.clone().unwrap_or_else(|| target.host()))
        .header(USER_AGENT_HEADER, USER_AGENT)
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| ProbeError::InvalidRequest(error.to_string()))?;

    let failed = |error: hyper::Error| ProbeError::from_hyper(&error);
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEADER_BYTES)
        .max_headers(MAX_HEADERS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    let exchange = async {
        let answer = sender.send_request(question).await.map_err(failed)?;
        *weight = Some(WeightReport::read(answer.headers()));
        judge_status(answer.status())?;
        let mut body = answer.into_body();
        let mut is_found = expected.is_none();
        while !is_found {
            let frame = body.frame().await.ok_or(ProbeError::UnexpectedAnswer)?.map_err(failed)?;
            // Trailers are no part of the body.
            if let Some(piece) = frame.data_ref() {
                is_found = expected.is_found_with(piece)?;
            }
        }
        Ok(())
    };
    drive(connection, exchange).await
}

/// Judges the status of an answer.
///
/// # Errors
/// [`ProbeError::Status`] for every status but 200. Redirects are not followed, as Google Cloud's probes do not.
pub(super) fn judge_status(status: StatusCode) -> Result<(), ProbeError> {
    if status == StatusCode::OK { Ok(()) } else { Err(ProbeError::Status(status.as_u16())) }
}

/// The configured path, which is visible ASCII, as a URI can hold it.
pub(super) fn encoded_path(path: &str) -> String {
    utf8_percent_encode(path, NOT_IN_A_PATH).to_string()
}

/// The characters that can stand neither in a path nor in a query (RFC 3986, sections 3.3 and 3.4). The percent
/// sign can: the path may be encoded already.
const NOT_IN_A_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

#[cfg(test)]
mod tests {
    use guideway_model::config::{Probe, ProxyHeader};

    use super::super::Answer;
    use super::super::peer::{self, Then, ask as ask_peer, ask_in_time, floods, http, says};
    use super::*;
    use crate::health::probe::MAX_READ_BYTES;

    const MISSING_WEIGHT: Option<WeightReport> = Some(WeightReport::Missing);

    /// The result of a probe that gets `answer`, after which the peer closes the connection.
    async fn judge(response: &str, answer: &str) -> Result<Option<WeightReport>, ProbeError> {
        let closing = |stream| says(stream, answer.as_bytes(), Then::Closes);
        ask_peer(Probe::Http(http(response)), closing).await.0
    }

    async fn question(request: HttpRequest) -> String {
        let closing = |stream| says(stream, b"HTTP/1.1 200 OK\r\n\r\n", Then::Closes);
        let (result, told) = ask_peer(Probe::Http(request), closing).await;
        assert!(result.is_ok(), "{result:?}");
        String::from_utf8(told).expect("ASCII")
    }

    #[tokio::test(start_paused = true)]
    async fn the_request_is_a_get_of_the_path_at_the_probed_address() {
        let user_agent = format!("user-agent: Guideway-HealthCheck/{}", env!("CARGO_PKG_VERSION"));
        assert_eq!(
            question(http("")).await,
            format!("GET / HTTP/1.1\r\nhost: 192.0.2.10\r\n{user_agent}\r\nconnection: close\r\n\r\n")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_request_has_the_configured_host_and_path() {
        let request = HttpRequest {
            host: Some("www.example:81".to_owned()),
            path: "/healthz?deep=%20<1>#top".to_owned(),
            ..http("")
        };
        let told = question(request).await;
        assert!(
            told.starts_with("GET /healthz?deep=%20%3C1%3E%23top HTTP/1.1\r\nhost: www.example:81\r\n"),
            "{told}"
        );
    }

    #[test]
    fn every_path_that_can_be_configured_can_be_sent() {
        let path: String = std::iter::once('/').chain((b'!'..=b'~').map(char::from)).collect();
        assert!(Request::get(encoded_path(&path)).body(()).is_ok(), "{path}");
    }

    #[test]
    fn an_ipv6_address_is_a_host_in_brackets() {
        let vip = "2001:db8::10".parse().expect("an address");
        assert_eq!(Target { vip, ..peer::target() }.host(), "[2001:db8::10]");
    }

    #[tokio::test(start_paused = true)]
    async fn a_proxy_header_precedes_the_request() {
        let told = question(HttpRequest { proxy_header: ProxyHeader::ProxyV1, ..http("") }).await;
        assert!(told.starts_with("PROXY TCP4 198.51.100.7 192.0.2.10 40001 8080\r\nGET / "), "{told}");
    }

    #[tokio::test(start_paused = true)]
    async fn only_status_200_is_a_success() {
        assert_eq!(judge("", "HTTP/1.1 200 OK\r\n\r\n").await, Ok(MISSING_WEIGHT));
        assert_eq!(judge("", "HTTP/1.0 200 OK\r\n\r\n").await, Ok(MISSING_WEIGHT));
        for status in [201, 204, 206, 301, 302, 307, 308, 400, 404, 500, 503] {
            let answer = format!("HTTP/1.1 {status} Words\r\nlocation: http://192.0.2.10/\r\n\r\n");
            assert_eq!(judge("", &answer).await, Err(ProbeError::Status(status)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_interim_response_is_passed_over() {
        let answer = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
        assert_eq!(judge("", answer).await, Ok(MISSING_WEIGHT));
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_is_enough_where_no_text_is_expected() {
        let waiting = |stream| says(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", Then::Waits);
        let (result, _) = ask_peer(Probe::Http(http("")), waiting).await;
        assert_eq!(result, Ok(MISSING_WEIGHT));
    }

    #[tokio::test(start_paused = true)]
    async fn the_body_must_hold_the_expected_text() {
        let body = |body: &str| format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let found = Ok(MISSING_WEIGHT);
        let not_found = Err(ProbeError::UnexpectedAnswer);
        assert_eq!(judge("healthy", &body("I am healthy.")).await, found);
        assert_eq!(judge("healthy", &body("I am ill.")).await, not_found);
        assert_eq!(judge("healthy", &body("")).await, not_found);
        assert_eq!(judge("healthy", &body(&format!("{}healthy", ".".repeat(1017)))).await, found);
        assert_eq!(judge("healthy", &body(&format!("{}healthy", ".".repeat(1018)))).await, not_found);
        // Neither a header nor the framing of chunks is the body.
        assert_eq!(judge("OK", &body("")).await, not_found);
        let chunks =
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhea\r\n4\r\nlthy\r\n0\r\n\r\n";
        assert_eq!(judge("healthy", chunks).await, found);
        let until_the_end = "HTTP/1.1 200 OK\r\n\r\nhealthy";
        assert_eq!(judge("healthy", until_the_end).await, found);
        assert_eq!(judge("ill", until_the_end).await, not_found);
    }

    #[tokio::test(start_paused = true)]
    async fn a_text_is_found_before_the_body_ends() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nhealthy";
        let (result, _) =
            ask_peer(Probe::Http(http("healthy")), |stream| says(stream, answer, Then::Waits)).await;
        assert_eq!(result, Ok(MISSING_WEIGHT));
    }

    #[tokio::test(start_paused = true)]
    async fn a_weight_is_reported_whether_the_answer_passes_or_fails() {
        let answered = async |status, weight, response| {
            let head = format!("HTTP/1.1 {status} Words\r\n{weight}\r\n");
            let peer = |stream| says(stream, head.as_bytes(), Then::Closes);
            let Answer { weight, judgement } = peer::answer(Probe::Http(http(response)), peer).await;
            (weight, judgement)
        };
        let weight = "X-Load-Balancing-Endpoint-Weight: 250\r\n";
        let reported = Some(WeightReport::Weight(250));
        assert_eq!(answered(200, weight, "").await, (reported, Ok(())));
        assert_eq!(answered(503, weight, "").await, (reported, Err(ProbeError::Status(503))));
        assert_eq!(answered(200, weight, "well").await, (reported, Err(ProbeError::UnexpectedAnswer)));
        let many = "X-Load-Balancing-Endpoint-Weight: many\r\n";
        for (status, judgement) in [(200, Ok(())), (503, Err(ProbeError::Status(503)))] {
            assert_eq!(answered(status, many, "").await, (Some(WeightReport::Invalid), judgement));
        }
        assert_eq!(answered(503, "", "").await, (MISSING_WEIGHT, Err(ProbeError::Status(503))));
        let silent = peer::answer(Probe::Http(http("")), |stream| says(stream, b"", Then::Closes)).await;
        assert_eq!(silent, Answer { weight: None, judgement: Err(ProbeError::Ended) });
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_ends_first_is_a_failure() {
        for answer in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 103 Early Hints\r\n\r\n"] {
            assert_eq!(judge("", answer).await, Err(ProbeError::Ended), "{answer}");
        }
        let short = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nheal";
        assert_eq!(judge("healthy", short).await, Err(ProbeError::Ended));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_of_another_protocol_is_a_failure() {
        for answer in ["SSH-2.0-OpenSSH_9.2\r\n", "HTTP/2.0 200 OK\r\n\r\n", "\0\0\x12\x04\0\0\0\0\0"] {
            let result = judge("", answer).await;
            assert!(matches!(result, Err(ProbeError::Protocol(_))), "{result:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_hangs_up_on_a_silent_peer() {
        let (result, told) =
            ask_in_time(Probe::Http(http("")), |stream| says(stream, b"", Then::Waits)).await;
        assert_eq!(result, None);
        assert!(told.starts_with(b"GET / "));
    }

    /// The result of a probe whose answer does not end, and the bytes of it that were sent.
    async fn flood(beginning: &str, piece: &str) -> (Result<Option<WeightReport>, ProbeError>, usize) {
        let endless = |stream| floods(stream, beginning.as_bytes(), piece.as_bytes());
        ask_peer(Probe::Http(http("healthy")), endless).await
    }

    #[tokio::test(start_paused = true)]
    async fn endless_headers_are_read_to_a_bound() {
        let (result, written) = flood("HTTP/1.1 200 OK\r\nname: ", "value").await;
        assert_eq!(result, Err(ProbeError::HeadersTooLong));
        assert!(written < 2 * MAX_HEADER_BYTES, "{written}");

        let (result, written) = flood("HTTP/1.1 200 OK\r\n", "a: b\r\n").await;
        assert_eq!(result, Err(ProbeError::HeadersTooLong));
        assert!(written < 2 * MAX_HEADER_BYTES, "{written}");
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_headers_as_the_bound_are_taken() {
        let answer = |count| format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(count));
        assert_eq!(judge("", &answer(MAX_HEADERS)).await, Ok(MISSING_WEIGHT));
        assert_eq!(judge("", &answer(MAX_HEADERS + 1)).await, Err(ProbeError::HeadersTooLong));
    }

    #[tokio::test(start_paused = true)]
    async fn an_endless_body_is_read_to_a_bound() {
        let (result, written) = flood("HTTP/1.1 200 OK\r\n\r\n", "not yet ").await;
        assert_eq!(result, Err(ProbeError::UnexpectedAnswer));
        assert!(written < 4 * MAX_HEADER_BYTES, "{written}");
    }

    #[tokio::test(start_paused = true)]
    async fn endless_interim_responses_are_read_to_a_bound() {
        let (result, written) = flood("", "HTTP/1.1 103 Early Hints\r\n\r\n").await;
        assert_eq!(result, Err(ProbeError::AnswerTooLong));
        assert!(written < MAX_READ_BYTES + MAX_HEADER_BYTES, "{written}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_endless_chunk_header_is_read_to_a_bound() {
        let (result, written) =
            flood("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;", "extension").await;
        assert!(result.is_err());
        assert!(written < MAX_READ_BYTES + MAX_HEADER_BYTES, "{written}");
    }
}
