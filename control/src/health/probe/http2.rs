//! An HTTP/2 request, as probes of the type HTTP2 send it, and the connection that those of the types GRPC and GRPC_WITH_TLS use too.

use bytes::Bytes;
use guideway_model::config::HttpRequest;
use h2::client::{Builder, Connection, SendRequest};
use hyper::header::USER_AGENT as USER_AGENT_HEADER;
use hyper::{Request, Uri};
use tokio::io::{AsyncRead, AsyncWrite};

use super::frame_limit::FrameLimit;
use super::http::{MAX_HEADER_BYTES, encoded_path, judge_status};
use super::limited::Limited;
use super::{ExpectedText, ProbeError, Target, USER_AGENT, WeightReport, drive};

/// The bytes of a body that the peer may send: more than is looked at, for the sake of padding, and never extended.
const WINDOW_BYTES: u32 = 4 * 1024;

/// The largest frame: the smallest that the protocol allows to ask for (RFC 9113, section 6.5.2).
const MAX_FRAME_BYTES: u32 = 16 * 1024;

/// The size of the header table that the peer may use: none, as one answer has no use for it.
const HEADER_TABLE_BYTES: u32 = 0;

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
    let host = request.host.clone().unwrap_or_else(|| target.host());
    let question = Request::get(uri("https", &host, &encoded_path(&request.path))?)
        .header(USER_AGENT_HEADER, USER_AGENT)
        .body(())
        .map_err(|error| ProbeError::InvalidRequest(error.to_string()))?;

    let failed = |error: h2::Error| ProbeError::from_h2(&error);
    let (sender, connection) = start(stream).await?;
    let exchange = async {
        let mut sender = sender.ready().await.map_err(failed)?;
        let (answer, _) = sender.send_request(question, true).map_err(failed)?;
        let answer = answer.await.map_err(failed)?;
        *weight = Some(WeightReport::read(answer.headers()));
        judge_status(answer.status())?;
        let mut body = answer.into_body();
        let mut is_found = expected.is_none();
        while !is_found {
            let piece = body.data().await.ok_or(ProbeError::UnexpectedAnswer)?.map_err(failed)?;
            is_found = expected.is_found_with(&piece)?;
        }
        Ok(())
    };
    drive(connection, exchange).await
}

/// A connection over a stream whose frames are limited.
type LimitedConnection<S> = Connection<Limited<S, FrameLimit>, Bytes>;

/// Starts HTTP/2 on `stream`, by prior knowledge.
pub(super) async fn start<S>(stream: S) -> Result<(SendRequest<Bytes>, LimitedConnection<S>), ProbeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    Builder::new()
        .enable_push(false)
        .initial_window_size(WINDOW_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .max_header_list_size(u32::try_from(MAX_HEADER_BYTES).unwrap_or(u32::MAX))
        .header_table_size(HEADER_TABLE_BYTES)
        .handshake(Limited::new(stream, FrameLimit::new()))
        .await
        .map_err(|error| ProbeError::from_h2(&error))
}

/// The URI of a request.
///
/// # Errors
/// [`ProbeError::InvalidRequest`] where `authority` is none, such as a host with a slash.
pub(super) fn uri(scheme: &str, authority: &str, path: &str) -> Result<Uri, ProbeError> {
    Uri::builder()
        .scheme(scheme)
        .authority(authority)
        .path_and_query(path)
        .build()
        .map_err(|error| ProbeError::InvalidRequest(error.to_string()))
}

#[cfg(test)]
mod tests {
    use guideway_model::config::Probe;

    use super::super::peer::{
        self, Http2Answer, IN_FLIGHT_BYTES, Then, ask as ask_peer, ask_in_time, floods, frame, http, says,
        settings, tls,
    };
    use super::*;
    use crate::health::probe::MAX_READ_BYTES;

    const MISSING_WEIGHT: Option<WeightReport> = Some(WeightReport::Missing);

    /// The result of a probe that gets `answer`.
    async fn judge(response: &str, answer: Http2Answer) -> Result<Option<WeightReport>, ProbeError> {
        let server = async |stream| {
            let session = tls(stream, &["h2"]).await.expect("a session");
            peer::http2(session, answer).await;
        };
        ask_peer(Probe::Http2(http(response)), server).await.0
    }

