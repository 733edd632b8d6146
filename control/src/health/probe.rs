//! One probe: the question of a health check on a connection, and the judgement of the answer.
//!
//! The peer may be broken or hostile, so an answer costs a bounded amount of memory and work whatever it is:
//! see [`MAX_READ_BYTES`] and the bounds of each protocol, which come to 256 KiB of memory at most. Time is not
//! bounded here but by the caller, with a timeout over connecting and probing: a probe does all its work within its
//! future, so dropping that ends everything.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;

use guideway_model::config::{HealthCheck, Probe, ProxyHeader};
use tokio::io::{AsyncRead, AsyncWrite};

mod body;
mod error;
mod exchange;
mod frame_limit;
mod grpc;
mod http;
mod http2;
mod limited;
#[cfg(test)]
mod peer;
mod proxy_header;
mod question;
mod tls;
mod weight;

use body::ExpectedText;
use limited::{ByteLimit, Limited};

pub use error::ProbeError;
pub use limited::MAX_READ_BYTES;
pub use question::Question;
pub use weight::WeightReport;

/// The addresses and ports of a probe's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The address that the probe is sent to: the forwarding rule's, which the backend serves.
    pub vip: IpAddr,
    /// The port that the probe is sent to: the health check's.
    pub port: u16,
    /// The address and the port that the probe comes from; a PROXY header tells them.
    pub source: SocketAddr,
}

impl Target {
    /// The probed address as HTTP writes it, without the port.
    ///
    /// Google Cloud's reference of `host` sends "the destination IP address", without a port, where none is
    /// configured.
    fn host(&self) -> String {
        match self.vip {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        }
    }
}

/// The end of one probe, on its way from the probe to [`HealthState`](super::state::HealthState).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeResult {
    /// The backend is well; the weight that it reports, or `None` where the check's answers cannot carry one.
    Well(Option<WeightReport>),
    /// The backend is not well.
    Unwell {
        /// Reason in words.
        reason: String,
        /// The weight that the failing answer reports, or `None` where none came that could carry one.
        weight: Option<WeightReport>,
    },
    /// The backend was not asked, for this reason in words: something was missing on this side. Counts for nothing.
    NotAsked(String),
}

impl ProbeResult {
    /// The result of a probe that got no answer which could report a weight, for this reason in words.
    pub fn unwell(reason: impl Into<String>) -> Self {
        Self::Unwell { reason: reason.into(), weight: None }
    }

    /// The reason why a backend that was asked is not well.
    pub fn failure(&self) -> Option<&str> {
        match self {
            Self::Unwell { reason, .. } => Some(reason),
            Self::Well(_) | Self::NotAsked(_) => None,
        }
    }
}

/// The end of a question: the judgement of the answer, and the weight that the answer reports, whatever that judgement
/// is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The weight in the answer's headers; `None` where none came, or the check's answers have no headers.
    pub weight: Option<WeightReport>,
    /// The judgement: why the backend is not well, if it is not.
    pub judgement: Result<(), ProbeError>,
}

impl Answer {
    /// True if the peer answered as its protocol provides, whatever that says of its health.
    pub(super) fn is_whole(&self) -> bool {
        use ProbeError::{GrpcStatus, NotServing, Status, UnexpectedAnswer};
        let failed = self.judgement.as_ref().err();
        failed
            .is_none_or(|error| matches!(error, Status(_) | UnexpectedAnswer | GrpcStatus(_) | NotServing(_)))
    }
}

impl From<Answer> for ProbeResult {
    fn from(Answer { weight, judgement }: Answer) -> Self {
        match judgement {
            Ok(()) => Self::Well(weight),
            Err(error) => Self::Unwell { reason: error.to_string(), weight },
        }
    }
}

/// Asks the peer of `stream`, a fresh connection to `target`, the question of `check`.
///
/// The probe ends as soon as the answer is known, when the peer closes the connection, or when the answer exceeds a
/// bound; a silent peer is the caller's to time out. A TLS session is told its end where that costs no time; all else
/// is left to the caller, who drops the connection or closes it in order.
pub async fn probe<S>(stream: S, check: &HealthCheck, target: &Target) -> Answer
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stream = Limited::new(stream, ByteLimit(MAX_READ_BYTES));
    let mut weight = None;
    let judgement = match speak(&mut stream, &check.probe, target, &mut weight).await {
        // The protocols turn the stream's error into one of their own.
        Err(_) if stream.is_exceeded() => Err(ProbeError::AnswerTooLong),
        judgement => judgement,
    };
    Answer { weight, judgement }
}

