//! A full conntrack table: connections that have been closed, and floods whose connections last no second, keep nobody out.

use guideway_dataplane::address::Address;
use guideway_dataplane::affinity::{
    AffinityPolicy, LoadBalancingScheme, PersistenceOnUnhealthy, SessionAffinity, TrackingHasher,
    TrackingMode,
};
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
use pcap_fixtures::packet::tcp::{ACK, FIN, PSH, RST, SYN};

use crate::appliance::Memory;

const ENTRIES: usize = 4_096;
const VIP: &str = "203.0.113.1";

/// A worker with a table for [`ENTRIES`] connections, before one service.
struct World {
    pipeline: Pipeline,
    snapshot: Snapshot,
    table: ConntrackTable,
    now: u32,
}

impl World {
    fn new(affinity: SessionAffinity, mode: TrackingMode) -> Self {
        let mut builder = SnapshotBuilder::new();
        let persistence = PersistenceOnUnhealthy::DefaultForProtocol;
        let service =
            builder.service(AffinityPolicy::new(LoadBalancingScheme::Internal, affinity, mode, persistence));
        builder.backend(service, "backend", 1, Delivery::l2(Egress::to(MacAddress([2; 6])), 1500));
        let vip = Address::from(VIP.parse::<std::net::IpAddr>().expect("an address"));
        builder.rule(ForwardingRule::new(vip, RuleProtocol::L3Default, RulePorts::All, service));
        Self {
            pipeline: Pipeline::new(TrackingHasher::new([1, 2, 3, 4]), 0),
            snapshot: builder.build(),
            table: ConntrackTable::with_capacity(ENTRIES).expect("96 KiB"),
            now: 100,
        }
    }

    /// Tracks each connection by its 5-tuple.
    fn of_connections() -> Self {
        Self::new(SessionAffinity::None, TrackingMode::PerConnection)
    }

    fn send(&mut self, packet: &Packet) -> Tracking {
        let mut frames = [Memory::new(&packet.build(), HEADROOM)];
        let mut decisions = [Decision::PENDING];
        self.pipeline.process(
            PortId(0),
            &mut frames,
            &mut decisions,
            Tick(self.now),
            &self.snapshot,
            &self.table,
        );
        assert!(decisions[0].backend.is_some());
        decisions[0].tracking
    }

    /// Sends TCP segments with these flags from one client.
    fn segments(&mut self, client: u32, flags: &[u8]) -> Vec<Tracking> {
        flags.iter().map(|flags| self.send(&from(client).tcp(40_000, 443, *flags))).collect()
    }

    /// Opens a connection and sends a request and some data; true if it is tracked from its second packet on.
    fn open(&mut self, client: u32) -> bool {
        self.segments(client, &[SYN, ACK, PSH | ACK, ACK]) == [NEW, HIT, HIT, HIT]
    }

    /// Opens a connection, whose next packet comes a second later; true if it is tracked from its second packet on.
    fn confirm(&mut self, client: u32) -> bool {
        let is_open = self.open(client);
        self.now += 1;
        is_open && self.segments(client, &[ACK]) == [HIT]
    }

    /// Number of these connections of which a packet finds an entry.
    fn tracked(&mut self, clients: std::ops::Range<u32>) -> usize {
        clients.filter(|client| self.segments(*client, &[ACK]) == [HIT]).count()
    }

    fn stages(&self, stage: Stage) -> usize {
        self.table.entries().filter(|(_, entry)| entry.stage == stage).count()
    }

    fn counters(&self) -> &ConntrackCounters {
        &self.pipeline.counters().conntrack
    }
}

const NEW: Tracking = Tracking::New;
const HIT: Tracking = Tracking::Hit;
const OFF: Tracking = Tracking::Off;

/// A packet of the client with this number.
fn from(client: u32) -> Packet {
    let [_, a, b, c] = client.to_be_bytes();
    Packet::between(&format!("10.{a}.{b}.{c}"), VIP)
}

