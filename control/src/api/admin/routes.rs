//! The admin interface's routes: each turns a query, a path or a body into a request, and its reply into JSON.

use std::net::IpAddr;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request as HttpRequest, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post, put};
use axum::{Json, Router};
use guideway_model::config::{MAX_FILE_BYTES, MAX_WEIGHT, Sources, VipRange};
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::extract::{Asked, Brought, Named, Written, flow_of, no_such_method, no_such_route};
use super::failure::Failure;
use super::tap_routes;
use crate::api::request::{BackendName, Refused, Request};
use crate::api::request_sender::{RequestError, RequestSender};
use crate::api::view::{
    self, Backend, BackendList, BackendProbes, ConntrackList, ConntrackLookup, Drops, EventList, Reload,
    Remaining, RuleList, ServiceList, Stats, Status, Vip, VipList, Xstats,
};

/// Largest body of a request.
const MAX_BODY_BYTES: usize = 4 * 1024;

/// Largest body that brings a configuration: its files, and what JSON adds to them.
const MAX_PLAN_BYTES: usize = 2 * MAX_FILE_BYTES;

/// Entries that a list shows by default.
pub const DEFAULT_ENTRIES: usize = 100;

/// Largest number of entries that a list shows.
pub const MAX_ENTRIES: usize = 10_000;

/// Default deadline of a drain, in seconds.
pub const DEFAULT_DRAIN_SEC: u32 = 300;

/// Longest deadline of a drain, in seconds.
pub const MAX_DRAIN_SEC: u32 = 24 * 60 * 60;

type Answer<T> = Result<Json<T>, Failure>;

/// A method, a path, and the handler behind it.
type Route = (&'static str, &'static str, MethodRouter<RequestSender>);

/// Table of every route.
fn table() -> Vec<Route> {
    vec![
        ("GET", "/v1/status", get(status)),
        ("GET", "/v1/stats", get(stats)),
        ("GET", "/v1/xstats", get(xstats)),
        ("GET", "/v1/drops", get(drops)),
        ("GET", "/v1/conntrack", get(conntrack_list)),
        ("GET", "/v1/conntrack/flow", get(conntrack_get)),
        ("GET", "/v1/conntrack/watch", get(tap_routes::conntrack_watch)),
        ("GET", "/v1/services", get(service_list)),
        ("GET", "/v1/rules", get(rule_list)),
        ("GET", "/v1/backends", get(backend_list)),
        ("GET", "/v1/services/{service}/backends/{backend}", get(backend_get)),
        ("GET", "/v1/services/{service}/backends/{backend}/remaining", get(backend_remaining)),
        ("POST", "/v1/services/{service}/backends/{backend}/probe", post(backend_probe)),
        ("POST", "/v1/services/{service}/backends/{backend}/drain", post(backend_drain)),
        ("POST", "/v1/services/{service}/backends/{backend}/undrain", post(backend_undrain)),
        ("POST", "/v1/services/{service}/backends/{backend}/reset", post(backend_reset)),
        ("PUT", "/v1/services/{service}/backends/{backend}/weight", put(backend_set_weight)),
        ("GET", "/v1/vips", get(vip_list)),
        ("POST", "/v1/vips/{address}/announce", post(vip_announce)),
        ("POST", "/v1/vips/{address}/withdraw", post(vip_withdraw)),
        ("GET", "/v1/capture", get(tap_routes::capture)),
        ("GET", "/v1/trace", get(tap_routes::trace)),
        ("GET", "/v1/events", get(events)),
        ("GET", "/v1/plan", get(plan_own)),
        (
            "POST",
            "/v1/plan",
            post(plan).layer(DefaultBodyLimit::max(MAX_PLAN_BYTES)).layer(middleware::from_fn(few_plans)),
        ),
        ("GET", "/v1/explain", get(explain)),
        ("GET", "/v1/ring", get(ring)),
        ("POST", "/v1/reload", post(reload)),
        ("POST", "/v1/drain", post(drain)),
        ("POST", "/v1/undrain", post(undrain)),
        ("POST", "/v1/stop", post(stop)),
    ]
}

/// Lists the method and the path of every route, for tests and tools.
pub fn routes() -> impl Iterator<Item = (&'static str, &'static str)> {
    table().into_iter().map(|(method, path, _)| (method, path))
}

pub(super) fn router(requests: RequestSender) -> Router {
    let routes =
        table().into_iter().fold(Router::new(), |router, (_, path, route)| router.route(path, route));
    routes
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(requests)
}

async fn status(State(requests): State<RequestSender>) -> Answer<Status> {
    Ok(Json(requests.ask(|reply| Request::Status { reply }).await?))
}

async fn stats(State(requests): State<RequestSender>) -> Answer<Stats> {
    Ok(Json(requests.ask(|reply| Request::Stats { reply }).await?))
}

async fn xstats(State(requests): State<RequestSender>) -> Answer<Xstats> {
    Ok(Json(requests.ask(|reply| Request::Xstats { reply }).await?))
}

