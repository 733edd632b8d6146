//! What a scrape shows: every metric, its name, its labels and where its value comes from.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::registry::Registry;

use super::families::{Families, Label};
use crate::api::admin::view::{
    Announcement, Backend, BackendList, Health, HealthCheck, HealthChecks, Pool, PortStats, Quantiles,
    RuleCheck, Service, Stats, Status, Traffic, WorkerState, WorkerStats,
};

/// The appliance at one moment.
#[derive(Clone, Debug)]
pub struct Measured {
    /// What it has counted.
    pub stats: Stats,
    /// How it is.
    pub status: Status,
    /// How its backends are.
    pub backends: BackendList,
}

/// A metric of things of one kind: its name, its help, its value.
type Metric<Of, Value> = (&'static str, &'static str, fn(&Of) -> Value);

/// The appliance at one moment, as Prometheus reads it.
pub fn exposition(measured: Measured) -> String {
    let mut registry = Registry::with_prefix("guideway");
    registry.register_collector(Box::new(measured));
    let mut text = String::new();
    encode_registry(&mut text, &registry).expect("a String takes all that is written to it");
    text
}

impl Collector for Measured {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families::new(encoder);
        process(&mut families, &self.status)?;
        workers(&mut families, &self.status, &self.stats.workers)?;
        conntrack(&mut families, &self.stats)?;
        ports(&mut families, &self.status, &self.stats.ports)?;
        traffic(&mut families, &self.stats)?;
        services(&mut families, &self.status.services)?;
        backends(&mut families, &self.backends.backends)?;
        health(&mut families, &self.status, &self.backends.backends)?;
        vips(&mut families, &self.status)?;
        host_stack(&mut families, &self.stats)
    }
}

fn process(families: &mut Families<'_>, status: &Status) -> fmt::Result {
    let version = [("version", status.version.clone())];
    families.gauges("build_info", "The program that runs.", [(version, 1_u64)])?;
    families.gauge(
        "start_time_seconds",
        "When the process started, since 1970.",
        status.started_at_unix_sec,
    )?;
    families.gauge("uptime_seconds", "How long ago that was.", status.uptime_sec)?;
    families.gauge(
        "configuration_generation",
        "Configurations accepted, the first included.",
        status.configuration_generation,
    )?;
    families.gauge(
        "configuration_loaded_time_seconds",
        "When the running configuration was read, since 1970.",
        status.config_loaded_at_unix_sec,
    )?;
    families.gauge("snapshot_generation", "Snapshots published.", status.snapshot_generation)?;
    families.gauge(
        "unreclaimed_snapshots",
        "Snapshots that a worker may still be reading; more than a few belong to a stalled one.",
        status.unreclaimed_snapshots,
    )?;
    families.gauge(
        "unresolved_neighbors",
        "Next hops whose MAC address is not known, so that nothing can be sent to them.",
        status.unresolved_neighbors,
    )?;
    families.counter(
        "log_lines_lost_total",
        "Lines of the log that were lost, because nobody read standard error in time.",
        status.log_lines_lost,
    )?;
    families.gauge("draining", "Whether the appliance is drained.", u64::from(status.drain.is_some()))
}

