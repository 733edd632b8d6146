//! Counters and state for Prometheus, measured anew for each scrape; beside them the status page.
//!
//! The text is that of the exposition format 0.0.4, in which a counter's name ends in `_total` in its head
//! too.

mod control_loop;
mod exposition;
mod families;
mod guard;
mod network_label;
mod rebinding;
mod traffic;
mod vips;

use std::fmt;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use guideway_model::config::AccessToken;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use exposition::{Measured, exposition};

use super::http_server::{Bounds, Shares, serve};
use super::request::Request;
use super::request_sender::{RequestError, RequestSender};
use super::status_page::{self, Board, unanswered};

/// Bounds of the exporter; each answer has a connection of its own, which ends with it.
const BOUNDS: Bounds = Bounds {
    shares: Shares { everybody: 64, strangers: 0, kept: 0, of_one_source: 16, of_machine: 48 },
    header_time: Duration::from_secs(5),
    write_time: Duration::from_secs(10),
    connection_time: Some(Duration::from_secs(60)),
};

/// Content type of the exposition format.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Exporter of metrics over HTTP that listens.
#[derive(Debug)]
pub struct Exporter {
    listener: TcpListener,
    token: Option<AccessToken>,
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
        Ok(Self { listener, token: None })
    }

    /// Exporter that answers nobody who does not know the token, where there is one.
    #[must_use]
    pub fn with_token(self, token: Option<AccessToken>) -> Self {
        Self { token, ..self }
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
        let requests = RequestSender::new(requests);
        let board = Arc::new(Board::new(requests.clone()));
        let routes = Router::new()
            .route("/metrics", get(metrics))
            .with_state(requests)
            .merge(status_page::routes(Arc::clone(&board)));
        let routes = match self.token {
            Some(token) => routes.layer(middleware::from_fn_with_state(Arc::new(token), guard::admit)),
            None => routes.layer(middleware::from_fn(rebinding::refuse)),
        };
        let routes = routes.layer(middleware::map_response(ended));
        let sample = async {
            board.sample().await;
            pending::<()>().await;
        };
        tokio::select! {
            _ = serve(self.listener, routes, BOUNDS, stop) => {}
            () = sample => {}
        }
    }
}

/// Ends the connection with its answer, so that no idle client holds one.
async fn ended(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

async fn metrics(State(requests): State<RequestSender>) -> Response {
    match measure(&requests).await {
        Ok(measured) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], exposition(measured)).into_response(),
        Err(error) => unanswered(&error),
    }
}

/// Asks for everything that a scrape shows.
async fn measure(requests: &RequestSender) -> Result<Measured, RequestError> {
    let stats = requests.ask(|reply| Request::Stats { reply }).await?;
    let status = requests.ask(|reply| Request::Status { reply }).await?;
    let backends = requests.ask(|reply| Request::BackendList { service: None, reply }).await?;
    Ok(Measured { stats, status, backends })
}
