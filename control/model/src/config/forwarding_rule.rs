//! Forwarding rules: the packets that belong to a backend service.

use std::net::IpAddr;

use guideway_dataplane::affinity::LoadBalancingScheme;
use ipnet::IpNet;

use super::limits::{MAX_PORTS, MAX_SOURCE_RANGES};
use super::names::Scope;
use super::report::{Report, Span};
use super::written::choice::{Chosen, NeighborReplies, RuleProtocol, ServiceProtocol};
use super::written::field::{Field, elements};
use super::written::file::{BackendServiceFile, ForwardingRuleFile};
use super::written::lengths::limit;
use super::written::value::{ClientRange, ListedPorts, PortRange};
use super::written::vip_range::VipRange;

/// A virtual IP address with a protocol and ports, and the backend service behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct ForwardingRule {
    /// Name of the rule, unique among forwarding rules.
    pub name: String,
    /// Index of the network that packets of the rule come from, in [`super::Config::networks`]; its backend service has the
    /// same.
    pub network: usize,
    /// Side of the network that the rule faces; its backend service has the same.
    pub scheme: LoadBalancingScheme,
    /// Virtual IP addresses: one, or all of a prefix.
    pub vip: VipRange,
    /// Address of these that probes in the path of traffic go to.
    pub probe_address: IpAddr,
    /// IP protocols that the rule takes.
    pub protocol: RuleProtocol,
    /// Layer-4 ports that the rule takes.
    pub ports: Ports,
    /// Prefixes of the only clients that the rule takes, of the VIP's family; empty means every client.
    pub source_ranges: Vec<IpNet>,
    /// True if clients outside [`super::Network::region_ranges`] may use the rule; always true for an external scheme.
    pub allow_global_access: bool,
    /// Index of the access list of the sources that the rule admits, in [`super::Config::access_lists`]; [`None`] if it admits
    /// all.
    pub access_list: Option<usize>,
    /// Answers to ARP and neighbour discovery for the VIP.
    pub neighbor_replies: NeighborReplies,
    /// Index of the backend service in [`super::Config::services`].
    pub service: usize,
}

impl ForwardingRule {
    pub(super) fn parse(file: &ForwardingRuleFile, scope: &Scope<'_>, report: &mut Report) -> Option<Self> {
        let network = scope.networks.resolve(&file.network, report);
        let scheme = file.scheme();
        let protocol = file.protocol();
        let ports = file.ports(report);
        let source_ranges = file.source_ranges(report);
        let probe_address = file.parsed_probe_address(report);

        if let (Some(RuleProtocol::L3Default), Some(ports)) = (protocol, &ports)
            && *ports != Ports::All
        {
            let span = file.ports.as_ref().map(Field::span).or(file.port_range.as_ref().map(Field::span));
            report.error(
                span.unwrap_or(file.name.span()),
                "an L3_DEFAULT rule takes all ports",
                "write `all_ports = true` in place of the ports, or choose TCP or UDP",
            );
        }
        if let (Some(LoadBalancingScheme::Internal), Some(range)) = (scheme, &file.port_range) {
            report.error(
                range.span(),
                "a range of ports is for EXTERNAL rules only",
                "list up to 5 `ports`, or write `all_ports = true`",
            );
        }
        if let (Some(LoadBalancingScheme::External), Some(global)) = (scheme, &file.allow_global_access) {
            report.error(
                global.span(),
                "`allow_global_access` is for INTERNAL rules only",
                "leave it out: every client may use an EXTERNAL rule",
            );
        }
        let access_list = match &file.access_list {
            Some(name) => scope.access_lists.resolve(name, report).map(Some),
            None => Some(None),
        };
        let service = scope.services.resolve(&file.backend_service, report);
        if let Some((_, service)) = scope.services.find(&file.backend_service) {
            file.check_service(service, report);
            file.check_network(service, scope, report);
        }

        Some(Self {
            name: file.name.get()?.0.clone(),
            network: network?,
            scheme: scheme?,
            vip: file.ip_address.copied()?,
            probe_address: probe_address?,
            protocol: protocol?,
            ports: ports?,
            source_ranges: source_ranges?,
            access_list: access_list?,
            neighbor_replies: file.neighbor_replies()?.0,
            allow_global_access: file.allow_global_access()? || scheme? == LoadBalancingScheme::External,
            service: service?,
        })
    }
}

impl ForwardingRuleFile {
    /// Side of the network that the rule faces.
    pub(super) fn scheme(&self) -> Option<LoadBalancingScheme> {
        Some(self.load_balancing_scheme()?.0)
    }

    fn protocol(&self) -> Option<RuleProtocol> {
        Some(self.ip_protocol()?.0)
    }

