//! `guideway ring`: who has which part of the hash space?

use std::fmt::Write;

use clap::Args as Arguments;
use guideway_model::lookup_table_view::NamedTable;
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
    let tables = what_if.state.lookup_tables();
    let wanted = tables.filter(|table| args.service.as_deref().is_none_or(|name| name == table.service()));
    let rings: Vec<Ring<'_>> = wanted.map(|table| Ring::new(table, args.slots)).collect();
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
    fn new(table: NamedTable<'a>, with_slots: bool) -> Self {
        let slots = table.table().len();
        let share = |share: guideway_model::lookup_table_view::Share<'a>| Share {
            backend: share.backend,
            weight: share.weight,
            slots: share.slots,
            share: f64::from(share.slots) / slots as f64,
        };
        Self {
            backend_service: table.service(),
            slots,
            digest: format!("{:016x}", table.table().digest()),
            backends: table.shares().map(share).collect(),
            backend_by_slot: with_slots.then(|| (0..slots).map(|slot| table.backend_at(slot)).collect()),
        }
    }
}

/// Writes the lookup tables for people.
fn text(ring: &Ring<'_>) -> String {
    let mut text = format!("{}: {} slots, digest {}\n\n", ring.backend_service, ring.slots, ring.digest);
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
