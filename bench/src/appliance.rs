//! An appliance without a NIC: the real control thread and workers, on queues that make their own traffic.
//!
//! ```text
//!  far end ──▶ queues ──▶ worker (busy, pinned) ◀── snapshots, probes ── control thread (pinned) ◀── session
//!     ▲          │
//!     └─ probes ─┘  all else is dropped and made anew
//! ```

mod far_end;
mod traffic;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;

use guideway::api::request::{Reply, Request};
use guideway::api::view;
use guideway::api::view::Status;
use guideway::health::scheduler::ProbeReport;
use guideway::run::appliance::{Appliance, Nic};
use guideway::run::supervisor::{Inbox, Ports, Shared, Supervisor, WorkerEnd};
use guideway_dataplane::affinity::TrackingHasher;
use guideway_dataplane::conntrack::ConntrackTable;
use guideway_dataplane::wire::ethernet::MacAddress;
use guideway_engine::burst_processor::BurstProcessor;
use guideway_engine::clock::Clock;
use guideway_engine::counters::{CountersReader, counters};
use guideway_engine::host_path::host_path;
use guideway_engine::mbuf::Mbuf;
use guideway_engine::poll_loop::PollLoop;
use guideway_engine::tap::TapSwitch;
use guideway_model::config::Config;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

use traffic::Traffic;

/// The most backends of one service.
const SERVICE: usize = 1_000;

/// The port that health checks go to.
pub(crate) const CHECKED_PORT: u16 = 8080;

/// Frames between the control thread and a worker, as `guideway run` has them.
const HOST_FRAMES: usize = 1_024;

/// Outcomes of probes that may wait, and requests, as `guideway run` has them.
const PENDING_REPORTS: usize = 1_024;
const PENDING_REQUESTS: usize = 64;

const OWN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// Who probes the backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probing {
    /// Nobody.
    Off,
    /// The appliance.
    On,
    /// The session says what probes find; what the appliance's own find is not heard.
    Told,
}

/// What is configured.
pub(crate) struct Services {
    /// How many backends there are, in services of at most a thousand.
    pub(crate) backends: usize,
    /// From one probe of a backend to the next.
    pub(crate) interval_sec: u32,
    /// `in_path` or `kernel`.
    pub(crate) transport: &'static str,
    /// A backend's weight by its number; unweighted where there is none.
    pub(crate) weight: Option<fn(usize) -> u16>,
    /// How many probes in a row turn a backend.
    pub(crate) threshold: u32,
}

/// What a measurement has of a running appliance.
pub(crate) struct Session {
    /// What each worker has counted.
    pub(crate) workers: Vec<CountersReader>,
    /// Outcomes of probes.
    pub(crate) reports: mpsc::Sender<ProbeReport>,
    /// The appliance's time.
    pub(crate) clock: Clock,
    /// Which threads they are, as the system numbers them.
    pub(crate) threads: Vec<u32>,
    requests: mpsc::Sender<Request>,
}

impl Session {
    /// The appliance as an operator sees it.
    pub(crate) async fn status(&self) -> Status {
        self.ask(|reply| Request::Status { reply }).await
    }

    async fn stop(&self) {
        self.ask(|reply| Request::Stop { reply }).await;
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> T {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.expect("the supervisor runs until it is told to stop");
        answer.await.expect("it answers").expect("nothing is refused that a measurement asks")
    }
}

/// The name of a service.
pub(crate) fn service(number: usize) -> String {
    format!("service-{number}")
}

/// The name of a backend and that of its service.
pub(crate) fn backend(number: usize) -> (String, String) {
    (service(number / SERVICE), format!("backend-{number}"))
}

/// The name of a service's rule.
pub(crate) fn rule(service: &str) -> String {
    format!("to-{service}")
}

impl Services {
    /// The configuration.
    fn config(&self) -> Config {
        let mut text = String::from(
            "[conntrack]\nmax_entries = 1_000_000\n\
             [[port]]\nname = \"lan\"\ndevice = \"net_null0\"\nip_addresses = [\"10.255.255.1/8\"]\n",
        );
        let kind = if self.weight.is_some() { "WEIGHTED_MAGLEV" } else { "MAGLEV" };
        text += &format!(
            "[[health_check]]\nname = \"page\"\ntype = \"HTTP\"\nport = {CHECKED_PORT}\ntransport = \"{}\"\n\
             check_interval_sec = {interval}\ntimeout_sec = {interval}\n\
             healthy_threshold = {threshold}\nunhealthy_threshold = {threshold}\n",
            self.transport,
            interval = self.interval_sec,
            threshold = self.threshold,
        );
        for place in 0..self.backends.div_ceil(SERVICE) {
            let name = service(place);
            text += &format!(
                "[[forwarding_rule]]\nname = \"{rule}\"\nip_address = \"203.0.113.{place}\"\nip_protocol = \"UDP\"\n\
                 ports = [443]\nbackend_service = \"{name}\"\n\
                 [[backend_service]]\nname = \"{name}\"\nprotocol = \"UDP\"\nlocality_lb_policy = \"{kind}\"\n\
                 health_checks = [\"page\"]\nbackends = [{{ group = \"{name}\" }}]\n\
                 [[backend_group]]\nname = \"{name}\"\nendpoints = [\n",
                rule = rule(&name),
            );
            for number in (place * SERVICE..self.backends).take(SERVICE) {
                let [high, low] = (number as u16).to_be_bytes();
                let weight = self.weight.map_or(1, |weight| weight(number));
                text += &format!(
                    "{{ name = \"backend-{number}\", ip_address = \"10.0.{high}.{low}\", weight = {weight}, \
                     mac_address = \"02:00:00:01:{high:02x}:{low:02x}\" }},\n"
                );
            }
            text += "]\n";
        }
        let mut config = Config::parse("bench", &text).unwrap_or_else(|errors| panic!("{errors}"));
        if self.transport == "kernel" {
            // Packets have no way to a loopback address, which is why none can be configured; the kernel's probes do.
            for endpoint in config.groups.iter_mut().flat_map(|group| &mut group.endpoints) {
                if let std::net::IpAddr::V4(address) = &mut endpoint.address {
                    let [_, _, high, low] = address.octets();
                    *address = [127, 1, high, low].into();
                }
            }
        }
        config
    }
}

/// The ports, as the control thread has them.
struct MemoryPorts;

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

/// Ends the workers where the session panics: a scope waits for its threads.
struct StopWorkers<'s>(&'s AtomicBool);

