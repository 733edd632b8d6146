//! A call of the gRPC health checking protocol: what probes of the type GRPC say.
//!
//! Its two messages have one field each, so they are written and read here by hand:
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
use super::{ProbeError, Target, USER_AGENT, WeightReport, drive};

/// The method of the protocol that answers once.
const METHOD: &str = "/grpc.health.v1.Health/Check";

/// What precedes a message: whether it is compressed, and its length in four bytes.
const PREFIX_BYTES: usize = 5;

/// The longest message of an answer. An honest one has two bytes; this leaves room for fields to come.
const MAX_MESSAGE_BYTES: usize = 256;

/// `SERVING` of HealthCheckResponse.ServingStatus.
const SERVING: u64 = 1;

/// Asks, and judges the answer: the call must end with OK, and the service must be serving.
pub(super) async fn ask<S>(stream: S, service: &str, target: &Target) -> Result<WeightReport, ProbeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let authority = SocketAddr::new(target.vip, target.port).to_string();
    let question = Request::post(uri("http", &authority, METHOD)?)
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

/// The status of the call, if these headers have it.
fn grpc_status(headers: &HeaderMap) -> Result<Option<u32>, ProbeError> {
    let Some(value) = headers.get("grpc-status") else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| protocol("`grpc-status` is no number"))
}

/// A `HealthCheckRequest` with its prefix.
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

/// Field 1, of a length that precedes it.
const SERVICE_TAG: u8 = 1 << 3 | 2;

/// Judges a `HealthCheckResponse` with its prefix.
fn judge_message(bytes: &[u8]) -> Result<WeightReport, ProbeError> {
    let (prefix, message) =
        bytes.split_first_chunk::<PREFIX_BYTES>().ok_or_else(|| protocol("the answer is no gRPC message"))?;
    let [compressed, length @ ..] = *prefix;
    // No encoding is offered, so none may be used.
    if compressed != 0 || usize::try_from(u32::from_be_bytes(length)) != Ok(message.len()) {
        return Err(protocol("the answer is not one plain gRPC message"));
    }
    match serving_state(message).ok_or_else(|| protocol("the answer is no health check response"))? {
        SERVING => Ok(WeightReport::NotAsked),
        state => Err(ProbeError::NotServing(state)),
    }
}

/// Field 1 of a `HealthCheckResponse`, the last if there are several, as protobuf has it. Other fields are skipped.
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

/// Seven bits a byte, the lowest first; the eighth says that more follow.
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
