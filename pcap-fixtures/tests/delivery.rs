//! Expected frames, read by etherparse: the expectations are themselves well-formed.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use etherparse::defrag::IpDefragPool;
use etherparse::{NetHeaders, PacketHeaders, SlicedPacket, TransportHeader, UdpHeader};
use pcap_fixtures::fixture::Fixture;
use pcap_fixtures::scenarios::fixtures;

/// The frames that a fixture's appliance must send, where the capture holds them whole.
fn sent(fixture: &Fixture) -> Vec<Vec<u8>> {
    let (_, capture) = fixture.files().into_iter().find(|(path, _)| path.ends_with(".out.pcap")).unwrap();
    let mut frames = Vec::new();
    let mut rest = &capture[24..];
    while !rest.is_empty() {
        let word = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap()) as usize;
        let (captured, wire) = (word(8), word(12));
        if captured == wire {
            frames.push(rest[16..16 + captured].to_vec());
        }
        rest = &rest[16 + captured..];
    }
    frames
}

/// Checks a packet's lengths and checksums, and those of the packet in the tunnel that it may be.
fn check(name: &str, headers: &PacketHeaders<'_>) {
    let payload = headers.payload.slice();
    let protocol = match headers.net.as_ref().expect("an IP header") {
        NetHeaders::Ipv4(ip, _) => {
            assert_eq!(ip.header_checksum, ip.calc_header_checksum(), "{name}");
            ip.protocol.0
        }
        NetHeaders::Ipv6(ip, _) => ip.next_header.0,
        NetHeaders::Arp(_) => panic!("{name}: ARP is never forwarded"),
    };
    let inner = match (&headers.transport, protocol) {
        (None, 4 | 41) => payload,
        (None, 47) if payload[..2] == [0, 0] => &payload[4..],
        (Some(TransportHeader::Udp(udp)), _) if [6080, 7080].contains(&udp.destination_port) => {
            match headers.net.as_ref() {
                Some(NetHeaders::Ipv6(ip, _)) => {
                    assert_eq!(udp.checksum, udp.calc_checksum_ipv6(ip, payload).unwrap(), "{name}");
                }
                _ => assert_eq!(udp.checksum, 0, "{name}"),
            }
            assert_eq!(usize::from(udp.length), 8 + payload.len(), "{name}");
            assert_eq!(
                (payload[0], payload[2], payload[3]),
                (0, 0, 0),
                "{name}: variant, control, length, flags"
            );
            &payload[4..]
        }
        _ => return,
    };
    check(name, &PacketHeaders::from_ip_slice(inner).unwrap());
}

/// Checks the packet in a tunnel packet that came in fragments.
fn check_whole(name: &str, protocol: u8, payload: &[u8]) {
    let inner = match protocol {
        47 => &payload[4..],
        17 => {
            let (udp, rest) = UdpHeader::from_slice(payload).unwrap();
            assert_eq!(usize::from(udp.length), payload.len(), "{name}");
            &rest[4..]
        }
        _ => payload,
    };
    check(name, &PacketHeaders::from_ip_slice(inner).unwrap());
}

#[test]
fn whatever_must_be_sent_is_well_formed() {
    let mut tunnelled = 0;
    let mut put_together = 0;
    for fixture in fixtures() {
        // Of packets that carry no whole IP packet though their protocol says so, and of headers that are wrong on
        // purpose, there is nothing to check.
        if fixture.name.starts_with("malformed/")
            || fixture.name.starts_with("protocols/")
            || fixture.name == "delivery/wrong-checksums-stay-wrong"
        {
            continue;
        }
        let mut pool = IpDefragPool::<(), ()>::new();
        for frame in sent(&fixture) {
            let sliced = SlicedPacket::from_ethernet(&frame).unwrap();
            let is_tunnelled = frame[..6] == [0x02, 0, 0, 0, 0, 0xfe];
            if is_tunnelled && sliced.is_ip_payload_fragmented() {
                if let Some(whole) = pool.process_sliced_packet(&sliced, (), ()).unwrap() {
                    check_whole(fixture.name, whole.ip_number.0, &whole.payload);
                    put_together += 1;
                }
                continue;
            }
            check(fixture.name, &PacketHeaders::from_ethernet_slice(&frame).unwrap());
            tunnelled += usize::from(is_tunnelled);
        }
    }
    assert!(tunnelled > 150, "{tunnelled}");
    assert_eq!(put_together, 30);
}