#[test]
fn short_connections_leave_no_later_connection_untracked() {
    let mut world = World::of_connections();
    for client in 0..8_000 {
        let tracked = world.segments(client, &[SYN, ACK, PSH | ACK, ACK, FIN | ACK, ACK]);
        assert_eq!(tracked, [NEW, HIT, HIT, HIT, HIT, HIT], "client {client}");
    }
    // All in one second: nothing tells the closed ones from the new ones but that they are closed.
    let long = 10_000..10_500;
    let untracked = long.clone().filter(|client| !world.open(*client)).count();
    assert_eq!(untracked, 0);
    assert_eq!(world.tracked(long), 500);
    let counters = world.counters();
    assert!(counters.evicted_closed > 1_000 && counters.full == 0, "{counters:?}");
    assert_eq!(counters.evicted_void + counters.evicted_half_open + counters.evicted_unconfirmed, 0);
}

#[test]
fn connections_that_open_at_once_are_tracked_once_they_send_data() {
    let mut world = World::of_connections();
    for client in 0..8_000 {
        world.segments(client, &[SYN, ACK, RST]);
    }
    // Half-open ones give way to each other, and come back with what follows.
    for flags in [SYN, ACK, PSH | ACK, PSH | ACK] {
        for client in 10_000..10_500 {
            assert_ne!(world.segments(client, &[flags]), [OFF]);
        }
    }
    assert_eq!(world.tracked(10_000..10_500), 500);
}

#[test]
fn a_flood_of_spoofed_acks_leaves_no_new_connection_untracked() {
    let mut world = World::of_connections();
    for old in 0..200 {
        assert!(world.confirm(old));
    }
    let mut spoofed = 1_000_000..;
    let mut flood = |world: &mut World, count| {
        for client in spoofed.by_ref().take(count) {
            assert_eq!(world.segments(client, &[ACK]), [NEW]);
        }
    };
    flood(&mut world, 15_000);
    for client in 10_000..10_200 {
        assert!(world.confirm(client), "client {client}");
        flood(&mut world, 100);
    }
    assert_eq!(world.tracked(10_000..10_200), 200, "new ones");
    assert_eq!(world.tracked(0..200), 200, "old ones");
    let counters = world.counters();
    assert!(counters.evicted_unconfirmed > 25_000 && counters.full == 0, "{counters:?}");
    assert_eq!(counters.evicted_void + counters.evicted_half_open + counters.evicted_closed, 0);
}

#[test]
fn a_flood_of_spoofed_datagrams_leaves_no_new_flow_untracked() {
    let mut world = World::of_connections();
    for client in 1_000_000..1_015_000 {
        assert_eq!(world.send(&from(client).udp(40_000, 53)), NEW);
    }
    for client in 0..200 {
        let datagram = from(client).udp(40_000, 53);
        assert_eq!([&datagram; 3].map(|datagram| world.send(datagram)), [NEW, HIT, HIT], "client {client}");
        assert_eq!(world.stages(Stage::Established), client as usize, "not within a second");
        world.now += 1;
        assert_eq!(world.send(&datagram), HIT);
    }
    assert_eq!(world.stages(Stage::Established), 200);
}

/// Floods of packets sent twice, of whole handshakes, and of handshakes with data: all cheap for who forges sources and remembers nothing.
#[test]
fn a_flood_whose_connections_last_no_second_leaves_no_new_connection_untracked() {
    for flags in [&[ACK, ACK][..], &[SYN, ACK], &[SYN, ACK, PSH | ACK, ACK], &[SYN, SYN, ACK, ACK]] {
        let mut world = World::of_connections();
        for old in 0..200 {
            assert!(world.confirm(old));
        }
        for client in 1_000_000..1_010_000 {
            let first = world.segments(client, flags)[0];
            assert_eq!(first, NEW, "{flags:?}");
        }
        for client in 10_000..10_200 {
            assert!(world.confirm(client), "{flags:?}, client {client}");
        }
        assert_eq!(world.counters().full, 0, "{flags:?}");
        assert_eq!(world.tracked(0..200), 200, "{flags:?}: confirmed ones give way to none of the flood");
    }
}

#[test]
fn an_unconfirmed_connection_lives_through_a_flood_of_its_second() {
    let mut world = World::of_connections();
    for client in 1_000_000..1_015_000 {
        world.segments(client, &[ACK]);
    }
    for client in 0..200 {
        world.segments(client, &[ACK]);
    }
    // New clients, one for every pair of buckets: if one slot of a bucket were always taken, a third would be gone.
    for client in 2_000_000..2_000_768 {
        world.segments(client, &[ACK]);
    }
    let left = world.tracked(0..200);
    assert!(left > 160, "{left} of 200");
}

