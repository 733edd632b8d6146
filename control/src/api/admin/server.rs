//! The admin interface's server: routes to requests, replies to JSON.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request as HttpRequest, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post, put};
use axum::{Extension, Json, Router};
use guideway_model::config::MAX_WEIGHT;
use guideway_model::flow_text::FlowText;
use serde::Deserialize;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::capture_body::CaptureBody;
use super::extract::{Asked, Brought, Named, no_such_method, no_such_route};
use super::failure::Failure;
use super::request::{CaptureReason, CaptureReasons, Refused, Reply, Request};
use super::socket::{ListenError, SocketFile, listen};
use super::view::{
    self, Backend, BackendList, ConntrackList, ConntrackLookup, EventList, Losses, Reload, Stats, Status,
    Vip, VipList,
};
use crate::api::http_server::{Bounds, serve};
use crate::api::metrics::Measured;

/// Connections, headers, bodies and answers are bounded.
const BOUNDS: Bounds =
    Bounds { connections: 64, header_time: Duration::from_secs(10), connection_time: None };

/// The largest body of a request.
const MAX_BODY_BYTES: usize = 4 * 1024;

/// The time in which the supervisor must answer; a reload of the largest configuration takes a part of it.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// The time in which a request must have been read and its answer have begun.
const REQUEST_TIME: Duration = Duration::from_secs(40);

/// Entries that a list shows unless it is asked for more or fewer.
pub const DEFAULT_ENTRIES: usize = 100;

/// Entries that a list shows at most.
pub const MAX_ENTRIES: usize = 10_000;

/// Blocks of a capture that wait for a client that reads slowly.
const CAPTURE_BACKLOG: usize = 256;

/// The longest capture.
pub const MAX_CAPTURE_SEC: u32 = 24 * 60 * 60;

/// How long a drained appliance waits for the end of its traffic unless it is told otherwise.
pub const DEFAULT_DRAIN_SEC: u32 = 300;

/// The longest such wait.
pub const MAX_DRAIN_SEC: u32 = 24 * 60 * 60;

/// The admin interface, listening; its socket goes with it.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    file: SocketFile,
}

impl Server {
    /// Listens on `socket`, for owner and group. Makes its directory, and removes a socket that nobody
    /// answers on.
    ///
    /// # Errors
    /// [`ListenError`], which names the remedy.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O.
    pub async fn bind(socket: &Path) -> Result<Self, ListenError> {
        let (listener, file) = listen(socket).await?;
        Ok(Self { listener, file })
    }

    /// Sends what clients ask to `requests`, and its replies to them, until `stop` comes, and for up to five
    /// seconds more.
    ///
    /// A client that has asked the appliance to stop waits for the end of the socket, which comes back: drop
    /// it last.
    pub async fn serve(
        self,
        requests: mpsc::Sender<Request>,
        stop: impl Future<Output = ()>,
    ) -> ServedSocket {
        let Self { listener, file } = self;
        let (running, stopping) = watch::channel(());
        let stop = async {
            stop.await;
            // Captures end with it.
            drop(running);
        };
        let routes = router(RequestSender::new(requests)).layer(Extension(Stopping(stopping)));
        let listener = serve(listener, routes, BOUNDS, stop).await.into_std();
        ServedSocket { _listener: listener, _file: file }
    }
}

/// A socket on which nobody is answered any more. It goes with this value, which needs no runtime.
#[derive(Debug)]
pub struct ServedSocket {
    _listener: io::Result<std::os::unix::net::UnixListener>,
    _file: SocketFile,
}

/// Tells answers that have no end of their own that the server stops.
#[derive(Clone, Debug)]
struct Stopping(watch::Receiver<()>);

impl Stopping {
    /// The time is over, where there is a limit, or the server stops.
    async fn or_after(mut self, limit: Option<Duration>) {
        // Nothing is ever sent: the channel only closes.
        let stops = self.0.changed();
        match limit {
            Some(limit) => drop(timeout(limit, stops).await),
            None => drop(stops.await),
        }
    }
}

/// Whoever answers requests.
#[derive(Clone, Debug)]
pub(crate) struct RequestSender(mpsc::Sender<Request>);

