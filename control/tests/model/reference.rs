//! The reference: a second statement of the semantics of traffic distribution.
//!
//! The reference knows no hash: it takes the backend that was chosen, judges if that backend was eligible and agrees
//! with every earlier choice, and goes on from there.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::service::{Held, Selection, State};
use crate::setup::{Ports, Rule, RuleProtocol, Scheme, Setup};
use crate::traffic::{Flow, Packet, TCP, UDP};

/// Decision of the replay for one packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) verdict: String,
    pub(crate) rule: Option<String>,
    pub(crate) service: Option<String>,
    pub(crate) backend: Option<String>,
    pub(crate) tracking: Option<String>,
}

/// Input of a choice: service, fields of the selection hash, and eligible backends with their weights.
type Choice = (String, Selection, Vec<(String, u16)>);

/// State of all services, as the semantics have it by now.
#[derive(Default)]
pub(crate) struct Reference {
    setup: Option<Setup>,
    services: BTreeMap<String, State>,
    /// Backend that each choice fell on. A service that is removed and comes back must choose as before.
    choices: HashMap<Choice, String>,
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
        let (flow, rule, quoted) =
            match packet.quoted.as_ref().and_then(|flow| Some((flow, self.rule(flow)?))) {
                Some((client_flow, rule)) => (client_flow, Some(rule), true),
                None => (&packet.flow, self.rule(&packet.flow), false),
            };
        let Some(rule) = rule.cloned() else {
            return expect(decision.verdict == "pass", || "no rule and no route: pass".to_owned());
        };
        let named = (decision.rule.as_deref(), decision.service.as_deref());
        expect(named == (Some(&rule.name), Some(&rule.service)), || format!("rule {}", rule.name))?;
        let state = self.services.get_mut(&rule.service).ok_or("a rule without a service")?;

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
        let choice = (rule.service.clone(), state.selection_key(flow), eligible);
        let before = self.choices.entry(choice).or_insert_with(|| chosen.clone());
        expect(*before == chosen, || format!("{before}, which the same hash chose before"))
    }

    /// Rule that matches a flow, else the rule that the flow's longest route leads to.
    fn rule(&self, flow: &Flow) -> Option<&Rule> {
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
                rule.protocol != RuleProtocol::L3Default,
                !matches!(rule.ports, Ports::All),
                source.map(|range| 1 + range.prefix_len()).max().unwrap_or(0),
            )
        });
        direct.or_else(|| {
            let routes = setup.routes.iter().filter(|route| route.range.contains(&flow.dst));
            let longest = routes.max_by_key(|route| route.range.prefix_len())?;
            setup.rules.iter().find(|rule| rule.name == longest.next_hop).filter(|rule| admits(rule))
        })
    }
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
    rule.address == flow.dst && protocol && ports && source
}

fn expect(holds: bool, expected: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(expected()) }
}