#[test]
fn half_open_connections_give_way_before_closed_and_unconfirmed_ones() {
    let mut world = World::of_connections();
    for client in 0..200 {
        world.segments(client, &[SYN, ACK, FIN | ACK]);
        world.segments(10_000 + client, &[ACK]);
    }
    // Younger ones too: they go first all the same.
    world.now += 10;
    for client in 1_000_000..1_015_000 {
        assert_eq!(world.segments(client, &[SYN]), [NEW]);
    }
    for client in 2_000_000..2_000_200 {
        assert_eq!(world.segments(client, &[ACK]), [NEW]);
    }
    let counters = world.counters();
    assert_eq!((counters.evicted_closed, counters.evicted_unconfirmed, counters.full), (0, 0, 0));
    assert!(counters.evicted_half_open > 5_000, "{counters:?}");
    assert_eq!((world.stages(Stage::Closed), world.stages(Stage::Unconfirmed)), (200, 400));
}

#[test]
fn live_connections_give_way_to_nobody() {
    let mut world = World::of_connections();
    let live = 0..10_000;
    for batch in live.clone().step_by(50).map(|first| first..first + 50) {
        batch.clone().for_each(|client| drop(world.segments(client, &[SYN, ACK])));
        world.now += 1;
        batch.for_each(|client| drop(world.segments(client, &[ACK])));
    }
    let held = world.stages(Stage::Established);
    assert!(held > 5_800, "{held} of 6,144 slots");
    for client in 1_000_000..1_002_000 {
        world.segments(client, &[SYN]);
        world.segments(client + 10_000, &[ACK, FIN]);
    }
    assert_eq!(world.tracked(live), held);
    assert!(world.counters().full > 5_000);
}

#[test]
fn a_closed_connection_is_found_and_stays_closed_until_it_starts_anew() {
    let mut world = World::of_connections();
    for close in [FIN | ACK, RST] {
        assert_eq!(world.segments(7, &[SYN, ACK, close, ACK, PSH | ACK]), [NEW, HIT, HIT, HIT, HIT]);
        assert_eq!((world.stages(Stage::Closed), world.table.occupancy()), (1, 1));
        world.now += 50;
        assert_eq!(world.segments(7, &[ACK]), [HIT], "its packets keep the entry");
        assert_eq!(world.stages(Stage::Closed), 1);
    }
    assert_eq!(world.segments(7, &[SYN]), [NEW]);
    assert_eq!((world.stages(Stage::HalfOpen), world.table.occupancy()), (1, 1));
    for stage in [Stage::Unconfirmed, Stage::Established] {
        assert_eq!(world.segments(7, &[ACK]), [HIT]);
        assert_eq!(world.stages(stage), 1);
        world.now += 1;
    }
}

#[test]
fn the_first_packet_says_how_far_a_connection_is() {
    for (flags, stage) in [
        (SYN, Stage::HalfOpen),
        (SYN | ACK, Stage::HalfOpen),
        (SYN | FIN, Stage::HalfOpen),
        (ACK, Stage::Unconfirmed),
        (FIN | ACK, Stage::Closed),
        (RST, Stage::Closed),
    ] {
        // The plain way of a packet, and the general one.
        for tags in [0, 1] {
            let mut world = World::of_connections();
            let packet = from(7).tcp(40_000, 443, flags);
            assert_eq!(world.send(&if tags > 0 { packet.vlan(7) } else { packet }), NEW);
            assert_eq!(world.stages(stage), 1, "{flags:#x}, {tags} tags");
        }
    }
}

#[test]
fn the_end_of_one_connection_closes_no_session_of_several() {
    let mut world = World::new(SessionAffinity::ClientIp, TrackingMode::PerSession);
    let segment = |src_port, flags| from(7).tcp(src_port, 443, flags);
    assert_eq!(world.send(&segment(40_000, FIN | ACK)), NEW);
    assert_eq!(world.stages(Stage::Unconfirmed), 1);
    for (packet, stage) in [
        (segment(40_001, SYN), Stage::Established),
        (segment(40_001, ACK), Stage::Established),
        (segment(40_001, FIN | ACK), Stage::Established),
        (segment(40_002, RST), Stage::Established),
    ] {
        world.now += 1;
        assert_eq!(world.send(&packet), HIT);
        assert_eq!((world.stages(stage), world.table.occupancy()), (1, 1));
    }
}
