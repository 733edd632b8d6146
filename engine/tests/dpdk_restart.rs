//! A port is reset, and then removed, under the workers that share its queues: in between it carries frames as before.
#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used)] // what fails there fails the test

use std::slice;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use guideway_dataplane::wire::ethernet::MacAddress;
use guideway_engine::driver::device::Device;
use guideway_engine::driver::dpdk::{
    DpdkMbuf, Eal, EalOptions, Lcore, LiveQueues, Memory, Mempool, MempoolOptions, PortOptions, QueueCounts,
    Signals,
};
use guideway_engine::driver::queue_plan::QueuePlan;
use guideway_engine::driver::steering::{WorkerQueues, rings};
use guideway_engine::driver::{Burst, QueuePair as _};

const PATIENCE: Duration = Duration::from_secs(20);

/// Frames of workers: received, and refused by the port.
#[derive(Default)]
struct Counts {
    received: AtomicU64,
    refused: AtomicU64,
    stop: AtomicBool,
}

/// Stops the threads of these counts when it goes, also because the test has failed.
struct Stop<'c>(&'c [Counts]);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|counts| counts.stop.store(true, Ordering::Relaxed));
    }
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
    let [ring, null]: [Device; 2] = ["net_ring0", "net_null0"].map(|device| device.parse().unwrap());
    let eal = Eal::init(&EalOptions {
        memory: Memory::NoHuge { mebibytes: 128 },
        devices: vec![ring.clone(), null.clone()],
        ..EalOptions::default()
    })
    .unwrap();
    let pool = eal.mempool("frames", &MempoolOptions { mbufs: 8191, ..MempoolOptions::default() }).unwrap();
    workers_share_a_device_that_is_reset_and_removed(&eal, &ring, pool);
    queues_and_hash_are_the_same_after_a_reset(&eal, &null, pool);
}

/// One worker receives and sends, another has a transmit queue alone, and the third none: nobody but the first has frames.
fn workers_share_a_device_that_is_reset_and_removed<'eal>(
    eal: &'eal Eal,
    device: &Device,
    pool: Mempool<'eal>,
) {
    let options = PortOptions { queues: QueueCounts { rx: 1, tx: 2 }, ..PortOptions::default() };
    let (port, pairs) = eal.open(device, &options, pool).unwrap();
    let plan = QueuePlan::new(vec![0, 1, 2], 1, 2);
    let pairs = pairs.into_iter().map(Some).chain([None]);
    let counts = Counts::default();
    thread::scope(|scope| {
        let (running, counts) = (eal.running(), &counts);
        let _stop = Stop(slice::from_ref(counts));
        for (number, (pair, rings)) in pairs.zip(rings(&plan, 64, 64)).enumerate() {
            let frame = move || pool.frame(b"frame").filter(|_| number == 0);
            scope.spawn(move || {
                let lcore = Lcore::register(running, 0).unwrap();
                poll(WorkerQueues::new(pair.map(|pair| lcore.attach(pair)), rings), frame, counts);
            });
        }
        let received = || counts.received.load(Ordering::Relaxed);
        wait("frames come", || received() > 100);
        assert_eq!(port.take_signals(), Signals::default());
        let early = port.begin_restart().unwrap_err().to_string();
        assert!(early.contains("`net_ring0` refuses to be reset (workers may poll it"), "{early}");

        // A ring filters nothing, and is given no address.
        assert_eq!(port.adopt_mac(Some(MacAddress([2, 0, 0, 0, 0, 7]))), Ok(None));
        assert_eq!(port.listen(&[MacAddress([0x33, 0x33, 0, 0, 0, 1])]), None);

        port.pause();
        wait("the workers keep away", || port.is_paused());
        let (before, refused) = (received(), counts.refused.load(Ordering::Relaxed));
        wait("the worker goes on", || counts.refused.load(Ordering::Relaxed) > refused + 100);
        assert_eq!(received(), before);
        port.restart().unwrap();
        assert!(!port.is_paused());
        assert_eq!(port.queues(), options.queues);
        wait("frames come again", || received() > before + 100);
        assert!(port.link().up);

        port.pause();
        wait("the workers keep away", || port.is_paused());
        port.remove().unwrap();
        assert!(port.remove().is_err() && port.restart().is_err(), "it is gone");
        assert!(!port.link().up);
        assert!(eal.offloads(device).is_err(), "its bus has released it");
        let refused = counts.refused.load(Ordering::Relaxed);
        wait("the worker goes on", || counts.refused.load(Ordering::Relaxed) > refused + 100);
    });
    drop(port);
}

