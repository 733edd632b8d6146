//! Rules and routes of a service that lead fewer packets to it after a reload.

use std::net::IpAddr;

use guideway_dataplane::ingress::NetworkId;
use ipnet::IpNet;

use crate::config::{Config, ForwardingRule, Ports, Route};

/// Rules and routes of a service before and after a reload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LostRules {
    /// Names of the rules and routes that lead fewer packets to the service, or none any more.
    pub(super) lost: Vec<String>,
    /// True if no rule leads to the service any more, and some did.
    pub(super) are_all: bool,
}

impl LostRules {
    pub(super) fn of(service: &str, old: &Config, new: &Config) -> Self {
        let (before, after) = (rules_of(service, old), rules_of(service, new));
        let (before, after) = (before.collect::<Vec<_>>(), after.collect::<Vec<_>>());
        let others: Vec<&ForwardingRule> =
            new.rules.iter().filter(|rule| new.services[rule.service].name != service).collect();
        let is_kept = |rule: &ForwardingRule| after.iter().any(|now| takes_all_of(now, new, rule, old));
        // A rule of another service that is new may take packets of this one, as the closer match.
        let is_taken = |rule: &ForwardingRule| {
            let is_new = |other: &ForwardingRule| !old.rules.iter().any(|known| same(known, old, other, new));
            let meets = |other: &ForwardingRule| {
                network(other, new) == network(rule, old) && overlap(other.vip.prefix(), rule.vip.prefix())
            };
            others.iter().any(|other| meets(other) && is_new(other))
        };
        let lost =
            before.iter().filter(|rule| !is_kept(rule) || is_taken(rule)).map(|rule| rule.name.clone());
        let routes = |config: &Config| -> Vec<(String, IpNet)> {
            let of_service =
                |route: &&Route| config.services[config.rules[route.next_hop_rule].service].name == service;
            config
                .routes
                .iter()
                .filter(of_service)
                .map(|route| (route.name.clone(), route.dest_range))
                .collect()
        };
        let routes_after = routes(new);
        let lost_routes = routes(old)
            .into_iter()
            .filter(|(_, range)| !routes_after.iter().any(|(_, now)| now.contains(range)));
        Self {
            lost: lost.chain(lost_routes.map(|(name, _)| name)).collect(),
            are_all: !before.is_empty() && after.is_empty(),
        }
    }
}

fn rules_of<'c>(service: &str, config: &'c Config) -> impl Iterator<Item = &'c ForwardingRule> {
    config.rules.iter().filter(move |rule| config.services[rule.service].name == service)
}

/// Number of a rule's network, which that keeps over a reload whatever its name and its index.
fn network(rule: &ForwardingRule, config: &Config) -> NetworkId {
    config.networks[rule.network].id
}

/// True if `now` takes every packet that `before` took.
fn takes_all_of(now: &ForwardingRule, new: &Config, before: &ForwardingRule, old: &Config) -> bool {
    let protocol = now.protocol == before.protocol;
    let clients = now.source_ranges.is_empty()
        || (!before.source_ranges.is_empty()
            && before.source_ranges.iter().all(|was| now.source_ranges.iter().any(|is| is.contains(was))));
    network(now, new) == network(before, old)
        && protocol
        && clients
        && now.vip.prefix().contains(&before.vip.prefix())
        && (now.allow_global_access || !before.allow_global_access)
        && ports_hold(&now.ports, &before.ports)
}

fn ports_hold(now: &Ports, before: &Ports) -> bool {
    let holds = |port: &u16| match now {
        Ports::List(ports) => ports.contains(port),
        Ports::Range(first, last) => (first..=last).contains(&port),
        Ports::All => true,
    };
    match before {
        Ports::All => *now == Ports::All,
        Ports::List(ports) => ports.iter().all(holds),
        Ports::Range(first, last) => (*first..=*last).all(|port| holds(&port)),
    }
}

fn same(known: &ForwardingRule, old: &Config, other: &ForwardingRule, new: &Config) -> bool {
    takes_all_of(known, old, other, new)
        && old.services[known.service].name == new.services[other.service].name
}

fn overlap(one: IpNet, other: IpNet) -> bool {
    let address = |net: IpNet| -> IpAddr { net.network() };
    one.contains(&address(other)) || other.contains(&address(one))
}
