//! Explains why a packet goes where it goes: the steps of the packet path, one by one, in words.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;

use guideway_dataplane::address::Address;
use guideway_dataplane::flow::Flow;
use guideway_dataplane::forwarding_rule::{RuleId, RuleMatch, ServiceId};
use guideway_dataplane::ingress::NetworkId;
use guideway_dataplane::snapshot::{Service, Snapshot};
use guideway_dataplane::verdict::{DropReason, PassReason};
use serde::{Deserialize, Serialize};

use crate::config::{AccessList, Config, ForwardingRule, Ports, Route, RuleProtocol};
use crate::flow_text::{FlowText, describe_tuple};
use crate::forwarding_state::ForwardingState;
use crate::service::{BackendState, Pool, ServiceState};

/// Verdict on the first packet of a flow, and the steps that led to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// Flow that is explained.
    pub flow: String,
    /// Network of the flow, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Verdict: `forward`, `pass` or `drop`.
    pub verdict: String,
    /// Reason for which the packet is passed or dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Forwarding rule that the flow belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarding_rule: Option<RuleStep>,
    /// Protocols and ports of the rules that the destination does have, where none of them takes the packet; empty where the
    /// destination is no VIP.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vip_takes: Vec<String>,
    /// Selection of the backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection: Option<SelectionStep>,
    /// Tracking of the flow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracking: Option<TrackingStep>,
    /// Backend that the packet goes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<BackendStep>,
}

/// Forwarding rule that a flow belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleStep {
    /// Name of the rule.
    pub name: String,
    /// Address, protocol and ports of the rule.
    pub matches: String,
    /// Route that led to the rule, where the destination is no VIP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Service behind the rule.
    pub backend_service: String,
    /// Judgement of the rule's access list on the source; none where the rule has no list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_list: Option<AccessStep>,
}

/// Judgement of an access list on a source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccessStep {
    /// Name of the list.
    pub name: String,
    /// Longest prefix of the list that holds the source; none where the default decides.
    pub prefix: Option<String>,
    /// True if the source is admitted.
    pub admitted: bool,
}

/// Selection of a backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SelectionStep {
    /// Fields that the selection hash covers.
    pub tuple: String,
    /// Selection hash, in hexadecimal.
    pub hash: String,
    /// Slot that the hash falls on; none where no backend is eligible, or clients have subsets.
    pub slot: Option<usize>,
    /// Number of slots.
    pub slots: usize,
    /// Subset of the client, of which the hash chooses a seat instead of a slot; none where every client meets all eligible
    /// backends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subset: Option<SubsetStep>,
    /// Names of the eligible backends.
    pub eligible: Vec<String>,
    /// Clause of the eligible-backend rules that made them so, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub because: String,
    /// Configured backends that are not eligible.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// Number of configured backends.
    pub configured: usize,
    /// Pool that serves: primary or failover; none in a service without failover groups.
    pub pool: Option<String>,
}

/// Configured backend that may not get new connections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Name of the backend.
    pub name: String,
    /// Property for which it is left out, in words.
    pub why: String,
}

/// Subset of a client's class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubsetStep {
    /// Address whose hash gives the class: the client's; of a packet that came by a route, the lower of its two.
    pub client: IpAddr,
    /// Class of the client.
    pub class: usize,
    /// Number of classes.
    pub classes: usize,
    /// Seat of the class that the selection hash leads to.
    pub seat: usize,
    /// Names of the subset's backends, by seat.
    pub backends: Vec<String>,
}

/// Tracking of a flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrackingStep {
    /// True if the flow is tracked.
    pub tracked: bool,
    /// Fields that name the flow's connection.
    pub tuple: String,
    /// True if the flow stays on a backend that turns unhealthy.
    pub persists_on_unhealthy: bool,
    /// Idle seconds after which the flow's entry is void.
    pub idle_timeout_sec: u32,
}

