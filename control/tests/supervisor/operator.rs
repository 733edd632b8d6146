//! An appliance with its ports in memory, and who operates it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use guideway::api::request::{Refused, Reply, Request};
use guideway::api::view::{self, EventKind};
use guideway::health::probe::{ProbeResult, WeightReport};
use guideway::health::scheduler::ProbeReport;
use guideway::health::state::CheckId;
use guideway::run::appliance::{Appliance, Nic};
use guideway::run::supervisor::{Inbox, Ports, Shared, Supervisor, WorkerEnd, WorkerFailure};
use guideway_dataplane::affinity::TrackingHasher;
use guideway_dataplane::conntrack::ConntrackTable;
use guideway_dataplane::frame::Frame;
use guideway_dataplane::wire::ethernet::MacAddress;
use guideway_engine::burst_processor::BurstProcessor;
use guideway_engine::clock::Clock;
use guideway_engine::counters::counters;
use guideway_engine::driver::loopback::{Wire, loopback};
use guideway_engine::host_path::host_path;
use guideway_engine::mbuf::Mbuf;
use guideway_engine::poll_loop::PollLoop;
use guideway_engine::tap::TapSwitch;
use guideway_model::config::Config;
use pcap_fixtures::packet::Packet;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

pub(crate) const OWN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const CONFIG: &str = r#"
[conntrack]
max_entries = 10_000
[[port]]
name = "lan"
device = "net_null0"
ip_addresses = ["192.0.2.1/24"]
[[forwarding_rule]]
name = "web"
ip_address = "192.0.2.100"
ports = [80]
backend_service = "web"
[[backend_service]]
name = "web"
health_checks = ["alive"]
backends = [{ group = "web" }]
connection_draining = { draining_timeout_sec = 60 }
[[health_check]]
name = "alive"
type = "TCP"
[[backend_group]]
name = "web"
endpoints = [
    { name = "a", ip_address = "192.0.2.11", mac_address = "02:00:00:00:00:0a" },
    { name = "b", ip_address = "192.0.2.12" },
]
"#;

/// A port in memory, as the control thread has it.
pub(crate) struct MemoryPorts;

impl Ports for MemoryPorts {
    type Frame = Mbuf;

    fn frame(&self, bytes: &[u8]) -> Option<Mbuf> {
        let mut mbuf = Mbuf::new();
        mbuf.fill(bytes);
        Some(mbuf)
    }

    fn states(&self) -> Vec<view::Port> {
        Vec::new()
    }

    fn stats(&self) -> Vec<view::PortStats> {
        Vec::new()
    }
}

/// What a test does with a running appliance.
pub(crate) struct Operator {
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) failures: mpsc::UnboundedSender<WorkerFailure>,
    pub(crate) reports: mpsc::Sender<ProbeReport>,
    pub(crate) wire: Wire<Mbuf>,
    pub(crate) config_path: PathBuf,
}

impl Operator {
    /// Has a probe of a backend end so.
    pub(crate) async fn find(&self, backend: &str, result: Result<Option<WeightReport>, &str>) {
        let id = CheckId { service: "web".into(), backend: backend.into(), rule: "web".into() };
        let result = result.map_or_else(|reason| ProbeResult::Unwell(reason.to_owned()), ProbeResult::Well);
        let latency = Duration::from_micros(1_500);
        self.reports
            .send(ProbeReport { id, result, latency, ended: Instant::now() })
            .await
            .expect("the supervisor runs");
    }

    /// The backend, once it is as a test wants it, which takes a turn or two.
    pub(crate) async fn backend_when(
        &self,
        name: &str,
        wanted: impl Fn(&view::Backend) -> bool,
    ) -> view::Backend {
        for _ in 0..5_000 {
            let backend = self.backend(name).await;
            if wanted(&backend) {
                return backend;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("the backend is {:?}", self.backend(name).await);
    }

    /// What has happened since an event: kinds, and backends where they are about one.
    pub(crate) async fn events_after(&self, after: u64) -> Vec<(EventKind, Option<String>)> {
        let list = self.ask(|reply| Request::Events { limit: 100, after: Some(after), reply }).await.unwrap();
        list.events.into_iter().map(|event| (event.kind, event.backend)).collect()
    }

    pub(crate) async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, Refused> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.expect("the supervisor runs");
        answer.await.expect("it answers")
    }

    pub(crate) async fn backend(&self, name: &str) -> view::Backend {
        let list = self.ask(|reply| Request::BackendList { service: None, reply }).await.unwrap();
        list.backends.into_iter().find(|backend| backend.name == name).expect("a backend")
    }

    pub(crate) fn send(&mut self, packet: &Packet) {
        let mut mbuf = Mbuf::new();
        mbuf.fill(&packet.clone().macs([2, 0, 0, 0, 0, 9], OWN_MAC).build());
        assert!(self.wire.send(mbuf).is_ok(), "the ring has room");
    }

    /// The next frame that the appliance sends and that fits; waits for it.
    pub(crate) async fn receive(&mut self, fits: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        for _ in 0..5_000 {
            while let Some(mbuf) = self.wire.receive() {
                if fits(mbuf.bytes()) {
                    return mbuf.bytes().to_vec();
                }
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("the appliance sends no such frame");
    }

    /// Answers the appliance's question for the MAC address of 192.0.2.12.
    pub(crate) async fn answer_arp(&mut self) {
        let asked = self.receive(|frame| frame[12..14] == [8, 6] && frame[38..42] == [192, 0, 2, 12]).await;
        let mut answer = vec![0; 60];
        answer[..6].copy_from_slice(&OWN_MAC);
        answer[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 0xb]);
        answer[12..20].copy_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4]);
        answer[20..22].copy_from_slice(&[0, 2]);
        answer[22..28].copy_from_slice(&[2, 0, 0, 0, 0, 0xb]);
        answer[28..32].copy_from_slice(&asked[38..42]);
        answer[32..38].copy_from_slice(&OWN_MAC);
        answer[38..42].copy_from_slice(&asked[28..32]);
        let mut mbuf = Mbuf::new();
        mbuf.fill(&answer);
        assert!(self.wire.send(mbuf).is_ok(), "the ring has room");
        for _ in 0..5_000 {
            if self.backend("b").await.next_hop.is_some_and(|next_hop| next_hop.mac.is_some()) {
                return;
            }
        }
        panic!("the answer is not heard");
    }
}

