//! A supervisor that plays a script, behind a real server on a socket of its own.

use std::net::SocketAddr;
use std::ops::Not;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use guideway::api::admin::client::Client;
use guideway::api::admin::server::Server;
use guideway::api::metrics::Exporter;
use guideway::api::request::{BackendName, Refused, Reply, Request};
use guideway::api::view::{
    Backend, BackendList, BackendProbes, Change, ChangeKind, ConntrackList, ConntrackLookup, DrainEnd,
    EventList, Explained, NeighborReplies, Reload, Remaining, RingList, RuleList, ServiceList, Stopping,
    Undrained, Vip, VipList, WeightSource,
};
use guideway_dataplane::snapshot::Snapshot;
use guideway_model::config::{AccessToken, Config, EXAMPLE, VipRange};
use guideway_model::egress_lookup::StandInMacs;
use guideway_model::explain::explain;
use guideway_model::flow_text::FlowText;
use guideway_model::forwarding_state::{ForwardingState, StateChange};
use guideway_model::removals::Removals;
use guideway_model::service::UnknownName;
use tokio::sync::{mpsc, watch};

use crate::traced::traced;
use crate::{planned, sample};

/// A directory of a test's own; it goes with this value.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("guideway-admin-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An appliance without packets: it runs in a thread of its own until it is stopped or dropped.
pub(crate) struct Appliance {
    directory: Directory,
    metrics: SocketAddr,
    ended_captures: std_mpsc::Receiver<()>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Appliance {
    pub(crate) fn start() -> Self {
        Self::start_as(4321)
    }

    /// One that says that it is the process of this number.
    pub(crate) fn start_as(pid: u32) -> Self {
        Self::start_with(pid, None)
    }

    /// Exporter whose metrics are for those who know the token.
    pub(crate) fn start_guarded(token: &str) -> Self {
        Self::start_with(4321, Some(AccessToken::of_text(token).unwrap()))
    }

    fn start_with(pid: u32, token: Option<AccessToken>) -> Self {
        let directory = Directory::new();
        let socket = directory.path().join("admin.sock");
        let (stop, stopped) = watch::channel(false);
        let (bound, metrics) = std_mpsc::channel();
        let (ended, ended_captures) = std_mpsc::channel();
        let stopping = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let server = Server::bind(&socket).await.unwrap();
                let exporter = Exporter::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
                let exporter = exporter.with_token(token);
                bound.send(exporter.address().unwrap()).unwrap();
                let (requests, asked) = mpsc::channel(4);
                let end = |mut stopped: watch::Receiver<bool>| async move {
                    let _ = stopped.wait_for(|stopped| *stopped).await;
                };
                let exporting = tokio::spawn(exporter.serve(requests.clone(), end(stopped.clone())));
                let serving = tokio::spawn(server.serve(requests, end(stopped)));
                Script::new(pid, stopping, ended).play(asked).await;
                exporting.await.unwrap();
                serving.await.unwrap();
            });
        });
        let metrics = metrics.recv().unwrap();
        Self { directory, metrics, ended_captures, stop, thread: Some(thread) }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("admin.sock")
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn metrics(&self) -> SocketAddr {
        self.metrics
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.socket())
    }

    /// Waits until a capture of the supervisor's has found its client gone.
    pub(crate) fn capture_ended(&self) {
        self.ended_captures.recv_timeout(PATIENCE).expect("the capture goes on");
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the appliance has panicked");
        }
    }
}

/// Time that a test waits for anything before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(100);

/// Runs what a test asks of a client.
pub(crate) fn block_on<T>(asked: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, asked).await.expect("an answer in time") })
}

/// State of the supervisor that a test plays, and its answers to requests.
struct Script {
    pid: u32,
    backends: Vec<Backend>,
    vips: Vec<Vip>,
    reloads: u64,
    /// Sessions that are still counted on the drained backend, one fewer at each look.
    sessions: u64,
    /// Deadline of the drain, true if the appliance stops then, and the looks that it takes until the drain has ended.
    drained: Option<(u64, bool, u32)>,
    stop: watch::Sender<bool>,
    ended_captures: std_mpsc::Sender<()>,
}

impl Script {
    fn new(pid: u32, stop: watch::Sender<bool>, ended_captures: std_mpsc::Sender<()>) -> Self {
        Self {
            pid,
            backends: sample::backends(),
            vips: sample::vips(),
            reloads: 0,
            sessions: 2,
            drained: None,
            stop,
            ended_captures,
        }
    }

