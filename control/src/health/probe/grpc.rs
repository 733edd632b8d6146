//! A call of the gRPC health checking protocol, as probes of the types GRPC and GRPC_WITH_TLS make it.
//!
//! The protocol's two messages have one field each, so they are written and read here by hand:
//!
//! ```text
//! message HealthCheckRequest { string service = 1; }
//! message HealthCheckResponse { ServingStatus status = 1; }    // an enumeration, so a varint; SERVING is 1
//! ```

use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};
use hyper::header::{CONTENT_TYPE, HeaderMap, TE, USER_AGENT as USER_AGENT_HEADER};
use hyper::{Request, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};

use super::http2::{start, uri};
use super::{ProbeError, Target, USER_AGENT, drive};

/// The method of the protocol that answers once.
const METHOD: &str = "/grpc.health.v1.Health/Check";

/// The bytes before a message: a flag for compression, and the length in four bytes.
const PREFIX_BYTES: usize = 5;

/// The longest message of an answer. An honest one has two bytes; this leaves room for fields to come.
const MAX_MESSAGE_BYTES: usize = 256;

/// `SERVING` of HealthCheckResponse.ServingStatus.
const SERVING: u64 = 1;

/// Calls, and judges the answer: the call must end with OK, and the service must be serving.
pub(super) async fn ask<S>(stream: S, service: &str, scheme: &str, target: &Target) -> Result<(), ProbeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let authority = SocketAddr::new(target.vip, target.port).to_string();
    let question = Request::post(uri(scheme, &authority, METHOD)?)
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .header(USER_AGENT_HEADER, USER_AGENT)
        .body(())
        .map_err(|error| ProbeError::InvalidRequest(error.to_string()))?;

    let failed = |error: h2::Error| ProbeError::from_h2(&error);
    let (sender, connection) = start(stream).await?;
    let exchange = async {
        let mut sender = sender.ready().await.map_err(failed)?;
        let (answer, mut message) = sender.send_request(question, false).map_err(failed)?;
        message.send_data(request_message(service), true).map_err(failed)?;
        let answer = answer.await.map_err(failed)?;
        if answer.status() != StatusCode::OK {
            return Err(ProbeError::Status(answer.status().as_u16()));
        }
        // A call that fails at once has no message, and its status is in the only headers.
        if let Some(status) = grpc_status(answer.headers())? {
            return Err(status_without_message(status));
        }
        let mut body = answer.into_body();
        let mut seen = Vec::new();
        while let Some(piece) = body.data().await {
            let piece = piece.map_err(failed)?;
            if seen.len() + piece.len() > PREFIX_BYTES + MAX_MESSAGE_BYTES {
                return Err(protocol("the gRPC message is too long"));
            }
            seen.extend_from_slice(&piece);
        }
        let trailers = body.trailers().await.map_err(failed)?.unwrap_or_default();
        match grpc_status(&trailers)?.ok_or_else(|| protocol("no `grpc-status` ends the answer"))? {
            0 => judge_message(&seen),
            status => Err(ProbeError::GrpcStatus(status)),
        }
    };
    drive(connection, exchange).await
}

fn status_without_message(status: u32) -> ProbeError {
    match status {
        0 => protocol("the gRPC call ended without a message"),
        status => ProbeError::GrpcStatus(status),
    }
}

fn protocol(cause: &str) -> ProbeError {
    ProbeError::Protocol(cause.to_owned())
}

/// The status of the call, where these headers have it.
fn grpc_status(headers: &HeaderMap) -> Result<Option<u32>, ProbeError> {
    let Some(value) = headers.get("grpc-status") else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| protocol("`grpc-status` is no number"))
}

/// A `HealthCheckRequest` with the prefix of a message.
fn request_message(service: &str) -> Bytes {
    let mut field = BytesMut::new();
    // proto3 leaves out a field with the default value.
    if !service.is_empty() {
        field.put_u8(SERVICE_TAG);
        put_varint(&mut field, service.len() as u64);
        field.put_slice(service.as_bytes());
    }
    let mut message = BytesMut::with_capacity(PREFIX_BYTES + field.len());
    message.put_u8(0);
    message.put_u32(u32::try_from(field.len()).expect("a configured name is short"));
    message.extend_from_slice(&field);
    message.freeze()
}

/// The tag of field 1, whose value follows its length.
const SERVICE_TAG: u8 = 1 << 3 | 2;

/// Judges a `HealthCheckResponse` with the prefix of a message.
fn judge_message(bytes: &[u8]) -> Result<(), ProbeError> {
    let (prefix, message) =
        bytes.split_first_chunk::<PREFIX_BYTES>().ok_or_else(|| protocol("the answer is no gRPC message"))?;
    let [compressed, length @ ..] = *prefix;
    // No encoding is offered, so none may be used.
    if compressed != 0 || usize::try_from(u32::from_be_bytes(length)) != Ok(message.len()) {
        return Err(protocol("the answer is not one plain gRPC message"));
    }
    match serving_state(message).ok_or_else(|| protocol("the answer is no health check response"))? {
        SERVING => Ok(()),
        state => Err(ProbeError::NotServing(state)),
    }
}

