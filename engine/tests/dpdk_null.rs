//! `net_null`: two workers poll one port at once, each its own queues; nothing is lost on the way to the counters.
#![cfg(feature = "dpdk")]

#[allow(dead_code)] // this device makes its own frames
mod appliance;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use appliance::{snapshot, worker};
use guideway_dataplane::egress::PortId;
use guideway_engine::clock::Clock;
use guideway_engine::counters::counters;
use guideway_engine::driver::device::Device;
use guideway_engine::driver::dpdk::{Eal, EalOptions, Lcore, Memory, MempoolOptions, PortOptions};
use guideway_engine::host_path::host_path;
use guideway_engine::poll_loop::PollLoop;
use guideway_engine::publish::Publisher;

#[test]
fn two_workers_poll_their_queues_of_one_port_until_they_are_stopped() {
    let device: Device = "net_null0,size=64".parse().unwrap();
    let options = EalOptions {
        memory: Memory::NoHuge { mebibytes: 64 },
        devices: vec![device.clone()],
        ..EalOptions::default()
    };
    let eal = Eal::init(&options).unwrap();
    let pool = eal.mempool("frames", &MempoolOptions { mbufs: 4095, ..MempoolOptions::default() }).unwrap();
    let (port, queues) =
        eal.open(&device, &PortOptions { queues: 2, ..PortOptions::default() }, pool).unwrap();
    assert_eq!(port.take_vlans(&[100].into()), None, "a device without a filter takes every frame");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut readers = Vec::new();
        for (core, pair) in queues.into_iter().enumerate() {
            let (running, stop) = (eal.running(), &stop);
            let (host_queue, _) = host_path(64);
            let (writer, reader) = counters();
            readers.push(reader);
            scope.spawn(move || {
                let cores = thread::available_parallelism().map_or(1, usize::from);
                let lcore = Lcore::register(running, core % cores).unwrap();
                let ports = vec![lcore.attach(pair)];
                let publisher = Publisher::new(snapshot(PortId(0)));
                PollLoop::new(worker(&publisher), ports, host_queue, Clock::start(), writer).run(stop);
            });
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        let busy = || readers.iter().all(|reader| reader.read().pipeline.offered > 100_000);
        while !busy() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        assert!(busy());
        stop.store(true, Ordering::Relaxed);
    });
    assert!(port.stats().received > 200_000);
}
