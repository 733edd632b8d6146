//! The cost of a probe whose peer is broken or hostile: memory up to a bound, and time up to its timeout.
//!
//! Bytes are counted while the probe runs and not while its peer does; the clock stands still but for waiting.

#![allow(clippy::unwrap_used)] // A test that cannot set its scene fails there.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use guideway::health::probe::{Answer, MAX_READ_BYTES, ProbeError, Target, WeightReport, probe};
use guideway_model::config::{Exchange, HealthCheck, HttpRequest, Probe, ProxyHeader, Transport};
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex, split};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;

/// The most bytes that one probe holds, whatever its peer does: `docs/health.md` says so.
const MOST_BYTES: isize = 256 * 1024;

/// The check's timeout.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of a connection that can be on their way at once, in each direction.
const PIPE_BYTES: usize = 16 * 1024;

/// Length at which a flood ends that no probe stops: far beyond what one reads.
const FLOOD: usize = 16 * MAX_READ_BYTES;

thread_local! {
    /// Bytes that the probe of this thread holds, of those that it took and gave back while it was made or polled.
    static HELD: Cell<isize> = const { Cell::new(0) };
    /// The most of them at any moment.
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// Runs a part of the probe, and counts what it allocates and frees.
fn counted<T>(act: impl FnOnce() -> T) -> T {
    let mut done = None;
    let change = allocation_counter::measure(|| done = Some(act()));
    PEAK.set(PEAK.get().max(HELD.get() + change.bytes_max as isize));
    HELD.set(HELD.get() + change.bytes_current as isize);
    done.unwrap()
}

/// Runs something within a part of the probe that is no part of it.
fn uncounted<T>(act: impl FnOnce() -> T) -> T {
    let mut done = None;
    allocation_counter::opt_out(|| done = Some(act()));
    done.unwrap()
}

/// A future whose memory is counted, the future itself too.
struct Counted<F>(Option<Pin<Box<F>>>);

impl<F: Future> Counted<F> {
    fn new(make: impl FnOnce() -> F) -> Self {
        HELD.set(0);
        PEAK.set(0);
        Self(Some(counted(|| Box::pin(make()))))
    }
}

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        counted(|| self.0.as_mut().unwrap().as_mut().poll(context))
    }
}

impl<F> Drop for Counted<F> {
    fn drop(&mut self) {
        counted(|| self.0 = None);
    }
}

/// The probe's end of a pipe, which belongs to the wire: what waits in it is not counted.
struct Wire(DuplexStream);

