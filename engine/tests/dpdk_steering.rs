//! `net_pcap` has one queue pair: three workers share it by steering, and nothing is lost between them.
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
use guideway_engine::counters::{CountersReader, CountersWriter, counters};
use guideway_engine::driver::device::Device;
use guideway_engine::driver::dpdk::{
    Eal, EalOptions, Lcore, LiveQueues, Memory, MempoolOptions, PortOptions, QueueCounts,
};
use guideway_engine::driver::queue_plan::QueuePlan;
use guideway_engine::driver::steering::{WorkerQueues, rings};
use guideway_engine::host_path::host_path;
use guideway_engine::poll_loop::PollLoop;
use guideway_engine::publish::Publisher;
use pcap_fixtures::capture::capture;

const WORKERS: u16 = 3;

#[test]
fn three_workers_share_a_device_of_one_queue() {
    let frames = frames();
    let outcome = expected(&frames);
    let input = std::env::temp_dir().join(format!("guideway-dpdk-steering-{}.pcap", std::process::id()));
    fs::write(&input, capture(frames.iter().map(|frame| (0, frame.as_slice())))).unwrap();
    let device: Device = format!("net_pcap0,rx_pcap={}", input.display()).parse().unwrap();
    let options = EalOptions {
        memory: Memory::NoHuge { mebibytes: 128 },
        devices: vec![device.clone()],
        ..EalOptions::default()
    };
    let eal = Eal::init(&options).unwrap();
    let queues = eal.offloads(&device).unwrap().queues_for(WORKERS, &device);
    assert_eq!(queues, QueueCounts { rx: 1, tx: 1 });

    let ports = PortOptions { queues, ..PortOptions::default() };
    let size = MempoolOptions::holding(WORKERS.into(), ports.descriptors(), WORKERS.into(), 512);
    let pool = eal.mempool("frames", &size).unwrap();
    let (port, pairs) = eal.open(&device, &ports, pool).unwrap();
    let plan = QueuePlan::new((0..WORKERS).collect(), port.queues().rx, port.queues().tx);
    let pairs = pairs.into_iter().map(Some).chain(std::iter::repeat_with(|| None));
    let stop = AtomicBool::new(false);
    let readers = thread::scope(|scope| {
        let (running, stop) = (eal.running(), &stop);
        let workers = pairs.zip(rings(&plan, 1024, 1024)).map(|(pair, rings)| {
            let (writer, reader) = counters();
            scope.spawn(move || {
                let lcore = Lcore::register(running, 0).unwrap();
                poll(WorkerQueues::new(pair.map(|pair| lcore.attach(pair)), rings), writer, stop);
            });
            reader
        });
        let readers: Vec<_> = workers.collect();
        let deadline = Instant::now() + Duration::from_secs(20);
        while port.stats().sent < outcome.sent.len() as u64 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        stop.store(true, Ordering::Relaxed);
        readers
    });
    let counted: Vec<_> = readers.iter().map(CountersReader::read).collect();
    let offered: Vec<u64> = counted.iter().map(|counters| counters.pipeline.offered).collect();
    assert!(offered.iter().all(|count| *count > 0), "{offered:?}");
    assert_eq!(offered.iter().sum::<u64>(), frames.len() as u64);
    assert_eq!(port.stats().sent, outcome.sent.len() as u64);
    assert!(counted.iter().all(|counters| counters.io.refused == 0));
    assert_eq!(pool.available(), size.mbufs);
    fs::remove_file(&input).unwrap();
}

fn poll(queues: WorkerQueues<LiveQueues<'_, '_>>, counters: CountersWriter, stop: &AtomicBool) {
    let publisher = Publisher::new(snapshot(PortId(0)));
    let (host_queue, _) = host_path(256);
    let ports = vec![queues];
    PollLoop::new(worker(&publisher), ports, host_queue, Clock::start(), counters).run(stop);
}