/// Field 1 of a `HealthCheckResponse`, the last if there are several, as in protobuf. Other fields are skipped.
fn serving_state(mut message: &[u8]) -> Option<u64> {
    let mut state = 0;
    while !message.is_empty() {
        let tag = take_varint(&mut message)?;
        match (tag >> 3, tag & 7) {
            (0, _) => return None,
            (1, 0) => state = take_varint(&mut message)?,
            (1, _) => return None,
            (_, 0) => drop(take_varint(&mut message)?),
            (_, 1) => message = message.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(take_varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            (_, 5) => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(state)
}

/// Writes a number as seven bits a byte, the lowest first; the eighth bit says that more follow.
fn put_varint(bytes: &mut BytesMut, mut number: u64) {
    while number >= 0x80 {
        bytes.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.put_u8(number as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::peer::{
        self, Http2Answer, Then, ask as ask_peer, ask_in_time, floods, frame, grpc, says, settings,
    };
    use super::*;
    use crate::health::probe::{MAX_READ_BYTES, WeightReport};

    const HEALTHY: Result<Option<WeightReport>, ProbeError> = Ok(None);

    /// An answer with this message, and this `grpc-status` after the message.
    fn answer(message: &[u8], status: &'static str) -> Http2Answer {
        let length = u32::try_from(message.len()).expect("a short message");
        let body = [&[0], length.to_be_bytes().as_slice(), message].concat();
        let trailers = HeaderMap::from_iter([(
            "grpc-status".parse().expect("a name"),
            status.parse().expect("a value"),
        )]);
        Http2Answer { trailers: Some(trailers), ..Http2Answer::new(200, &body) }
    }

    async fn judge(answer: Http2Answer) -> Result<Option<WeightReport>, ProbeError> {
        ask_peer(grpc(""), |stream| peer::http2(stream, answer)).await.0
    }

    async fn question(service: &str) -> (hyper::http::request::Parts, Vec<u8>) {
        let serving = |stream| peer::http2(stream, answer(&[8, 1], "0"));
        let (result, told) = ask_peer(grpc(service), serving).await;
        assert_eq!(result, HEALTHY);
        told.expect("a request")
    }

    #[tokio::test(start_paused = true)]
    async fn the_request_is_a_call_of_check() {
        let (head, _) = question("").await;
        assert_eq!(head.method, "POST");
        assert_eq!(head.uri, "http://192.0.2.10:8080/grpc.health.v1.Health/Check");
        assert_eq!(head.headers["content-type"], "application/grpc");
        assert_eq!(head.headers["te"], "trailers");
    }

    #[tokio::test(start_paused = true)]
    async fn the_message_names_the_service() {
        assert_eq!(question("").await.1, [0, 0, 0, 0, 0]);
        assert_eq!(question("a.B").await.1, b"\0\0\0\0\x05\x0a\x03a.B");
        let long = "x".repeat(1024);
        assert_eq!(question(&long).await.1, [b"\0\0\0\x04\x03\x0a\x80\x08", long.as_bytes()].concat());
    }

    #[tokio::test(start_paused = true)]
    async fn only_serving_is_a_success() {
        assert_eq!(judge(answer(&[8, 1], "0")).await, HEALTHY);
        // proto3 leaves out a field with the default value, UNKNOWN.
        assert_eq!(judge(answer(&[], "0")).await, Err(ProbeError::NotServing(0)));
        for state in [0, 2, 3, 4] {
            let result = judge(answer(&[8, state], "0")).await;
            assert_eq!(result, Err(ProbeError::NotServing(state.into())));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_message_may_come_in_pieces() {
        let whole = answer(&[8, 1], "0");
        let pieces = whole.pieces[0].iter().map(|&byte| vec![byte]).collect();
        assert_eq!(judge(Http2Answer { pieces, ..whole }).await, HEALTHY);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_does_not_end_with_ok_is_a_failure() {
        assert_eq!(judge(answer(&[8, 1], "14")).await, Err(ProbeError::GrpcStatus(14)));
        // Without a message, as a server answers that does not know the service.
        let mut at_once = Http2Answer::new(200, b"");
        at_once.head = at_once.head.header("grpc-status", "5");
        assert_eq!(judge(at_once).await, Err(ProbeError::GrpcStatus(5)));
        let no_message = Http2Answer { pieces: vec![], ..answer(&[], "12") };
        assert_eq!(judge(no_message).await, Err(ProbeError::GrpcStatus(12)));
        assert_eq!(judge(Http2Answer::new(503, b"")).await, Err(ProbeError::Status(503)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_no_grpc_is_a_failure() {
        let no_status = Http2Answer { trailers: None, ..answer(&[8, 1], "0") };
        let two_messages =
            Http2Answer { pieces: vec![vec![0, 0, 0, 0, 2, 8, 1, 0, 0, 0, 0, 0]], ..answer(&[], "0") };
        let compressed = Http2Answer { pieces: vec![vec![1, 0, 0, 0, 2, 8, 1]], ..answer(&[], "0") };
        let cut_off = Http2Answer { pieces: vec![vec![0, 0, 0, 0, 3, 8, 1]], ..answer(&[], "0") };
        let nothing = Http2Answer { pieces: vec![], ..answer(&[], "0") };
        let mut ok_at_once = Http2Answer::new(200, b"");
        ok_at_once.head = ok_at_once.head.header("grpc-status", "0");
        // It would be serving.
        let long = answer(&[[8, 1, 0x12, 0xff, 1].as_slice(), &[0; 255]].concat(), "0");
        let answers = [
            no_status,
            two_messages,
            compressed,
            cut_off,
            nothing,
            ok_at_once,
            long,
            answer(&[8, 1], "fine"),
        ];
        for (index, answer) in answers.into_iter().enumerate() {
            let result = judge(answer).await;
            assert!(matches!(result, Err(ProbeError::Protocol(_))), "{index}: {result:?}");
        }
    }

    #[test]
    fn unknown_fields_of_an_answer_are_skipped() {
        assert_eq!(serving_state(&[16, 0x96, 1, 8, 1]), Some(1));
        assert_eq!(serving_state(&[0x12, 2, 8, 2, 8, 1]), Some(1));
        assert_eq!(serving_state(&[8, 1, 0x11, 8, 2, 8, 2, 8, 2, 8, 2]), Some(1));
        assert_eq!(serving_state(&[0x1d, 8, 2, 8, 2, 8, 1]), Some(1));
        assert_eq!(serving_state(&[8, 1, 8, 2]), Some(2));
    }

    #[test]
    fn a_state_may_take_several_bytes() {
        assert_eq!(serving_state(&[8, 0x81, 0]), Some(1));
        assert_eq!(serving_state(&[8, 0xac, 2]), Some(300));
    }

    #[test]
    fn a_malformed_answer_has_no_state() {
        for message in [
            [8].as_slice(),
            &[8, 0x80],
            &[8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
            &[0x0a, 0],
            &[0x12, 3, 8, 1],
            &[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
            &[0x15, 8, 1],
            &[0x13, 8, 1],
            &[0, 1],
        ] {
            assert_eq!(serving_state(message), None, "{message:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_ends_first_is_a_failure() {
        for bytes in [vec![], settings(), [settings(), frame(1, 4, 1, &[0x88])].concat()] {
            let (result, _) = ask_peer(grpc(""), |stream| says(stream, &bytes, Then::Closes)).await;
            assert_eq!(result, Err(ProbeError::Ended), "{bytes:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_hangs_up_on_a_silent_peer() {
        let (result, told) = ask_in_time(grpc(""), |stream| says(stream, b"", Then::Waits)).await;
        assert_eq!(result, None);
        assert!(told.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_peer_is_told_the_bounds() {
        let (_, told) = ask_peer(grpc(""), |stream| says(stream, b"", Then::Closes)).await;
        // The preface has 24 bytes, and the head of a frame 9 (RFC 9113, sections 3.4 and 4.1).
        let (preface, payload) = (&told[..33], &told[33..]);
        let (values, _) = payload[..preface[26].into()].as_chunks::<6>();
        let values: Vec<_> = values
            .iter()
            .map(|&[a, b, c, d, e, f]| (u16::from_be_bytes([a, b]), u32::from_be_bytes([c, d, e, f])))
            .collect();
        // Header table, push, window, frame, header list (section 6.5.2).
        assert_eq!(values, [(1, 0), (2, 0), (4, 4096), (5, 16_384), (6, 16_384)]);
    }

    #[tokio::test(start_paused = true)]
    async fn endless_frames_are_read_to_a_bound() {
        for (name, piece) in
            [("SETTINGS", settings()), ("SETTINGS with values", frame(4, 0, 0, &[0, 4, 0, 0, 16, 0]))]
        {
            let (result, written) = ask_peer(grpc(""), |stream| floods(stream, &piece, &piece)).await;
            assert_eq!(result, Err(ProbeError::AnswerTooLong), "{name}");
            assert!(written < MAX_READ_BYTES + 32 * 1024, "{name}: {written}");
        }
        let head = [settings(), frame(1, 4, 1, &[0x88])].concat();
        let data = frame(0, 0, 1, b"message");
        let (result, written) = ask_peer(grpc(""), |stream| floods(stream, &head, &data)).await;
        assert!(matches!(result, Err(ProbeError::Protocol(_))), "{result:?}");
        assert!(written < 32 * 1024, "{written}");
    }
}
