//! Two bonds of one member each, at the ends of a cable, agree by LACP (IEEE 802.3ad) on carrying frames, though one of them
//! has nothing to send.
#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used)] // what fails there fails the test

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use guideway_dataplane::frame::Frame;
use guideway_engine::driver::device::Device;
use guideway_engine::driver::dpdk::{Eal, EalOptions, Lcore, Member, Memory, MempoolOptions, PortOptions};
use guideway_engine::driver::{Burst, QueuePair};
use nix::sched::{CloneFlags, unshare};

/// Time that LACP may take: the partners first wait for each other.
const PATIENCE: Duration = Duration::from_secs(60);

/// Frame of a type that nothing else on the cable has (IEEE 802, local experimental).
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("iproute2 is installed");
    assert!(status.success(), "ip {arguments}");
}

#[test]
fn a_bond_whose_worker_sends_nothing_keeps_its_partner() {
    unshare(CloneFlags::CLONE_NEWNET).expect("root makes a network namespace");
    ip("link add va type veth peer name vb");
    ip("link set va up");
    ip("link set vb up");
    // Either word for a member will do, whatever DPDK's own is.
    let devices: [Device; 4] = [
        "net_af_packet0,iface=va",
        "net_af_packet1,iface=vb",
        "net_bonding0,mode=4,slave=net_af_packet0",
        "net_bonding1,mode=4,member=net_af_packet1",
    ]
    .map(|device| device.parse().unwrap());
    let eal = Eal::init(&EalOptions {
        memory: Memory::NoHuge { mebibytes: 256 },
        devices: devices.to_vec(),
        ..EalOptions::default()
    })
    .unwrap();
    let pool = eal.mempool("frames", &MempoolOptions::default()).unwrap();
    let (sender, mut sends) = eal.open(&devices[2], &PortOptions::default(), pool).unwrap();
    let (receiver, mut receives) = eal.open(&devices[3], &PortOptions::default(), pool).unwrap();
    assert_eq!((sender.driver(), receiver.driver()), ("net_bonding", "net_bonding"));
    let member = Member { name: "net_af_packet0".to_owned(), up: true };
    assert_eq!((sender.members(), receiver.members().len()), (vec![member], 1));
    let (stop, received) = (AtomicBool::new(false), AtomicU64::new(0));
    let (running, stop, received) = (eal.running(), &stop, &received);
    thread::scope(|scope| {
        let (sends, receives) = (sends.pop().unwrap(), receives.pop().unwrap());
        scope.spawn(move || {
            let lcore = Lcore::register(running, 0).unwrap();
            let mut queues = lcore.attach(sends);
            let mut burst = Burst::new();
            while !stop.load(Ordering::Relaxed) {
                let frame = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 9], &ETHERTYPE, &[0; 46]].concat();
                burst.extend(pool.frame(&frame));
                queues.tx_burst(&mut burst);
                burst.clear();
                queues.rx_burst(&mut burst);
                burst.clear();
                thread::sleep(Duration::from_micros(100));
            }
        });
        scope.spawn(move || {
            let lcore = Lcore::register(running, 0).unwrap();
            let mut queues = lcore.attach(receives);
            let mut burst = Burst::new();
            while !stop.load(Ordering::Relaxed) {
                queues.rx_burst(&mut burst);
                let frames = burst.iter().filter(|frame| frame.bytes()[12..14] == ETHERTYPE).count();
                received.fetch_add(frames as u64, Ordering::Relaxed);
                burst.clear();
            }
        });
        let deadline = Instant::now() + PATIENCE;
        while received.load(Ordering::Relaxed) < 100 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(received.load(Ordering::Relaxed) >= 100, "the bonds agree");
}
