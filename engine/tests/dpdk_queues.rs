//! `net_tap` refuses to run with other numbers of receive than of transmit queues: the port is opened with fewer, and
//! remembers what was refused.
#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used)] // what fails there fails the test

use guideway_engine::driver::device::Device;
use guideway_engine::driver::dpdk::{Eal, EalOptions, Memory, MempoolOptions, PortOptions, QueueCounts};

#[test]
fn a_port_is_opened_with_fewer_queues_where_the_device_refuses_those_asked_for() {
    let tap: Device = "net_tap0,iface=gwqueues0".parse().unwrap();
    let options = EalOptions {
        memory: Memory::NoHuge { mebibytes: 64 },
        devices: vec![tap.clone()],
        ..EalOptions::default()
    };
    let eal = Eal::init(&options).unwrap();
    let pool = eal.mempool("frames", &MempoolOptions { mbufs: 8191, ..MempoolOptions::default() }).unwrap();
    let with = |rx, tx| PortOptions { queues: QueueCounts { rx, tx }, ..PortOptions::default() };

    let (port, pairs) = eal.open(&tap, &with(3, 2), pool).unwrap();
    assert_eq!((port.queues(), pairs.len()), (QueueCounts { rx: 2, tx: 2 }, 2));
    let refusals: Vec<String> = port.refusals().iter().map(ToString::to_string).collect();
    let [refusal] = &refusals[..] else { panic!("{refusals:?}") };
    assert!(
        refusal.starts_with("with 3 receive and 2 transmit queues the device refuses to be configured ("),
        "the cause is the device's own: {refusal}"
    );
    assert!(refusal.contains("number of rx queues 3 must be equal to number of tx queues 2"), "{refusal}");
}
