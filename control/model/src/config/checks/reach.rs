//! Reach: address families, the sources of tunnels and MTUs let packets get to the endpoints, and none comes back to the
//! appliance.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;

use super::networks::untagged_on;
use crate::config::limits::IPV6_MIN_MTU;
use crate::config::names::Scope;
use crate::config::report::{Report, Span};
use crate::config::written::choice::{Chosen, Delivery, NeighborReplies};
use crate::config::written::field::{Field, elements};
use crate::config::written::file::{BackendGroupFile, BackendServiceFile, EndpointFile, ForwardingRuleFile};
use crate::config::written::value::InterfaceAddress;
use crate::config::written::vip_range::VipRange;

/// Reports endpoints that no packet of a rule can reach, and packets that would come back to the appliance.
pub(super) fn check(scope: &Scope<'_>, report: &mut Report) {
    let own: Vec<Own<'_>> = (0..scope.networks.count()).map(|network| Own::of(network, scope)).collect();
    let vips: Vec<Vips<'_>> = Vips::by_network(scope);

    for (_, rule) in scope.rules.iter() {
        if let Some(network) = scope.networks.find(&rule.network) {
            check_rule(rule, &own[network], scope, report);
        }
    }
    for (_, service) in scope.services.iter() {
        check_source(service, scope, report);
    }
    for (name, group) in scope.groups.iter() {
        let Some(delivery) = group.delivery_kind() else { continue };
        let Some(network) = scope.networks.find(&group.network) else { continue };
        check_path(name, group, delivery, &own[network], scope, report);
        for endpoint in group.endpoints() {
            check_loop(endpoint, delivery, &own[network], &vips[network], report);
        }
    }
}

/// Addresses of the appliance itself in one network.
struct Own<'f> {
    /// Addresses of the network table, by family: the sources of tunnels.
    addresses: [Option<&'f Field<IpAddr>>; 2],
    /// Addresses on the network's links.
    of_links: Vec<&'f Field<InterfaceAddress>>,
    /// Routers on the network's links.
    gateways: Vec<&'f Field<IpAddr>>,
    /// True if all addresses of the network table could be read, so that an absent one is not just wrong.
    known: bool,
}

impl<'f> Own<'f> {
    fn of(network: usize, scope: &Scope<'f>) -> Self {
        let ports = elements(&scope.file.port).iter().enumerate();
        let ports: Vec<_> = ports
            .filter(|(index, _)| untagged_on(*index, scope) == Some(network))
            .filter_map(|(_, port)| port.get())
            .collect();
        let table = scope.networks.table(network);
        let of_ports = ports.iter().flat_map(|port| elements(&port.ip_addresses));
        let of_links = of_ports.chain(table.into_iter().flat_map(|table| elements(&table.ip_addresses)));
        let gateways = ports.iter().flat_map(|port| elements(&port.gateways));
        let gateways = gateways.chain(table.into_iter().flat_map(|table| elements(&table.gateways)));
        let (of_links, gateways) = (of_links.collect(), gateways.collect());
        let Some(table) = table else {
            let known = scope.networks.is_readable(network);
            return Self { addresses: [None, None], of_links, gateways, known };
        };
        let addresses = [table.ipv4_address.as_ref(), table.ipv6_address.as_ref()];
        let known = addresses.iter().flatten().all(|address| address.get().is_some());
        Self { addresses, of_links, gateways, known }
    }

    /// First address of the appliance that is one of these, and its span.
    fn among(&self, range: VipRange) -> Option<(IpAddr, &'f Span)> {
        let networks = self.addresses.into_iter().flatten();
        let networks = networks.filter_map(|own| Some((own.copied()?, own.span())));
        let links = self.of_links.iter().filter_map(|own| Some((own.copied()?.0.addr(), own.span())));
        networks.chain(links).find(|(address, _)| range.contains(*address))
    }

    fn span_of(&self, address: IpAddr) -> Option<&'f Span> {
        self.among(address.into()).map(|(_, span)| span)
    }

    fn lacks(&self, family: Family) -> bool {
        self.known && self.addresses[family as usize].is_none()
    }
}

/// VIPs of all rules of one network.
struct Vips<'f> {
    rules: HashMap<IpNet, &'f ForwardingRuleFile>,
    /// Lengths of the IPv4 and of the IPv6 prefixes.
    lengths: [BTreeSet<u8>; 2],
}

impl<'f> Vips<'f> {
    fn by_network(scope: &Scope<'f>) -> Vec<Self> {
        let none = || Self { rules: HashMap::new(), lengths: [BTreeSet::new(), BTreeSet::new()] };
        let mut by_network: Vec<Self> = (0..scope.networks.count()).map(|_| none()).collect();
        for rule in elements(&scope.file.forwarding_rule).iter().filter_map(Field::get) {
            let Some(vip) = rule.ip_address.copied() else { continue };
            let Some(network) = scope.networks.find(&rule.network) else { continue };
            let vips = &mut by_network[network];
            vips.rules.insert(vip.prefix(), rule);
            vips.lengths[Family::of(vip.first()) as usize].insert(vip.prefix().prefix_len());
        }
        by_network
    }

