//! An appliance under a flood: the real worker and the real control thread on one thread, by a clock that the test sets.

use std::cell::Cell;
use std::time::Duration;

use guideway::api::request::{Reply, Request};
use guideway::api::view::BackendProbes;
use guideway::config_file;
use guideway::run::appliance::Nic;
use guideway::run::aside::Aside;
use guideway::run::assemble::{Probing, Senders, Setup, assemble};
use guideway::run::ports::MemoryPorts;
use guideway::run::process::Process;
use guideway::run::worker::{RingSizes, Shared};
use guideway_dataplane::frame::Frame;
use guideway_dataplane::wire::ethernet::MacAddress;
use guideway_engine::clock::Clock;
use guideway_engine::counters::WorkerCounters;
use guideway_engine::driver::loopback::{LoopbackQueues, Wire, loopback};
use guideway_engine::mbuf::Mbuf;
use guideway_engine::poll_loop::PollLoop;
use guideway_model::config::Config;
use pcap_fixtures::packet::tcp::{ACK, SYN};
use tokio::sync::oneshot;

use crate::lan::{self, BACKENDS, CLIENTS, Lan, Layout, OWN_MAC};
use crate::sources::Frames;
use crate::toll::Toll;

/// Connections that the table is made for; it has half as many slots again.
pub(crate) const CAPACITY: u64 = 2_048;

/// Milliseconds that a flood lasts; a second begins in their midst.
pub(crate) const FLOOD_MS: u32 = 200;
/// Frames of a flood in each millisecond: as many full bursts back to back.
pub(crate) const FRAMES_A_MS: u32 = 512;
const BURST: u32 = 32;

/// Milliseconds from the start to the flood, in which probes turn backends healthy and connections are confirmed.
const PEACE_MS: u32 = 2_900;

/// Times at which clients open their connections, and send their next packet.
const OPENED_MS: u32 = 1_200;
const CONFIRMED_MS: u32 = 2_500;

/// Packets of clients in each millisecond of the flood.
const SEGMENTS_A_MS: u16 = 16;
/// Milliseconds between two claims to the gateway's addresses, of which the first is answered for a second.
const CLAIM_MS: u32 = 100;
/// Milliseconds between two questions of the neighbour, and between two probes of all backends.
const QUESTION_MS: u32 = 10;
const PROBE_MS: u32 = 20;

/// Configuration of the appliance, with one network, and VIPs of both families before two backends each.
pub(crate) const CONFIG: &str = r#"
[conntrack]
max_entries = 2_048
[[port]]
name = "lan"
device = "net_null0"
ip_addresses = ["192.0.2.1/24", "2001:db8::1/64"]
[[access_list]]
name = "known-bad"
default_action = "ALLOW"
deny = ["198.18.0.0/15"]
[[forwarding_rule]]
load_balancing_scheme = "INTERNAL"
name = "web"
ip_address = "192.0.2.100"
ports = [80]
access_list = "known-bad"
backend_service = "web"
[[forwarding_rule]]
load_balancing_scheme = "INTERNAL"
name = "dns"
ip_address = "192.0.2.100"
ip_protocol = "UDP"
ports = [53]
backend_service = "web"
[[forwarding_rule]]
load_balancing_scheme = "INTERNAL"
name = "web6"
ip_address = "2001:db8::100"
ports = [80]
backend_service = "web6"
[[forwarding_rule]]
load_balancing_scheme = "INTERNAL"
name = "dns6"
ip_address = "2001:db8::100"
ip_protocol = "UDP"
ports = [53]
backend_service = "web6"
[[backend_service]]
name = "web"
protocol = "UNSPECIFIED"
load_balancing_scheme = "INTERNAL"
health_checks = ["alive"]
backends = [{ group = "web" }]
[[backend_service]]
name = "web6"
protocol = "UNSPECIFIED"
load_balancing_scheme = "INTERNAL"
health_checks = ["alive"]
backends = [{ group = "web6" }]
[[health_check]]
name = "alive"
type = "TCP"
port = 80
check_interval_sec = 1
timeout_sec = 1
healthy_threshold = 1
unhealthy_threshold = 2
[[backend_group]]
name = "web"
endpoints = [{ name = "a", ip_address = "192.0.2.11" }, { name = "b", ip_address = "192.0.2.12" }]
[[backend_group]]
name = "web6"
endpoints = [{ name = "c", ip_address = "2001:db8::d" }, { name = "d", ip_address = "2001:db8::e" }]
"#;

