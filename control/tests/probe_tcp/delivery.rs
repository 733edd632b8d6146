//! A packet of a probe, delivered as the pipeline delivers packets, and read by another parser.

use std::net::IpAddr;
use std::time::Duration;

use etherparse::{IpNumber, NetSlice, SlicedPacket, TransportSlice};
use guideway::net::probe_tcp::{Limits, Peer, ProbeTcp};
use guideway_dataplane::address::Address;
use guideway_dataplane::delivery::{Delivery, DeliveryMode, Tunnel};
use guideway_dataplane::egress::Egress;
use guideway_dataplane::frame::Frame;
use guideway_dataplane::packet::Packet;
use guideway_dataplane::wire::ethernet::MacAddress;
use guideway_engine::mbuf::Mbuf;

use crate::lab::{own, peer};

const OWN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const NEXT_HOP: [u8; 6] = [2, 0, 0, 0, 0, 9];
const GUE_PORT: u16 = 6_080;

fn delivered(peer: Peer, delivery: &Delivery) -> Vec<u8> {
    let mut stack = ProbeTcp::new(own(), 1, Limits::default());
    stack.connect(peer, Duration::ZERO).unwrap();
    let outgoing = stack.transmit().unwrap();
    assert_eq!(outgoing.backend, peer.backend);
    let mut frame = Mbuf::new();
    frame.fill(&outgoing.into_frame(None));
    let packet = Packet::parse(frame.bytes()).expect("a packet that the data plane takes");
    assert!(packet.opens() && delivery.fits(&packet));
    delivery.deliver(&mut frame, &packet, &packet.flow).unwrap();
    frame.bytes().to_vec()
}

fn egress() -> Egress {
    Egress { source: Some(MacAddress(OWN_MAC)), ..Egress::to(MacAddress(NEXT_HOP)) }
}

fn tunnel(mode: DeliveryMode) -> Delivery {
    let tunnel = Tunnel {
        endpoint: Address::v4([198, 51, 100, 7]),
        source: Address::v4([192, 0, 2, 1]),
        source_range: None,
    };
    Delivery::tunnel(mode, &tunnel, egress(), 1_500)
}

/// Checks a SYN from the own address to the VIP as the backend is to get it, by an independent parser.
fn assert_is_the_probe(ip: &[u8]) {
    let inner = SlicedPacket::from_ip(ip).unwrap();
    let (hop_limit, checksum) = match (&inner.net, &inner.transport) {
        (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Tcp(tcp))) => {
            let header = ip.header();
            assert_eq!(header.source_addr(), IpAddr::from(own().ipv4.unwrap()));
            assert_eq!(header.destination(), [203, 0, 113, 10]);
            assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum());
            (header.ttl(), tcp.calc_checksum_ipv4(ip.header().source(), ip.header().destination()))
        }
        (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Tcp(tcp))) => {
            let header = ip.header();
            assert_eq!(header.source_addr(), IpAddr::from(own().ipv6.unwrap()));
            (header.hop_limit(), tcp.calc_checksum_ipv6(header.source(), header.destination()))
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(hop_limit, 64);
    let Some(TransportSlice::Tcp(tcp)) = inner.transport else { unreachable!() };
    assert_eq!(tcp.checksum(), checksum.unwrap());
    assert!(tcp.syn() && !tcp.ack());
    assert_eq!(tcp.destination_port(), 80);
}

fn payload_behind_ethernet(frame: &[u8], ethertype: u16) -> &[u8] {
    assert_eq!(frame[..6], NEXT_HOP);
    assert_eq!(frame[6..12], OWN_MAC);
    assert_eq!(frame[12..14], ethertype.to_be_bytes());
    &frame[14..]
}

#[test]
fn on_the_same_segment_the_backend_gets_the_packet_itself() {
    let frame = delivered(peer(4), &Delivery::l2(egress(), 1_500));
    assert_is_the_probe(payload_behind_ethernet(&frame, 0x0800));
    let v6 = Peer { vip: "2001:db8:ffff::10".parse().unwrap(), ..peer(4) };
    let frame = delivered(v6, &Delivery::l2(egress(), 1_500));
    assert_is_the_probe(payload_behind_ethernet(&frame, 0x86dd));
}

#[test]
fn through_ipip_the_backend_gets_it_behind_an_outer_header() {
    let v6 = Peer { vip: "2001:db8:ffff::10".parse().unwrap(), ..peer(4) };
    for (peer, inner_protocol) in [(peer(4), IpNumber::IPV4), (v6, IpNumber::IPV6)] {
        let frame = delivered(peer, &tunnel(DeliveryMode::Ipip));
        let packet = payload_behind_ethernet(&frame, 0x0800);
        let (outer, inner) = etherparse::Ipv4Header::from_slice(packet).unwrap();
        assert_eq!((outer.source, outer.destination), ([192, 0, 2, 1], [198, 51, 100, 7]));
        assert_eq!(outer.protocol, inner_protocol);
        assert_is_the_probe(inner);
    }
}

#[test]
fn through_gue_the_backend_gets_it_behind_udp() {
    let frame = delivered(peer(4), &tunnel(DeliveryMode::Gue { dst_port: GUE_PORT }));
    let packet = payload_behind_ethernet(&frame, 0x0800);
    let outer = SlicedPacket::from_ip(packet).unwrap();
    let Some(TransportSlice::Udp(udp)) = outer.transport else { panic!("{outer:?}") };
    assert_eq!(udp.destination_port(), GUE_PORT);
    // Variant 0, no options; the inner packet is IPv4.
    let (gue, inner) = udp.payload().split_at(4);
    assert_eq!(gue, [0, 4, 0, 0]);
    assert_is_the_probe(inner);
}

#[test]
fn the_longest_packet_fits_every_outer_header_on_an_ethernet() {
    let longest = usize::from(Limits::default().mtu);
    assert!(longest <= tunnel(DeliveryMode::Gue { dst_port: GUE_PORT }).inner_mtu());
    assert!(longest <= tunnel(DeliveryMode::Gre).inner_mtu());
    let v6 = DeliveryMode::Gue { dst_port: GUE_PORT }.overhead(false);
    assert!(longest <= 1_500 - v6);
}
