//! Peers for tests: they answer a probe as a script, a TLS server or an HTTP/2 server does, or not at all.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use guideway_model::config::{Exchange, HealthCheck, HttpRequest, Probe, ProxyHeader};
use hyper::header::HeaderMap;
use hyper::http::request::Parts;
use hyper::http::response::Builder;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadHalf, duplex, split};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{Answer, ProbeError, Target, WeightReport, probe};

/// Longer than any probe of a test takes; tests pause the clock, so nobody waits for it.
const LIMIT: Duration = Duration::from_secs(60);

/// Bytes of a connection that can be on their way at once.
pub(super) const IN_FLIGHT_BYTES: usize = 4 * 1024;

pub(super) fn target() -> Target {
    Target {
        vip: [192, 0, 2, 10].into(),
        port: 8080,
        source: "198.51.100.7:40001".parse().expect("an address"),
    }
}

pub(super) fn check(probe: Probe) -> HealthCheck {
    HealthCheck {
        name: "check".to_owned(),
        interval: LIMIT,
        timeout: LIMIT,
        healthy_threshold: 2,
        unhealthy_threshold: 2,
        port: target().port,
        probe,
        transport: guideway_model::config::Transport::InPath,
    }
}

pub(super) fn exchange(request: &str, response: &str) -> Exchange {
    Exchange { request: request.to_owned(), response: response.to_owned(), proxy_header: ProxyHeader::None }
}

pub(super) fn http(response: &str) -> HttpRequest {
    HttpRequest {
        host: None,
        path: "/".to_owned(),
        response: response.to_owned(),
        proxy_header: ProxyHeader::None,
    }
}

pub(super) fn grpc(service_name: &str) -> Probe {
    Probe::Grpc { service_name: service_name.to_owned() }
}

/// Probes `peer`; returns the probe's result, and what the peer saw.
///
/// # Panics
/// The probe does not end.
pub(super) async fn ask<F: Future>(
    probe: Probe,
    peer: impl FnOnce(DuplexStream) -> F,
) -> (Result<Option<WeightReport>, ProbeError>, F::Output) {
    let (result, seen) = ask_in_time(probe, peer).await;
    (result.expect("the probe ends"), seen)
}

/// Probes `peer`; returns the whole answer, with the weight that it reports though it fails.
///
/// # Panics
/// The probe does not end.
pub(super) async fn answer<F: Future>(probe: Probe, peer: impl FnOnce(DuplexStream) -> F) -> Answer {
    answer_in_time(probe, peer).await.0.expect("the probe ends")
}

/// Probes `peer`; returns the probe's result, or `None` if that took too long, and what the peer saw.
pub(super) async fn ask_in_time<F: Future>(
    probe: Probe,
    peer: impl FnOnce(DuplexStream) -> F,
) -> (Option<Result<Option<WeightReport>, ProbeError>>, F::Output) {
    let (answer, seen) = answer_in_time(probe, peer).await;
    (answer.map(|Answer { weight, judgement }| judgement.map(|()| weight)), seen)
}

async fn answer_in_time<F: Future>(
    probe_kind: Probe,
    peer: impl FnOnce(DuplexStream) -> F,
) -> (Option<Answer>, F::Output) {
    let (ours, theirs) = duplex(IN_FLIGHT_BYTES);
    let check = check(probe_kind);
    let probing = async {
        let target = target();
        timeout(LIMIT, probe(ours, &check, &target)).await.ok()
    };
    let peer = async { timeout(2 * LIMIT, peer(theirs)).await.expect("the peer sees the probe hang up") };
    tokio::join!(probing, peer)
}

/// The behaviour of a peer after its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Closes the connection.
    Closes,
    /// Says nothing more.
    Waits,
}