thread_local! {
    /// Time since the start of the appliance that is on this thread.
    static ELAPSED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// An appliance and all that it is connected to.
struct Site {
    senders: Senders,
    poll_loop: PollLoop<LoopbackQueues<Mbuf>>,
    wire: Wire<Mbuf>,
    now: u32,
    lan: Lan,
    /// Answers of everybody honest to what the appliance has sent.
    said: Vec<Vec<u8>>,
    /// Frames of everybody honest, built once.
    segments: Vec<Vec<u8>>,
    questions: [Vec<u8>; 4],
    sent: Sent,
    probes: Vec<oneshot::Receiver<Result<BackendProbes, guideway::api::request::Refused>>>,
}

/// Frames that the honest ones have sent.
#[derive(Default)]
struct Sent {
    segments: u64,
    questions: u64,
}

/// Floods an appliance with the usual configuration, and tells what that cost.
pub(crate) fn flooded(frames: &Frames) -> Toll {
    flooded_with(CONFIG, frames)
}

/// Floods an appliance whose backends are behind the router by which the flood comes, while a stranger claims the router's
/// addresses.
pub(crate) fn flooded_by_gateway(frames: &Frames) -> Toll {
    let mut config = CONFIG.replace(
        "\"2001:db8::1/64\"]\n",
        "\"2001:db8::1/64\"]\ngateways = [\"192.0.2.254\", \"2001:db8::fe\"]\n",
    );
    for (on_link, beyond) in [
        ("\"192.0.2.11\"", "\"203.0.113.11\""),
        ("\"192.0.2.12\"", "\"203.0.113.12\""),
        ("\"2001:db8::d\"", "\"2001:db8:9::d\""),
        ("\"2001:db8::e\"", "\"2001:db8:9::e\""),
        ("endpoints =", "delivery = \"ipip\"\nendpoints ="),
    ] {
        config = config.replace(on_link, beyond);
    }
    config += "[network]\nipv4_address = \"192.0.2.1\"\nipv6_address = \"2001:db8::1\"\n";
    flooded_in(Layout::BehindRouter, &config, frames)
}

/// Floods an appliance with this configuration.
pub(crate) fn flooded_with(config: &str, frames: &Frames) -> Toll {
    flooded_in(Layout::OnLink, config, frames)
}

fn flooded_in(layout: Layout, config: &str, frames: &Frames) -> Toll {
    // Everything that is drawn by lot on this thread comes out as it did before.
    fastrand::seed(7);
    let folder = tempfile::tempdir().unwrap();
    let config_path = folder.path().join("guideway.toml");
    std::fs::write(&config_path, config).unwrap();
    let sources = config_file::read(&config_path).unwrap();
    let config = Config::parse_sources(&sources).unwrap_or_else(|errors| panic!("{errors}"));
    ELAPSED.set(Duration::ZERO);
    let clock = Clock::told_by(|| ELAPSED.get());
    let shared = Shared { clock, ..Shared::new(&config, [1, 2, 3, 4], &[]).unwrap() };
    let nic = Nic { mac: MacAddress(OWN_MAC), offloads_udp_checksum: false };
    let setup =
        Setup { config, nics: &[nic], cores: &[0], shared, probing: Probing::On, rings: RingSizes::LIVE };
    let (assembly, mut seeds) = assemble(setup);
    let (queues, wire) = loopback(2 * BURST as usize);
    let process = Process {
        config_path,
        sources: Some(sources),
        guard: None,
        last_resort: None,
        log: None,
        aside: Aside::Threads,
        messenger: None,
    };
    let mut site = Site {
        senders: assembly.senders().clone(),
        poll_loop: seeds.remove(0).poll_loop(vec![queues]),
        wire,
        now: 0,
        lan: Lan::new(layout),
        said: Vec::new(),
        segments: (0..CLIENTS).map(|number| lan::segment(number, ACK)).collect(),
        questions: lan::questions(layout),
        sent: Sent::default(),
        probes: Vec::new(),
    };
    // Time passes when everybody waits for it.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let local = tokio::task::LocalSet::new();
    let control = local.spawn_local(assembly.run(MemoryPorts, process));
    local.block_on(&runtime, site.prepare());
    let before = site.counters();
    let stats_before = local.block_on(&runtime, site.ask(|reply| Request::Stats { reply }));
    let memory = allocation_counter::measure(|| local.block_on(&runtime, site.suffer(frames)));
    let during = site.counters();
    let (stats, toll) = local.block_on(&runtime, async {
        let stats = site.ask(|reply| Request::Stats { reply }).await;
        (stats, site.settle().await)
    });
    let after = site.counters();
    local.block_on(&runtime, async {
        site.ask(|reply| Request::Stop { reply }).await;
        assert_eq!(control.await.unwrap(), Ok(()));
    });
    for counted in [&before, &during, &after] {
        let WorkerCounters { pipeline, io } = counted;
        assert_eq!(pipeline.offered, pipeline.forwarded + pipeline.passed_total() + pipeline.dropped_total());
        assert_eq!((io.tx_full, io.unknown_egress_port, io.no_fragment_memory, io.refused), (0, 0, 0, 0));
    }
    Toll {
        before,
        during,
        stats_before,
        stats,
        most_memory: memory.bytes_max,
        kept_memory: memory.bytes_current,
        ..toll
    }
}

impl Site {
    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> T {
        let (reply, replied) = oneshot::channel();
        self.senders.requests.send(request(reply)).await.expect("the supervisor runs");
        replied.await.expect("every request gets its reply").unwrap_or_else(|refused| panic!("{refused:?}"))
    }

    fn counters(&self) -> WorkerCounters {
        self.poll_loop.counters()
    }

    /// Puts a frame on the wire; the worker polls where a burst is full.
    fn send(&mut self, frame: &[u8]) {
        let mut mbuf = Mbuf::new();
        mbuf.fill(frame);
        if let Err(mbuf) = self.wire.send(mbuf) {
            self.poll();
            assert!(self.wire.send(mbuf).is_ok(), "the worker has made room");
        }
    }

    /// Has the worker poll, and everybody hear what it has sent; returns the number of frames that it had.
    fn poll(&mut self) -> usize {
        let received = self.poll_loop.turn();
        while let Some(frame) = self.wire.receive() {
            self.said.extend(self.lan.hear(frame.bytes()));
        }
        received
    }

    /// Lets a millisecond pass, in which these frames come back to back, and amid them the answers of everybody honest.
    async fn millisecond(&mut self, frames: impl IntoIterator<Item = Vec<u8>>) {
        ELAPSED.set(Duration::from_millis(self.now.into()));
        // The worker looks at its clock once in 32 polls.
        for _ in 0..33 {
            self.poll();
        }
        let mut frames: Vec<_> = frames.into_iter().collect();
        mix(&mut frames, std::mem::take(&mut self.said));
        for frame in frames {
            self.send(&frame);
        }
        while self.poll() > 0 {}
        self.now += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    /// Waits until backends are healthy, and opens the clients' connections.
    async fn prepare(&mut self) {
        for now in 0..PEACE_MS {
            let frames: Vec<_> = match now {
                OPENED_MS => (0..CLIENTS)
                    .flat_map(|number| [lan::segment(number, SYN), lan::segment(number, ACK)])
                    .collect(),
                CONFIRMED_MS => self.segments.clone(),
                _ => Vec::new(),
            };
            self.millisecond(frames).await;
        }
        assert_eq!(self.lan.delivered, u64::from(CLIENTS) * 3);
        let status = self.ask(|reply| Request::Status { reply }).await;
        assert!(status.services.iter().all(|service| service.healthy == 2), "{:?}", status.services);
        self.lan.delivered = 0;
    }

    /// Takes the flood, amid which honest frames come.
    async fn suffer(&mut self, frames: &Frames) {
        for passed in 0..FLOOD_MS {
            let mut turn: Vec<_> = (passed * FRAMES_A_MS..(passed + 1) * FRAMES_A_MS).map(frames).collect();
            let mut amid = Vec::new();
            for index in 0..SEGMENTS_A_MS {
                let client = (passed * u32::from(SEGMENTS_A_MS) + u32::from(index)) % u32::from(CLIENTS);
                amid.push(self.segments[client as usize].clone());
            }
            self.sent.segments += amid.len() as u64;
            if passed.is_multiple_of(QUESTION_MS) {
                // Frames of others come one by one among them.
                for (index, question) in self.questions.iter().enumerate() {
                    amid.insert(index * 5, question.clone());
                }
                self.sent.questions += self.questions.len() as u64;
            }
            if self.lan.layout == Layout::BehindRouter && passed.is_multiple_of(CLAIM_MS) {
                amid.extend(lan::claims_to_gateway());
            }
            mix(&mut turn, amid);
            if passed.is_multiple_of(PROBE_MS) {
                self.probe();
            }
            self.millisecond(turn).await;
        }
    }

    /// Begins a probe of each backend.
    fn probe(&mut self) {
        for (service, backend, _) in BACKENDS {
            let (reply, replied) = oneshot::channel();
            let (service, backend) = (service.to_owned(), backend.to_owned());
            let request = Request::BackendProbe { service, backend, reply };
            self.senders.requests.try_send(request).expect("few requests wait");
            self.probes.push(replied);
        }
    }

    /// Lets the flood's last frames be taken in, then sees which connections are where they were.
    async fn settle(&mut self) -> Toll {
        for _ in 0..100 {
            self.millisecond([]).await;
        }
        let (answers, questions) = (self.lan.answers, self.sent.questions);
        let lost = self.sent.segments - self.lan.delivered;
        for _ in 0..1_000 {
            self.millisecond([]).await;
        }
        let hits = self.counters().pipeline.conntrack.hits;
        self.millisecond(self.segments.clone()).await;
        let tracked = self.counters().pipeline.conntrack.hits - hits;
        let mut well = 0;
        let probes = std::mem::take(&mut self.probes);
        let probed = probes.len() as u64 * 2;
        for replied in probes {
            let mut replied = replied;
            let result = loop {
                match replied.try_recv() {
                    Ok(result) => break result.unwrap_or_else(|refused| panic!("{refused:?}")),
                    Err(oneshot::error::TryRecvError::Empty) => self.millisecond([]).await,
                    Err(closed) => panic!("{closed}"),
                }
            };
            well += result.probes.iter().filter(|probe| probe.answer.well == Some(true)).count() as u64;
        }
        let status = self.ask(|reply| Request::Status { reply }).await;
        let healthy = status.services.iter().map(|service| u64::from(service.healthy)).sum();
        Toll {
            kept: u64::from(CLIENTS) - self.lan.moved.len() as u64,
            tracked,
            segments: [lost, self.sent.segments],
            questions: [questions - answers, questions],
            probes: [probed - well, probed],
            healthy,
            ..Toll::default()
        }
    }
}

/// Puts frames among others, at even distances.
fn mix(frames: &mut Vec<Vec<u8>>, others: Vec<Vec<u8>>) {
    let every = frames.len() / others.len().max(1);
    for (index, frame) in others.into_iter().enumerate() {
        frames.insert(index * (every + 1) + every / 2, frame);
    }
}
