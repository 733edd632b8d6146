//! A port is reset, and then removed, under a worker that polls it: in between it carries frames as before.
#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used)] // what fails there fails the test

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use guideway_dataplane::wire::ethernet::MacAddress;
use guideway_engine::driver::device::Device;
use guideway_engine::driver::dpdk::{
    Eal, EalOptions, Lcore, Memory, MempoolOptions, PortOptions, QueuePair, Running, Signals,
};
use guideway_engine::driver::{Burst, QueuePair as _};

const PATIENCE: Duration = Duration::from_secs(20);

/// Frames of the worker: received of those that it sends to itself, and refused by the port.
#[derive(Default)]
struct Counts {
    received: AtomicU64,
    refused: AtomicU64,
    stop: AtomicU64,
}

fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_port_carries_frames_before_and_after_its_reset_and_none_once_it_is_removed() {
    let device: Device = "net_ring0".parse().unwrap();
    let eal = Eal::init(&EalOptions {
        memory: Memory::NoHuge { mebibytes: 64 },
        devices: vec![device.clone()],
        ..EalOptions::default()
    })
    .unwrap();
    let pool = eal.mempool("frames", &MempoolOptions { mbufs: 2047, ..MempoolOptions::default() }).unwrap();
    let (port, pairs) = eal.open(&device, &PortOptions::default(), pool).unwrap();
    let counts = Counts::default();
    thread::scope(|scope| {
        let (running, counts) = (eal.running(), &counts);
        for pair in pairs {
            let frame = move || pool.frame(b"frame");
            scope.spawn(move || poll(running, pair, frame, counts));
        }
        let received = || counts.received.load(Ordering::Relaxed);
        wait("frames come", || received() > 100);
        assert_eq!(port.take_signals(), Signals::default());
        let early = port.restart().unwrap_err().to_string();
        assert!(early.contains("`net_ring0` refuses to be reset (workers may poll it"), "{early}");

        // A ring filters nothing, and is given no address.
        assert_eq!(port.adopt_mac(Some(MacAddress([2, 0, 0, 0, 0, 7]))), Ok(None));
        assert_eq!(port.listen(&[MacAddress([0x33, 0x33, 0, 0, 0, 1])]), None);

        port.pause();
        wait("the worker keeps away", || port.is_paused());
        let (before, refused) = (received(), counts.refused.load(Ordering::Relaxed));
        wait("the worker goes on", || counts.refused.load(Ordering::Relaxed) > refused + 100);
        assert_eq!(received(), before);
        port.restart().unwrap();
        assert!(!port.is_paused());
        wait("frames come again", || received() > before + 100);
        assert!(port.link().up);

        port.pause();
        wait("the worker keeps away", || port.is_paused());
        port.remove().unwrap();
        assert!(port.remove().is_err() && port.restart().is_err(), "it is gone");
        assert!(!port.link().up);
        assert!(eal.offloads(&device).is_err(), "its bus has released it");
        let refused = counts.refused.load(Ordering::Relaxed);
        wait("the worker goes on", || counts.refused.load(Ordering::Relaxed) > refused + 100);
        counts.stop.store(1, Ordering::Relaxed);
    });
    drop(port);
}

/// Runs as a worker's thread: sends a frame at a time, which comes back by the ring.
fn poll<'eal>(
    running: Running<'eal>,
    pair: QueuePair<'eal>,
    frame: impl Fn() -> Option<guideway_engine::driver::dpdk::DpdkMbuf<'eal>>,
    counts: &Counts,
) {
    let lcore = Lcore::register(running, 0).unwrap();
    let mut queues = lcore.attach(pair);
    let mut burst = Burst::new();
    while counts.stop.load(Ordering::Relaxed) == 0 {
        burst.extend(frame());
        queues.tx_burst(&mut burst);
        counts.refused.fetch_add(burst.len() as u64, Ordering::Relaxed);
        burst.clear();
        queues.rx_burst(&mut burst);
        counts.received.fetch_add(burst.len() as u64, Ordering::Relaxed);
        burst.clear();
    }
}
