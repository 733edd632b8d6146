//! The reference: a second statement of the semantics of traffic distribution.
//!
//! The reference knows no hash: it takes the backend that was chosen, judges if that backend was eligible and agrees
//! with every earlier choice, and goes on from there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::service::{Held, Selection, State, TICK};
use crate::setup::{Network, Ports, Rule, RuleProtocol, Scheme, Service, Setup, own};
use crate::traffic::{Flow, Packet, Part, TCP, UDP};

/// Decision of the replay for one packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) verdict: String,
    /// Network of the packet, where there are several.
    pub(crate) network: Option<String>,
    pub(crate) rule: Option<String>,
    pub(crate) service: Option<String>,
    pub(crate) backend: Option<String>,
    pub(crate) tracking: Option<String>,
}

/// Input of a choice: service, size of its subsets, fields of the selection hash, and eligible backends with their weights.
type Choice = (String, Option<u16>, Selection, Vec<(String, u16)>);

/// Input of the subset that a client meets: service, size, the client, and eligible backends.
type Meeting = (String, u16, IpAddr, Vec<String>);

/// Number of the network, and addresses, protocol and identification that the fragments of a datagram share.
type Datagram = (u64, IpAddr, IpAddr, u8, u32);

/// Seconds for which later fragments follow their first.
const FOLLOWING: f64 = 30.0;

/// First fragment that was forwarded.
struct First {
    rule: String,
    backend: String,
    seen: Duration,
}

/// State of all services, as the semantics have it by now.
#[derive(Default)]
pub(crate) struct Reference {
    setup: Option<Rc<Setup>>,
    /// By their names: numbers that no other network has, not even a later one of the same name.
    networks: BTreeMap<String, u64>,
    networks_so_far: u64,
    /// States with the number of their network.
    services: BTreeMap<String, (u64, State)>,
    /// Backend that each choice fell on. A service that is removed and comes back must choose as before.
    choices: HashMap<Choice, String>,
    /// Backends that each client has met.
    met: HashMap<Meeting, BTreeSet<String>>,
    /// Number of choices for clients that had met as many backends as they may.
    pub(crate) within_subsets: u64,
    firsts: HashMap<Datagram, First>,
    /// Number of later fragments that followed their first.
    pub(crate) followed: u64,
    /// Number of packets that came by a route and were hashed as those of the opposite direction.
    pub(crate) turned: u64,
    /// Number of packets that belong to a rule whose VIP is a prefix.
    pub(crate) by_prefix: u64,
    /// Number of packets that were forwarded in one of several networks.
    pub(crate) in_several: u64,
    /// Number of packets of no network.
    pub(crate) outside: u64,
    /// Number of packets for a rule that came from the appliance's own address.
    pub(crate) from_own: u64,
}

impl Reference {
    /// Replaces the configuration.
    pub(crate) fn load(&mut self, setup: &Setup, now: Duration) {
        let before = std::mem::take(&mut self.networks);
        // A network that is the only one, and was, is the same under any name.
        let sole = before.values().next().copied().filter(|_| before.len() == 1 && setup.networks.len() == 1);
        for network in &setup.networks {
            let known = sole.or_else(|| before.get(&network.name).copied());
            let number = known.unwrap_or_else(|| {
                self.networks_so_far += 1;
                self.networks_so_far
            });
            self.networks.insert(network.name.clone(), number);
        }
        let network_of = |service: &Service| self.networks[&network(setup, service.network).name];
        // A service that comes to another network is another one.
        self.services.retain(|name, (number, _)| {
            setup.services.iter().any(|service| service.name == *name && network_of(service) == *number)
        });
        for service in &setup.services {
            let fresh = || (network_of(service), State::new(service));
            let (_, state) = self.services.entry(service.name.clone()).or_insert_with(fresh);
            state.configure(service, setup.endpoints(service), now);
        }
        self.setup = Some(Rc::new(setup.clone()));
    }

    /// Draws the consequences of the changes of one instant.
    pub(crate) fn settle(&mut self) {
        self.services.values_mut().for_each(|(_, state)| state.settle());
    }

    /// Sets a backend's health; does nothing if the backend is unknown.
    pub(crate) fn set_health(&mut self, service: &str, backend: &str, healthy: bool) {
        if let Some((_, state)) = self.services.get_mut(service) {
            state.set_health(backend, healthy);
        }
    }

    /// Sets a backend's weight; does nothing if the backend is unknown.
    pub(crate) fn set_weight(&mut self, service: &str, backend: &str, weight: u16) {
        if let Some((_, state)) = self.services.get_mut(service) {
            state.set_weight(backend, weight);
        }
    }