/// Backend that a flow goes to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendStep {
    /// Name of the backend.
    pub name: String,
    /// Address of the backend.
    pub address: IpAddr,
    /// Weight of the backend; none where the service is not weighted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    /// Delivery mode of packets to the backend.
    pub delivery: String,
    /// Largest packet that fits the path to the backend.
    pub largest_packet: usize,
}

/// Explains the first packet of `flow` in a network under `state` and its latest snapshot.
pub fn explain(
    flow: FlowText,
    network: NetworkId,
    state: &ForwardingState,
    snapshot: &Snapshot,
) -> Explanation {
    let (config, services) = (state.config(), state.services());
    let mut explanation = Explanation {
        flow: flow.to_string(),
        network: state.network_name(network).map(str::to_owned),
        verdict: "forward".to_owned(),
        reason: None,
        forwarding_rule: None,
        vip_takes: Vec::new(),
        selection: None,
        tracking: None,
        backend: None,
    };
    let flow = flow.0;
    let (rule, service, routed) = match snapshot.networks.get(network).rules.lookup(&flow) {
        RuleMatch::Rule(rule, service) => (rule, service, false),
        RuleMatch::Route(rule, service) => (rule, service, true),
        RuleMatch::OutsideRegion => return passed(explanation, PassReason::OutsideRegion),
        RuleMatch::None => {
            explanation.vip_takes = vip_takes(config, network, flow.dst.into());
            return passed(explanation, PassReason::NoForwardingRule);
        }
    };
    let step = rule_step(state, network, rule, service, routed, &flow);
    let is_denied = step.access_list.as_ref().is_some_and(|judged| !judged.admitted);
    explanation.forwarding_rule = Some(step);
    if is_denied {
        return dropped(explanation, DropReason::AccessDenied);
    }
    if flow.src.is_martian_source() {
        return dropped(explanation, DropReason::MartianSource);
    }
    if snapshot.networks.get(network).rules.is_own_source(flow.src) {
        return dropped(explanation, DropReason::OwnSource);
    }
    let Some(service_state) = services.get(&config.services[usize::from(service.0)].name) else {
        return dropped(explanation, DropReason::NoEligibleBackend);
    };
    let compiled_service = snapshot.service(service);
    let hashed = if routed { compiled_service.policy.routed(&flow) } else { flow };
    explanation.selection = Some(selection_step(&hashed, compiled_service, service_state, snapshot));
    explanation.tracking = Some(tracking_step(
        &hashed,
        compiled_service,
        config.services[usize::from(service.0)].idle_timeout_sec,
    ));
    let chosen = snapshot.select(compiled_service, &hashed);
    match chosen.and_then(|handle| service_state.backends().find(|backend| backend.handle == handle)) {
        Some(backend) => {
            let compiled = snapshot.backend(backend.handle);
            explanation.backend = Some(backend_step(service_state, backend, snapshot));
            // Known of a running appliance; elsewhere a MAC address stands in.
            if compiled.is_some_and(|backend| backend.delivery.egress().next_hop.is_none()) {
                return dropped(explanation, DropReason::NextHopUnresolved);
            }
            explanation
        }
        None => dropped(explanation, DropReason::NoEligibleBackend),
    }
}

/// Selection by the hash of a flow, whose ends are in order where it came by a route.
pub(crate) fn selection_step(
    hashed: &Flow,
    service: &Service,
    state: &ServiceState,
    snapshot: &Snapshot,
) -> SelectionStep {
    let hash = snapshot.selection_hash(service, hashed);
    let table = &service.eligible.table;
    let (eligible, because) = state.eligible_because();
    let is_eligible: HashSet<_> = eligible.iter().map(|backend| backend.handle).collect();
    let left_out = state.configured().filter(|backend| !is_eligible.contains(&backend.handle));
    SelectionStep {
        tuple: describe_tuple(service.policy.selection_tuple(hashed)).to_owned(),
        hash: format!("{hash:016x}"),
        slot: (!table.is_empty() && service.eligible.subsets.is_none()).then(|| table.slot_of(hash)),
        slots: table.len(),
        subset: subset_step(hash, hashed.src, service, state, snapshot),
        eligible: eligible.iter().map(|backend| backend.endpoint.name.clone()).collect(),
        because: because.to_string(),
        left_out: left_out.map(|backend| LeftOut::new(backend, state)).collect(),
        configured: state.configured().count(),
        pool: state.has_failover().then(|| pool(state)).flatten(),
    }
}