    /// Rule whose VIP holds `address`: one of the longest prefix.
    fn holding(&self, address: IpAddr) -> Option<&'f ForwardingRuleFile> {
        let mut lengths = self.lengths[Family::of(address) as usize].iter().rev();
        lengths.find_map(|length| self.rules.get(&IpNet::new(address, *length).ok()?.trunc()).copied())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Ipv4,
    Ipv6,
}

impl Family {
    fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        }
    }
}

/// Reports a rule whose VIP is the appliance's or a router's, or whose packets cannot be delivered to the endpoints behind it.
fn check_rule(rule: &ForwardingRuleFile, own: &Own<'_>, scope: &Scope<'_>, report: &mut Report) {
    let Some(vip) = rule.ip_address.copied() else { return };
    match own.among(vip) {
        Some((address, span)) if vip.is_prefix() => report.error_beside(
            rule.ip_address.span(),
            format!("`{vip}` holds `{address}`, the appliance's own address"),
            "give the forwarding rule a prefix without it",
            [(span, "the appliance".to_owned())],
        ),
        Some((_, span)) => report.error_beside(
            rule.ip_address.span(),
            format!("`{vip}` is the appliance's own address"),
            "give the forwarding rule an address of its own",
            [(span, "the appliance".to_owned())],
        ),
        None => {}
    }
    let gateway = own.gateways.iter().find(|gateway| gateway.copied().is_some_and(|at| vip.contains(at)));
    if let Some(gateway) = gateway.filter(|_| vip.is_prefix()) {
        report.error_beside(
            rule.ip_address.span(),
            format!("`{vip}` holds the address of a gateway"),
            "give the forwarding rule a prefix without it: the router's own packets would be taken from it",
            [(gateway.span(), "the gateway".to_owned())],
        );
    }
    let Some((_, service)) = scope.services.find(&rule.backend_service) else { return };
    let members = service.backends.get().into_iter().flatten().filter_map(Field::get);
    for (_, group) in members.filter_map(|member| scope.groups.find(&member.group)) {
        match group.delivery_kind() {
            Some(Delivery::L2) => check_segment(rule, vip, group, report),
            Some(tunnel) => check_tunnel_mtu(rule, vip, group, tunnel, scope, report),
            None => {}
        }
    }
}

/// Reports endpoints on the link of another address family than the rule: a backend's MAC address is resolved in the
/// rule's own.
fn check_segment(rule: &ForwardingRuleFile, vip: VipRange, group: &BackendGroupFile, report: &mut Report) {
    let other = |endpoint: &&EndpointFile| {
        endpoint.ip_address.copied().is_some_and(|address| address.is_ipv4() != vip.is_ipv4())
    };
    let Some(endpoint) = group.endpoints().find(other) else { return };
    let (name, family) = (group.name.get().map_or("", |name| &name.0), Family::of(vip.first()).name());
    report.error_beside(
        rule.ip_address.span(),
        format!("{family} packets cannot be delivered to backend group `{name}` by `l2`"),
        format!(
            "give its endpoints {family} addresses, or write `delivery = \"ipip\"`: tunnels cross families"
        ),
        [(endpoint.ip_address.span(), "an endpoint of the other family".to_owned())],
    );
}

/// Reports probes' source addresses of another family than a backend's: the kernel cannot connect from them, and would
/// find the backend unhealthy.
fn check_source(service: &BackendServiceFile, scope: &Scope<'_>, report: &mut Report) {
    let checks = elements_of(&service.health_checks).filter_map(|name| scope.health_checks.find(name));
    let members = || elements_of(&service.backends).filter_map(Field::get);
    for source in checks.filter_map(|(_, check)| check.source_ip_address.as_ref()) {
        let Some(address) = source.copied() else { continue };
        let other = |endpoint: &&EndpointFile| {
            endpoint.ip_address.copied().is_some_and(|backend| backend.is_ipv4() != address.is_ipv4())
        };
        let groups = members().filter_map(|member| scope.groups.find(&member.group));
        let Some(endpoint) = groups.flat_map(|(_, group)| group.endpoints()).find(other) else { continue };
        let name = service.name.get().map_or("", |name| &name.0);
        report.error_beside(
            source.span(),
            format!("probes from `{address}` cannot reach all backends of service `{name}`"),
            "leave it out, or give the services of each family a health check of their own",
            [(endpoint.ip_address.span(), "an endpoint of the other family".to_owned())],
        );
    }
}

fn elements_of<T>(list: &Field<Vec<Field<T>>>) -> impl Iterator<Item = &Field<T>> {
    list.get().into_iter().flatten()
}

