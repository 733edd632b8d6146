//! Networks that have the same addresses: nothing of one is found in the other.

use guideway_dataplane::address::{Address, Prefix};
use guideway_dataplane::affinity::{
    AffinityPolicy, LoadBalancingScheme, PersistenceOnUnhealthy, SessionAffinity, TrackingHasher,
    TrackingMode,
};
use guideway_dataplane::backend::BackendHandle;
use guideway_dataplane::conntrack::ConntrackTable;
use guideway_dataplane::delivery::{Delivery, DeliveryMode, Tunnel};
use guideway_dataplane::egress::{Egress, PortId};
use guideway_dataplane::forwarding_rule::{
    ForwardingRule, Route, RuleId, RulePorts, RuleProtocol, ServiceId,
};
use guideway_dataplane::frame::{Frame, HEADROOM};
use guideway_dataplane::pipeline::{Decision, Pipeline, Tracking};
use guideway_dataplane::snapshot::{Snapshot, SnapshotBuilder};
use guideway_dataplane::time::Tick;
use guideway_dataplane::verdict::{DropReason, Verdict};
use guideway_dataplane::wire::ethernet::{self, MacAddress};
use pcap_fixtures::packet::{Packet, tcp};

use crate::appliance::Memory;

const CLIENT: &str = "192.0.2.7";
const VIP: [u8; 4] = [203, 0, 113, 10];
const OWN: [u8; 4] = [10, 0, 0, 1];

/// VLANs of the first port's networks; the third network, and the fourth on another port, are untagged.
const VLANS: [Option<u16>; 4] = [Some(100), Some(200), None, None];

/// Worker of an appliance in four networks, each with a service of one backend behind the same VIP, in the same tunnel.
struct Worker {
    pipeline: Pipeline,
    snapshot: Snapshot,
    table: ConntrackTable,
}

fn snapshot() -> Snapshot {
    let mut builder = SnapshotBuilder::new();
    for (number, vlan) in (0..).zip(VLANS) {
        let port = PortId(u8::from(number == 3));
        builder.network(port, vlan);
        let service = builder.service(AffinityPolicy::new(
            LoadBalancingScheme::Internal,
            SessionAffinity::ClientIp,
            TrackingMode::PerSession,
            PersistenceOnUnhealthy::DefaultForProtocol,
        ));
        let tunnel = Tunnel {
            endpoint: Address::v4([10, 1, 0, 7]),
            source: Address::v4([10, 0, number, 1]),
            source_range: None,
        };
        let egress = Egress { port, ..Egress::to(MacAddress([2, 0, 0, 0, 1, number])) };
        builder.backend(service, "a", 1, Delivery::tunnel(DeliveryMode::Ipip, &tunnel, egress, 1_400));
        // UDP has listed ports, so that later fragments follow their first or find no rule.
        let udp = RulePorts::List(vec![53]);
        let rule = builder.rule(ForwardingRule::new(Address::v4(VIP), RuleProtocol::Udp, udp, service));
        builder.rule(ForwardingRule::new(Address::v4(VIP), RuleProtocol::Tcp, RulePorts::All, service));
        let dest_range = Prefix::new(Address::v4([198, 51, 100, 0]), 24);
        builder.route(Route { dest_range, next_hop: rule });
        builder.own(Address::v4([OWN[0], OWN[1], number, OWN[3]])).icmp_errors_per_sec(1);
    }
    builder.build()
}

impl Worker {
    fn new(pipeline: impl Fn(Pipeline) -> Pipeline) -> Self {
        Self {
            pipeline: pipeline(Pipeline::new(TrackingHasher::new([1, 2, 3, 4]), 0)),
            snapshot: snapshot(),
            table: ConntrackTable::with_capacity(1_024).expect("memory for a small table"),
        }
    }

    /// Decides a packet in each network, in one burst a port.
    fn in_each(&mut self, packet: &Packet) -> Vec<(Decision, Vec<u8>)> {
        let tagged = |vlan: &Option<u16>| vlan.map_or(packet.clone(), |vlan| packet.clone().vlan(vlan));
        let packets: Vec<Packet> = VLANS.iter().map(tagged).collect();
        let mut decided = self.decide(0, &packets[..3]);
        decided.extend(self.decide(1, &packets[3..]));
        decided
    }

    fn decide(&mut self, port: u8, packets: &[Packet]) -> Vec<(Decision, Vec<u8>)> {
        let frames = packets.iter().map(|packet| Memory::new(&packet.build(), HEADROOM));
        let mut frames: Vec<Memory> = frames.collect();
        let mut decisions = vec![Decision::PENDING; frames.len()];
        let Self { pipeline, snapshot, table } = self;
        pipeline.process(PortId(port), &mut frames, &mut decisions, Tick(5), snapshot, table);
        decisions.into_iter().zip(frames.iter().map(|frame| frame.bytes().to_vec())).collect()
    }
}

fn to_vip() -> Packet {
    Packet::between(CLIENT, "203.0.113.10")
}

/// Ways that a pipeline may take.
fn ways() -> [fn(Pipeline) -> Pipeline; 2] {
    [|pipeline| pipeline, Pipeline::general_alone]
}