/// Each worker receives by a queue of its own, before and after.
fn queues_and_hash_are_the_same_after_a_reset<'eal>(eal: &'eal Eal, device: &Device, pool: Mempool<'eal>) {
    let options = PortOptions { queues: QueueCounts { rx: 4, tx: 3 }, ..PortOptions::default() };
    let (port, pairs) = eal.open(device, &options, pool).unwrap();
    let rss = port.rss();
    assert_eq!(rss.as_ref().and_then(|rss| rss.entries(4)), Some(vec![32; 4]), "{rss:?}");
    let counts: Vec<Counts> = pairs.iter().map(|_| Counts::default()).collect();
    thread::scope(|scope| {
        let running = eal.running();
        let _stop = Stop(&counts);
        for (pair, counts) in pairs.into_iter().zip(&counts) {
            scope.spawn(move || {
                let lcore = Lcore::register(running, 0).unwrap();
                poll(WorkerQueues::Own(lcore.attach(pair)), || None, counts);
            });
        }
        let received =
            || counts.iter().map(|counts| counts.received.load(Ordering::Relaxed)).collect::<Vec<_>>();
        let all_exceed = |before: &[u64]| received().iter().zip(before).all(|(now, before)| now > before);
        wait("frames come by all queues", || all_exceed(&[100; 4]));
        port.pause();
        wait("the workers keep away", || port.is_paused());
        let before = received();
        let (stats, mac) = (port.stats(), port.mac());
        // Of a device whose reset goes on, or has failed half way, nothing is asked.
        drop(port.begin_restart().unwrap());
        let reset = port.begin_restart().unwrap();
        assert!(!port.link().up && port.stats() == stats && (port.mac(), port.mtu()) == (mac, 1500));
        assert!(port.xstats().is_empty());
        assert_eq!(port.adopt_mac(Some(MacAddress([2, 0, 0, 0, 0, 7]))), Ok(None));
        assert_eq!((port.mac(), port.listen(&[]), port.take_vlans(&[7].into())), (mac, None, None));
        for refusal in [port.begin_restart().map(drop), port.remove()] {
            let refusal = refusal.unwrap_err().to_string();
            assert!(refusal.contains("a reset of it goes on"), "{refusal}");
        }
        let outcome = scope.spawn(|| reset.run()).join().unwrap();
        assert!(port.is_paused(), "until its end is taken in");
        port.end_restart(outcome).unwrap();
        assert_eq!((port.queues(), port.rss()), (options.queues, rss));
        assert_eq!(port.mac(), MacAddress([2, 0, 0, 0, 0, 7]), "as it was asked meanwhile");
        wait("frames come by all queues again", || all_exceed(&before));
    });
}

/// Polls until it is to stop, and before each poll sends a frame, if there is one to send.
fn poll<'l, 'eal>(
    mut queues: WorkerQueues<LiveQueues<'l, 'eal>>,
    frame: impl Fn() -> Option<DpdkMbuf<'eal>>,
    counts: &Counts,
) {
    let mut burst = Burst::new();
    while !counts.stop.load(Ordering::Relaxed) {
        burst.extend(frame());
        if !burst.is_empty() {
            queues.tx_burst(&mut burst);
        }
        counts.refused.fetch_add(burst.len() as u64, Ordering::Relaxed);
        burst.clear();
        queues.rx_burst(&mut burst);
        counts.received.fetch_add(burst.len() as u64, Ordering::Relaxed);
        burst.clear();
    }
}
