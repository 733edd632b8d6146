//! A table of packets: a claim, the packet in, what becomes of it, and the packet out, read by etherparse.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::net::IpAddr;

use etherparse::{Icmpv4Type, Icmpv6Type, NetSlice, SlicedPacket, TransportSlice, icmpv4, icmpv6, ip_number};
use guideway_dataplane::address::Address;
use guideway_dataplane::delivery::{Delivery, DeliveryMode, Tunnel};
use guideway_dataplane::egress::Egress;
use guideway_dataplane::frame::{Frame, HEADROOM};
use guideway_dataplane::pipeline::{Decision, Tracking};
use guideway_dataplane::verdict::{DropReason, PassReason, Verdict};
use guideway_dataplane::wire::ethernet::MacAddress;
use pcap_fixtures::packet::{Packet, tcp};

use crate::appliance::{
    Appliance, BACKEND_V4, BACKEND_V6, Behind, ICMP_ERRORS_PER_SEC, Memory, NEXT_HOP, OWN_V4, OWN_V6,
};

use Behind::{Gre4, Gre6, Gue4, Gue6, Ipip4, Ipip6, L2, Nobody, RegionOnly, Spread};
use Out::{Answered, Delivered, Untouched};

/// State of a packet when the pipeline is done with it.
#[derive(Clone, Copy, Debug)]
enum Out {
    /// Unchanged.
    Untouched,
    /// On its way to the backend, with one less TTL.
    Delivered(Behind),
    /// An ICMP error back to the client, which names this MTU.
    Answered(u32),
}

