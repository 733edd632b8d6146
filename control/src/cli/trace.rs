//! `guideway trace`: which way do packets take now, and why?

use clap::Args as Arguments;
use guideway::api::admin::client::{Client, ClientError};
use guideway::api::admin::{DEFAULT_TRACED, MAX_CAPTURE_SEC};
use guideway::api::packet_filter::PacketFilter;
use guideway::api::view::TracedPacket;
use guideway_model::flow_text::FlowText;
use guideway_model::trace::MAX_TRACED;

use super::amount::count;
use super::appliance::{ApplianceArgs, failed};
use super::packet_filter::FilterArgs;
use super::visible::visible;
use super::{Exit, Output, packet_trace, print_to_reader};

/// Longest trace, in seconds.
const LONGEST: i64 = MAX_CAPTURE_SEC as i64;

#[derive(Arguments)]
pub(super) struct Args {
    /// Flow whose packets are traced: `tcp 192.0.2.7:40001 > 203.0.113.10:443`; without it, those that the options choose.
    #[arg(value_name = "FLOW", conflicts_with_all = ["flow", "client", "vip"])]
    traced_flow: Option<FlowText>,
    #[command(flatten)]
    packets: FilterArgs,
    /// Packets after which the trace ends.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_TRACED, value_parser = clap::value_parser!(u64).range(1..=MAX_TRACED))]
    count: u64,
    /// Seconds after which the trace ends; without this, its last packet or Ctrl-C ends it.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=LONGEST))]
    seconds: Option<u32>,
    #[command(flatten)]
    appliance: ApplianceArgs,
}

pub(super) fn run(args: &Args) -> Exit {
    let chosen = args.packets.filter();
    let filter = PacketFilter { flow: args.traced_flow.or(chosen.flow), ..chosen };
    args.appliance.socket.talk(async |client| match trace(&client, &filter, args).await {
        Ok(exit) => exit,
        Err(error) => failed(&error, args.appliance.output),
    })
}

/// Prints packet after packet, until the end or until nobody reads any more.
async fn trace(client: &Client, filter: &PacketFilter, args: &Args) -> Result<Exit, ClientError> {
    let mut packets = client.trace(filter, args.count, args.seconds).await?;
    let (mut shown, mut missed) = (0, 0);
    while let Some(traced) = packets.next().await? {
        missed = traced.missed_packets;
        let text = match args.appliance.output {
            Output::Table => visible(&text(&traced)).into_owned(),
            Output::Json => match serde_json::to_string(&traced) {
                Ok(line) => line + "\n",
                Err(error) => {
                    complain!("error: cannot write JSON: {error}");
                    return Ok(Exit::Failure);
                }
            },
        };
        match print_to_reader(&text) {
            Ok(true) => shown += 1,
            Ok(false) => return Ok(Exit::Success),
            Err(exit) => return Ok(exit),
        }
    }
    if shown == 0 {
        complain!("no packet of that choice came; `guideway stats` says if any packet comes");
    }
    if missed > 0 {
        complain!("warning: {} had no room on the way here: choose fewer flows", count(missed, "packet"));
    }
    Ok(Exit::Success)
}

/// Writes a packet for people, under its number and its time.
fn text(traced: &TracedPacket) -> String {
    let packet = &traced.packet;
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_nanos(packet.timestamp_unix_nanos);
    let title = format!("packet {}  {}", packet.number, humantime::format_rfc3339_micros(time));
    packet_trace::lines(packet, &title) + "\n"
}
