//! Admission to the conntrack table: SYNs that start nothing anew, and connections that get no entry.

use std::num::NonZeroU32;

use guideway_dataplane::address::Address;
use guideway_dataplane::admission::{Admission, Limits, PROTECTED_SECONDS, SourceLimit};
use guideway_dataplane::affinity::{AffinityPolicy, TrackingHasher};
use guideway_dataplane::backend::BackendHandle;
use guideway_dataplane::conntrack::{ConntrackTable, Stage};
use guideway_dataplane::counters::ConntrackCounters;
use guideway_dataplane::delivery::Delivery;
use guideway_dataplane::egress::{Egress, PortId};
use guideway_dataplane::forwarding_rule::{ForwardingRule, RulePorts, RuleProtocol};
use guideway_dataplane::frame::HEADROOM;
use guideway_dataplane::pipeline::{Decision, Pipeline, Tracking};
use guideway_dataplane::snapshot::{Snapshot, SnapshotBuilder};
use guideway_dataplane::time::Tick;
use guideway_dataplane::verdict::{DropReason, Verdict};
use guideway_dataplane::wire::ethernet::MacAddress;
use pcap_fixtures::packet::Packet;
use pcap_fixtures::packet::tcp::{ACK, FIN, PSH, SYN};

use crate::appliance::{Memory, assert_foreseen};

const VIP: &str = "203.0.113.1";
const VIP_V6: &str = "2001:db8::1";

/// Backend that connections begin on, and the one that is alone eligible later.
const BEFORE: BackendHandle = BackendHandle(0);
const AFTER: BackendHandle = BackendHandle(1);

/// A worker before a service of two backends, of which one is eligible at a time, or none.
struct World {
    pipeline: Pipeline,
    snapshots: [Snapshot; 3],
    table: ConntrackTable,
    now: u32,
    /// Index of the snapshot in force.
    snapshot: usize,
}

/// Snapshots with these settings, one for each backend that may be eligible, and one without any.
fn snapshots(admission: Admission) -> [Snapshot; 3] {
    let snapshot = |eligible: BackendHandle| {
        let mut builder = SnapshotBuilder::new();
        let service = builder.service(AffinityPolicy::default());
        for handle in [BEFORE, AFTER] {
            let delivery = Delivery::l2(Egress::to(MacAddress([2; 6])), 1500);
            let weight = u16::from(handle == eligible);
            assert_eq!(builder.backend(service, &handle.0.to_string(), weight, delivery), handle);
        }
        for vip in [VIP, VIP_V6] {
            let vip = Address::from(vip.parse::<std::net::IpAddr>().expect("an address"));
            builder.rule(ForwardingRule::new(vip, RuleProtocol::L3Default, RulePorts::All, service));
        }
        builder.admission(admission).build()
    };
    [snapshot(BEFORE), snapshot(AFTER), snapshot(BackendHandle(9))]
}

impl World {
    fn new(admission: Admission, general: bool) -> Self {
        let pipeline = Pipeline::new(TrackingHasher::new([1, 2, 3, 4]), 0);
        Self {
            pipeline: if general { pipeline.general_alone() } else { pipeline },
            snapshots: snapshots(admission),
            table: ConntrackTable::with_capacity(4_096).expect("96 KiB"),
            now: 100,
            snapshot: 0,
        }
    }

    /// Publishes snapshots with these settings under the running pipeline.
    fn put_in_force(&mut self, admission: Admission) {
        self.snapshots = snapshots(admission);
    }

    /// Sends a segment with these flags from a client; the backend that it goes to, and how that was found.
    fn send(&mut self, client: u8, flags: u8) -> (BackendHandle, Tracking) {
        let packet = Packet::between(&format!("192.0.2.{client}"), VIP).tcp(40_000, 443, flags);
        let decision = self.decide(&packet);
        (decision.backend.expect("one is eligible"), decision.tracking)
    }

    /// Decides a packet, as a look at it before has foreseen where the worker's own limit has no say.
    fn decide(&mut self, packet: &Packet) -> Decision {
        let frame = packet.build();
        let (now, snapshot) = (Tick(self.now), &self.snapshots[self.snapshot]);
        let look = self.pipeline.look(PortId(0), &frame, now, snapshot, &self.table);
        let mut frames = [Memory::new(&frame, HEADROOM)];
        let mut decisions = [Decision::PENDING];
        self.pipeline.process(PortId(0), &mut frames, &mut decisions, now, snapshot, &self.table);
        let has_room = decisions[0].tracking != Tracking::Off || decisions[0].verdict != Verdict::Forward;
        if has_room && snapshot.admission.limits.is_none_or(|limits| limits.per_worker.is_none()) {
            assert_foreseen(&look, &decisions[0]);
        }
        decisions[0]
    }

