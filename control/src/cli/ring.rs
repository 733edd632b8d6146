//! `guideway ring`: who has which part of the hash space?

use std::fmt::Write;
use std::net::IpAddr;

use clap::Args as Arguments;
use guideway::api::view::{ClientSubset, Extremes, Ring, RingQuery, Subsetting};
use guideway_model::service::UnknownName;

use super::appliance::failed;
use super::config_choice::{headline, running};
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

pub(super) fn run(args: &Args, color: bool) -> Exit {
    let query = RingQuery {
        service: args.service.clone(),
        network: args.network.clone(),
        client: args.client,
        slots: args.slots,
    };
    let WhatIfArgs { live, unhealthy, socket, .. } = &args.what_if;
    if *live {
        return socket.talk(async |client| match client.ring(&query, unhealthy).await {
            Ok(list) => {
                print(&list.rings, &running(&list.config_path, list.configuration_generation), args.output)
            }
            Err(error) => failed(&error, args.output),
        });
    }
    let what_if = match args.what_if.what_if(color) {
        Ok(what_if) => what_if,
        Err(exit) => return exit,
    };
    match query.rings(&what_if.state, &what_if.snapshot) {
        Ok(rings) => print(&rings, &what_if.name, args.output),
        Err(unknown) => {
            let option = if matches!(unknown, UnknownName::Network(_)) { "network" } else { "service" };
            complain!("error: --{option}: {unknown}");
            Exit::Usage
        }
    }
}

fn print(rings: &[Ring], config: &str, output: Output) -> Exit {
    match output {
        Output::Table => {
            let rings = rings.iter().map(text).collect::<Vec<_>>().join("\n");
            super::print(&format!("{}\n{rings}", headline(config)))
        }
        Output::Json => super::print_json(&rings),
    }
}

/// Writes the subsets for people.
fn subsets(subsetting: &Subsetting) -> String {
    let policy = &subsetting.policy;
    let mut text = match (subsetting.subset_size, subsetting.classes, &subsetting.subsets_of_a_backend) {
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
    if let Some(ClientSubset { address, class, backends }) = &subsetting.client {
        let class = class.map(|class| format!(", of class {class},")).unwrap_or_default();
        let _ = writeln!(text, "{address}{class} meets {}", backends.join(", "));
    }
    text
}

/// Writes the lookup tables for people.
fn text(ring: &Ring) -> String {
    let network = ring.network.as_ref().map(|network| format!(" in {network}")).unwrap_or_default();
    let Ring { backend_service, slots, digest, .. } = ring;
    let mut text = format!("{backend_service}{network}: {slots} slots, digest {digest}\n");
    text.extend(ring.subsetting.as_ref().map(subsets));
    text.push('\n');
    let has_subsets = ring.backends.iter().any(|share| share.subsets.is_some());
    let mut header = vec!["BACKEND", "WEIGHT", "SLOTS", "SHARE"];
    header.extend(has_subsets.then_some("SUBSETS"));
    let mut shares = table::new(&header);
    for share in &ring.backends {
        let percent = format!("{:.3} %", share.share * 100.0);
        let row = [share.backend.clone(), share.weight.to_string(), share.slots.to_string(), percent];
        shares.add_row(row.into_iter().chain(share.subsets.map(|subsets| subsets.to_string())));
    }
    text.push_str(&table::text(shares, 1..header.len()));
    for (slot, backend) in ring.backend_by_slot.iter().flatten().enumerate() {
        let _ = writeln!(text, "{slot}\t{backend}");
    }
    text
}
