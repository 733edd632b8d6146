//! Options that choose flows, of verbs that look at single packets.

use std::net::IpAddr;
use std::str::FromStr;

use clap::Args as Arguments;
use guideway_dataplane::address::Prefix;
use guideway_engine::tap::FlowFilter;
use guideway_model::flow_text::FlowText;
use ipnet::IpNet;

#[derive(Clone, Arguments)]
pub(super) struct FlowArgs {
    /// Service that the packets belong to.
    #[arg(long, value_name = "NAME")]
    pub(super) service: Option<String>,
    /// Backend that the packets go to.
    #[arg(long, value_name = "NAME")]
    pub(super) backend: Option<String>,
    /// Address that the packets are sent to, or a prefix.
    #[arg(long, value_name = "PREFIX")]
    pub(super) vip: Option<Addresses>,
    /// Address of the client, or a prefix: `198.51.100.0/24`.
    #[arg(long, value_name = "PREFIX")]
    pub(super) client: Option<Addresses>,
    /// Flow of the packets: `tcp 192.0.2.7:40001 > 203.0.113.10:443`.
    #[arg(long, value_name = "FLOW", conflicts_with_all = ["vip", "client"])]
    pub(super) flow: Option<FlowText>,
}

/// One address, or all of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Addresses(IpNet);

impl FlowArgs {
    /// True if no option is given.
    pub(super) fn is_any(&self) -> bool {
        let Self { service, backend, vip, client, flow } = self;
        service.is_none() && backend.is_none() && vip.is_none() && client.is_none() && flow.is_none()
    }

    /// Filter by addresses, protocol and ports.
    pub(super) fn flows(&self) -> FlowFilter {
        let prefix = |addresses: Option<Addresses>| {
            addresses.map(|Addresses(net)| Prefix::new(net.addr().into(), net.prefix_len()))
        };
        let Some(FlowText(flow)) = self.flow else {
            return FlowFilter {
                client: prefix(self.client),
                vip: prefix(self.vip),
                ..FlowFilter::default()
            };
        };
        let has_ports = flow.rule_port().is_some();
        FlowFilter {
            client: Some(flow.src.into()),
            vip: Some(flow.dst.into()),
            client_port: has_ports.then_some(flow.src_port),
            vip_port: has_ports.then_some(flow.dst_port),
            protocol: Some(flow.protocol),
            ..FlowFilter::default()
        }
    }
}

impl FromStr for Addresses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
        let addresses = address.or_else(|_| text.parse::<IpNet>().map(|net| net.trunc()));
        addresses.map(Self).map_err(|_| {
            format!("`{text}` is no address; write one as `198.51.100.7`, or a prefix as `198.51.100.0/24`")
        })
    }
}