/// Tracking of a flow, whose ends are in order where it came by a route.
pub(crate) fn tracking_step(hashed: &Flow, service: &Service, idle_timeout_sec: u32) -> TrackingStep {
    let treatment = service.policy.treatment(hashed.protocol);
    TrackingStep {
        tracked: treatment.tracked,
        tuple: describe_tuple(treatment.tracking_tuple(hashed)).to_owned(),
        persists_on_unhealthy: treatment.persists,
        idle_timeout_sec,
    }
}

impl LeftOut {
    fn new(backend: &BackendState, state: &ServiceState) -> Self {
        let why = if backend.operator_drained {
            "drained by the operator"
        } else if !backend.healthy {
            "unhealthy"
        } else if state.is_weighted() && backend.weight == 0 {
            "weight zero"
        } else if backend.failover {
            "in the failover pool"
        } else if state.has_failover() {
            "in the primary pool"
        } else {
            "not asked for"
        };
        Self { name: backend.endpoint.name.clone(), why: why.to_owned() }
    }
}

/// Subset that a client meets, and the seat that the selection hash leads to in it.
fn subset_step(
    hash: u64,
    client: Address,
    service: &Service,
    state: &ServiceState,
    snapshot: &Snapshot,
) -> Option<SubsetStep> {
    let subsets = service.eligible.subsets.as_ref()?;
    let class = snapshot.class(subsets, client);
    let name = |index: &u16| {
        let handle = service.eligible.backends[usize::from(*index)];
        let backend = state.backends().find(|backend| backend.handle == handle);
        backend.map(|backend| backend.endpoint.name.clone())
    };
    Some(SubsetStep {
        client: client.into(),
        class,
        classes: subsets.iter().len(),
        seat: subsets.seat_of(class, hash) % subsets.size(),
        backends: subsets.of_class(class).iter().filter_map(name).collect(),
    })
}

fn passed(explanation: Explanation, reason: PassReason) -> Explanation {
    Explanation { verdict: "pass".to_owned(), reason: Some(reason.as_str().to_owned()), ..explanation }
}

fn dropped(explanation: Explanation, reason: DropReason) -> Explanation {
    Explanation { verdict: "drop".to_owned(), reason: Some(reason.as_str().to_owned()), ..explanation }
}

fn longest_route(config: &Config, network: NetworkId, dst: IpAddr) -> Option<&Route> {
    let own = config.routes.iter().filter(|route| config.networks[route.network].id == network);
    let holding = own.filter(|route| route.dest_range.contains(&dst));
    holding.max_by_key(|route| route.dest_range.prefix_len())
}

/// Protocols, ports and clients of the rules of a network that have `dst` for a VIP, each once.
pub(crate) fn vip_takes(config: &Config, network: NetworkId, dst: IpAddr) -> Vec<String> {
    let own = config.rules.iter().filter(|rule| config.networks[rule.network].id == network);
    let takes: BTreeSet<String> = own.filter(|rule| rule.vip.contains(dst)).map(packets).collect();
    takes.into_iter().collect()
}

