//! Services and their backends: state, weight, shares, connections and rates.

use std::collections::BTreeMap;

use super::grid::{Cell, Column, Drainable, Grid, Row, Tone};
use super::look::Look;
use crate::api::amount::{count, duration, rate};
use crate::api::request::BackendName;
use crate::api::view::{Backend, Health, Rates, Service, ServiceStats, WeightSource};

/// Orders of the rows; the first is how they begin.
pub const ORDERS: &[&str] = &["name", "state", "share", "connections", "new connections", "packets", "bits"];

const COLUMNS: &[Column] = &[
    Column::text("SERVICE, BACKEND").sorts("name"),
    Column::text("STATE").sorts("state"),
    Column::text("ADDRESS").from(110),
    Column::number("WEIGHT"),
    Column::number("DUE").from(90),
    Column::number("SHARE").sorts("share"),
    Column::number("CONNS").sorts("connections"),
    Column::number("CONN%"),
    Column::number("NEW/S").sorts("new connections"),
    Column::number("PKT/S").sorts("packets"),
    Column::number("BIT/S").sorts("bits"),
    Column::text("SINCE").from(120),
    Column::text("REMARK").from(130),
];

/// Table of the services, their backends below each.
pub fn grid(look: &Look) -> Grid {
    let mut backends: BTreeMap<&str, Vec<&Backend>> = BTreeMap::new();
    for backend in &look.backends {
        backends.entry(&backend.service).or_default().push(backend);
    }
    let stats: BTreeMap<&str, &ServiceStats> =
        look.stats.services.iter().map(|stats| (&*stats.name, stats)).collect();
    let rows = look.status.services.iter().map(|service| {
        let name = &*service.name;
        row(service, stats.get(name).copied(), backends.get(name).map_or(&[], Vec::as_slice))
    });
    Grid { columns: COLUMNS, rows: rows.collect() }
}

fn row(service: &Service, stats: Option<&ServiceStats>, backends: &[&Backend]) -> Row {
    let (connections, rates) = stats.map_or_else(
        || (backends.iter().map(|backend| backend.connections).sum(), Rates::default()),
        |stats| (stats.connections, stats.arrivals.rates),
    );
    let (state, tone) = state_of_service(service);
    let weights = match service.weights_valid {
        Some(false) => Cell::text("equal").tone(Tone::Warning),
        _ => Cell::text(""),
    };
    let mut cells = vec![
        Cell::text(&*service.name).tone(Tone::Strong),
        Cell::text(state).tone(tone),
        Cell::text(""),
        weights,
        Cell::text(""),
        Cell::text(""),
        Cell::number(connections as f64, number(connections)),
        Cell::text(""),
    ];
    cells.extend(rate_cells(&rates));
    cells.extend([Cell::text(""), Cell::text("")]);
    let whole = Whole::of(backends);
    let children = backends.iter().map(|backend| child(service, backend, whole)).collect();
    let key = format!("service {}", service.name);
    Row { children, ..Row::new(key, cells, detail_of_service(service, connections, backends)) }
}

fn state_of_service(service: &Service) -> (String, Tone) {
    let Service { backends, healthy, eligible, ever_healthy, .. } = service;
    let of = format!("{healthy}/{backends} healthy");
    match (eligible, ever_healthy) {
        (_, false) if *backends > 0 => ("NEVER HEALTHY".to_owned(), Tone::Bad),
        (0, _) => ("NOBODY SERVES".to_owned(), Tone::Bad),
        _ if *healthy == 0 && *backends > 0 => (of, Tone::Bad),
        _ if healthy < backends => (of, Tone::Warning),
        _ => (of, Tone::Good),
    }
}

fn detail_of_service(service: &Service, connections: u64, backends: &[&Backend]) -> String {
    let name = &service.name;
    let network = service.network.as_ref().map(|network| format!(" in network {network}"));
    let pool = service.pool.map(|pool| format!(", {} pool", pool.as_str()));
    let (healthy, drained, eligible) = (service.healthy, service.operator_drained, service.eligible);
    let warning = backends.iter().find_map(|backend| backend.warning.as_deref());
    let warning = warning.map(|warning| format!(" Warning: {warning}."));
    format!(
        "Service {name}{}: {}, {healthy} healthy, {drained} drained, {eligible} for new connections{}; {}.{}",
        network.unwrap_or_default(),
        count(service.backends.into(), "backend"),
        pool.unwrap_or_default(),
        count(connections, "connection"),
        warning.unwrap_or_default()
    )
}