impl RequestSender {
    /// Who reads the other end of this channel.
    pub(crate) fn new(requests: mpsc::Sender<Request>) -> Self {
        Self(requests)
    }

    /// Asks, and waits for the answer, for no longer than [`ANSWER_TIME`].
    pub(super) async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, Failure> {
        self.ask_in(request, false).await
    }

    /// Asks; what is wrong with a configuration comes coloured for a terminal or plain.
    async fn ask_in<T>(&self, request: impl FnOnce(Reply<T>) -> Request, color: bool) -> Result<T, Failure> {
        self.answer(request).await?.map_err(|refused| Failure::refused(&refused, color))
    }

    async fn answer<T>(
        &self,
        request: impl FnOnce(Reply<T>) -> Request,
    ) -> Result<Result<T, Refused>, Failure> {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.0.send(request(reply)).await.map_err(|_| Failure::stopping())?;
            answer.await.map_err(|_| Failure::stopping())
        };
        timeout(ANSWER_TIME, asked).await.unwrap_or_else(|_| Err(Failure::busy()))
    }

    /// Asks for all that metrics show; `None` where it does not answer.
    pub(crate) async fn measured(&self) -> Option<Measured> {
        let stats = self.ask(|reply| Request::Stats { reply }).await.ok()?;
        let status = self.ask(|reply| Request::Status { reply }).await.ok()?;
        let backends = self.ask(|reply| Request::BackendList { service: None, reply }).await.ok()?;
        Some(Measured { stats, status, backends })
    }
}

type Answer<T> = Result<Json<T>, Failure>;

/// A method, a path, and who answers there.
type Route = (&'static str, &'static str, MethodRouter<RequestSender>);

/// Every route.
fn table() -> Vec<Route> {
    vec![
        ("GET", "/v1/status", get(status)),
        ("GET", "/v1/stats", get(stats)),
        ("GET", "/v1/drops", get(drops)),
        ("GET", "/v1/conntrack", get(conntrack_list)),
        ("GET", "/v1/conntrack/flow", get(conntrack_get)),
        ("GET", "/v1/backends", get(backend_list)),
        ("GET", "/v1/services/{service}/backends/{backend}", get(backend_get)),
        ("POST", "/v1/services/{service}/backends/{backend}/drain", post(backend_drain)),
        ("POST", "/v1/services/{service}/backends/{backend}/undrain", post(backend_undrain)),
        ("PUT", "/v1/services/{service}/backends/{backend}/weight", put(backend_set_weight)),
        ("GET", "/v1/vips", get(vip_list)),
        ("POST", "/v1/vips/{address}/announce", post(vip_announce)),
        ("POST", "/v1/vips/{address}/withdraw", post(vip_withdraw)),
        ("GET", "/v1/capture", get(capture)),
        ("GET", "/v1/events", get(events)),
        ("POST", "/v1/reload", post(reload)),
        ("POST", "/v1/drain", post(drain)),
        ("POST", "/v1/undrain", post(undrain)),
        ("POST", "/v1/stop", post(stop)),
    ]
}

/// The method and the path of every route, for tests and tools.
pub fn routes() -> impl Iterator<Item = (&'static str, &'static str)> {
    table().into_iter().map(|(method, path, _)| (method, path))
}

fn router(supervisor: RequestSender) -> Router {
    let routes =
        table().into_iter().fold(Router::new(), |router, (_, path, route)| router.route(path, route));
    routes
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn(in_time))
        .with_state(supervisor)
}

/// Ends a request whose body does not come.
async fn in_time(request: HttpRequest, next: Next) -> Response {
    timeout(REQUEST_TIME, next.run(request)).await.unwrap_or_else(|_| Failure::busy().into_response())
}

async fn status(State(supervisor): State<RequestSender>) -> Answer<Status> {
    supervisor.ask(|reply| Request::Status { reply }).await.map(Json)
}

async fn stats(State(supervisor): State<RequestSender>) -> Answer<Stats> {
    supervisor.ask(|reply| Request::Stats { reply }).await.map(Json)
}

