//! etherparse as an oracle: it and `Packet::parse` read the same frames, and agree but for differences that are meant.
//!
//! The frames are built from descriptions, chained together from IPv6 extension headers, and damaged: bits flipped,
//! ends cut off, parts of one frame put into another.

mod difference;
mod frames;

use std::net::IpAddr;

use difference::Difference;
use etherparse::{Ipv4Slice, Ipv6ExtensionSlice, Ipv6Slice, NetSlice, SlicedPacket, TransportSlice};
use guideway_dataplane::flow::Fragment;
use guideway_dataplane::packet::Packet;
use guideway_dataplane::verdict::{PassReason, Verdict};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

/// Reads `frame` twice. `Ok(None)` where the readings agree, the difference where it is one that is meant, and
/// `Err` with both readings where it is not.
fn judge(frame: &[u8]) -> Result<Option<Difference>, String> {
    let (ours, theirs) = (Packet::parse(frame), SlicedPacket::from_ethernet(frame));
    let disagreement = match (&ours, &theirs) {
        (Ok(packet), Ok(SlicedPacket { net: Some(NetSlice::Ipv4(ip)), transport, .. })) => {
            compare(packet, &read_ipv4(frame, ip, transport.as_ref()))
        }
        (Ok(packet), Ok(SlicedPacket { net: Some(NetSlice::Ipv6(ip)), transport, .. })) => {
            compare(packet, &read_ipv6(frame, ip, transport.as_ref()))
        }
        (
            Err(Verdict::Pass(PassReason::NotIp)),
            Ok(SlicedPacket { net: None | Some(NetSlice::Arp(_)), .. }),
        )
        | (Err(Verdict::Drop(_)), Err(_)) => return Ok(None),
        _ => Some("one accepts what the other refuses".to_owned()),
    };
    let Some(disagreement) = disagreement else { return Ok(None) };
    match Difference::ALL.into_iter().find(|difference| difference.explains(frame, &ours, &theirs)) {
        Some(difference) => Ok(Some(difference)),
        None => Err(format!("{disagreement}\n  ours: {ours:?}\ntheirs: {theirs:?}\n frame: {frame:02x?}")),
    }
}

/// Reading of a frame by etherparse, in our words.
struct Reading {
    src: IpAddr,
    dst: IpAddr,
    protocol: u8,
    fragment: Fragment,
    ttl: u8,
    traffic_class: u8,
    dont_fragment: bool,
    l3_offset: usize,
    l3_len: usize,
    l4_offset: usize,
    /// Source and destination port, and SYN.
    ports: Option<(u16, u16, bool)>,
    /// The ICMP or ICMPv6 type, where the packet is of that family.
    icmp_type: Option<u8>,
}

fn read_ipv4(frame: &[u8], ip: &Ipv4Slice<'_>, transport: Option<&TransportSlice<'_>>) -> Reading {
    let header = ip.header();
    let l3_offset = offset_in(frame, header.slice());
    let (start, more) = (header.fragments_offset().byte_offset(), header.more_fragments());
    Reading {
        src: header.source_addr().into(),
        dst: header.destination_addr().into(),
        // An authentication header is an extension to etherparse, and a protocol to us.
        protocol: header.protocol().0,
        fragment: fragment(start.into(), more),
        ttl: header.ttl(),
        traffic_class: header.dcp().value() << 2 | header.ecn().value(),
        dont_fragment: header.dont_fragment(),
        l3_offset,
        l3_len: header.total_len().into(),
        l4_offset: l3_offset + header.slice().len(),
        ports: transport.filter(|_| ip.extensions().auth.is_none()).and_then(ports),
        icmp_type: match transport {
            Some(TransportSlice::Icmpv4(icmp)) if ip.extensions().auth.is_none() => Some(icmp.type_u8()),
            _ => None,
        },
    }
}

fn read_ipv6(frame: &[u8], ip: &Ipv6Slice<'_>, transport: Option<&TransportSlice<'_>>) -> Reading {
    let header = ip.header();
    let l3_offset = offset_in(frame, header.slice());
    let (mut protocol, mut l4_offset) = (header.next_header(), l3_offset + header.slice().len());
    let mut part = Fragment::No;
    let mut is_last = true;
    for extension in ip.extensions().clone() {
        let (next_header, len) = match &extension {
            Ipv6ExtensionSlice::HopByHop(raw)
            | Ipv6ExtensionSlice::Routing(raw)
            | Ipv6ExtensionSlice::DestinationOptions(raw) => (raw.next_header(), raw.slice().len()),
            Ipv6ExtensionSlice::Fragment(header) => {
                part = fragment(header.fragment_offset().byte_offset().into(), header.more_fragments());
                (header.next_header(), header.slice().len())
            }
            // A protocol to us, and what is behind it is its own.
            Ipv6ExtensionSlice::Authentication(_) => {
                is_last = false;
                break;
            }
        };
        (protocol, l4_offset) = (next_header, l4_offset + len);
        // What is behind this header is the middle of something.
        if part == Fragment::Later {
            is_last = false;
            break;
        }
    }
    Reading {
        src: header.source_addr().into(),
        dst: header.destination_addr().into(),
        protocol: protocol.0,
        fragment: part,
        ttl: header.hop_limit(),
        traffic_class: header.traffic_class(),
        dont_fragment: true,
        l3_offset,
        l3_len: header.slice().len() + usize::from(header.payload_length()),
        l4_offset,
        ports: transport.filter(|_| is_last).and_then(ports),
        icmp_type: match transport {
            Some(TransportSlice::Icmpv6(icmp)) if is_last => Some(icmp.type_u8()),
            _ => None,
        },
    }
}

