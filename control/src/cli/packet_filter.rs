//! Options that say which live packets a verb is about.

use clap::Args as Arguments;
use guideway::api::packet_filter::{Addresses, Destination, PacketFilter};
use guideway_model::flow_text::FlowText;

#[derive(Arguments)]
pub(super) struct FilterArgs {
    /// Service that the packets belong to.
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Backend that the packets go to; with `--service` where several services have one of the name.
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,
    /// Address that the packets are sent to, with a port or without, or a prefix: `203.0.113.10:443`.
    #[arg(long, value_name = "ADDRESS[:PORT]")]
    vip: Option<Destination>,
    /// Address of the client, or a prefix: `198.51.100.0/24`.
    #[arg(long, value_name = "PREFIX")]
    client: Option<Addresses>,
    /// Flow of the packets: `tcp 192.0.2.7:40001 > 203.0.113.10:443`.
    #[arg(long, value_name = "FLOW", conflicts_with_all = ["vip", "client"])]
    flow: Option<FlowText>,
}

impl FilterArgs {
    /// Filter of the options.
    pub(super) fn filter(&self) -> PacketFilter {
        let Self { service, backend, vip, client, flow } = self;
        PacketFilter {
            service: service.clone(),
            backend: backend.clone(),
            client: *client,
            vip: *vip,
            flow: *flow,
        }
    }
}
