//! A device that computes checksums: DPDK's tap, in a network namespace of this process's own, whose kernel checks them.
#![cfg(feature = "dpdk")]

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::process::Command;
use std::thread;
use std::time::Duration;

use guideway_dataplane::address::Address;
use guideway_dataplane::delivery::fragments::{Fragment, fragments};
use guideway_dataplane::delivery::{Delivery, DeliveryMode, Tunnel};
use guideway_dataplane::egress::Egress;
use guideway_dataplane::frame::Frame;
use guideway_dataplane::packet::Packet;
use guideway_dataplane::wire::ethernet::MacAddress;
use guideway_engine::driver::device::Device;
use guideway_engine::driver::dpdk::{Eal, EalOptions, Lcore, Memory, MempoolOptions, PortOptions};
use guideway_engine::driver::{Burst, QueuePair};
use nix::sched::{CloneFlags, unshare};
use pcap_fixtures::packet::Packet as Built;

const GUE_PORT: u16 = 6080;

/// Offset of a UDP header's checksum behind an IPv6 header.
const CHECKSUM: usize = 14 + 40 + 6;

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("iproute2 is installed");
    assert!(status.success(), "ip {arguments}");
}

#[test]
fn a_kernel_takes_the_udp_checksum_that_a_device_computed() {
    unshare(CloneFlags::CLONE_NEWNET).expect("root makes a network namespace");
    let device: Device = "net_tap0,iface=gwtap0".parse().unwrap();
    let other: Device = "net_tap1,iface=gwtap1".parse().unwrap();
    let eal = Eal::init(&EalOptions {
        memory: Memory::NoHuge { mebibytes: 64 },
        devices: vec![device.clone(), other.clone()],
        ..EalOptions::default()
    })
    .unwrap();
    assert!(eal.offloads(&device).unwrap().udp_checksum, "DPDK's tap computes checksums");
    let pool = eal.mempool("frames", &MempoolOptions { mbufs: 4_095, ..MempoolOptions::default() }).unwrap();
    let options = PortOptions { udp_checksum: true, ..PortOptions::default() };
    let (port, pairs) = eal.open(&device, &options, pool).unwrap();
    assert!(port.offloads().udp_checksum);
    let (other, _pairs) = eal.open(&other, &PortOptions::default(), pool).unwrap();
    assert!(!other.offloads().udp_checksum, "nobody asked for it");
    ip("link set lo up");
    ip("link set gwtap0 up");
    ip("-6 addr add 2001:db8:9::1/64 dev gwtap0 nodad");
    let socket = UdpSocket::bind(("2001:db8:9::1", GUE_PORT)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();

    let tunnel = Tunnel {
        endpoint: Address::v6([0x20, 1, 0xd, 0xb8, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        source: Address::v6([0x20, 1, 0xd, 0xb8, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]),
        source_range: None,
    };
    // The kernel's end of a tap has the MAC address of DPDK's.
    let mac = port.mac();
    let egress = Egress { source: Some(MacAddress([2, 0, 0, 0, 0, 2])), ..Egress::to(mac) };
    let sent = |offloads_udp_checksum| {
        let egress = Egress { offloads_udp_checksum, ..egress };
        let delivery = Delivery::tunnel(DeliveryMode::Gue { dst_port: GUE_PORT }, &tunnel, egress, 1500);
        let bytes =
            Built::between("192.0.2.7", "203.0.113.10").tcp(40_000, 80, 0x10).payload_len(333).build();
        let mut frame = pool.frame(&bytes).expect("4,095 mbufs");
        let packet = Packet::parse(frame.bytes()).expect("a whole packet");
        delivery.deliver(&mut frame, &packet, &packet.flow).expect("headroom");
        frame
    };
    let (offloaded, computed) = (sent(true), sent(false));
    assert_ne!(checksum(&offloaded), checksum(&computed), "the device has work to do");
    // What the pseudo header's sum alone is worth, where nobody completes it.
    let mut damaged = sent(false);
    damaged.bytes_mut()[CHECKSUM..][..2].copy_from_slice(&checksum(&offloaded));

    // Too long for the tunnel, and without DF: a device that computes checksums must not compute those of fragments.
    let delivery = Delivery::tunnel(
        DeliveryMode::Gue { dst_port: GUE_PORT },
        &tunnel,
        Egress { offloads_udp_checksum: true, ..egress },
        1500,
    );
    let bytes = Built::between("192.0.2.7", "203.0.113.10").udp(40_000, 80).payload_len(1472).build();
    let mut frame = pool.frame(&bytes).expect("4,095 mbufs");
    let packet = Packet::parse(frame.bytes()).expect("a whole packet");
    delivery.deliver_in_fragments(&mut frame, &packet, &packet.flow).expect("headroom");
    let another =
        |fragment: Fragment<'_>| frame.another([fragment.headers(), fragment.piece]).expect("4,095 mbufs");
    let cut: Vec<_> = fragments(frame.bytes(), 1500).map(another).collect();
    assert_eq!(cut.len(), 2);

    let running = eal.running();
    thread::scope(|scope| {
        scope.spawn(move || {
            let lcore = Lcore::register(running, 0).unwrap();
            let mut queues = lcore.attach(pairs.into_iter().next().unwrap());
            let mut burst = Burst::new();
            // The kernel drops the first, takes the other two, and takes them in order.
            burst.extend([damaged, offloaded, computed]);
            burst.extend(cut);
            for _ in 0..1_000 {
                queues.tx_burst(&mut burst);
            }
            assert!(burst.is_empty());
        });
    });
    let mut datagram = [0; 2048];
    for (claim, packet_len) in
        [("offloaded", 20 + 20 + 333), ("computed", 20 + 20 + 333), ("put together by the kernel", 1500)]
    {
        // DPDK's tap has the kernel signal frames to this process, which interrupts whoever waits.
        let received = std::iter::repeat_with(|| socket.recv(&mut datagram))
            .find(|result| !matches!(result, Err(error) if error.kind() == ErrorKind::Interrupted));
        let len = received.expect("there is no end").expect("the kernel takes the datagram");
        assert_eq!(len, 4 + packet_len, "{claim}: the GUE header and the packet");
    }
    socket.set_nonblocking(true).unwrap();
    assert!(socket.recv(&mut datagram).is_err(), "the damaged one was dropped");
}

fn checksum(frame: &impl Frame) -> [u8; 2] {
    [frame.bytes()[CHECKSUM], frame.bytes()[CHECKSUM + 1]]
}