/// Reports tunnels whose path MTU is too small for IPv6: packets of 1,280 bytes must pass whole, with the tunnel's
/// headers.
fn check_tunnel_mtu(
    rule: &ForwardingRuleFile,
    vip: VipRange,
    group: &BackendGroupFile,
    tunnel: Delivery,
    scope: &Scope<'_>,
    report: &mut Report,
) {
    let Some(mtu) = group.path_mtu(scope) else { return };
    let outer_families =
        group.endpoints().filter_map(|endpoint| endpoint.ip_address.copied()).map(Family::of);
    let needed = |outer| match Family::of(vip.first()) {
        Family::Ipv6 => IPV6_MIN_MTU + overhead(tunnel, outer),
        Family::Ipv4 => 0,
    };
    let Some(needed) = outer_families.map(needed).max().filter(|needed| mtu < *needed) else { return };
    let name = group.name.get().map_or("", |name| &name.0);
    report.error_beside(
        span_of_mtu(group, scope),
        format!(
            "an MTU of {mtu} cannot carry IPv6 through the `{}` tunnel to `{name}`",
            Chosen(tunnel).name()
        ),
        format!("write {needed} or more: {IPV6_MIN_MTU} for IPv6, the rest for the outer headers"),
        [(rule.ip_address.span(), "an IPv6 address".to_owned())],
    );
}

fn span_of_mtu<'f>(group: &'f BackendGroupFile, scope: &Scope<'f>) -> &'f Span {
    let network = scope.networks.find(&group.network).and_then(|network| scope.networks.table(network));
    let networks = network.and_then(|network| network.mtu.as_ref());
    group.mtu.as_ref().or(networks).map_or(group.name.span(), Field::span)
}

/// Bytes of the headers that a tunnel puts before a packet.
fn overhead(tunnel: Delivery, outer: Family) -> u16 {
    // The port is no part of the length.
    tunnel.mode(0).overhead(outer == Family::Ipv4) as u16
}

/// Reports tunnels without a source address of the appliance, and IPv6 endpoints on a path that cannot carry IPv6.
fn check_path(
    name: &str,
    group: &BackendGroupFile,
    delivery: Delivery,
    own: &Own<'_>,
    scope: &Scope<'_>,
    report: &mut Report,
) {
    for family in [Family::Ipv4, Family::Ipv6] {
        let of_family =
            |endpoint: &&EndpointFile| endpoint.ip_address.copied().map(Family::of) == Some(family);
        let Some(endpoint) = group.endpoints().find(of_family) else { continue };
        let (noun, tunnel) = (family.name(), Chosen(delivery).name());
        if delivery != Delivery::L2 && own.lacks(family) {
            let key = format!("{}_address", noun.to_lowercase());
            report.error(
                endpoint.ip_address.span(),
                format!("the `{tunnel}` tunnel of backend group `{name}` has no {noun} source address"),
                format!("add `{key} = …` to `[network]`: the appliance's own address"),
            );
        }
        // RFC 8200, section 5: every path of IPv6 has at least this MTU.
        if let (Family::Ipv6, Some(mtu)) = (family, group.path_mtu(scope))
            && mtu < IPV6_MIN_MTU
        {
            let message = format!("an MTU of {mtu} on the IPv6 path to backend group `{name}`");
            report.error(span_of_mtu(group, scope), message, format!("write {IPV6_MIN_MTU} or more"));
        }
    }
}

/// Reports endpoints from which packets would come back: the appliance itself, and virtual IP addresses in a tunnel; and
/// endpoints on the link whose MAC address the appliance would ask itself for.
fn check_loop(
    endpoint: &EndpointFile,
    delivery: Delivery,
    own: &Own<'_>,
    vips: &Vips<'_>,
    report: &mut Report,
) {
    let Some(address) = endpoint.ip_address.copied() else { return };
    if let Some(span) = own.span_of(address) {
        report.error_beside(
            endpoint.ip_address.span(),
            format!("endpoint `{address}` is the appliance itself"),
            "write the endpoint's own address: packets would come back to the appliance",
            [(span, "the appliance".to_owned())],
        );
    }
    let Some(rule) = vips.holding(address) else { return };
    let Some(vip) = rule.ip_address.copied() else { return };
    let beside = [(rule.ip_address.span(), "the forwarding rule".to_owned())];
    if delivery != Delivery::L2 {
        let message = match vip.is_prefix() {
            true => format!("endpoint `{address}` is in `{vip}`, a forwarding rule's prefix"),
            false => format!("endpoint `{address}` is a forwarding rule's address"),
        };
        let help = "write the endpoint's own address: tunnelled packets would come back to the appliance";
        report.error_beside(endpoint.ip_address.span(), message, help, beside);
    } else if vip.is_prefix()
        && endpoint.mac_address.is_none()
        && rule.neighbor_replies().is_some_and(|replies| replies.0 != NeighborReplies::Never)
    {
        report.error_beside(
            endpoint.ip_address.span(),
            format!("endpoint `{address}` is in `{vip}`, for which the appliance itself answers"),
            "write the endpoint's `mac_address`, or `neighbor_replies = \"NEVER\"` into the rules of the prefix",
            beside,
        );
    }
}