#[test]
fn one_vip_and_one_client_in_four_networks_are_four_services_and_four_entries() {
    for way in ways() {
        let mut worker = Worker::new(way);
        for (flags, tracking) in [(tcp::SYN, Tracking::New), (tcp::ACK, Tracking::Hit)] {
            let decided = worker.in_each(&to_vip().tcp(1_025, 80, flags));
            for (number, (decision, frame)) in (0..).zip(&decided) {
                assert_eq!(decision.verdict, Verdict::Forward);
                assert_eq!(decision.rule, Some((RuleId(2 * number + 1), ServiceId(number))));
                assert_eq!(decision.backend, Some(BackendHandle(number.into())));
                assert_eq!((decision.tracking, decision.egress), (tracking, PortId(u8::from(number == 3))));
                let vlan = VLANS[usize::from(number)];
                assert_eq!(ethernet::vlan(frame), Some(vlan.unwrap_or(0)), "it leaves as it came");
                let l3 = if vlan.is_some() { 18 } else { 14 };
                assert_eq!(frame[l3 + 12..l3 + 16], [10, 0, number as u8, 1], "the network's own address");
            }
        }
        assert_eq!(worker.table.entries().count(), 4);
        let routed = worker.in_each(&Packet::between(CLIENT, "198.51.100.9").tcp(1_025, 80, tcp::SYN));
        let services = routed.iter().map(|(decision, _)| decision.rule.expect("a route leads there").1);
        assert_eq!(services.collect::<Vec<_>>(), [0, 1, 2, 3].map(ServiceId));
    }
}

#[test]
fn a_frame_of_no_network_is_dropped() {
    let of_no_network =
        [(0, to_vip().vlan(300)), (0, to_vip().vlan(100).vlan(200)), (2, to_vip()), (2, to_vip().vlan(100))];
    for way in ways() {
        let mut worker = Worker::new(way);
        for (port, packet) in &of_no_network {
            let packet = packet.clone().tcp(1_025, 80, tcp::ACK);
            let decided = worker.decide(*port, std::slice::from_ref(&packet));
            assert_eq!(decided[0].0.verdict, Verdict::Drop(DropReason::NoNetwork), "{port}");
            assert_eq!((decided[0].0.rule, decided[0].1.clone()), (None, packet.build()));
        }
        assert_eq!(worker.pipeline.counters().dropped[DropReason::NoNetwork as usize], 4);
        assert_eq!(worker.table.entries().count(), 0);
        // A port that is one network's has it whole, whatever tags come there.
        let tagged = worker.decide(1, &[to_vip().vlan(300).tcp(1_025, 80, tcp::ACK)]);
        assert_eq!(tagged[0].0.rule, Some((RuleId(7), ServiceId(3))));
    }
}

#[test]
fn later_fragments_follow_the_first_of_their_own_network() {
    for way in ways() {
        let mut worker = Worker::new(way);
        let first = to_vip().identification(7).udp(1_025, 53).fragment(0, true);
        let later = to_vip().identification(7).udp(1_025, 53).fragment(1_480, false);
        let blue = worker.decide(0, &[first.clone().vlan(100), later.clone().vlan(200), later.clone()]);
        let verdicts: Vec<_> = blue.iter().map(|(decision, _)| decision.rule).collect();
        assert_eq!(verdicts, [Some((RuleId(0), ServiceId(0))), None, None], "no first was seen there");
        let red = worker.decide(0, &[first.vlan(200), later.clone().vlan(200), later.vlan(100)]);
        let services = red.iter().map(|(decision, _)| decision.rule.map(|(_, service)| service.0));
        assert_eq!(services.collect::<Vec<_>>(), [Some(1), Some(1), Some(0)]);
    }
}

#[test]
fn an_icmp_error_goes_by_the_packet_that_it_quotes_in_its_own_network() {
    for way in ways() {
        let mut worker = Worker::new(way);
        let answer = Packet::between("203.0.113.10", CLIENT).tcp(80, 1_025, tcp::ACK).payload_len(1_300);
        let error = Packet::between("192.0.2.254", "203.0.113.10").packet_too_big(1_280, &answer, 28);
        let services = worker.in_each(&error);
        let services = services.iter().map(|(decision, _)| decision.rule.map(|(_, service)| service.0));
        assert_eq!(services.collect::<Vec<_>>(), [0, 1, 2, 3].map(Some));
    }
}

#[test]
fn a_packet_too_big_is_answered_from_the_networks_own_address_and_out_of_its_own_budget() {
    for way in ways() {
        let mut worker = Worker::new(way);
        let too_big = to_vip().dont_fragment().tcp(1_025, 80, tcp::ACK).payload_len(1_400);
        for answered in [true, false] {
            for (number, (decision, frame)) in (0..).zip(worker.in_each(&too_big)) {
                assert_eq!(decision.verdict, Verdict::Drop(DropReason::PacketTooBig));
                assert_eq!(decision.answered, answered, "one in a second, in each network");
                let vlan = VLANS[usize::from(number)];
                let l3 = if vlan.is_some() { 18 } else { 14 };
                if answered {
                    assert_eq!(ethernet::vlan(&frame), Some(vlan.unwrap_or(0)));
                    assert_eq!(frame[l3 + 12..l3 + 16], [10, 0, number, 1]);
                }
            }
        }
    }
}