/// Sums over the backends of a service, of which each has a part.
#[derive(Clone, Copy)]
struct Whole {
    connections: u64,
    /// Weights of those that may receive new connections.
    weight: f64,
}

impl Whole {
    fn of(backends: &[&Backend]) -> Self {
        let eligible = backends.iter().filter(|backend| backend.eligible);
        Self {
            connections: backends.iter().map(|backend| backend.connections).sum(),
            weight: eligible.map(|backend| weight_of(backend)).sum(),
        }
    }
}

/// Row of a backend.
fn child(service: &Service, backend: &Backend, whole: Whole) -> Row {
    let part = (whole.connections > 0).then(|| backend.connections as f64 / whole.connections as f64);
    let (state, tone) = state(backend);
    let since = backend.health_check.as_ref().map(|check| check.for_sec);
    let mut cells = vec![
        Cell::text(&*backend.name),
        Cell::text(state).tone(tone),
        Cell::text(backend.address.to_string()),
        weight(backend),
        Cell::known(due(backend, whole), percent),
        Cell::number(backend.share, percent(backend.share)),
        Cell::number(backend.connections as f64, number(backend.connections)),
        Cell::known(part, percent),
    ];
    cells.extend(rate_cells(&backend.arrivals.rates));
    cells.push(Cell::text(since.map_or_else(|| "-".to_owned(), duration)));
    cells.push(Cell::text(remark(backend).unwrap_or_default()));
    let name = BackendName { service: backend.service.clone(), backend: backend.name.clone() };
    let key = format!("backend {name}");
    let drainable = Drainable {
        name,
        connections: backend.connections,
        is_drained: backend.operator_drained,
        is_last: backend.eligible && service.eligible <= 1,
    };
    Row { backend: Some(drainable), ..Row::new(key, cells, detail(backend)) }
}

/// State of a backend in words, and how good it is.
fn state(backend: &Backend) -> (String, Tone) {
    let mut words = Vec::new();
    words.extend((backend.health == Health::Unhealthy).then_some("UNHEALTHY"));
    words.extend(backend.operator_drained.then_some("drained"));
    words.extend(backend.draining.then_some("draining"));
    let is_bad = backend.health == Health::Unhealthy;
    match (words.is_empty(), backend.eligible) {
        (true, true) => ("healthy".to_owned(), Tone::Good),
        (true, false) => ("standby".to_owned(), Tone::Plain),
        _ => (words.join(", "), if is_bad { Tone::Bad } else { Tone::Warning }),
    }
}

/// Weight, with a mark where it is not the configured one.
fn weight(backend: &Backend) -> Cell {
    let Some(weight) = backend.weight else { return Cell::text("-") };
    let mark = match backend.weight_source {
        WeightSource::Configured => "",
        WeightSource::Reported => "r",
        WeightSource::Equal => "=",
        WeightSource::Operator => "o",
    };
    Cell::number(weight.into(), format!("{weight}{mark}"))
}

/// Share that the weights give a backend among those that may receive new connections; of those without weights, an equal one.
fn due(backend: &Backend, whole: Whole) -> Option<f64> {
    match (backend.eligible, whole.weight > 0.0) {
        (true, true) => Some(weight_of(backend) / whole.weight),
        (true, false) => None,
        (false, _) => Some(0.0),
    }
}

/// Weight by which a backend is chosen; all have the same where none has one.
fn weight_of(backend: &Backend) -> f64 {
    backend.weight.unwrap_or(1).into()
}

/// Reason why a backend is unhealthy or cannot be reached.
fn remark(backend: &Backend) -> Option<String> {
    let failing = backend.health_check.iter().filter(|_| backend.health == Health::Unhealthy);
    let error = failing.flat_map(|check| &check.rules).find_map(|rule| {
        let error = rule.last_error.as_deref()?;
        Some(format!("rule {}: {error}", rule.forwarding_rule))
    });
    error.or_else(|| match &backend.next_hop {
        None => Some("no route leads to it".to_owned()),
        Some(hop) if hop.mac.is_none() => Some(format!("next hop by {} is unresolved", hop.port)),
        Some(_) => None,
    })
}