/// Rule that a packet of a flow belongs to, the route that led to it, and what the rule's access list says of its client.
pub(crate) fn rule_step(
    state: &ForwardingState,
    network: NetworkId,
    rule: RuleId,
    service: ServiceId,
    routed: bool,
    flow: &Flow,
) -> RuleStep {
    let config = state.config();
    let route = routed.then(|| longest_route(config, network, flow.dst.into())).flatten();
    let rule = &config.rules[usize::from(rule.0)];
    RuleStep {
        name: rule.name.clone(),
        matches: matches(rule),
        route: route.map(|route| format!("{} ({})", route.name, route.dest_range)),
        backend_service: config.services[usize::from(service.0)].name.clone(),
        access_list: rule.access_list.map(|list| access_step(&config.access_lists[list], flow.src.into())),
    }
}

/// Judgement of a source's access list.
fn access_step(list: &AccessList, source: IpAddr) -> AccessStep {
    let longest = list.longest(source);
    AccessStep {
        name: list.name.clone(),
        prefix: longest.map(|(prefix, _)| prefix.to_string()),
        admitted: longest.map_or(list.admits_others, |(_, admits)| admits),
    }
}

/// Describes a rule: `203.0.113.10 TCP 80,443 from 192.0.2.0/24`.
fn matches(rule: &ForwardingRule) -> String {
    format!("{} {}", rule.vip, packets(rule))
}

/// Describes the packets of a rule: `TCP 80,443 from 192.0.2.0/24`.
fn packets(rule: &ForwardingRule) -> String {
    let protocol = match rule.protocol {
        RuleProtocol::Tcp => "TCP",
        RuleProtocol::Udp => "UDP",
        RuleProtocol::L3Default => "L3_DEFAULT",
    };
    let ports = match &rule.ports {
        Ports::List(ports) => ports.iter().map(u16::to_string).collect::<Vec<_>>().join(","),
        Ports::Range(first, last) => format!("{first}-{last}"),
        Ports::All => "all ports".to_owned(),
    };
    let sources: Vec<String> = rule.source_ranges.iter().map(ToString::to_string).collect();
    let from = if sources.is_empty() { String::new() } else { format!(" from {}", sources.join(", ")) };
    format!("{protocol} {ports}{from}")
}

fn pool(state: &ServiceState) -> Option<String> {
    let word = |pool| match pool {
        Pool::Primary => "primary",
        Pool::Failover => "failover",
    };
    state.pool().map(|pool| word(pool).to_owned())
}

/// Backend of a service as packets reach it.
pub(crate) fn backend_step(state: &ServiceState, backend: &BackendState, snapshot: &Snapshot) -> BackendStep {
    BackendStep {
        name: backend.endpoint.name.clone(),
        address: backend.endpoint.address,
        weight: state.is_weighted().then_some(backend.weight),
        delivery: backend.delivery.as_str().to_owned(),
        largest_packet: snapshot.backend(backend.handle).map_or(0, |compiled| compiled.delivery.inner_mtu()),
    }
}

#[cfg(test)]
mod tests {
    use crate::egress_lookup::StandInMacs;
    use crate::sample::sample;

    use super::*;

    #[test]
    fn a_rule_of_a_prefix_is_shown_with_it() {
        let rest = "[[backend_group]]\nname = \"g\"\nendpoints = [{ name = \"b1\", ip_address = \"192.0.2.11\" }]\n\
                    [[forwarding_rule]]\nname = \"range\"\nip_address = \"198.51.100.0/28\"\nports = [443, 80]\n\
                    backend_service = \"svc\"";
        let head = "[network]\nmac_address = \"02:00:00:00:00:01\"";
        let mut state = ForwardingState::offline(sample(head, "backends = [{ group = \"g\" }]", rest));
        let snapshot = state.snapshot(&StandInMacs);
        let flow = "tcp 203.0.113.7:40000 > 198.51.100.9:443".parse().expect("a flow");
        let rule =
            explain(flow, NetworkId::FIRST, &state, &snapshot).forwarding_rule.expect("it belongs to a rule");
        assert_eq!((&*rule.name, &*rule.matches), ("range", "198.51.100.0/28 TCP 80,443"));
    }

