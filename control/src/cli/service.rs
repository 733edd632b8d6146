//! `guideway service`: who is on each service, and how much?

use clap::{Args as Arguments, Subcommand};
use guideway::api::view::ListedService;

use super::amount::rate;
use super::watch::TableArgs;
use super::{Exit, table};

#[derive(Arguments)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Lists backend services: backends that may receive new connections, connections, rates.
    List(List),
}

#[derive(Arguments)]
struct List {
    #[command(flatten)]
    table: TableArgs,
}

pub(super) fn run(args: &Args) -> Exit {
    let Verb::List(List { table }) = &args.verb;
    table.show(async |client| client.service_list().await, |list| text(&list.services))
}

/// Writes services for people.
fn text(services: &[ListedService]) -> String {
    let mut rows = table::new(&[
        "SERVICE",
        "POOL",
        "BACKENDS",
        "HEALTHY",
        "ELIGIBLE",
        "CONNECTIONS",
        "NEW/S",
        "PACKETS/S",
        "BYTES/S",
    ]);
    for service in services {
        let (state, rates) = (&service.state, &service.arrivals.rates);
        rows.add_row([
            state.name.clone(),
            state.pool.map_or("-", |pool| pool.as_str()).to_owned(),
            state.backends.to_string(),
            state.healthy.to_string(),
            state.eligible.to_string(),
            service.connections.to_string(),
            rate(rates.new_connections_per_sec),
            rate(rates.packets_per_sec),
            rate(rates.bytes_per_sec),
        ]);
    }
    table::text(rows, 2..9)
}
