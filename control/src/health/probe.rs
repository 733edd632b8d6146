//! One probe: what a health check says on a connection, and what it makes of the answer.
//!
//! The peer may be broken or hostile, so an answer costs a bounded amount of memory and work whatever it is: see
//! [`MAX_READ_BYTES`] and the bounds of each protocol. Time is not bounded here but by the caller, with a timeout over
//! connecting and probing: all that a probe does, it does within its future, so dropping that ends everything.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::config::{HealthCheck, Probe};

mod body;
mod budget;
mod error;
mod exchange;
mod grpc;
mod http;
mod http2;
#[cfg(test)]
mod peer;
mod proxy_header;
mod tls;
mod weight;

use body::ExpectedText;
use budget::Budget;
pub use budget::MAX_READ_BYTES;
pub use error::ProbeError;
pub use weight::WeightReport;

/// Who is probed, as the probe addresses it, and from where.
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
    /// Google Cloud's reference of `host` sends "the destination IP address", without a port, where none is configured.
    fn host(&self) -> String {
        match self.vip {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        }
    }
}

/// What a successful probe learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Success {
    /// What the backend says of its weight.
    pub weight: WeightReport,
}

/// Asks the peer of `stream`, a fresh connection to `target`, what `check` wants to know.
///
/// It ends as soon as the answer is known, when the peer closes the connection, or when the answer exceeds a bound; a
/// silent peer is the caller's to time out. The connection is closed by dropping it, without the farewells of TLS and
/// HTTP/2: they could only delay a known result.
///
/// # Errors
/// Why the probe failed.
pub async fn probe<S>(stream: S, check: &HealthCheck, target: &Target) -> Result<Success, ProbeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stream = Budget::new(stream, MAX_READ_BYTES);
    let result = speak(&mut stream, &check.probe, target).await;
    match result {
        // The protocols make of it an error of theirs.
        Err(_) if stream.is_spent() => Err(ProbeError::AnswerTooLong),
        result => result,
    }
}

async fn speak<S>(mut stream: S, probe: &Probe, target: &Target) -> Result<Success, ProbeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let proxy_header = match probe {
        Probe::Tcp(exchange) | Probe::Ssl(exchange) => exchange.proxy_header,
        Probe::Http(request) | Probe::Https(request) | Probe::Http2(request) => request.proxy_header,
        Probe::Grpc { .. } => crate::config::ProxyHeader::None,
    };
    proxy_header::send(&mut stream, proxy_header, target).await?;

    let weight = match probe {
        Probe::Tcp(exchange) => exchange::ask(stream, exchange).await?,
        Probe::Ssl(exchange) => {
            let stream = tls::start(stream, tls::Inside::Anything, None, target).await?;
            exchange::ask(stream, exchange).await?
        }
        Probe::Http(request) => http::ask(stream, request, target).await?,
        Probe::Https(request) => {
            let host = request.host.as_deref();
            let stream = tls::start(stream, tls::Inside::Http1, host, target).await?;
            http::ask(stream, request, target).await?
        }
        Probe::Http2(request) => {
            let host = request.host.as_deref();
            let stream = tls::start(stream, tls::Inside::Http2, host, target).await?;
            http2::ask(stream, request, target).await?
        }
        Probe::Grpc { service_name } => grpc::ask(stream, service_name, target).await?,
    };
    Ok(Success { weight })
}

/// Follows `exchange` to its end while `connection` moves its bytes.
async fn drive<T>(connection: impl Future, exchange: impl Future<Output = T>) -> T {
    let mut exchange = pin!(exchange);
    tokio::select! {
        biased;
        outcome = &mut exchange => return outcome,
        _ = connection => {}
    }
    // The connection has ended and is dropped: what it had received is at hand, and all else is an error by now.
    exchange.await
}

/// How probes name themselves.
const USER_AGENT: &str = concat!("Guideway-HealthCheck/", env!("CARGO_PKG_VERSION"));
