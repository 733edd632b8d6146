//! The control thread of a live appliance, with a worker on queues in memory: what an operator asks, and what follows.

#![allow(clippy::unwrap_used)] // A test that cannot set its scene fails there.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use guideway::admin::view::{self, ChangeKind};
use guideway::admin::{CaptureReason, Refused, Reply, Request};
use guideway::appliance::{Appliance, Nic};
use guideway::config::Config;
use guideway::supervisor::{Inbox, Ports, Shared, Supervisor, WorkerEnd, WorkerFailure};
use guideway_dataplane::affinity::TrackingHasher;
use guideway_dataplane::conntrack::ConntrackTable;
use guideway_dataplane::frame::Frame;
use guideway_dataplane::verdict::{DropReason, PassReason};
use guideway_dataplane::wire::ethernet::MacAddress;
use guideway_engine::clock::Clock;
use guideway_engine::counters::counters;
use guideway_engine::driver::loopback::{Wire, loopback};
use guideway_engine::host_path::host_path;
use guideway_engine::mbuf::Mbuf;
use guideway_engine::poll_loop::PollLoop;
use guideway_engine::tap::TapSwitch;
use guideway_engine::worker::Worker;
use pcap_fixtures::packet::Packet;
use tokio::sync::{mpsc, oneshot};

const OWN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const CONFIG: &str = r#"
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

/// What a test does with a running appliance.
struct Operator {
    requests: mpsc::Sender<Request>,
    failures: mpsc::UnboundedSender<WorkerFailure>,
    wire: Wire<Mbuf>,
    config_path: PathBuf,
}

