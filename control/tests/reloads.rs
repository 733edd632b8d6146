//! A thousand reloads while a worker forwards as fast as it can: none loses a packet, none leaves memory behind.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use guideway::run::appliance::Nic;
use guideway::run::assemble::{Probing, Setup, assemble};
use guideway::run::worker::{RingSizes, Shared, StopWorkers};
use guideway_dataplane::wire::ethernet::MacAddress;
use guideway_engine::driver::loopback::{Wire, loopback};
use guideway_engine::mbuf::Mbuf;
use guideway_model::config::Config;
use pcap_fixtures::packet::Packet;

const RELOADS: usize = 1_000;
const FLOWS: usize = 2_000;
const BACKENDS: usize = 100;

/// Frames on their way at once: fewer than a ring has slots, so that none is lost for want of one.
const UNDER_WAY: usize = 512;

/// The most that the process may grow by while it reloads: little beside a thousand snapshots of 250 kB.
const GROWTH: usize = 32 << 20;

/// A service of a hundred backends, one of which comes and goes, and whose weights change.
fn config(turn: usize) -> Config {
    let mut endpoints = String::new();
    for backend in 0..BACKENDS {
        if backend == 7 && turn.is_multiple_of(2) {
            continue;
        }
        let weight = 1 + (backend + turn) % 3;
        endpoints += &format!(
            "{{ name = \"b{backend}\", ip_address = \"10.0.1.{backend}\", weight = {weight}, \
             mac_address = \"02:00:00:00:01:{backend:02x}\" }},\n"
        );
    }
    let text = format!(
        "[conntrack]\nmax_entries = 100_000\n\
         [[port]]\nname = \"lan\"\ndevice = \"net_null0\"\nip_addresses = [\"10.0.0.1/16\"]\n\
         [[forwarding_rule]]\nname = \"web\"\nip_address = \"203.0.113.10\"\nports = [80]\nbackend_service = \"web\"\n\
         [[backend_service]]\nname = \"web\"\nlocality_lb_policy = \"WEIGHTED_MAGLEV\"\nhealth_checks = [\"page\"]\n\
         backends = [{{ group = \"web\" }}]\nconnection_draining = {{ draining_timeout_sec = 3600 }}\n\
         [[health_check]]\nname = \"page\"\ntype = \"HTTP\"\n\
         [[backend_group]]\nname = \"web\"\nendpoints = [\n{endpoints}]\n"
    );
    Config::parse("reloads.toml", &text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// Sends frames into a port and takes in what leaves it, as fast as both go.
fn load(mut wire: Wire<Mbuf>, stop: &AtomicBool) -> (u64, u64) {
    let mut idle: VecDeque<Mbuf> = VecDeque::new();
    let segments: Vec<Vec<u8>> = (0..FLOWS)
        .map(|flow| {
            Packet::between("198.51.100.7", "203.0.113.10").tcp(10_000 + flow as u16, 80, 0x10).build()
        })
        .collect();
    let mut next = segments.iter().cycle();
    let (mut sent, mut received) = (0, 0);
    let deadline = Instant::now() + Duration::from_secs(300);
    while (!stop.load(Ordering::Relaxed) || sent > received) && Instant::now() < deadline {
        while let Some(mbuf) = wire.receive() {
            idle.push_back(mbuf);
            received += 1;
        }
        while !stop.load(Ordering::Relaxed) && sent - received < UNDER_WAY as u64 {
            let mut mbuf = idle.pop_front().unwrap_or_default();
            mbuf.fill(next.next().expect("a cycle has no end"));
            assert!(wire.send(mbuf).is_ok(), "the ring has room");
            sent += 1;
        }
    }
    (sent, received)
}

/// The process's memory, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: usize =
        statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number of pages");
    pages * 4096
}

#[test]
fn a_thousand_reloads_under_full_load_lose_no_packet_and_leave_no_memory_behind() {
    let (queues, wire) = loopback(1024);
    let nic = Nic { mac: MacAddress([2, 0, 0, 0, 0, 1]), offloads_udp_checksum: false };
    let first = config(0);
    let shared = Shared::new(&first, [1, 2, 3, 4], &[]).expect("2.4 MB");
    let clock = shared.clock;
    let (assembly, seeds) = assemble(Setup {
        config: first,
        nics: &[nic],
        cores: &[0],
        shared,
        probing: Probing::Off,
        rings: RingSizes::LIVE,
    });
    let (mut appliance, workers) = (assembly.appliance, assembly.workers);
    let (stop_load, stop_worker) = (AtomicBool::new(false), AtomicBool::new(false));
    let (sent, received) = thread::scope(|scope| {
        let _stop_worker = StopWorkers(&stop_worker);
        for (seed, queues) in seeds.into_iter().zip([queues]) {
            let stop = &stop_worker;
            scope.spawn(move || seed.poll_loop(vec![queues]).run(stop));
        }
        let loaded = scope.spawn(|| load(wire, &stop_load));

        let mut early = 0;
        let mut most_unreclaimed = 0;
        for turn in 1..=RELOADS {
            let changes = appliance.reload(config(turn), clock.elapsed());
            assert!(!changes.is_empty(), "reload {turn} changes weights");
            appliance.tidy(clock.elapsed());
            most_unreclaimed = most_unreclaimed.max(appliance.unreclaimed_snapshots());
            if turn == RELOADS / 5 {
                early = resident();
            }
        }
        let grown = resident().saturating_sub(early);
        assert!(grown < GROWTH, "{grown} bytes in {} reloads", RELOADS * 4 / 5);
        assert!(most_unreclaimed < 50, "{most_unreclaimed} snapshots waited at once");
        stop_load.store(true, Ordering::Relaxed);
        let volumes = loaded.join().expect("no panic");
        let deadline = Instant::now() + Duration::from_secs(10);
        while appliance.unreclaimed_snapshots() > 0 && Instant::now() < deadline {
            appliance.tidy(clock.elapsed());
        }
        assert_eq!(appliance.unreclaimed_snapshots(), 0, "the last snapshots are freed as well");
        volumes
    });
    let counted = workers[0].counters.read();
    assert!(sent > RELOADS as u64, "{sent} packets in {RELOADS} reloads are no load");
    assert_eq!(received, sent, "every packet came back");
    assert_eq!((counted.pipeline.offered, counted.pipeline.forwarded), (sent, sent));
    assert_eq!(counted.io.tx_full, 0);
    let totals = appliance.state().traffic_totals().totals();
    assert_eq!(
        totals.rules["web"].volume.packets, sent,
        "counters outlive the numberings that they were counted in"
    );
    println!("{sent} packets, {RELOADS} reloads");
}