fn workers(families: &mut Families<'_>, status: &Status, workers: &[WorkerStats]) -> fmt::Result {
    let states = status.workers.iter().map(|worker| {
        ([("worker", worker.number.to_string())], u64::from(worker.state == WorkerState::Stalled))
    });
    families.gauges("worker_stalled", "Whether the worker has not polled for a while.", states)?;
    let counted = |count: fn(&WorkerStats) -> u64| {
        workers.iter().map(move |worker| ([worker_label(worker)], count(worker)))
    };
    families.counters("worker_polls_total", "Polls of the ports: the heartbeat.", counted(|w| w.polls))?;
    families.counters("worker_busy_polls_total", "Polls that found a frame.", counted(|w| w.busy_polls))?;
    families.counters("packets_offered_total", "Packets that came in.", counted(|w| w.packets.offered))?;
    families.counters(
        "packets_forwarded_total",
        "Packets that went to a backend.",
        counted(|w| w.packets.forwarded),
    )?;
    families.counters(
        "packets_passed_total",
        "Packets that weren't ours, by reason.",
        by_reason(workers, |worker| &worker.packets.passed),
    )?;
    families.counters(
        "packets_dropped_total",
        "Packets that ended here, by reason.",
        by_reason(workers, |worker| &worker.packets.dropped),
    )?;
    families.counters(
        "packets_exceeding_mtu_total",
        "Packets forwarded though they will be fragmented on their path.",
        counted(|w| w.packets.exceeding_mtu),
    )?;
    families.counters(
        "icmp_errors_sent_total",
        "ICMP errors sent because a packet was too big.",
        counted(|w| w.packets.icmp_errors.sent),
    )?;
    families.counters(
        "icmp_errors_suppressed_total",
        "ICMP errors not sent, by the limit or because none may answer that packet.",
        counted(|w| w.packets.icmp_errors.suppressed),
    )?;
    families.counters(
        "icmp_errors_steered_total",
        "ICMP errors steered by the packet that they quote.",
        counted(|w| w.packets.icmp_errors.steered),
    )?;
    families.counters(
        "frames_sent_total",
        "Frames that a port took to send.",
        counted(|w| w.packets.link.sent),
    )?;
    let lost = workers.iter().flat_map(|worker| {
        let link = &worker.packets.link;
        let lost = [("tx_full", link.tx_full), ("host_full", link.host_full), ("refused", link.refused)];
        lost.map(|(reason, frames)| ([worker_label(worker), ("reason", reason.to_owned())], frames))
    });
    families.counters("frames_lost_total", "Frames lost between ports and data plane, by reason.", lost)
}

fn worker_label(worker: &WorkerStats) -> Label {
    ("worker", worker.number.to_string())
}

fn by_reason(
    workers: &[WorkerStats],
    counts: fn(&WorkerStats) -> &BTreeMap<String, u64>,
) -> impl Iterator<Item = ([Label; 2], u64)> {
    workers.iter().flat_map(move |worker| {
        let counts = counts(worker).iter();
        counts.map(|(reason, count)| ([worker_label(worker), ("reason", reason.clone())], *count))
    })
}

fn conntrack(families: &mut Families<'_>, stats: &Stats) -> fmt::Result {
    let capacity = stats.conntrack.capacity;
    families.gauge("conntrack_capacity", "Connections that the table was made for.", capacity)?;
    families.gauge(
        "conntrack_entries",
        "Entries, void ones that have not been swept included.",
        stats.conntrack.entries,
    )?;
    let counted = |count: fn(&WorkerStats) -> u64| {
        stats.workers.iter().map(move |worker| ([worker_label(worker)], count(worker)))
    };
    families.counters(
        "conntrack_hits_total",
        "Packets that a valid entry decided.",
        counted(|w| w.conntrack.hits),
    )?;
    families.counters(
        "conntrack_inserts_total",
        "Entries made, or replaced under their own key.",
        counted(|w| w.conntrack.inserts),
    )?;
    let evicted = stats.workers.iter().flat_map(|worker| {
        let counts = &worker.conntrack;
        let evicted = [("void", counts.evicted_void), ("half_open", counts.evicted_half_open)];
        evicted.map(|(victim, count)| ([worker_label(worker), ("victim", victim.to_owned())], count))
    });
    families.counters(
        "conntrack_evictions_total",
        "Inserts that pushed out another connection's entry, by what that was.",
        evicted,
    )?;
    families.counters(
        "conntrack_failures_total",
        "Packets forwarded by their hash alone, for want of room for an entry.",
        counted(|w| w.conntrack.full),
    )?;
    families.counters(
        "conntrack_untracked_packets_total",
        "Packets that are not tracked.",
        counted(|w| w.conntrack.untracked),
    )
}

