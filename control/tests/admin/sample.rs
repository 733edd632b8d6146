//! An appliance as the script has it: two ports, two workers, two services.

mod control_loop;
mod discovery;
mod listed;
mod watched;

use std::collections::BTreeMap;

use guideway::api::view::{
    AccessListStats, Announcement, AnnouncementReason, Arrivals, Backend, BackendStats, Condition,
    ConnectionState, ConntrackCounts, ConntrackEntry, ConntrackStats, Drain, DrainEnd, Event, EventKind,
    FragmentStats, Guard, Health, HealthCheck, HealthChecks, HostStackStats, IcmpErrorStats, LinkStats,
    NeighborReplies, NextHop, OperatorSetting, OperatorSettings, PacketStats, PathMtu, Pool, Port,
    PortMember, PortState, PortStats, PortXstats, ProbeAnswer, Quantiles, Rates, RssState, RuleCheck,
    RuleProbe, RuleStats, Service, ServiceStats, Stats, Status, Traffic, TunnelErrorStats, Vip, WeightSource,
    WeightStatus, Worker, WorkerQueues, WorkerState, WorkerStats, Xstats,
};
use guideway::net::host_stack::FrameKind;
use guideway_dataplane::verdict::{DropReason, PassReason};

pub(crate) use listed::{rules, services};

pub(crate) use watched::watched;

pub(crate) fn status(vips: &[Vip]) -> Status {
    let status = Status {
        condition: Condition::default(),
        version: "0.1.0".into(),
        pid: 4321,
        started_at_unix_sec: 1_790_000_000,
        uptime_sec: 273_900,
        config_path: "/etc/guideway/guideway.toml".into(),
        config_loaded_at_unix_sec: 1_790_000_000 + 273_900 - 725,
        configuration_generation: 2,
        snapshot_generation: 17,
        unreclaimed_snapshots: 1,
        changes_coalesced: 12,
        unresolved_neighbors: 1,
        log_lines_lost: 7,
        control_loop: control_loop::control_loop(),
        health_checks: Some(HealthChecks {
            probes_begun: 164_340,
            intervals_missed: 0,
            failures_discarded: 3,
            start_lag: Quantiles { median_ms: 0.9, p99_ms: 1.2, max_ms: 7.0 },
            publications_measured: 12,
            probe_to_packet: Quantiles { median_ms: 0.6, p99_ms: 1.5, max_ms: 1.5 },
        }),
        ports: vec![
            Port {
                name: "lan".into(),
                device: "0000:3b:02.0".into(),
                driver: "net_iavf".into(),
                mac: "02:00:00:00:00:01".into(),
                link_up: true,
                speed_mbps: Some(25_000),
                mtu: 1500,
                node: Some(1),
                rss: true,
                queues: 2,
                rx_queues: 2,
                tx_queues: 2,
                queue_plan: "every worker has a receive and a transmit queue of its own".into(),
                queue_refusals: Vec::new(),
                rss_state: Some(RssState {
                    types: ["ipv4", "ipv4-frag", "ipv4-tcp", "ipv4-udp"].map(String::from).to_vec(),
                    symmetric: Some(true),
                    table_entries: Some(vec![64, 64]),
                    table_refusal: None,
                }),
                state: PortState::Running,
                resets: 3,
                link_losses: 4,
                members: Vec::new(),
            },
            Port {
                name: "lab".into(),
                device: "net_af_packet0,iface=eth0".into(),
                driver: "net_af_packet".into(),
                mac: "02:00:00:00:00:02".into(),
                link_up: false,
                speed_mbps: None,
                mtu: 9000,
                node: None,
                rss: false,
                queues: 1,
                rx_queues: 1,
                tx_queues: 1,
                queue_plan: "2 workers on 1 receive and 1 transmit queue: queue 0: worker 0 sharing with 1; worker 1 \
                             sends by worker 0"
                    .into(),
                queue_refusals: vec![
                    "with 2 receive and 2 transmit queues the device refuses to be configured (Not supported)".into(),
                ],
                rss_state: None,
                state: PortState::Resetting,
                resets: 0,
                link_losses: 1,
                members: vec![
                    PortMember { name: "0000:3b:00.0".into(), link_up: true },
                    PortMember { name: "0000:3b:00.1".into(), link_up: false },
                ],
            },
        ],
        workers: vec![worker(0, WorkerState::Running, 0.25), worker(1, WorkerState::Stalled, 0.0)],
        services: vec![
            Service {
                name: "firewall".into(),
                network: None,
                backends: 1,
                healthy: 0,
                ever_healthy: false,
                operator_drained: 0,
                eligible: 0,
                pool: None,
                weights_valid: None,
                lookup_table_digest: "4d0c3d29a9801513".into(),
            },
            Service {
                name: "web".into(),
                network: None,
                backends: 3,
                healthy: 2,
                ever_healthy: true,
                operator_drained: 1,
                eligible: 1,
                pool: Some(Pool::Primary),
                weights_valid: Some(false),
                lookup_table_digest: "28c22f35767957c2".into(),
            },
        ],
        vips: vips.to_vec(),
        announcements: announcements(),
        guard: Some(Guard {
            pid: Some(4399),
            restarts: 1,
            last_error: Some("the guard, process 4322, has ended with signal: 9 (SIGKILL)".into()),
        }),
        drain: None,
        endpoints_files: discovery::endpoints_files(),
        endpoints_dns: discovery::endpoints_dns(),
        operator_settings: operator_settings(),
    };
    status.with_condition()
}

