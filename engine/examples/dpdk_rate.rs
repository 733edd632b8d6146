//! Cost of a packet to a worker on DPDK ports: received and sent untouched, or decided by the whole pipeline between.
//!
//! `dpdk_rate io|pipeline SECONDS RX_DEVICE TX_DEVICE` measures, `dpdk_rate capture FLOWS FILE` makes what `net_pcap`
//! repeats; `dpdk_rate.sh` runs all of it beside dpdk-testpmd. The cost is the thread's processor time by the
//! kernel's account, so that other load on the machine does not count.

use std::env;
use std::error::Error;
use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use guideway_dataplane::address::Address;
use guideway_dataplane::affinity::{AffinityPolicy, TrackingHasher};
use guideway_dataplane::conntrack::ConntrackTable;
use guideway_dataplane::delivery::Delivery;
use guideway_dataplane::egress::{Egress, PortId};
use guideway_dataplane::forwarding_rule::{ForwardingRule, RulePorts, RuleProtocol};
use guideway_dataplane::snapshot::{Snapshot, SnapshotBuilder};
use guideway_dataplane::wire::ethernet::MacAddress;
use guideway_engine::burst_processor::BurstProcessor;
use guideway_engine::clock::Clock;
use guideway_engine::counters::counters;
use guideway_engine::driver::device::Device;
use guideway_engine::driver::dpdk::{
    Eal, EalOptions, Lcore, LiveQueues, Memory, MempoolOptions, PortOptions,
};
use guideway_engine::driver::{Burst, QueuePair as _};
use guideway_engine::host_path::host_path;
use guideway_engine::poll_loop::PollLoop;
use guideway_engine::publish::Publisher;
use pcap_fixtures::capture::capture;
use pcap_fixtures::packet::Packet;

/// The core that polls.
const CORE: usize = 1;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["capture", flows, file] => Ok(fs::write(file, segments(flows.parse()?))?),
        [mode, seconds, rx, tx] => poll(mode, seconds, rx, tx),
        _ => Err("usage: dpdk_rate capture FLOWS FILE | io|pipeline SECONDS RX_DEVICE TX_DEVICE".into()),
    }
}

/// A capture of one TCP segment of each flow, 60 bytes long.
fn segments(flows: u16) -> Vec<u8> {
    let frames = (0..flows).map(|flow| {
        let client = format!("198.18.{}.{}", flow >> 8, flow & 0xff);
        Packet::between(&client, "203.0.113.10").tcp(1024 + flow % 60_000, 80, 0x10).trailer(&[0; 6]).build()
    });
    let frames: Vec<Vec<u8>> = frames.collect();
    capture(frames.iter().map(|frame| (0, frame.as_slice())))
}

fn poll(mode: &str, seconds: &str, rx: &str, tx: &str) -> Result<(), Box<dyn Error>> {
    let duration = Duration::from_secs(seconds.parse()?);
    let devices: Vec<Device> = [rx, tx].map(str::parse).into_iter().collect::<Result<_, _>>()?;
    let memory = Memory::NoHuge { mebibytes: 512 };
    let eal = Eal::init(&EalOptions { memory, devices: devices.clone(), ..EalOptions::default() })?;
    let pool = eal.mempool("frames", &MempoolOptions { mbufs: 65_535, ..MempoolOptions::default() })?;
    let mut pairs = Vec::new();
    for device in &devices {
        let (_, queues) = eal.open(device, &PortOptions::default(), pool)?;
        pairs.extend(queues);
    }
    let running = eal.running();
    let polled = thread::scope(|scope| {
        let poll = move || -> Result<(), String> {
            let lcore = Lcore::register(running, CORE).map_err(|error| error.to_string())?;
            let live: Vec<LiveQueues> = pairs.into_iter().map(|pair| lcore.attach(pair)).collect();
            match mode {
                "io" => untouched(live, duration),
                "pipeline" => decided(live, duration),
                _ => return Err("io or pipeline".to_owned()),
            }
            Ok(())
        };
        scope.spawn(poll).join()
    });
    polled.map_err(|_| "the worker panicked")??;
    Ok(())
}

/// Forwards as testpmd's `io` does: frames go out as they came.
fn untouched(mut live: Vec<LiveQueues>, duration: Duration) {
    let mut burst = Burst::new();
    measure("io", duration, || {
        live[0].rx_burst(&mut burst);
        let received = burst.len();
        live[1].tx_burst(&mut burst);
        burst.clear();
        received
    });
}

/// Forwards as a worker does.
fn decided(live: Vec<LiveQueues>, duration: Duration) {
    let publisher = Publisher::new(snapshot());
    let table = Arc::new(ConntrackTable::with_capacity(1_000_000).expect("24 MB"));
    let worker =
        BurstProcessor::new(publisher.feed().subscribe(), table, TrackingHasher::new([1, 2, 3, 4]), 0);
    let ports = live;
    let (link, _) = host_path(64);
    let (writer, _) = counters();
    let mut poll_loop = PollLoop::new(worker, ports, link, Clock::start(), writer);
    measure("pipeline", duration, || poll_loop.turn());
    let counters = poll_loop.counters();
    assert_eq!(counters.pipeline.forwarded, counters.io.sent, "all are forwarded, and none is lost");
}

/// Turns for `duration` and prints what the packets cost.
fn measure(name: &str, duration: Duration, mut turn: impl FnMut() -> usize) {
    let end = Instant::now() + duration;
    let mut packets = 0;
    let before = processor_nanos();
    while Instant::now() < end {
        for _ in 0..1000 {
            packets += turn();
        }
    }
    let nanos = processor_nanos() - before;
    println!("{name}: {packets} packets, {:.1} ns each", nanos as f64 / packets as f64);
}

/// Nanoseconds that this thread has spent on a processor.
fn processor_nanos() -> u64 {
    let account = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    account.split(' ').next().and_then(|nanos| nanos.parse().ok()).expect("Linux with scheduler statistics")
}

/// 203.0.113.10:80 before a hundred backends on the same segment.
fn snapshot() -> Snapshot {
    let mut builder = SnapshotBuilder::new();
    let service = builder.service(AffinityPolicy::default());
    for backend in 0..100 {
        let egress = Egress { port: PortId(1), ..Egress::to(MacAddress([2, 0, 0, 0, 1, backend])) };
        builder.backend(service, &format!("backend-{backend}"), 1, Delivery::l2(egress, 1500));
    }
    let vip = Address::v4([203, 0, 113, 10]);
    builder.rule(ForwardingRule::new(vip, RuleProtocol::Tcp, RulePorts::List(vec![80]), service));
    builder.build()
}
