//! The plain way decides and delivers every packet as the general way does, whatever the state of backends and table.

use std::num::{NonZeroU16, NonZeroU32};
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use guideway_dataplane::access_list::{AccessList, AccessListId};
use guideway_dataplane::address::{Address, Prefix};
use guideway_dataplane::admission::{Admission, Limits, SourceLimit};
use guideway_dataplane::affinity::{
    AffinityPolicy, LoadBalancingScheme, PersistenceOnUnhealthy, SessionAffinity, TrackingHasher,
    TrackingMode,
};
use guideway_dataplane::backend::{BackendHandle, Generation};
use guideway_dataplane::conntrack::{Census, ConntrackTable, Entry, TrackingKey};
use guideway_dataplane::delivery::{Delivery, DeliveryMode, Tunnel};
use guideway_dataplane::egress::{Egress, PortId};
use guideway_dataplane::forwarding_rule::{
    ForwardingRule, Route, RuleId, RulePorts, RuleProtocol, ServiceId,
};
use guideway_dataplane::frame::{Frame, HEADROOM};
use guideway_dataplane::pipeline::{Decision, Pipeline};
use guideway_dataplane::snapshot::{Backend, Backends, Snapshot, SnapshotBuilder};
use guideway_dataplane::time::Tick;
use guideway_dataplane::traffic_counters::TrafficCounters;
use guideway_dataplane::wire::ethernet::MacAddress;
use pcap_fixtures::packet::{Packet, tcp};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::appliance::{Memory, OWN_V4, OWN_V6};

/// Ways to a backend, of which each service has three.
const MODES: [DeliveryMode; 4] =
    [DeliveryMode::L2, DeliveryMode::Ipip, DeliveryMode::Gre, DeliveryMode::Gue { dst_port: 6080 }];

/// Services, each with a VIP of both families and its own settings.
const SERVICES: usize = 8;

/// Services of which each client meets two of the three backends.
const SUBSETTING: [usize; 4] = [0, 3, 5, 6];

/// Last byte of the appliance's own address among clients.
const OWN: u8 = 1;

/// Change of a backend since the snapshot before.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Healthy,
    /// Entries that do not persist are void.
    Unhealthy(u32),
    Draining(u32),
    Gone,
    Unresolved,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => Just(Fate::Healthy),
        1 => (1..3u32).prop_map(Fate::Unhealthy),
        1 => (0..8u32).prop_map(Fate::Draining),
        1 => Just(Fate::Gone),
        1 => Just(Fate::Unresolved),
    ]
}

fn address(text: &str) -> Address {
    text.parse::<std::net::IpAddr>().expect("an address").into()
}

fn vip(service: usize, is_ipv4: bool) -> String {
    if is_ipv4 { format!("203.0.113.{}", service + 1) } else { format!("2001:db8::{:x}", service + 1) }
}

fn policy(service: usize) -> AffinityPolicy {
    let scheme =
        if service.is_multiple_of(2) { LoadBalancingScheme::External } else { LoadBalancingScheme::Internal };
    let affinity = [
        SessionAffinity::None,
        SessionAffinity::ClientIpPortProto,
        SessionAffinity::ClientIp,
        SessionAffinity::ClientIpNoDestination,
    ][service % 4];
    let mode = if service < 4 { TrackingMode::PerConnection } else { TrackingMode::PerSession };
    let persistence = [
        PersistenceOnUnhealthy::DefaultForProtocol,
        PersistenceOnUnhealthy::NeverPersist,
        PersistenceOnUnhealthy::AlwaysPersist,
    ][service % 3];
    AffinityPolicy::new(scheme, affinity, mode, persistence)
}

fn delivery(mode: DeliveryMode, backend: usize) -> Delivery {
    let source = backend.is_multiple_of(2).then_some(MacAddress([2, 0, 0, 0, 0, 1]));
    let egress = Egress { source, ..Egress::to(MacAddress([2, 0, 0, 0, 1, backend as u8])) };
    if mode == DeliveryMode::L2 {
        return Delivery::l2(egress, 1500);
    }
    let (endpoint, own) = if backend < 2 { ("10.1.0.7", OWN_V4) } else { ("fd00::7", OWN_V6) };
    let source_range =
        (backend == 1 && mode == DeliveryMode::Gre).then(|| Prefix::new(address("10.64.0.0"), 16));
    let tunnel = Tunnel { endpoint: address(endpoint), source: address(own), source_range };
    Delivery::tunnel(mode, &tunnel, egress, 1500).fragmenting(backend == 0)
}