/// Writes `answer`; returns what the peer was told until the probe hung up.
pub(super) async fn says<S: AsyncRead + AsyncWrite>(stream: S, answer: &[u8], then: Then) -> Vec<u8> {
    let (reader, mut writer) = split(stream);
    let writing = async {
        // A probe that knows enough hangs up before it has read all.
        let _ = writer.write_all(answer).await;
        let _ = writer.flush().await;
        if then == Then::Closes {
            let _ = writer.shutdown().await;
        }
    };
    tokio::join!(writing, everything(reader)).1
}

/// Writes `beginning`, and `piece` over and over; returns the bytes that were written until the probe hung up.
pub(super) async fn floods<S: AsyncRead + AsyncWrite>(stream: S, beginning: &[u8], piece: &[u8]) -> usize {
    let (reader, mut writer) = split(stream);
    let writing = async {
        let mut written = 0;
        let mut next = beginning;
        while written < MAX_FLOOD_BYTES && writer.write_all(next).await.is_ok() {
            written += next.len();
            next = piece;
        }
        let _ = writer.shutdown().await;
        written
    };
    tokio::join!(writing, everything(reader)).0
}

/// Length at which a flood ends that no probe stops.
pub(super) const MAX_FLOOD_BYTES: usize = 4 * 1024 * 1024;

async fn everything<S: AsyncRead + AsyncWrite>(mut reader: ReadHalf<S>) -> Vec<u8> {
    let mut told = Vec::new();
    // A probe hangs up without the farewells of TLS.
    let _ = reader.read_to_end(&mut told).await;
    told
}

/// The TLS server's end of `stream`, or `None` if the probe refused it.
pub(super) async fn tls<S>(stream: S, alpn: &[&str]) -> Option<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut params = CertificateParams::new(["another.example".to_owned()]).expect("a name");
    params.not_before = date_time_ymd(2001, 1, 1);
    params.not_after = date_time_ymd(2001, 2, 1);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .expect("the key is the certificate's");
    // A probe may have hung up before the server could send one, which would fail the handshake here.
    config.send_tls13_tickets = 0;
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config)).accept(stream).await.ok()
}

/// An answer over HTTP/2.
pub(super) struct Http2Answer {
    pub(super) head: Builder,
    pub(super) pieces: Vec<Vec<u8>>,
    pub(super) trailers: Option<HeaderMap>,
}

impl Http2Answer {
    pub(super) fn new(status: u16, body: &[u8]) -> Self {
        let pieces = if body.is_empty() { vec![] } else { vec![body.to_vec()] };
        Self { head: hyper::Response::builder().status(status), pieces, trailers: None }
    }
}

/// Answers one request over HTTP/2; returns the head and the body of the request.
pub(super) async fn http2<S>(stream: S, answer: Http2Answer) -> Option<(Parts, Vec<u8>)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut connection = h2::server::handshake(stream).await.ok()?;
    let (request, mut respond) = connection.accept().await?.ok()?;
    let (parts, mut body) = request.into_parts();
    let told = tokio::spawn(async move {
        let mut told = Vec::new();
        while let Some(Ok(piece)) = body.data().await {
            told.extend_from_slice(&piece);
        }
        told
    });
    let has_body = !answer.pieces.is_empty() || answer.trailers.is_some();
    let head = answer.head.body(()).expect("a head");
    let mut sender = respond.send_response(head, !has_body).expect("the probe waits for it");
    let count = answer.pieces.len();
    for (index, piece) in answer.pieces.into_iter().enumerate() {
        let is_last = index + 1 == count && answer.trailers.is_none();
        sender.send_data(Bytes::from(piece), is_last).expect("the probe waits for it");
    }
    if let Some(trailers) = answer.trailers {
        sender.send_trailers(trailers).expect("the probe waits for it");
    }
    while let Some(Ok(_)) = connection.accept().await {}
    Some((parts, told.await.expect("it does not panic")))
}

/// An HTTP/2 frame (RFC 9113, section 4.1).
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The SETTINGS that a server begins with.
pub(super) fn settings() -> Vec<u8> {
    frame(4, 0, 0, &[])
}
