//! Counters and state for Prometheus, measured anew for each scrape.
//!
//! The text is that of the exposition format 0.0.4, in which a counter's name ends in `_total` in its head
//! too.

mod control_loop;
mod exposition;
mod families;
mod network_label;
mod traffic;
mod vips;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use exposition::{Measured, exposition};

use super::http_server::{Bounds, serve};
use super::request::Request;
use super::request_sender::{RequestError, RequestSender};

/// Bounds of the exporter; a scrape has a connection of its own, which ends with it.
const BOUNDS: Bounds = Bounds {
    connections: 16,
    reserved: 0,
    header_time: Duration::from_secs(10),
    write_time: Duration::from_secs(10),
    connection_time: Some(Duration::from_secs(60)),
};

/// Page at `/`.
const INDEX: &str =
    "<!DOCTYPE html><title>Guideway</title><h1>Guideway</h1><a href=\"/metrics\">Metrics</a>\n";

/// Content type of the exposition format.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Exporter of metrics over HTTP that listens.
#[derive(Debug)]
pub struct Exporter {
    listener: TcpListener,
}

/// Error: the exporter cannot listen on its address.
#[derive(Debug)]
pub struct CannotListen {
    address: SocketAddr,
    error: io::Error,
}

impl fmt::Display for CannotListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, error } = self;
        write!(f, "cannot listen on {address} for metrics: {error}; set another [metrics] listen")
    }
}

impl std::error::Error for CannotListen {}

impl Exporter {
    /// Listens on `address`.
    ///
    /// # Errors
    /// [`CannotListen`], where another process has the port or the address is no address of this machine.
    pub async fn bind(address: SocketAddr) -> Result<Self, CannotListen> {
        let listener = TcpListener::bind(address).await.map_err(|error| CannotListen { address, error })?;
        Ok(Self { listener })
    }

    /// Address that the exporter listens on.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers scrapes, with what `requests` are answered, until `stop` comes.
    pub async fn serve(self, requests: mpsc::Sender<Request>, stop: impl Future<Output = ()>) {
        let routes = Router::new()
            .route("/", get(Html(INDEX)))
            .route("/metrics", get(metrics))
            .with_state(RequestSender::new(requests));
        serve(self.listener, routes, BOUNDS, stop).await;
    }
}

async fn metrics(State(requests): State<RequestSender>) -> Response {
    match measure(&requests).await {
        Ok(measured) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], exposition(measured)).into_response(),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the appliance stops, or has not answered in time\n")
            .into_response(),
    }
}

/// Asks for everything that a scrape shows.
async fn measure(requests: &RequestSender) -> Result<Measured, RequestError> {
    let stats = requests.ask(|reply| Request::Stats { reply }).await?;
    let status = requests.ask(|reply| Request::Status { reply }).await?;
    let backends = requests.ask(|reply| Request::BackendList { service: None, reply }).await?;
    Ok(Measured { stats, status, backends })
}