    /// Verdict on a segment with these flags, from an address and port.
    fn verdict(&mut self, client: &str, port: u16, flags: u8) -> Verdict {
        let vip = if client.contains(':') { VIP_V6 } else { VIP };
        self.decide(&Packet::between(client, vip).tcp(port, 443, flags)).verdict
    }

    /// Opens a connection, which is established a second later.
    fn establish(&mut self, client: u8) {
        assert_eq!(self.send(client, SYN), (BEFORE, Tracking::New));
        self.now += 1;
        assert_eq!(self.send(client, ACK), (BEFORE, Tracking::Hit));
    }

    fn counters(&self) -> &ConntrackCounters {
        &self.pipeline.counters().conntrack
    }
}

const OPEN: Admission = Admission { protect_established: false, limits: None };
const PROTECTED: Admission = Admission { protect_established: true, limits: None };

#[test]
fn a_syn_starts_an_established_connection_anew_unless_it_is_protected() {
    for general in [false, true] {
        for (admission, goes_to) in [(OPEN, (AFTER, Tracking::New)), (PROTECTED, (BEFORE, Tracking::Hit))] {
            let mut world = World::new(admission, general);
            world.establish(7);
            world.snapshot = 1;
            assert_eq!(world.send(7, SYN), goes_to);
            assert_eq!(world.send(7, ACK).0, goes_to.0, "its next packet goes the same way");
            assert_eq!(world.counters().protected, u64::from(admission == PROTECTED));
        }
    }
}

#[test]
fn what_is_half_open_unconfirmed_closed_or_long_idle_is_not_protected() {
    for general in [false, true] {
        for (flags, seconds, is_protected) in [
            (&[][..], 0, false),
            (&[ACK, PSH | ACK], 0, false),
            (&[ACK, FIN | ACK], 1, false),
            (&[ACK], 1, true),
            (&[ACK], PROTECTED_SECONDS, true),
            (&[ACK], PROTECTED_SECONDS + 1, false),
        ] {
            let mut world = World::new(PROTECTED, general);
            assert_eq!(world.send(7, SYN), (BEFORE, Tracking::New));
            for flags in flags {
                world.now += u32::from(seconds > 0);
                assert_eq!(world.send(7, *flags).0, BEFORE);
            }
            world.now += seconds;
            world.snapshot = 1;
            let goes_to = if is_protected { BEFORE } else { AFTER };
            assert_eq!(world.send(7, SYN).0, goes_to, "{flags:?}, {seconds} s later");
        }
    }
}

#[test]
fn syns_alone_protect_no_entry_for_longer() {
    for general in [false, true] {
        let mut world = World::new(PROTECTED, general);
        world.establish(7);
        world.snapshot = 1;
        for _ in 0..PROTECTED_SECONDS {
            world.now += 1;
            assert_eq!(world.send(7, SYN), (BEFORE, Tracking::Hit));
        }
        world.now += 1;
        assert_eq!(world.send(7, SYN), (AFTER, Tracking::New));
    }
}

#[test]
fn beyond_the_limit_of_a_second_connections_are_forwarded_and_get_no_entry() {
    let admission = Admission { limits: Limits::new(NonZeroU32::new(3), None), ..OPEN };
    for general in [false, true] {
        let mut world = World::new(admission, general);
        let sent: Vec<_> = (0..5).map(|client| world.send(client, SYN)).collect();
        let [new, off] = [(BEFORE, Tracking::New), (BEFORE, Tracking::Off)];
        assert_eq!(sent, [new, new, new, off, off]);
        assert_eq!(world.send(1, ACK), (BEFORE, Tracking::Hit), "who has an entry keeps it");
        assert_eq!(world.send(4, ACK), off, "each packet tries again");
        assert_eq!((world.counters().limited, world.table.occupancy()), (3, 3));
        world.now += 1;
        assert_eq!(world.send(4, ACK), new);
        assert_eq!((world.counters().limited, world.table.occupancy()), (3, 4));
    }
}