    async fn play(mut self, mut asked: mpsc::Receiver<Request>) {
        let mut stopped = self.stop.subscribe();
        loop {
            tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => break,
                request = asked.recv() => match request {
                    Some(request) => self.answer(request),
                    None => break,
                },
            }
        }
    }

    fn answer(&mut self, request: Request) {
        match request {
            Request::Status { reply } => {
                let mut status = sample::status(&self.vips);
                // Each look brings the end of a drain nearer.
                if let Some((deadline, stop, looks)) = &mut self.drained {
                    *looks = looks.saturating_sub(1);
                    status.drain =
                        Some(sample::drain(*deadline, *stop, (*looks == 0).then_some(DrainEnd::Quiet)));
                    if *stop && *looks == 0 {
                        self.stop.send_replace(true);
                    }
                }
                send(reply, Ok(status));
            }
            Request::Stats { reply } => send(reply, Ok(sample::stats())),
            Request::Xstats { reply } => send(reply, Ok(sample::xstats())),
            Request::ServiceList { reply } => {
                send(reply, Ok(ServiceList { services: sample::services() }));
            }
            Request::RuleList { reply } => send(reply, Ok(RuleList { rules: sample::rules() })),
            Request::ConntrackList { service, backend, limit, reply } => {
                let mut entries = sample::entries();
                entries.retain(|entry| service.as_ref().is_none_or(|service| *service == entry.service));
                entries.retain(|entry| backend.as_ref().is_none_or(|backend| *backend == entry.backend));
                let matching = entries.len() as u64;
                entries.truncate(limit);
                send(reply, Ok(ConntrackList { matching, entries }));
            }
            Request::ConntrackGet { flow, network, reply } => {
                let ours = flow.0.rule_port() == Some(443);
                let lookup = ConntrackLookup {
                    flow: flow.to_string(),
                    network,
                    forwarding_rule: ours.then(|| "web".into()),
                    service: ours.then(|| "web".into()),
                    tracked: ours,
                    tuple: ours.then(|| "5-tuple: addresses, protocol and ports".into()),
                    entry: ours.then(|| sample::entries().remove(1)),
                };
                send(reply, Ok(lookup));
            }
            Request::BackendList { service, reply } => send(reply, self.backend_list(service.as_deref())),
            Request::BackendGet { service, backend, reply } => {
                send(reply, self.find(&service, &backend).cloned());
            }
            Request::BackendRemaining { service, backend, reply } => {
                let found = self.find(&service, &backend).map(|_| ());
                send(reply, found.map(|()| self.remaining(&service)));
            }
            Request::BackendProbe { service, backend, reply } => {
                let probes = self.find(&service, &backend).map(|_| sample::probes());
                send(reply, probes.map(|probes| BackendProbes { service, backend, probes }));
            }
            Request::BackendDrain { service, backend, deadline, reply } => {
                let drain = |backend: &mut Backend| {
                    backend.operator_drained = true;
                    backend.entries_end_sec = deadline.map(|deadline| deadline.as_secs());
                };
                send(reply, self.change(&service, &backend, drain));
            }
            Request::BackendUndrain { service, backend, reply } => {
                send(reply, self.change(&service, &backend, |backend| backend.operator_drained = false));
            }
            Request::BackendReset { service, backend, reply } => {
                let reset = |backend: &mut Backend| {
                    backend.operator_drained = false;
                    backend.weight_source = WeightSource::Configured;
                };
                send(reply, self.change(&service, &backend, reset));
            }
            Request::BackendSetWeight { service, backend, weight, reply } => {
                let weighted = |backend: &mut Backend| {
                    backend.weight = Some(weight);
                    backend.weight_source = WeightSource::Operator;
                };
                let answer = match self.find(&service, &backend) {
                    Ok(found) if found.weight.is_none() => Err(Refused::ServiceNotWeighted(service)),
                    Ok(_) => self.change(&service, &backend, weighted),
                    Err(unknown) => Err(unknown),
                };
                send(reply, answer);
            }
            Request::VipList { reply } => send(reply, Ok(VipList { vips: self.vips.clone() })),
            Request::VipAnnounce { address, network: _, reply } => send(reply, self.announce(address, true)),
            Request::VipWithdraw { address, network: _, reply } => send(reply, self.announce(address, false)),
            Request::Capture { filter, reply, .. } if filter.service.as_deref() == Some("nobody") => {
                send(reply, Err(unknown_among("service", &["web", "dns"])));
            }
            Request::ConntrackWatch { filter, reply, .. } if filter.backend.as_deref() == Some("nobody") => {
                send(reply, Err(unknown_among("backend", &["web/web-1", "web/web-2"])));
            }
            Request::ConntrackWatch { count, lines, reply, .. } => {
                send(reply, Ok(()));
                let ended = self.ended_captures.clone();
                let line = |_| serde_json::to_string(&sample::watched()).unwrap();
                tokio::spawn(write_lines(count, line, lines, ended));
            }
            Request::Trace { count, lines, reply, .. } => {
                send(reply, Ok(()));
                let ended = self.ended_captures.clone();
                let line = |number| serde_json::to_string(&traced(number)).unwrap();
                tokio::spawn(write_lines(Some(count), line, lines, ended));
            }
            Request::Capture { packets, blocks, reply, .. } => {
                send(reply, Ok(()));
                let ended = self.ended_captures.clone();
                tokio::spawn(capture(packets, blocks, ended));
            }
            Request::Events { limit, after, reply } => {
                let mut events = sample::events();
                events.retain(|event| event.id > after.unwrap_or(0));
                if after.is_none() {
                    events.drain(..events.len().saturating_sub(limit));
                }
                events.truncate(limit);
                send(reply, Ok(EventList { events }));
            }
            Request::Drain { deadline, stop, reply } => {
                self.drained = Some((deadline.as_secs(), stop, 2));
                send(reply, Ok(sample::drain(deadline.as_secs(), stop, None)));
            }
            Request::Undrain { reply } => {
                send(reply, Ok(Undrained { was_drained: self.drained.take().is_some() }));
            }
            Request::Plan { config, reply } => {
                let planned = match config {
                    // A configuration is right or wrong here too.
                    Some(config) => Config::parse_sources(&config).map_err(Refused::Config),
                    None => Ok(Config::parse("", "").unwrap()),
                };
                send(reply, planned.map(|_| planned::plan()));
            }
            Request::Explain { flow, network, unhealthy, reply } => {
                send(reply, explained(&flow, network.as_deref(), &unhealthy));
            }
            Request::Ring { query, unhealthy, reply } => {
                let state = running(&unhealthy);
                let rings = state.and_then(|(state, snapshot)| Ok(query.rings(&state, &snapshot)?));
                let config_path = CONFIG_PATH.to_owned();
                send(reply, rings.map(|rings| RingList { config_path, configuration_generation: 2, rings }));
            }
            Request::Reload { confirms_removals: false, reply } if self.reloads == 3 => {
                let removals = Removals { rules: 3, rules_removed: 3, backends: 5, backends_removed: 5 };
                send(reply, Err(Refused::RemovalsUnconfirmed(removals)));
            }
            Request::Reload { reply, .. } => send(reply, self.reload()),
            Request::Stop { reply } => {
                send(reply, Ok(Stopping { pid: self.pid }));
                self.stop.send_replace(true);
            }
        }
    }

    fn backend_list(&self, service: Option<&str>) -> Result<BackendList, Refused> {
        let of_service = |backend: &&Backend| service.is_none_or(|service| service == backend.service);
        let backends: Vec<_> = self.backends.iter().filter(of_service).cloned().collect();
        match service {
            Some(service) if backends.is_empty() => Err(UnknownName::Service(service.into()).into()),
            _ => Ok(BackendList { backends }),
        }
    }

    /// Service `web` tracks sessions, one of which ends with each look; the connections of others stay.
    fn remaining(&mut self, service: &str) -> Remaining {
        if service != "web" {
            return Remaining { connections: 1, sessions: 0, warning: None };
        }
        let sessions = self.sessions;
        self.sessions = sessions.saturating_sub(1);
        let warning = (sessions > 0).then(|| "they go on (PER_SESSION)".to_owned());
        Remaining { connections: 0, sessions, warning }
    }

    fn find(&mut self, service: &str, backend: &str) -> Result<&mut Backend, Refused> {
        if self.backends.iter().all(|found| found.service != service) {
            return Err(UnknownName::Service(service.into()).into());
        }
        let unknown = || UnknownName::Backend(service.into(), backend.into());
        let mut backends = self.backends.iter_mut().filter(|found| found.service == service);
        backends.find(|found| found.name == backend).ok_or_else(|| unknown().into())
    }

    fn change(
        &mut self,
        service: &str,
        backend: &str,
        change: impl FnOnce(&mut Backend),
    ) -> Result<Backend, Refused> {
        let found = self.find(service, backend)?;
        if found.draining {
            return Err(Refused::BackendRemoved { service: service.into(), backend: backend.into() });
        }
        change(found);
        found.eligible = !found.operator_drained;
        found.share = if found.operator_drained { 0.0 } else { 0.5 };
        let changed = found.clone();
        let warning =
            self.is_served(service).not().then(|| format!("nobody is eligible in service `{service}`"));
        Ok(Backend { warning, ..changed })
    }

    fn is_served(&self, service: &str) -> bool {
        self.backends.iter().any(|backend| backend.service == service && backend.eligible)
    }

    fn announce(&mut self, address: VipRange, announced: bool) -> Result<Vip, Refused> {
        let found = self.vips.iter_mut().find(|vip| vip.address == address);
        let vip = found.ok_or(Refused::UnknownVip(address))?;
        if vip.neighbor_replies != NeighborReplies::WhenAnnounced {
            let neighbor_replies = vip.neighbor_replies;
            return Err(Refused::VipNotAnnounceable { address, neighbor_replies });
        }
        vip.announced = announced;
        Ok(vip.clone())
    }

    /// The first file changes something, the second nothing, the third is wrong, and so are others, which remove everything
    /// besides.
    fn reload(&mut self) -> Result<Reload, Refused> {
        self.reloads += 1;
        let change = |change, text: &str| Change { change, text: text.into() };
        match self.reloads {
            1 => Ok(Reload {
                config_path: CONFIG_PATH.to_owned(),
                configuration_generation: 3,
                changes: vec![
                    change(ChangeKind::Added, "backend web/web-4 (198.51.100.14)"),
                    change(ChangeKind::Removed, "backend web/web-3 (2001:db8:2::13)"),
                    change(ChangeKind::Changed, "backend web/web-2: weight 1 to 5"),
                    change(ChangeKind::NeedsRestart, "[engine]: takes effect at the next start"),
                ],
                warnings: vec![
                    "service `web` has no backend, so that new connections to it are dropped: add endpoints to its \
                     groups"
                        .into(),
                ],
            }),
            2 => Ok(Reload {
                config_path: CONFIG_PATH.to_owned(),
                configuration_generation: 3,
                changes: Vec::new(),
                warnings: Vec::new(),
            }),
            _ => {
                let text =
                    "[[forwarding_rule]]\nname = \"web\"\nip_address = \"127.0.0.1\"\nall_port = true\n";
                let errors = Config::parse("/etc/guideway/guideway.toml", text).unwrap_err();
                Err(Refused::Config(errors))
            }
        }
    }
}

