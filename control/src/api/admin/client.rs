//! The admin interface's client, for the verbs of the command line.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, header};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

use super::pcapng_splitter::PcapngSplitter;
use super::request::CaptureReason;
use super::view::{
    Backend, BackendList, ConntrackList, ConntrackLookup, Drain, ErrorView, EventList, Losses, Reload, Stats,
    Status, Stopping, Undrained, Vip, VipList,
};

/// The time in which an answer must come: a little more than the server allows itself.
const ANSWER_TIME: Duration = Duration::from_secs(45);

/// The largest answer: the counters of the largest configuration are a part of it.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// How often one looks whether the appliance has gone.
const GONE_INTERVAL: Duration = Duration::from_millis(50);

/// How often one looks how far a drained appliance is.
const DRAIN_INTERVAL: Duration = Duration::from_millis(200);

/// What stands in a path or a query as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b':');

/// Asks the appliance that listens on a socket.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

/// The appliance's process.
struct Process {
    pid: u32,
    /// Readable once it has ended: pidfd_open(2).
    end: OwnedFd,
}

impl Process {
    fn has_ended(&self) -> bool {
        let mut end = [PollFd::new(&self.end, PollFlags::IN)];
        poll(&mut end, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }
}

/// Why there is no answer, or not the one that was hoped for.
#[derive(Debug)]
pub enum ClientError {
    /// Nobody can be asked on this socket.
    Unreachable(PathBuf, io::Error),
    /// The appliance takes too long.
    Late(PathBuf),
    /// The appliance went away in the middle of its answer.
    Gone(PathBuf, hyper::Error),
    /// The answer is not what this program reads.
    Unreadable(PathBuf, String),
    /// It answered that it does not do this.
    Refused(Box<ErrorView>),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(socket, error) => {
                let socket = socket.display();
                match error.kind() {
                    ErrorKind::NotFound => {
                        write!(
                            f,
                            "there is no socket {socket}: is guideway running? `--socket` names another"
                        )
                    }
                    ErrorKind::ConnectionRefused => {
                        write!(f, "nobody answers on {socket}: is guideway running? `--socket` names another")
                    }
                    ErrorKind::PermissionDenied => {
                        write!(f, "{socket} is not for you: be root, or a member of the socket's group")
                    }
                    ErrorKind::WouldBlock => {
                        write!(f, "the appliance on {socket} takes no more clients: try again")
                    }
                    _ => write!(f, "cannot connect to {socket}: {error}"),
                }
            }
            Self::Late(socket) => {
                let seconds = ANSWER_TIME.as_secs();
                write!(f, "the appliance on {} has not answered for {seconds} seconds", socket.display())
            }
            Self::Gone(socket, error) => {
                write!(
                    f,
                    "the appliance on {} went away in the middle of its answer: {error}",
                    socket.display()
                )
            }
            Self::Unreadable(socket, what) => {
                let socket = socket.display();
                write!(
                    f,
                    "the answer from {socket} is unreadable ({what}): is it a guideway of this version?"
                )
            }
            Self::Refused(view) => write!(f, "{}; {}", view.message, view.help),
        }
    }
}

impl std::error::Error for ClientError {}

/// What a capture is to hold, and when it ends.
#[derive(Clone, Debug)]
pub struct CaptureOrder {
    /// Any of these.
    pub reasons: Vec<CaptureReason>,
    /// How many packets at most.
    pub packets: Option<u64>,
    /// How long at most.
    pub seconds: Option<u32>,
}

/// A capture that runs.
#[derive(Debug)]
pub struct Capture {
    body: Incoming,
    blocks: PcapngSplitter,
    socket: PathBuf,
}

