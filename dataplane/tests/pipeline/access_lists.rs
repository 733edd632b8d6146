//! Access lists of forwarding rules: whose packets are dropped, on either way, and what is counted.

use guideway_dataplane::access_list::{AccessList, AccessListId};
use guideway_dataplane::address::{Address, Prefix};
use guideway_dataplane::affinity::{AffinityPolicy, TrackingHasher};
use guideway_dataplane::conntrack::ConntrackTable;
use guideway_dataplane::delivery::Delivery;
use guideway_dataplane::egress::{Egress, PortId};
use guideway_dataplane::forwarding_rule::{ForwardingRule, RulePorts, RuleProtocol};
use guideway_dataplane::frame::HEADROOM;
use guideway_dataplane::pipeline::{Decision, Pipeline, Tracking};
use guideway_dataplane::snapshot::{Snapshot, SnapshotBuilder};
use guideway_dataplane::time::Tick;
use guideway_dataplane::traffic_counters::Access;
use guideway_dataplane::verdict::{DropReason, Verdict};
use guideway_dataplane::wire::ethernet::MacAddress;
use pcap_fixtures::packet::Packet;
use pcap_fixtures::packet::tcp::{ACK, FIN, SYN};

use crate::appliance::Memory;

/// VIP of a rule with a list.
const GUARDED: &str = "203.0.113.1";
/// VIP of a rule without.
const OPEN: &str = "203.0.113.2";

fn prefix(text: &str, length: u8) -> Prefix {
    Prefix::new(text.parse::<std::net::IpAddr>().expect("an address").into(), length)
}

/// A snapshot before one service, whose first rule has a list that denies this client, or none.
fn snapshot(denied: Option<&str>) -> Snapshot {
    let mut builder = SnapshotBuilder::new();
    let service = builder.service(AffinityPolicy::default());
    builder.backend(service, "backend", 1, Delivery::l2(Egress::to(MacAddress([2; 6])), 1500));
    let list = denied.map(|client| {
        let length = if client.contains(':') { 128 } else { 32 };
        builder.access_list(AccessList::new([(prefix(client, length), false)], true))
    });
    for (vip, access_list) in [(GUARDED, list), ("2001:db8::1", list), (OPEN, None)] {
        let vip: Address = vip.parse::<std::net::IpAddr>().expect("an address").into();
        let rule = ForwardingRule::new(vip, RuleProtocol::L3Default, RulePorts::All, service);
        builder.rule(ForwardingRule { access_list, ..rule });
    }
    builder.counted_workers(1).build()
}

struct Worker {
    pipeline: Pipeline,
    table: ConntrackTable,
}

impl Worker {
    fn new(general: bool) -> Self {
        let pipeline = Pipeline::new(TrackingHasher::new([1, 2, 3, 4]), 0);
        Self {
            pipeline: if general { pipeline.general_alone() } else { pipeline },
            table: ConntrackTable::with_capacity(1_024).expect("24 KiB"),
        }
    }

    fn decide(&mut self, packet: &Packet, snapshot: &Snapshot) -> Decision {
        let mut frames = [Memory::new(&packet.build(), HEADROOM)];
        let mut decisions = [Decision::PENDING];
        self.pipeline.process(PortId(0), &mut frames, &mut decisions, Tick(1), snapshot, &self.table);
        decisions[0]
    }
}

const DENIED: Verdict = Verdict::Drop(DropReason::AccessDenied);
const LIST: AccessListId = AccessListId(0);

#[test]
fn packets_of_denied_sources_are_dropped_for_the_rules_that_name_the_list() {
    let all = |client: &str, vip: &str| {
        let packet = || Packet::between(client, vip);
        vec![
            packet().tcp(40_000, 443, SYN),
            packet().tcp(40_000, 443, ACK),
            packet().tcp(40_000, 443, FIN | ACK),
            packet().udp(40_000, 53),
            packet().echo_request(1, 1),
            packet().udp(40_000, 53).fragment(0, true),
            packet().udp(40_000, 53).fragment(1480, false),
        ]
    };
    for general in [false, true] {
        let (mut worker, guarded) = (Worker::new(general), snapshot(Some("192.0.2.7")));
        for packet in all("192.0.2.7", GUARDED) {
            let decision = worker.decide(&packet, &guarded);
            assert_eq!((decision.verdict, decision.rule.map(|(rule, _)| rule.0)), (DENIED, Some(0)));
        }
        for packet in all("192.0.2.8", GUARDED).iter().chain(&all("192.0.2.7", OPEN)) {
            assert_eq!(worker.decide(packet, &guarded).verdict, Verdict::Forward);
        }
        let counted = guarded.traffic_counters.access_list(LIST);
        assert_eq!(counted, Access { admitted: 7, denied: 7 }, "each packet once, of the list's rules alone");
        assert_eq!(worker.pipeline.counters().dropped[DropReason::AccessDenied as usize], 7);
    }
}

#[test]
fn an_established_connection_ends_with_the_reload_that_denies_its_client() {
    for (client, vip) in [("192.0.2.7", GUARDED), ("2001:db8:c::7", "2001:db8::1")] {
        for general in [false, true] {
            let (mut worker, before, after) = (Worker::new(general), snapshot(None), snapshot(Some(client)));
            let segment = |flags| Packet::between(client, vip).tcp(40_000, 443, flags);
            assert_eq!(worker.decide(&segment(SYN), &before).tracking, Tracking::New);
            assert_eq!(worker.decide(&segment(ACK), &before).tracking, Tracking::Hit);
            assert_eq!(worker.decide(&segment(ACK), &after).verdict, DENIED);
            let again = worker.decide(&segment(ACK), &before);
            assert_eq!((again.verdict, again.tracking), (Verdict::Forward, Tracking::Hit));
        }
    }
}

#[test]
fn a_later_fragment_of_a_denied_source_does_not_follow_a_first_that_was_admitted() {
    let (mut worker, before, after) = (Worker::new(false), snapshot(None), snapshot(Some("192.0.2.7")));
    let datagram = || Packet::between("192.0.2.7", GUARDED).identification(5).udp(40_000, 53);
    assert_eq!(worker.decide(&datagram().fragment(0, true), &before).verdict, Verdict::Forward);
    assert_eq!(worker.decide(&datagram().fragment(1480, false), &before).verdict, Verdict::Forward);
    assert_eq!(worker.decide(&datagram().fragment(1480, false), &after).verdict, DENIED);
}

/// An error's source is a router somewhere; what it says concerns the client whose packet it quotes.
#[test]
fn an_icmp_error_is_judged_by_the_client_that_it_is_about() {
    let guarded = snapshot(Some("192.0.2.7"));
    let error = |router: &str, client: &str| {
        let quoted = Packet::between(GUARDED, client).tcp(443, 40_000, ACK);
        Packet::between(router, GUARDED).packet_too_big(1_400, &quoted, 28)
    };
    for general in [false, true] {
        let mut worker = Worker::new(general);
        assert_eq!(worker.decide(&error("198.51.100.1", "192.0.2.7"), &guarded).verdict, DENIED);
        assert_eq!(worker.decide(&error("192.0.2.7", "192.0.2.8"), &guarded).verdict, Verdict::Forward);
    }
}
