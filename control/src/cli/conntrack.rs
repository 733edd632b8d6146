//! `guideway conntrack`: which connections are tracked, and where do they go?

mod flow_watch;

use std::fmt::Write;

use clap::{Args as Arguments, Subcommand};
use guideway::api::admin::{DEFAULT_ENTRIES, MAX_ENTRIES};
use guideway::api::view::{ConnectionState, ConntrackList, ConntrackLookup};
use guideway_model::flow_text::FlowText;

use super::amount::{duration, yes_no};
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
    /// Lists conntrack entries. They hold no addresses: to find a flow's entry, use `get`.
    List(List),
    /// Shows the entry that a packet of a flow would find.
    Get(Get),
    /// Watches connections by their packets: addresses, backend, state, each second until interrupted.
    Watch(flow_watch::Args),
}

#[derive(Arguments)]
struct List {
    /// Backend service to list; all without it.
    #[arg(long)]
    service: Option<String>,
    /// Name of the backends to list; all without it.
    #[arg(long)]
    backend: Option<String>,
    /// Largest number of entries shown.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_ENTRIES, value_parser = limit)]
    limit: usize,
    #[command(flatten)]
    table: TableArgs,
}

#[derive(Arguments)]
struct Get {
    /// Flow, in one word or several: `tcp 192.0.2.7:40001 > 203.0.113.10:443`, `esp 192.0.2.7 >
    /// 203.0.113.10`; `first-fragment` or `later-fragment` may follow.
    #[arg(required = true)]
    flow: Vec<String>,
    /// Network that the flow's packets come from; the first by default.
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    #[command(flatten)]
    appliance: ApplianceArgs,
}

fn limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(limit) if limit <= MAX_ENTRIES => Ok(limit),
        _ => Err(format!("write a number of at most {MAX_ENTRIES}")),
    }
}

pub(super) fn run(args: &Args) -> Exit {
    match &args.verb {
        Verb::List(List { service, backend, limit, table }) => {
            let (service, backend) = (service.as_deref(), backend.as_deref());
            table.show(async |client| client.conntrack_list(service, backend, *limit).await, list)
        }
        Verb::Watch(args) => flow_watch::run(args),
        Verb::Get(Get { flow, network, appliance }) => match flow.join(" ").parse::<FlowText>() {
            Ok(flow) => {
                let (flow, network) = (flow.to_string(), network.as_deref());
                appliance.ask(async |client| client.conntrack_get(&flow, network).await, lookup)
            }
            Err(wrong) => {
                complain!("error: {wrong}");
                Exit::Usage
            }
        },
    }
}

/// Writes entries for people.
fn list(list: &ConntrackList) -> String {
    let mut rows = table::new(&["SERVICE", "BACKEND", "KEY", "STATE", "PERSISTS", "IDLE"]);
    for entry in &list.entries {
        rows.add_row([
            entry.service.clone(),
            entry.backend.clone(),
            entry.key.clone(),
            state(entry.state).to_owned(),
            yes_no(entry.persists),
            duration(entry.idle_sec.into()),
        ]);
    }
    let shown = list.entries.len();
    let mut text = if shown > 0 { table::text(rows, 5..6) + "\n" } else { String::new() };
    let _ = writeln!(text, "{shown} of {} shown", list.matching);
    text
}

/// State of a connection, for people.
fn state(state: ConnectionState) -> &'static str {
    match state {
        ConnectionState::HalfOpen => "half open",
        ConnectionState::Unconfirmed => "unconfirmed",
        ConnectionState::Established => "established",
        ConnectionState::Closed => "closed",
    }
}

/// Writes the lookup of a flow for people: one step a line.
fn lookup(lookup: &ConntrackLookup) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(text, "{key:<10} {value}");
    };
    line("flow", &lookup.flow);
    if let Some(network) = &lookup.network {
        line("network", network);
    }
    line("rule", lookup.forwarding_rule.as_deref().unwrap_or("none"));
    if let Some(service) = &lookup.service {
        line("service", service);
    }
    match &lookup.tuple {
        Some(tuple) if lookup.tracked => line("tracking", &format!("by the {tuple}")),
        Some(_) => line("tracking", "off: every packet goes by its hash"),
        None => (),
    }
    match &lookup.entry {
        None => line("entry", "none"),
        Some(entry) => {
            line("entry", &entry.key);
            line("backend", &format!("{}/{}", entry.service, entry.backend));
            let persists = if entry.persists { "stays on" } else { "leaves" };
            line("state", &format!("{}; {persists} an unhealthy backend", state(entry.state)));
            line("idle", &duration(entry.idle_sec.into()));
        }
    }
    text
}
