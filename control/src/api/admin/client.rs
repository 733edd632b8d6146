//! The admin interface's client, for the verbs of the command line.

mod capture;
mod error;
mod lines;
mod pcapng_splitter;
mod running_appliance;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use guideway_model::config::{Sources, VipRange};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, header};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

use crate::api::request::BackendName;
use crate::api::view::{
    Backend, BackendList, BackendProbes, ConntrackList, ConntrackLookup, Drain, Drops, EventList, Explained,
    Plan, Reload, Remaining, RingList, RingQuery, RuleList, ServiceList, Stats, Status, Stopping, Undrained,
    Vip, VipList, Xstats,
};

pub use capture::{Capture, CaptureOrder};
use error::ANSWER_TIME;
pub use error::ClientError;
pub use lines::Lines;
use running_appliance::RunningAppliance;

/// Largest answer; the counters of the largest configuration take a part of it.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// Pause between two looks at how far a drained appliance is.
const DRAIN_INTERVAL: Duration = Duration::from_millis(200);

/// Characters that are not percent-encoded in a path or a query.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b':');

/// Body of a request.
struct RequestBody {
    content_type: &'static str,
    text: String,
}

impl RequestBody {
    fn json(value: &serde_json::Value) -> Self {
        Self { content_type: "application/json", text: value.to_string() }
    }

    const fn text(text: String) -> Self {
        Self { content_type: "text/plain", text }
    }
}

