//! `guideway replay --trace`: single packets through every stage.

use clap::Args as Arguments;
use guideway::api::packet_filter::PacketFilter;
use guideway::offline::replay::{TraceOrder, Traces};
use guideway::offline::timeline::Timeline;
use guideway_model::config::Config;
use guideway_model::flow_text::FlowText;
use guideway_model::forwarding_state::StateChange;
use guideway_model::trace::MAX_TRACED;

use super::super::Exit;
use super::super::amount::count;
use super::super::packet_filter::FilterArgs;
use super::super::packet_trace;

#[derive(Arguments)]
#[command(next_help_heading = "Traces")]
pub(super) struct TraceArgs {
    /// Traces packets through every stage: those of this flow, or those that the options below choose, else any.
    #[arg(long, value_name = "FLOW")]
    trace: Option<Option<FlowText>>,
    /// Packets that are traced at most, the first of those that are chosen.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=MAX_TRACED))]
    trace_packets: u64,
    #[command(flatten)]
    packets: FilterArgs,
}

impl TraceArgs {
    /// Order to trace packets, where that was asked for. A service or a backend that no configuration of the replay has is
    /// refused.
    pub(super) fn order(&self, config: &Config, events: &Timeline) -> Result<Option<TraceOrder>, Exit> {
        let mut chosen = self.packets.filter();
        match self.trace {
            None if chosen.is_empty() => return Ok(None),
            None => {
                complain!("error: flows are chosen for a trace: add `--trace`, or leave the choice out");
                return Err(Exit::Usage);
            }
            Some(None) => {}
            Some(Some(_)) if chosen.flow.is_some() || chosen.client.is_some() || chosen.vip.is_some() => {
                complain!("error: `--trace FLOW` has a client and a VIP of its own: leave out the others");
                return Err(Exit::Usage);
            }
            Some(flow) => chosen.flow = flow,
        }
        let changes = events.moments.iter().flat_map(|moment| &moment.changes);
        let reloads = changes.filter_map(|change| match change {
            StateChange::Config(config) => Some(&**config),
            _ => None,
        });
        let configs: Vec<&Config> = reloads.chain([config]).collect();
        if let Some(unknown) = unknown(&chosen, &configs) {
            complain!("error: {unknown}");
            return Err(Exit::Usage);
        }
        let (flows, packets) = (chosen.flows(), self.trace_packets);
        Ok(Some(TraceOrder { flows, service: chosen.service, backend: chosen.backend, packets }))
    }
}

/// Name in a choice that no configuration has, in words.
fn unknown(chosen: &PacketFilter, configs: &[&Config]) -> Option<String> {
    let services =
        || configs.iter().flat_map(|config| config.services.iter().map(move |service| (config, service)));
    let service = chosen.service.as_ref().filter(|name| services().all(|(_, known)| known.name != **name));
    if let Some(service) = service {
        return Some(format!("--service: there is no backend service `{service}`"));
    }
    let has = |name: &str| {
        services().any(|(config, service)| service.endpoints(config).any(|known| known.name == name))
    };
    let backend = chosen.backend.as_ref().filter(|name| !has(name))?;
    Some(format!("--backend: no backend is named `{backend}`"))
}

/// Writes traces for people; times are since the capture's first frame.
pub(super) fn text(traces: &Traces, start_unix_nanos: u64) -> String {
    let mut text = String::new();
    for trace in &traces.packets {
        let title = format!("packet {}  {}", trace.number, trace.since(start_unix_nanos));
        text += "\n";
        text += &packet_trace::lines(trace, &title);
    }
    let shown = traces.packets.len() as u64;
    text += &if shown == 0 {
        "\ntrace     none: no packet is of the flows that were chosen\n".to_owned()
    } else if traces.fitting == shown {
        format!("\ntrace     {}, all that were chosen\n", count(shown, "packet"))
    } else {
        let fitting = count(traces.fitting, "packet");
        format!("\ntrace     the first {shown} of {fitting}; `--trace-packets N` traces more\n")
    };
    text
}