fn ports(families: &mut Families<'_>, status: &Status, counted: &[PortStats]) -> fmt::Result {
    let port = |name: &str| [("port", name.to_owned())];
    let info = status.ports.iter().map(|port| {
        let labels = [
            ("port", port.name.clone()),
            ("device", port.device.clone()),
            ("driver", port.driver.clone()),
            ("mac", port.mac.clone()),
        ];
        (labels, 1_u64)
    });
    families.gauges("port_info", "A port and its device.", info)?;
    let up = status.ports.iter().map(|it| (port(&it.name), u64::from(it.link_up)));
    families.gauges("port_up", "Whether the port's link carries.", up)?;
    let speeds = status.ports.iter().filter_map(|it| {
        let bytes = it.speed_mbps.map(|speed_mbps| u64::from(speed_mbps) * 1_000_000 / 8)?;
        Some((port(&it.name), bytes))
    });
    families.gauges("port_speed_bytes", "The link's speed in bytes a second, where it is known.", speeds)?;
    let mtus = status.ports.iter().map(|it| (port(&it.name), u64::from(it.mtu)));
    families.gauges("port_mtu_bytes", "The longest packet that the port takes.", mtus)?;
    let counts: [Metric<PortStats, u64>; 6] = [
        ("port_received_packets_total", "Packets that the device received.", |port| port.received),
        ("port_sent_packets_total", "Packets that the device sent.", |port| port.sent),
        (
            "port_missed_packets_total",
            "Packets that the device lost because no worker took them in time.",
            |port| port.missed,
        ),
        ("port_receive_errors_total", "Packets received with errors.", |port| port.rx_errors),
        ("port_transmit_errors_total", "Packets that could not be sent.", |port| port.tx_errors),
        ("port_no_buffer_packets_total", "Packets lost because there was no buffer for them.", |port| {
            port.no_mbuf
        }),
    ];
    counts.into_iter().try_for_each(|(name, help, count)| {
        families.counters(name, help, counted.iter().map(|it| (port(&it.name), count(it))))
    })
}

/// Packets and bytes by rule, service and backend.
fn traffic(families: &mut Families<'_>, stats: &Stats) -> fmt::Result {
    let rules: Vec<_> = stats
        .rules
        .iter()
        .map(|rule| ([("rule", rule.name.clone()), ("service", rule.service.clone())], rule.offered))
        .collect();
    let label = |name: &str| [("service", name.to_owned())];
    let offered: Vec<_> = stats.services.iter().map(|it| (label(&it.name), it.offered)).collect();
    let forwarded: Vec<_> = stats.services.iter().map(|it| (label(&it.name), it.forwarded)).collect();
    let backends: Vec<_> = stats
        .backends
        .iter()
        .map(|backend| (backend_labels(&backend.service, &backend.name), backend.forwarded))
        .collect();
    volume(families, "rule", "of the rule, whatever became of them", "as they came in", &rules)?;
    volume(
        families,
        "service_offered",
        "of the service's rules, whatever became of them",
        "as they came in",
        &offered,
    )?;
    volume(families, "service_forwarded", "that went to the service's backends", "as sent", &forwarded)?;
    volume(families, "backend", "that went to the backend", "as sent", &backends)
}

fn volume<const LABELS: usize>(
    families: &mut Families<'_>,
    of: &str,
    which: &str,
    measured: &str,
    samples: &[([Label; LABELS], Traffic)],
) -> fmt::Result {
    let counted = |count: fn(&Traffic) -> u64| {
        samples.iter().map(move |(labels, traffic)| (labels.clone(), count(traffic)))
    };
    let (packets, bytes) = (format!("{of}_packets_total"), format!("{of}_bytes_total"));
    families.counters(&packets, &format!("Packets {which}."), counted(|traffic| traffic.packets))?;
    families.counters(
        &bytes,
        &format!("Bytes of the frames {which}, {measured}."),
        counted(|traffic| traffic.bytes),
    )
}

