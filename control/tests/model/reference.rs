//! The reference: a second statement of the semantics of traffic distribution.
//!
//! The reference knows no hash: it takes the backend that was chosen, judges if that backend was eligible and agrees
//! with every earlier choice, and goes on from there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use crate::service::{Held, Selection, State, TICK};
use crate::setup::{Ports, Rule, RuleProtocol, Scheme, Setup};
use crate::traffic::{Flow, Packet, Part, TCP, UDP};

/// Decision of the replay for one packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) verdict: String,
    pub(crate) rule: Option<String>,
    pub(crate) service: Option<String>,
    pub(crate) backend: Option<String>,
    pub(crate) tracking: Option<String>,
}

/// Input of a choice: service, size of its subsets, fields of the selection hash, and eligible backends with their weights.
type Choice = (String, Option<u16>, Selection, Vec<(String, u16)>);

/// Input of the subset that a client meets: service, size, the client, and eligible backends.
type Meeting = (String, u16, IpAddr, Vec<String>);

/// Addresses, protocol and identification that the fragments of a datagram share.
type Datagram = (IpAddr, IpAddr, u8, u32);

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
    setup: Option<Setup>,
    services: BTreeMap<String, State>,
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
}

impl Reference {
    /// Replaces the configuration.
    pub(crate) fn load(&mut self, setup: &Setup, now: Duration) {
        self.services.retain(|name, _| setup.services.iter().any(|service| service.name == *name));
        for service in &setup.services {
            let state = self.services.entry(service.name.clone()).or_insert_with(|| State::new(service));
            state.configure(service, setup.endpoints(service), now);
        }
        self.setup = Some(setup.clone());
    }

    /// Draws the consequences of the changes of one instant.
    pub(crate) fn settle(&mut self) {
        self.services.values_mut().for_each(State::settle);
    }

    /// Sets a backend's health; does nothing if the backend is unknown.
    pub(crate) fn set_health(&mut self, service: &str, backend: &str, healthy: bool) {
        if let Some(state) = self.services.get_mut(service) {
            state.set_health(backend, healthy);
        }
    }

    /// Sets a backend's weight; does nothing if the backend is unknown.
    pub(crate) fn set_weight(&mut self, service: &str, backend: &str, weight: u16) {
        if let Some(state) = self.services.get_mut(service) {
            state.set_weight(backend, weight);
        }
    }

    /// Judges the decision for one packet, and goes on from it.
    pub(crate) fn judge(&mut self, packet: &Packet, decision: &Decision) -> Result<(), String> {
        if let Some((surely, expected)) = self.followed(packet) {
            if *decision == expected {
                self.followed += 1;
                return Ok(());
            }
            expect(!surely, || format!("what follows its first fragment: {expected:?}"))?;
        }
        let (flow, rule, quoted) = match packet.quoted.as_ref().and_then(|flow| self.quoted(flow)) {
            Some((flow, rule)) => (flow, Some(rule), true),
            None => (packet.flow.clone(), self.rule(&packet.flow), false),
        };
        let Some((rule, routed)) = rule.map(|(rule, routed)| (rule.clone(), routed)) else {
            return expect(decision.verdict == "pass", || "no rule and no route: pass".to_owned());
        };
        self.judge_ruled(packet, &flow, &rule, (routed, quoted), decision)?;
        self.by_prefix += u64::from(!routed && rule.vip.prefix_len() < rule.vip.max_prefix_len());
        if let (Part::First, TCP | UDP, Some(backend)) =
            (packet.flow.part, packet.flow.protocol, decision.backend.clone())
        {
            let first = First { rule: rule.name, backend, seen: packet.at };
            self.firsts.insert(datagram(packet), first);
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
        let state = self.services.get_mut(&rule.service).ok_or("a rule without a service")?;

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
    fn followed(&self, packet: &Packet) -> Option<(bool, Decision)> {
        if packet.flow.part != Part::Later || packet.quoted.is_some() {
            return None;
        }
        let First { rule, backend, seen } = self.firsts.get(&datagram(packet))?;
        let rule = self.setup.as_ref()?.rules.iter().find(|other| other.name == *rule)?;
        let remains = self.services.get(&rule.service)?.remains_for(backend, packet.at)?;
        let left = remains.min(FOLLOWING - (packet.at - *seen).as_secs_f64());
        let expected = Decision {
            verdict: "forward".to_owned(),
            rule: Some(rule.name.clone()),
            service: Some(rule.service.clone()),
            backend: Some(backend.clone()),
            tracking: Some("off".to_owned()),
        };
        (left > -TICK).then_some((left >= TICK, expected))
    }

    /// Flow that an ICMP error goes with, and its rule: the client's, to whom a VIP answered, or that of the quoted
    /// packet itself, if it came by a route, or else that of the opposite direction, which does.
    fn quoted(&self, client_flow: &Flow) -> Option<(Flow, (&Rule, bool))> {
        let sent = client_flow.reversed();
        let of_client = self.rule(client_flow);
        let of_sent = self.rule(&sent).filter(|(_, routed)| *routed);
        match (of_client, of_sent) {
            (Some(rule @ (_, false)), _) | (Some(rule), None) => Some((client_flow.clone(), rule)),
            (_, Some(rule)) => Some((sent, rule)),
            (None, None) => None,
        }
    }

    /// Rule that matches a flow, else the rule that the flow's longest route leads to; true if a route does.
    fn rule(&self, flow: &Flow) -> Option<(&Rule, bool)> {
        let setup = self.setup.as_ref()?;
        let admits = |rule: &Rule| {
            rule.scheme == Scheme::External
                || rule.global
                || setup.region.is_empty()
                || setup.region.iter().any(|range| range.contains(&flow.src))
        };
        let matching = setup.rules.iter().filter(|rule| takes(rule, flow) && admits(rule));
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
            let routes = setup.routes.iter().filter(|route| route.range.contains(&flow.dst));
            let longest = routes.max_by_key(|route| route.range.prefix_len())?;
            let hop = setup.rules.iter().find(|rule| rule.name == longest.next_hop);
            hop.filter(|rule| admits(rule)).map(|rule| (rule, true))
        })
    }
}

fn datagram(packet: &Packet) -> Datagram {
    let Flow { src, dst, protocol, .. } = packet.flow;
    (src, dst, protocol, packet.identification)
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