/// The snapshot in which all backends are healthy. Its lookup tables take long to make, and never change.
static HEALTHY: LazyLock<Snapshot> = LazyLock::new(|| {
    let mut builder = SnapshotBuilder::new();
    fill(&mut builder, 0..SERVICES);
    builder.counted_workers(1).build()
});

/// The same of two networks, each of which has half of the services, behind the same addresses: frames without a tag, and those
/// of VLAN 5.
static OF_TWO_NETWORKS: LazyLock<Snapshot> = LazyLock::new(|| {
    let mut builder = SnapshotBuilder::new();
    for (vlan, first) in [(None, 0), (Some(5), SERVICES / 2)] {
        builder.network(PortId(0), vlan);
        fill(&mut builder, first..first + SERVICES / 2);
    }
    builder.counted_workers(1).build()
});

/// Access lists: one that denies some clients of each family, and one that admits few.
fn lists() -> [AccessList; 2] {
    let prefix = |text: &str, length| Prefix::new(address(text), length);
    let denied = [prefix("192.0.2.4", 32), prefix("2001:db8:c::4", 128), prefix("127.0.0.0", 8)];
    let admitted = [prefix("192.0.2.0", 30), prefix("2001:db8:c::", 125)];
    [
        AccessList::new(denied.map(|prefix| (prefix, false)), true),
        AccessList::new(admitted.map(|prefix| (prefix, true)), false),
    ]
}

/// List of a service's rules of a protocol: some have none, some of which routes lead to one.
fn guard(service: usize, protocol: RuleProtocol) -> Option<usize> {
    match (service, protocol) {
        (1 | 4, _) => Some(0),
        (2, RuleProtocol::Udp) => Some(1),
        (6, _) => Some(1),
        _ => None,
    }
}

/// Adds these services to the latest network, with rules and routes before them.
fn fill(builder: &mut SnapshotBuilder, services: Range<usize>) {
    let mut rules = Vec::new();
    let guards = lists().map(|list| builder.access_list(list));
    for (number, service) in services.clone().enumerate() {
        let id = builder.service(policy(service));
        // One with subsets has routes before it and packets that are not tracked, one selects by the client alone.
        if SUBSETTING.contains(&service) {
            builder.subset_size(id, const { NonZeroU16::new(2).unwrap() });
        }
        for backend in 0..3 {
            builder.backend(id, &format!("{service}-{backend}"), 1, delivery(MODES[service % 4], backend));
        }
        for is_ipv4 in [true, false] {
            let vip = address(&vip(number, is_ipv4));
            let (tcp, udp) = (RuleProtocol::Tcp, RuleProtocol::Udp);
            let of_service = match service % 4 {
                0 => vec![(tcp, RulePorts::List(vec![80, 443])), (udp, RulePorts::List(vec![443]))],
                1 => vec![(RuleProtocol::L3Default, RulePorts::All)],
                2 => vec![(tcp, RulePorts::Range(80, 500)), (udp, RulePorts::All)],
                _ => vec![(tcp, RulePorts::All), (udp, RulePorts::Range(440, 450))],
            };
            for (protocol, ports) in of_service {
                let region_only = service == 5;
                let access_list = guard(service, protocol).map(|list| guards[list]);
                let rule = ForwardingRule::new(vip, protocol, ports, id);
                rules.push(builder.rule(ForwardingRule { region_only, access_list, ..rule }));
            }
        }
    }
    let service = |number: u16| ServiceId(services.start as u16 + number);
    let listed = RulePorts::List(vec![443]);
    let mut narrow = ForwardingRule::new(address(&vip(0, true)), RuleProtocol::Tcp, listed, service(1));
    narrow.source_ranges = vec![Prefix::new(address("192.0.2.4"), 31)];
    builder.rule(narrow);
    let range = Prefix::new(address("198.51.100.0"), 28);
    builder.rule(ForwardingRule::new(range, RuleProtocol::Tcp, RulePorts::All, service(2)));
    builder
        .route(Route { dest_range: Prefix::new(address("198.51.100.128"), 25), next_hop: rules[2] })
        .route(Route { dest_range: Prefix::new(address("2001:db8:99::"), 48), next_hop: rules[0] })
        .route(Route { dest_range: Prefix::new(address("127.0.0.0"), 8), next_hop: rules[2] })
        .route(Route { dest_range: Prefix::new(address("192.0.2.8"), 29), next_hop: rules[2] })
        .region(Prefix::new(address("192.0.2.0"), 29))
        .own(address(OWN_V4))
        .own(address(OWN_V6))
        .icmp_errors_per_sec(3);
}

