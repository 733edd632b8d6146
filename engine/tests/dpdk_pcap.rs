//! `net_pcap`: a capture through the poll loop on a DPDK port leaves as the same frames do from heap memory.
#![cfg(feature = "dpdk")]

#[allow(dead_code)] // its bursts are not those of the other devices
mod appliance;

use std::fs;
use std::thread;

use appliance::{Outcome, expected_in_bursts, frames, snapshot, worker};
use guideway_dataplane::egress::PortId;
use guideway_dataplane::frame::Frame;
use guideway_dataplane::pipeline::BURST;
use guideway_engine::capture::CaptureReader;
use guideway_engine::clock::Clock;
use guideway_engine::counters::counters;
use guideway_engine::driver::device::Device;
use guideway_engine::driver::dpdk::{Eal, EalOptions, Lcore, Memory, MempoolOptions, PortOptions};
use guideway_engine::host_path::host_path;
use guideway_engine::poll_loop::PollLoop;
use guideway_engine::publish::Publisher;
use pcap_fixtures::capture::capture;

#[test]
fn a_capture_leaves_a_dpdk_port_as_it_leaves_heap_memory() {
    // A frame longer than an mbuf comes in several segments, and is refused: alone among those of its burst.
    let jumbo = frames()[0].iter().copied().chain([0; 4000]).collect::<Vec<_>>();
    let frames = frames();
    let directory = std::env::temp_dir().join(format!("guideway-dpdk-pcap-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let (input, output) = (directory.join("in.pcap"), directory.join("out.pcap"));
    // Two of them in each burst, amid the others.
    let shares = frames.chunks(BURST - 2).map(|share| share.split_at(5));
    let all: Vec<_> = shares
        .flat_map(|(first, others)| first.iter().chain([&jumbo, &jumbo]).chain(others))
        .map(|frame| (0, frame.as_slice()))
        .collect();
    fs::write(&input, capture(all.iter().copied())).unwrap();

    let device: Device =
        format!("net_pcap0,rx_pcap={},tx_pcap={}", input.display(), output.display()).parse().unwrap();
    let options = EalOptions {
        memory: Memory::NoHuge { mebibytes: 64 },
        devices: vec![device.clone()],
        ..EalOptions::default()
    };
    let eal = Eal::init(&options).unwrap();
    let pool = eal.mempool("frames", &MempoolOptions { mbufs: 1023, ..MempoolOptions::default() }).unwrap();
    let (port, mut queues) = eal.open(&device, &PortOptions::default(), pool).unwrap();
    let pair = queues.pop().expect("one queue pair was asked for");
    let (host_queue, mut host) = host_path(256);
    let (writer, reader) = counters();
    thread::scope(|scope| {
        let running = eal.running();
        scope.spawn(move || {
            let lcore = Lcore::register(running, 0).unwrap();
            let publisher = Publisher::new(snapshot(PortId(0)));
            let ports = vec![lcore.attach(pair)];
            let mut poll_loop = PollLoop::new(worker(&publisher), ports, host_queue, Clock::start(), writer);
            while poll_loop.turn() > 0 {}
        });
    });
    let counted = reader.read();
    assert_eq!(counted.pipeline.offered, frames.len() as u64);
    assert_eq!(counted.io.refused, (all.len() - frames.len()) as u64);
    let passed: Vec<Vec<u8>> =
        std::iter::from_fn(|| host.receive()).map(|passed| passed.frame.bytes().to_vec()).collect();
    assert_eq!(pool.available(), 1023);
    assert_eq!(port.stats().sent, counted.io.sent);
    // The capture is complete once the port is closed.
    drop(port);

    let written = fs::read(&output).unwrap();
    let mut reader = CaptureReader::new(written.as_slice()).unwrap();
    let mut sent = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        sent.push(record.bytes.to_vec());
    }
    let dropped = (counted.pipeline.dropped_total() - counted.pipeline.icmp_errors_sent) as usize;
    assert_eq!(Outcome { sent, passed, dropped }, expected_in_bursts(&frames, BURST - 2));
    fs::remove_dir_all(&directory).unwrap();
}