const CONFIG_PATH: &str = "/etc/guideway/guideway.toml";

/// The example's state, in which these backends are unhealthy and `web-2` is drained.
fn running(unhealthy: &[BackendName]) -> Result<(ForwardingState, Snapshot), Refused> {
    let mut state = ForwardingState::offline(Config::parse("example", EXAMPLE).unwrap());
    let unhealthy = unhealthy.iter().cloned().map(|BackendName { service, backend }| StateChange::Health {
        service,
        backend,
        healthy: false,
    });
    let drain = StateChange::OperatorDrain {
        service: "web".to_owned(),
        backend: "web-2".to_owned(),
        entries_end_at: None,
    };
    state.apply(unhealthy.chain([drain]), Duration::ZERO).all_known()?;
    let snapshot = state.snapshot(&StandInMacs);
    Ok((state, snapshot))
}

fn explained(
    flow: &FlowText,
    network: Option<&str>,
    unhealthy: &[BackendName],
) -> Result<Explained, Refused> {
    let (state, snapshot) = running(unhealthy)?;
    let explanation = explain(*flow, state.network_named(network)?, &state, &snapshot);
    Ok(Explained { config_path: CONFIG_PATH.to_owned(), configuration_generation: 2, explanation })
}

fn send<T>(reply: Reply<T>, answer: Result<T, Refused>) {
    // Who asked may be gone.
    let _ = reply.send(answer);
}

