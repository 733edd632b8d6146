//! Every kind of packet, as etherparse reads it.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use etherparse::{
    Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type, IpNumber, LinkExtHeader, LinkHeader, NetHeaders,
    PacketHeaders, SlicedPacket, TransportHeader, defrag::IpDefragPool,
};
use pcap_fixtures::packet::{Packet, tcp};

fn v4() -> Packet {
    Packet::between("198.51.100.7", "203.0.113.10")
}

fn v6() -> Packet {
    Packet::between("2001:db8::7", "2001:db8:1::10")
}

/// The frame's headers, after its checksums have been computed anew and compared.
fn parse(frame: &[u8]) -> PacketHeaders<'_> {
    let headers = PacketHeaders::from_ethernet_slice(frame).unwrap();
    let payload = headers.payload.slice();
    if let Some(NetHeaders::Ipv4(ip, _)) = &headers.net {
        assert_eq!(ip.header_checksum, ip.calc_header_checksum());
    }
    let (stated, computed) = match (&headers.net, &headers.transport) {
        (Some(NetHeaders::Ipv4(ip, _)), Some(TransportHeader::Tcp(tcp))) => {
            (tcp.checksum, tcp.calc_checksum_ipv4(ip, payload).unwrap())
        }
        (Some(NetHeaders::Ipv6(ip, _)), Some(TransportHeader::Tcp(tcp))) => {
            (tcp.checksum, tcp.calc_checksum_ipv6(ip, payload).unwrap())
        }
        (Some(NetHeaders::Ipv4(ip, _)), Some(TransportHeader::Udp(udp))) if udp.checksum != 0 => {
            (udp.checksum, udp.calc_checksum_ipv4(ip, payload).unwrap())
        }
        (Some(NetHeaders::Ipv6(ip, _)), Some(TransportHeader::Udp(udp))) if udp.checksum != 0 => {
            (udp.checksum, udp.calc_checksum_ipv6(ip, payload).unwrap())
        }
        (_, Some(TransportHeader::Icmpv4(icmp))) => {
            (icmp.checksum, Icmpv4Header::with_checksum(icmp.icmp_type.clone(), payload).checksum)
        }
        (Some(NetHeaders::Ipv6(ip, _)), Some(TransportHeader::Icmpv6(icmp))) => {
            let computed =
                Icmpv6Header::with_checksum(icmp.icmp_type, ip.source, ip.destination, payload).unwrap();
            (icmp.checksum, computed.checksum)
        }
        _ => (0, 0),
    };
    assert_eq!(stated, computed, "the transport's checksum");
    headers
}

#[test]
fn a_tcp_segment_has_the_fields_that_were_said() {
    for packet in [v4(), v6()] {
        let frame = packet
            .tcp(40_000, 443, tcp::SYN | tcp::ACK | tcp::PSH | tcp::FIN | tcp::RST)
            .seq(7)
            .ack(9)
            .payload(b"odd")
            .build();
        let headers = parse(&frame);
        let Some(TransportHeader::Tcp(tcp)) = headers.transport else { panic!("no TCP") };
        assert_eq!((tcp.source_port, tcp.destination_port), (40_000, 443));
        assert_eq!((tcp.sequence_number, tcp.acknowledgment_number), (7, 9));
        assert!(tcp.syn && tcp.ack && tcp.psh && tcp.fin && tcp.rst && !tcp.urg && !tcp.ece);
        assert_eq!(headers.payload.slice(), b"odd");
    }
}

#[test]
fn a_udp_datagram_has_its_length_and_a_checksum_unless_told_otherwise() {
    for packet in [v4(), v6()] {
        let frame = packet.udp(53, 5353).payload_len(99).build();
        let headers = parse(&frame);
        let Some(TransportHeader::Udp(udp)) = headers.transport else { panic!("no UDP") };
        assert_eq!((udp.source_port, udp.destination_port, udp.length), (53, 5353, 107));
        assert_ne!(udp.checksum, 0);
    }
    let frame = v4().udp_without_checksum(1, 2).build();
    let Some(TransportHeader::Udp(udp)) = parse(&frame).transport else { panic!("no UDP") };
    assert_eq!(udp.checksum, 0);
}

#[test]
fn a_udp_checksum_that_comes_to_zero_is_sent_as_ones() {
    // One 16-bit word of payload takes the sum through every value.
    let zero = (0..=u16::MAX).find_map(|word| {
        let frame = v4().udp(1, 2).payload(&word.to_be_bytes()).build();
        (frame[40..42] == [0xff, 0xff]).then_some(frame)
    });
    parse(&zero.expect("a sum of zero"));
    assert!((0..=u16::MAX).all(|word| v4().udp(1, 2).payload(&word.to_be_bytes()).build()[40..42] != [0, 0]));
}

