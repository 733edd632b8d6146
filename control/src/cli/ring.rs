//! `guideway ring`: who has which part of the hash space?

use std::fmt::Write;

use clap::Args as Arguments;
use guideway_model::lookup_table_view::NamedTable;
use guideway_model::service::ServiceState;
use serde::Serialize;

use super::what_if::WhatIfArgs;
use super::{Exit, Output, table};

#[derive(Arguments)]
pub(super) struct Args {
    #[command(flatten)]
    what_if: WhatIfArgs,
    /// Backend service to show; all without it.
    #[arg(long)]
    service: Option<String>,
    /// Network whose services are shown; all without it.
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    /// Shows the backend in every slot too.
    #[arg(long)]
    slots: bool,
    /// Form of the result.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Serialize)]
struct Ring<'a> {
    backend_service: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<&'a str>,
    slots: usize,
    digest: String,
    backends: Vec<Share<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend_by_slot: Option<Vec<&'a str>>,
}

#[derive(Serialize)]
struct Share<'a> {
    backend: &'a str,
    weight: u16,
    slots: u32,
    share: f64,
}

pub(super) fn run(args: &Args, color: bool) -> Exit {
    let what_if = match args.what_if.what_if(color) {
        Ok(what_if) => what_if,
        Err(exit) => return exit,
    };
    let state = &what_if.state;
    let wanted_network = match args.network.as_deref() {
        Some(name) => match super::network(Some(name), state.config()) {
            Ok(network) => Some(network),
            Err(exit) => return exit,
        },
        None => None,
    };
    let network_of = |service: &str| state.services().get(service).map(ServiceState::network);
    let is_there = |service: &str| wanted_network.is_none() || network_of(service) == wanted_network;
    let tables = state.lookup_tables().filter(|table| is_there(table.service()));
    let wanted = tables.filter(|table| args.service.as_deref().is_none_or(|name| name == table.service()));
    let rings: Vec<Ring<'_>> = wanted
        .map(|table| {
            let network = network_of(table.service()).and_then(|network| state.network_name(network));
            Ring::new(table, network, args.slots)
        })
        .collect();
    if let (Some(name), []) = (&args.service, &rings[..]) {
        eprintln!("error: --service: there is no backend service `{name}`");
        return Exit::Usage;
    }
    match args.output {
        Output::Table => super::print(&rings.iter().map(text).collect::<Vec<_>>().join("\n")),
        Output::Json => super::print_json(&rings),
    }
}

impl<'a> Ring<'a> {
    fn new(table: NamedTable<'a>, network: Option<&'a str>, with_slots: bool) -> Self {
        let slots = table.table().len();
        let share = |share: guideway_model::lookup_table_view::Share<'a>| Share {
            backend: share.backend,
            weight: share.weight,
            slots: share.slots,
            share: f64::from(share.slots) / slots as f64,
        };
        Self {
            backend_service: table.service(),
            network,
            slots,
            digest: format!("{:016x}", table.table().digest()),
            backends: table.shares().map(share).collect(),
            backend_by_slot: with_slots.then(|| (0..slots).map(|slot| table.backend_at(slot)).collect()),
        }
    }
}

/// Writes the lookup tables for people.
fn text(ring: &Ring<'_>) -> String {
    let network = ring.network.map(|network| format!(" in {network}")).unwrap_or_default();
    let Ring { backend_service, slots, digest, .. } = ring;
    let mut text = format!("{backend_service}{network}: {slots} slots, digest {digest}\n\n");
    let mut shares = table::new(&["BACKEND", "WEIGHT", "SLOTS", "SHARE"]);
    for share in &ring.backends {
        let percent = format!("{:.3} %", share.share * 100.0);
        shares.add_row([
            share.backend.to_owned(),
            share.weight.to_string(),
            share.slots.to_string(),
            percent,
        ]);
    }
    text.push_str(&table::text(shares, 1..4));
    for (slot, backend) in ring.backend_by_slot.iter().flatten().enumerate() {
        let _ = writeln!(text, "{slot}\t{backend}");
    }
    text
}
