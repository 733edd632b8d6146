//! Traffic and connections by rule, service and backend.

use std::fmt;

use super::families::{Families, Label};
use super::network_label::NetworkLabel;
use crate::api::view::{Stats, Traffic};

/// Writes packets and bytes by rule, service and backend.
pub(super) fn traffic(families: &mut Families<'_>, stats: &Stats, network: &NetworkLabel<'_>) -> fmt::Result {
    let rules: Vec<_> = stats
        .rules
        .iter()
        .map(|rule| {
            let labels = [("rule", rule.name.clone()), ("service", rule.service.clone())];
            (network.added(&rule.service, labels), rule.offered)
        })
        .collect();
    let label = |name: &str| network.added(name, [("service", name.to_owned())]);
    let offered: Vec<_> = stats.services.iter().map(|it| (label(&it.name), it.offered)).collect();
    let forwarded: Vec<_> = stats.services.iter().map(|it| (label(&it.name), it.forwarded)).collect();
    let backends: Vec<_> = stats
        .backends
        .iter()
        .map(|backend| (network.of_backend(&backend.service, &backend.name), backend.forwarded))
        .collect();
    volume(families, "rule", "of the forwarding rule, whatever became of them", "as they came in", &rules)?;
    volume(
        families,
        "service_offered",
        "of the service's rules, whatever became of them",
        "as they came in",
        &offered,
    )?;
    volume(families, "service_forwarded", "that went to the service's backends", "as sent", &forwarded)?;
    volume(families, "backend", "that went to the backend", "as sent", &backends)?;
    let judged = stats.access_lists.iter().flat_map(|list| {
        let labels = |action: &str| [("list", list.name.clone()), ("action", action.to_owned())];
        [(labels("admitted"), list.admitted), (labels("denied"), list.denied)]
    });
    families.counters(
        "access_list_packets_total",
        "Packets of the access list's forwarding rules, by what the list did with them.",
        judged,
    )?;
    connections(families, stats, network)
}

/// Writes tracked and new connections by rule, service and backend.
fn connections(families: &mut Families<'_>, stats: &Stats, network: &NetworkLabel<'_>) -> fmt::Result {
    let rules = stats.rules.iter().map(|rule| {
        let labels = [("rule", rule.name.clone()), ("service", rule.service.clone())];
        (network.added(&rule.service, labels), rule.arrivals.new_connections)
    });
    families.counters(
        "rule_new_connections_total",
        "Conntrack entries made for packets of the forwarding rule: connections that began, or sessions.",
        rules,
    )?;
    let label = |name: &str| network.added(name, [("service", name.to_owned())]);
    families.gauges(
        "service_connections",
        "Conntrack entries of the service's backends: connections, or sessions where it tracks these.",
        stats.services.iter().map(|it| (label(&it.name), it.connections)),
    )?;
    families.counters(
        "service_new_connections_total",
        "Conntrack entries made for packets of the service's rules: connections that began, or sessions.",
        stats.services.iter().map(|it| (label(&it.name), it.arrivals.new_connections)),
    )?;
    let backends = || stats.backends.iter().map(|it| (network.of_backend(&it.service, &it.name), it));
    families.gauges(
        "backend_connections",
        "Conntrack entries of the backend: connections, or sessions where its service tracks these.",
        backends().map(|(labels, backend)| (labels, backend.connections)),
    )?;
    families.counters(
        "backend_new_connections_total",
        "Conntrack entries made for the backend: connections that began, or sessions.",
        backends().map(|(labels, backend)| (labels, backend.arrivals.new_connections)),
    )
}

fn volume(
    families: &mut Families<'_>,
    of: &str,
    which: &str,
    measured: &str,
    samples: &[(Vec<Label>, Traffic)],
) -> fmt::Result {
    let counted =
        |count: fn(&Traffic) -> u64| samples.iter().map(move |(labels, traffic)| (labels, count(traffic)));
    let (packets, bytes) = (format!("{of}_packets_total"), format!("{of}_bytes_total"));
    families.counters(&packets, &format!("Packets {which}."), counted(|traffic| traffic.packets))?;
    families.counters(
        &bytes,
        &format!("Bytes of the frames {which}, {measured}."),
        counted(|traffic| traffic.bytes),
    )
}
