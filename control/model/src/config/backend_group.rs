//! Backend groups: endpoints, and the delivery of packets to them.

use std::collections::HashMap;
use std::net::IpAddr;

use guideway_dataplane::delivery::DeliveryMode;

use super::endpoints_dns::DnsQuestion;
use super::names::{Names, Scope};
use super::network::MacAddress;
use super::report::{Report, Span};
use super::written::choice::{Chosen, Delivery};
use super::written::field::{Field, Optional, elements};
use super::written::file::{BackendGroupFile, EndpointFile, NetworkFile};

/// Endpoints to which packets are delivered in the same way.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendGroup {
    /// Name of the group, unique among backend groups.
    pub name: String,
    /// Delivery of packets to the endpoints.
    pub delivery: DeliveryMode,
    /// Index of the network that the endpoints are reached by, in [`super::Config::networks`].
    pub network: usize,
    /// Path MTU to the endpoints, in bytes: the group's own, else the network's.
    pub mtu: u16,
    /// Endpoints, in the order of the file; possibly none.
    pub endpoints: Vec<Endpoint>,
    /// Path of the file that the endpoints are from; [`None`] if they are in the configuration.
    pub endpoints_file: Option<String>,
    /// Question of the domain name system whose answer the endpoints are; [`None`] if they are not from there.
    pub endpoints_dns: Option<DnsQuestion>,
}

impl BackendGroup {
    pub(super) fn parse(file: &BackendGroupFile, scope: &Scope<'_>, report: &mut Report) -> Option<Self> {
        let network = scope.networks.resolve(&file.network, report);
        let delivery = file.delivery_mode(report);
        let endpoints = file.endpoints.as_ref()?.get()?;
        Names::new(endpoints, report);
        file.check_addresses(report);
        Some(Self {
            name: file.name.get()?.0.clone(),
            endpoints_file: file.endpoints_file.written().map(|path| path.0.clone()),
            endpoints_dns: match &file.endpoints_dns {
                Some(dns) => Some(dns.get()?.question()?),
                None => None,
            },
            delivery: delivery?,
            network: network?,
            mtu: file.path_mtu(scope)?,
            endpoints: endpoints
                .iter()
                .map(|endpoint| Endpoint::parse(endpoint.get()?))
                .collect::<Option<_>>()?,
        })
    }
}

impl Endpoint {
    fn parse(file: &EndpointFile) -> Option<Self> {
        Some(Self {
            name: file.name.get()?.0.clone(),
            address: file.ip_address.copied()?,
            mac_address: file.mac_address.written().map(|mac| mac.0),
            weight: file.weight()?.as_u16(),
        })
    }
}

impl BackendGroupFile {
    /// Endpoints that could be read.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = &EndpointFile> {
        elements(&self.endpoints).iter().filter_map(Field::get)
    }

    /// Path MTU to the endpoints, in bytes: the group's own, else the network's.
    pub(super) fn path_mtu(&self, scope: &Scope<'_>) -> Option<u16> {
        if let Some(mtu) = &self.mtu {
            return Some(mtu.copied()?.as_u16());
        }
        let network = scope.networks.find(&self.network)?;
        match scope.networks.table(network) {
            Some(table) => Some(table.mtu()?.as_u16()),
            None if scope.networks.is_readable(network) => Some(NetworkFile::default().mtu()?.as_u16()),
            None => None,
        }
    }

    /// Kind of delivery to the endpoints, without its parameters.
    pub(super) fn delivery_kind(&self) -> Option<Delivery> {
        Some(self.delivery()?.0)
    }

    fn delivery_mode(&self, report: &mut Report) -> Option<DeliveryMode> {
        let kind = self.delivery_kind()?;
        if let (Some(port), true) = (&self.gue_port, kind != Delivery::Gue) {
            let help = "leave it out, or write `delivery = \"gue\"`";
            report.error(port.span(), format!("`gue_port` with delivery `{}`", Chosen(kind).name()), help);
        }
        Some(kind.mode(self.gue_port()?.as_u16()))
    }

    fn check_addresses(&self, report: &mut Report) {
        let mut seen: HashMap<IpAddr, &Span> = HashMap::new();
        for field in self.endpoints().map(|endpoint| &endpoint.ip_address) {
            let Some(address) = field.copied() else { continue };
            if let Some(earlier) = seen.insert(address, field.span()) {
                let message = format!("two endpoints at `{address}`");
                let help = "leave one of them out";
                report.error_beside(field.span(), message, help, [(earlier, "the first".to_owned())]);
            }
        }
    }
}

/// A machine that receives packets.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// Name of the endpoint, unique within every service that uses its group.
    pub name: String,
    /// Address of the endpoint, unique within every service that uses its group.
    pub address: IpAddr,
    /// MAC address of the endpoint; [`None`] if it is resolved from the IP address.
    pub mac_address: Option<MacAddress>,
    /// Weight before the first health report, 0 to [`MAX_WEIGHT`](super::MAX_WEIGHT).
    pub weight: u16,
}
