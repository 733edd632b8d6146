//! `guideway rule`: how much comes to each forwarding rule?

use clap::{Args as Arguments, Subcommand};
use guideway::api::view::ListedRule;

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
    /// Lists forwarding rules: VIP, protocol, ports, rates.
    List(List),
}

#[derive(Arguments)]
struct List {
    #[command(flatten)]
    table: TableArgs,
}

pub(super) fn run(args: &Args) -> Exit {
    let Verb::List(List { table }) = &args.verb;
    table.show(async |client| client.rule_list().await, |list| text(&list.rules))
}

/// Writes rules for people.
fn text(rules: &[ListedRule]) -> String {
    let mut rows =
        table::new(&["RULE", "SERVICE", "ADDRESS", "PROTOCOL", "PORTS", "NEW/S", "PACKETS/S", "BYTES/S"]);
    for rule in rules {
        let rates = &rule.stats.arrivals.rates;
        rows.add_row([
            rule.stats.name.clone(),
            rule.stats.service.clone(),
            rule.address.clone(),
            rule.ip_protocol.clone(),
            rule.ports.clone(),
            rate(rates.new_connections_per_sec),
            rate(rates.packets_per_sec),
            rate(rates.bytes_per_sec),
        ]);
    }
    table::text(rows, 5..8)
}
