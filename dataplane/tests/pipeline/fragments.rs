//! Fragments of tunnel packets: put together by etherparse, they are the packet that a wider path would have carried.

use etherparse::defrag::IpDefragPool;
use etherparse::{NetSlice, SlicedPacket};
use guideway_dataplane::delivery::fragments::{Fragment, fragments};
use guideway_dataplane::frame::{Frame, HEADROOM};
use guideway_dataplane::pipeline::Decision;
use guideway_dataplane::verdict::{DropReason, Verdict};
use pcap_fixtures::packet::Packet;

use crate::appliance::{Appliance, Behind, MTU, Memory};

const CLIENT: &str = "192.0.2.77";

/// Decides one frame, and returns the decision with the bytes that it leaves.
fn process(appliance: &mut Appliance, frame: &[u8], headroom: usize) -> (Decision, Vec<u8>) {
    let mut frames = [Memory::new(frame, headroom)];
    let mut decisions = [Decision::PENDING];
    appliance.process(&mut frames, &mut decisions, 5);
    (decisions[0], frames[0].bytes().to_vec())
}

fn fragmenting() -> Appliance {
    Appliance::with(|delivery| delivery.fragmenting(true))
}

/// The frames that leave a fragmenting appliance for `packet`.
fn sent_in_fragments(appliance: &mut Appliance, packet: &Packet) -> Vec<Vec<u8>> {
    let before = appliance.pipeline.counters().fragmented;
    let (decision, bytes) = process(appliance, &packet.build(), HEADROOM);
    assert_eq!(decision.verdict, Verdict::Forward);
    assert_eq!(appliance.pipeline.counters().fragmented, before + 1);
    let mtu = usize::from(decision.fragment_mtu.expect("it is too long").get());
    let frame = |fragment: Fragment<'_>| [fragment.headers(), fragment.piece].concat();
    fragments(&bytes, mtu).map(frame).collect()
}

/// Payload of the outer IP header of a frame that a path of any width carries.
fn sent_whole(wide: &mut Appliance, packet: &Packet) -> Vec<u8> {
    let (decision, bytes) = process(wide, &packet.build(), HEADROOM);
    assert_eq!(decision.verdict, Verdict::Forward);
    assert_eq!(decision.fragment_mtu, None);
    match SlicedPacket::from_ethernet(&bytes).expect("what is forwarded").net {
        Some(NetSlice::Ipv4(ip)) => ip.payload().payload.to_vec(),
        Some(NetSlice::Ipv6(ip)) => ip.payload().payload.to_vec(),
        other => panic!("{other:?}"),
    }
}

fn tunnels() -> impl Iterator<Item = Behind> {
    let without = [Behind::L2, Behind::Nobody, Behind::RegionOnly];
    Behind::ALL.into_iter().filter(move |behind| !without.contains(behind))
}

#[test]
fn fragments_put_together_are_what_a_wider_path_would_have_carried() {
    let (mut appliance, mut wide) = (fragmenting(), Appliance::with_mtu(u16::MAX));
    for behind in tunnels() {
        let to = Packet::between(CLIENT, &behind.vip(true)).identification(0xbeef).tos(0xba);
        for (payload_len, tag) in [(1453, false), (1472, true), (1473, false), (2900, true), (8192, false)] {
            let claim = format!("{payload_len} bytes behind {behind:?}");
            let packet = to.clone().udp(5060, 5060).payload_len(payload_len).trailer(&[7; 3]);
            let packet = if tag { packet.vlan(7) } else { packet };
            let mut pool = IpDefragPool::<(), ()>::new();
            let mut whole = None;
            let frames = sent_in_fragments(&mut appliance, &packet);
            assert!(frames.len() > 1, "{claim}");
            for frame in &frames {
                assert!(whole.is_none(), "{claim}: nothing follows the last");
                let sliced = SlicedPacket::from_ethernet(frame).expect(&claim);
                let l3_len = match &sliced.net {
                    Some(NetSlice::Ipv4(ip)) => {
                        let header = ip.header().to_header();
                        assert_eq!(header.header_checksum, header.calc_header_checksum(), "{claim}");
                        assert!(!header.dont_fragment && header.identification != 0, "{claim}");
                        assert_eq!(
                            (header.dscp.value() << 2 | header.ecn.value(), header.time_to_live),
                            (0xba, 64)
                        );
                        usize::from(header.total_len)
                    }
                    Some(NetSlice::Ipv6(ip)) => {
                        assert_eq!(ip.header().traffic_class(), 0xba, "{claim}");
                        40 + usize::from(ip.header().payload_length())
                    }
                    other => panic!("{claim}: {other:?}"),
                };
                assert_eq!(frame.len(), 14 + 4 * usize::from(tag) + l3_len, "{claim}: no padding");
                assert!(l3_len <= usize::from(MTU), "{claim}");
                whole = pool.process_sliced_packet(&sliced, (), ()).expect(&claim);
            }
            assert_eq!(whole.expect(&claim).payload, sent_whole(&mut wide, &packet), "{claim}");
        }
    }
}