/// Client of the appliance that listens on a socket.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// Creates a client for the appliance that listens on `socket`.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// Socket that the appliance listens on.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Asks for the appliance's identity and state.
    ///
    /// # Errors
    /// [`ClientError`], as with every question.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.get("/v1/status").await
    }

    /// Asks for all counters.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn stats(&self) -> Result<Stats, ClientError> {
        self.get("/v1/stats").await
    }

    /// Asks for the counters of the drivers.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn xstats(&self) -> Result<Xstats, ClientError> {
        self.get("/v1/xstats").await
    }

    /// Asks for the packets lost, by reason.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn drops(&self) -> Result<Drops, ClientError> {
        self.get("/v1/drops").await
    }

    /// Lists tracked connections: those of a service, on a backend, or all; at most `limit`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn conntrack_list(
        &self,
        service: Option<&str>,
        backend: Option<&str>,
        limit: usize,
    ) -> Result<ConntrackList, ClientError> {
        let limit = limit.to_string();
        let query = query([("service", service), ("backend", backend), ("limit", Some(&limit))]);
        self.get(&format!("/v1/conntrack{query}")).await
    }

    /// Looks up the conntrack entry of a flow in a network; in the first without one.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn conntrack_get(
        &self,
        flow: &str,
        network: Option<&str>,
    ) -> Result<ConntrackLookup, ClientError> {
        let query = query([("flow", Some(flow)), ("network", network)]);
        self.get(&format!("/v1/conntrack/flow{query}")).await
    }

    /// Lists backend services with their traffic.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn service_list(&self) -> Result<ServiceList, ClientError> {
        self.get("/v1/services").await
    }

    /// Lists forwarding rules with their traffic.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn rule_list(&self) -> Result<RuleList, ClientError> {
        self.get("/v1/rules").await
    }

    /// Lists the backends of a service, or all.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn backend_list(&self, service: Option<&str>) -> Result<BackendList, ClientError> {
        self.get(&format!("/v1/backends{}", query([("service", service)]))).await
    }

    /// Asks for one backend.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn backend_get(&self, service: &str, backend: &str) -> Result<Backend, ClientError> {
        self.get(&backend_path(service, backend)).await
    }

    /// Counts the tracked connections and sessions of a backend.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn backend_remaining(&self, service: &str, backend: &str) -> Result<Remaining, ClientError> {
        self.get(&format!("{}/remaining", backend_path(service, backend))).await
    }

    /// Probes a backend once through each rule, beside the schedule.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn backend_probe(&self, service: &str, backend: &str) -> Result<BackendProbes, ClientError> {
        self.post(&format!("{}/probe", backend_path(service, backend))).await
    }

    /// Drains a backend: no new connections, tracked ones go on, until the deadline if there is one.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn backend_drain(
        &self,
        service: &str,
        backend: &str,
        deadline_sec: Option<u32>,
    ) -> Result<Backend, ClientError> {
        let deadline = deadline_sec.map(|seconds| seconds.to_string());
        let query = query([("deadline", deadline.as_deref())]);
        self.post(&format!("{}/drain{query}", backend_path(service, backend))).await
    }

    /// Resets a backend: takes back its drain and the weight that an operator has set.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn backend_reset(&self, service: &str, backend: &str) -> Result<Backend, ClientError> {
        self.post(&format!("{}/reset", backend_path(service, backend))).await
    }

    /// Undrains a backend: new connections again.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn backend_undrain(&self, service: &str, backend: &str) -> Result<Backend, ClientError> {
        self.post(&format!("{}/undrain", backend_path(service, backend))).await
    }

    /// Sets a backend's weight.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn backend_set_weight(
        &self,
        service: &str,
        backend: &str,
        weight: u16,
    ) -> Result<Backend, ClientError> {
        let path = format!("{}/weight", backend_path(service, backend));
        self.ask(Method::PUT, &path, Some(RequestBody::json(&json!({ "weight": weight })))).await
    }

    /// Lists the VIPs.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn vip_list(&self) -> Result<VipList, ClientError> {
        self.get("/v1/vips").await
    }

    /// Starts to answer ARP and neighbour discovery for a VIP; of the only network that has it without one.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn vip_announce(&self, vip: VipRange, network: Option<&str>) -> Result<Vip, ClientError> {
        let query = query([("network", network)]);
        self.post(&format!("{}/announce{query}", vip_path(vip))).await
    }

    /// Stops answering ARP and neighbour discovery for a VIP; of the only network that has it without one.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn vip_withdraw(&self, vip: VipRange, network: Option<&str>) -> Result<Vip, ClientError> {
        let query = query([("network", network)]);
        self.post(&format!("{}/withdraw{query}", vip_path(vip))).await
    }

    /// Lists events: the latest `limit`, or the first of those after `after`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn events(&self, limit: usize, after: Option<u64>) -> Result<EventList, ClientError> {
        let (limit, after) = (limit.to_string(), after.map(|after| after.to_string()));
        let query = query([("limit", Some(&*limit)), ("after", after.as_deref())]);
        self.get(&format!("/v1/events{query}")).await
    }

    /// Reloads the configuration file; errors in it come coloured for a terminal or plain. Removals of every rule, or of most
    /// backends, are refused unless they are confirmed.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn reload(&self, color: bool, confirm_removals: bool) -> Result<Reload, ClientError> {
        self.post(&format!("/v1/reload?color={color}&confirm_removals={confirm_removals}")).await
    }

    /// Asks what a reload would change, and what would become of tracked connections: a reload of the appliance's own file.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn plan_own(&self, color: bool) -> Result<Plan, ClientError> {
        self.get(&format!("/v1/plan?color={color}")).await
    }

    /// Asks what a reload would change, and what would become of tracked connections: a reload of this configuration.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn plan(&self, sources: Sources, color: bool) -> Result<Plan, ClientError> {
        let color = color.to_string();
        let is_one = sources.is_one_file();
        let files = (!is_one).then_some("true");
        let query = query([("name", Some(&*sources.main.name)), ("color", Some(&color)), ("files", files)]);
        let body =
            if is_one { RequestBody::text(sources.main.text) } else { RequestBody::json(&json!(sources)) };
        self.ask(Method::POST, &format!("/v1/plan{query}"), Some(body)).await
    }

    /// Explains where the first packet of a flow in a network would go; in the first without one.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn explain(
        &self,
        flow: &str,
        network: Option<&str>,
        unhealthy: &[BackendName],
    ) -> Result<Explained, ClientError> {
        let unhealthy = listed(unhealthy);
        let query = query([("flow", Some(flow)), ("network", network), ("unhealthy", unhealthy.as_deref())]);
        self.get(&format!("/v1/explain{query}")).await
    }

    /// Shows lookup tables.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn ring(&self, asked: &RingQuery, unhealthy: &[BackendName]) -> Result<RingList, ClientError> {
        let (client, unhealthy) = (asked.client.map(|client| client.to_string()), listed(unhealthy));
        let query = query([
            ("service", asked.service.as_deref()),
            ("network", asked.network.as_deref()),
            ("client", client.as_deref()),
            ("slots", asked.slots.then_some("true")),
            ("unhealthy", unhealthy.as_deref()),
        ]);
        self.get(&format!("/v1/ring{query}")).await
    }

    /// Stops the appliance, and waits until nobody listens on its socket any more and, where that can be seen
    /// from here, its process has ended; for no longer than `time`. The second value is true if that came.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn stop(&self, time: Duration) -> Result<(Stopping, bool), ClientError> {
        let mut appliance = RunningAppliance::find(&self.socket).await;
        let stopping: Stopping = self.post("/v1/stop").await?;
        appliance.confirm_pid(stopping.pid);
        Ok((stopping, appliance.has_ended_by(Instant::now() + time).await))
    }

    /// Drains the appliance, and waits until the drain has ended and, with `stop`, the appliance too; for no
    /// longer than the deadline and `time`. Returns the drain as it was last seen, and true if the end has
    /// come.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn drain(
        &self,
        deadline_sec: u32,
        stop: bool,
        time: Duration,
    ) -> Result<(Drain, bool), ClientError> {
        let appliance = if stop { Some(self.running().await?) } else { None };
        let path = format!("/v1/drain?deadline={deadline_sec}&stop={stop}");
        let mut drain: Drain = self.post(&path).await?;
        let end = Instant::now() + Duration::from_secs(deadline_sec.into()) + time;
        while drain.end.is_none() && Instant::now() < end {
            sleep(DRAIN_INTERVAL).await;
            match self.status().await {
                Ok(Status { drain: Some(now), .. }) => drain = now,
                // Somebody else has undrained it.
                Ok(Status { drain: None, .. }) => return Ok((drain, false)),
                // It was faster.
                Err(_) if stop => break,
                Err(error) => return Err(error),
            }
        }
        let has_ended = match appliance {
            Some(appliance) => appliance.has_ended_by(end).await,
            None => drain.end.is_some(),
        };
        Ok((drain, has_ended))
    }

    /// Undrains the appliance: it serves again.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn undrain(&self) -> Result<Undrained, ClientError> {
        self.post("/v1/undrain").await
    }

    /// Finds the running appliance, and confirms its process.
    async fn running(&self) -> Result<RunningAppliance, ClientError> {
        let mut appliance = RunningAppliance::find(&self.socket).await;
        if appliance.has_process() {
            appliance.confirm_pid(self.status().await?.pid);
        }
        Ok(appliance)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Method::GET, path, None).await
    }

    async fn post<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Method::POST, path, None).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<RequestBody>,
    ) -> Result<T, ClientError> {
        let asked = async {
            let answer = self.send(method, path, body).await?;
            let answer = self.accepted(answer).await?;
            self.read(answer).await
        };
        self.in_time(asked).await
    }

    async fn in_time<T>(
        &self,
        asked: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        timeout(ANSWER_TIME, asked).await.unwrap_or_else(|_| Err(ClientError::Late(self.socket.clone())))
    }

    /// Sends a request on a connection of its own.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<RequestBody>,
    ) -> Result<Response<Incoming>, ClientError> {
        let unreachable = |error| ClientError::Unreachable(self.socket.clone(), error);
        let stream = UnixStream::connect(&self.socket).await.map_err(unreachable)?;
        let gone = |error| ClientError::Gone(self.socket.clone(), error);
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(gone)?;
        // What goes wrong on the connection, the sender or the body's reader is told too.
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, "guideway");
        let body = match body {
            Some(RequestBody { content_type, text }) => {
                request = request.header(header::CONTENT_TYPE, content_type);
                text
            }
            None => String::new(),
        };
        let request = request.body(Full::new(Bytes::from(body))).map_err(|error| self.unreadable(&error))?;
        sender.send_request(request).await.map_err(gone)
    }

    /// Passes on an answer that is a success; any other becomes an error.
    async fn accepted(&self, answer: Response<Incoming>) -> Result<Response<Incoming>, ClientError> {
        if answer.status().is_success() {
            return Ok(answer);
        }
        self.read(answer).await.and_then(|view| Err(ClientError::Refused(Box::new(view))))
    }

    async fn read<T: DeserializeOwned>(&self, answer: Response<Incoming>) -> Result<T, ClientError> {
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| match error.downcast() {
            Ok(error) => ClientError::Gone(self.socket.clone(), *error),
            Err(error) => self.unreadable(&*error),
        })?;
        serde_json::from_slice(&body.to_bytes()).map_err(|error| self.unreadable(&error))
    }

    fn unreadable(&self, error: &(impl std::error::Error + ?Sized)) -> ClientError {
        ClientError::Unreadable(self.socket.clone(), error.to_string())
    }
}

fn backend_path(service: &str, backend: &str) -> String {
    format!("/v1/services/{}/backends/{}", encoded(service), encoded(backend))
}

/// Writes the names of backends after commas; nothing where there are none.
fn listed(names: &[BackendName]) -> Option<String> {
    let names: Vec<String> = names.iter().map(BackendName::to_string).collect();
    (!names.is_empty()).then(|| names.join(","))
}

/// Path of a VIP; the slash in a prefix is none of the path.
fn vip_path(vip: VipRange) -> String {
    format!("/v1/vips/{}", encoded(&vip.to_string()))
}

/// Builds the query of those parameters that have a value.
fn query<'a>(parameters: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> String {
    let given = parameters.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let pairs: Vec<_> = given.map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

fn encoded(text: &str) -> impl fmt::Display {
    utf8_percent_encode(text, PLAIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_typed_stays_in_its_place() {
        assert_eq!(query([("a", None), ("b", None)]), "");
        assert_eq!(query([("a", None), ("flow", Some("tcp 1 > 2&b=3"))]), "?flow=tcp%201%20%3E%202%26b%3D3");
        assert_eq!(backend_path("../stop?", "a/b"), "/v1/services/..%2Fstop%3F/backends/a%2Fb");
    }
}
