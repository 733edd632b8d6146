//! No frame makes the host stack panic, learn a stranger, or hold more than its bound.

use std::time::Duration;

use guideway::net::host_stack::{FrameKind, MAX_QUEUED_BYTES, Rates};
use pcap_fixtures::packet::Packet;
use proptest::prelude::*;

use crate::{OWN_MAC, PEER_MAC, PORT, TAGGED_PORT, address, appliance, secs, sent};

/// Frames that the host stack answers or learns from, to be cut and changed.
fn seeds() -> Vec<Vec<u8>> {
    let arp = |operation: u8| {
        let mut frame = [&OWN_MAC[..], &PEER_MAC, &[8, 6, 0, 1, 8, 0, 6, 4, 0, operation]].concat();
        frame.extend([&PEER_MAC[..], &[192, 0, 2, 7], &OWN_MAC, &[192, 0, 2, 10]].concat());
        frame
    };
    let discovery = |kind: u8, target: &str, option: u8| {
        let mut body = address(target).v6_bytes().to_vec();
        body.extend([option, 1]);
        body.extend(PEER_MAC);
        Packet::between("2001:db8::7", "2001:db8::10").ttl(255).icmp(kind, 0, 0x6000_0000).payload(&body)
    };
    let packets = [
        discovery(135, "2001:db8::10", 1),
        discovery(136, "2001:db8::7", 2),
        // Router advertisement and redirect, whose options smoltcp reads too.
        discovery(134, "2001:db8::7", 3),
        discovery(137, "2001:db8::7", 4),
        Packet::between("fe80::1", "2001:db8::10")
            .ttl(1)
            .hop_by_hop(&[5, 2, 0, 0, 1, 0])
            .icmp(130, 0, 0)
            .payload(&[0; 20]),
        Packet::between("192.0.2.7", "192.0.2.10").echo_request(1, 1).payload_len(20),
        Packet::between("2001:db8::7", "2001:db8::10").echo_request(1, 1).payload_len(20),
        Packet::between("198.51.100.7", "203.0.113.10").tcp(1, 2, 2),
    ];
    let packets = packets.into_iter().map(|packet| packet.macs(PEER_MAC, OWN_MAC).build());
    [arp(1), arp(2)].into_iter().chain(packets).collect()
}

/// Makes the checksum of an ICMPv6 message right again, that changed options are read at all.
fn mend_icmpv6(frame: &mut [u8]) {
    if frame.len() < 58 || frame[12..14] != [0x86, 0xdd] {
        return;
    }
    let len = frame.len() - 54;
    frame[18..20].copy_from_slice(&(len as u16).to_be_bytes());
    frame[56..58].fill(0);
    let words = frame[22..]
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |low| u32::from(*low)));
    let mut sum = words.sum::<u32>() + len as u32 + 58;
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    frame[56..58].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

fn frame() -> impl Strategy<Value = Vec<u8>> {
    let changed = (
        prop::sample::select(seeds()),
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        prop::collection::vec(any::<u8>(), 0..40),
        any::<prop::sample::Index>(),
        any::<bool>(),
    )
        .prop_map(|(mut frame, changes, tail, cut, mend)| {
            frame.extend(tail);
            for (index, byte) in changes {
                let index = index.index(frame.len());
                frame[index] = byte;
            }
            if mend {
                mend_icmpv6(&mut frame);
            } else {
                frame.truncate(cut.index(frame.len() + 1));
            }
            frame
        });
    prop_oneof![1 => prop::collection::vec(any::<u8>(), 0..200), 9 => changed]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn no_frame_panics_or_grows_anything_beyond_its_bound(
        frames in prop::collection::vec((frame(), any::<bool>(), 0_u64..3_000), 1..64),
    ) {
        let mut stack = appliance(Rates::default());
        let watched = stack.next_hop(address("192.0.2.7")).unwrap();
        stack.resolve(watched, secs(0)).unwrap();
        let mut now = Duration::ZERO;
        for (frame, is_tagged_port, pause) in &frames {
            let before = stack.counters().clone();
            let kind = stack.handle(if *is_tagged_port { TAGGED_PORT } else { PORT }, frame, now);
            let after = stack.counters();
            prop_assert_eq!(after.received.iter().sum::<u64>(), before.received.iter().sum::<u64>() + 1);
            // At most one answer, and none to what is nobody's.
            let answers = after.answered - before.answered;
            let may_answer = matches!(kind, FrameKind::Arp | FrameKind::Ndp | FrameKind::Echo);
            prop_assert!(answers <= u64::from(may_answer), "{:?} to {:?}", kind, frame);
            prop_assert!(stack.events().iter().all(|event| event.next_hop == watched));
            now += Duration::from_millis(*pause);
            stack.poll(now);
        }
        let frames_sent = sent(&mut stack);
        prop_assert!(frames_sent.iter().map(Vec::len).sum::<usize>() <= MAX_QUEUED_BYTES);
        prop_assert!(frames_sent.iter().all(|frame| frame.len() >= 60));
    }
}
