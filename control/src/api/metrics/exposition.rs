//! Text of a scrape: every metric with its name, its labels and the source of its value.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::registry::Registry;

use super::control_loop::control_loop;
use super::families::{Families, Label};
use super::network_label::NetworkLabel;
use super::traffic::traffic;
use super::vips::vips;
use crate::api::view::{
    Backend, BackendList, Health, HealthCheck, HealthChecks, Pool, PortStats, Quantiles, RuleCheck, Service,
    Stats, Status, WorkerState, WorkerStats,
};

/// State and counters of the appliance at one moment.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    /// All counters.
    pub(super) stats: Stats,
    /// State of the appliance.
    pub(super) status: Status,
    /// State of the backends.
    pub(super) backends: BackendList,
}

/// Metric of things of one kind: its name, its help, its value.
type Metric<Of, Value> = (&'static str, &'static str, fn(&Of) -> Value);

/// Writes the text that Prometheus reads.
pub(super) fn exposition(measured: Measured) -> String {
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
        control_loop(&mut families, &self.status.control_loop)?;
        workers(&mut families, &self.status, &self.stats.workers)?;
        conntrack(&mut families, &self.stats)?;
        ports(&mut families, &self.status, &self.stats.ports)?;
        let network = &NetworkLabel::new(&self.status.services);
        traffic(&mut families, &self.stats, network)?;
        services(&mut families, &self.status.services, network)?;
        backends(&mut families, &self.backends.backends, network)?;
        health(&mut families, &self.status, &self.backends.backends, network)?;
        vips(&mut families, &self.status)?;
        host_stack(&mut families, &self.stats)
    }
}

