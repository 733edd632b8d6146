//! Routes: destination prefixes whose next hop is an internal forwarding rule.

use guideway_dataplane::affinity::LoadBalancingScheme;
use ipnet::IpNet;

use super::names::Scope;
use super::report::Report;
use super::written::field::Field;
use super::written::file::RouteFile;

/// A destination prefix whose next hop is an internal forwarding rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Name of the route, unique among routes.
    pub name: String,
    /// Index of the network that packets of the route come from, in [`super::Config::networks`]; the next hop has the same.
    pub network: usize,
    /// Destinations that the route takes, of the forwarding rule's address family.
    pub dest_range: IpNet,
    /// Index of the forwarding rule that is the next hop, in [`super::Config::rules`].
    pub next_hop_rule: usize,
}

impl Route {
    pub(super) fn parse(file: &RouteFile, scope: &Scope<'_>, report: &mut Report) -> Option<Self> {
        let network = scope.networks.resolve(&file.network, report);
        let next_hop_rule = scope.rules.resolve(&file.next_hop_ilb, report);
        if let Some((_, rule)) = scope.rules.find(&file.next_hop_ilb) {
            if rule.scheme() == Some(LoadBalancingScheme::External) {
                report.error_beside(
                    file.next_hop_ilb.span(),
                    "the next hop of a route is an INTERNAL forwarding rule",
                    "name another rule, or make this one and its backend service INTERNAL",
                    [(rule.name.span(), "EXTERNAL".to_owned())],
                );
            }
            let networks = &scope.networks;
            if let (Some(own), Some(theirs)) = (network, networks.find(&rule.network))
                && own != theirs
            {
                let (own, theirs) = (networks.name(own), networks.name(theirs));
                report.error_beside(
                    file.next_hop_ilb.span(),
                    format!("the route is in network `{own}`, and its next hop in `{theirs}`"),
                    format!("write `network = \"{own}\"` in both, or `\"{theirs}\"`"),
                    [
                        (file.network.as_ref().map_or(file.name.span(), Field::span), format!("in `{own}`")),
                        (rule.span_of_network(), format!("in `{theirs}`")),
                    ],
                );
            }
            if let (Some(range), Some(address)) = (file.dest_range.copied(), rule.ip_address.copied())
                && range.addr().is_ipv4() != address.is_ipv4()
            {
                report.error_beside(
                    file.dest_range.span(),
                    format!("destinations in `{range}` cannot have their next hop at `{address}`"),
                    "name a forwarding rule whose address is of the prefix's family",
                    [(rule.ip_address.span(), "the rule's address".to_owned())],
                );
            }
        }
        Some(Self {
            name: file.name.get()?.0.clone(),
            network: network?,
            dest_range: file.dest_range.copied()?,
            next_hop_rule: next_hop_rule?,
        })
    }
}