impl Drop for StopWorkers<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The cores of this machine. The control thread has the first, the workers the last ones.
pub(crate) fn cores() -> &'static [core_affinity::CoreId] {
    // Asked once: a thread that is pinned sees its own core alone.
    static CORES: LazyLock<Vec<core_affinity::CoreId>> =
        LazyLock::new(|| core_affinity::get_core_ids().unwrap_or_default());
    &CORES
}

/// This thread, as the system numbers it.
fn thread_number() -> u32 {
    let link = std::fs::read_link("/proc/thread-self").unwrap_or_default();
    link.file_name().and_then(|name| name.to_str()?.parse().ok()).unwrap_or(0)
}

/// Runs `measure` beside an appliance of so many workers, each of which has as much traffic as it can take.
pub(crate) fn run<T>(
    services: &Services,
    workers: usize,
    probing: Probing,
    measure: impl AsyncFnOnce(&Session) -> T,
) -> T {
    let cores = cores();
    if let Some(core) = cores.first() {
        core_affinity::set_for_current(*core);
    }
    let shared = Shared {
        table: Arc::new(ConntrackTable::with_capacity(1_000_000).expect("24 MB")),
        hasher: TrackingHasher::new([1, 2, 3, 4]),
        clock: Clock::start(),
    };
    let nic = Nic { mac: MacAddress(OWN_MAC), offloads_udp_checksum: false };
    let appliance =
        Appliance::new(services.config(), &[nic], workers, probing == Probing::Off, shared.clock.elapsed());
    let switch = TapSwitch::new();
    let (feed, stop) = (appliance.feed(), AtomicBool::new(false));
    thread::scope(|scope| {
        let _stop_workers = StopWorkers(&stop);
        let mut ends = Vec::new();
        let (began, numbers) = std::sync::mpsc::channel();
        for number in 0..workers {
            let (link, host) = host_path(HOST_FRAMES);
            let (writer, reader) = counters();
            let (tap, tap_reader) = switch.tap(HOST_FRAMES);
            let (feed, Shared { table, hasher, clock }, stop) = (feed.clone(), shared.clone(), &stop);
            let began = began.clone();
            let core = cores.iter().rev().nth(number).copied();
            scope.spawn(move || {
                if let Some(core) = core {
                    core_affinity::set_for_current(core);
                }
                let _ = began.send(thread_number());
                let worker = BurstProcessor::new(feed.subscribe(), table, hasher).numbered(number);
                let queues = vec![Traffic::new(number)];
                PollLoop::new(worker, queues, link, clock, writer).tapped(tap).run(stop);
            });
            ends.push(WorkerEnd { core: number, counters: reader, host, tap: tap_reader });
        }
        let threads = numbers.iter().take(workers).collect();
        let readers = ends.iter().map(|end| end.counters.clone()).collect();
        let clock = shared.clock;
        let mut supervisor = Supervisor::new(appliance, MemoryPorts, ends, switch, shared, PathBuf::new());
        let runtime = Builder::new_current_thread().enable_all().build().expect("the system has an epoll");
        LocalSet::new().block_on(&runtime, async {
            let (requests, incoming) = mpsc::channel(PENDING_REQUESTS);
            let (_report, failures) = mpsc::unbounded_channel();
            let (found, reports) = mpsc::channel(PENDING_REPORTS);
            match probing {
                Probing::Off => {}
                Probing::On => supervisor.watch(found.clone()),
                Probing::Told => supervisor.watch(mpsc::channel(1).0),
            }
            let session = Session { workers: readers, reports: found, clock, threads, requests };
            let measuring = async {
                // Until caches are warm, and the connections are tracked.
                tokio::time::sleep(Duration::from_millis(500)).await;
                let measured = measure(&session).await;
                session.stop().await;
                measured
            };
            let (ended, measured) =
                tokio::join!(supervisor.run(Inbox { requests: incoming, failures, reports }), measuring);
            ended.expect("no worker has failed");
            measured
        })
    })
}
