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
use std::sync::LazyLock;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use guideway::api::request::{Reply, Request};
use guideway::api::view::Status;
use guideway::run::appliance::Nic;
use guideway::run::aside::Aside;
pub(crate) use guideway::run::assemble::Probing;
use guideway::run::assemble::{Senders, Setup, assemble, control_thread};
use guideway::run::ports::MemoryPorts;
use guideway::run::process::Process;
use guideway::run::worker::{RingSizes, Shared, StopWorkers};
use guideway_dataplane::wire::ethernet::MacAddress;
use guideway_engine::clock::Clock;
use guideway_engine::counters::CountersReader;
use guideway_model::config::Config;
use tokio::sync::oneshot;

use traffic::Traffic;

/// The most backends of one service.
const SERVICE: usize = 1_000;

/// The port that health checks go to.
pub(crate) const CHECKED_PORT: u16 = 8080;

const OWN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// The services of a configuration, and their health check.
pub(crate) struct Services {
    /// Number of backends, in services of at most a thousand.
    pub(crate) backends: usize,
    /// Time from one probe of a backend to the next.
    pub(crate) interval_sec: u32,
    /// Way of the probes: `in_path` or `kernel`.
    pub(crate) transport: &'static str,
    /// Weight of a backend by its number; unweighted where there is none.
    pub(crate) weight: Option<fn(usize) -> u16>,
    /// Number of equal outcomes in a row that turn a backend.
    pub(crate) threshold: u32,
}

/// A running appliance as a measurement has it.
pub(crate) struct Session {
    /// Counters of each worker.
    pub(crate) workers: Vec<CountersReader>,
    /// The ways to the supervisor.
    pub(crate) senders: Senders,
    /// The appliance's time.
    pub(crate) clock: Clock,
    /// The workers' threads, as the system numbers them.
    pub(crate) threads: Vec<u32>,
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
        let (reply, replied) = oneshot::channel();
        self.senders
            .requests
            .send(request(reply))
            .await
            .expect("the supervisor runs until it is told to stop");
        replied
            .await
            .expect("every request gets its reply")
            .expect("nothing is refused that a measurement asks")
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
    /// A configuration of these services.
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
        for index in 0..self.backends.div_ceil(SERVICE) {
            let name = service(index);
            text += &format!(
                "[[forwarding_rule]]\nname = \"{rule}\"\nip_address = \"203.0.113.{index}\"\nip_protocol = \"UDP\"\n\
                 ports = [443]\nbackend_service = \"{name}\"\n\
                 [[backend_service]]\nname = \"{name}\"\nprotocol = \"UDP\"\nlocality_lb_policy = \"{kind}\"\n\
                 health_checks = [\"page\"]\nbackends = [{{ group = \"{name}\" }}]\n\
                 [[backend_group]]\nname = \"{name}\"\nendpoints = [\n",
                rule = rule(&name),
            );
            for number in (index * SERVICE..self.backends).take(SERVICE) {
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

/// The cores of this machine: the first is the control thread's, the last ones are the workers'.
pub(crate) fn cores() -> &'static [core_affinity::CoreId] {
    // Asked once: a thread that is pinned sees its own core alone.
    static CORES: LazyLock<Vec<core_affinity::CoreId>> =
        LazyLock::new(|| core_affinity::get_core_ids().unwrap_or_default());
    &CORES
}

/// Number of this thread in the system.
fn thread_number() -> u32 {
    let link = std::fs::read_link("/proc/thread-self").unwrap_or_default();
    link.file_name().and_then(|name| name.to_str()?.parse().ok()).unwrap_or(0)
}

/// Runs `measure` beside an appliance of this many workers, each of which has as much traffic as it can take.
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
    let config = services.config();
    let shared = Shared::new(&config, [1, 2, 3, 4], &[]).expect("24 MB");
    let clock = shared.clock;
    let nic = Nic { mac: MacAddress(OWN_MAC), offloads_udp_checksum: false };
    let (assembly, seeds) = assemble(Setup {
        config,
        nics: &[nic],
        cores: &(0..workers).collect::<Vec<_>>(),
        shared,
        probing,
        rings: RingSizes::LIVE,
    });
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        // Where the session panics, too: the scope waits for the workers.
        let _stop_workers = StopWorkers(&stop);
        let (began, numbers) = std::sync::mpsc::channel();
        for seed in seeds {
            let (began, stop) = (began.clone(), &stop);
            let core = cores.iter().rev().nth(seed.number()).copied();
            scope.spawn(move || {
                if let Some(core) = core {
                    core_affinity::set_for_current(core);
                }
                let _ = began.send(thread_number());
                let queues = vec![Traffic::new(seed.number())];
                seed.poll_loop(queues).run(stop);
            });
        }
        let session = Session {
            workers: assembly.workers.iter().map(|worker| worker.counters.clone()).collect(),
            senders: assembly.senders().clone(),
            clock,
            threads: numbers.iter().take(workers).collect(),
        };
        let measuring = async {
            // Until caches are warm, and the connections are tracked.
            tokio::time::sleep(Duration::from_millis(500)).await;
            let measured = measure(&session).await;
            session.stop().await;
            measured
        };
        let process = Process {
            config_path: PathBuf::new(),
            sources: None,
            guard: None,
            last_resort: None,
            log: None,
            aside: Aside::Threads,
            messenger: None,
        };
        let control = async { tokio::join!(assembly.run(MemoryPorts, process), measuring) };
        let (ended, measured) = control_thread(control).expect("the system has an epoll");
        ended.expect("no worker has failed");
        measured
    })
}
