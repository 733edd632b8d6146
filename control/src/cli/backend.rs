//! `guideway backend`: shows backends, drains them, sets their weights.

mod drain;

use std::collections::BTreeSet;
use std::fmt::Write;

use clap::{Args as Arguments, Subcommand};
use guideway::api::view::{Backend, BackendDrain, Health, RuleCheck, WeightSource};
use guideway_model::config::MAX_WEIGHT;

use super::amount::{count, duration, percent, rate, yes_no};
use super::appliance::ApplianceArgs;
use super::watch::TableArgs;
use super::{Exit, table};

#[derive(Arguments)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Lists backends: state, weight, share, connections, rates, next hop, and why one is unhealthy.
    List(List),
    /// Shows one backend in full.
    Get(One),
    /// Drains a backend: no new connections, tracked ones go on; shows how many remain.
    Drain(drain::Args),
    /// Undrains a backend: new connections again.
    Undrain(One),
    /// Resets a backend: takes back its drain and the weight set by hand.
    Reset(One),
    /// Sets a backend's weight, until a reload changes the configured one.
    SetWeight(SetWeight),
}

#[derive(Arguments)]
struct List {
    /// Backend service to list; all without it.
    #[arg(long)]
    service: Option<String>,
    #[command(flatten)]
    table: TableArgs,
}

#[derive(Arguments)]
struct One {
    /// Name of the backend service.
    service: String,
    /// Name of the backend.
    backend: String,
    #[command(flatten)]
    appliance: ApplianceArgs,
}

#[derive(Arguments)]
struct SetWeight {
    /// Name of the backend service.
    service: String,
    /// Name of the backend.
    backend: String,
    /// New weight, relative to those of the service's other backends.
    #[arg(value_parser = clap::value_parser!(u16).range(0..=i64::from(MAX_WEIGHT)))]
    weight: u16,
    #[command(flatten)]
    appliance: ApplianceArgs,
}

pub(super) fn run(args: &Args) -> Exit {
    let one = |backend: &Backend| text(std::slice::from_ref(backend));
    match &args.verb {
        Verb::List(List { service, table }) => table
            .show(async |client| client.backend_list(service.as_deref()).await, |list| text(&list.backends)),
        Verb::Get(One { service, backend, appliance }) => {
            appliance.ask(async |client| client.backend_get(service, backend).await, details)
        }
        Verb::Drain(args) => drain::run(args, one),
        Verb::Undrain(One { service, backend, appliance }) => {
            appliance.ask(async |client| client.backend_undrain(service, backend).await, one)
        }
        Verb::Reset(One { service, backend, appliance }) => {
            appliance.ask(async |client| client.backend_reset(service, backend).await, one)
        }
        Verb::SetWeight(SetWeight { service, backend, weight: 0, appliance }) => appliance.ask(
            async |client| {
                let shown = client.backend_set_weight(service, backend, 0).await?;
                let remaining = drain::remaining(&client, service, backend).await.ok();
                Ok(BackendDrain { backend: shown, remaining })
            },
            |BackendDrain { backend, remaining }| one(backend) + "\n" + &drain::words(remaining.as_ref()),
        ),
        Verb::SetWeight(SetWeight { service, backend, weight, appliance }) => {
            appliance.ask(async |client| client.backend_set_weight(service, backend, *weight).await, one)
        }
    }
}

/// Writes backends for people.
fn text(backends: &[Backend]) -> String {
    let mut rows = table::new(&[
        "SERVICE",
        "BACKEND",
        "ADDRESS",
        "ROLE",
        "STATE",
        "SINCE",
        "ELIGIBLE",
        "NEXT HOP",
        "WEIGHT",
        "SHARE",
        "CONNECTIONS",
        "NEW/S",
        "PACKETS/S",
        "BYTES/S",
    ]);
    for backend in backends {
        let rates = &backend.arrivals.rates;
        rows.add_row([
            backend.service.clone(),
            backend.name.clone(),
            backend.address.to_string(),
            backend.role.as_str().to_owned(),
            state(backend),
            since(backend),
            yes_no(backend.eligible),
            next_hop(backend),
            weight(backend),
            percent(backend.share),
            backend.connections.to_string(),
            rate(rates.new_connections_per_sec),
            rate(rates.packets_per_sec),
            rate(rates.bytes_per_sec),
        ]);
    }
    let mut errors = backends.iter().flat_map(errors).collect::<Vec<_>>();
    // Each backend of a service has the warning of all.
    let warnings: BTreeSet<&str> = backends.iter().filter_map(|backend| backend.warning.as_deref()).collect();
    errors.extend(warnings.into_iter().map(|warning| format!("warning: {warning}\n")));
    let gap = if errors.is_empty() { "" } else { "\n" };
    format!("{}{gap}{}", table::text(rows, 8..14), errors.concat())
}