    fn ports(&self, report: &mut Report) -> Option<Ports> {
        let all = self.all_ports()?;
        let written = [
            self.ports.as_ref().map(Field::span),
            self.port_range.as_ref().map(Field::span),
            self.all_ports.as_ref().filter(|_| all).map(Field::span),
        ];
        let mut written = written.into_iter().flatten();
        let Some(first) = written.next() else {
            let help = match (self.protocol(), self.scheme()) {
                (Some(RuleProtocol::L3Default), _) => "add `all_ports = true`",
                (_, Some(LoadBalancingScheme::Internal)) => {
                    "add one of `ports = [80, 443]` and `all_ports = true`"
                }
                _ => "add one of `ports = [80, 443]`, `port_range = \"8000-8100\"` and `all_ports = true`",
            };
            report.error(self.name.span(), "a forwarding rule without ports", help);
            return None;
        };
        if let Some(second) = written.next() {
            report.error_beside(
                second,
                "a forwarding rule takes its ports in one way",
                "keep one of `ports`, `port_range` and `all_ports`",
                [(first, "its ports are here already".to_owned())],
            );
            return None;
        }
        if all {
            return Some(Ports::All);
        }
        if let Some(range) = &self.port_range {
            let PortRange(first, last) = range.copied()?;
            return Some(Ports::consecutive(first, last));
        }
        self.listed_ports(report)
    }

    fn listed_ports(&self, report: &mut Report) -> Option<Ports> {
        let list = self.ports.as_ref()?;
        let ports = list.get()?;
        if ports.is_empty() {
            report.error(
                list.span(),
                "an empty list of ports",
                "list 1 to 5 ports, or write `all_ports = true`",
            );
            return None;
        }
        if let [range] = ports.as_slice()
            && let Some(ListedPorts(first, last)) = range.copied()
            && first < last
        {
            if self.scheme() == Some(LoadBalancingScheme::Internal) {
                report.error(
                    range.span(),
                    "a range of ports is for EXTERNAL rules only",
                    "list up to 5 `ports`, or write `all_ports = true`",
                );
            }
            return Some(Ports::consecutive(first, last));
        }
        let lengths = ports.iter().map(|field| match field.copied() {
            Some(ListedPorts(first, last)) => usize::from(last - first) + 1,
            None => 1,
        });
        let number: usize = lengths.sum();
        if number > MAX_PORTS {
            let message = format!("{number} ports, and a rule lists at most {MAX_PORTS}");
            let help = match self.scheme() {
                Some(LoadBalancingScheme::External) => {
                    "write a `port_range`, `all_ports = true`, or a second rule"
                }
                _ => "write `all_ports = true`, or a second rule",
            };
            report.error(list.span(), message, help);
            return None;
        }
        let mut seen: Vec<(u16, &Field<_>)> = Vec::new();
        for field in ports {
            let Some(ListedPorts(first, last)) = field.copied() else { continue };
            for port in first..=last {
                if let Some((_, earlier)) = seen.iter().find(|(seen, _)| *seen == port) {
                    let earlier = [(earlier.span(), "the first".to_owned())];
                    report.error_beside(
                        field.span(),
                        format!("port {port} is listed twice"),
                        "list it once",
                        earlier,
                    );
                }
                seen.push((port, field));
            }
        }
        let mut sorted: Vec<_> = seen.iter().map(|(port, _)| *port).collect();
        sorted.sort_unstable();
        (seen.len() == number).then_some(Ports::List(sorted))
    }

    fn parsed_probe_address(&self, report: &mut Report) -> Option<IpAddr> {
        let vip = self.ip_address.copied()?;
        let Some(written) = &self.probe_address else { return Some(vip.first()) };
        let address = written.copied()?;
        if !vip.contains(address) {
            let help = match vip.is_prefix() {
                true => format!("write an address of {vip}, or leave it out to probe {}", vip.first()),
                false => format!("leave it out: probes go to {vip}, which is one address"),
            };
            report.error_beside(
                written.span(),
                format!("backends are not probed at `{address}`: the rule does not have it"),
                help,
                [(self.ip_address.span(), "the rule's".to_owned())],
            );
        }
        Some(address)
    }

