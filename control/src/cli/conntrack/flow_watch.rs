//! `guideway conntrack watch`: whose packets come now, and where do they go?

use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::net::{IpAddr, SocketAddr};

use clap::Args as Arguments;
use guideway::api::admin::MAX_CAPTURE_SEC;
use guideway::api::admin::client::{Client, ClientError};
use guideway::api::view::{WatchedFlow, WatchedFlows};

use super::super::amount::count;
use super::super::appliance::{ApplianceArgs, failed};
use super::super::packet_filter::FilterArgs;
use super::super::visible::visible;
use super::super::watch::CLEAR;
use super::super::{Exit, Output, print_to_reader, table};

/// Longest watch, in seconds.
const LONGEST: i64 = MAX_CAPTURE_SEC as i64;

#[derive(Arguments)]
pub(super) struct Args {
    #[command(flatten)]
    packets: FilterArgs,
    /// Tables after which the watch ends, one each second.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Seconds after which the watch ends; without this and `--count`, Ctrl-C ends it.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=LONGEST))]
    seconds: Option<u32>,
    #[command(flatten)]
    appliance: ApplianceArgs,
}

pub(super) fn run(args: &Args) -> Exit {
    args.appliance.socket.talk(async |client| match watch(&client, args).await {
        Ok(exit) => exit,
        Err(error) => failed(&error, args.appliance.output),
    })
}

/// Shows connections second by second, until the end or until nobody reads any more.
async fn watch(client: &Client, args: &Args) -> Result<Exit, ClientError> {
    let mut watch = client.conntrack_watch(&args.packets.filter(), args.count, args.seconds).await?;
    let before = if io::stdout().is_terminal() { CLEAR } else { "" };
    while let Some(flows) = watch.next().await? {
        let shown = match args.appliance.output {
            Output::Table => format!("{before}{}\n", visible(&text(&flows))),
            Output::Json => match serde_json::to_string(&flows) {
                Ok(line) => line + "\n",
                Err(error) => {
                    complain!("error: cannot write JSON: {error}");
                    return Ok(Exit::Failure);
                }
            },
        };
        match print_to_reader(&shown) {
            Ok(true) => (),
            Ok(false) => break,
            Err(exit) => return Ok(exit),
        }
    }
    Ok(Exit::Success)
}

/// Writes the connections of one second for people.
fn text(watched: &WatchedFlows) -> String {
    let mut rows = table::new(&["", "CLIENT", "VIP", "RULE", "BACKEND", "STATE", "PACKETS", "BYTES"]);
    for flow in &watched.flows {
        rows.add_row([
            flow.protocol.clone(),
            end(flow.client, flow.client_port),
            end(flow.vip, flow.vip_port),
            rule(flow),
            format!("{}/{}", flow.service, flow.backend),
            flow.state.map_or("-", super::state).to_owned(),
            flow.packets.to_string(),
            flow.bytes.to_string(),
        ]);
    }
    let mut text = if watched.flows.is_empty() { String::new() } else { table::text(rows, 6..8) + "\n" };
    let _ = write!(text, "{} in this second", count(watched.flows.len() as u64, "connection"));
    if watched.left_out_flows > 0 {
        let _ = write!(text, ", and {} more", watched.left_out_flows);
    }
    if watched.missed_packets > 0 {
        let _ = write!(text, "; a sample: {} not seen", count(watched.missed_packets, "packet"));
    }
    text + "\n"
}

/// Rule of a flow, behind its network where there are several.
fn rule(flow: &WatchedFlow) -> String {
    flow.network
        .as_ref()
        .map_or(flow.forwarding_rule.clone(), |network| format!("{network}:{}", flow.forwarding_rule))
}

/// End of a flow, with its port where it has one.
fn end(address: IpAddr, port: Option<u16>) -> String {
    port.map_or(address.to_string(), |port| SocketAddr::new(address, port).to_string())
}

#[cfg(test)]
mod tests {
    use guideway::api::view::ConnectionState;

    use super::*;

    fn flow() -> WatchedFlow {
        WatchedFlow {
            protocol: "tcp".to_owned(),
            client: "198.51.100.7".parse().unwrap(),
            client_port: Some(40_001),
            vip: "203.0.113.10".parse().unwrap(),
            vip_port: Some(443),
            network: None,
            forwarding_rule: "web".to_owned(),
            service: "web".to_owned(),
            backend: "web-1".to_owned(),
            packets: 12,
            bytes: 3_456,
            state: Some(ConnectionState::Established),
        }
    }

    #[test]
    fn a_second_is_a_table_of_its_connections() {
        let watched =
            WatchedFlows { at_unix_sec: 1.0, flows: vec![flow()], left_out_flows: 0, missed_packets: 0 };
        let expected = [
            "     CLIENT              VIP               RULE  BACKEND    STATE        PACKETS  BYTES",
            "tcp  198.51.100.7:40001  203.0.113.10:443  web   web/web-1  established       12   3456",
            "",
            "1 connection in this second",
            "",
        ];
        assert_eq!(text(&watched), expected.join("\n"));
    }

    #[test]
    fn what_is_not_shown_is_told() {
        let watched = WatchedFlows { at_unix_sec: 1.0, flows: vec![], left_out_flows: 7, missed_packets: 1 };
        assert_eq!(text(&watched), "0 connections in this second, and 7 more; a sample: 1 packet not seen\n");
        let esp = WatchedFlow { client_port: None, network: Some("blue".to_owned()), state: None, ..flow() };
        assert_eq!(
            (end(esp.client, esp.client_port), rule(&esp)),
            ("198.51.100.7".to_owned(), "blue:web".to_owned())
        );
    }
}
