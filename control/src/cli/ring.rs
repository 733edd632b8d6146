//! `guideway ring`: who has which part of the hash space?

use std::fmt::Write;
use std::net::IpAddr;
use std::num::NonZeroU16;

use clap::Args as Arguments;
use guideway_dataplane::snapshot::Snapshot;
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
    /// Client of which it is shown what backends it meets: its subset of each service with subsets, and of others all.
    #[arg(long, value_name = "ADDRESS")]
    client: Option<IpAddr>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    subsetting: Option<Subsetting<'a>>,
    backends: Vec<Share<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend_by_slot: Option<Vec<&'a str>>,
}

#[derive(Serialize)]
struct Subsetting<'a> {
    policy: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subset_size: Option<u16>,
    /// Number of classes; none where every client meets all eligible backends.
    #[serde(skip_serializing_if = "Option::is_none")]
    classes: Option<usize>,
    /// Fewest and most subsets that a backend is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    subsets_of_a_backend: Option<Extremes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<ClientSubset<'a>>,
}

#[derive(Serialize)]
struct Extremes {
    least: u32,
    most: u32,
}

#[derive(Serialize)]
struct ClientSubset<'a> {
    address: IpAddr,
    /// Class of the client; none where there are no classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<usize>,
    /// Backends of the class, by seat.
    backends: Vec<&'a str>,
}

#[derive(Serialize)]
struct Share<'a> {
    backend: &'a str,
    weight: u16,
    slots: u32,
    share: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    subsets: Option<u32>,
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
            Ring::new(table, network, args, &what_if.snapshot)
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
    fn new(table: NamedTable<'a>, network: Option<&'a str>, args: &Args, snapshot: &Snapshot) -> Self {
        let slots = table.table().len();
        let share = |share: guideway_model::lookup_table_view::Share<'a>| Share {
            backend: share.backend,
            weight: share.weight,
            slots: share.slots,
            share: f64::from(share.slots) / slots as f64,
            subsets: share.subsets,
        };
        Self {
            backend_service: table.service(),
            network,
            slots,
            digest: format!("{:016x}", table.digest()),
            subsetting: Subsetting::of(table, args.client, snapshot),
            backends: table.shares().map(share).collect(),
            backend_by_slot: args.slots.then(|| (0..slots).map(|slot| table.backend_at(slot)).collect()),
        }
    }
}

impl<'a> Subsetting<'a> {
    /// Subsetting of a service; none where there is none and no client is asked about.
    fn of(table: NamedTable<'a>, client: Option<IpAddr>, snapshot: &Snapshot) -> Option<Self> {
        let subset_size = table.subset_size().map(NonZeroU16::get);
        if subset_size.is_none() && client.is_none() {
            return None;
        }
        let client = client.map(|address| {
            let class = table.subsets().map(|subsets| snapshot.class(subsets, address.into()));
            let backends = match class {
                Some(class) => table.subset(class).collect(),
                None => table.shares().map(|share| share.backend).collect(),
            };
            ClientSubset { address, class, backends }
        });
        let memberships = || table.shares().filter_map(|share| share.subsets);
        Some(Self {
            policy: if subset_size.is_some() { "CONSISTENT_HASH_SUBSETTING" } else { "NONE" },
            subset_size,
            classes: table.subsets().map(|subsets| subsets.iter().len()),
            subsets_of_a_backend: memberships()
                .min()
                .zip(memberships().max())
                .map(|(least, most)| Extremes { least, most }),
            client,
        })
    }

    /// Writes the subsets for people.
    fn text(&self) -> String {
        let policy = self.policy;
        let mut text = match (self.subset_size, self.classes, &self.subsets_of_a_backend) {
            (Some(size), Some(classes), Some(Extremes { least, most })) => format!(
                "{policy}: {classes} classes of clients, of {size} backends each; a backend is in {least} to {most}\n"
            ),
            (Some(size), ..) => {
                format!(
                    "{policy}: no more than {size} backends are eligible, and every client meets all of them\n"
                )
            }
            _ => "no subsets: every client meets all eligible backends\n".to_owned(),
        };
        if let Some(ClientSubset { address, class, backends }) = &self.client {
            let class = class.map(|class| format!(", of class {class},")).unwrap_or_default();
            let _ = writeln!(text, "{address}{class} meets {}", backends.join(", "));
        }
        text
    }
}

/// Writes the lookup tables for people.
fn text(ring: &Ring<'_>) -> String {
    let network = ring.network.map(|network| format!(" in {network}")).unwrap_or_default();
    let Ring { backend_service, slots, digest, .. } = ring;
    let mut text = format!("{backend_service}{network}: {slots} slots, digest {digest}\n");
    text.extend(ring.subsetting.as_ref().map(Subsetting::text));
    text.push('\n');
    let has_subsets = ring.backends.iter().any(|share| share.subsets.is_some());
    let mut header = vec!["BACKEND", "WEIGHT", "SLOTS", "SHARE"];
    header.extend(has_subsets.then_some("SUBSETS"));
    let mut shares = table::new(&header);
    for share in &ring.backends {
        let percent = format!("{:.3} %", share.share * 100.0);
        let row = [share.backend.to_owned(), share.weight.to_string(), share.slots.to_string(), percent];
        shares.add_row(row.into_iter().chain(share.subsets.map(|subsets| subsets.to_string())));
    }
    text.push_str(&table::text(shares, 1..header.len()));
    for (slot, backend) in ring.backend_by_slot.iter().flatten().enumerate() {
        let _ = writeln!(text, "{slot}\t{backend}");
    }
    text
}
