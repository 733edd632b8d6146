//! `guideway explain`: why does a packet go where it goes?

use std::fmt::Write;

use clap::Args as Arguments;
use guideway_model::explain::{AccessStep, Explanation, SubsetStep, explain};
use guideway_model::flow_text::FlowText;

use super::appliance::failed;
use super::config_choice::{headline, running};
use super::what_if::WhatIfArgs;
use super::{Exit, Output};

#[derive(Arguments)]
pub(super) struct Args {
    #[command(flatten)]
    what_if: WhatIfArgs,
    /// Flow to explain: `tcp 192.0.2.7:40001 > 203.0.113.10:443`, `icmp 192.0.2.7 -> 203.0.113.10`;
    /// `first-fragment` or `later-fragment` may follow.
    flow: FlowText,
    /// Network that the packet comes from; the first by default.
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    /// Form of the result.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

pub(super) fn run(args: &Args, color: bool) -> Exit {
    let WhatIfArgs { live, unhealthy, socket, .. } = &args.what_if;
    if *live {
        let (flow, network) = (args.flow.to_string(), args.network.as_deref());
        return socket.talk(async |client| match client.explain(&flow, network, unhealthy).await {
            Ok(explained) => {
                let name = running(&explained.config_path, explained.configuration_generation);
                print(&explained.explanation, &name, args.output)
            }
            Err(error) => failed(&error, args.output),
        });
    }
    let what_if = match args.what_if.what_if(color) {
        Ok(what_if) => what_if,
        Err(exit) => return exit,
    };
    let network = match super::network(args.network.as_deref(), what_if.state.config()) {
        Ok(network) => network,
        Err(exit) => return exit,
    };
    print(&explain(args.flow, network, &what_if.state, &what_if.snapshot), &what_if.name, args.output)
}

fn print(explanation: &Explanation, config: &str, output: Output) -> Exit {
    match output {
        Output::Table => super::print(&(headline(config) + &lines(explanation))),
        Output::Json => super::print_json(explanation),
    }
}

/// Writes the explanation for people: one step a line.
fn lines(explanation: &Explanation) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(text, "{key:<10} {value}");
    };
    line("flow", &explanation.flow);
    if let Some(network) = &explanation.network {
        line("network", network);
    }
    if let Some(rule) = &explanation.forwarding_rule {
        if let Some(route) = &rule.route {
            line("route", route);
        }
        line("rule", &format!("{} ({})", rule.name, rule.matches));
        if let Some(AccessStep { name, prefix, admitted }) = &rule.access_list {
            let word = if *admitted { "admitted" } else { "denied" };
            let by = prefix.as_ref().map_or("by default".to_owned(), |prefix| format!("by {prefix}"));
            line("access", &format!("{word} {by} ({name})"));
        }
        line("service", &rule.backend_service);
    }
    if let Some(selection) = &explanation.selection {
        let pool = selection.pool.as_ref().map(|pool| format!(", {pool} pool")).unwrap_or_default();
        let (eligible, configured) = (&selection.eligible, selection.configured);
        line("eligible", &format!("{} of {configured}{pool}: {}", eligible.len(), eligible.join(", ")));
        line("hash", &format!("{} over the {}", selection.hash, selection.tuple));
        if let Some(slot) = selection.slot {
            line("slot", &format!("{slot} of {}", selection.slots));
        }
        if let Some(SubsetStep { client, class, classes, seat, backends }) = &selection.subset {
            let (size, members) = (backends.len(), backends.join(", "));
            line("subset", &format!("{size} backends of class {class} of {classes}, by {client}: {members}"));
            line("seat", &format!("{seat} of {size}"));
        }
    }
    if let Some(backend) = &explanation.backend {
        let weight = backend.weight.map(|weight| format!(", weight {weight}")).unwrap_or_default();
        line("backend", &format!("{} ({}{weight})", backend.name, backend.address));
        let (delivery, largest) = (&backend.delivery, backend.largest_packet);
        line("delivery", &format!("{delivery}, packets of up to {largest} bytes"));
    }
    if let Some(tracking) = &explanation.tracking {
        if tracking.tracked {
            let persists = if tracking.persists_on_unhealthy { "stays on" } else { "leaves" };
            let idle = tracking.idle_timeout_sec;
            line(
                "tracking",
                &format!("by the {}; {persists} an unhealthy backend; idle {idle} s", tracking.tuple),
            );
        } else {
            line("tracking", "off: every packet goes by its hash");
        }
    }
    let reason = explanation.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    line("verdict", &format!("{}{reason}", explanation.verdict));
    if !explanation.vip_takes.is_empty() {
        line("VIP takes", &format!("{} only", explanation.vip_takes.join("; ")));
        if explanation.flow.starts_with("icmp") {
            line("ICMP", "errors go where the packet goes that they quote, whatever the rules take");
        }
    }
    text
}