/// Left alone, the entry would send the packets behind the SYN elsewhere than the SYN.
#[test]
fn a_connection_that_starts_anew_beyond_the_limit_gets_its_entry() {
    let admission = Admission { limits: Limits::new(NonZeroU32::new(1), None), ..OPEN };
    for general in [false, true] {
        let mut world = World::new(admission, general);
        world.establish(7);
        assert_eq!(world.send(8, SYN), (BEFORE, Tracking::New));
        world.snapshot = 1;
        assert_eq!(world.send(7, SYN), (AFTER, Tracking::New));
        assert_eq!(world.send(7, ACK), (AFTER, Tracking::Hit));
        let half_open = world.table.entries().filter(|(_, entry)| entry.stage == Stage::HalfOpen);
        assert_eq!(half_open.count(), 1, "that of the other");
        assert_eq!(world.counters().limited, 0);
    }
}

const REFUSED: Verdict = Verdict::Drop(DropReason::SourceRateLimited);

/// Settings by which one address of IPv4, or one /64 of IPv6, begins so many connections in a second.
fn of_source(per_sec: u32) -> Admission {
    of_prefixes(per_sec, 32, 64)
}

fn of_prefixes(per_sec: u32, ipv4_prefix_length: u8, ipv6_prefix_length: u8) -> Admission {
    let per_sec = NonZeroU32::new(per_sec).expect("not zero");
    let limit = SourceLimit { per_sec, ipv4_prefix_length, ipv6_prefix_length };
    Admission { limits: Limits::new(None, Some(limit)), ..OPEN }
}

#[test]
fn a_source_that_has_begun_its_connections_of_a_second_is_dropped_alone() {
    for general in [false, true] {
        let mut world = World::new(of_source(3), general);
        let mut sent: Vec<_> = [SYN, ACK, SYN, SYN, SYN]
            .into_iter()
            .zip(1_024..)
            .map(|(flags, port)| world.verdict("192.0.2.7", port, flags))
            .collect();
        assert_eq!(sent.split_off(3), [REFUSED; 2]);
        assert_eq!(sent, [Verdict::Forward; 3]);
        assert_eq!(world.pipeline.counters().dropped[DropReason::SourceRateLimited as usize], 2);
        assert_eq!(world.table.occupancy(), 3, "what is dropped makes no entry");
        assert_eq!(world.verdict("192.0.2.7", 1_024, ACK), Verdict::Forward, "who has an entry goes on");
        assert_eq!(world.verdict("192.0.2.8", 1_027, SYN), Verdict::Forward, "others do too");
        world.now += 1;
        assert_eq!(world.verdict("192.0.2.7", 1_027, SYN), Verdict::Forward, "the next second");
    }
}

#[test]
fn a_connection_that_has_begun_before_is_forwarded_without_an_entry_when_its_source_is_at_its_limit() {
    for general in [false, true] {
        let mut world = World::new(of_source(1), general);
        assert_eq!(world.verdict("192.0.2.7", 1_024, ACK), Verdict::Forward, "it counts");
        assert_eq!(world.verdict("192.0.2.7", 1_025, SYN), REFUSED);
        for flags in [ACK, ACK, FIN | ACK] {
            assert_eq!(world.verdict("192.0.2.7", 1_026, flags), Verdict::Forward, "{flags}");
        }
        assert_eq!((world.table.occupancy(), world.counters().limited), (1, 3));
        world.now += 1;
        assert_eq!(world.verdict("192.0.2.7", 1_026, ACK), Verdict::Forward);
        assert_eq!(world.table.occupancy(), 2, "the next second has room for it");
    }
}

