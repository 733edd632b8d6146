//! An appliance whose ports are in memory, and its operator.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use guideway::api::request::{Refused, Reply, Request};
use guideway::api::view::{self, EventKind};
use guideway::config_file;
use guideway::health::probe::{ProbeResult, WeightReport};
use guideway::health::scheduler::ProbeReport;
use guideway::health::state::CheckId;
use guideway::run::appliance::Nic;
use guideway::run::aside::Aside;
use guideway::run::assemble::{Probing, Senders, Setup, assemble, control_thread};
use guideway::run::last_resort::LastResort;
use guideway::run::ports::{MemoryPorts, Ports};
use guideway::run::process::Process;
use guideway::run::worker::{RingSizes, Shared, StopWorkers, WorkerFailure};
use guideway_dataplane::frame::Frame;
use guideway_dataplane::wire::ethernet::MacAddress;
use guideway_engine::driver::loopback::{Wire, loopback};
use guideway_engine::mbuf::Mbuf;
use guideway_model::config::Config;
use pcap_fixtures::packet::Packet;
use tokio::sync::oneshot;
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

/// Rings that a burst of a few hundred frames overflows.
const RINGS: RingSizes = RingSizes { host: 64, tap: 64 };

/// The operator of a running appliance, who also has the far end of its port.
pub(crate) struct Operator {
    pub(crate) senders: Senders,
    pub(crate) wire: Wire<Mbuf>,
    pub(crate) config_path: PathBuf,
    /// Signals, as far as the appliance is told of any.
    pub(crate) last_resort: LastResort,
    /// While it is set, the worker rests.
    pub(crate) worker_rests: Arc<AtomicBool>,
}

impl Operator {
    /// Has a probe of a backend end with this result.
    pub(crate) async fn report(&self, backend: &str, result: Result<Option<WeightReport>, &str>) {
        self.report_result(backend, result.map_or_else(ProbeResult::unwell, ProbeResult::Well)).await;
    }

    /// Has a probe of a backend end with a result of any kind.
    pub(crate) async fn report_result(&self, backend: &str, result: ProbeResult) {
        self.report_after(Duration::from_micros(1_500), backend, result).await;
    }

    /// Has a probe of a backend end now, after this time.
    pub(crate) async fn report_after(&self, latency: Duration, backend: &str, result: ProbeResult) {
        let id = CheckId { service: "web".into(), backend: backend.into(), rule: "web".into() };
        self.senders
            .reports
            .send(ProbeReport { id, result, latency, ended: Instant::now() })
            .await
            .expect("the supervisor runs");
    }

    /// The backend, once it is as `wanted`, which takes a turn or two.
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

    /// Kinds of the events since another, and the backends of those that are about one.
    pub(crate) async fn events_after(&self, after: u64) -> Vec<(EventKind, Option<String>)> {
        let list = self.ask(|reply| Request::Events { limit: 100, after: Some(after), reply }).await.unwrap();
        // A machine with much to do stalls any thread.
        let events = list.events.into_iter().filter(|event| event.kind != EventKind::ControlStalled);
        events.map(|event| (event.kind, event.backend)).collect()
    }

    /// Number of the latest event; 0 before the first.
    pub(crate) async fn latest_event_id(&self) -> u64 {
        let list = self.ask(|reply| Request::Events { limit: 1, after: None, reply }).await.unwrap();
        list.events.last().map_or(0, |event| event.id)
    }

    /// Text of the latest event.
    pub(crate) async fn latest_event(&self) -> String {
        let list = self.ask(|reply| Request::Events { limit: 9, after: None, reply }).await.unwrap();
        // A machine with much to do stalls any thread.
        let mut events = list.events.into_iter().filter(|event| event.kind != EventKind::ControlStalled);
        events.next_back().expect("something has happened").text
    }

    pub(crate) async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, Refused> {
        let (reply, replied) = oneshot::channel();
        self.senders.requests.send(request(reply)).await.expect("the supervisor runs");
        replied.await.expect("every request gets its reply")
    }