/// Settings by hand, both kept over a restart: a drain of one backend, a weight of another.
fn operator_settings() -> OperatorSettings {
    let setting = |backend: &str| OperatorSetting {
        service: "web".into(),
        backend: backend.into(),
        drained_at_unix_sec: None,
        weight: None,
        weight_set_at_unix_sec: None,
    };
    OperatorSettings {
        state_path: Some("/var/lib/guideway/state.toml".into()),
        last_error: None,
        backends: vec![
            OperatorSetting {
                weight: Some(2),
                weight_set_at_unix_sec: Some(1_790_000_000 + 273_900 - 59),
                ..setting("web-1")
            },
            OperatorSetting {
                drained_at_unix_sec: Some(1_790_000_000 + 273_900 - 7_325),
                ..setting("web-2")
            },
        ],
    }
}

fn worker(number: u16, state: WorkerState, busy_share: f64) -> Worker {
    let lan = WorkerQueues {
        port: "lan".into(),
        rx_queue: Some(number),
        shares_with: Vec::new(),
        receives_from: Vec::new(),
        tx_queue: Some(number),
        sends_by: None,
    };
    // Worker 0 polls the one queue for both.
    let polls = number == 0;
    let lab = WorkerQueues {
        port: "lab".into(),
        rx_queue: polls.then_some(0),
        shares_with: if polls { vec![1] } else { Vec::new() },
        receives_from: if polls { Vec::new() } else { vec![0] },
        tx_queue: polls.then_some(0),
        sends_by: (!polls).then_some(0),
    };
    let core = u32::from(number) + 1;
    Worker {
        number,
        core,
        node: Some(1),
        state,
        polls: 1_000_000,
        busy_share,
        packet_share: 0.5,
        queues: vec![lan, lab],
    }
}

/// One address is announced; of the other nobody knows.
fn announcements() -> Vec<Announcement> {
    let one = |address: &str, rule: &str, hook: &str| Announcement {
        announcement: "bgp".into(),
        address: address.parse().unwrap(),
        forwarding_rule: rule.into(),
        network: None,
        hook: hook.into(),
        wanted: true,
        reason: AnnouncementReason::Served,
        hold_down_left_sec: None,
        announced: Some(true),
        since_unix_sec: 1_790_273_175,
        failures: 0,
        last_error: None,
    };
    vec![
        one("203.0.113.10", "web", "BIRD protocol vip_web"),
        Announcement {
            wanted: false,
            reason: AnnouncementReason::TooFewHealthy,
            hold_down_left_sec: Some(42),
            announced: None,
            failures: 3,
            last_error: Some("/usr/local/bin/announce withdraw ended with exit status: 1: no router".into()),
            ..one("2001:db8::10", "web-v6", "/usr/local/bin/announce")
        },
    ]
}

