//! `guideway backend`: who serves, with which share, and who shall?

use clap::{Args as Arguments, Subcommand};
use guideway::admin::MAX_WEIGHT;
use guideway::admin::view::{Backend, Health, WeightSource};

use super::amount::{percent, yes_no};
use super::appliance::ApplianceArgs;
use super::{Exit, table};

#[derive(Arguments)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Shows the backends: state, weight, share, packets, next hop.
    List(List),
    /// Gives a backend no new connections; those that it has go on.
    Drain(One),
    /// Gives a drained backend new connections again.
    Undrain(One),
    /// Gives a backend another weight, until a reload changes the configured one.
    SetWeight(SetWeight),
}

#[derive(Arguments)]
struct List {
    /// Shows the backends of this service alone.
    #[arg(long)]
    service: Option<String>,
    #[command(flatten)]
    appliance: ApplianceArgs,
}

#[derive(Arguments)]
struct One {
    /// The backend service.
    service: String,
    /// The backend.
    backend: String,
    #[command(flatten)]
    appliance: ApplianceArgs,
}

#[derive(Arguments)]
struct SetWeight {
    /// The backend service.
    service: String,
    /// The backend.
    backend: String,
    /// The weight, beside those of the others.
    #[arg(value_parser = clap::value_parser!(u16).range(0..=i64::from(MAX_WEIGHT)))]
    weight: u16,
    #[command(flatten)]
    appliance: ApplianceArgs,
}

pub(super) fn run(args: &Args) -> Exit {
    let one = |backend: &Backend| text(std::slice::from_ref(backend));
    match &args.verb {
        Verb::List(List { service, appliance }) => appliance
            .ask(async |client| client.backend_list(service.as_deref()).await, |list| text(&list.backends)),
        Verb::Drain(One { service, backend, appliance }) => {
            appliance.ask(async |client| client.backend_drain(service, backend).await, one)
        }
        Verb::Undrain(One { service, backend, appliance }) => {
            appliance.ask(async |client| client.backend_undrain(service, backend).await, one)
        }
        Verb::SetWeight(SetWeight { service, backend, weight, appliance }) => {
            appliance.ask(async |client| client.backend_set_weight(service, backend, *weight).await, one)
        }
    }
}

/// The backends for people.
fn text(backends: &[Backend]) -> String {
    let mut rows = table::new(&[
        "SERVICE", "BACKEND", "ADDRESS", "ROLE", "STATE", "ELIGIBLE", "NEXT HOP", "WEIGHT", "SHARE",
        "PACKETS", "BYTES",
    ]);
    for backend in backends {
        rows.add_row([
            backend.service.clone(),
            backend.name.clone(),
            backend.address.to_string(),
            backend.role.as_str().to_owned(),
            state(backend),
            yes_no(backend.eligible),
            next_hop(backend),
            weight(backend),
            percent(backend.share),
            backend.forwarded.packets.to_string(),
            backend.forwarded.bytes.to_string(),
        ]);
    }
    table::text(rows, 7..11)
}

fn state(backend: &Backend) -> String {
    let health = match backend.health {
        Health::Healthy => "healthy",
        Health::Unhealthy => "unhealthy",
    };
    let drained = if backend.drained { ", drained" } else { "" };
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
        (Some(weight), WeightSource::Operator) => format!("{weight} (operator)"),
    }
}