    #[tokio::test(start_paused = true)]
    async fn the_request_is_a_get_of_the_configured_host_and_path() {
        let request =
            HttpRequest { host: Some("www.example:81".to_owned()), path: "/a?b#c".to_owned(), ..http("") };
        let server = async |stream| {
            let session = tls(stream, &["h2"]).await.expect("a session");
            peer::http2(session, Http2Answer::new(200, b"")).await.expect("a request").0
        };
        let (result, told) = ask_peer(Probe::Http2(request), server).await;
        assert_eq!(result, Ok(MISSING_WEIGHT));
        assert_eq!(told.method, "GET");
        assert_eq!(told.uri, "https://www.example:81/a?b%23c");
        assert_eq!(told.headers["user-agent"], USER_AGENT);
    }

    #[tokio::test(start_paused = true)]
    async fn the_probed_address_is_the_host_where_none_is_configured() {
        let server = async |stream| {
            let session = tls(stream, &["h2"]).await.expect("a session");
            peer::http2(session, Http2Answer::new(200, b"")).await.expect("a request").0.uri
        };
        let (_, uri) = ask_peer(Probe::Http2(http("")), server).await;
        assert_eq!(uri, "https://192.0.2.10/");
        assert!(uri_of_ipv6().is_ok());
    }

    fn uri_of_ipv6() -> Result<Uri, ProbeError> {
        let vip = "2001:db8::10".parse().expect("an address");
        uri("https", &Target { vip, ..peer::target() }.host(), "/")
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_is_no_authority_is_a_failure() {
        let request = HttpRequest { host: Some("a/b".to_owned()), ..http("") };
        let server = async |stream| tls(stream, &["h2"]).await.is_some();
        let (result, _) = ask_peer(Probe::Http2(request), server).await;
        assert!(matches!(result, Err(ProbeError::InvalidRequest(_))), "{result:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn only_status_200_is_a_success() {
        assert_eq!(judge("", Http2Answer::new(200, b"body")).await, Ok(MISSING_WEIGHT));
        for status in [204, 302, 404, 503] {
            let answer = Http2Answer::new(status, b"");
            assert_eq!(judge("", answer).await, Err(ProbeError::Status(status)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_body_must_hold_the_expected_text() {
        let found = Ok(MISSING_WEIGHT);
        let not_found = Err(ProbeError::UnexpectedAnswer);
        assert_eq!(judge("healthy", Http2Answer::new(200, b"I am healthy.")).await, found);
        assert_eq!(judge("healthy", Http2Answer::new(200, b"I am ill.")).await, not_found);
        assert_eq!(judge("healthy", Http2Answer::new(200, b"")).await, not_found);
        let pieces = vec![b"I am heal".to_vec(), b"thy".to_vec()];
        assert_eq!(judge("healthy", Http2Answer { pieces, ..Http2Answer::new(200, b"") }).await, found);
        let long = |before: usize| [vec![b'.'; before], b"healthy".to_vec()].concat();
        assert_eq!(judge("healthy", Http2Answer::new(200, &long(1017))).await, found);
        assert_eq!(judge("healthy", Http2Answer::new(200, &long(1018))).await, not_found);
        // Longer than the window.
        assert_eq!(judge("healthy", Http2Answer::new(200, &long(100_000))).await, not_found);
    }

    #[tokio::test(start_paused = true)]
    async fn a_weight_is_reported() {
        let mut answer = Http2Answer::new(200, b"");
        answer.head = answer.head.header("X-Load-Balancing-Endpoint-Weight", "250");
        assert_eq!(judge("", answer).await, Ok(Some(WeightReport::Weight(250))));
    }

    /// The result of a probe that gets these bytes within TLS; `None` where it waits for more.
    async fn raw(
        response: &str,
        bytes: &[u8],
        then: Then,
    ) -> Option<Result<Option<WeightReport>, ProbeError>> {
        let server = async |stream| says(tls(stream, &["h2"]).await.expect("a session"), bytes, then).await;
        ask_in_time(Probe::Http2(http(response)), server).await.0
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_ends_first_is_a_failure() {
        assert_eq!(raw("", b"", Then::Closes).await, Some(Err(ProbeError::Ended)));
        assert_eq!(raw("", &settings(), Then::Closes).await, Some(Err(ProbeError::Ended)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_counts_though_the_connection_ends_with_it() {
        // END_STREAM and END_HEADERS.
        let whole = [settings(), frame(1, 5, 1, &[0x88])].concat();
        assert_eq!(raw("", &whole, Then::Closes).await, Some(Ok(MISSING_WEIGHT)));
        let with_body = [settings(), head(), frame(0, 1, 1, b"healthy")].concat();
        let found = Some(Ok(MISSING_WEIGHT));
        assert_eq!(raw("healthy", &with_body, Then::Closes).await, found);
        assert_eq!(raw("ill", &with_body, Then::Closes).await, Some(Err(ProbeError::UnexpectedAnswer)));
        let goaway = [with_body, frame(7, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0])].concat();
        assert_eq!(raw("healthy", &goaway, Then::Closes).await, found);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_is_for_the_timeout() {
        assert_eq!(raw("", &settings(), Then::Waits).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_goaway_or_a_reset_is_a_failure() {
        let goaway = [settings(), frame(7, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 11])].concat();
        let reset = [settings(), frame(3, 0, 1, &[0, 0, 0, 2])].concat();
        for bytes in [goaway, reset] {
            let result = raw("", &bytes, Then::Waits).await;
            assert!(matches!(result, Some(Err(ProbeError::Refused(_)))), "{result:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_of_another_protocol_is_a_failure() {
        let result = raw("", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Then::Waits).await;
        assert!(matches!(result, Some(Err(ProbeError::Protocol(_)))), "{result:?}");
    }

    /// The head of an answer with status 200, to be followed by a body.
    fn head() -> Vec<u8> {
        // END_HEADERS; field 8 of the static table is `:status: 200` (RFC 7541, appendix A).
        frame(1, 4, 1, &[0x88])
    }

    /// A field that no table knows.
    fn field() -> Vec<u8> {
        [&[0, 1, b'a', 100], [b'b'; 100].as_slice()].concat()
    }

    #[tokio::test(start_paused = true)]
    async fn endless_frames_are_read_to_a_bound() {
        let data = [settings(), head()].concat();
        let begun = [settings(), frame(1, 0, 1, &field())].concat();
        let floods_of = [
            ("SETTINGS", settings(), settings()),
            ("SETTINGS with values", settings(), frame(4, 0, 0, &[0, 4, 0, 0, 16, 0])),
            ("PING", settings(), frame(6, 0, 0, &[0; 8])),
            ("WINDOW_UPDATE", settings(), frame(8, 0, 0, &[0, 0, 0, 1])),
            ("PRIORITY", settings(), frame(2, 0, 1, &[0, 0, 0, 0, 1])),
            ("unknown", settings(), frame(99, 0, 0, &[0; 100])),
            ("RST_STREAM", settings(), frame(3, 0, 3, &[0, 0, 0, 8])),
            ("interim HEADERS", settings(), frame(1, 4, 1, &[8, 3, b'1', b'0', b'3'])),
            ("PUSH_PROMISE", settings(), frame(5, 4, 1, &[0, 0, 0, 2, 0x82, 0x87, 0x84])),
            ("CONTINUATION", begun, frame(9, 0, 1, &field())),
            ("DATA", data.clone(), frame(0, 0, 1, b"not yet")),
            ("large DATA", data.clone(), frame(0, 0, 1, &[b'.'; 16_384])),
            ("empty DATA", data.clone(), frame(0, 0, 1, b"")),
            ("padding", data, frame(0, 8, 1, &[100; 101])),
        ];
        for (name, beginning, piece) in floods_of {
            let server = async |stream| {
                floods(tls(stream, &["h2"]).await.expect("a session"), &beginning, &piece).await
            };
            let (result, written) = ask_peer(Probe::Http2(http("healthy")), server).await;
            assert!(result.is_err(), "{name}: {result:?}");
            // What the peer has written and the probe has not read is within the peer's TLS session.
            assert!(written < MAX_READ_BYTES + 128 * 1024 + IN_FLIGHT_BYTES, "{name}: {written}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn long_headers_are_a_failure() {
        let answer = |length| {
            let mut answer = Http2Answer::new(200, b"");
            answer.head = answer.head.header("name", "v".repeat(length));
            answer
        };
        assert_eq!(judge("", answer(MAX_HEADER_BYTES / 2)).await, Ok(MISSING_WEIGHT));
        assert!(judge("", answer(2 * MAX_HEADER_BYTES)).await.is_err());
    }
}