/// So many connections that have begun, and rates that go with them.
fn arrivals(new_connections: u64) -> Arrivals {
    let rates = Rates {
        packets_per_sec: 120.5 * new_connections as f64,
        bytes_per_sec: 36_150.0 * new_connections as f64,
        new_connections_per_sec: 0.25 * new_connections as f64,
    };
    Arrivals { new_connections, rates }
}

pub(crate) fn drain(deadline_sec: u64, stops: bool, end: Option<DrainEnd>) -> Drain {
    let quiet_sec = if end.is_some() { 5 } else { 0 };
    // Only the one that is always answered for.
    let answered_vips = vips().iter().filter(|vip| vip.announced).map(|vip| vip.address).collect();
    Drain { withdrawn: end.is_some(), quiet_sec, deadline_sec, end, stops, answered_vips }
}

pub(crate) fn vips() -> Vec<Vip> {
    vec![
        Vip {
            network: None,
            address: "203.0.113.10".parse().unwrap(),
            neighbor_replies: NeighborReplies::WhenAnnounced,
            announced: false,
            conflicts: 2,
            forwarding_rules: vec!["web".into(), "web-udp".into()],
        },
        Vip {
            network: None,
            address: "2001:db8::10".parse().unwrap(),
            neighbor_replies: NeighborReplies::Always,
            announced: true,
            conflicts: 0,
            forwarding_rules: vec!["web-v6".into()],
        },
        Vip {
            network: None,
            address: "2001:db8:1234::/96".parse().unwrap(),
            neighbor_replies: NeighborReplies::WhenAnnounced,
            announced: false,
            conflicts: 1,
            forwarding_rules: vec!["mail-v6".into()],
        },
    ]
}

pub(crate) fn backends() -> Vec<Backend> {
    let hop = |mac: Option<&str>| NextHop {
        port: "lan".into(),
        address: Some("192.0.2.254".parse().unwrap()),
        mac: mac.map(str::to_owned),
    };
    let backend = |service: &str, name: &str, address: &str| Backend {
        network: None,
        service: service.into(),
        name: name.into(),
        address: address.parse().unwrap(),
        role: Pool::Primary,
        health: Health::Healthy,
        health_check: None,
        draining: false,
        operator_drained: false,
        entries_end_sec: None,
        weight: None,
        weight_source: WeightSource::Configured,
        eligible: true,
        share: 0.0,
        forwarded: Traffic { packets: 12, bytes: 4_096 },
        connections: 7,
        arrivals: arrivals(8),
        warning: None,
        next_hop: Some(hop(Some("02:00:00:00:00:fe"))),
        path_mtu: None,
    };
    vec![
        Backend {
            health: Health::Unhealthy,
            health_check: Some(failing()),
            eligible: false,
            next_hop: Some(hop(None)),
            ..backend("firewall", "fw-1", "192.0.2.21")
        },
        Backend {
            weight: Some(2),
            share: 0.66668,
            health_check: Some(succeeding(WeightStatus::ValidWeight)),
            path_mtu: Some(PathMtu { mtu: 1_400, told_by: "192.0.2.254".parse().unwrap(), for_sec: 540 }),
            ..backend("web", "web-1", "198.51.100.11")
        },
        Backend {
            weight: Some(1),
            share: 0.33332,
            health_check: Some(succeeding(WeightStatus::MissingWeight)),
            ..backend("web", "web-2", "198.51.100.12")
        },
        Backend {
            role: Pool::Failover,
            draining: true,
            weight: Some(1),
            eligible: false,
            next_hop: None,
            ..backend("web", "web-3", "2001:db8:2::13")
        },
    ]
}

/// Through one rule alone it does not answer; through another, nobody has asked yet.
fn failing() -> HealthCheck {
    let check = |rule: &str, healthy, passed, failed| RuleCheck {
        forwarding_rule: rule.into(),
        healthy,
        passed,
        failed,
        last_latency_ms: Some(0.75),
        last_error: None,
    };
    HealthCheck {
        since_unix_sec: 1_790_273_175,
        for_sec: 725,
        turns: 3,
        weight_status: None,
        rules: vec![
            check("fw", true, 54_780, 12),
            RuleCheck {
                last_latency_ms: Some(5_000.0),
                last_error: Some("no answer within 5 s".into()),
                ..check("fw-v6", false, 54_000, 145)
            },
            RuleCheck { last_latency_ms: None, ..check("fw-new", false, 0, 0) },
        ],
    }
}

