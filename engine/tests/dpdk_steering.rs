//! `net_pcap` has one queue pair: two workers share it by steering, and nothing is lost between them.
#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used)] // what fails there fails the test

mod appliance;

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use appliance::{expected, frames, snapshot, worker};
use guideway_dataplane::egress::PortId;
use guideway_engine::clock::Clock;
use guideway_engine::counters::{CountersWriter, counters};
use guideway_engine::driver::device::Device;
use guideway_engine::driver::dpdk::{
    Eal, EalOptions, Lcore, LiveQueues, Memory, MempoolOptions, PortOptions,
};
use guideway_engine::driver::steering::{Distributor, WorkerQueues, followers};
use guideway_engine::host_path::host_path;
use guideway_engine::poll_loop::PollLoop;
use guideway_engine::publish::Publisher;
use pcap_fixtures::capture::capture;

#[test]
fn two_workers_share_a_device_of_one_queue() {
    let frames = frames();
    let outcome = expected(&frames);
    let input = std::env::temp_dir().join(format!("guideway-dpdk-steering-{}.pcap", std::process::id()));
    fs::write(&input, capture(frames.iter().map(|frame| (0, frame.as_slice())))).unwrap();
    let device: Device = format!("net_pcap0,rx_pcap={}", input.display()).parse().unwrap();
    let options = EalOptions {
        memory: Memory::NoHuge { mebibytes: 64 },
        devices: vec![device.clone()],
        ..EalOptions::default()
    };
    let eal = Eal::init(&options).unwrap();
    assert!(!eal.offloads(&device).unwrap().serve(2, &device));

    let ports = PortOptions::default();
    let size = MempoolOptions::holding(1, &ports, 2, 512);
    let pool = eal.mempool("frames", &size).unwrap();
    let (port, mut queues) = eal.open(&device, &ports, pool).unwrap();
    let pair = queues.pop().expect("one queue pair was asked for");
    let (rings, mut theirs) = followers(1, 1024);
    let follower = theirs.pop().expect("one follower was asked for");
    let stop = AtomicBool::new(false);
    let readers = thread::scope(|scope| {
        let (running, stop) = (eal.running(), &stop);
        let (first, first_reader) = counters();
        let (second, second_reader) = counters();
        scope.spawn(move || {
            let lcore = Lcore::register(running, 0).unwrap();
            let distributor = Distributor::new(lcore.attach(pair), rings);
            poll(WorkerQueues::Distributor(distributor), first, stop);
        });
        scope.spawn(move || {
            let _lcore = Lcore::register(running, 0).unwrap();
            poll(WorkerQueues::Follower(follower), second, stop);
        });
        let readers = [first_reader, second_reader];
        let deadline = Instant::now() + Duration::from_secs(20);
        while port.stats().sent < outcome.sent.len() as u64 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        stop.store(true, Ordering::Relaxed);
        readers
    });
    let counted = readers.map(|reader| reader.read());
    let offered = [0, 1].map(|worker| counted[worker].pipeline.offered);
    assert!(offered.iter().all(|count| *count > 0));
    assert_eq!(offered.iter().sum::<u64>(), frames.len() as u64);
    assert_eq!(port.stats().sent, outcome.sent.len() as u64);
    assert_eq!(counted[0].io.refused, 0);
    assert_eq!(pool.available(), size.mbufs);
    fs::remove_file(&input).unwrap();
}

fn poll(queues: WorkerQueues<LiveQueues<'_, '_>>, counters: CountersWriter, stop: &AtomicBool) {
    let publisher = Publisher::new(snapshot(PortId(0)));
    let (host_queue, _) = host_path(256);
    let ports = vec![queues];
    PollLoop::new(worker(&publisher), ports, host_queue, Clock::start(), counters).run(stop);
}