fn services(families: &mut Families<'_>, services: &[Service]) -> fmt::Result {
    let label = |service: &Service| [("service", service.name.clone())];
    let counts: [Metric<Service, u32>; 4] = [
        ("service_backends", "Configured backends.", |service| service.backends),
        ("service_healthy_backends", "Configured backends that are healthy.", |service| service.healthy),
        ("service_drained_backends", "Configured backends that the operator has drained.", |service| {
            service.drained
        }),
        ("service_eligible_backends", "Backends that may get new connections.", |service| service.eligible),
    ];
    counts.into_iter().try_for_each(|(name, help, count)| {
        families.gauges(name, help, services.iter().map(|service| (label(service), count(service))))
    })?;
    let failed_over = services.iter().filter_map(|service| {
        let pool = service.pool?;
        Some((label(service), u64::from(pool == Pool::Failover)))
    });
    families.gauges(
        "service_failed_over",
        "Whether the failover backends serve, of services that have any.",
        failed_over,
    )?;
    let digests = services.iter().map(|service| {
        let digest = ("digest", service.lookup_table_digest.clone());
        ([("service", service.name.clone()), digest], 1_u64)
    });
    families.gauges(
        "lookup_table_info",
        "Names the lookup table's content: appliances of a fleet choose alike where theirs are the same.",
        digests,
    )
}

fn backend_labels(service: &str, backend: &str) -> [Label; 2] {
    [("service", service.to_owned()), ("backend", backend.to_owned())]
}

fn backends(families: &mut Families<'_>, backends: &[Backend]) -> fmt::Result {
    let labels = |backend: &Backend| backend_labels(&backend.service, &backend.name);
    let states: [Metric<Backend, bool>; 5] = [
        ("backend_healthy", "Whether the backend's health checks succeed.", |backend| {
            backend.health == Health::Healthy
        }),
        (
            "backend_draining",
            "Whether the backend was removed and keeps its connections for a while.",
            |backend| backend.draining,
        ),
        ("backend_drained", "Whether the operator has drained the backend.", |backend| backend.drained),
        ("backend_eligible", "Whether the backend may get new connections.", |backend| backend.eligible),
        (
            "backend_next_hop_resolved",
            "Whether the MAC address is known that the backend's frames are sent to.",
            |backend| backend.next_hop.as_ref().is_some_and(|hop| hop.mac.is_some()),
        ),
    ];
    states.into_iter().try_for_each(|(name, help, state)| {
        families.gauges(name, help, backends.iter().map(|it| (labels(it), u64::from(state(it)))))
    })?;
    let weights = backends.iter().filter_map(|it| Some((labels(it), u64::from(it.weight?))));
    families.gauges(
        "backend_weight",
        "The backend's weight, where its service chooses by weight.",
        weights,
    )?;
    let shares = backends.iter().map(|it| (labels(it), it.share));
    families.gauges("backend_share_ratio", "The backend's share of the lookup table.", shares)
}

/// What health checks have found, and how well they keep up; nothing where none are made.
fn health(families: &mut Families<'_>, status: &Status, backends: &[Backend]) -> fmt::Result {
    let checked = || backends.iter().filter_map(|it| Some((it, it.health_check.as_ref()?)));
    let turns = |(backend, check): (&Backend, &HealthCheck)| {
        (backend_labels(&backend.service, &backend.name), check.turns)
    };
    families.counters(
        "backend_health_turns_total",
        "How often the backend has turned healthy or unhealthy.",
        checked().map(turns),
    )?;
    let checks = || {
        checked().flat_map(|(backend, check)| {
            check.rules.iter().map(move |rule| {
                let [service, name] = backend_labels(&backend.service, &backend.name);
                ([service, name, ("rule", rule.forwarding_rule.clone())], rule)
            })
        })
    };
    let probes: [Metric<RuleCheck, u64>; 2] = [
        ("health_probes_passed_total", "Probes that succeeded.", |check| check.passed),
        ("health_probes_failed_total", "Probes that failed.", |check| check.failed),
    ];
    probes.into_iter().try_for_each(|(name, help, number)| {
        families.counters(name, help, checks().map(|(labels, check)| (labels, number(check))))
    })?;
    let took = checks().filter_map(|(labels, check)| Some((labels, check.last_latency_ms? / 1e3)));
    families.gauges("health_probe_duration_seconds", "How long the latest probe took.", took)?;
    let valid = status
        .services
        .iter()
        .filter_map(|service| Some(([("service", service.name.clone())], u64::from(service.weights_valid?))));
    families.gauges(
        "service_weights_valid",
        "Whether the weights count that the service's backends report; if not, all are equal.",
        valid,
    )?;
    let Some(HealthChecks { probes_begun, intervals_missed, start_lag, reactions, probe_to_packet }) =
        &status.health_checks
    else {
        return Ok(());
    };
    families.counter("health_probes_begun_total", "Probes that have begun.", *probes_begun)?;
    families.counter(
        "health_probe_intervals_missed_total",
        "Intervals of a check that went by without its probe.",
        *intervals_missed,
    )?;
    families.gauges(
        "health_probe_start_lag_seconds",
        "How late probes began, by the percentage of them that were no later.",
        percentiles(start_lag),
    )?;
    families.counter(
        "health_reactions_total",
        "How often a probe's outcome has come to all workers.",
        *reactions,
    )?;
    families.gauges(
        "health_probe_to_packet_seconds",
        "From the end of a probe to the last worker's first poll that goes by it, by percentage.",
        percentiles(probe_to_packet),
    )
}

