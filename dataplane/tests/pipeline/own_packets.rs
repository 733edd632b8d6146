//! ICMP errors about packets that the appliance sent itself: for the appliance, whatever routes cover the other end.

use guideway_dataplane::address::{Address, Prefix};
use guideway_dataplane::affinity::{AffinityPolicy, TrackingHasher};
use guideway_dataplane::conntrack::ConntrackTable;
use guideway_dataplane::delivery::Delivery;
use guideway_dataplane::egress::{Egress, PortId};
use guideway_dataplane::forwarding_rule::{ForwardingRule, Route, RuleId, RulePorts, RuleProtocol};
use guideway_dataplane::frame::HEADROOM;
use guideway_dataplane::pipeline::{Decision, Pipeline};
use guideway_dataplane::snapshot::SnapshotBuilder;
use guideway_dataplane::time::Tick;
use guideway_dataplane::verdict::{PassReason, Verdict};
use guideway_dataplane::wire::ethernet::MacAddress;
use pcap_fixtures::packet::Packet;

use crate::appliance::Memory;

#[test]
fn an_error_about_a_tunnel_packet_is_passed_although_a_route_covers_the_tunnels_end() {
    let mut builder = SnapshotBuilder::new();
    let service = builder.service(AffinityPolicy::default());
    builder.backend(service, "a", 1, Delivery::l2(Egress::to(MacAddress([2, 0, 0, 0, 1, 1])), 1500));
    let vip = Address::v4([203, 0, 113, 10]);
    builder.rule(ForwardingRule::new(vip, RuleProtocol::L3Default, RulePorts::All, service));
    builder.route(Route { dest_range: Prefix::new(Address::v4([0; 4]), 0), next_hop: RuleId(0) });
    let snapshot = builder.own(Address::v4([192, 0, 2, 1])).build();
    let mut pipeline = Pipeline::new(TrackingHasher::new([1, 2, 3, 4]), 0);
    let table = ConntrackTable::with_capacity(16).expect("a few bytes");

    let sent = |src: &str| Packet::between(src, "10.1.0.7").dont_fragment().protocol(4).payload_len(1_400);
    let told = |src: &str| Packet::between("192.0.2.254", src).packet_too_big(1_400, &sent(src), 28);
    let mut frames = ["192.0.2.1", "192.0.2.2"].map(|src| Memory::new(&told(src).build(), HEADROOM));
    let mut decisions = [Decision::PENDING; 2];
    pipeline.process(PortId(0), &mut frames, &mut decisions, Tick(0), &snapshot, &table);
    assert_eq!(
        decisions[0].verdict,
        Verdict::Pass(PassReason::NoForwardingRule),
        "it sent the packet itself"
    );
    assert_eq!(decisions[1].verdict, Verdict::Forward, "somebody else's came by the route");
    assert_eq!(pipeline.counters().icmp_errors_steered, 1);
}