#[test]
fn a_source_is_a_prefix_of_its_family() {
    for general in [false, true] {
        for (lengths, first, same, other) in [
            ((32, 64), "192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ((24, 64), "192.0.2.7", "192.0.2.250", "192.0.3.7"),
            ((1, 64), "192.0.2.7", "223.1.1.1", "100.0.0.1"),
            ((32, 64), "2001:db8:c::7", "2001:db8:c::ffff:8", "2001:db8:c:1::7"),
            ((32, 128), "2001:db8:c::7", "2001:db8:c::7", "2001:db8:c::8"),
            ((32, 48), "2001:db8:c::7", "2001:db8:c:9::7", "2001:db8:d::7"),
        ] {
            let mut world = World::new(of_prefixes(1, lengths.0, lengths.1), general);
            assert_eq!(world.verdict(first, 1_024, SYN), Verdict::Forward);
            assert_eq!(world.verdict(same, 1_025, SYN), REFUSED, "{first} and {same} with {lengths:?}");
            assert_eq!(world.verdict(other, 1_026, SYN), Verdict::Forward, "{first} and {other}");
        }
    }
}

#[test]
fn a_retransmitted_syn_counts_once_and_one_that_starts_anew_counts_again() {
    for general in [false, true] {
        let mut world = World::new(of_source(2), general);
        let mut send = |port, flags, later: u32| {
            world.now += later;
            world.verdict("192.0.2.7", port, flags)
        };
        for again in 0..4 {
            assert_eq!(send(1_024, SYN, 0), Verdict::Forward, "the {again}th time");
        }
        assert_eq!(send(1_025, SYN, 0), Verdict::Forward);
        assert_eq!(send(1_026, SYN, 0), REFUSED);
        assert_eq!(send(1_025, SYN, 0), Verdict::Forward, "at the limit too");
        for (port, flags, verdict) in [
            (1_024, ACK, Verdict::Forward),
            (1_024, SYN, Verdict::Forward),
            (1_026, SYN, Verdict::Forward),
            (1_027, SYN, REFUSED),
        ] {
            assert_eq!(send(port, flags, u32::from(flags == ACK)), verdict, "{port} {flags}");
        }
    }
}

#[test]
fn a_protected_syn_is_not_counted() {
    for general in [false, true] {
        let mut world = World::new(Admission { protect_established: true, ..of_source(1) }, general);
        world.establish(7);
        for _ in 0..3 {
            assert_eq!(world.send(7, SYN), (BEFORE, Tracking::Hit));
        }
        assert_eq!(world.verdict("192.0.2.7", 1_024, SYN), Verdict::Forward);
        assert_eq!(world.verdict("192.0.2.7", 1_025, SYN), REFUSED);
        assert_eq!(world.send(7, SYN), (BEFORE, Tracking::Hit), "at the limit too");
    }
}

#[test]
fn what_makes_no_entry_is_not_limited() {
    let client = || Packet::between("192.0.2.7", VIP);
    let answer = Packet::between(VIP, "192.0.2.7").tcp(443, 9, ACK);
    let error = Packet::between("192.0.2.7", VIP).packet_too_big(1_400, &answer, 28);
    for general in [false, true] {
        let mut world = World::new(of_source(1), general);
        assert_eq!(world.verdict("192.0.2.7", 1_024, SYN), Verdict::Forward);
        assert_eq!(world.verdict("192.0.2.7", 1_025, SYN), REFUSED);
        for packet in [client().udp(1_026, 53), client().esp(3), client().echo_request(1, 1), error.clone()] {
            let decision = world.decide(&packet);
            assert_eq!(
                (decision.verdict, decision.tracking),
                (Verdict::Forward, Tracking::Off),
                "{packet:?}"
            );
        }
        // A first fragment has a connection; a later one follows it.
        world.now += 1;
        let fragment = |offset, more| client().tcp(1_027, 443, ACK).identification(5).fragment(offset, more);
        for (packet, tracking) in
            [(fragment(0, true), Tracking::New), (fragment(1_480, false), Tracking::Off)]
        {
            let decision = world.decide(&packet);
            assert_eq!((decision.verdict, decision.tracking), (Verdict::Forward, tracking));
        }
        assert_eq!(world.verdict("192.0.2.7", 1_028, SYN), REFUSED);
    }
}

#[test]
fn a_packet_without_an_eligible_backend_is_dropped_as_such_and_not_counted() {
    let nobody = Verdict::Drop(DropReason::NoEligibleBackend);
    for general in [false, true] {
        let mut world = World::new(of_source(1), general);
        world.snapshot = 2;
        for port in 0..3 {
            assert_eq!(world.verdict("192.0.2.7", 1_024 + port, SYN), nobody);
        }
        world.snapshot = 0;
        assert_eq!(world.verdict("192.0.2.7", 1_024, SYN), Verdict::Forward);
        assert_eq!(world.verdict("192.0.2.7", 1_025, SYN), REFUSED);
        world.snapshot = 2;
        assert_eq!(world.verdict("192.0.2.7", 1_025, SYN), nobody, "the refusal before is forgotten");
    }
}

/// Else each packet of a connection that has found the table full would be one more of its source.
#[test]
fn a_connection_without_room_for_an_entry_is_not_counted() {
    for general in [false, true] {
        let mut world = World::new(of_source(2), general);
        world.table = ConntrackTable::with_capacity(1).expect("few bytes");
        let mut others = 0..=255;
        loop {
            let client = others.next().expect("the table is full before");
            if world.decide(&Packet::between(&format!("198.51.100.{client}"), VIP).tcp(9, 443, ACK)).tracking
                == Tracking::Off
            {
                break;
            }
            // Confirmed, it gives way to nobody.
            world.now += 1;
            assert_eq!(world.verdict(&format!("198.51.100.{client}"), 9, ACK), Verdict::Forward);
        }
        for _ in 0..5 {
            let decision = world.decide(&Packet::between("192.0.2.7", VIP).tcp(1_024, 443, ACK));
            assert_eq!((decision.verdict, decision.tracking), (Verdict::Forward, Tracking::Off));
        }
        assert!(world.counters().full >= 6);
    }
}

#[test]
fn what_a_worker_forwards_without_an_entry_is_not_counted_and_what_is_dropped_takes_no_entry_of_others() {
    let per_worker = NonZeroU32::new(3);
    let of_source = of_source(2).limits.and_then(|limits| limits.per_source);
    let admission = Admission { limits: Limits::new(per_worker, of_source), ..OPEN };
    for general in [false, true] {
        let mut world = World::new(admission, general);
        let mut send = |client: u8, port| {
            let decision =
                world.decide(&Packet::between(&format!("192.0.2.{client}"), VIP).tcp(port, 443, SYN));
            (decision.verdict == Verdict::Forward).then_some(decision.tracking)
        };
        let flood: Vec<_> = (1_024..1_028).map(|port| send(7, port)).collect();
        assert_eq!(flood, [Some(Tracking::New), Some(Tracking::New), None, None]);
        assert_eq!(send(8, 1_024), Some(Tracking::New), "the third entry is there for another");
        let without: Vec<_> = (1_024..1_028).map(|port| send(9, port)).collect();
        assert_eq!(without, [Some(Tracking::Off); 4]);
        assert_eq!(world.counters().limited, 4);
    }
}

/// The seconds go on: only the snapshot says whether a source is limited, and to how many connections.
#[test]
fn a_new_snapshot_turns_the_limit_of_sources_on_changes_it_and_turns_it_off_under_running_connections() {
    const SOURCE: &str = "192.0.2.7";
    for general in [false, true] {
        let mut world = World::new(OPEN, general);
        let mut ports = 1_024..;
        let mut begun = Vec::new();
        let mut dropped = 0;
        for (admission, goes_through) in [
            (OPEN, 8),
            (of_source(2), 2),
            (of_source(5), 5),
            (of_source(3), 3),
            (of_prefixes(4, 24, 64), 4),
            (OPEN, 8),
            (of_source(1), 1),
        ] {
            world.now += 1;
            world.put_in_force(admission);
            for number in 0..8 {
                let port = ports.next().expect("it has no end");
                let verdict = if number < goes_through { Verdict::Forward } else { REFUSED };
                assert_eq!(world.verdict(SOURCE, port, SYN), verdict, "{number} with {admission:?}");
                begun.extend((number < goes_through).then_some(port));
                dropped += u64::from(number >= goes_through);
                // Connections that have begun under this and the earlier limits go on between refusals.
                for port in &begun {
                    let packet = Packet::between(SOURCE, VIP).tcp(*port, 443, ACK);
                    let decision = world.decide(&packet);
                    let goes = (decision.verdict, decision.backend, decision.tracking);
                    assert_eq!(
                        goes,
                        (Verdict::Forward, Some(BEFORE), Tracking::Hit),
                        "{port} with {admission:?}"
                    );
                }
            }
            assert_eq!(world.pipeline.counters().dropped[DropReason::SourceRateLimited as usize], dropped);
            assert_eq!(world.table.occupancy(), begun.len());
        }
    }
}

/// Turned on within a second, the limit begins to count then; raised within one, it leaves what has been counted.
#[test]
fn a_limit_of_sources_that_changes_within_a_second_counts_from_its_snapshot_on() {
    for general in [false, true] {
        let mut world = World::new(OPEN, general);
        let mut ports = 1_024..;
        for (admission, goes_through) in
            [(OPEN, 3), (of_source(2), 2), (of_source(5), 3), (of_source(4), 0), (OPEN, 3)]
        {
            world.put_in_force(admission);
            for _ in 0..goes_through {
                let port = ports.next().expect("it has no end");
                assert_eq!(world.verdict("192.0.2.7", port, SYN), Verdict::Forward, "{admission:?}");
            }
            if admission != OPEN {
                assert_eq!(world.verdict("192.0.2.7", 1_000, SYN), REFUSED, "{admission:?}");
            }
        }
    }
}