type Row = (&'static str, Packet, Verdict, Out);

const CLIENT_V4: &str = "192.0.2.77";
const CLIENT_V6: &str = "2001:db8:c::7";

fn v4(behind: Behind) -> Packet {
    Packet::between(CLIENT_V4, &behind.vip(true))
}

fn v6(behind: Behind) -> Packet {
    Packet::between(CLIENT_V6, &behind.vip(false))
}

fn forward(claim: &'static str, packet: Packet, behind: Behind) -> Row {
    (claim, packet, Verdict::Forward, Delivered(behind))
}

fn dropped(claim: &'static str, packet: Packet, reason: DropReason) -> Row {
    (claim, packet, Verdict::Drop(reason), Untouched)
}

fn too_big(claim: &'static str, packet: Packet, mtu: u32) -> Row {
    (claim, packet, Verdict::Drop(DropReason::PacketTooBig), Answered(mtu))
}

fn passed(claim: &'static str, packet: Packet, reason: PassReason) -> Row {
    (claim, packet, Verdict::Pass(reason), Untouched)
}

#[rustfmt::skip]
fn rows() -> Vec<Row> {
    let (syn, ack) = (tcp::SYN, tcp::ACK);
    let loopback = |behind: Behind| Packet::between("127.0.0.1", &behind.vip(true));
    let stranger = Packet::between("198.51.100.9", &RegionOnly.vip(true));
    let host = Packet::between(CLIENT_V4, "203.0.113.200");
    vec![
        forward("l2 changes addresses of the frame and the TTL", v4(L2).tcp(1025, 80, syn).payload_len(9), L2),
        forward("l2 keeps tags", v4(L2).service_vlan(7).vlan(100).udp(1025, 80), L2),
        forward("l2 keeps padding, which a short frame needs", v4(L2).tcp(1025, 80, ack).trailer(&[0; 6]), L2),
        forward("l2 keeps options", v4(L2).options(&[7, 7, 4, 0, 0, 0, 0]).udp(1025, 80), L2),
        forward("l2 of IPv6", v6(L2).tcp(1025, 80, syn), L2),
        forward("l2 keeps extension headers", v6(L2).hop_by_hop(&[5, 2, 0, 0]).routing(&[0; 6]).udp(1025, 80), L2),
        forward("a TTL of 2 leaves with 1", v4(L2).ttl(2).udp(1025, 80), L2),
        forward("a later fragment belongs to rules for all ports", v4(L2).protocol(17).fragment(1480, false), L2),
        forward("ipip of IPv4 in IPv4", v4(Ipip4).tcp(1025, 80, syn).payload_len(33).dont_fragment(), Ipip4),
        forward("ipip of IPv6 in IPv4", v6(Ipip4).tcp(1025, 80, syn).tos(0xb9), Ipip4),
        forward("ipip of IPv4 in IPv6", v4(Ipip6).udp(1025, 80).tos(0x03), Ipip6),
        forward("ipip of IPv6 in IPv6", v6(Ipip6).udp(1025, 80).tos(0xfe), Ipip6),
        forward("ipip keeps tags before the outer header", v4(Ipip6).vlan(100).udp(1025, 80), Ipip6),
        forward("ipip takes no padding into the tunnel", v4(Ipip4).tcp(1025, 80, ack).trailer(&[9; 6]), Ipip4),
        forward("gre of IPv4 in IPv4", v4(Gre4).esp(0xabcd).payload_len(40), Gre4),
        forward("gre of IPv6 in IPv4", v6(Gre4).tcp(1025, 80, ack), Gre4),
        forward("gre of IPv4 in IPv6", v4(Gre6).sctp(1025, 80, 5), Gre6),
        forward("gre of IPv6 in IPv6", v6(Gre6).destination_options(&[1, 4]).udp(1025, 80), Gre6),
        forward("gue of IPv4 in IPv4", v4(Gue4).tcp(1025, 80, syn).tos(0x2e), Gue4),
        forward("gue of IPv6 in IPv4", v6(Gue4).udp(1025, 80), Gue4),
        forward("gue of IPv4 in IPv6 has a checksum", v4(Gue6).udp(1025, 80).payload_len(7), Gue6),
        forward("gue of IPv6 in IPv6 has a checksum", v6(Gue6).tcp(1025, 80, ack).payload_len(501), Gue6),
        forward("a source range spreads outer addresses", v4(Spread).udp(1025, 80), Spread),
        forward("a packet that fills the path exactly", v4(Ipip4).udp(1, 2).payload_len(1452).dont_fragment(), Ipip4),
        forward("by l2, one more byte than the path takes goes its way without DF", v4(L2).udp(1, 2)
            .payload_len(1473), L2),
        forward("an ICMP error goes where the packet goes that it quotes", v4(L2).packet_too_big(
            1400, &Packet::between(&L2.vip(true), CLIENT_V4).tcp(80, 1025, ack), 28), L2),
        forward("an ICMP error without a usable quote is a packet like any", v4(L2).icmp(3, 4, 1400), L2),
        forward("ping", v6(L2).echo_request(7, 1), L2),

        too_big("IPv4 with DF is answered", v4(Ipip4).udp(1, 2).payload_len(1453).dont_fragment(), 1480),
        too_big("the answer keeps tags", v4(Gre4).vlan(100).udp(1, 2).payload_len(1472).dont_fragment(), 1476),
        too_big("IPv6 is answered", v6(Gue6).tcp(1025, 80, ack).payload_len(1440), 1448),
        too_big("IPv6 in IPv4 is answered", v6(Gre4).udp(1025, 80).payload_len(1429), 1476),
        dropped("an ICMP error that is too big is not answered", v4(Ipip4).dont_fragment().icmp(3, 1, 0)
            .payload_len(1460), DropReason::PacketTooBig),

        dropped("one more byte than the tunnel takes, without DF", v4(Ipip4).udp(1, 2).payload_len(1453),
            DropReason::ExceedsTunnelMtu),
        dropped("a full-sized fragment", v4(Gue6).protocol(17).fragment(1480, true).payload_len(1480),
            DropReason::ExceedsTunnelMtu),

        passed("ARP", host.clone().patch(12, &[0x08, 0x06]), PassReason::NotIp),
        passed("a third tag", v4(L2).vlan(1).vlan(2).vlan(3), PassReason::NotIp),
        passed("an address of nobody here", host.udp(1025, 80), PassReason::NoForwardingRule),
        passed("a neighbour's question for a VIP", v6(L2).icmp(135, 0, 0).payload_len(16).ttl(255),
            PassReason::NeighborDiscovery),
        passed("a client outside of the region", stranger.udp(1025, 80), PassReason::OutsideRegion),

        dropped("an IP version at odds with the frame", v4(L2).patch(14, &[0x65]), DropReason::MalformedIpv4),
        dropped("an IPv4 total length beyond the frame", v4(L2).patch(14 + 2, &[0xff]), DropReason::Truncated),
        dropped("an IPv6 payload beyond the frame", v6(L2).patch(14 + 4, &[0xff]), DropReason::Truncated),
        dropped("an IPv6 version at odds with the frame", v6(L2).patch(14, &[0x45]), DropReason::MalformedIpv6),
        dropped("a TCP header longer than its segment", v4(L2).tcp(1025, 80, syn).patch(14 + 32, &[0xf0]),
            DropReason::MalformedTcp),
        dropped("a UDP length beyond the packet", v4(L2).udp(1025, 80).patch(14 + 24, &[0, 9]),
            DropReason::MalformedUdp),
        dropped("ICMP without its header", v4(L2).protocol(1).payload_len(7), DropReason::MalformedIcmp),
        dropped("a loopback source", loopback(L2).udp(1025, 80), DropReason::MartianSource),
        dropped("an IPv4-mapped source", Packet::between("::ffff:192.0.2.77", &L2.vip(false)).udp(1025, 80),
            DropReason::MartianSource),
        dropped("an own source", Packet::between(OWN_V4, &L2.vip(true)).udp(1025, 80), DropReason::OwnSource),
        dropped("an own source of IPv6", Packet::between(OWN_V6, &Gue6.vip(false)).tcp(1025, 80, ack),
            DropReason::OwnSource),
        dropped("a broadcast frame", v4(L2).macs([2, 0, 0, 0, 0, 1], [0xff; 6]).udp(1025, 80),
            DropReason::LinkLayerGroup),
        dropped("a TTL of 1", v4(L2).ttl(1).udp(1025, 80), DropReason::TtlExpired),
        dropped("a hop limit of 0", v6(Gue6).ttl(0).udp(1025, 80), DropReason::TtlExpired),
        dropped("nobody is eligible", v4(Nobody).udp(1025, 80), DropReason::NoEligibleBackend),
    ]
}

/// Decides one frame in a second of its own.
fn process(appliance: &mut Appliance, frame: &[u8], headroom: usize) -> (Decision, Vec<u8>) {
    let mut frames = [Memory::new(frame, headroom)];
    let mut decisions = [Decision::PENDING];
    let now = appliance.pipeline.counters().offered as u32;
    appliance.process(&mut frames, &mut decisions, now);
    let counters = appliance.pipeline.counters();
    let ended = counters.forwarded + counters.passed_total() + counters.dropped_total();
    assert_eq!((counters.offered, ended), (u64::from(now) + 1, u64::from(now) + 1), "counted exactly once");
    (decisions[0], frames[0].bytes().to_vec())
}

/// Reasons that have a test of their own, outside the table.
const BY_THEMSELVES: [DropReason; 6] = [
    DropReason::NoHeadroom,
    DropReason::MalformedEthernet,
    DropReason::NextHopUnresolved,
    DropReason::NoNetwork,
    DropReason::AccessDenied,
    DropReason::SourceRateLimited,
];

#[test]
fn every_packet_of_the_table_ends_as_it_says() {
    let mut appliance = Appliance::new();
    let mut seen = BTreeSet::from(BY_THEMSELVES.map(DropReason::as_str));
    for (claim, packet, verdict, out) in rows() {
        let frame = packet.build();
        let (decision, bytes) = process(&mut appliance, &frame, HEADROOM);
        assert_eq!(decision.verdict, verdict, "{claim}");
        assert_eq!(decision.answered, matches!(out, Answered(_)), "{claim}");
        match out {
            Untouched => assert_eq!(bytes, frame, "{claim}"),
            Delivered(behind) => expect_delivery(claim, &packet, behind, &bytes),
            Answered(mtu) => expect_answer(claim, &packet, mtu, &bytes),
        }
        match verdict {
            Verdict::Forward => {}
            Verdict::Pass(reason) => _ = seen.insert(reason.as_str()),
            Verdict::Drop(reason) => _ = seen.insert(reason.as_str()),
        }
    }
    let all = DropReason::ALL.iter().map(|reason| reason.as_str());
    let all: BTreeSet<&str> = all.chain(PassReason::ALL.iter().map(|reason| reason.as_str())).collect();
    assert_eq!(seen, all, "every reason, with those of the tests below");
}

#[test]
fn a_packet_whose_next_hop_is_unknown_is_dropped_untouched() {
    let way = Egress { next_hop: None, ..Egress::to(MacAddress::default()) };
    let tunnel = Tunnel {
        endpoint: Address::v4([10, 1, 0, 7]),
        source: Address::v4([192, 0, 2, 1]),
        source_range: None,
    };
    for delivery in [Delivery::l2(way, 1500), Delivery::tunnel(DeliveryMode::Ipip, &tunnel, way, 1500)] {
        let bytes = v4(L2).udp(1025, 80).build();
        let packet = guideway_dataplane::packet::Packet::parse(&bytes).expect("a whole packet");
        let mut frame = Memory::new(&bytes, HEADROOM);
        let delivered = delivery.deliver(&mut frame, &packet, &packet.flow);
        assert_eq!(delivered, Err(DropReason::NextHopUnresolved));
        assert_eq!(frame.bytes(), bytes);
    }
}

#[test]
fn a_tunnel_without_headroom_leaves_the_packet_alone() {
    let mut appliance = Appliance::new();
    for packet in [v4(Gue6).udp(1025, 80), v4(Gue6).udp(1025, 80).trailer(&[0; 18])] {
        let frame = packet.build();
        let (decision, bytes) = process(&mut appliance, &frame, 51);
        assert_eq!(decision.verdict, Verdict::Drop(DropReason::NoHeadroom));
        assert_eq!(bytes, frame);
        assert_eq!(process(&mut appliance, &frame, 52).0.verdict, Verdict::Forward);
    }
}

#[test]
fn an_icmp_error_takes_its_connections_path_through_the_tunnel() {
    let mut appliance = Appliance::new();
    let mut outer_src_port = |packet: Packet| {
        let (decision, bytes) = process(&mut appliance, &packet.build(), HEADROOM);
        assert_eq!(decision.verdict, Verdict::Forward);
        bytes[34..36].to_vec()
    };
    let reply = Packet::between(&Gue4.vip(true), CLIENT_V4).tcp(80, 1025, tcp::ACK);
    let router = Packet::between("198.51.100.254", &Gue4.vip(true));
    let connection = outer_src_port(v4(Gue4).tcp(1025, 80, tcp::ACK));
    assert_eq!(outer_src_port(router.packet_too_big(1400, &reply, 28)), connection);
    assert_ne!(outer_src_port(v4(Gue4).tcp(1026, 80, tcp::ACK)), connection);
}

/// A frame that counts how often its bytes are asked for.
struct Counted {
    memory: Memory,
    reads: Cell<usize>,
}

impl Frame for Counted {
    fn bytes(&self) -> &[u8] {
        self.reads.set(self.reads.get() + 1);
        self.memory.bytes()
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self.memory.bytes_mut()
    }

    fn prepend(&mut self, count: usize) -> bool {
        self.memory.prepend(count)
    }

    fn truncate(&mut self, len: usize) {
        self.memory.truncate(len);
    }
}

#[test]
fn an_icmp_errors_quote_is_read_with_its_headers_and_not_again() {
    let mut appliance = Appliance::new();
    let mut reads = |packet: Packet| {
        let memory = Memory::new(&packet.build(), HEADROOM);
        let mut frames = [Counted { memory, reads: Cell::new(0) }];
        let mut decisions = [Decision::PENDING];
        appliance.process(&mut frames, &mut decisions, 5);
        assert_eq!(decisions[0].verdict, Verdict::Forward);
        frames[0].reads.get()
    };
    let reply = Packet::between(&L2.vip(true), CLIENT_V4).tcp(80, 1025, tcp::ACK);
    assert_eq!(reads(v4(L2).packet_too_big(1400, &reply, 28)), reads(v4(L2).echo_request(7, 1)));
}

#[test]
fn a_frame_that_ends_in_its_own_header_is_malformed() {
    let mut appliance = Appliance::new();
    for frame in [&[2; 13][..], &[]] {
        let (decision, _) = process(&mut appliance, frame, HEADROOM);
        assert_eq!(decision.verdict, Verdict::Drop(DropReason::MalformedEthernet));
    }
}

#[test]
fn a_frame_cut_anywhere_is_untouched_unless_it_is_forwarded() {
    let mut appliance = Appliance::new();
    for (claim, packet, ..) in rows() {
        let frame = packet.build();
        for len in 0..frame.len().min(120) {
            let (decision, bytes) = process(&mut appliance, &frame[..len], HEADROOM);
            let is_changed = decision.verdict == Verdict::Forward || decision.answered;
            assert!(is_changed || bytes == frame[..len], "{claim}, cut to {len}");
        }
    }
}

#[test]
fn the_first_packet_makes_an_entry_that_the_second_of_the_burst_hits() {
    let mut appliance = Appliance::new();
    let packet = |flags| Memory::new(&v4(L2).tcp(1025, 80, flags).build(), HEADROOM);
    let mut frames = [packet(tcp::SYN), packet(tcp::ACK), packet(tcp::SYN)];
    let mut decisions = [Decision::PENDING; 3];
    appliance.process(&mut frames, &mut decisions, 5);
    assert_eq!(decisions.map(|decision| decision.tracking), [Tracking::New, Tracking::Hit, Tracking::New]);
}

#[test]
fn a_second_has_room_for_so_many_answers() {
    let mut appliance = Appliance::new();
    let frame = v6(Ipip6).udp(1025, 80).payload_len(1453).build();
    let mut answered = |now| {
        let mut frames: Vec<Memory> = (0..8).map(|_| Memory::new(&frame, HEADROOM)).collect();
        let mut decisions = [Decision::PENDING; 8];
        appliance.process(&mut frames, &mut decisions, now);
        decisions.iter().filter(|decision| decision.answered).count()
    };
    assert_eq!(answered(5), ICMP_ERRORS_PER_SEC as usize);
    assert_eq!(answered(5), 0);
    assert_eq!(answered(6), ICMP_ERRORS_PER_SEC as usize);
}

/// The frame that the backend gets: what was in, byte for byte but for the TTL, behind what its delivery puts before.
fn expect_delivery(claim: &str, packet: &Packet, behind: Behind, bytes: &[u8]) {
    let received = packet.build();
    let is_ipv4 =
        SlicedPacket::from_ethernet(&received).expect("what is forwarded").net.expect("IP").is_ipv4();
    let ttl = if is_ipv4 { received[l3_offset(&received) + 8] } else { received[l3_offset(&received) + 7] };
    // The builder makes the checksum anew, so it tells whether ours is still right.
    let own: [u8; 6] = received[..6].try_into().expect("six bytes");
    let expected = packet.clone().ttl(ttl - 1).macs(own, NEXT_HOP).build();
    if behind == L2 {
        assert_eq!(bytes, expected, "{claim}");
        return;
    }
    let start = l3_offset(&expected);
    // Addresses and tags are the received ones, the EtherType is that of the outer header.
    assert_eq!(bytes[..start - 2], expected[..start - 2], "{claim}");
    let l3_len = match SlicedPacket::from_ethernet(&expected).expect("what is forwarded").net {
        Some(NetSlice::Ipv4(ip)) => usize::from(ip.header().total_len()),
        Some(NetSlice::Ipv6(ip)) => 40 + usize::from(ip.header().payload_length()),
        _ => unreachable!("{claim}: only IP is forwarded"),
    };
    let inner = &expected[start..start + l3_len];
    let tunnelled = expect_outer(claim, behind, is_ipv4, inner, bytes);
    assert_eq!(tunnelled, inner, "{claim}");
}

/// Reads an outer header and returns what is behind it.
fn expect_outer<'b>(claim: &str, behind: Behind, is_ipv4: bool, inner: &[u8], bytes: &'b [u8]) -> &'b [u8] {
    let outer = SlicedPacket::from_ethernet(bytes).unwrap_or_else(|error| panic!("{claim}: {error}"));
    let traffic_class = if is_ipv4 { inner[1] } else { inner[0] << 4 | inner[1] >> 4 };
    let inner_protocol = if is_ipv4 { ip_number::IPV4 } else { ip_number::IPV6 };
    let protocol = match behind {
        Ipip4 | Ipip6 => inner_protocol,
        Gre4 | Gre6 => ip_number::GRE,
        _ => ip_number::UDP,
    };
    let payload = match outer.net.as_ref().expect("an outer header") {
        NetSlice::Ipv4(ip) => {
            let header = ip.header().to_header();
            assert_eq!(IpAddr::from(header.destination), ip_address(BACKEND_V4), "{claim}");
            if behind == Spread {
                assert_eq!(header.source[..2], [10, 64], "{claim}");
                assert_ne!(header.source[2..], [0, 0], "{claim}");
            } else {
                assert_eq!(IpAddr::from(header.source), ip_address(OWN_V4), "{claim}");
            }
            assert_eq!((header.protocol, header.time_to_live), (protocol, 64), "{claim}");
            assert_eq!(header.dscp.value() << 2 | header.ecn.value(), traffic_class, "{claim}");
            assert_eq!(header.header_checksum, header.calc_header_checksum(), "{claim}");
            assert_eq!(header.dont_fragment, !is_ipv4 || inner[6] & 0x40 != 0, "{claim}");
            ip.payload().payload
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header().to_header();
            assert_eq!(IpAddr::from(header.destination), ip_address(BACKEND_V6), "{claim}");
            assert_eq!(IpAddr::from(header.source), ip_address(OWN_V6), "{claim}");
            assert_eq!((header.next_header, header.hop_limit), (protocol, 64), "{claim}");
            assert_eq!(header.traffic_class, traffic_class, "{claim}");
            assert_ne!(header.flow_label.value(), 0, "{claim}: a flow's label");
            ip.payload().payload
        }
        NetSlice::Arp(_) => unreachable!("{claim}: a tunnel of ARP"),
    };
    match behind {
        Gre4 | Gre6 => {
            assert_eq!(
                payload[..4],
                if is_ipv4 { [0, 0, 0x08, 0x00] } else { [0, 0, 0x86, 0xdd] },
                "{claim}"
            );
            &payload[4..]
        }
        Gue4 | Gue6 | Spread => {
            let Some(TransportSlice::Udp(udp)) = outer.transport else { panic!("{claim}: no UDP") };
            assert_eq!(udp.destination_port(), 6080, "{claim}");
            assert!(udp.source_port() >= 49_152, "{claim}: a dynamic port");
            assert_eq!(usize::from(udp.length()), payload.len(), "{claim}");
            match outer.net {
                Some(NetSlice::Ipv6(ip)) => {
                    let header = ip.header().to_header();
                    let sum = udp.to_header().calc_checksum_ipv6(&header, udp.payload());
                    assert_eq!(Ok(udp.checksum()), sum, "{claim}");
                }
                _ => assert_eq!(udp.checksum(), 0, "{claim}"),
            }
            assert_eq!(udp.payload()[..4], [0, inner_protocol.0, 0, 0], "{claim}: GUE variant 0");
            &udp.payload()[4..]
        }
        _ => payload,
    }
}

