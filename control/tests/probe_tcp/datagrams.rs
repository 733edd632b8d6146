//! Probes by UDP: a datagram to a VIP for one backend, and the answer that comes from the VIP.

use std::net::IpAddr;
use std::task::{Context, Poll, Waker};

use guideway::net::probe_tcp::{ConnectError, Datagram, HOP_LIMIT, Handle, Limits, Peer, ProbeTcp};
use guideway_dataplane::backend::BackendHandle;
use guideway_dataplane::network::OwnAddresses;
use pcap_fixtures::packet::Packet;
use smoltcp::wire::{IpVersion, Ipv4Packet, Ipv6Packet, UdpPacket};

use crate::lab::{PORT, own, peer};

fn handle() -> Handle {
    Handle::new(ProbeTcp::new(own(), 3, Limits::default()))
}

/// Addresses, ports and payload of a datagram with right checksums and the probes' hop limit.
fn read(packet: &[u8]) -> (IpAddr, u16, IpAddr, u16, Vec<u8>) {
    let (from, to, hops, datagram): (IpAddr, IpAddr, _, _) = match IpVersion::of_packet(packet).unwrap() {
        IpVersion::Ipv4 => {
            let ip = Ipv4Packet::new_checked(packet).unwrap();
            assert!(ip.verify_checksum());
            (ip.src_addr().into(), ip.dst_addr().into(), ip.hop_limit(), ip.payload())
        }
        IpVersion::Ipv6 => {
            let ip = Ipv6Packet::new_checked(packet).unwrap();
            (ip.src_addr().into(), ip.dst_addr().into(), ip.hop_limit(), ip.payload())
        }
    };
    let udp = UdpPacket::new_checked(datagram).unwrap();
    assert!(udp.verify_checksum(&from.into(), &to.into()));
    assert_eq!(hops, HOP_LIMIT);
    (from, udp.src_port(), to, udp.dst_port(), udp.payload().to_vec())
}

/// An IP packet with a datagram of four bytes.
fn answer(from: IpAddr, from_port: u16, to: IpAddr, to_port: u16) -> Vec<u8> {
    Packet::between(&from.to_string(), &to.to_string()).udp(from_port, to_port).payload(b"PONG").ip_bytes()
}

fn poll(datagram: &Datagram) -> Poll<Vec<u8>> {
    std::pin::pin!(datagram.answer()).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn an_answer_from_the_vip_reaches_the_probe_that_it_is_for() {
    for vip in ["203.0.113.10", "2001:db8:ffff::10"] {
        let to = Peer { backend: BackendHandle(5), vip: vip.parse().unwrap(), port: PORT };
        let handle = handle();
        let probes = [0, 1].map(|_| Datagram::send(&handle, to, b"PING").unwrap());
        let packets = [0, 1].map(|_| handle.transmit().expect("a datagram each"));
        assert!(handle.transmit().is_none());
        assert!(packets.iter().all(|packet| packet.backend == to.backend));
        let [first, second] = packets.map(|packet| read(&packet.packet));
        let (own, local_port, vip, port, payload) = first;
        assert_eq!((vip, port, &payload[..]), (to.vip, to.port, &b"PING"[..]));
        assert_ne!(local_port, second.1, "each has a port of its own");
        assert_eq!([poll(&probes[0]), poll(&probes[1])], [Poll::Pending, Poll::Pending]);

        // Others' addresses and ports, and a damaged one.
        let other = if vip.is_ipv4() { "203.0.113.11" } else { "2001:db8:ffff::11" }.parse().unwrap();
        handle.receive(&answer(other, port, own, local_port));
        handle.receive(&answer(vip, port + 1, own, local_port));
        handle.receive(&answer(vip, port, other, local_port));
        let mut damaged = answer(vip, port, own, local_port);
        *damaged.last_mut().unwrap() ^= 1;
        handle.receive(&damaged);
        assert_eq!(poll(&probes[0]), Poll::Pending);

        handle.receive(&answer(vip, port, own, local_port));
        assert_eq!([poll(&probes[0]), poll(&probes[1])], [Poll::Ready(b"PONG".to_vec()), Poll::Pending]);
        // A probe that is over hears nothing, and its port is another's to take.
        drop(probes);
        handle.receive(&answer(vip, port, own, local_port));
    }
}

#[test]
fn answers_that_nobody_reads_are_bounded() {
    let handle = handle();
    let probe = Datagram::send(&handle, peer(0), b"PING").unwrap();
    let (own, local_port, vip, port, _) = read(&handle.transmit().unwrap().packet);
    for _ in 0..1_000 {
        handle.receive(&answer(vip, port, own, local_port));
    }
    let read = std::iter::repeat_with(|| poll(&probe)).take_while(Poll::is_ready).count();
    assert!((1..=8).contains(&read), "{read}");
}

#[test]
fn a_datagram_without_an_address_to_come_from_is_not_tried() {
    let none = OwnAddresses { ipv4: None, ..own() };
    let handle = Handle::new(ProbeTcp::new(none, 3, Limits::default()));
    assert_eq!(Datagram::send(&handle, peer(0), b"PING").err(), Some(ConnectError::NoOwnAddress));
}
