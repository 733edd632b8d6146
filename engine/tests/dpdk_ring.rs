//! `net_ring`: what is sent comes back as it was, no mbuf is lost, and a port is opened once, with what it has.
#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used)] // what fails there fails the test

use std::thread;

use guideway_dataplane::frame::{Frame, HEADROOM};
use guideway_dataplane::pipeline::BURST;
use guideway_engine::driver::device::Device;
use guideway_engine::driver::dpdk::{
    Eal, EalOptions, Lcore, Memory, Mempool, MempoolOptions, PortOptions, QueueCounts, QueuePair, Running,
    StartError,
};
use guideway_engine::driver::{Burst, QueuePair as _};

/// EAL starts once in a process, so this is one test of several claims.
#[test]
fn frames_come_back_as_they_were_sent_and_every_mbuf_to_its_pool() {
    let device: Device = "net_ring0".parse().unwrap();
    let options = EalOptions {
        memory: Memory::NoHuge { mebibytes: 64 },
        devices: vec![device.clone()],
        ..EalOptions::default()
    };
    let eal = Eal::init(&options).unwrap();
    assert_eq!(Eal::init(&options).unwrap_err(), StartError::AlreadyStarted);

    let pool = eal.mempool("frames", &MempoolOptions { mbufs: 2047, ..MempoolOptions::default() }).unwrap();
    let too_small =
        eal.mempool("small", &MempoolOptions { mbufs: 63, cache: 0, data_room: 512, node: None }).unwrap();
    refuses_what_the_device_has_not(&eal, &device, pool, too_small);

    // Queues for as many workers as the device has queues and more: it gives what it has.
    let workers = QueueCounts { rx: 1, tx: 17 };
    let (port, mut queues) =
        eal.open(&device, &PortOptions { queues: workers, ..PortOptions::default() }, pool).unwrap();
    assert_eq!(port.queues(), QueueCounts { rx: 1, tx: 16 });
    let of = |pair: &QueuePair<'_>| (pair.rx_queue(), pair.tx_queue());
    assert_eq!((queues.len(), of(&queues[0]), of(&queues[15])), (16, (Some(0), Some(0)), (None, Some(15))));
    let last = queues.pop().unwrap();
    queues.truncate(1);
    let again = eal.open(&device, &PortOptions::default(), pool).unwrap_err();
    assert_eq!(again.to_string(), "`net_ring0` is configured twice: name each device once");
    assert_eq!((port.driver(), port.mtu(), port.link().up), ("net_ring", 1500, true));
    assert!(!port.offloads().rss);

    thread::scope(|scope| {
        let running = eal.running();
        for pair in queues {
            scope.spawn(move || sends_and_receives(running, pair, pool));
        }
        scope.spawn(move || receives_nothing_by_a_queue_that_it_has_not(running, last, pool));
    });
    let named = port.xstats();
    let received = named.iter().find(|(name, _)| name == "rx_good_packets");
    assert_eq!(received.map(|(_, value)| *value), Some(port.stats().received), "{named:?}");
    let stats = port.stats();
    assert_eq!((stats.received, stats.sent), (40, 41));
    assert_eq!(pool.available(), 2046, "one lies in the last queue, which nobody polls");
}

fn refuses_what_the_device_has_not<'eal>(
    eal: &'eal Eal,
    device: &Device,
    pool: Mempool<'eal>,
    too_small: Mempool<'eal>,
) {
    let offloads = eal.offloads(device).unwrap();
    assert_eq!((offloads.rx_queues, offloads.tx_queues), (16, 16));
    assert_eq!(
        eal.open(device, &PortOptions::default(), too_small).unwrap_err().to_string(),
        "`net_ring0` takes frames of 1522 bytes and an mbuf holds 512: lower the port's MTU, or raise the mempool's data \
         room"
    );
    let huge = MempoolOptions { mbufs: 1 << 24, ..MempoolOptions::default() };
    let error = eal.mempool("huge", &huge).unwrap_err().to_string();
    assert!(error.starts_with("no memory for 16777216 mbufs, about 37888 MiB ("), "{error}");
    let unknown: Device = "net_ring7".parse().unwrap();
    let error = eal.open(&unknown, &PortOptions::default(), pool).unwrap_err().to_string();
    assert!(error.starts_with("`net_ring7` cannot be used (No such device): "), "{error}");
}

/// Runs as the thread of a worker with a transmit queue alone: it sends by that one, and receives nothing.
fn receives_nothing_by_a_queue_that_it_has_not<'eal>(
    running: Running<'eal>,
    pair: QueuePair<'eal>,
    pool: Mempool<'eal>,
) {
    let lcore = Lcore::register(running, 0).unwrap();
    let mut queues = lcore.attach(pair);
    let mut burst: Burst<_> = pool.frame(b"out").into_iter().collect();
    queues.tx_burst(&mut burst);
    assert!(burst.is_empty());
    queues.rx_burst(&mut burst);
    assert!(burst.is_empty());
}

/// Runs as a worker's thread: the ring takes frames of every length, changed in every way that the data plane changes
/// them.
fn sends_and_receives<'eal>(running: Running<'eal>, pair: QueuePair<'eal>, pool: Mempool<'eal>) {
    let offline = Lcore::register(running, 4096).unwrap_err().to_string();
    assert!(offline.starts_with("core 4096 is not online: choose from 0"), "{offline}");
    let lcore = Lcore::register(running, 0).unwrap();
    let twice = Lcore::register(running, 0).unwrap_err().to_string();
    assert_eq!(
        twice,
        "DPDK does not register the worker's thread (this thread is registered already): run fewer workers"
    );

    let mut queues = lcore.attach(pair);
    let mut burst = Burst::new();
    queues.rx_burst(&mut burst);
    assert!(burst.is_empty());

    let contents: Vec<Vec<u8>> = (0..40).map(|frame| vec![frame; 1 + usize::from(frame) * 39]).collect();
    assert_eq!(contents.last().map(Vec::len), Some(1522), "as long as the MTU and two VLAN tags make it");
    for share in contents.chunks(BURST) {
        burst.extend(share.iter().map(|bytes| pool.frame(bytes).expect("2047 mbufs")));
        queues.tx_burst(&mut burst);
        assert!(burst.is_empty());
    }
    for share in contents.chunks(BURST) {
        queues.rx_burst(&mut burst);
        assert!(burst.iter().map(Frame::bytes).eq(share.iter().map(Vec::as_slice)));
        burst.clear();
    }

    let mut frame = pool.frame(b"payload").expect("2047 mbufs");
    assert!(!frame.prepend(HEADROOM + 1) && frame.prepend(HEADROOM) && !frame.prepend(1));
    frame.bytes_mut()[..HEADROOM].fill(7);
    frame.truncate(HEADROOM + 3);
    frame.truncate(usize::MAX);
    assert!(frame.bytes().starts_with(&[7; HEADROOM]) && frame.bytes().ends_with(b"\x07pay"));
    assert!(pool.frame(&[0; 2049]).is_none(), "an mbuf holds 2048 bytes");
    assert!(pool.frame(&[0; 2048]).is_some());
    assert_eq!(queues.refused(), 0);
}