    pub(crate) async fn backend(&self, name: &str) -> view::Backend {
        let list = self.ask(|reply| Request::BackendList { service: None, reply }).await.unwrap();
        list.backends.into_iter().find(|backend| backend.name == name).expect("a backend")
    }

    /// Drains a backend; its connections end after the deadline.
    pub(crate) async fn drain(
        &self,
        backend: &str,
        deadline: Option<Duration>,
    ) -> Result<view::Backend, Refused> {
        let (service, backend) = ("web".to_owned(), backend.to_owned());
        self.ask(|reply| Request::BackendDrain { service, backend, deadline, reply }).await
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

/// Runs `test` beside an appliance; returns how that ended.
pub(crate) fn with_appliance<T: Future<Output = ()>>(
    name: &str,
    test: impl FnOnce(Operator) -> T,
) -> Result<(), WorkerFailure> {
    run(name, CONFIG, Probing::Off, None, test)
}

/// Runs `test` beside an appliance that watches its backends; the test says what probes find.
pub(crate) fn with_watch<T: Future<Output = ()>>(
    name: &str,
    config: &str,
    test: impl FnOnce(Operator) -> T,
) -> Result<(), WorkerFailure> {
    run(name, config, Probing::Told, None, test)
}

pub(crate) fn run<T: Future<Output = ()>>(
    name: &str,
    config_text: &str,
    probing: Probing,
    state: Option<&Path>,
    test: impl FnOnce(Operator) -> T,
) -> Result<(), WorkerFailure> {
    run_on(MemoryPorts, name, config_text, probing, state, test)
}

/// Runs `test` beside an appliance with these devices.
pub(crate) fn run_on<P: Ports<Frame = Mbuf>, T: Future<Output = ()>>(
    ports: P,
    name: &str,
    config_text: &str,
    probing: Probing,
    state: Option<&Path>,
    test: impl FnOnce(Operator) -> T,
) -> Result<(), WorkerFailure> {
    let config_path =
        std::env::temp_dir().join(format!("guideway-supervisor-{name}-{}.toml", std::process::id()));
    std::fs::write(&config_path, config_text).unwrap();
    let sources = config_file::read(&config_path).unwrap();
    let config = Config::parse_sources(&sources).unwrap_or_else(|errors| panic!("{errors}"));
    let shared = Shared::new(&config, [1, 2, 3, 4], &[]).unwrap();
    let nic = Nic { mac: MacAddress(OWN_MAC), offloads_udp_checksum: false };
    let (mut assembly, seeds) =
        assemble(Setup { config, nics: &[nic], cores: &[0], shared, probing, rings: RINGS });
    if let Some(path) = state {
        assembly.keep_operator_state(path.to_owned());
    }
    let (queues, wire) = loopback(256);
    let stop = AtomicBool::new(false);
    let worker_rests = Arc::new(AtomicBool::new(false));
    let result = thread::scope(|scope| {
        // Where a test fails, too: the scope waits for the worker.
        let _stop_worker = StopWorkers(&stop);
        let stop = &stop;
        for (seed, queues) in seeds.into_iter().zip([queues]) {
            let rests = Arc::clone(&worker_rests);
            scope.spawn(move || {
                let mut poll_loop = seed.poll_loop(vec![queues]);
                while !stop.load(Ordering::Relaxed) {
                    if rests.load(Ordering::Relaxed) {
                        thread::sleep(Duration::from_millis(1));
                    } else {
                        poll_loop.turn();
                    }
                }
                poll_loop.run(stop);
            });
        }
        let senders = assembly.senders().clone();
        let last_resort = LastResort::default();
        let operator = Operator {
            senders,
            last_resort: last_resort.clone(),
            wire,
            config_path: config_path.clone(),
            worker_rests: Arc::clone(&worker_rests),
        };
        let process = Process {
            config_path: config_path.clone(),
            sources: Some(sources),
            guard: None,
            last_resort: Some(last_resort),
            log: None,
            aside: Aside::Threads,
            messenger: None,
        };
        let control = async { tokio::join!(assembly.run(ports, process), test(operator)).0 };
        control_thread(control).unwrap()
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