impl Client {
    /// A client for the appliance that listens on `socket`.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What the appliance is, and how it is.
    ///
    /// # Errors
    /// [`ClientError`], as with every question.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.get("/v1/status").await
    }

    /// What it has counted.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn stats(&self) -> Result<Stats, ClientError> {
        self.get("/v1/stats").await
    }

    /// Which packets it has lost.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn drops(&self) -> Result<Losses, ClientError> {
        self.get("/v1/drops").await
    }

    /// Which connections it tracks: those of a service, on a backend, or all; at most `limit`.
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

    /// What it knows of a flow.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn conntrack_get(&self, flow: &str) -> Result<ConntrackLookup, ClientError> {
        self.get(&format!("/v1/conntrack/flow{}", query([("flow", Some(flow))]))).await
    }

    /// The backends of a service, or all.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn backend_list(&self, service: Option<&str>) -> Result<BackendList, ClientError> {
        self.get(&format!("/v1/backends{}", query([("service", service)]))).await
    }

    /// One backend.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn backend_get(&self, service: &str, backend: &str) -> Result<Backend, ClientError> {
        self.get(&backend_path(service, backend)).await
    }

    /// Gives a backend no new connections.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn backend_drain(&self, service: &str, backend: &str) -> Result<Backend, ClientError> {
        self.post(&format!("{}/drain", backend_path(service, backend))).await
    }

    /// Gives it new connections again.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn backend_undrain(&self, service: &str, backend: &str) -> Result<Backend, ClientError> {
        self.post(&format!("{}/undrain", backend_path(service, backend))).await
    }

    /// Gives it another weight.
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
        self.ask(Method::PUT, &path, Some(&json!({ "weight": weight }))).await
    }

    /// The VIPs.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn vip_list(&self) -> Result<VipList, ClientError> {
        self.get("/v1/vips").await
    }

    /// Begins to answer for a VIP.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn vip_announce(&self, address: IpAddr) -> Result<Vip, ClientError> {
        self.post(&format!("/v1/vips/{address}/announce")).await
    }

    /// Ends to answer for a VIP.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn vip_withdraw(&self, address: IpAddr) -> Result<Vip, ClientError> {
        self.post(&format!("/v1/vips/{address}/withdraw")).await
    }

    /// Begins a capture.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn capture(&self, order: &CaptureOrder) -> Result<Capture, ClientError> {
        let reasons: Vec<_> = order.reasons.iter().map(|reason| reason.as_str()).collect();
        let packets = order.packets.map(|packets| packets.to_string());
        let seconds = order.seconds.map(|seconds| seconds.to_string());
        let query = query([
            ("reasons", Some(&*reasons.join(","))),
            ("packets", packets.as_deref()),
            ("seconds", seconds.as_deref()),
        ]);
        let answer = self.in_time(self.send(Method::GET, &format!("/v1/capture{query}"), None)).await?;
        let body = self.accepted(answer).await?.into_body();
        Ok(Capture { body, blocks: PcapngSplitter::default(), socket: self.socket.clone() })
    }

    /// What has happened: the latest `limit` events, or the first of those after `after`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn events(&self, limit: usize, after: Option<u64>) -> Result<EventList, ClientError> {
        let (limit, after) = (limit.to_string(), after.map(|after| after.to_string()));
        let query = query([("limit", Some(&*limit)), ("after", after.as_deref())]);
        self.get(&format!("/v1/events{query}")).await
    }

    /// Takes the configuration file over again; what is wrong with it comes coloured for a terminal or plain.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn reload(&self, color: bool) -> Result<Reload, ClientError> {
        self.post(&format!("/v1/reload?color={color}")).await
    }

    /// Stops the appliance, and waits until nobody listens on its socket any more and, where that can be seen
    /// from here, its process has ended; for no longer than `time`. The second value says whether that came.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn stop(&self, time: Duration) -> Result<(Stopping, bool), ClientError> {
        let (file, process) = (self.file(), self.process().await);
        let stopping: Stopping = self.post("/v1/stop").await?;
        let process = process.filter(|process| process.pid == stopping.pid);
        Ok((stopping, self.gone(file, process, Instant::now() + time).await))
    }

    /// Drains the appliance, and waits until that has ended, and it has stopped where it is to `stop`; for no longer than
    /// the deadline and `time`. What it was last seen at, and whether the end has come.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn drain(
        &self,
        deadline_sec: u32,
        stop: bool,
        time: Duration,
    ) -> Result<(Drain, bool), ClientError> {
        let file = self.file();
        let process = if stop { self.process().await } else { None };
        let process = match process {
            Some(process) if process.pid == self.status().await?.pid => Some(process),
            _ => None,
        };
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
        let has_ended = if stop { self.gone(file, process, end).await } else { drain.end.is_some() };
        Ok((drain, has_ended))
    }

    /// Has the appliance serve again.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn undrain(&self) -> Result<Undrained, ClientError> {
        self.post("/v1/undrain").await
    }

    /// The process that listens on the socket, where it can be waited for.
    async fn process(&self) -> Option<Process> {
        let stream = UnixStream::connect(&self.socket).await.ok()?;
        // One of another namespace of processes has no number here.
        let pid = stream.peer_cred().ok()?.pid().filter(|pid| *pid > 0)?;
        let end = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::NONBLOCK).ok()?;
        Some(Process { pid: pid as u32, end })
    }

    /// Waits until nobody listens any more on the socket that this was the file of, and `process` has ended;
    /// whether that has come.
    async fn gone(&self, file: Option<(u64, u64)>, process: Option<Process>, end: Instant) -> bool {
        loop {
            let connected = UnixStream::connect(&self.socket).await;
            let gone = connected.is_err_and(|error| {
                matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
            });
            // Another appliance may have started in its place already.
            let gone = gone || self.file() != file;
            if gone && process.as_ref().is_none_or(Process::has_ended) {
                return true;
            }
            if Instant::now() >= end {
                return false;
            }
            sleep(GONE_INTERVAL).await;
        }
    }

    /// What tells the file of the socket from a later one of the same name.
    fn file(&self) -> Option<(u64, u64)> {
        let file = std::fs::metadata(&self.socket).ok()?;
        Some((file.dev(), file.ino()))
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
        body: Option<&serde_json::Value>,
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
        body: Option<&serde_json::Value>,
    ) -> Result<Response<Incoming>, ClientError> {
        let unreachable = |error| ClientError::Unreachable(self.socket.clone(), error);
        let stream = UnixStream::connect(&self.socket).await.map_err(unreachable)?;
        let gone = |error| ClientError::Gone(self.socket.clone(), error);
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(gone)?;
        // What goes wrong on the connection, the sender or the body's reader is told too.
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, "guideway");
        let body = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                body.to_string()
            }
            None => String::new(),
        };
        let request = request.body(Full::new(Bytes::from(body))).map_err(|error| self.unreadable(&error))?;
        sender.send_request(request).await.map_err(gone)
    }

    /// The answer, if it is no error.
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

impl Capture {
    /// How many packets have come so far.
    pub fn packets(&self) -> u64 {
        self.blocks.packets()
    }

    /// How many packets that were wanted had no room on their way, as far as the appliance has told.
    pub fn missing(&self) -> u64 {
        self.blocks.missing()
    }

    /// The blocks that came next, each whole; none at the end.
    ///
    /// # Errors
    /// [`ClientError`] where the appliance went away; every block until then was whole.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        let socket = || self.socket.clone();
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| ClientError::Gone(socket(), error))?;
            let Ok(bytes) = frame.into_data() else { continue };
            let whole = self.blocks.take(&bytes);
            let whole = whole.map_err(|error| ClientError::Unreadable(socket(), error.to_string()))?;
            if !whole.is_empty() {
                return Ok(Some(whole));
            }
        }
        Ok(None)
    }
}

fn backend_path(service: &str, backend: &str) -> String {
    format!("/v1/services/{}/backends/{}", encoded(service), encoded(backend))
}

/// The query of those parameters that have a value.
fn query<const N: usize>(parameters: [(&str, Option<&str>); N]) -> String {
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