async fn drops(State(supervisor): State<RequestSender>) -> Answer<Losses> {
    let stats = supervisor.ask(|reply| Request::Stats { reply }).await?;
    Ok(Json(Losses::new(&stats)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entries {
    service: Option<String>,
    backend: Option<String>,
    limit: Option<usize>,
}

async fn conntrack_list(
    State(supervisor): State<RequestSender>,
    Asked(Entries { service, backend, limit }): Asked<Entries>,
) -> Answer<ConntrackList> {
    let limit = bounded(limit)?;
    supervisor.ask(|reply| Request::ConntrackList { service, backend, limit, reply }).await.map(Json)
}

/// As many entries as are asked for, or as many as are shown to whom asks for no number.
fn bounded(limit: Option<usize>) -> Result<usize, Failure> {
    let limit = limit.unwrap_or(DEFAULT_ENTRIES);
    if limit > MAX_ENTRIES {
        let what = format!("a limit of {limit} entries, and at most {MAX_ENTRIES} are shown");
        return Err(Failure::unreadable(StatusCode::UNPROCESSABLE_ENTITY, "wrong_query", what));
    }
    Ok(limit)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfFlow {
    flow: String,
}

async fn conntrack_get(
    State(supervisor): State<RequestSender>,
    Asked(OfFlow { flow }): Asked<OfFlow>,
) -> Answer<ConntrackLookup> {
    let flow = FlowText::from_str(&flow).map_err(|wrong| {
        Failure::unreadable(StatusCode::UNPROCESSABLE_ENTITY, "wrong_flow", wrong.to_string())
    })?;
    supervisor.ask(|reply| Request::ConntrackGet { flow, reply }).await.map(Json)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfService {
    service: Option<String>,
}

async fn backend_list(
    State(supervisor): State<RequestSender>,
    Asked(OfService { service }): Asked<OfService>,
) -> Answer<BackendList> {
    supervisor.ask(|reply| Request::BackendList { service, reply }).await.map(Json)
}

/// The service and the name of a backend.
type BackendName = (String, String);

async fn backend_get(
    State(supervisor): State<RequestSender>,
    Named((service, backend)): Named<BackendName>,
) -> Answer<Backend> {
    supervisor.ask(|reply| Request::BackendGet { service, backend, reply }).await.map(Json)
}

async fn backend_drain(
    State(supervisor): State<RequestSender>,
    Named((service, backend)): Named<BackendName>,
) -> Answer<Backend> {
    supervisor.ask(|reply| Request::BackendDrain { service, backend, reply }).await.map(Json)
}

async fn backend_undrain(
    State(supervisor): State<RequestSender>,
    Named((service, backend)): Named<BackendName>,
) -> Answer<Backend> {
    supervisor.ask(|reply| Request::BackendUndrain { service, backend, reply }).await.map(Json)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Weight {
    weight: u64,
}

async fn backend_set_weight(
    State(supervisor): State<RequestSender>,
    Named((service, backend)): Named<BackendName>,
    Brought(Weight { weight }): Brought<Weight>,
) -> Answer<Backend> {
    let in_range = u16::try_from(weight).ok().filter(|weight| *weight <= MAX_WEIGHT);
    let weight = in_range.ok_or_else(|| Failure::weight_out_of_range(weight))?;
    supervisor.ask(|reply| Request::BackendSetWeight { service, backend, weight, reply }).await.map(Json)
}

async fn vip_list(State(supervisor): State<RequestSender>) -> Answer<VipList> {
    supervisor.ask(|reply| Request::VipList { reply }).await.map(Json)
}

async fn vip_announce(State(supervisor): State<RequestSender>, Named(address): Named<IpAddr>) -> Answer<Vip> {
    supervisor.ask(|reply| Request::VipAnnounce { address, reply }).await.map(Json)
}

async fn vip_withdraw(State(supervisor): State<RequestSender>, Named(address): Named<IpAddr>) -> Answer<Vip> {
    supervisor.ask(|reply| Request::VipWithdraw { address, reply }).await.map(Json)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Captured {
    reasons: String,
    packets: Option<u64>,
    seconds: Option<u32>,
}

impl Captured {
    /// The reasons, each once.
    fn reasons(&self) -> Result<Vec<CaptureReason>, Failure> {
        let list = self.reasons.parse::<CaptureReasons>().map_err(|unknown| {
            Failure::unreadable(StatusCode::UNPROCESSABLE_ENTITY, "unknown_reason", unknown.to_string())
        })?;
        Ok(CaptureReasons::together(&[list]))
    }

    fn check_limits(&self) -> Result<(), Failure> {
        let wrong = |what: String| Failure::unreadable(StatusCode::UNPROCESSABLE_ENTITY, "wrong_query", what);
        if self.packets == Some(0) {
            return Err(wrong("a capture of no packets".to_owned()));
        }
        if let Some(seconds) = self.seconds.filter(|seconds| !(1..=MAX_CAPTURE_SEC).contains(seconds)) {
            let what = format!("a capture of {seconds} seconds, and it may last 1 to {MAX_CAPTURE_SEC}");
            return Err(wrong(what));
        }
        Ok(())
    }
}

async fn capture(
    State(supervisor): State<RequestSender>,
    Extension(stopping): Extension<Stopping>,
    Asked(captured): Asked<Captured>,
) -> Result<Response, Failure> {
    let reasons = captured.reasons()?;
    captured.check_limits()?;
    let packets = captured.packets;
    let (blocks, body) = mpsc::channel(CAPTURE_BACKLOG);
    supervisor.ask(|reply| Request::Capture { reasons, packets, blocks, reply }).await?;
    let time = captured.seconds.map(|seconds| Duration::from_secs(seconds.into()));
    let body = Body::new(CaptureBody::new(body, stopping.or_after(time)));
    Ok(([(header::CONTENT_TYPE, "application/x-pcapng")], body).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Since {
    limit: Option<usize>,
    after: Option<u64>,
}

async fn events(
    State(supervisor): State<RequestSender>,
    Asked(Since { limit, after }): Asked<Since>,
) -> Answer<EventList> {
    let limit = bounded(limit)?;
    supervisor.ask(|reply| Request::Events { limit, after, reply }).await.map(Json)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Colored {
    #[serde(default)]
    color: bool,
}

async fn reload(
    State(supervisor): State<RequestSender>,
    Asked(Colored { color }): Asked<Colored>,
) -> Answer<Reload> {
    supervisor.ask_in(|reply| Request::Reload { reply }, color).await.map(Json)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Drained {
    deadline: Option<u32>,
    #[serde(default)]
    stop: bool,
}

async fn drain(
    State(supervisor): State<RequestSender>,
    Asked(Drained { deadline, stop }): Asked<Drained>,
) -> Answer<view::Drain> {
    let deadline = deadline.unwrap_or(DEFAULT_DRAIN_SEC);
    if deadline > MAX_DRAIN_SEC {
        let what = format!("a deadline of {deadline} seconds, and at most {MAX_DRAIN_SEC} are waited for");
        return Err(Failure::unreadable(StatusCode::UNPROCESSABLE_ENTITY, "wrong_query", what));
    }
    let deadline = Duration::from_secs(deadline.into());
    supervisor.ask(|reply| Request::Drain { deadline, stop, reply }).await.map(Json)
}

async fn undrain(State(supervisor): State<RequestSender>) -> Answer<view::Undrained> {
    supervisor.ask(|reply| Request::Undrain { reply }).await.map(Json)
}

async fn stop(State(supervisor): State<RequestSender>) -> Answer<view::Stopping> {
    supervisor.ask(|reply| Request::Stop { reply }).await.map(Json)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn asked(requests: mpsc::Sender<Request>) -> StatusCode {
        let supervisor = RequestSender::new(requests);
        supervisor.ask(|reply| Request::VipList { reply }).await.unwrap_err().into_response().status()
    }

    #[test]
    fn a_supervisor_that_does_not_answer_keeps_nobody_waiting_for_ever() {
        let builder = &mut tokio::runtime::Builder::new_current_thread();
        let test = async {
            let (requests, mut asks) = mpsc::channel(1);
            assert_eq!(asked(requests.clone()).await, StatusCode::SERVICE_UNAVAILABLE, "it does not reply");
            assert_eq!(asked(requests.clone()).await, StatusCode::SERVICE_UNAVAILABLE, "the queue is full");
            asks.close();
            assert_eq!(asked(requests).await, StatusCode::SERVICE_UNAVAILABLE, "it is gone");
        };
        let test = async { timeout(Duration::from_secs(600), test).await.expect("an end in time") };
        builder.enable_time().start_paused(true).build().unwrap().block_on(test);
    }
}