fn unknown_among(kind: &'static str, known: &[&str]) -> Refused {
    let known = known.iter().map(|name| (*name).to_owned()).collect();
    Refused::UnknownAmong { kind, name: "nobody".to_owned(), known }
}

/// Sends as many lines, or three and then nothing more until nobody reads it.
async fn write_lines(
    count: Option<u64>,
    line: impl Fn(u64) -> String,
    lines: mpsc::Sender<Bytes>,
    ended: std_mpsc::Sender<()>,
) {
    for number in 1..=count.unwrap_or(3) {
        if lines.send((line(number) + "\n").into()).await.is_err() {
            break;
        }
    }
    if count.is_none() {
        lines.closed().await;
        let _ = ended.send(());
    }
}

/// Sends as many packets, or three and then nothing more until nobody reads it.
async fn capture(packets: Option<u64>, blocks: mpsc::Sender<Bytes>, ended: std_mpsc::Sender<()>) {
    blocks.send(sample::section_header().into()).await.unwrap();
    for number in 0..packets.unwrap_or(3) {
        if blocks.send(sample::packet(number as u8).into()).await.is_err() {
            break;
        }
    }
    if packets.is_some() {
        blocks.send(sample::missing(2).into()).await.unwrap();
    } else {
        blocks.closed().await;
        let _ = ended.send(());
    }
}