/// Seconds by percentile: `quantile` is a label of summaries alone.
fn percentiles(times: &Quantiles) -> [([Label; 1], f64); 3] {
    let Quantiles { median_ms, p99_ms, max_ms } = *times;
    [("50", median_ms), ("99", p99_ms), ("100", max_ms)]
        .map(|(percent, ms)| ([("percentile", percent.to_owned())], ms / 1e3))
}

fn vips(families: &mut Families<'_>, status: &Status) -> fmt::Result {
    let vips = &status.vips;
    let announced = vips.iter().map(|vip| ([("address", vip.address.to_string())], u64::from(vip.announced)));
    families.gauges("vip_announced", "Whether the appliance answers for the VIP now.", announced)?;
    let conflicts = vips.iter().map(|vip| ([("address", vip.address.to_string())], vip.conflicts));
    families.counters(
        "vip_conflicts_total",
        "How often another host was heard to claim the VIP.",
        conflicts,
    )?;
    let announcements = |of: fn(&Announcement) -> u64| {
        status.announcements.iter().map(move |one| {
            ([("announcement", one.announcement.clone()), ("address", one.address.to_string())], of(one))
        })
    };
    families.gauges(
        "route_wanted",
        "Whether routers are to be told of the address.",
        announcements(|one| one.wanted.into()),
    )?;
    families.gauges(
        "route_announced",
        "Whether they were told.",
        announcements(|one| (one.announced == Some(true)).into()),
    )?;
    families.gauges(
        "route_failures",
        "How often in a row it could not be told what is wanted.",
        announcements(|one| one.failures.into()),
    )
}

fn host_stack(families: &mut Families<'_>, stats: &Stats) -> fmt::Result {
    let host = &stats.host_stack;
    let received = host.received.iter().map(|(kind, count)| ([("kind", kind.clone())], *count));
    families.counters("host_received_frames_total", "Frames for the host stack, by kind.", received)?;
    [
        ("host_answers_total", "Questions and echo requests that were answered.", host.answered),
        (
            "host_answers_withheld_total",
            "Questions for a VIP that were not answered, as the operator set it.",
            host.withheld,
        ),
        (
            "host_answers_limited_total",
            "Questions and echo requests that were not answered, for the limit of answers in a second.",
            host.limited,
        ),
        ("host_neighbor_probes_total", "Questions that were sent to neighbours.", host.probes),
        ("host_announcements_total", "Announcements of addresses that were sent.", host.announcements),
        ("host_group_reports_total", "Reports of IPv6 groups that were sent.", host.group_reports),
        (
            "host_lost_frames_total",
            "Frames of the appliance's own that were lost because too many waited to be sent.",
            host.queue_full,
        ),
    ]
    .into_iter()
    .try_for_each(|(name, help, count)| families.counter(name, help, count))
}