/// Settings of admission: none, each alone, and all.
fn admission() -> impl Strategy<Value = Admission> {
    let limit = || prop::option::of((1..6u32).prop_map(|limit| NonZeroU32::new(limit).expect("not zero")));
    // Lengths of prefixes that hold one client, some, or all.
    let lengths = (select(vec![32u8, 30, 8]), select(vec![128u8, 125, 48]));
    (any::<bool>(), limit(), limit(), lengths).prop_map(
        |(protect_established, per_worker, per_source, (ipv4_prefix_length, ipv6_prefix_length))| {
            let per_source =
                per_source.map(|per_sec| SourceLimit { per_sec, ipv4_prefix_length, ipv6_prefix_length });
            Admission { protect_established, limits: Limits::new(per_worker, per_source) }
        },
    )
}

fn snapshot(fates: &[Fate], of_two: bool, admission: Admission) -> Snapshot {
    let snapshot = if of_two { &*OF_TWO_NETWORKS } else { &*HEALTHY };
    let changed = |(handle, fate): (u32, &Fate)| {
        let backend = snapshot.backends.get(BackendHandle(handle))?.clone();
        match *fate {
            Fate::Healthy => Some(backend),
            Fate::Unhealthy(times) => Some(Backend { generation: Generation(times), ..backend }),
            Fate::Draining(until) => Some(Backend { drain_deadline: Tick(until), ..backend }),
            Fate::Gone => None,
            Fate::Unresolved => {
                let unresolved = Egress { next_hop: None, ..*backend.delivery.egress() };
                Some(Backend { delivery: Delivery::l2(unresolved, 1500), ..backend })
            }
        }
    };
    let backends: Vec<Option<Backend>> = (0..).zip(fates).map(changed).collect();
    Snapshot {
        networks: snapshot.networks.clone(),
        services: snapshot.services.clone(),
        backends: Backends::from(backends),
        access_lists: Arc::clone(&snapshot.access_lists),
        admission,
        traffic_counters: Arc::new(TrafficCounters::new(&Census::new(1, 3 * SERVICES), 40, 3 * SERVICES, 4)),
        ..Snapshot::default()
    }
}

/// Packet of one of few connections, in any of its forms.
fn packet() -> impl Strategy<Value = Vec<u8>> {
    let ends = (
        any::<bool>(),
        0..SERVICES + 4,
        select(vec![2u8, 2, 2, 4, 4, 9, OWN, 127]),
        select(vec![80u16, 443, 443, 443, 444, 22]),
        0..2u16,
    );
    let lengths = vec![0usize, 1, 5, 700, 1430, 1441, 1465, 1480, 1600];
    let form = (
        0..24u8,
        select(lengths),
        any::<bool>(),
        select(vec![None, None, None, None, Some(5), Some(5), Some(6)]),
    );
    (ends, form, prop::option::weighted(0.1, (0..80usize, any::<u8>()))).prop_map(
        |((is_ipv4, service, client, port, client_port), (form, len, may_fragment, vlan), damage)| {
            let client = match (client, is_ipv4) {
                (OWN, true) => OWN_V4.to_owned(),
                (OWN, false) => OWN_V6.to_owned(),
                // A martian.
                (127, true) => "127.0.0.1".to_owned(),
                (127, false) => "fe80::1".to_owned(),
                (_, true) => format!("192.0.2.{client}"),
                (_, false) => format!("2001:db8:c::{client}"),
            };
            let dst = match (service.checked_sub(SERVICES), is_ipv4) {
                (Some(0), true) => "198.51.100.3".to_owned(),
                (Some(1), true) => "198.51.100.200".to_owned(),
                (Some(1), false) => "2001:db8:99::200".to_owned(),
                (Some(2), true) => "203.0.113.99".to_owned(),
                // Both ends of one connection by routes, of which one is a martian.
                (Some(3), true) => {
                    if client.starts_with("127") { "192.0.2.9" } else { "127.0.0.1" }.to_owned()
                }
                (Some(_), false) => "2001:db8::99".to_owned(),
                _ => vip(service % SERVICES, is_ipv4),
            };
            let mut packet = Packet::between(&client, &dst).tos(form * 9).identification(7);
            let is_way_back = service == SERVICES + 3 && client.starts_with("127");
            let (src_port, flags) =
                (1_000 + client_port, [tcp::ACK, tcp::SYN, tcp::ACK | tcp::FIN, tcp::RST]);
            let (src_port, port) = if is_way_back { (port, src_port) } else { (src_port, port) };
            packet = match form {
                0..8 => packet.tcp(src_port, port, tcp::ACK),
                8..12 => packet.tcp(src_port, port, flags[usize::from(form % 4)]),
                12..16 => packet.udp(src_port, port),
                16 => packet.vlan(5).tcp(src_port, port, tcp::ACK),
                17 => packet.echo_request(1, 1),
                18 => packet.ttl(1).tcp(src_port, port, tcp::ACK),
                19 => packet.udp(src_port, port).fragment(0, true),
                20 => packet.udp(src_port, port).fragment(1480, false),
                21 => packet.macs([2, 0, 0, 0, 0, 9], [1, 0, 0, 0, 0, 1]).tcp(src_port, port, tcp::ACK),
                22 => packet.esp(3),
                _ => packet.options(&[1, 1, 1, 1]).tcp(src_port, port, tcp::ACK),
            };
            packet = if (19..21).contains(&form) { packet } else { packet.payload_len(len) };
            if !may_fragment {
                packet = packet.dont_fragment();
            }
            if let Some(vlan) = vlan {
                packet = packet.vlan(vlan);
            }
            let mut frame = packet.build();
            if let Some((offset, byte)) = damage
                && let Some(at) = frame.get_mut(offset)
            {
                *at = byte;
            }
            if len == 1 {
                frame.resize(frame.len().max(60), 0xaa);
            }
            frame
        },
    )
}

