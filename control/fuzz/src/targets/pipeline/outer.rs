//! Frames that the pipeline sends, read by etherparse: outer headers of tunnels, and ICMP errors.

use etherparse::{LinkSlice, NetSlice, SlicedPacket, TransportSlice};

/// Protocols of tunnels: IPv4 and IPv6 in IP, GRE, UDP.
const TUNNELS: [u8; 4] = [4, 41, 47, 17];

/// Number of the host that a frame goes to: the last byte of the backend's address, in the outer header of a tunnel, or in the
/// MAC address that stands in for it.
pub(super) fn host(frame: &[u8], is_tunnel: bool) -> u8 {
    let sliced = SlicedPacket::from_ethernet(frame);
    if !is_tunnel {
        return frame[5];
    }
    match sliced.expect("an outer header that is well-formed").net {
        Some(NetSlice::Ipv4(ip)) => ip.header().destination()[3],
        Some(NetSlice::Ipv6(ip)) => ip.header().destination()[15],
        _ => panic!("a tunnel has an outer IP header"),
    }
}

/// Packet in a tunnel, whose header ends `shim_len` bytes behind the outer IP header; asserts that the headers are right.
pub(super) fn inner(frame: &[u8], shim_len: usize, traffic_class: u8) -> &[u8] {
    let sliced = SlicedPacket::from_ethernet(frame).expect("an outer header that is well-formed");
    assert!(matches!(sliced.link, Some(LinkSlice::Ethernet2(_))));
    let payload = match sliced.net.expect("an outer IP header") {
        NetSlice::Ipv4(ip) => {
            let header = ip.header();
            assert_eq!((header.ttl(), header.source()), (64, [192, 0, 2, 1]));
            assert_eq!(header.slice()[1], traffic_class);
            assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum());
            assert!(TUNNELS.contains(&header.protocol().0) && header.options().is_empty());
            ip.payload().payload
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header();
            assert_eq!(header.hop_limit(), 64);
            assert_eq!(header.source(), [0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
            assert_eq!(header.traffic_class(), traffic_class);
            assert!(TUNNELS.contains(&header.next_header().0));
            if let Some(TransportSlice::Udp(udp)) = &sliced.transport {
                let sum = udp.to_header().calc_checksum_ipv6(&header.to_header(), udp.payload());
                assert_eq!(Ok(udp.checksum()), sum);
            }
            ip.payload().payload
        }
        NetSlice::Arp(_) => panic!("a tunnel is no ARP"),
    };
    if let Some(TransportSlice::Udp(udp)) = &sliced.transport {
        assert_eq!(usize::from(udp.length()), payload.len(), "the length of the whole payload");
    }
    let end = payload.as_ptr_range().end;
    assert_eq!(end, frame.as_ptr_range().end, "no padding");
    &payload[shim_len..]
}

/// Asserts that a frame is an ICMP error with right checksums.
pub(super) fn inspect_answer(frame: &[u8]) {
    let sliced = SlicedPacket::from_ethernet(frame).expect("an answer that is well-formed");
    match (sliced.net, sliced.transport) {
        (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Icmpv4(icmp))) => {
            let header = ip.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            assert_eq!(icmp.checksum(), icmp.icmp_type().calc_checksum(icmp.payload()));
        }
        (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Icmpv6(icmp))) => {
            let header = ip.header().to_header();
            assert!(icmp.is_checksum_valid(header.source, header.destination));
        }
        (net, transport) => panic!("an answer is an ICMP error, and not {net:?} with {transport:?}"),
    }
}