fn detail(backend: &Backend) -> String {
    let (service, name) = (&backend.service, &backend.name);
    let (address, role, (state, _)) = (backend.address, backend.role.as_str(), state(backend));
    let since = backend.health_check.as_ref().map(|check| format!(" for {}", duration(check.for_sec)));
    let end = backend.entries_end_sec.map(|left| format!(", connections end in {}", duration(left)));
    let by_hand = match backend.weight_source {
        WeightSource::Operator => ", weight set by hand",
        WeightSource::Reported => ", weight as it reports",
        WeightSource::Equal => ", weights equal, as one is missing",
        WeightSource::Configured => "",
    };
    let hop = backend.next_hop.as_ref().and_then(|hop| Some((hop.mac.as_ref()?, &hop.port)));
    let hop = hop.map(|(mac, port)| format!("; next hop {mac} by {port}"));
    let remark = remark(backend).map(|remark| format!("; {remark}"));
    format!(
        "{service}/{name} {address}, {role}: {state}{}{}; {}{by_hand}{}{}",
        since.unwrap_or_default(),
        end.unwrap_or_default(),
        count(backend.connections, "connection"),
        hop.unwrap_or_default(),
        remark.unwrap_or_default()
    )
}

/// New connections, packets and bits a second.
fn rate_cells(rates: &Rates) -> [Cell; 3] {
    [rates.new_connections_per_sec, rates.packets_per_sec, rates.bytes_per_sec * 8.0]
        .map(|number| Cell::number(number, rate(number)))
}

/// Number in few digits: exact up to five.
fn number(number: u64) -> String {
    if number < 100_000 { number.to_string() } else { rate(number as f64) }
}

/// Share of one in five characters.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent >= 99.95 { format!("{percent:.0}%") } else { format!("{percent:.1}%") }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn the_share_that_is_due_goes_by_weight_among_eligible_backends() {
        let mut look = sample::look();
        look.backends[2].eligible = true;
        let web: Vec<&Backend> = look.backends.iter().filter(|backend| backend.service == "web").collect();
        let shares: Vec<_> = web.iter().map(|backend| due(backend, Whole::of(&web)).map(percent)).collect();
        assert_eq!(shares, ["66.7%", "33.3%", "0.0%"].map(|share| Some(share.to_owned())));
        let without = Backend { weight: None, ..web[0].clone() };
        assert_eq!(due(&without, Whole::of(&[&without, &without, web[2]])), Some(0.5));
        let nothing = Backend { weight: Some(0), ..web[0].clone() };
        assert_eq!(due(&nothing, Whole::of(&[&nothing])), None);
    }

    #[test]
    fn a_state_is_said_in_words() {
        let well = sample::look().backends[1].clone();
        let unhealthy = Backend { health: Health::Unhealthy, eligible: false, ..well.clone() };
        for (backend, words, tone) in [
            (well.clone(), "healthy", Tone::Good),
            (Backend { eligible: false, ..well.clone() }, "standby", Tone::Plain),
            (Backend { operator_drained: true, eligible: false, ..well.clone() }, "drained", Tone::Warning),
            (Backend { draining: true, eligible: false, ..well }, "draining", Tone::Warning),
            (Backend { operator_drained: true, ..unhealthy.clone() }, "UNHEALTHY, drained", Tone::Bad),
            (unhealthy, "UNHEALTHY", Tone::Bad),
        ] {
            assert_eq!(state(&backend), (words.to_owned(), tone));
        }
    }

    #[test]
    fn shares_and_numbers_take_five_characters() {
        for (share, text) in [(0.0, "0.0%"), (0.666_68, "66.7%"), (0.9994, "99.9%"), (0.9996, "100%")] {
            assert_eq!(percent(share), text);
        }
        for (count, text) in [(0, "0"), (99_999, "99999"), (1_234_567, "1.23M")] {
            assert_eq!(number(count), text);
        }
    }
}