fn succeeding(status: WeightStatus) -> HealthCheck {
    HealthCheck {
        since_unix_sec: 1_790_000_009,
        for_sec: 273_891,
        turns: 1,
        weight_status: Some(status),
        rules: vec![RuleCheck {
            forwarding_rule: "web".into(),
            healthy: true,
            passed: 54_778,
            failed: 0,
            last_latency_ms: Some(1.042),
            last_error: None,
        }],
    }
}

pub(crate) fn events() -> Vec<Event> {
    let event = |id, kind, of: &[&str], text: &str| Event {
        id,
        at_unix_sec: 1_790_273_175.0 + id as f64 / 8.0,
        kind,
        service: of.first().map(|service| (*service).to_owned()),
        backend: of.get(1).map(|backend| (*backend).to_owned()),
        network: None,
        text: text.into(),
    };
    vec![
        event(41, EventKind::Reloaded, &[], "configuration 2 is in force, 3 changes"),
        event(
            42,
            EventKind::BackendUnhealthy,
            &["firewall", "fw-1"],
            "it is unhealthy: no answer within 5 s",
        ),
        event(
            43,
            EventKind::WeightsInvalid,
            &["web"],
            "a backend answers without a weight: the service runs with equal weights",
        ),
    ]
}

pub(crate) fn stats() -> Stats {
    let workers: Vec<WorkerStats> = (0..2_u16)
        .map(|number| WorkerStats {
            number,
            polls: 1_000_000,
            busy_polls: 250_000,
            packets: packets(u64::from(number) + 1),
            conntrack: conntrack(u64::from(number) + 1),
        })
        .collect();
    let traffic = |packets| Traffic { packets, bytes: packets * 300 };
    Stats {
        total: packets(3),
        rates: arrivals(90).rates,
        workers,
        ports: vec![
            PortStats { name: "lan".into(), received: 3_000, sent: 2_700, missed: 7, ..PortStats::default() },
            PortStats { name: "lab".into(), rx_errors: 1, ..PortStats::default() },
        ],
        rules: vec![
            RuleStats {
                name: "web".into(),
                service: "web".into(),
                offered: traffic(2_400),
                arrivals: arrivals(80),
            },
            RuleStats {
                name: "web-v6".into(),
                service: "web".into(),
                offered: traffic(300),
                arrivals: arrivals(10),
            },
        ],
        access_lists: vec![AccessListStats { name: "web-clients".into(), admitted: 2_500, denied: 200 }],
        services: vec![ServiceStats {
            name: "web".into(),
            offered: traffic(2_700),
            forwarded: traffic(2_670),
            connections: 1_200,
            arrivals: arrivals(90),
        }],
        backends: vec![BackendStats {
            service: "web".into(),
            name: "web-1".into(),
            forwarded: traffic(2_670),
            connections: 1_200,
            arrivals: arrivals(88),
        }],
        conntrack: ConntrackStats { capacity: 1_048_576, entries: 1_234, counts: conntrack(3) },
        host_stack: HostStackStats {
            received: words(FrameKind::ALL.iter().map(|kind| kind.as_str()), &[("arp", 21), ("echo", 4)]),
            answered: 20,
            withheld: 3,
            limited: 2,
            probes: 9,
            announcements: 6,
            defences: 2,
            neighbor_changes: 8,
            refused_claims: 7,
            group_reports: 5,
            queue_full: 1,
        },
        tunnel_errors: TunnelErrorStats { learnt: 2, unreachable: 1, ignored: 3 },
    }
}

fn packets(times: u64) -> PacketStats {
    let passed = PassReason::ALL.iter().map(|reason| reason.as_str());
    let dropped = DropReason::ALL.iter().map(|reason| reason.as_str());
    PacketStats {
        offered: 1_000 * times,
        forwarded: 890 * times,
        passed: words(passed, &[("not_ip", 70 * times), ("no_forwarding_rule", 30 * times)]),
        dropped: words(dropped, &[("ttl_expired", 9 * times), ("next_hop_unresolved", times)]),
        exceeding_mtu: 8 * times,
        fragmented: 2 * times,
        icmp_errors: IcmpErrorStats { sent: 7 * times, suppressed: 6 * times, steered: 5 * times },
        fragments: FragmentStats { followed: 4 * times, first_unseen: 3 * times },
        link: LinkStats {
            sent: 900 * times,
            tx_full: 4 * times,
            unknown_egress_port: 0,
            host_full: 0,
            refused: times,
            joined: 2 * times,
            fragments: 4 * times,
            no_fragment_memory: 0,
        },
    }
}

