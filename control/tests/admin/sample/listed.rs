//! Lists of services and rules, with the traffic of each.

use guideway::api::view::{ListedRule, ListedService, RuleStats, Service, ServiceStats};

use super::{stats, status};

/// The services of the status, of which one has traffic.
pub(crate) fn services() -> Vec<ListedService> {
    let listed = |state: Service| {
        let stats = stats().services.into_iter().find(|stats| stats.name == state.name).unwrap_or_default();
        let ServiceStats { offered, forwarded, connections, arrivals, .. } = stats;
        ListedService { state, connections, arrivals, offered, forwarded }
    };
    status(&[]).services.into_iter().map(listed).collect()
}

pub(crate) fn rules() -> Vec<ListedRule> {
    let rows = [("203.0.113.10", "TCP", "80,443"), ("2001:db8::10", "L3_DEFAULT", "all")];
    let listed = |((address, ip_protocol, ports), stats): ((&str, &str, &str), RuleStats)| ListedRule {
        address: address.into(),
        ip_protocol: ip_protocol.into(),
        ports: ports.into(),
        network: None,
        stats,
    };
    rows.into_iter().zip(stats().rules).map(listed).collect()
}