#[test]
fn fragments_of_one_datagram_are_told_apart_in_the_tunnel() {
    let mut appliance = fragmenting();
    for behind in tunnels() {
        let datagram = Packet::between(CLIENT, &behind.vip(true)).identification(7).udp(5060, 5060);
        let mut pool = IpDefragPool::<(), ()>::new();
        // The second fragments of all come before the first ones: one identification for all would mix them up.
        let fragments = datagram.payload_len(6000).fragments(1480);
        let parts: Vec<Vec<_>> =
            fragments[..4].iter().map(|part| sent_in_fragments(&mut appliance, part)).collect();
        let arrivals = [1, 0].into_iter().flat_map(|index| parts.iter().map(move |part| &part[index]));
        let mut whole = Vec::new();
        for frame in arrivals {
            let sliced = SlicedPacket::from_ethernet(frame).expect("a fragment");
            whole.extend(pool.process_sliced_packet(&sliced, (), ()).expect("no two overlap"));
        }
        assert_eq!(whole.len(), 4, "{behind:?}");
    }
}

#[test]
fn only_ipv4_without_df_that_is_too_long_leaves_in_fragments() {
    let mut appliance = fragmenting();
    let v4 = |payload| Packet::between(CLIENT, &Behind::Ipip4.vip(true)).udp(1, 2).payload_len(payload);
    let v6 =
        |payload| Packet::between("2001:db8:c::7", &Behind::Ipip4.vip(false)).udp(1, 2).payload_len(payload);
    let by_l2 = Packet::between(CLIENT, &Behind::L2.vip(true)).udp(1, 2).payload_len(1600);
    for (claim, packet, verdict) in [
        ("it fits", v4(1452), Verdict::Forward),
        ("DF", v4(1453).dont_fragment(), Verdict::Drop(DropReason::PacketTooBig)),
        ("IPv6", v6(1433), Verdict::Drop(DropReason::PacketTooBig)),
        ("no outer header says its length", v4(65_500), Verdict::Drop(DropReason::PacketTooBig)),
        ("l2 leaves fragmentation to the path", by_l2, Verdict::Forward),
    ] {
        let (decision, _) = process(&mut appliance, &packet.build(), HEADROOM);
        assert_eq!((decision.verdict, decision.fragment_mtu), (verdict, None), "{claim}");
    }
    assert_eq!(appliance.pipeline.counters().exceeding_mtu, 1);
}

#[test]
fn an_ipv6_sender_is_told_no_less_than_1280_and_what_is_no_longer_is_dropped_as_too_long() {
    let mut appliance = Appliance::with_mtu(1280);
    let packet = |payload| {
        Packet::between("2001:db8:c::7", &Behind::Gue6.vip(false)).udp(1, 2).payload_len(payload).build()
    };
    let (decision, answer) = process(&mut appliance, &packet(1281 - 48), HEADROOM);
    assert_eq!((decision.verdict, decision.answered), (Verdict::Drop(DropReason::PacketTooBig), true));
    assert_eq!(answer[14 + 40 + 4..14 + 40 + 8], 1280_u32.to_be_bytes());
    let (decision, frame) = process(&mut appliance, &packet(1280 - 48), HEADROOM);
    assert_eq!((decision.verdict, decision.answered), (Verdict::Drop(DropReason::ExceedsTunnelMtu), false));
    assert_eq!(frame, packet(1280 - 48));
}

#[test]
fn without_headroom_for_a_fragment_header_there_are_no_fragments() {
    let mut appliance = fragmenting();
    let frame = Packet::between(CLIENT, &Behind::Gue6.vip(true)).udp(1, 2).payload_len(1453).build();
    for (headroom, verdict) in [
        (51, Verdict::Drop(DropReason::NoHeadroom)),
        (59, Verdict::Drop(DropReason::NoHeadroom)),
        (60, Verdict::Forward),
    ] {
        assert_eq!(process(&mut appliance, &frame, headroom).0.verdict, verdict, "{headroom}");
    }
}

#[test]
fn whatever_is_no_tunnel_packet_has_no_fragments() {
    let whole = Packet::between(CLIENT, "203.0.113.9").udp(1, 2).payload_len(100).build();
    for frame in [&whole[..13], &whole[..30], &[0; 60][..]] {
        assert_eq!(fragments(frame, 1500).count(), 0);
    }
    assert_eq!(fragments(&whole, 20).count(), 0);
    assert_eq!(fragments(&whole, 28).count(), 108_usize.div_ceil(8));
}