    fn source_ranges(&self, report: &mut Report) -> Option<Vec<IpNet>> {
        let Some(list) = &self.source_ip_ranges else { return Some(Vec::new()) };
        if self.scheme() == Some(LoadBalancingScheme::Internal) {
            let help = "leave it out, or make the rule and its backend service EXTERNAL";
            report.error(list.span(), "`source_ip_ranges` is for EXTERNAL rules only", help);
        }
        let ranges = elements(&self.source_ip_ranges);
        if list.get().is_some() && ranges.is_empty() {
            report.error(list.span(), "an empty list of source ranges", "leave it out to take every client");
            return None;
        }
        if !limit("source ranges", ranges, MAX_SOURCE_RANGES, report) {
            return None;
        }
        let mut seen: Vec<(IpNet, &Field<ClientRange>)> = Vec::new();
        for field in ranges {
            let Some(ClientRange(range)) = field.copied() else { continue };
            if let Some((_, earlier)) = seen.iter().find(|(seen, _)| *seen == range) {
                let earlier = [(earlier.span(), "the first".to_owned())];
                report.error_beside(
                    field.span(),
                    format!("`{range}` is listed twice"),
                    "list it once",
                    earlier,
                );
            }
            if let Some(vip) = self.ip_address.copied()
                && vip.is_ipv4() != range.addr().is_ipv4()
            {
                let message = format!("clients of `{vip}` are never in `{range}`");
                let help = "write prefixes of the family of the rule's own address";
                report.error_beside(
                    field.span(),
                    message,
                    help,
                    [(self.ip_address.span(), "the rule's".to_owned())],
                );
            }
            seen.push((range, field));
        }
        (seen.len() == ranges.len()).then(|| seen.iter().map(|(range, _)| *range).collect())
    }

    /// Span of the network if it is written, else of the name.
    pub(super) fn span_of_network(&self) -> &Span {
        self.network.as_ref().map_or(self.name.span(), Field::span)
    }

    /// Reports a network other than the service's.
    fn check_network(&self, service: &BackendServiceFile, scope: &Scope<'_>, report: &mut Report) {
        let networks = &scope.networks;
        let (Some(own), Some(theirs)) = (networks.find(&self.network), networks.find(&service.network))
        else {
            return;
        };
        let (Some(rule), Some(name), true) = (self.name.get(), service.name.get(), own != theirs) else {
            return;
        };
        let (own, theirs) = (networks.name(own), networks.name(theirs));
        report.error_beside(
            self.backend_service.span(),
            format!(
                "forwarding rule `{}` is in network `{own}`, and its backend service `{}` in `{theirs}`",
                rule.0, name.0
            ),
            format!(
                "write `network = \"{own}\"` in both, or `\"{theirs}\"`: a packet leaves by its own network"
            ),
            [
                (self.span_of_network(), format!("in `{own}`")),
                (service.span_of_network(), format!("in `{theirs}`")),
            ],
        );
    }

    /// Reports a scheme other than the service's, and a protocol that the service does not serve.
    fn check_service(&self, service: &BackendServiceFile, report: &mut Report) {
        let Some(name) = service.name.get() else { return };
        if let (Some(own), Some(theirs)) = (self.scheme(), service.scheme())
            && own != theirs
        {
            let (own, theirs) = (Chosen(own).name(), Chosen(theirs).name());
            let span = self.load_balancing_scheme.as_ref().map_or(self.backend_service.span(), Field::span);
            report.error_beside(
                span,
                format!("an {own} rule before the {theirs} backend service `{}`", name.0),
                format!("write `load_balancing_scheme = \"{own}\"` in both, or `\"{theirs}\"`"),
                [(service.span_of_scheme(), theirs.to_owned())],
            );
        }
        let fits = |own, theirs| {
            matches!(
                (own, theirs),
                (_, ServiceProtocol::Unspecified)
                    | (RuleProtocol::Tcp, ServiceProtocol::Tcp)
                    | (RuleProtocol::Udp, ServiceProtocol::Udp)
            )
        };
        if let (Some(own), Some(theirs)) = (self.protocol(), service.protocol().map(|chosen| chosen.0))
            && !fits(own, theirs)
        {
            let (own, theirs) = (Chosen(own).name(), Chosen(theirs).name());
            let help = match own {
                "L3_DEFAULT" => "write `protocol = \"UNSPECIFIED\"` in the backend service".to_owned(),
                _ => format!("write `protocol = \"{own}\"` or `\"UNSPECIFIED\"` in the backend service"),
            };
            report.error_beside(
                self.ip_protocol.as_ref().map_or(self.backend_service.span(), Field::span),
                format!("a rule for {own} before the backend service `{}` for {theirs}", name.0),
                help,
                [(service.span_of_protocol(), theirs.to_owned())],
            );
        }
    }
}

/// Layer-4 ports that a forwarding rule takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Ports {
    /// One to five ports, without duplicates, in ascending order.
    List(Vec<u16>),
    /// A range from the first port to the last, both included.
    Range(u16, u16),
    /// All ports, and packets without any.
    All,
}

impl Ports {
    /// Ports from the first to the last. A range of one port is that port listed, so that rules of one port are equal.
    fn consecutive(first: u16, last: u16) -> Self {
        if first == last { Self::List(vec![first]) } else { Self::Range(first, last) }
    }
}
