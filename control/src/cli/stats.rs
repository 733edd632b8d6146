//! `guideway stats`: what has the running appliance counted?

use std::collections::BTreeMap;
use std::fmt::Write;

use clap::Args as Arguments;
use guideway::api::view::{
    AccessListStats, BackendStats, ConntrackCounts, HostStackStats, PacketStats, PortStats, Rates, RuleStats,
    ServiceStats, Stats,
};

use super::amount::rate;
use super::watch::TableArgs;
use super::{Exit, table};

#[derive(Arguments)]
pub(super) struct Args {
    #[command(flatten)]
    table: TableArgs,
}

pub(super) fn run(args: &Args) -> Exit {
    args.table.show(async |client| client.stats().await, text)
}

/// Writes the counters for people: a table for each noun, reasons that have not occurred left out.
fn text(stats: &Stats) -> String {
    let total = &stats.total;
    let sections = [
        packets(stats),
        reasons("PASSED", &total.passed),
        reasons("DROPPED", &total.dropped),
        ports(&stats.ports),
        rules(&stats.rules),
        access_lists(&stats.access_lists),
        services(&stats.services),
        backends(&stats.backends),
        conntrack(stats),
        single(&[
            ("ICMP ERRORS", "PACKETS"),
            ("sent", &total.icmp_errors.sent.to_string()),
            ("suppressed", &total.icmp_errors.suppressed.to_string()),
            ("steered", &total.icmp_errors.steered.to_string()),
        ]),
        single(&[
            ("LATER FRAGMENTS", "PACKETS"),
            ("followed", &total.fragments.followed.to_string()),
            ("first unseen", &total.fragments.first_unseen.to_string()),
        ]),
        host_stack(&stats.host_stack),
        single(&[
            ("TUNNEL ERRORS", "FRAMES"),
            ("learnt", &stats.tunnel_errors.learnt.to_string()),
            ("unreachable", &stats.tunnel_errors.unreachable.to_string()),
            ("ignored", &stats.tunnel_errors.ignored.to_string()),
        ]),
    ];
    sections.into_iter().filter(|section| !section.is_empty()).collect::<Vec<_>>().join("\n")
}

fn packets(stats: &Stats) -> String {
    let mut rows = table::new(&[
        "WORKER",
        "OFFERED",
        "FORWARDED",
        "PASSED",
        "DROPPED",
        "SENT",
        "TX FULL",
        "UNKNOWN PORT",
        "HOST FULL",
        "REFUSED",
    ]);
    let row = |name: String, packets: &PacketStats| {
        let numbers = [
            packets.offered,
            packets.forwarded,
            packets.passed.values().sum(),
            packets.dropped.values().sum(),
            packets.link.sent,
            packets.link.tx_full,
            packets.link.unknown_egress_port,
            packets.link.host_full,
            packets.link.refused,
        ];
        std::iter::once(name).chain(numbers.iter().map(u64::to_string)).collect::<Vec<_>>()
    };
    rows.add_row(row("all".to_owned(), &stats.total));
    for worker in &stats.workers {
        rows.add_row(row(worker.number.to_string(), &worker.packets));
    }
    table::text(rows, 1..10)
}

/// Writes the counts that are not zero; nothing where all are.
fn reasons(title: &str, counts: &BTreeMap<String, u64>) -> String {
    let mut rows = table::new(&[title, "PACKETS"]);
    for (reason, count) in counts.iter().filter(|(_, count)| **count > 0) {
        rows.add_row([reason.clone(), count.to_string()]);
    }
    if rows.is_empty() { String::new() } else { table::text(rows, 1..2) }
}

fn ports(ports: &[PortStats]) -> String {
    let mut rows = table::new(&["PORT", "RECEIVED", "SENT", "MISSED", "RX ERRORS", "TX ERRORS", "NO MBUF"]);
    for port in ports {
        let numbers = [port.received, port.sent, port.missed, port.rx_errors, port.tx_errors, port.no_mbuf];
        rows.add_row(std::iter::once(port.name.clone()).chain(numbers.iter().map(u64::to_string)));
    }
    table::text(rows, 1..7)
}