/// Lists why a backend is unhealthy, a line for each rule through which it is.
fn errors(backend: &Backend) -> Vec<String> {
    let checks = backend.health_check.iter().filter(|_| backend.health == Health::Unhealthy);
    let failing = checks.flat_map(|check| &check.rules).filter_map(|check| {
        let error = check.last_error.as_deref()?;
        Some(format!("{}/{} by rule {}: {error}\n", backend.service, backend.name, check.forwarding_rule))
    });
    failing.collect()
}

/// Writes one backend for people.
fn details(backend: &Backend) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(text, "{key:<14} {value}");
    };
    line("backend", &format!("{} of {}", backend.name, backend.service));
    if let Some(network) = &backend.network {
        line("network", network);
    }
    line("address", &format!("{}, {}", backend.address, backend.role.as_str()));
    line("state", &state(backend));
    if let Some(check) = &backend.health_check {
        let (time, turns) = (duration(check.for_sec), count(check.turns, "turn"));
        line("since", &format!("{time} ago, after {turns}"));
    }
    line("eligible", &yes_no(backend.eligible));
    line("next hop", &next_hop(backend));
    if let Some(learnt) = &backend.path_mtu {
        let time = duration(learnt.for_sec);
        line("path MTU", &format!("{}, told by {}, for another {time}", learnt.mtu, learnt.told_by));
    }
    line("weight", &weight(backend));
    if let Some(status) = backend.health_check.as_ref().and_then(|check| check.weight_status) {
        line("weight status", status.as_str());
    }
    line("share", &percent(backend.share));
    let forwarded = &backend.forwarded;
    line("forwarded", &format!("{}, {}", count(forwarded.packets, "packet"), count(forwarded.bytes, "byte")));
    let (begun, rates) = (backend.arrivals.new_connections, &backend.arrivals.rates);
    line("connections", &format!("{} tracked, {begun} begun", backend.connections));
    let [new, packets, bytes] =
        [rates.new_connections_per_sec, rates.packets_per_sec, rates.bytes_per_sec].map(rate);
    line("a second", &format!("{new} new connections, {packets} packets, {bytes} bytes"));
    if let Some(warning) = &backend.warning {
        line("warning", warning);
    }
    match &backend.health_check {
        Some(check) => text + "\n" + &checks(&check.rules),
        None => text,
    }
}

/// Writes a line for each rule that a backend is probed through.
fn checks(checks: &[RuleCheck]) -> String {
    let mut rows = table::new(&["RULE", "STATE", "PASSED", "FAILED", "LAST TOOK", "LAST ERROR"]);
    for check in checks {
        rows.add_row([
            check.forwarding_rule.clone(),
            health(if check.healthy { Health::Healthy } else { Health::Unhealthy }).to_owned(),
            check.passed.to_string(),
            check.failed.to_string(),
            check.last_latency_ms.map_or_else(|| "-".to_owned(), |latency| format!("{latency:.3} ms")),
            check.last_error.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    table::text(rows, 2..5)
}

/// Writes how long a backend has been healthy or unhealthy.
fn since(backend: &Backend) -> String {
    backend.health_check.as_ref().map_or_else(|| "-".to_owned(), |check| duration(check.for_sec))
}

const fn health(health: Health) -> &'static str {
    match health {
        Health::Healthy => "healthy",
        Health::Unhealthy => "unhealthy",
    }
}

fn state(backend: &Backend) -> String {
    let health = health(backend.health);
    let drained = match (backend.operator_drained, backend.entries_end_sec) {
        (false, _) => String::new(),
        (true, None) => ", drained".to_owned(),
        (true, Some(left)) => format!(", drained, connections end in {}", duration(left)),
    };
    let draining = if backend.draining { ", draining" } else { "" };
    format!("{health}{drained}{draining}")
}

fn next_hop(backend: &Backend) -> String {
    match &backend.next_hop {
        None => "none".to_owned(),
        Some(hop) => {
            format!("{} by {}", hop.mac.as_deref().unwrap_or("unresolved"), hop.port)
        }
    }
}

fn weight(backend: &Backend) -> String {
    match (backend.weight, backend.weight_source) {
        (None, _) => "-".to_owned(),
        (Some(weight), WeightSource::Configured) => weight.to_string(),
        (Some(weight), WeightSource::Reported) => format!("{weight} (reported)"),
        (Some(weight), WeightSource::Equal) => format!("{weight} (equal)"),
        (Some(weight), WeightSource::Operator) => format!("{weight} (operator)"),
    }
}
