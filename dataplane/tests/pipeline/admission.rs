//! Admission to the conntrack table: SYNs that start nothing anew, and connections that get no entry.

use std::num::NonZeroU32;

use guideway_dataplane::address::Address;
use guideway_dataplane::admission::{Admission, PROTECTED_SECONDS};
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
use guideway_dataplane::wire::ethernet::MacAddress;
use pcap_fixtures::packet::Packet;
use pcap_fixtures::packet::tcp::{ACK, FIN, PSH, SYN};

use crate::appliance::Memory;

const VIP: &str = "203.0.113.1";

/// Backend that connections begin on, and the one that is alone eligible later.
const BEFORE: BackendHandle = BackendHandle(0);
const AFTER: BackendHandle = BackendHandle(1);

/// A worker before a service of two backends, of which one is eligible at a time.
struct World {
    pipeline: Pipeline,
    snapshots: [Snapshot; 2],
    table: ConntrackTable,
    now: u32,
    /// Index of the snapshot in force.
    snapshot: usize,
}

impl World {
    fn new(admission: Admission, general: bool) -> Self {
        let snapshot = |eligible: BackendHandle| {
            let mut builder = SnapshotBuilder::new();
            let service = builder.service(AffinityPolicy::default());
            for handle in [BEFORE, AFTER] {
                let delivery = Delivery::l2(Egress::to(MacAddress([2; 6])), 1500);
                let weight = u16::from(handle == eligible);
                assert_eq!(builder.backend(service, &handle.0.to_string(), weight, delivery), handle);
            }
            let vip = Address::from(VIP.parse::<std::net::IpAddr>().expect("an address"));
            builder.rule(ForwardingRule::new(vip, RuleProtocol::L3Default, RulePorts::All, service));
            builder.admission(admission).build()
        };
        let pipeline = Pipeline::new(TrackingHasher::new([1, 2, 3, 4]), 0);
        Self {
            pipeline: if general { pipeline.general_alone() } else { pipeline },
            snapshots: [snapshot(BEFORE), snapshot(AFTER)],
            table: ConntrackTable::with_capacity(4_096).expect("96 KiB"),
            now: 100,
            snapshot: 0,
        }
    }

    /// Sends a segment with these flags from a client; the backend that it goes to, and how that was found.
    fn send(&mut self, client: u8, flags: u8) -> (BackendHandle, Tracking) {
        let packet = Packet::between(&format!("192.0.2.{client}"), VIP).tcp(40_000, 443, flags);
        let mut frames = [Memory::new(&packet.build(), HEADROOM)];
        let mut decisions = [Decision::PENDING];
        let (now, snapshot) = (Tick(self.now), &self.snapshots[self.snapshot]);
        self.pipeline.process(PortId(0), &mut frames, &mut decisions, now, snapshot, &self.table);
        (decisions[0].backend.expect("one is eligible"), decisions[0].tracking)
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

const OPEN: Admission = Admission { protect_established: false, new_connections_per_sec: None };
const PROTECTED: Admission = Admission { protect_established: true, new_connections_per_sec: None };

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
    let admission = Admission { new_connections_per_sec: NonZeroU32::new(3), ..OPEN };
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
    let admission = Admission { new_connections_per_sec: NonZeroU32::new(1), ..OPEN };
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