/// Ends the worker where a test fails: the scope waits for it.
pub(crate) struct StopWorker<'s>(&'s AtomicBool);

impl Drop for StopWorker<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `test` beside an appliance; returns how that ended.
pub(crate) fn with_appliance<T: Future<Output = ()>>(
    name: &str,
    test: impl FnOnce(Operator) -> T,
) -> Result<(), WorkerFailure> {
    run(name, CONFIG, false, test)
}

/// Runs `test` beside an appliance that watches its backends, whose probes find what the test says.
pub(crate) fn with_watch<T: Future<Output = ()>>(
    name: &str,
    config: &str,
    test: impl FnOnce(Operator) -> T,
) -> Result<(), WorkerFailure> {
    run(name, config, true, test)
}

pub(crate) fn run<T: Future<Output = ()>>(
    name: &str,
    config_text: &str,
    watches: bool,
    test: impl FnOnce(Operator) -> T,
) -> Result<(), WorkerFailure> {
    let config_path =
        std::env::temp_dir().join(format!("guideway-supervisor-{name}-{}.toml", std::process::id()));
    std::fs::write(&config_path, config_text).unwrap();
    let config = Config::parse("guideway.toml", config_text).unwrap_or_else(|errors| panic!("{errors}"));
    let shared = Shared {
        table: Arc::new(ConntrackTable::with_capacity(10_000).unwrap()),
        hasher: TrackingHasher::new([1, 2, 3, 4]),
        clock: Clock::start(),
    };
    let nic = Nic { mac: MacAddress(OWN_MAC), offloads_udp_checksum: false };
    let appliance = Appliance::new(config, &[nic], 1, !watches, shared.clock.elapsed());
    let (queues, wire) = loopback(256);
    let (link, host) = host_path(64);
    let (writer, reader) = counters();
    let switch = TapSwitch::new();
    let (tap, tap_reader) = switch.tap(64);
    let (feed, stop) = (appliance.feed(), AtomicBool::new(false));
    let result = thread::scope(|scope| {
        let _stop_worker = StopWorker(&stop);
        let (worker_shared, stop) = (shared.clone(), &stop);
        scope.spawn(move || {
            let Shared { table, hasher, clock } = worker_shared;
            let worker = BurstProcessor::new(feed.subscribe(), table, hasher);
            PollLoop::new(worker, vec![queues], link, clock, writer).tapped(tap).run(stop);
        });
        let end = WorkerEnd { core: 0, counters: reader, host, tap: tap_reader };
        let mut supervisor =
            Supervisor::new(appliance, MemoryPorts, vec![end], switch, shared.clone(), config_path.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let (requests, incoming) = mpsc::channel(8);
            let (report, failures) = mpsc::unbounded_channel();
            // As many as the live appliance has.
            let (found, reports) = mpsc::channel(1_024);
            if watches {
                // What its own probes find on this wire is nothing: it goes nowhere.
                let (nowhere, _) = mpsc::channel(1);
                supervisor.watch(nowhere);
            }
            let config_path = config_path.clone();
            let operator = Operator { requests, failures: report, reports: found, wire, config_path };
            let (result, ()) =
                tokio::join!(supervisor.run(Inbox { requests: incoming, failures, reports }), test(operator));
            result
        })
    });
    std::fs::remove_file(&config_path).unwrap();
    result
}

pub(crate) async fn stop(operator: &Operator) {
    operator.ask(|reply| Request::Stop { reply }).await.unwrap();
}

pub(crate) fn to_vip(src_port: u16) -> Packet {
    Packet::between("192.0.2.50", "192.0.2.100").tcp(src_port, 80, 0x02)
}
