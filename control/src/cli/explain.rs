//! `guideway explain`: why does a packet go where it goes?

use clap::Args as Arguments;
use guideway_model::explain::{Explanation, explain};
use guideway_model::flow_text::FlowText;

use super::appliance::failed;
use super::config_choice::{headline, running};
use super::steps::Steps;
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
    let mut steps = Steps::default();
    steps.line("flow", &explanation.flow);
    if let Some(network) = &explanation.network {
        steps.line("network", network);
    }
    if let Some(rule) = &explanation.forwarding_rule {
        steps.rule(rule);
    }
    if let Some(selection) = &explanation.selection {
        steps.selection(selection);
    }
    if let Some(backend) = &explanation.backend {
        steps.backend(backend, None);
        let (delivery, largest) = (&backend.delivery, backend.largest_packet);
        steps.line("delivery", &format!("{delivery}, packets of up to {largest} bytes"));
    }
    if let Some(tracking) = &explanation.tracking {
        steps.tracking(tracking);
    }
    steps.verdict(&explanation.verdict, explanation.reason.as_ref());
    steps.vip_takes(&explanation.vip_takes);
    if !explanation.vip_takes.is_empty() && explanation.flow.starts_with("icmp") {
        steps.line("ICMP", "errors go where the packet goes that they quote, whatever the rules take");
    }
    steps.into_text()
}