fn process(families: &mut Families<'_>, status: &Status) -> fmt::Result {
    let version = [("version", status.version.clone())];
    families.gauges("build_info", "Version of the program that runs, as a label.", [(version, 1_u64)])?;
    families.gauge(
        "start_time_seconds",
        "Start of the process, in seconds since 1970.",
        status.started_at_unix_sec,
    )?;
    families.gauge("uptime_seconds", "Seconds since the appliance started.", status.uptime_sec)?;
    families.gauge(
        "configuration_generation",
        "Configurations accepted since the start, the first included.",
        status.configuration_generation,
    )?;
    families.gauge(
        "configuration_loaded_time_seconds",
        "Time at which the running configuration was read, in seconds since 1970.",
        status.config_loaded_at_unix_sec,
    )?;
    families.gauge(
        "snapshot_generation",
        "Snapshots of the forwarding state published since the start.",
        status.snapshot_generation,
    )?;
    families.gauge(
        "unreclaimed_snapshots",
        "Snapshots that a worker may still be reading; more than a few belong to a stalled one.",
        status.unreclaimed_snapshots,
    )?;
    families.counter(
        "changes_coalesced_total",
        "Changes by probes that came while an earlier one of their service waited for a snapshot.",
        status.changes_coalesced,
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
    let files = status.endpoints_files.iter().flat_map(|file| {
        let labels = |group: &String| [("backend_group", group.clone()), ("path", file.path.clone())];
        file.backend_groups.iter().map(move |group| (labels(group), file))
    });
    families.gauges(
        "endpoints_file_failed",
        "1 if the file of the group's endpoints is gone, damaged or empty, so that its last good answer holds.",
        files.clone().map(|(labels, file)| (labels, u64::from(file.last_error.is_some()))),
    )?;
    families.gauges(
        "endpoints_file_loaded_timestamp_seconds",
        "Time at which the group's endpoints in force were read from their file, in seconds since 1970.",
        files.map(|(labels, file)| (labels, file.loaded_at_unix_sec)),
    )?;
    let questions = status.endpoints_dns.iter().flat_map(|question| {
        let labels = |group: &String| {
            [
                ("backend_group", group.clone()),
                ("name", question.name.clone()),
                ("type", question.record.clone()),
            ]
        };
        question.backend_groups.iter().map(move |group| (labels(group), question))
    });
    families.gauges(
        "endpoints_dns_failed",
        "1 if DNS does not answer with endpoints of the group, so that its last good answer holds.",
        questions.clone().map(|(labels, question)| (labels, u64::from(question.last_error.is_some()))),
    )?;
    families.gauges(
        "endpoints_dns_answered_timestamp_seconds",
        "Time at which DNS answered with the group's endpoints in force, in seconds since 1970.",
        questions.filter_map(|(labels, question)| Some((labels, question.answered_at_unix_sec?))),
    )?;
    families.gauge("draining", "1 if the appliance is drained.", u64::from(status.drain.is_some()))
}

fn workers(families: &mut Families<'_>, status: &Status, workers: &[WorkerStats]) -> fmt::Result {
    let states = status.workers.iter().map(|worker| {
        ([("worker", worker.number.to_string())], u64::from(worker.state == WorkerState::Stalled))
    });
    families.gauges("worker_stalled", "1 if the worker has not polled for a while.", states)?;
    let counted = |count: fn(&WorkerStats) -> u64| {
        workers.iter().map(move |worker| ([worker_label(worker)], count(worker)))
    };
    families.counters(
        "worker_polls_total",
        "Polls of the ports by the worker: its heartbeat.",
        counted(|w| w.polls),
    )?;
    families.counters(
        "worker_busy_polls_total",
        "Polls of the ports that found a frame.",
        counted(|w| w.busy_polls),
    )?;
    families.counters("packets_offered_total", "Packets that came in.", counted(|w| w.packets.offered))?;
    families.counters(
        "packets_forwarded_total",
        "Packets that went to a backend.",
        counted(|w| w.packets.forwarded),
    )?;
    families.counters(
        "packets_passed_total",
        "Packets that were not for a forwarding rule, by reason.",
        by_reason(workers, |worker| &worker.packets.passed),
    )?;
    families.counters(
        "packets_dropped_total",
        "Packets dropped, by reason.",
        by_reason(workers, |worker| &worker.packets.dropped),
    )?;
    families.counters(
        "packets_exceeding_mtu_total",
        "Packets forwarded though they will be fragmented on their path.",
        counted(|w| w.packets.exceeding_mtu),
    )?;
    families.counters(
        "packets_fragmented_total",
        "Packets forwarded whose tunnel packet left in fragments.",
        counted(|w| w.packets.fragmented),
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
        "fragments_followed_total",
        "Later fragments that went where the first of their datagram had gone.",
        counted(|w| w.packets.fragments.followed),
    )?;
    families.counters(
        "fragments_first_unseen_total",
        "Later fragments for a VIP or a route whose first the worker had not forwarded within the time.",
        counted(|w| w.packets.fragments.first_unseen),
    )?;
    families.counters(
        "frames_sent_total",
        "Frames that a port took to send.",
        counted(|w| w.packets.link.sent),
    )?;
    families.counters(
        "fragments_made_total",
        "Fragments that tunnel packets were cut into, each a frame to be sent.",
        counted(|w| w.packets.link.fragments),
    )?;
    families.counters(
        "frames_joined_total",
        "Frames received in several buffers and joined in one.",
        counted(|w| w.packets.link.joined),
    )?;
    let lost = workers.iter().flat_map(|worker| {
        let link = &worker.packets.link;
        let lost = [
            ("tx_full", link.tx_full),
            ("unknown_egress_port", link.unknown_egress_port),
            ("host_full", link.host_full),
            ("refused", link.refused),
            ("no_fragment_memory", link.no_fragment_memory),
        ];
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
    families.gauge("conntrack_capacity", "Connections that the conntrack table was made for.", capacity)?;
    families.gauge(
        "conntrack_entries",
        "Entries in the conntrack table, void ones that have not been swept included.",
        stats.conntrack.entries,
    )?;
    let counted = |count: fn(&WorkerStats) -> u64| {
        stats.workers.iter().map(move |worker| ([worker_label(worker)], count(worker)))
    };
    families.counters(
        "conntrack_hits_total",
        "Packets that a valid conntrack entry decided.",
        counted(|w| w.conntrack.hits),
    )?;
    families.counters(
        "conntrack_inserts_total",
        "Conntrack entries made, or replaced under their own key.",
        counted(|w| w.conntrack.inserts),
    )?;
    let evicted = stats.workers.iter().flat_map(|worker| {
        let counts = &worker.conntrack;
        let evicted = [
            ("void", counts.evicted_void),
            ("half_open", counts.evicted_half_open),
            ("closed", counts.evicted_closed),
            ("unconfirmed", counts.evicted_unconfirmed),
        ];
        evicted.map(|(victim, count)| ([worker_label(worker), ("victim", victim.to_owned())], count))
    });
    families.counters(
        "conntrack_evictions_total",
        "Conntrack inserts that pushed out another connection's entry, by the kind of that entry.",
        evicted,
    )?;
    families.counters(
        "conntrack_failures_total",
        "Packets forwarded by their hash alone, for want of room for a conntrack entry.",
        counted(|w| w.conntrack.full),
    )?;
    families.counters(
        "conntrack_limited_packets_total",
        "Packets forwarded by their hash alone, as a limit of new connections was reached.",
        counted(|w| w.conntrack.limited),
    )?;
    families.counters(
        "conntrack_protected_syns_total",
        "SYNs on established connections that went to the connection's backend, by protect_established.",
        counted(|w| w.conntrack.protected),
    )?;
    families.counters(
        "conntrack_untracked_packets_total",
        "Packets that connection tracking does not track.",
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
    families.gauges("port_info", "Device, driver and MAC address of the port, as labels.", info)?;
    let up = status.ports.iter().map(|it| (port(&it.name), u64::from(it.link_up)));
    families.gauges("port_up", "1 if the port's link is up.", up)?;
    let members = status.ports.iter().flat_map(|it| {
        let labels = |member: &str| [("port", it.name.clone()), ("member", member.to_owned())];
        it.members.iter().map(move |member| (labels(&member.name), u64::from(member.link_up)))
    });
    families.gauges("port_member_up", "1 if the link of the bond's member is up.", members)?;
    let losses = status.ports.iter().map(|it| (port(&it.name), it.link_losses));
    families.counters("port_link_losses_total", "Times that the port's link went down.", losses)?;
    let resets = status.ports.iter().map(|it| (port(&it.name), it.resets));
    families.counters("port_resets_total", "Resets of the port's device that it asked for.", resets)?;
    let speeds = status.ports.iter().filter_map(|it| {
        let bytes = it.speed_mbps.map(|speed_mbps| u64::from(speed_mbps) * 1_000_000 / 8)?;
        Some((port(&it.name), bytes))
    });
    families.gauges(
        "port_speed_bytes",
        "Speed of the port's link in bytes per second, where it is known.",
        speeds,
    )?;
    let mtus = status.ports.iter().map(|it| (port(&it.name), u64::from(it.mtu)));
    families.gauges("port_mtu_bytes", "Longest packet that the port takes, in bytes.", mtus)?;
    let counts: [Metric<PortStats, u64>; 6] = [
        ("port_received_packets_total", "Packets that the device received.", |port| port.received),
        ("port_sent_packets_total", "Packets that the device sent.", |port| port.sent),
        (
            "port_missed_packets_total",
            "Packets that the device lost because no worker took them in time.",
            |port| port.missed,
        ),
        ("port_receive_errors_total", "Packets that the device received with errors.", |port| port.rx_errors),
        ("port_transmit_errors_total", "Packets that the device could not send.", |port| port.tx_errors),
        (
            "port_no_buffer_packets_total",
            "Packets that the device lost because there was no buffer for them.",
            |port| port.no_mbuf,
        ),
    ];
    counts.into_iter().try_for_each(|(name, help, count)| {
        families.counters(name, help, counted.iter().map(|it| (port(&it.name), count(it))))
    })
}

fn services(families: &mut Families<'_>, services: &[Service], network: &NetworkLabel<'_>) -> fmt::Result {
    let label = |service: &Service| network.added(&service.name, [("service", service.name.clone())]);
    let counts: [Metric<Service, u32>; 4] = [
        ("service_backends", "Configured backends of the service.", |service| service.backends),
        ("service_healthy_backends", "Configured backends of the service that are healthy.", |service| {
            service.healthy
        }),
        (
            "service_drained_backends",
            "Configured backends of the service that the operator has drained.",
            |service| service.operator_drained,
        ),
        (
            "service_eligible_backends",
            "Configured backends of the service that may receive new connections.",
            |service| service.eligible,
        ),
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
        "1 if the failover backends serve; only for services that have any.",
        failed_over,
    )?;
    let digests = services.iter().map(|service| {
        let digest = ("digest", service.lookup_table_digest.clone());
        (network.added(&service.name, [("service", service.name.clone()), digest]), 1_u64)
    });
    families.gauges(
        "lookup_table_info",
        "Digest of the service's lookup table, as a label; appliances with equal digests choose alike.",
        digests,
    )
}

fn backends(families: &mut Families<'_>, backends: &[Backend], network: &NetworkLabel<'_>) -> fmt::Result {
    let labels = |backend: &Backend| network.of_backend(&backend.service, &backend.name);
    let states: [Metric<Backend, bool>; 5] = [
        ("backend_healthy", "1 if the backend's health checks succeed.", |backend| {
            backend.health == Health::Healthy
        }),
        (
            "backend_draining",
            "1 if the backend was removed and keeps its connections for a while.",
            |backend| backend.draining,
        ),
        ("backend_drained", "1 if the operator has drained the backend.", |backend| backend.operator_drained),
        ("backend_eligible", "1 if the backend may receive new connections.", |backend| backend.eligible),
        (
            "backend_next_hop_resolved",
            "1 if the MAC address of the backend's next hop is known.",
            |backend| backend.next_hop.as_ref().is_some_and(|hop| hop.mac.is_some()),
        ),
    ];
    states.into_iter().try_for_each(|(name, help, state)| {
        families.gauges(name, help, backends.iter().map(|it| (labels(it), u64::from(state(it)))))
    })?;
    let weights = backends.iter().filter_map(|it| Some((labels(it), u64::from(it.weight?))));
    families.gauges(
        "backend_weight",
        "Weight of the backend, where its service chooses by weight.",
        weights,
    )?;
    let shares = backends.iter().map(|it| (labels(it), it.share));
    families.gauges(
        "backend_share_ratio",
        "Share of the lookup table's slots that the backend has, from 0 to 1.",
        shares,
    )
}

/// Writes results and timeliness of health checks; nothing where none are made.
fn health(
    families: &mut Families<'_>,
    status: &Status,
    backends: &[Backend],
    network: &NetworkLabel<'_>,
) -> fmt::Result {
    let checked = || backends.iter().filter_map(|it| Some((it, it.health_check.as_ref()?)));
    let turns = |(backend, check): (&Backend, &HealthCheck)| {
        (network.of_backend(&backend.service, &backend.name), check.turns)
    };
    families.counters(
        "backend_health_turns_total",
        "Changes of the backend between healthy and unhealthy.",
        checked().map(turns),
    )?;
    let checks = || {
        checked().flat_map(|(backend, check)| {
            check.rules.iter().map(move |rule| {
                let service = ("service", backend.service.clone());
                let labels =
                    [service, ("backend", backend.name.clone()), ("rule", rule.forwarding_rule.clone())];
                (network.added(&backend.service, labels), rule)
            })
        })
    };
    let probes: [Metric<RuleCheck, u64>; 2] = [
        ("health_probes_passed_total", "Health-check probes that succeeded.", |check| check.passed),
        ("health_probes_failed_total", "Health-check probes that failed.", |check| check.failed),
    ];
    probes.into_iter().try_for_each(|(name, help, number)| {
        families.counters(name, help, checks().map(|(labels, check)| (labels, number(check))))
    })?;
    let took = checks().filter_map(|(labels, check)| Some((labels, check.last_latency_ms? / 1e3)));
    families.gauges(
        "health_probe_duration_seconds",
        "Duration of the latest health-check probe, in seconds.",
        took,
    )?;
    let valid = status.services.iter().filter_map(|service| {
        let labels = network.added(&service.name, [("service", service.name.clone())]);
        Some((labels, u64::from(service.weights_valid?)))
    });
    families.gauges(
        "service_weights_valid",
        "1 if the weights that the service's backends report count; 0 if all are equal, for want of one.",
        valid,
    )?;
    let Some(HealthChecks {
        probes_begun,
        intervals_missed,
        failures_discarded,
        start_lag,
        publications_measured,
        probe_to_packet,
    }) = &status.health_checks
    else {
        return Ok(());
    };
    families.counter("health_probes_begun_total", "Health-check probes that have begun.", *probes_begun)?;
    families.counter(
        "health_probe_intervals_missed_total",
        "Intervals of health checks that went by without their probe.",
        *intervals_missed,
    )?;
    families.counter(
        "health_probe_failures_discarded_total",
        "Failures of probes that count for nothing, as they fell in a stall of a worker or of the control thread.",
        *failures_discarded,
    )?;
    families.gauges(
        "health_probe_start_lag_seconds",
        "Delay of probes behind their schedule in seconds, by the percentage that were no later.",
        percentiles(start_lag),
    )?;
    families.counter(
        "health_reactions_total",
        "Snapshots that carried the outcome of a probe and have come to all workers.",
        *publications_measured,
    )?;
    families.gauges(
        "health_probe_to_packet_seconds",
        "Seconds from the end of a probe to the last worker's first poll that goes by it, by percentage.",
        percentiles(probe_to_packet),
    )
}

/// Seconds by percentile: `quantile` is a label of summaries alone.
fn percentiles(times: &Quantiles) -> [([Label; 1], f64); 3] {
    let Quantiles { median_ms, p99_ms, max_ms } = *times;
    [("50", median_ms), ("99", p99_ms), ("100", max_ms)]
        .map(|(percent, ms)| ([("percentile", percent.to_owned())], ms / 1e3))
}

fn host_stack(families: &mut Families<'_>, stats: &Stats) -> fmt::Result {
    let host = &stats.host_stack;
    let received = host.received.iter().map(|(kind, count)| ([("kind", kind.clone())], *count));
    let errors = &stats.tunnel_errors;
    let errors =
        [("learnt", errors.learnt), ("unreachable", errors.unreachable), ("ignored", errors.ignored)];
    families.counters(
        "tunnel_icmp_errors_total",
        "ICMP errors about the appliance's own tunnel packets, by what they led to.",
        errors.map(|(result, count)| ([("result", result.to_owned())], count)),
    )?;
    families.counters(
        "host_received_frames_total",
        "Frames received for the host stack, by kind.",
        received,
    )?;
    [
        ("host_answers_total", "ARP and neighbour discovery questions and echo requests that were answered.", host.answered),
        (
            "host_answers_withheld_total",
            "ARP and neighbour discovery questions for a VIP left unanswered: it is withdrawn, or never answered for.",
            host.withheld,
        ),
        (
            "host_answers_limited_total",
            "Questions and echo requests that were not answered, because of the limit of answers to one asker.",
            host.limited,
        ),
        ("host_neighbor_probes_total", "ARP and neighbour discovery questions sent to neighbours.", host.probes),
        ("host_announcements_total", "Gratuitous announcements of the appliance's addresses sent on its links.", host.announcements),
        ("host_address_defences_total", "Announcements sent to defend an address that another host had claimed.", host.defences),
        ("host_neighbor_changes_total", "Neighbours whose MAC address has changed.", host.neighbor_changes),
        (
            "host_neighbor_claims_refused_total",
            "Claims to a neighbour's address that were refused, as the known MAC address answered.",
            host.refused_claims,
        ),
        ("host_group_reports_total", "Reports of IPv6 multicast groups sent.", host.group_reports),
        (
            "host_lost_frames_total",
            "Frames of the appliance's own that were lost because too many waited to be sent.",
            host.queue_full,
        ),
    ]
    .into_iter()
    .try_for_each(|(name, help, count)| families.counter(name, help, count))
}