/// The error that the client gets: from the appliance, about the packet as it came.
fn expect_answer(claim: &str, packet: &Packet, mtu: u32, bytes: &[u8]) {
    let received = packet.build();
    let start = l3_offset(&received);
    assert_eq!(
        (&bytes[..6], &bytes[6..12]),
        (&received[6..12], &received[..6]),
        "{claim}: back where it came from"
    );
    assert_eq!(bytes[12..start], received[12..start], "{claim}: tags and EtherType");
    let answer = SlicedPacket::from_ethernet(bytes).unwrap_or_else(|error| panic!("{claim}: {error}"));
    let quote = match (answer.net, answer.transport) {
        (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Icmpv4(icmp))) => {
            let header = ip.header().to_header();
            assert_eq!(IpAddr::from(header.source), ip_address(OWN_V4), "{claim}");
            assert_eq!(IpAddr::from(header.destination), ip_address(CLIENT_V4), "{claim}");
            assert_eq!(header.header_checksum, header.calc_header_checksum(), "{claim}");
            let next_hop_mtu = mtu as u16;
            let needed = icmpv4::DestUnreachableHeader::FragmentationNeeded { next_hop_mtu };
            assert_eq!(icmp.icmp_type(), Icmpv4Type::DestinationUnreachable(needed), "{claim}");
            assert_eq!(icmp.checksum(), icmp.icmp_type().calc_checksum(icmp.payload()), "{claim}");
            assert!(usize::from(header.total_len) <= 576, "{claim}");
            icmp.payload().to_vec()
        }
        (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Icmpv6(icmp))) => {
            let header = ip.header().to_header();
            assert_eq!(IpAddr::from(header.source), ip_address(OWN_V6), "{claim}");
            assert_eq!(IpAddr::from(header.destination), ip_address(CLIENT_V6), "{claim}");
            assert_eq!(icmp.icmp_type(), Icmpv6Type::PacketTooBig { mtu }, "{claim}");
            assert_eq!(icmp.code_u8(), icmpv6::CODE_DST_UNREACH_NO_ROUTE, "{claim}: code 0");
            assert!(icmp.is_checksum_valid(header.source, header.destination), "{claim}");
            assert!(bytes.len() - start <= 1280, "{claim}");
            icmp.payload().to_vec()
        }
        other => panic!("{claim}: {other:?}"),
    };
    // RFC 1812, 4.3.2.3: the TTL of the quoted packet may be the one that it came with.
    assert!(quote.len() >= 28 && received[start..].starts_with(&quote), "{claim}: the packet as it came");
}

fn l3_offset(frame: &[u8]) -> usize {
    let tags = SlicedPacket::from_ethernet(frame).expect("a frame").link_exts.len();
    14 + 4 * tags
}

fn ip_address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}