impl Operator {
    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, Refused> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.expect("the supervisor runs");
        answer.await.expect("it answers")
    }

    async fn backend(&self, name: &str) -> view::Backend {
        let list = self.ask(|reply| Request::BackendList { service: None, reply }).await.unwrap();
        list.backends.into_iter().find(|backend| backend.name == name).expect("a backend")
    }

    fn send(&mut self, packet: &Packet) {
        let mut mbuf = Mbuf::new();
        mbuf.fill(&packet.clone().macs([2, 0, 0, 0, 0, 9], OWN_MAC).build());
        assert!(self.wire.send(mbuf).is_ok(), "the ring has room");
    }

    /// The next frame that the appliance sends and that fits; waits for it.
    async fn receive(&mut self, fits: impl Fn(&[u8]) -> bool) -> Vec<u8> {
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
    async fn answer_arp(&mut self) {
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
fn with_appliance<T: Future<Output = ()>>(
    name: &str,
    test: impl FnOnce(Operator) -> T,
) -> Result<(), WorkerFailure> {
    let config_path =
        std::env::temp_dir().join(format!("guideway-supervisor-{name}-{}.toml", std::process::id()));
    std::fs::write(&config_path, CONFIG).unwrap();
    let config = Config::parse("guideway.toml", CONFIG).unwrap_or_else(|errors| panic!("{errors}"));
    let shared = Shared {
        table: Arc::new(ConntrackTable::with_capacity(10_000).unwrap()),
        hasher: TrackingHasher::new([1, 2, 3, 4]),
        clock: Clock::start(),
    };
    let nic = Nic { mac: MacAddress(OWN_MAC), offloads_udp_checksum: false };
    let appliance = Appliance::new(config, &[nic], 1, true, shared.clock.elapsed());
    let (queues, wire) = loopback(256);
    let (link, host) = host_path(64);
    let (writer, reader) = counters();
    let switch = TapSwitch::new();
    let (tap, tap_reader) = switch.tap(64);
    let (feed, stop) = (appliance.feed(), AtomicBool::new(false));
    let result = thread::scope(|scope| {
        let (worker_shared, stop) = (shared.clone(), &stop);
        scope.spawn(move || {
            let Shared { table, hasher, clock } = worker_shared;
            let worker = Worker::new(feed.subscribe(), table, hasher);
            PollLoop::new(worker, vec![queues], link, clock, writer).tapped(tap).run(stop);
        });
        let end = WorkerEnd { core: 0, counters: reader, host, tap: tap_reader };
        let mut supervisor =
            Supervisor::new(appliance, MemoryPorts, vec![end], switch, shared.clone(), config_path.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let result = runtime.block_on(async {
            let (requests, incoming) = mpsc::channel(8);
            let (report, failures) = mpsc::unbounded_channel();
            let (_, findings) = mpsc::channel(1);
            let operator = Operator { requests, failures: report, wire, config_path: config_path.clone() };
            let (result, ()) = tokio::join!(
                supervisor.run(Inbox { requests: incoming, failures, findings }),
                test(operator)
            );
            result
        });
        stop.store(true, Ordering::Relaxed);
        result
    });
    std::fs::remove_file(&config_path).unwrap();
    result
}

async fn stop(operator: &Operator) {
    operator.ask(|reply| Request::Stop { reply }).await.unwrap();
}

fn to_vip(src_port: u16) -> Packet {
    Packet::between("192.0.2.50", "192.0.2.100").tcp(src_port, 80, 0x02)
}

#[test]
fn a_backend_gets_packets_once_its_neighbour_is_known() {
    let result = with_appliance("neighbour", |mut operator| async move {
        assert_eq!(operator.ask(|reply| Request::Status { reply }).await.unwrap().unresolved_neighbors, 1);
        operator.answer_arp().await;
        for src_port in 1_000..1_040 {
            operator.send(&to_vip(src_port));
        }
        let mut macs = std::collections::BTreeSet::new();
        for _ in 0..40 {
            macs.insert(operator.receive(|frame| frame[12..14] == [8, 0]).await[..6].to_vec());
        }
        assert_eq!(macs.len(), 2, "both backends have some");
        let stats = operator.ask(|reply| Request::Stats { reply }).await.unwrap();
        assert_eq!(stats.rules[0].offered.packets, 40);
        assert_eq!(stats.conntrack.entries, 40);
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn a_drained_backend_gets_no_new_connections_and_keeps_those_that_it_has() {
    let result = with_appliance("drain", |mut operator| async move {
        operator.answer_arp().await;
        let mut on_b = Vec::new();
        for src_port in 1_000..1_040 {
            operator.send(&to_vip(src_port));
            if operator.receive(|frame| frame[12..14] == [8, 0]).await[5] == 0xb {
                on_b.push(src_port);
            }
        }
        let drain = |reply| Request::BackendDrain { service: "web".into(), backend: "b".into(), reply };
        let drained = operator.ask(drain).await.unwrap();
        assert!(drained.drained && !drained.eligible);
        for src_port in 2_000..2_040 {
            operator.send(&to_vip(src_port));
            assert_eq!(operator.receive(|frame| frame[12..14] == [8, 0]).await[5], 0xa, "{src_port}");
        }
        for src_port in on_b {
            operator.send(&Packet::between("192.0.2.50", "192.0.2.100").tcp(src_port, 80, 0x10));
            assert_eq!(operator.receive(|frame| frame[12..14] == [8, 0]).await[5], 0xb, "{src_port}");
        }
        let undrain = |reply| Request::BackendUndrain { service: "web".into(), backend: "b".into(), reply };
        assert!(operator.ask(undrain).await.unwrap().eligible);
        let unknown = |reply| Request::BackendDrain { service: "web".into(), backend: "z".into(), reply };
        assert!(matches!(operator.ask(unknown).await, Err(Refused::UnknownName(_))));
        let weigh = |reply| Request::BackendSetWeight {
            service: "web".into(),
            backend: "a".into(),
            weight: 3,
            reply,
        };
        assert!(matches!(operator.ask(weigh).await, Err(Refused::ServiceNotWeighted(_))));
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn a_right_file_is_taken_over_whole_and_a_wrong_one_not_at_all() {
    let result = with_appliance("reload", |operator| async move {
        std::fs::write(&operator.config_path, CONFIG.replace("ports = [80]", "ports = [80, 443")).unwrap();
        let refused = operator.ask(|reply| Request::Reload { reply }).await;
        assert!(matches!(refused, Err(Refused::Config(_))));
        let with_c = CONFIG.replace(
            "name = \"b\", ip_address = \"192.0.2.12\"",
            "name = \"c\", ip_address = \"192.0.2.13\"",
        );
        std::fs::write(&operator.config_path, with_c.replace("10_000", "20_000")).unwrap();
        let reload = operator.ask(|reply| Request::Reload { reply }).await.unwrap();
        assert_eq!(reload.configuration_generation, 2);
        let changes: Vec<_> =
            reload.changes.iter().map(|change| (change.change, change.text.as_str())).collect();
        assert_eq!(
            changes,
            [
                (ChangeKind::NeedsRestart, "[conntrack]: takes effect at the next start"),
                (ChangeKind::Removed, "backend web/b: drains for 60 s"),
                (ChangeKind::Added, "backend web/c: 192.0.2.13"),
            ]
        );
        assert!(operator.backend("b").await.draining);
        std::fs::remove_file(&operator.config_path).unwrap();
        let refused = operator.ask(|reply| Request::Reload { reply }).await;
        assert!(matches!(refused, Err(Refused::ConfigUnreadable { .. })));
        std::fs::write(&operator.config_path, "").unwrap();
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn a_capture_holds_what_was_asked_for_with_the_verdict_in_words() {
    let result = with_appliance("capture", |mut operator| async move {
        let (blocks, mut received) = mpsc::channel(64);
        let reasons = vec![
            CaptureReason::Drop(DropReason::TtlExpired),
            CaptureReason::Pass(PassReason::NoForwardingRule),
        ];
        let capture = |reply| Request::Capture { reasons, packets: Some(2), blocks, reply };
        operator.ask(capture).await.unwrap();
        operator.send(&to_vip(1_000));
        operator.send(&to_vip(1_001).ttl(1));
        operator.send(&Packet::between("192.0.2.50", "192.0.2.101").tcp(1, 81, 0x02));
        let mut bytes = Vec::new();
        while let Some(block) = received.recv().await {
            bytes.extend_from_slice(&block);
        }
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("drop ttl_expired forwarding_rule=web backend_service=web"), "{text}");
        assert!(text.contains("pass no_forwarding_rule"), "{text}");
        assert!(!text.contains("forward "), "{text}");
        let mut reader = guideway_engine::capture::CaptureReader::new(&bytes[..]).unwrap();
        let mut packets = 0;
        while reader.next_record().unwrap().is_some() {
            packets += 1;
        }
        assert_eq!(packets, 2);
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn a_flow_is_found_in_the_conntrack_table_by_its_addresses() {
    let result = with_appliance("conntrack", |mut operator| async move {
        operator.answer_arp().await;
        operator.send(&to_vip(1_000));
        operator.receive(|frame| frame[12..14] == [8, 0]).await;
        let flow: guideway::flow_text::FlowText = "tcp 192.0.2.50:1000 > 192.0.2.100:80".parse().unwrap();
        let found = operator.ask(|reply| Request::ConntrackGet { flow, reply }).await.unwrap();
        let entry = found.entry.expect("the flow is tracked");
        assert!(entry.half_open);
        let list = |reply| Request::ConntrackList { service: None, backend: None, limit: 10, reply };
        let listed = operator.ask(list).await.unwrap();
        assert_eq!((listed.matching, &listed.entries[..]), (1, &[entry][..]));
        let other: guideway::flow_text::FlowText = "tcp 192.0.2.50:1001 > 192.0.2.100:80".parse().unwrap();
        assert_eq!(
            operator.ask(|reply| Request::ConntrackGet { flow: other, reply }).await.unwrap().entry,
            None
        );
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn a_worker_that_fails_ends_the_appliance() {
    let failure = WorkerFailure { worker: 1, core: 3, message: "a bug".to_owned() };
    let reported = failure.clone();
    let result = with_appliance("failure", |operator| async move {
        operator.failures.send(reported).unwrap();
    });
    assert_eq!(result, Err(failure.clone()));
    assert!(failure.to_string().starts_with("worker 1 on core 3 has failed (a bug): "));
}