impl Wire {
    fn uncounted<T>(self: Pin<&mut Self>, act: impl FnOnce(Pin<&mut DuplexStream>) -> T) -> T {
        uncounted(|| act(Pin::new(&mut self.get_mut().0)))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.uncounted(|stream| stream.poll_read(context, buffer))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.uncounted(|stream| stream.poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.uncounted(|stream| stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.uncounted(|stream| stream.poll_shutdown(context))
    }
}

/// One probe of each type, which expects an answer.
fn all_types() -> [(&'static str, Probe); 7] {
    let exchange = || Exchange {
        request: "PING".to_owned(),
        response: "P".repeat(1_024),
        proxy_header: ProxyHeader::None,
    };
    let request = || HttpRequest {
        host: None,
        path: "/".to_owned(),
        response: "healthy".to_owned(),
        proxy_header: ProxyHeader::None,
    };
    [
        ("TCP", Probe::Tcp(exchange())),
        ("SSL", Probe::Ssl(exchange())),
        ("HTTP", Probe::Http(request())),
        ("HTTPS", Probe::Https(request())),
        ("HTTP2", Probe::Http2(request())),
        ("GRPC", Probe::Grpc { service_name: "service".to_owned() }),
        ("GRPC_WITH_TLS", Probe::GrpcWithTls { service_name: "service".to_owned() }),
    ]
}

/// The result and the cost of a probe.
struct Cost {
    result: Option<Result<Option<WeightReport>, ProbeError>>,
    peak: isize,
    took: Duration,
}

/// Probes a peer.
async fn ask<F: Future<Output = ()>>(kind: &Probe, peer: impl FnOnce(DuplexStream) -> F) -> Cost {
    let (ours, theirs) = duplex(PIPE_BYTES);
    let check = HealthCheck {
        name: "check".to_owned(),
        interval: TIMEOUT,
        timeout: TIMEOUT,
        healthy_threshold: 1,
        unhealthy_threshold: 1,
        port: 80,
        probe: kind.clone(),
        transport: Transport::InPath,
    };
    let target =
        Target { vip: [192, 0, 2, 10].into(), port: 80, source: "198.51.100.7:40001".parse().unwrap() };
    let begun = Instant::now();
    let probing = async {
        let answer = timeout(TIMEOUT, Counted::new(|| probe(Wire(ours), &check, &target))).await.ok();
        let result = answer.map(|Answer { weight, judgement }| judgement.map(|()| weight));
        (result, begun.elapsed())
    };
    let ((result, took), _) = tokio::join!(probing, timeout(2 * TIMEOUT, peer(theirs)));
    Cost { result, peak: PEAK.get(), took }
}

/// The bytes of a peer: a beginning, and then one piece over and over, if there is one.
struct Flood {
    name: &'static str,
    beginning: Vec<u8>,
    piece: Vec<u8>,
}

/// An HTTP/2 frame (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Bytes without a sense, always the same: SplitMix64.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 7_u64;
    let next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// A literal header without indexing (RFC 7541, section 6.2.2), of a name and a value of 100 bytes.
fn literal() -> Vec<u8> {
    [&[0, 100], [b'a'; 100].as_slice(), &[100], &[b'b'; 100]].concat()
}

fn floods() -> Vec<Flood> {
    let flood = |name, beginning: &[u8], piece: &[u8]| Flood {
        name,
        beginning: beginning.to_vec(),
        piece: piece.to_vec(),
    };
    let settings = frame(4, 0, 0, &[]);
    let after_settings = |name, first: &[u8], piece: &[u8]| flood(name, &[&settings, first].concat(), piece);
    let ok = frame(1, 4, 1, &[0x88]);
    let many = |piece: Vec<u8>, count: usize| piece.repeat(count);
    let begun_head = frame(1, 0, 1, &[0x88]);
    // A handshake record with the beginning of a ServerHello of 16 MiB, then with more of it.
    let endless_hello = [[22, 3, 3, 1, 0].as_slice(), &[0; 256]].concat();
    vec![
        flood("silence", b"", b""),
        flood("random bytes", b"", &noise(60_000)),
        flood("zeros", b"", &[0; 4_096]),
        flood("an endless line", b"", &[[b'P'; 1_023].as_slice(), b"Q"].concat()),
        flood("endless headers", b"HTTP/1.1 200 OK\r\n", b"a: b\r\n"),
        flood("long headers", b"HTTP/1.1 200 OK\r\n", &[b"a: ", [b'b'; 2_000].as_slice(), b"\r\n"].concat()),
        flood("an endless header", b"HTTP/1.1 200 OK\r\na: ", b"b"),
        flood("endless interim responses", b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        flood("an endless body", b"HTTP/1.1 200 OK\r\n\r\n", b"not yet "),
        flood(
            "an endless body of small chunks",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            b"1\r\nx\r\n",
        ),
        flood(
            "an endless chunk extension",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;",
            b"extension",
        ),
        after_settings("SETTINGS", &[], &many(settings.clone(), 100)),
        after_settings("SETTINGS with values", &[], &many(frame(4, 0, 0, &[0, 4, 0, 0, 16, 0]), 100)),
        after_settings("PING", &[], &many(frame(6, 0, 0, &[7; 8]), 100)),
        after_settings("WINDOW_UPDATE", &[], &many(frame(8, 0, 0, &[0, 0, 0, 1]), 100)),
        after_settings("GOAWAY", &[], &many(frame(7, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]), 100)),
        after_settings("GOAWAY with data", &[], &frame(7, 0, 0, &[0; 16_000])),
        after_settings("PRIORITY", &[], &many(frame(2, 0, 3, &[0, 0, 0, 1, 7]), 100)),
        after_settings("RST_STREAM", &[], &many(frame(3, 0, 1, &[0, 0, 0, 8]), 100)),
        after_settings("unknown frames", &[], &frame(0xee, 0, 1, &[7; 16_000])),
        after_settings("HEADERS", &ok, &many(ok.clone(), 100)),
        after_settings("interim HEADERS", &[], &many(frame(1, 4, 1, &[0x08, 3, b'1', b'0', b'3']), 100)),
        after_settings("HEADERS of other streams", &[], &many(frame(1, 4, 2, &[0x88]), 100)),
        after_settings("PUSH_PROMISE", &[], &many(frame(5, 4, 1, &[0, 0, 0, 2, 0x82]), 100)),
        after_settings("empty CONTINUATION", &begun_head, &many(frame(9, 0, 1, &[]), 100)),
        after_settings("CONTINUATION", &begun_head, &frame(9, 0, 1, &many(literal(), 79))),
        after_settings("CONTINUATION of noise", &begun_head, &frame(9, 0, 1, &noise(16_000))),
        after_settings("empty DATA", &ok, &many(frame(0, 0, 1, &[]), 100)),
        after_settings("DATA", &ok, &frame(0, 0, 1, &[b'x'; 1_000])),
        after_settings("DATA beyond the window", &ok, &frame(0, 0, 1, &[b'x'; 16_000])),
        flood("an endless ServerHello", &[22, 3, 3, 0, 4, 2, 0xff, 0xff, 0xff], &endless_hello),
        flood("empty handshake records", &[22, 3, 3, 0, 0], &many(vec![22, 3, 3, 0, 0], 100)),
        flood("ChangeCipherSpec", &[20, 3, 3, 0, 1, 1], &many(vec![20, 3, 3, 0, 1, 1], 100)),
        flood("warning alerts", &[21, 3, 3, 0, 2, 1, 0], &many(vec![21, 3, 3, 0, 2, 1, 90], 100)),
        flood("half a record", &[22, 3, 3, 0x40, 0], &[]),
    ]
}

/// A peer that reads what the probe sends, or one that does not.
#[derive(Clone, Copy, Debug)]
enum Ears {
    Open,
    Shut,
}

/// Sends a flood until the probe hangs up.
async fn pour<S: AsyncRead + AsyncWrite>(stream: S, flood: &Flood, ears: Ears) {
    let (mut reader, mut writer) = split(stream);
    let writing = async {
        let mut written = 0;
        let mut next = &flood.beginning;
        while written < FLOOD && writer.write_all(next).await.is_ok() {
            written += next.len();
            next = &flood.piece;
            if next.is_empty() {
                let _ = writer.flush().await;
                return std::future::pending().await;
            }
        }
    };
    let reading = async {
        let mut told = vec![0; 4_096];
        while matches!(ears, Ears::Open) && reader.read(&mut told).await.is_ok_and(|read| read > 0) {}
        if matches!(ears, Ears::Shut) {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = writing => {}
        () = reading => {}
    }
}

/// A TLS server that agrees to `alpn`.
fn acceptor(alpn: &[&[u8]]) -> TlsAcceptor {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["a.example".to_owned()]).unwrap().self_signed(&key).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

/// Holds a probe to its bounds; returns the most bytes that it held.
fn judge(what: &str, cost: &Cost) -> isize {
    assert!(cost.peak <= MOST_BYTES, "{what}: {} bytes", cost.peak);
    // The clock stands still while anybody works: what ends by its timeout ends at it.
    assert!(cost.took <= TIMEOUT + Duration::from_millis(1), "{what}: {:?}", cost.took);
    assert!(!matches!(cost.result, Some(Ok(_))), "{what} is no healthy backend");
    cost.peak
}

async fn all_floods() {
    let floods = floods();
    // What all probes share is made once: before anything is counted.
    let http = acceptor(&[]);
    let http2 = acceptor(&[b"h2"]);
    for (_, kind) in all_types() {
        let _ = ask(&kind, async |stream| drop(http.accept(stream).await)).await;
        let _ = ask(&kind, async |stream| drop(http2.accept(stream).await)).await;
    }
    for (kind_name, kind) in all_types() {
        let mut worst = (0, String::new());
        for flood in &floods {
            for ears in [Ears::Open, Ears::Shut] {
                let what = format!("{kind_name}, {}, ears {ears:?}", flood.name);
                let cost = ask(&kind, |stream| pour(stream, flood, ears)).await;
                worst = worst.max((judge(&what, &cost), what));
                let acceptor = match kind {
                    Probe::Ssl(_) | Probe::Https(_) => &http,
                    Probe::Http2(_) | Probe::GrpcWithTls { .. } => &http2,
                    _ => continue,
                };
                let within = async |stream| {
                    if let Ok(session) = acceptor.accept(stream).await {
                        pour(session, flood, ears).await;
                    }
                };
                let what = format!("{kind_name}, {} within TLS, ears {ears:?}", flood.name);
                let cost = ask(&kind, within).await;
                worst = worst.max((judge(&what, &cost), what));
            }
        }
        println!("{} bytes at most: {}", worst.0, worst.1);
    }
}

#[test]
fn no_peer_makes_a_probe_hold_much_or_outlast_its_timeout() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(all_floods());
}