async fn drops(State(requests): State<RequestSender>) -> Answer<Drops> {
    let stats = requests.ask(|reply| Request::Stats { reply }).await?;
    Ok(Json(Drops::new(&stats)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entries {
    service: Option<String>,
    backend: Option<String>,
    limit: Option<usize>,
}

async fn conntrack_list(
    State(requests): State<RequestSender>,
    Asked(Entries { service, backend, limit }): Asked<Entries>,
) -> Answer<ConntrackList> {
    let limit = bounded(limit)?;
    Ok(Json(requests.ask(|reply| Request::ConntrackList { service, backend, limit, reply }).await?))
}

/// Checks the limit of a list; the default where the query has none.
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
    network: Option<String>,
}

async fn conntrack_get(
    State(requests): State<RequestSender>,
    Asked(OfFlow { flow, network }): Asked<OfFlow>,
) -> Answer<ConntrackLookup> {
    let flow = flow_of(&flow)?;
    Ok(Json(requests.ask(|reply| Request::ConntrackGet { flow, network, reply }).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfService {
    service: Option<String>,
}

async fn backend_list(
    State(requests): State<RequestSender>,
    Asked(OfService { service }): Asked<OfService>,
) -> Answer<BackendList> {
    Ok(Json(requests.ask(|reply| Request::BackendList { service, reply }).await?))
}

async fn service_list(State(requests): State<RequestSender>) -> Answer<ServiceList> {
    Ok(Json(requests.ask(|reply| Request::ServiceList { reply }).await?))
}

async fn rule_list(State(requests): State<RequestSender>) -> Answer<RuleList> {
    Ok(Json(requests.ask(|reply| Request::RuleList { reply }).await?))
}

/// Service and name of a backend, in a path.
type BackendPath = (String, String);

async fn backend_get(
    State(requests): State<RequestSender>,
    Named((service, backend)): Named<BackendPath>,
) -> Answer<Backend> {
    Ok(Json(requests.ask(|reply| Request::BackendGet { service, backend, reply }).await?))
}

async fn backend_remaining(
    State(requests): State<RequestSender>,
    Named((service, backend)): Named<BackendPath>,
) -> Answer<Remaining> {
    Ok(Json(requests.ask(|reply| Request::BackendRemaining { service, backend, reply }).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BackendDrained {
    deadline: Option<u32>,
}

async fn backend_drain(
    State(requests): State<RequestSender>,
    Named((service, backend)): Named<BackendPath>,
    Asked(BackendDrained { deadline }): Asked<BackendDrained>,
) -> Answer<Backend> {
    let deadline = deadline.map(deadline_of).transpose()?;
    Ok(Json(requests.ask(|reply| Request::BackendDrain { service, backend, deadline, reply }).await?))
}

async fn backend_probe(
    State(requests): State<RequestSender>,
    Named((service, backend)): Named<BackendPath>,
) -> Answer<BackendProbes> {
    Ok(Json(requests.ask(|reply| Request::BackendProbe { service, backend, reply }).await?))
}

async fn backend_reset(
    State(requests): State<RequestSender>,
    Named((service, backend)): Named<BackendPath>,
) -> Answer<Backend> {
    Ok(Json(requests.ask(|reply| Request::BackendReset { service, backend, reply }).await?))
}

async fn backend_undrain(
    State(requests): State<RequestSender>,
    Named((service, backend)): Named<BackendPath>,
) -> Answer<Backend> {
    Ok(Json(requests.ask(|reply| Request::BackendUndrain { service, backend, reply }).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Weight {
    weight: u64,
}

async fn backend_set_weight(
    State(requests): State<RequestSender>,
    Named((service, backend)): Named<BackendPath>,
    Brought(Weight { weight }): Brought<Weight>,
) -> Answer<Backend> {
    let in_range = u16::try_from(weight).ok().filter(|weight| *weight <= MAX_WEIGHT);
    let weight = in_range.ok_or_else(|| Failure::weight_out_of_range(weight))?;
    Ok(Json(requests.ask(|reply| Request::BackendSetWeight { service, backend, weight, reply }).await?))
}

async fn vip_list(State(requests): State<RequestSender>) -> Answer<VipList> {
    Ok(Json(requests.ask(|reply| Request::VipList { reply }).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfNetwork {
    network: Option<String>,
}

async fn vip_announce(
    State(requests): State<RequestSender>,
    Named(address): Named<VipRange>,
    Asked(OfNetwork { network }): Asked<OfNetwork>,
) -> Answer<Vip> {
    Ok(Json(requests.ask(|reply| Request::VipAnnounce { address, network, reply }).await?))
}

async fn vip_withdraw(
    State(requests): State<RequestSender>,
    Named(address): Named<VipRange>,
    Asked(OfNetwork { network }): Asked<OfNetwork>,
) -> Answer<Vip> {
    Ok(Json(requests.ask(|reply| Request::VipWithdraw { address, network, reply }).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Since {
    limit: Option<usize>,
    after: Option<u64>,
}

async fn events(
    State(requests): State<RequestSender>,
    Asked(Since { limit, after }): Asked<Since>,
) -> Answer<EventList> {
    let limit = bounded(limit)?;
    Ok(Json(requests.ask(|reply| Request::Events { limit, after, reply }).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reloaded {
    #[serde(default)]
    color: bool,
    #[serde(default)]
    confirm_removals: bool,
}

async fn reload(
    State(requests): State<RequestSender>,
    Asked(Reloaded { color, confirm_removals: confirms_removals }): Asked<Reloaded>,
) -> Answer<Reload> {
    let reload = requests.ask(|reply| Request::Reload { confirms_removals, reply }).await;
    Ok(Json(reload.map_err(|error| Failure::unanswered(&error, color))?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlannedOwn {
    #[serde(default)]
    color: bool,
}

async fn plan_own(
    State(requests): State<RequestSender>,
    Asked(PlannedOwn { color }): Asked<PlannedOwn>,
) -> Answer<view::Plan> {
    let plan = requests.ask(|reply| Request::Plan { config: None, reply }).await;
    Ok(Json(plan.map_err(|error| Failure::unanswered(&error, color))?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Planned {
    #[serde(default)]
    color: bool,
    name: Option<String>,
    /// True if the body is JSON that has several files.
    #[serde(default)]
    files: bool,
}

/// Plans whose bodies are being read.
static PLANS: Semaphore = Semaphore::const_new(2);

/// Lets two plans at a time be read: a body may be as long as all files of a configuration.
async fn few_plans(request: HttpRequest, next: Next) -> Response {
    match PLANS.try_acquire() {
        Ok(_slot) => next.run(request).await,
        Err(_) => Failure::from(RequestError::Refused(Refused::WhatIfRunning)).into_response(),
    }
}

async fn plan(
    State(requests): State<RequestSender>,
    Asked(Planned { color, name, files }): Asked<Planned>,
    Written(text): Written,
) -> Answer<view::Plan> {
    let sources = if files {
        serde_json::from_str(&text).map_err(|wrong| {
            Failure::unreadable(StatusCode::UNPROCESSABLE_ENTITY, "wrong_body", wrong.to_string())
        })?
    } else {
        Sources::of_text(name.unwrap_or_else(|| "the new configuration".to_owned()), text)
    };
    let config = Some(sources);
    let plan = requests.ask(|reply| Request::Plan { config, reply }).await;
    Ok(Json(plan.map_err(|error| Failure::unanswered(&error, color))?))
}

/// Reads the backends that count as unhealthy: names after commas.
fn unhealthy(list: Option<&str>) -> Result<Vec<BackendName>, Failure> {
    let names = list.into_iter().flat_map(|list| list.split(',')).map(str::parse);
    names
        .collect::<Result<_, String>>()
        .map_err(|wrong| Failure::unreadable(StatusCode::UNPROCESSABLE_ENTITY, "wrong_query", wrong))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfExplanation {
    flow: String,
    network: Option<String>,
    unhealthy: Option<String>,
}

async fn explain(
    State(requests): State<RequestSender>,
    Asked(OfExplanation { flow, network, unhealthy: list }): Asked<OfExplanation>,
) -> Answer<view::Explained> {
    let (flow, unhealthy) = (flow_of(&flow)?, unhealthy(list.as_deref())?);
    Ok(Json(requests.ask(|reply| Request::Explain { flow, network, unhealthy, reply }).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfRing {
    service: Option<String>,
    network: Option<String>,
    client: Option<IpAddr>,
    #[serde(default)]
    slots: bool,
    unhealthy: Option<String>,
}

async fn ring(
    State(requests): State<RequestSender>,
    Asked(OfRing { service, network, client, slots, unhealthy: list }): Asked<OfRing>,
) -> Answer<view::RingList> {
    let query = view::RingQuery { service, network, client, slots };
    let unhealthy = unhealthy(list.as_deref())?;
    Ok(Json(requests.ask(|reply| Request::Ring { query, unhealthy, reply }).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Drained {
    deadline: Option<u32>,
    #[serde(default)]
    stop: bool,
}

async fn drain(
    State(requests): State<RequestSender>,
    Asked(Drained { deadline, stop }): Asked<Drained>,
) -> Answer<view::Drain> {
    let deadline = deadline_of(deadline.unwrap_or(DEFAULT_DRAIN_SEC))?;
    Ok(Json(requests.ask(|reply| Request::Drain { deadline, stop, reply }).await?))
}

/// Checks the deadline of a drain.
fn deadline_of(seconds: u32) -> Result<Duration, Failure> {
    if seconds > MAX_DRAIN_SEC {
        let what = format!("a deadline of {seconds} seconds, and at most {MAX_DRAIN_SEC} are waited for");
        return Err(Failure::unreadable(StatusCode::UNPROCESSABLE_ENTITY, "wrong_query", what));
    }
    Ok(Duration::from_secs(seconds.into()))
}

async fn undrain(State(requests): State<RequestSender>) -> Answer<view::Undrained> {
    Ok(Json(requests.ask(|reply| Request::Undrain { reply }).await?))
}

async fn stop(State(requests): State<RequestSender>) -> Answer<view::Stopping> {
    Ok(Json(requests.ask(|reply| Request::Stop { reply }).await?))
}