/// Asks, and judges the answer; `weight` is what its headers report, once they have come.
async fn speak<S>(
    mut stream: S,
    probe: &Probe,
    target: &Target,
    weight: &mut Option<WeightReport>,
) -> Result<(), ProbeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let proxy_header = match probe {
        Probe::Tcp(exchange) | Probe::Ssl(exchange) => exchange.proxy_header,
        Probe::Http(request) | Probe::Https(request) | Probe::Http2(request) => request.proxy_header,
        Probe::Grpc { .. } | Probe::GrpcWithTls { .. } | Probe::Udp { .. } | Probe::Dns(_) => {
            ProxyHeader::None
        }
    };
    proxy_header::send(&mut stream, proxy_header, target).await?;

    match probe {
        Probe::Tcp(exchange) => exchange::ask(stream, exchange).await,
        Probe::Ssl(exchange) => {
            let mut stream = tls::start(stream, tls::Inside::Anything, None, target).await?;
            let asked = exchange::ask(&mut stream, exchange).await;
            tls::end(stream);
            asked
        }
        Probe::Http(request) => http::ask(stream, request, target, weight).await,
        Probe::Https(request) => {
            let host = request.host.as_deref();
            let mut stream = tls::start(stream, tls::Inside::Http1, host, target).await?;
            let asked = http::ask(&mut stream, request, target, weight).await;
            tls::end(stream);
            asked
        }
        Probe::Http2(request) => {
            let host = request.host.as_deref();
            let mut stream = tls::start(stream, tls::Inside::Http2, host, target).await?;
            let asked = http2::ask(&mut stream, request, target, weight).await;
            tls::end(stream);
            asked
        }
        // Asked by [`Question`].
        Probe::Udp { .. } | Probe::Dns(_) => {
            Err(ProbeError::InvalidRequest("a datagram goes over no connection".to_owned()))
        }
        Probe::Grpc { service_name } => grpc::ask(stream, service_name, "http", target).await,
        Probe::GrpcWithTls { service_name } => {
            let mut stream = tls::start(stream, tls::Inside::Http2, None, target).await?;
            let asked = grpc::ask(&mut stream, service_name, "https", target).await;
            tls::end(stream);
            asked
        }
    }
}

/// Follows `exchange` to its end while `connection` moves its bytes.
async fn drive<T>(connection: impl Future, exchange: impl Future<Output = T>) -> T {
    let mut exchange = pin!(exchange);
    tokio::select! {
        biased;
        outcome = &mut exchange => return outcome,
        _ = connection => {}
    }
    // The connection has ended and is dropped: what it had received is at hand, and all else is an error by
    // now.
    exchange.await
}

