//! Routes that listen to live packets, captures, watches of connections and traces: answers that go on until somebody ends them.

use std::str::FromStr;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use guideway_model::trace::MAX_TRACED;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::capture_body::{CaptureBody, ServerStop};
use super::extract::{Asked, flow_of};
use super::failure::Failure;
use crate::api::packet_filter::PacketFilter;
use crate::api::request::{CaptureReasons, Copies, Request};
use crate::api::request_sender::RequestSender;

/// Blocks of a capture that may wait for a slow client.
const CAPTURE_BACKLOG: usize = 256;

/// Lines of a watch that may wait for a slow client.
const WATCH_BACKLOG: usize = 4;

/// Packets that a trace is of by default.
pub const DEFAULT_TRACED: u64 = 5;

/// Lines of a trace that may wait for a slow client.
const TRACE_BACKLOG: usize = 64;

/// Longest capture, watch or trace, in seconds.
pub const MAX_CAPTURE_SEC: u32 = 24 * 60 * 60;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Captured {
    reasons: Option<String>,
    #[serde(rename = "as")]
    copies: Option<String>,
    packets: Option<u64>,
    seconds: Option<u32>,
    service: Option<String>,
    backend: Option<String>,
    client: Option<String>,
    vip: Option<String>,
    flow: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Watched {
    count: Option<u64>,
    seconds: Option<u32>,
    service: Option<String>,
    backend: Option<String>,
    client: Option<String>,
    vip: Option<String>,
    flow: Option<String>,
}

pub(super) async fn capture(
    State(requests): State<RequestSender>,
    Extension(stop): Extension<ServerStop>,
    Asked(captured): Asked<Captured>,
) -> Result<Response, Failure> {
    let Captured { reasons, copies, packets, seconds, service, backend, client, vip, flow } = captured;
    let filter = filter_of(service, backend, [client, vip, flow])?;
    let reasons = match reasons {
        Some(list) => list.parse::<CaptureReasons>().map_err(|unknown| {
            Failure::unreadable(StatusCode::UNPROCESSABLE_ENTITY, "unknown_reason", unknown.to_string())
        })?,
        None if filter.is_empty() => {
            return Err(wrong(
                "a capture of everything: `reasons` or a filter says which packets".to_owned(),
            ));
        }
        None => CaptureReasons::default(),
    };
    let reasons = CaptureReasons::together(&[reasons]);
    let copies = copies.map(|word| word.parse::<Copies>()).transpose().map_err(wrong)?;
    if packets == Some(0) {
        return Err(wrong("a capture of no packets".to_owned()));
    }
    let end = end(stop, seconds)?;
    let (blocks, body) = mpsc::channel(CAPTURE_BACKLOG);
    requests.ask(|reply| Request::Capture { reasons, filter, copies, packets, blocks, reply }).await?;
    Ok(answer("application/x-pcapng", body, end))
}

pub(super) async fn conntrack_watch(
    State(requests): State<RequestSender>,
    Extension(stop): Extension<ServerStop>,
    Asked(watched): Asked<Watched>,
) -> Result<Response, Failure> {
    let Watched { count, seconds, service, backend, client, vip, flow } = watched;
    let filter = filter_of(service, backend, [client, vip, flow])?;
    if count == Some(0) {
        return Err(wrong("a watch of no lines".to_owned()));
    }
    let end = end(stop, seconds)?;
    let (lines, body) = mpsc::channel(WATCH_BACKLOG);
    requests.ask(|reply| Request::ConntrackWatch { filter, count, lines, reply }).await?;
    Ok(answer("application/jsonl", body, end))
}

pub(super) async fn trace(
    State(requests): State<RequestSender>,
    Extension(stop): Extension<ServerStop>,
    Asked(watched): Asked<Watched>,
) -> Result<Response, Failure> {
    let Watched { count, seconds, service, backend, client, vip, flow } = watched;
    let filter = filter_of(service, backend, [client, vip, flow])?;
    let count = count.unwrap_or(DEFAULT_TRACED);
    if !(1..=MAX_TRACED).contains(&count) {
        return Err(wrong(format!("a trace of {count} packets, and it may have 1 to {MAX_TRACED}")));
    }
    let end = end(stop, seconds)?;
    let (lines, body) = mpsc::channel(TRACE_BACKLOG);
    requests.ask(|reply| Request::Trace { filter, count, lines, reply }).await?;
    Ok(answer("application/jsonl", body, end))
}

fn wrong(what: String) -> Failure {
    Failure::unreadable(StatusCode::UNPROCESSABLE_ENTITY, "wrong_query", what)
}

/// Reads a filter: names, and the texts of client, VIP and flow.
fn filter_of(
    service: Option<String>,
    backend: Option<String>,
    [client, vip, flow]: [Option<String>; 3],
) -> Result<PacketFilter, Failure> {
    fn read<T: FromStr<Err = String>>(text: Option<&str>) -> Result<Option<T>, Failure> {
        text.map(str::parse).transpose().map_err(wrong)
    }
    let flow = flow.as_deref().map(flow_of).transpose()?;
    let (client, vip) = (read(client.as_deref())?, read(vip.as_deref())?);
    let filter = PacketFilter { service, backend, client, vip, flow };
    filter.check().map_err(wrong)?;
    Ok(filter)
}

/// End of an answer that goes on: the server's, or the time that the query sets.
fn end(stop: ServerStop, seconds: Option<u32>) -> Result<impl Future<Output = ()> + Send, Failure> {
    if let Some(seconds) = seconds.filter(|seconds| !(1..=MAX_CAPTURE_SEC).contains(seconds)) {
        return Err(wrong(format!("{seconds} seconds, and it may last 1 to {MAX_CAPTURE_SEC}")));
    }
    Ok(stop.or_after(seconds.map(|seconds| Duration::from_secs(seconds.into()))))
}

fn answer(
    content_type: &'static str,
    body: mpsc::Receiver<Bytes>,
    end: impl Future<Output = ()> + Send + 'static,
) -> Response {
    ([(header::CONTENT_TYPE, content_type)], Body::new(CaptureBody::new(body, end))).into_response()
}