fn rules(rules: &[RuleStats]) -> String {
    let mut rows = table::new(&["RULE", "SERVICE", "PACKETS", "BYTES", "NEW/S", "PACKETS/S", "BYTES/S"]);
    for rule in rules {
        let (packets, bytes) = (rule.offered.packets.to_string(), rule.offered.bytes.to_string());
        let [new, packet_rate, byte_rate] = rates(&rule.arrivals.rates);
        rows.add_row([rule.name.clone(), rule.service.clone(), packets, bytes, new, packet_rate, byte_rate]);
    }
    table::text(rows, 2..7)
}

/// Writes what access lists have admitted and denied; nothing where there are none.
fn access_lists(lists: &[AccessListStats]) -> String {
    let mut rows = table::new(&["ACCESS LIST", "ADMITTED", "DENIED"]);
    for list in lists {
        rows.add_row([list.name.clone(), list.admitted.to_string(), list.denied.to_string()]);
    }
    if rows.is_empty() { String::new() } else { table::text(rows, 1..3) }
}

fn services(services: &[ServiceStats]) -> String {
    let mut rows = table::new(&[
        "SERVICE",
        "PACKETS",
        "BYTES",
        "FORWARDED",
        "CONNECTIONS",
        "NEW/S",
        "PACKETS/S",
        "BYTES/S",
    ]);
    for service in services {
        let numbers =
            [service.offered.packets, service.offered.bytes, service.forwarded.packets, service.connections];
        let cells = std::iter::once(service.name.clone()).chain(numbers.iter().map(u64::to_string));
        rows.add_row(cells.chain(rates(&service.arrivals.rates)));
    }
    table::text(rows, 1..8)
}

fn backends(backends: &[BackendStats]) -> String {
    let mut rows = table::new(&[
        "SERVICE",
        "BACKEND",
        "PACKETS",
        "BYTES",
        "CONNECTIONS",
        "NEW/S",
        "PACKETS/S",
        "BYTES/S",
    ]);
    for backend in backends {
        let numbers = [backend.forwarded.packets, backend.forwarded.bytes, backend.connections];
        let names = [backend.service.clone(), backend.name.clone()];
        let cells = names.into_iter().chain(numbers.iter().map(u64::to_string));
        rows.add_row(cells.chain(rates(&backend.arrivals.rates)));
    }
    table::text(rows, 2..8)
}

/// Writes new connections, packets and bytes a second.
fn rates(rates: &Rates) -> [String; 3] {
    [rates.new_connections_per_sec, rates.packets_per_sec, rates.bytes_per_sec].map(rate)
}

fn conntrack(stats: &Stats) -> String {
    let ConntrackCounts {
        hits,
        inserts,
        evicted_void,
        evicted_half_open,
        evicted_closed,
        evicted_unconfirmed,
        full,
        limited,
        protected,
        untracked,
    } = &stats.conntrack.counts;
    single(&[
        ("CONNTRACK", ""),
        ("entries", &format!("{} of {}", stats.conntrack.entries, stats.conntrack.capacity)),
        ("hits", &hits.to_string()),
        ("inserts", &inserts.to_string()),
        ("evicted void", &evicted_void.to_string()),
        ("evicted half open", &evicted_half_open.to_string()),
        ("evicted closed", &evicted_closed.to_string()),
        ("evicted unconfirmed", &evicted_unconfirmed.to_string()),
        ("full", &full.to_string()),
        ("limited", &limited.to_string()),
        ("protected SYNs", &protected.to_string()),
        ("untracked", &untracked.to_string()),
    ])
}

fn host_stack(host: &HostStackStats) -> String {
    let mut text = reasons("HOST STACK RECEIVED", &host.received);
    let did = single(&[
        ("HOST STACK", "FRAMES"),
        ("answered", &host.answered.to_string()),
        ("withheld", &host.withheld.to_string()),
        ("limited", &host.limited.to_string()),
        ("probes", &host.probes.to_string()),
        ("announcements", &host.announcements.to_string()),
        ("defences", &host.defences.to_string()),
        ("neighbors moved", &host.neighbor_changes.to_string()),
        ("refused claims", &host.refused_claims.to_string()),
        ("group reports", &host.group_reports.to_string()),
        ("queue full", &host.queue_full.to_string()),
    ]);
    if !text.is_empty() {
        text.push('\n');
    }
    let _ = write!(text, "{did}");
    text
}

/// Writes single numbers, one a line, the first line for titles.
fn single(lines: &[(&str, &str)]) -> String {
    let mut rows = table::new(&[]);
    for (name, number) in lines {
        rows.add_row([*name, *number]);
    }
    table::text(rows, 1..2)
}