fn conntrack(times: u64) -> ConntrackCounts {
    ConntrackCounts {
        hits: 800 * times,
        inserts: 80 * times,
        evicted_void: 5 * times,
        evicted_half_open: 4 * times,
        evicted_closed: 7 * times,
        evicted_unconfirmed: 6 * times,
        full: 3 * times,
        limited: 9 * times,
        protected: times,
        untracked: 2 * times,
    }
}

/// All words with zero, but for these.
fn words<'a>(words: impl Iterator<Item = &'a str>, counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
    let mut map: BTreeMap<String, u64> = words.map(|word| (word.to_owned(), 0)).collect();
    for (word, count) in counts {
        *map.get_mut(*word).expect("a word that there is") = *count;
    }
    map
}

/// Counters of the driver of the script's only port.
pub(crate) fn xstats() -> Xstats {
    let counters = BTreeMap::from([("rx_q0_errors".to_owned(), 3), ("tx_good_packets".to_owned(), 1_000)]);
    Xstats { ports: vec![PortXstats { name: "lan".into(), counters }] }
}

/// Probes by hand of the script's backends: one that is well, and one that nothing answers.
pub(crate) fn probes() -> Vec<RuleProbe> {
    let probe = |rule: &str, address: &str, reason: Option<&str>| RuleProbe {
        forwarding_rule: rule.into(),
        health_check: "web".into(),
        in_path: true,
        address: address.parse().unwrap(),
        port: 80,
        latency_ms: 1.25,
        answer: ProbeAnswer { well: Some(reason.is_none()), reason: reason.map(str::to_owned) },
        closed_port: reason.map(|reason| ProbeAnswer { well: Some(false), reason: Some(reason.to_owned()) }),
    };
    let silent = Some("no answer within 5 s");
    vec![probe("web", "203.0.113.10", None), probe("web-v6", "2001:db8:1234::1", silent)]
}

/// The script's connections: each backend has so many entries.
pub(crate) fn entries() -> Vec<ConntrackEntry> {
    let entry = |(index, backend): (u64, &str)| ConntrackEntry {
        key: format!("{:016x}", 0x1234_5678_9abc_def0_u64.rotate_left(4 * index as u32)),
        service: "web".into(),
        backend: backend.into(),
        idle_sec: 30 * index as u32,
        state: [ConnectionState::HalfOpen, ConnectionState::Established, ConnectionState::Closed]
            [index as usize],
        half_open: index == 0,
        persists: true,
    };
    ["web-1", "web-2", "web-1"].iter().enumerate().map(|(index, name)| entry((index as u64, name))).collect()
}

/// A pcapng section of Ethernet frames whose timestamps are in nanoseconds.
pub(crate) fn section_header() -> Vec<u8> {
    let section = block(0x0A0D_0D0A, &[&[0x4D, 0x3C, 0x2B, 0x1A, 1, 0, 0, 0][..], &[0xFF; 8]].concat());
    let option_tsresol = [9, 0, 1, 0, 9, 0, 0, 0];
    let interface = block(1, &[&[1, 0, 0, 0, 0, 0, 4, 0][..], &option_tsresol, &[0; 4]].concat());
    [section, interface].concat()
}

/// A frame as a block of such a section.
pub(crate) fn packet(number: u8) -> Vec<u8> {
    let frame = [number; 60];
    let len = (frame.len() as u32).to_le_bytes();
    block(6, &[&[0; 4][..], &[0; 4], &[number, 0, 0, 0], &len, &len, &frame].concat())
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let len = (12 + body.len() as u32).to_le_bytes();
    [&kind.to_le_bytes()[..], &len, body, &len].concat()
}

/// A block that says how many packets the capture lacks.
pub(crate) fn missing(count: u64) -> Vec<u8> {
    block(5, &[&[0; 12][..], &[7, 0, 8, 0], &count.to_le_bytes(), &[0; 4]].concat())
}