#[test]
fn the_link_layer_is_as_said() {
    let frame = v4().macs([1; 6], [2; 6]).service_vlan(100).vlan(0x6000 | 42).tcp(1, 2, tcp::SYN).build();
    let headers = parse(&frame);
    let Some(LinkHeader::Ethernet2(link)) = headers.link else { panic!("no Ethernet") };
    assert_eq!((link.source, link.destination), ([1; 6], [2; 6]));
    assert_eq!(link.ether_type.0, 0x88a8);
    let tags: Vec<(u16, u8, u16)> = headers
        .link_exts
        .iter()
        .map(|tag| match tag {
            LinkExtHeader::Vlan(vlan) => (vlan.vlan_id.value(), vlan.pcp.value(), vlan.ether_type.0),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(tags, [(100, 0, 0x8100), (42, 3, 0x0800)]);
    let padded = v4().udp(1, 2).trailer(&[0; 18]).build();
    assert_eq!(padded.len(), 60);
    assert!(parse(&padded).payload.slice().is_empty());
}

#[test]
fn the_ipv4_header_is_as_said() {
    let packet = v4().ttl(3).tos(0xb9).identification(0x1234).dont_fragment().options(&[148, 4, 0, 0, 1]);
    let frame = packet.tcp(1, 2, tcp::SYN).payload_len(5).build();
    let Some(NetHeaders::Ipv4(ip, _)) = parse(&frame).net else { panic!("no IPv4") };
    assert_eq!((ip.source, ip.destination), ([198, 51, 100, 7], [203, 0, 113, 10]));
    assert_eq!((ip.time_to_live, ip.dscp.value(), ip.ecn.value(), ip.identification), (3, 0x2e, 1, 0x1234));
    assert!(ip.dont_fragment && !ip.more_fragments);
    assert_eq!(&ip.options[..], [148, 4, 0, 0, 1, 0, 0, 0]);
    assert_eq!(ip.total_len, 28 + 20 + 5);
}

#[test]
fn the_ipv6_header_and_its_extensions_are_as_said() {
    let packet = v6().ttl(3).tos(0xb9).flow_label(0xabcde);
    let frame = packet
        .hop_by_hop(&[5, 2, 0, 0])
        .destination_options(&[1, 8, 0, 0, 0, 0, 0, 0, 0, 0])
        .routing(&[0, 0, 0, 0, 0, 0])
        .tcp(1, 2, tcp::SYN)
        .build();
    let Some(NetHeaders::Ipv6(ip, extensions)) = parse(&frame).net else { panic!("no IPv6") };
    assert_eq!((ip.hop_limit, ip.traffic_class, ip.flow_label.value()), (3, 0xb9, 0xabcde));
    assert_eq!(ip.next_header, IpNumber(0));
    let hop_by_hop = extensions.hop_by_hop_options.expect("a hop-by-hop header");
    assert_eq!((hop_by_hop.next_header, hop_by_hop.payload()), (IpNumber(60), &[5, 2, 0, 0, 0, 0][..]));
    let options = extensions.destination_options.expect("a destination options header");
    assert_eq!((options.next_header, options.payload().len()), (IpNumber(43), 14));
    let routing = extensions.routing.expect("a routing header").routing;
    assert_eq!((routing.next_header, routing.payload()), (IpNumber(6), &[0; 6][..]));
}

#[test]
fn echoes_are_of_the_addresses_family() {
    let frames =
        [v4().echo_request(7, 9), v4().echo_reply(7, 9), v6().echo_request(7, 9), v6().echo_reply(7, 9)]
            .map(|packet| packet.payload(b"ping!").build());
    let [a, b, c, d] = frames.each_ref().map(|frame| parse(frame).transport);
    let Some(TransportHeader::Icmpv4(a)) = a else { panic!("no ICMP") };
    assert!(matches!(a.icmp_type, Icmpv4Type::EchoRequest(echo) if (echo.id, echo.seq) == (7, 9)));
    let Some(TransportHeader::Icmpv4(b)) = b else { panic!("no ICMP") };
    assert!(matches!(b.icmp_type, Icmpv4Type::EchoReply(echo) if (echo.id, echo.seq) == (7, 9)));
    let Some(TransportHeader::Icmpv6(c)) = c else { panic!("no ICMPv6") };
    assert!(matches!(c.icmp_type, Icmpv6Type::EchoRequest(echo) if (echo.id, echo.seq) == (7, 9)));
    let Some(TransportHeader::Icmpv6(d)) = d else { panic!("no ICMPv6") };
    assert!(matches!(d.icmp_type, Icmpv6Type::EchoReply(echo) if (echo.id, echo.seq) == (7, 9)));
}

#[test]
fn an_icmp_error_quotes_as_much_of_the_packet_as_was_said() {
    for (quoted, back) in [
        (v4().vlan(1), Packet::between("192.0.2.1", "198.51.100.7")),
        (v6().vlan(1), Packet::between("2001:db8:ff::1", "2001:db8::7")),
    ] {
        let quoted = quoted.tcp(40_000, 443, tcp::ACK).payload_len(1000);
        let ip_packet = &quoted.build()[18..];
        for quote_len in [28, 68, 100, 9000] {
            let frame = back.clone().packet_too_big(1400, &quoted, quote_len).build();
            let headers = parse(&frame);
            match headers.transport {
                Some(TransportHeader::Icmpv4(icmp)) => assert_eq!(icmp.to_bytes()[..2], [3, 4]),
                Some(TransportHeader::Icmpv6(icmp)) => {
                    assert!(matches!(icmp.icmp_type, Icmpv6Type::PacketTooBig { mtu: 1400 }));
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(headers.payload.slice(), &ip_packet[..quote_len.min(ip_packet.len())]);
        }
    }
}

#[test]
fn protocols_without_ports_carry_their_header_and_payload() {
    let built = |packet: Packet| packet.payload(b"data").build();
    for (packet, number, start) in [
        (v4().esp(0x0102_0304), 50, &[1, 2, 3, 4, 0, 0, 0, 1][..]),
        (v4().gre(0x0800), 47, &[0, 0, 8, 0]),
        (v4().protocol(89), 89, &[]),
        (v6().gre(0x86dd), 47, &[0, 0, 0x86, 0xdd]),
    ] {
        let frame = built(packet);
        let sliced = SlicedPacket::from_ethernet(&frame).unwrap();
        let payload = sliced.ip_payload().expect("an IP payload");
        assert_eq!((payload.ip_number.0, payload.payload), (number, &[start, b"data"].concat()[..]));
    }
    // A packet of RFC 9260's format whose checksum was computed with the crc32c of the Linux kernel's test vector
    // ("123456789" gives e3069283) is in the unit tests; here, its place and byte order.
    let frame = built(v4().sctp(1000, 2000, 0xdead_beef));
    assert_eq!(frame[34..42], [0x03, 0xe8, 0x07, 0xd0, 0xde, 0xad, 0xbe, 0xef]);
    assert_ne!(frame[42..46], [0; 4]);
}

#[test]
fn fragments_make_the_whole_packet_again() {
    for packet in [v4(), v6().hop_by_hop(&[1, 4, 0, 0, 0, 0])] {
        let packet = packet.identification(77).udp(1000, 2000).payload_len(3000);
        let frames: Vec<Vec<u8>> = packet.fragments(1480).iter().map(Packet::build).collect();
        assert_eq!(frames.len(), 3);
        let mut pool: IpDefragPool<(), ()> = IpDefragPool::new();
        let mut whole = None;
        for frame in &frames {
            assert!(whole.is_none(), "whole before the last fragment");
            let sliced = SlicedPacket::from_ethernet(frame).unwrap();
            assert!(sliced.is_ip_payload_fragmented());
            whole = pool.process_sliced_packet(&sliced, (), ()).unwrap();
        }
        let whole = whole.expect("the last fragment makes it whole");
        let unfragmented = packet.build();
        assert_eq!(&whole.payload[..], &unfragmented[unfragmented.len() - 3008..]);
    }
}

#[test]
fn a_single_fragment_stands_where_it_was_said() {
    let frame = v4().protocol(17).fragment(64, true).payload_len(16).build();
    let Some(NetHeaders::Ipv4(ip, _)) = parse(&frame).net else { panic!("no IPv4") };
    assert_eq!((ip.fragment_offset.value() * 8, ip.more_fragments), (64, true));
    let frame = v6().protocol(17).identification(0x1234_5678).fragment(64, false).payload_len(16).build();
    let Some(NetHeaders::Ipv6(_, extensions)) = parse(&frame).net else { panic!("no IPv6") };
    let fragment = extensions.fragment.expect("a fragment header");
    assert_eq!((fragment.fragment_offset.value() * 8, fragment.more_fragments), (64, false));
    assert_eq!(fragment.identification, 0x1234_5678);
}

#[test]
fn a_patch_has_the_last_word() {
    let frame = v4().udp(1, 2).patch(14, &[0x4f]).patch(24, &[0xde, 0xad]).build();
    assert_eq!((frame[14], &frame[24..26]), (0x4f, &[0xde, 0xad][..]));
}