/// A worker that takes packets one way, with all that it changes.
struct Worker {
    pipeline: Pipeline,
    table: ConntrackTable,
}

impl Worker {
    fn new(pipeline: impl Fn(Pipeline) -> Pipeline) -> Self {
        Self {
            pipeline: pipeline(Pipeline::new(TrackingHasher::new([1, 2, 3, 4]), 0)),
            // A table so small that connections are without room.
            table: ConntrackTable::with_capacity(40).expect("memory for a small table"),
        }
    }

    fn decide(&mut self, burst: &[Vec<u8>], now: u32, snapshot: &Snapshot) -> Vec<(Decision, Vec<u8>)> {
        let mut frames: Vec<Memory> = burst.iter().map(|frame| Memory::new(frame, HEADROOM)).collect();
        let mut decisions = vec![Decision::PENDING; frames.len()];
        self.pipeline.process(PortId(0), &mut frames, &mut decisions, Tick(now), snapshot, &self.table);
        decisions
            .into_iter()
            .zip(frames)
            .map(|(decision, frame)| (decision, frame.bytes().to_vec()))
            .collect()
    }

    fn entries(&self) -> Vec<(TrackingKey, Entry)> {
        let mut entries: Vec<_> = self.table.entries().collect();
        entries.sort_unstable_by_key(|(key, _)| key.0);
        entries
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn the_plain_way_is_the_general_way(
        of_two in any::<bool>(),
        admission in admission(),
        pool in vec(packet(), 4..24),
        rounds in vec((vec(any::<Index>(), 1..=32), vec(fate(), 3 * SERVICES), 0..3u32), 2..6),
    ) {
        let mut plain = Worker::new(|pipeline| pipeline);
        let mut general = Worker::new(Pipeline::general_alone);
        let mut now = 0;
        for (burst, fates, seconds) in rounds {
            now += seconds;
            // Few packets come several times each: those of a connection that has an entry are what the plain way is for.
            let burst: Vec<Vec<u8>> = burst.iter().map(|index| index.get(&pool).clone()).collect();
            let (of_plain, of_general) = (
                snapshot(&fates, of_two, admission),
                snapshot(&fates, of_two, admission),
            );
            let (ours, theirs) = (plain.decide(&burst, now, &of_plain), general.decide(&burst, now, &of_general));
            for ((frame, ours), theirs) in burst.iter().zip(&ours).zip(&theirs) {
                prop_assert_eq!(ours, theirs, "{:?}", frame);
            }
            prop_assert_eq!(plain.entries(), general.entries());
            prop_assert_eq!(plain.pipeline.counters(), general.pipeline.counters());
            for rule in 0..40 {
                let of = |snapshot: &Snapshot| snapshot.traffic_counters.rule(RuleId(rule));
                prop_assert_eq!(of(&of_plain), of(&of_general));
            }
            for list in (0..4).map(AccessListId) {
                let of = |snapshot: &Snapshot| snapshot.traffic_counters.access_list(list);
                prop_assert_eq!(of(&of_plain), of(&of_general));
            }
            for backend in 0..3 * SERVICES as u32 {
                let handle = BackendHandle(backend);
                let of = |snapshot: &Snapshot| snapshot.traffic_counters.backend(handle);
                prop_assert_eq!(of(&of_plain), of(&of_general));
            }
        }
    }
}
