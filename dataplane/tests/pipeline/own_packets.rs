//! Packets that the appliance has sent itself, and what comes of them: ICMP errors about them are for the appliance, whatever
//! routes cover the other end; those that come back to it go nowhere.

use guideway_dataplane::address::{Address, Prefix};
use guideway_dataplane::affinity::{
    AffinityPolicy, LoadBalancingScheme, PersistenceOnUnhealthy, SessionAffinity, TrackingHasher,
    TrackingMode,
};
use guideway_dataplane::conntrack::ConntrackTable;
use guideway_dataplane::delivery::Delivery;
use guideway_dataplane::egress::{Egress, PortId};
use guideway_dataplane::forwarding_rule::{ForwardingRule, Route, RuleId, RulePorts, RuleProtocol};
use guideway_dataplane::frame::HEADROOM;
use guideway_dataplane::pipeline::{Decision, Pipeline};
use guideway_dataplane::snapshot::{Snapshot, SnapshotBuilder};
use guideway_dataplane::time::Tick;
use guideway_dataplane::verdict::{DropReason, PassReason, Verdict};
use guideway_dataplane::wire::ethernet::MacAddress;
use pcap_fixtures::packet::Packet;
use pcap_fixtures::packet::tcp::{ACK, FIN, RST, SYN};

use crate::appliance::{Memory, OWN_V4, OWN_V6};

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

/// VIPs of two services, of which one is spelled out by protocol and port, and addresses behind a route; of both families.
const VIPS: [[&str; 2]; 2] = [["203.0.113.10", "2001:db8::10"], ["203.0.113.11", "2001:db8::11"]];
const ROUTED: [&str; 2] = ["198.51.100.200", "2001:db8:99::200"];

/// A snapshot of a network on each of two ports; the appliance has another address in the second.
fn two_networks() -> Snapshot {
    let address = |text: &str| Address::from(text.parse::<std::net::IpAddr>().expect("an address"));
    let mut builder = SnapshotBuilder::new();
    for (port, own) in [(0, [OWN_V4, OWN_V6]), (1, ["192.0.2.2", "2001:db8:1::2"])] {
        builder.network(PortId(port), None);
        // A service that tracks connections one by one, and a service that tracks no UDP.
        let policies = [SessionAffinity::ClientIpPortProto, SessionAffinity::None].map(|affinity| {
            let persistence = PersistenceOnUnhealthy::DefaultForProtocol;
            AffinityPolicy::new(
                LoadBalancingScheme::Internal,
                affinity,
                TrackingMode::PerConnection,
                persistence,
            )
        });
        for (policy, vips) in policies.into_iter().zip(VIPS) {
            let service = builder.service(policy);
            for backend in ["a", "b"] {
                let delivery = Delivery::l2(Egress::to(MacAddress([2, 0, 0, 0, 1, 1])), 1500);
                builder.backend(service, backend, 1, delivery);
            }
            for vip in vips {
                let of = |protocol, ports| ForwardingRule::new(address(vip), protocol, ports, service);
                builder.rule(of(RuleProtocol::Tcp, RulePorts::List(vec![80])));
                let next_hop = builder.rule(of(RuleProtocol::L3Default, RulePorts::All));
                if vip == VIPS[0][0] {
                    for (range, bits) in [("198.51.100.0", 24), ("2001:db8:99::", 48)] {
                        builder.route(Route { dest_range: Prefix::new(address(range), bits), next_hop });
                    }
                }
            }
        }
        builder.own(address(own[0])).own(address(own[1]));
    }
    builder.build()
}

/// Packets of every kind from one address to another.
fn of_every_kind(from: &str, to: &str) -> Vec<Packet> {
    let packet = || Packet::between(from, to);
    let mut packets: Vec<_> =
        [SYN, ACK, FIN | ACK, RST, SYN | ACK].map(|flags| packet().tcp(40_000, 80, flags)).into();
    let client = if to.contains(':') { "2001:db8:c::77" } else { "192.0.2.77" };
    let quoted = Packet::between(to, client).tcp(80, 40_000, ACK);
    packets.extend([
        packet().tcp(40_000, 443, SYN),
        packet().udp(40_000, 53),
        packet().udp(40_000, 80).ttl(1),
        packet().identification(7).protocol(17).fragment(0, true).payload_len(1_400),
        packet().identification(7).protocol(17).fragment(1_480, false),
        packet().identification(8).protocol(6).fragment(1_480, false),
        packet().identification(9).protocol(50).fragment(1_480, false),
        packet().echo_request(7, 1),
        packet().esp(3),
        packet().sctp(40_000, 80, 5),
        // An error is its sender's, whoever it tells of.
        packet().packet_too_big(1_400, &quoted, 28),
    ]);
    packets
}

fn decide(
    pipeline: &mut Pipeline,
    port: u8,
    packet: &Packet,
    snapshot: &Snapshot,
    table: &ConntrackTable,
) -> Verdict {
    let mut frames = [Memory::new(&packet.build(), HEADROOM)];
    let mut decisions = [Decision::PENDING];
    pipeline.process(PortId(port), &mut frames, &mut decisions, Tick(0), snapshot, table);
    decisions[0].verdict
}

#[test]
fn no_packet_from_an_own_address_of_its_network_is_forwarded_or_makes_an_entry() {
    let snapshot = two_networks();
    for general in [false, true] {
        for family in [0, 1] {
            for to in [VIPS[0][family], VIPS[1][family], ROUTED[family]] {
                let pipeline = Pipeline::new(TrackingHasher::new([1, 2, 3, 4]), 0);
                let mut pipeline = if general { pipeline.general_alone() } else { pipeline };
                let table = ConntrackTable::with_capacity(1_024).expect("24 KiB");
                let own = of_every_kind([OWN_V4, OWN_V6][family], to);
                for (kind, packet) in own.iter().enumerate() {
                    assert_eq!(
                        decide(&mut pipeline, 0, packet, &snapshot, &table),
                        Verdict::Drop(DropReason::OwnSource),
                        "{to} {kind}"
                    );
                }
                let counters = pipeline.counters();
                assert_eq!(counters.dropped[DropReason::OwnSource as usize], own.len() as u64);
                assert_eq!((counters.conntrack.inserts, counters.conntrack.occupied), (0, 0));
                // In another network the address is anybody's, and so is any other address in this one.
                for (port, from) in [(1, [OWN_V4, OWN_V6]), (0, ["192.0.2.2", "2001:db8:1::2"])] {
                    for (kind, packet) in of_every_kind(from[family], to).iter().enumerate() {
                        let verdict = decide(&mut pipeline, port, packet, &snapshot, &table);
                        let expired = verdict == Verdict::Drop(DropReason::TtlExpired);
                        assert!(verdict == Verdict::Forward || expired, "{verdict:?} {port} {to} {kind}");
                    }
                }
            }
        }
    }
}