    /// Judges the decision for one packet, and goes on from it.
    pub(crate) fn judge(&mut self, packet: &Packet, decision: &Decision) -> Result<(), String> {
        let setup = self.setup.clone().ok_or("a packet before the first setup")?;
        let Some(network) = network_of(&setup, packet.vlan) else {
            self.outside += 1;
            let is_dropped = decision.verdict == "drop" && decision.network.is_none();
            return expect(is_dropped, || "of no network: drop".to_owned());
        };
        let named = setup.has_several_networks().then_some(&*network.name);
        expect(decision.network.as_deref() == named, || format!("network {named:?}"))?;
        self.in_several += u64::from(named.is_some() && decision.verdict == "forward");
        if let Some((surely, expected)) = self.followed(packet, network) {
            if *decision == expected {
                self.followed += 1;
                return Ok(());
            }
            expect(!surely, || format!("what follows its first fragment: {expected:?}"))?;
        }
        let (flow, rule, quoted) = match packet.quoted.as_ref().and_then(|flow| quoted(flow, &setup, network))
        {
            Some((flow, rule)) => (flow, Some(rule), true),
            None => (packet.flow.clone(), rule(&packet.flow, &setup, network), false),
        };
        let Some((rule, routed)) = rule.map(|(rule, routed)| (rule.clone(), routed)) else {
            return expect(decision.verdict == "pass", || "no rule and no route: pass".to_owned());
        };
        self.judge_ruled(packet, &flow, &rule, (routed, quoted), decision)?;
        self.by_prefix += u64::from(!routed && rule.vip.prefix_len() < rule.vip.max_prefix_len());
        if let (Part::First, TCP | UDP, Some(backend)) =
            (packet.flow.part, packet.flow.protocol, decision.backend.clone())
        {
            let number = self.networks[&network.name];
            let first = First { rule: rule.name, backend, seen: packet.at };
            self.firsts.insert(datagram(packet, number), first);
        }
        Ok(())
    }

    /// Judges the decision for a packet that belongs to a rule and follows no other.
    fn judge_ruled(
        &mut self,
        packet: &Packet,
        flow: &Flow,
        rule: &Rule,
        (routed, quoted): (bool, bool),
        decision: &Decision,
    ) -> Result<(), String> {
        let named = (decision.rule.as_deref(), decision.service.as_deref());
        expect(named == (Some(&rule.name), Some(&rule.service)), || format!("rule {}", rule.name))?;
        let (_, state) = self.services.get_mut(&rule.service).ok_or("a rule without a service")?;
        // An error is its sender's, whoever sent the packet that it quotes.
        if is_own(packet.flow.src) {
            self.from_own += 1;
            let is_dropped = decision.verdict == "drop" && decision.backend.is_none();
            return expect(is_dropped, || "from the appliance's own address: drop".to_owned());
        }

        let hashed = state.hashed(flow, routed);
        self.turned += u64::from(hashed != *flow);
        let flow = &hashed;
        let key = state.tracking_key(flow);
        let held = match &key {
            Some(key) if quoted || !(packet.syn && state.starts_anew()) => state.holds(key, packet.at),
            _ => Held::No,
        };
        let tracked_on = match held {
            Held::By(backend) => Some(backend),
            // Within a tick of the timeout, both decisions are right.
            Held::Perhaps(backend) => (decision.tracking.as_deref() == Some("hit")).then_some(backend),
            Held::No => None,
        };
        let forwarded =
            (decision.verdict.as_str(), decision.backend.as_deref(), decision.tracking.as_deref());
        if let (Some(backend), Some(key)) = (tracked_on, &key) {
            // An ICMP error is not a packet of the connection that it quotes, and does not refresh the entry.
            if !quoted {
                state.refresh(key, packet.at);
            }
            return expect(forwarded == ("forward", Some(&backend), Some("hit")), || {
                format!("tracked on {backend}")
            });
        }

        let eligible = state.eligible();
        if eligible.is_empty() {
            return expect(decision.verdict == "drop", || "nobody is eligible: drop".to_owned());
        }
        let names: Vec<&str> = eligible.iter().map(|(name, _)| name.as_str()).collect();
        let Some(chosen) = decision.backend.clone().filter(|backend| names.contains(&backend.as_str()))
        else {
            return Err(format!("one of {names:?}"));
        };
        let tracking = if key.is_some() && !quoted { "new" } else { "off" };
        expect(forwarded == ("forward", Some(&chosen), Some(tracking)), || format!("forward, {tracking}"))?;
        if let Some(key) = key.filter(|_| !quoted) {
            state.track(key, flow.protocol, &chosen, packet.at);
        }
        let size = state.subset_size();
        if let Some(size) = size.filter(|size| usize::from(*size) < eligible.len()) {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            let met = self.met.entry((rule.service.clone(), size, flow.src, names)).or_default();
            self.within_subsets += u64::from(met.len() == usize::from(size));
            met.insert(chosen.clone());
            expect(met.len() <= usize::from(size), || {
                format!("one of the {size} of {met:?} that the client met")
            })?;
        }
        let choice = (rule.service.clone(), size, state.selection_key(flow), eligible);
        let before = self.choices.entry(choice).or_insert_with(|| chosen.clone());
        expect(*before == chosen, || format!("{before}, which the same hash chose before"))
    }

