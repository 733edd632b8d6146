//! The packet path allocates nothing, whatever becomes of a packet.

use guideway_dataplane::frame::{Frame, HEADROOM};
use guideway_dataplane::pipeline::{BURST, Decision, Tracking};
use guideway_dataplane::verdict::Verdict;
use pcap_fixtures::packet::{Packet, tcp};

use crate::appliance::{Appliance, Behind, Memory};

/// Packets of `client` that end in every way.
fn packets(client: usize) -> Vec<Packet> {
    let v4 = |behind: Behind| Packet::between(&format!("192.0.2.{client}"), &behind.vip(true));
    let v6 = |behind: Behind| Packet::between(&format!("2001:db8:c::{client:x}"), &behind.vip(false));
    let answer = Packet::between(&Behind::L2.vip(true), &format!("192.0.2.{client}")).tcp(80, 1025, tcp::ACK);
    vec![
        v4(Behind::L2).tcp(1025, 80, tcp::SYN),
        v4(Behind::L2).tcp(1025, 80, tcp::ACK).payload_len(1400),
        v4(Behind::L2).packet_too_big(1400, &answer, 28),
        v6(Behind::Ipip4).udp(1025, 443),
        v4(Behind::Gre6).esp(7).payload_len(100),
        v6(Behind::Gue6).hop_by_hop(&[0; 6]).udp(1025, 443).payload_len(900),
        v4(Behind::Spread).vlan(100).tcp(1025, 80, tcp::ACK),
        v4(Behind::Gue4).udp(1025, 80).payload_len(1400).fragment(0, true),
        v4(Behind::Gue4).udp(1025, 80).fragment(1408, false),
        v6(Behind::L2).tcp(1025, 80, tcp::ACK).payload_len(1000).fragment(0, true),
        v6(Behind::L2).protocol(6).payload_len(100).fragment(1024, false),
        v6(Behind::L2).identification(9).protocol(6).payload_len(100).fragment(1024, false),
        v4(Behind::Ipip4).udp(1025, 80).payload_len(1465).dont_fragment(),
        v6(Behind::Ipip6).udp(1025, 80).payload_len(1440),
        v4(Behind::L2).echo_request(1, 1),
        v4(Behind::Nobody).udp(1025, 80),
        v4(Behind::L2).ttl(1).udp(1025, 80),
        v4(Behind::L2).udp(1025, 80).patch(14, &[0x00]),
        Packet::between("198.51.100.1", "203.0.113.99").udp(1, 2),
        v4(Behind::L2).patch(12, &[0x08, 0x06]),
    ]
}

#[test]
fn the_packet_path_allocates_nothing() {
    let mut appliance = Appliance::new();
    // New clients in every burst, so that entries are made; two rounds, so that they are hit.
    let packets: Vec<Packet> = (1..200).flat_map(packets).collect();
    let memory = |packet: &Packet| Memory::new(&packet.build(), HEADROOM);
    let mut frames: Vec<Memory> = packets.iter().chain(&packets).map(memory).collect();
    let mut decisions = vec![Decision::PENDING; frames.len()];

    let allocations = allocation_counter::measure(|| {
        for (now, (frames, decisions)) in
            frames.chunks_mut(BURST).zip(decisions.chunks_mut(BURST)).enumerate()
        {
            appliance.process(frames, decisions, now as u32 / 4);
        }
    });

    let count = |wanted: fn(&Decision) -> bool| decisions.iter().filter(|decision| wanted(decision)).count();
    assert!(count(|decision| decision.tracking == Tracking::Hit) > 1000);
    assert!(count(|decision| decision.tracking == Tracking::New) > 1000);
    assert!(count(|decision| matches!(decision.verdict, Verdict::Drop(_))) > 1000);
    assert!(count(|decision| matches!(decision.verdict, Verdict::Pass(_))) > 500);
    assert!(count(|decision| decision.answered) > 50);
    assert!(frames.iter().all(|frame| !frame.bytes().is_empty()));
    let counters = appliance.pipeline.counters();
    assert!(counters.fragments_followed > 500 && counters.fragments_first_unseen > 300, "{counters:?}");
    assert_eq!(allocations.count_total, 0);
}

#[test]
fn the_allocator_counts() {
    let allocations = allocation_counter::measure(|| {
        drop(std::hint::black_box(Vec::<u8>::with_capacity(100)));
    });
    assert_eq!(allocations.count_total, 1);
}