    #[test]
    fn the_prefix_that_an_access_list_decides_by_is_shown() {
        let rest = "[[backend_group]]\nname = \"g\"\nendpoints = [{ name = \"b1\", ip_address = \"192.0.2.11\" }]\n\
                    [[forwarding_rule]]\nname = \"guarded\"\nip_address = \"198.51.100.9\"\nports = [443]\n\
                    backend_service = \"svc\"\naccess_list = \"clients\"\n\
                    [[access_list]]\nname = \"clients\"\ndefault_action = \"DENY\"\n\
                    allow = [\"203.0.113.0/24\", \"2001:db8::/32\"]\ndeny = [\"203.0.113.64/26\"]";
        let head = "[network]\nmac_address = \"02:00:00:00:00:01\"";
        let mut state = ForwardingState::offline(sample(head, "backends = [{ group = \"g\" }]", rest));
        let snapshot = state.snapshot(&StandInMacs);
        for (client, prefix, admitted) in [
            ("203.0.113.7", Some("203.0.113.0/24"), true),
            ("203.0.113.70", Some("203.0.113.64/26"), false),
            ("192.0.2.7", None, false),
        ] {
            let flow = format!("tcp {client}:40000 > 198.51.100.9:443").parse().expect("a flow");
            let explanation = explain(flow, NetworkId::FIRST, &state, &snapshot);
            let rule = explanation.forwarding_rule.expect("it belongs to a rule");
            let (name, prefix) = ("clients".to_owned(), prefix.map(str::to_owned));
            assert_eq!(rule.access_list, Some(AccessStep { name, prefix, admitted }), "{client}");
            assert_eq!(explanation.reason.as_deref(), (!admitted).then_some("access_denied"), "{client}");
        }
    }

    #[test]
    fn both_directions_of_a_route_are_explained_by_one_hash() {
        let rest = "[[backend_group]]\nname = \"g\"\nendpoints = [\n\
                    { name = \"b1\", ip_address = \"192.0.2.11\" }, { name = \"b2\", ip_address = \"192.0.2.12\" }]\n\
                    [[forwarding_rule]]\nname = \"fw\"\nip_address = \"192.0.2.10\"\nip_protocol = \"L3_DEFAULT\"\n\
                    all_ports = true\nload_balancing_scheme = \"INTERNAL\"\nbackend_service = \"firewalls\"\n\
                    [[backend_service]]\nname = \"firewalls\"\nload_balancing_scheme = \"INTERNAL\"\n\
                    protocol = \"UNSPECIFIED\"\nhealth_checks = [\"hc\"]\nbackends = [{ group = \"g\" }]\n\
                    [[route]]\nname = \"inside\"\ndest_range = \"10.1.0.0/16\"\nnext_hop_ilb = \"fw\"\n\
                    [[route]]\nname = \"outside\"\ndest_range = \"0.0.0.0/0\"\nnext_hop_ilb = \"fw\"";
        let head = "[network]\nmac_address = \"02:00:00:00:00:01\"";
        let mut state = ForwardingState::offline(sample(head, "backends = [{ group = \"g\" }]", rest));
        let snapshot = state.snapshot(&StandInMacs);
        for port in 40_000..40_020 {
            let explained =
                |text: String| explain(text.parse().expect("a flow"), NetworkId::FIRST, &state, &snapshot);
            let there = explained(format!("tcp 198.51.100.7:{port} > 10.1.0.5:443"));
            let back = explained(format!("tcp 10.1.0.5:443 > 198.51.100.7:{port}"));
            let chosen = |explanation: &Explanation| {
                let hash = explanation.selection.as_ref().map(|selection| selection.hash.clone());
                (hash, explanation.backend.as_ref().map(|backend| backend.name.clone()))
            };
            assert_eq!(chosen(&there), chosen(&back));
            assert!(there.backend.is_some(), "{there:?}");
        }
    }
}