    /// Decision that a later fragment takes over from its first; sure unless a timeout is a tick away.
    fn followed(&self, packet: &Packet, network: &Network) -> Option<(bool, Decision)> {
        if packet.flow.part != Part::Later || packet.quoted.is_some() {
            return None;
        }
        let setup = self.setup.as_ref()?;
        let First { rule, backend, seen } =
            self.firsts.get(&datagram(packet, self.networks[&network.name]))?;
        let rule = setup.rules.iter().find(|other| other.network == network.key && other.name == *rule)?;
        let (_, state) = self.services.get(&rule.service)?;
        let left = state.remains_for(backend, packet.at)?.min(FOLLOWING - (packet.at - *seen).as_secs_f64());
        let expected = Decision {
            verdict: "forward".to_owned(),
            network: setup.has_several_networks().then(|| network.name.clone()),
            rule: Some(rule.name.clone()),
            service: Some(rule.service.clone()),
            backend: Some(backend.clone()),
            tracking: Some("off".to_owned()),
        };
        (left > -TICK).then_some((left >= TICK, expected))
    }
}

/// Network with this key, which the setup has.
fn network(setup: &Setup, key: usize) -> &Network {
    setup.networks.iter().find(|network| network.key == key).expect("nouns are of networks that there are")
}

/// Network of a packet: the only one has all of them, unless it is a VLAN.
fn network_of(setup: &Setup, vlan: Option<u16>) -> Option<&Network> {
    if let [sole @ Network { vlan: None, .. }] = &setup.networks[..] {
        return Some(sole);
    }
    let vlan = vlan.filter(|vlan| *vlan > 0);
    setup.networks.iter().find(|network| network.vlan == vlan)
}

/// Flow that an ICMP error goes with, and its rule: the client's, to whom a VIP answered, or that of the quoted packet itself,
/// if it came by a route, or else that of the opposite direction, which does.
fn quoted<'s>(client_flow: &Flow, setup: &'s Setup, network: &Network) -> Option<(Flow, (&'s Rule, bool))> {
    let sent = client_flow.reversed();
    // The appliance has sent the packet itself.
    if is_own(sent.src) {
        return None;
    }
    let of_client = rule(client_flow, setup, network);
    let of_sent = rule(&sent, setup, network).filter(|(_, routed)| *routed);
    match (of_client, of_sent) {
        (Some(rule @ (_, false)), _) | (Some(rule), None) => Some((client_flow.clone(), rule)),
        (_, Some(rule)) => Some((sent, rule)),
        (None, None) => None,
    }
}

/// Rule of a network that matches a flow, else the rule that the flow's longest route there leads to; true if a route does.
fn rule<'s>(flow: &Flow, setup: &'s Setup, network: &Network) -> Option<(&'s Rule, bool)> {
    let admits = |rule: &Rule| {
        rule.scheme == Scheme::External
            || rule.global
            || network.region.is_empty()
            || network.region.iter().any(|range| range.contains(&flow.src))
    };
    let of_network = setup.rules.iter().filter(|rule| rule.network == network.key);
    let matching = of_network.filter(|rule| takes(rule, flow) && admits(rule));
    let direct = matching.max_by_key(|rule| {
        let source = rule.source_ranges.iter().filter(|range| range.contains(&flow.src));
        (
            rule.vip.prefix_len(),
            rule.protocol != RuleProtocol::L3Default,
            !matches!(rule.ports, Ports::All),
            source.map(|range| 1 + range.prefix_len()).max().unwrap_or(0),
        )
    });
    direct.map(|rule| (rule, false)).or_else(|| {
        // No route leads past the appliance.
        if is_own(flow.dst) {
            return None;
        }
        let of_network = setup.routes.iter().filter(|route| route.network == network.key);
        let routes = of_network.filter(|route| route.range.contains(&flow.dst));
        let longest = routes.max_by_key(|route| route.range.prefix_len())?;
        let hop = setup.rules.iter().find(|rule| rule.name == longest.next_hop);
        hop.filter(|rule| admits(rule)).map(|rule| (rule, true))
    })
}

/// True for the appliance's own addresses, which are the same in every network.
fn is_own(address: IpAddr) -> bool {
    address == own(address.is_ipv4())
}

fn datagram(packet: &Packet, network: u64) -> Datagram {
    let Flow { src, dst, protocol, .. } = packet.flow;
    (network, src, dst, protocol, packet.identification)
}

/// True if a rule matches packets of a flow.
fn takes(rule: &Rule, flow: &Flow) -> bool {
    let protocol = match rule.protocol {
        RuleProtocol::Tcp => flow.protocol == TCP,
        RuleProtocol::Udp => flow.protocol == UDP,
        RuleProtocol::L3Default => true,
    };
    let port = flow.ports.map(|(_, dst_port)| dst_port);
    let ports = match (&rule.ports, port) {
        (Ports::All, _) => true,
        (Ports::List(listed), Some(port)) => listed.contains(&port),
        (Ports::Range(first, last), Some(port)) => (*first..=*last).contains(&port),
        (_, None) => false,
    };
    let source =
        rule.source_ranges.is_empty() || rule.source_ranges.iter().any(|range| range.contains(&flow.src));
    rule.vip.contains(&flow.dst) && protocol && ports && source
}

fn expect(holds: bool, expected: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(expected()) }
}