fn fragment(start: usize, more: bool) -> Fragment {
    match (start, more) {
        (0, false) => Fragment::No,
        (0, true) => Fragment::First,
        _ => Fragment::Later,
    }
}

fn ports(transport: &TransportSlice<'_>) -> Option<(u16, u16, bool)> {
    match transport {
        TransportSlice::Tcp(tcp) => Some((tcp.source_port(), tcp.destination_port(), tcp.syn())),
        TransportSlice::Udp(udp) => Some((udp.source_port(), udp.destination_port(), false)),
        _ => None,
    }
}

fn offset_in(frame: &[u8], part: &[u8]) -> usize {
    part.as_ptr().addr() - frame.as_ptr().addr()
}

/// Fields that two readings of one frame disagree on.
fn compare(packet: &Packet, reading: &Reading) -> Option<String> {
    macro_rules! same {
        ($what:literal, $ours:expr, $theirs:expr) => {
            if $ours != $theirs {
                return Some(format!("{}: {:?} and {:?}", $what, $ours, $theirs));
            }
        };
    }
    let flow = packet.flow;
    same!("source", IpAddr::from(flow.src), reading.src);
    same!("destination", IpAddr::from(flow.dst), reading.dst);
    same!("protocol", flow.protocol, reading.protocol);
    same!("fragment", flow.fragment, reading.fragment);
    same!("TTL", packet.ttl, reading.ttl);
    same!("traffic class", packet.traffic_class, reading.traffic_class);
    same!("DF", packet.dont_fragment, reading.dont_fragment);
    same!("IP offset", usize::from(packet.l3_offset), reading.l3_offset);
    same!("IP length", packet.l3_len as usize, reading.l3_len);
    same!("layer-4 offset", usize::from(packet.l4_offset), reading.l4_offset);
    // etherparse looks into no fragment, we look into the first.
    if flow.fragment != Fragment::First {
        let ours = (flow.src_port, flow.dst_port, packet.opens());
        same!("ports and SYN", ours, reading.ports.unwrap_or_default());
        let quotes = match reading.icmp_type {
            Some(kind) if packet.is_ipv4 => [3, 11, 12].contains(&kind),
            Some(kind) => kind < 128,
            None => false,
        };
        same!("ICMP error", packet.icmp_error, quotes);
    }
    None
}

/// Failing cases are kept beside this file, and tried first.
fn config() -> ProptestConfig {
    let failures = FileFailurePersistence::Direct("tests/oracle/regressions.txt");
    ProptestConfig { failure_persistence: Some(Box::new(failures)), ..ProptestConfig::with_cases(3000) }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn described_packets_are_read_alike(frame in frames::described()) {
        judge(&frame).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn chains_of_extension_headers_are_read_alike(frame in frames::chained()) {
        judge(&frame).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn damaged_frames_are_read_alike(frame in frames::damaged()) {
        judge(&frame).map_err(TestCaseError::fail)?;
    }
}

#[test]
fn every_difference_that_is_meant_exists() {
    for difference in Difference::ALL {
        assert_eq!(judge(&difference.example()), Ok(Some(difference)), "{difference:?}");
    }
}

#[test]
fn padding_trailing_bytes_and_wrong_checksums_harm_nobody() {
    let udp = || pcap_fixtures::packet::Packet::between("198.51.100.7", "203.0.113.10").udp(5353, 53);
    for (claim, packet) in [
        ("a short frame's padding", udp().trailer(&[0; 18])),
        ("bytes of the IP packet behind the UDP datagram", udp().payload_len(8).patch(14 + 20 + 4, &[0, 12])),
        ("a wrong checksum of the IP header", udp().patch(14 + 10, &[0xde, 0xad])),
        ("a wrong checksum of the datagram", udp().patch(14 + 20 + 6, &[0xde, 0xad])),
    ] {
        assert_eq!(judge(&packet.build()), Ok(None), "{claim}");
        assert!(Packet::parse(&packet.build()).is_ok(), "{claim}");
    }
}