/// The name by which probes introduce themselves.
const USER_AGENT: &str = concat!("Guideway-HealthCheck/", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::runtime::Builder;

    use super::peer::{self, Http2Answer, Then, ask, exchange, grpc, http, says, settings, tls};
    use super::*;

    fn all_types() -> [Probe; 7] {
        [
            Probe::Tcp(exchange("PING", "PONG")),
            Probe::Ssl(exchange("PING", "PONG")),
            Probe::Http(http("healthy")),
            Probe::Https(http("healthy")),
            Probe::Http2(http("healthy")),
            grpc("service"),
            Probe::GrpcWithTls { service_name: "service".to_owned() },
        ]
    }

    /// A healthy server for a probe of this type.
    async fn serve(probe: &Probe, stream: TcpStream) {
        let page = b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nhealthy";
        match probe {
            Probe::Udp { .. } | Probe::Dns(_) => {
                unreachable!("they are not among all types with a connection")
            }
            Probe::Tcp(_) => drop(says(stream, b"PONG", Then::Waits).await),
            Probe::Http(_) => drop(says(stream, page, Then::Closes).await),
            Probe::Ssl(_) => {
                let session = tls(stream, &[]).await.expect("a session");
                says(session, b"PONG", Then::Waits).await;
            }
            Probe::Https(_) => {
                let session = tls(stream, &["http/1.1"]).await.expect("a session");
                says(session, page, Then::Closes).await;
            }
            Probe::Http2(_) => {
                let session = tls(stream, &["h2"]).await.expect("a session");
                peer::http2(session, Http2Answer::new(200, b"healthy")).await;
            }
            Probe::Grpc { .. } | Probe::GrpcWithTls { .. } => {
                let mut answer = Http2Answer::new(200, &[0, 0, 0, 0, 2, 8, 1]);
                let mut trailers = hyper::HeaderMap::new();
                trailers.insert("grpc-status", "0".parse().expect("a value"));
                answer.trailers = Some(trailers);
                if matches!(probe, Probe::GrpcWithTls { .. }) {
                    let session = tls(stream, &["h2"]).await.expect("a session");
                    peer::http2(session, answer).await;
                } else {
                    peer::http2(stream, answer).await;
                }
            }
        }
    }

    #[tokio::test]
    async fn every_type_succeeds_over_the_sockets_of_the_kernel() {
        for kind in all_types() {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
            let address = listener.local_addr().expect("it is bound");
            let server = async {
                let (stream, _) = listener.accept().await.expect("the probe connects");
                serve(&kind, stream).await;
            };
            let probing = async {
                let stream = TcpStream::connect(address).await.expect("the server listens");
                let source = stream.local_addr().expect("it is connected");
                let target = Target { vip: address.ip(), port: address.port(), source };
                probe(stream, &peer::check(kind.clone()), &target).await
            };
            let (result, ()) = tokio::join!(probing, server);
            assert!(result.judgement.is_ok(), "{kind:?}: {result:?}");
        }
    }

    #[test]
    fn a_probe_may_move_between_threads() {
        fn is_send(_: impl Send) {}
        let check = peer::check(grpc(""));
        let (stream, _) = tokio::io::duplex(1);
        is_send(probe(stream, &check, &peer::target()));
    }

    /// Bytes that get a protocol going, before chance takes over.
    fn beginnings() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            Just(vec![]),
            Just(b"HTTP/1.1 200 OK\r\n".to_vec()),
            Just(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()),
            Just(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec()),
            Just(settings()),
            Just([settings(), peer::frame(1, 4, 1, &[0x88])].concat()),
            // A handshake record with the beginning of a ServerHello.
            Just(vec![22, 3, 3, 1, 0, 2, 0, 0, 252, 3, 3]),
        ]
    }

    fn frames() -> impl Strategy<Value = Vec<u8>> {
        let frame = (0..11_u8, any::<u8>(), 0..4_u32, vec(any::<u8>(), 0..40));
        vec(
            frame.prop_map(|(kind, flags, stream, payload)| peer::frame(kind, flags, stream, &payload)),
            0..20,
        )
        .prop_map(|frames| frames.concat())
    }

    fn answers() -> impl Strategy<Value = Vec<u8>> {
        let chance = prop_oneof![vec(any::<u8>(), 0..2000), vec(32..127_u8, 0..2000), frames()];
        (beginnings(), chance).prop_map(|(beginning, rest)| [beginning, rest].concat())
    }

    /// Probes of every type get `answer`, which ends with the connection, outside and within TLS.
    async fn judge(answer: &[u8]) {
        for kind in all_types() {
            let alpn = match kind {
                Probe::Http2(_) | Probe::GrpcWithTls { .. } => Some(["h2"].as_slice()),
                Probe::Ssl(_) | Probe::Https(_) => Some([].as_slice()),
                _ => None,
            };
            if let Some(alpn) = alpn {
                let within = async |stream| {
                    says(tls(stream, alpn).await.expect("a session"), answer, Then::Closes).await
                };
                let _ = ask(kind.clone(), within).await;
            }
            // It ends, or this panics.
            let _ = ask(kind, |stream| says(stream, answer, Then::Closes)).await;
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_answer_makes_a_probe_panic_or_outlast_its_connection(answer in answers()) {
            let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
            runtime.expect("it needs nothing from the system").block_on(judge(&answer));
        }
    }
}
