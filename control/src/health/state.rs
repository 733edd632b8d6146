//! The health and the weight of every backend, from the results of all its probes.
//!
//! Pure: configurations and results go in with their time, and what changes for the services comes out. A backend is
//! probed once for each forwarding rule of its service, and is healthy while the probes through all rules say so.

use std::collections::BTreeMap;
use std::time::Duration;

use guideway_model::config::{BackendService, Config};

use super::change::HealthChange;
use super::probe::{ProbeResult, WeightReport};
use super::threshold::{Threshold, Thresholds};
use super::weights::{WeightBasis, WeightStatus, Weights};

/// The subject of one health check: a backend of a service, probed through a forwarding rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckId {
    /// The backend service.
    pub service: String,
    /// The backend.
    pub backend: String,
    /// The forwarding rule.
    pub rule: String,
}

/// The health of all backends.
#[derive(Debug, Default)]
pub struct HealthState {
    services: BTreeMap<String, Service>,
}

#[derive(Debug)]
struct Service {
    network: String,
    thresholds: Thresholds,
    /// True if backends are chosen by the weights that they report.
    takes_weights: bool,
    backends: BTreeMap<String, BackendHealth>,
    weights: Weights,
}

/// The health of one backend.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendHealth {
    /// The backend's health through each forwarding rule, by the rule's name.
    pub rules: BTreeMap<String, RuleHealth>,
    /// Time at which the backend last turned, or began.
    pub since: Duration,
    /// Number of times that the backend has turned.
    pub turns: u64,
    configured_weight: u16,
    /// The weight in the last change to the services.
    applied_weight: u16,
}

/// The health of one backend through one forwarding rule.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleHealth {
    threshold: Threshold,
    /// Reason in words why the latest probe failed; `None` where it succeeded.
    pub last_error: Option<String>,
    /// Number of probes that succeeded.
    pub passed: u64,
    /// Number of probes that failed.
    pub failed: u64,
    /// Time that the latest probe took.
    pub latency: Duration,
}

impl HealthState {
    /// Takes over a configuration; returns what changes for backends that stay.
    pub fn configure(&mut self, config: &Config, now: Duration) -> Vec<HealthChange> {
        let mut changes = Vec::new();
        let mut known = std::mem::take(&mut self.services);
        for (index, service) in config.services.iter().enumerate() {
            let rules: Vec<&str> =
                config.rules.iter().filter(|rule| rule.service == index).map(|rule| &*rule.name).collect();
            // In another network it is another service, whose backends begin anew.
            let network = &config.networks[service.network].name;
            let before = known.remove(&service.name).filter(|before| before.network == *network);
            let state = Service::configure(before, config, service, &rules, now, &mut changes);
            self.services.insert(service.name.clone(), state);
        }
        changes
    }

    /// All checks that are to be made.
    pub fn ids(&self) -> impl Iterator<Item = CheckId> {
        self.services.iter().flat_map(|(service, state)| {
            state.backends.iter().flat_map(move |(backend, health)| {
                health.rules.keys().map(move |rule| CheckId {
                    service: service.clone(),
                    backend: backend.clone(),
                    rule: rule.clone(),
                })
            })
        })
    }

    /// True if a service is known.
    pub fn knows(&self, service: &str) -> bool {
        self.services.contains_key(service)
    }

    /// True if the probes of a service have come to a first result: a backend is healthy, and every other one has failed
    /// often enough to be taken out.
    pub fn are_decided(&self, service: &str) -> bool {
        let Some(state) = self.services.get(service) else { return true };
        let rules = || state.backends.values().flat_map(|health| health.rules.values());
        let is_decided =
            |rule: &RuleHealth| rule.is_healthy() || rule.failed >= state.thresholds.unhealthy.into();
        state.backends.values().any(BackendHealth::is_healthy) && rules().all(is_decided)
    }

    /// The present state of a service, as the changes that lead to it from backends that are unhealthy and have their
    /// configured weights.
    pub fn standing(&self, service: &str) -> Vec<HealthChange> {
        let Some(state) = self.services.get(service) else { return Vec::new() };
        let mut changes = Vec::new();
        if state.takes_weights && !state.weights.are_valid() {
            changes.push(HealthChange::Weights { service: service.to_owned(), valid: false });
        }
        for (name, health) in &state.backends {
            if health.applied_weight != health.configured_weight {
                let (backend, weight) = (name.clone(), health.applied_weight);
                changes.push(HealthChange::Weight { service: service.to_owned(), backend, weight });
            }
        }
        let healthy = state.backends.iter().filter(|(_, health)| health.is_healthy());
        changes.extend(healthy.map(|(name, _)| turned(service, name, true)));
        changes
    }

    /// Takes in the result of a probe; returns what changes.
    ///
    /// A probe of something that is no longer configured changes nothing, nor does one that was not asked.
    pub fn observe(
        &mut self,
        id: &CheckId,
        result: &ProbeResult,
        latency: Duration,
        now: Duration,
    ) -> Vec<HealthChange> {
        let mut changes = Vec::new();
        let report = match result {
            ProbeResult::Well(report) => *report,
            // An answer that fails tells nothing by having no weight.
            ProbeResult::Unwell { weight, .. } => weight.filter(|report| *report != WeightReport::Missing),
            ProbeResult::NotAsked(_) => return changes,
        };
        let Some(service) = self.services.get_mut(&id.service) else { return changes };
        let Some(health) = service.backends.get_mut(&id.backend) else { return changes };
        let was_healthy = health.is_healthy();
        let Some(rule) = health.rules.get_mut(&id.rule) else { return changes };
        rule.take_in(result.failure(), latency, service.thresholds);
        if health.is_healthy() != was_healthy {
            health.since = now;
            health.turns += 1;
            changes.push(turned(&id.service, &id.backend, !was_healthy));
        }
        if service.takes_weights {
            let were_valid = service.weights.are_valid();
            service.weights.observe(&id.backend, &id.rule, report);
            if service.weights.are_valid() == were_valid {
                service.apply_weight(id, &mut changes);
            } else {
                service.apply_weights(&id.service, were_valid, &mut changes);
            }
        }
        changes
    }

    /// The health of a backend.
    pub fn backend(&self, service: &str, backend: &str) -> Option<&BackendHealth> {
        self.services.get(service)?.backends.get(backend)
    }

    /// The state of a backend's reported weight; `None` where its service does not choose by reported weights.
    pub fn weight_status(&self, service: &str, backend: &str) -> Option<WeightStatus> {
        self.with_weights(service).map(|state| state.weights.status(backend))
    }

    /// The weight that the checks of a backend have come to, and its basis; `None` where its service does not choose by
    /// reported weights.
    pub fn weight(&self, service: &str, backend: &str) -> Option<(u16, WeightBasis)> {
        let state = self.with_weights(service)?;
        Some(state.weights.weight(backend, state.backends.get(backend)?.configured_weight))
    }

    /// True if a service's reported weights count; `None` where it does not choose by reported weights.
    pub fn weights_are_valid(&self, service: &str) -> Option<bool> {
        self.with_weights(service).map(|state| state.weights.are_valid())
    }

    fn with_weights(&self, service: &str) -> Option<&Service> {
        self.services.get(service).filter(|state| state.takes_weights)
    }
}

impl HealthState {
    /// Begins with the health that `is_healthy` tells, by service and backend, of each backend that was not probed yet: one
    /// that comes back while it drains has the health that it had.
    pub fn begin_with(&mut self, is_healthy: impl Fn(&str, &str) -> bool) {
        for (service, state) in &mut self.services {
            for (name, backend) in &mut state.backends {
                let is_new = backend.rules.values().all(|rule| rule.passed + rule.failed == 0);
                if is_new && !backend.is_healthy() && is_healthy(service, name) {
                    backend.rules.values_mut().for_each(|rule| *rule = RuleHealth::new(true));
                }
            }
        }
    }
}

impl Service {
    fn configure(
        before: Option<Self>,
        config: &Config,
        service: &BackendService,
        rules: &[&str],
        now: Duration,
        changes: &mut Vec<HealthChange>,
    ) -> Self {
        let check = &config.health_checks[service.health_check];
        let (mut known, mut weights) =
            before.map_or_else(Default::default, |before| (before.backends, before.weights));
        if service.configured_weights {
            weights = Weights::default();
        }
        let were_valid = weights.are_valid();
        let mut state = Self {
            network: config.networks[service.network].name.clone(),
            thresholds: Thresholds { healthy: check.healthy_threshold, unhealthy: check.unhealthy_threshold },
            takes_weights: service.weighted && !service.configured_weights,
            backends: BTreeMap::new(),
            weights,
        };
        for endpoint in service.endpoints(config) {
            let name = &endpoint.name;
            let health = match known.remove(name) {
                Some(mut health) => {
                    if health.configured_weight != endpoint.weight || service.configured_weights {
                        // The services take the new number until the next report.
                        health.configured_weight = endpoint.weight;
                        health.applied_weight = endpoint.weight;
                        state.weights.forget_weight(name);
                    }
                    if health.update_rules(rules, now) {
                        changes.push(turned(&service.name, name, health.is_healthy()));
                    }
                    health
                }
                None => BackendHealth::new(rules, endpoint.weight, now),
            };
            state.backends.insert(name.clone(), health);
        }
        state.weights.retain(|backend| state.backends.contains_key(backend), rules);
        if state.takes_weights {
            state.apply_weights(&service.name, were_valid, changes);
        }
        state
    }

    /// Adds the change of the probed backend's weight, if there is one: while weights count as they did, a probe changes
    /// no other.
    fn apply_weight(&mut self, id: &CheckId, changes: &mut Vec<HealthChange>) {
        let Some(health) = self.backends.get_mut(&id.backend) else { return };
        let (weight, _) = self.weights.weight(&id.backend, health.configured_weight);
        if weight != health.applied_weight {
            health.applied_weight = weight;
            let (service, backend) = (id.service.clone(), id.backend.clone());
            changes.push(HealthChange::Weight { service, backend, weight });
        }
    }

    /// Adds the change of whether weights count, and that of each backend whose weight is another than the services have.
    fn apply_weights(&mut self, service: &str, were_valid: bool, changes: &mut Vec<HealthChange>) {
        let valid = self.weights.are_valid();
        if valid != were_valid {
            changes.push(HealthChange::Weights { service: service.to_owned(), valid });
        }
        for (backend, health) in &mut self.backends {
            let (weight, _) = self.weights.weight(backend, health.configured_weight);
            if weight != health.applied_weight {
                health.applied_weight = weight;
                changes.push(HealthChange::Weight {
                    service: service.to_owned(),
                    backend: backend.clone(),
                    weight,
                });
            }
        }
    }
}

impl BackendHealth {
    /// A new backend: unhealthy until its probes say otherwise.
    fn new(rules: &[&str], weight: u16, now: Duration) -> Self {
        let rules = rules.iter().map(|rule| ((*rule).to_owned(), RuleHealth::new(false)));
        Self {
            rules: rules.collect(),
            since: now,
            turns: 0,
            configured_weight: weight,
            applied_weight: weight,
        }
    }

    /// True if the backend may serve: it has a rule, and the probes through all rules say so.
    pub fn is_healthy(&self) -> bool {
        !self.rules.is_empty() && self.rules.values().all(|rule| rule.threshold.is_healthy())
    }

    /// Takes over the rules of a reload; true where that turned the backend.
    ///
    /// A new rule begins as the backend is: one rule more is no reason to take the backend out of service until it has
    /// been probed through that as well.
    fn update_rules(&mut self, rules: &[&str], now: Duration) -> bool {
        let was_healthy = self.is_healthy();
        self.rules.retain(|rule, _| rules.contains(&&**rule));
        for rule in rules {
            if !self.rules.contains_key(*rule) {
                self.rules.insert((*rule).to_owned(), RuleHealth::new(was_healthy));
            }
        }
        let turned = self.is_healthy() != was_healthy;
        if turned {
            self.since = now;
            self.turns += 1;
        }
        turned
    }
}

impl RuleHealth {
    const fn new(healthy: bool) -> Self {
        Self {
            threshold: Threshold::new(healthy),
            last_error: None,
            passed: 0,
            failed: 0,
            latency: Duration::ZERO,
        }
    }

    /// True if the probes through this rule say that the backend may serve.
    pub const fn is_healthy(&self) -> bool {
        self.threshold.is_healthy()
    }

    fn take_in(&mut self, failure: Option<&str>, latency: Duration, thresholds: Thresholds) {
        self.latency = latency;
        self.last_error = failure.map(str::to_owned);
        *if failure.is_none() { &mut self.passed } else { &mut self.failed } += 1;
        self.threshold.observe(failure.is_none(), thresholds);
    }
}

fn turned(service: &str, backend: &str, healthy: bool) -> HealthChange {
    HealthChange::Health { service: service.to_owned(), backend: backend.to_owned(), healthy }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A weighted service behind these rules, with these endpoints and their weights.
    fn config(rules: &[&str], endpoints: &[(&str, u16)]) -> Config {
        let mut text = String::from(
            "[[health_check]]\nname = \"hc\"\ntype = \"HTTP\"\nhealthy_threshold = 2\nunhealthy_threshold = 1\n\
             [[backend_service]]\nname = \"svc\"\nlocality_lb_policy = \"WEIGHTED_MAGLEV\"\nhealth_checks = [\"hc\"]\n\
             backends = [{ group = \"group\" }]\n[[backend_group]]\nname = \"group\"\nendpoints = [\n",
        );
        for (index, (name, weight)) in endpoints.iter().enumerate() {
            text += &format!(
                "{{ name = \"{name}\", ip_address = \"10.0.0.{}\", weight = {weight} }},\n",
                index + 1
            );
        }
        text += "]\n";
        for (index, rule) in rules.iter().enumerate() {
            text += &format!(
                "[[forwarding_rule]]\nname = \"{rule}\"\nip_address = \"203.0.113.{}\"\nports = [80]\n\
                 backend_service = \"svc\"\n",
                index + 1
            );
        }
        Config::parse("state", &text).unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn id(backend: &str, rule: &str) -> CheckId {
        CheckId { service: "svc".to_owned(), backend: backend.to_owned(), rule: rule.to_owned() }
    }

    const LATENCY: Duration = Duration::from_millis(3);

    fn passed(weight: u16) -> ProbeResult {
        ProbeResult::Well(Some(WeightReport::Weight(weight)))
    }

    fn failed() -> ProbeResult {
        ProbeResult::unwell("status 503")
    }

    fn health_of(backend: &str, healthy: bool) -> HealthChange {
        turned("svc", backend, healthy)
    }

    #[test]
    fn a_backend_is_healthy_while_the_probes_of_every_rule_are() {
        let mut state = HealthState::default();
        let now = Duration::from_secs(1);
        assert!(state.configure(&config(&["one", "two"], &[("a", 1)]), now).is_empty());
        assert_eq!(state.ids().collect::<Vec<_>>(), [id("a", "one"), id("a", "two")]);
        for rule in ["one", "one", "two"] {
            assert!(state.observe(&id("a", rule), &passed(1), LATENCY, now).is_empty());
        }
        let later = Duration::from_secs(2);
        assert_eq!(state.observe(&id("a", "two"), &passed(1), LATENCY, later), [health_of("a", true)]);
        assert_eq!(state.backend("svc", "a").unwrap().since, later);
        assert_eq!(state.observe(&id("a", "one"), &failed(), LATENCY, later), [health_of("a", false)]);
        let health = state.backend("svc", "a").unwrap();
        assert_eq!(health.rules["one"].last_error.as_deref(), Some("status 503"));
        assert_eq!((health.rules["one"].passed, health.rules["one"].failed, health.turns), (2, 1, 2));
    }

    #[test]
    fn a_new_rule_takes_nobody_out_of_service_and_a_removed_one_may_let_somebody_in() {
        let mut state = HealthState::default();
        let now = Duration::ZERO;
        state.configure(&config(&["one"], &[("a", 1), ("b", 1)]), now);
        for _ in 0..2 {
            state.observe(&id("a", "one"), &passed(1), LATENCY, now);
        }
        assert!(state.configure(&config(&["one", "two"], &[("a", 1), ("b", 1)]), now).is_empty());
        assert!(state.backend("svc", "a").unwrap().is_healthy());
        assert!(!state.backend("svc", "b").unwrap().is_healthy());
        assert_eq!(state.observe(&id("a", "two"), &failed(), LATENCY, now), [health_of("a", false)]);
        let changes = state.configure(&config(&["one"], &[("a", 1), ("b", 1)]), now);
        assert_eq!(changes, [health_of("a", true)]);
    }

    #[test]
    fn a_backend_that_was_not_asked_stays_as_it_is() {
        let mut state = HealthState::default();
        let now = Duration::ZERO;
        state.configure(&config(&["one"], &[("a", 5)]), now);
        for _ in 0..2 {
            state.observe(&id("a", "one"), &passed(9), LATENCY, now);
        }
        let before = state.backend("svc", "a").cloned();
        let not_asked = ProbeResult::NotAsked("no local port is free for a probe".to_owned());
        assert!(state.observe(&id("a", "one"), &not_asked, Duration::ZERO, now).is_empty());
        assert_eq!(state.backend("svc", "a").cloned(), before);
        assert_eq!(state.weight_status("svc", "a"), Some(WeightStatus::Valid));
    }

    #[test]
    fn who_was_removed_begins_anew() {
        let mut state = HealthState::default();
        let now = Duration::ZERO;
        state.configure(&config(&["one"], &[("a", 5)]), now);
        for _ in 0..2 {
            state.observe(&id("a", "one"), &passed(9), LATENCY, now);
        }
        state.configure(&config(&["one"], &[("b", 1)]), now);
        assert!(
            state.observe(&id("a", "one"), &passed(9), LATENCY, now).is_empty(),
            "nobody asks for it any more"
        );
        assert!(state.configure(&config(&["one"], &[("a", 5)]), now).is_empty());
        assert!(!state.backend("svc", "a").unwrap().is_healthy());
        assert_eq!(state.weight_status("svc", "a"), Some(WeightStatus::UnavailableWeight));
    }

    #[test]
    fn weights_are_told_when_they_change_and_are_all_alike_while_one_is_missing() {
        let mut state = HealthState::default();
        let now = Duration::ZERO;
        state.configure(&config(&["one"], &[("a", 5), ("b", 6)]), now);
        let weight = |backend: &str, weight| HealthChange::Weight {
            service: "svc".to_owned(),
            backend: backend.to_owned(),
            weight,
        };
        assert_eq!(state.observe(&id("a", "one"), &passed(300), LATENCY, now), [weight("a", 300)]);
        let missing = ProbeResult::Well(Some(WeightReport::Missing));
        let valid = |valid| HealthChange::Weights { service: "svc".to_owned(), valid };
        let observed = state.observe(&id("b", "one"), &missing, LATENCY, now);
        assert_eq!(observed, [valid(false), weight("a", 1), weight("b", 1)]);
        assert_eq!(state.weights_are_valid("svc"), Some(false));
        assert_eq!(
            state.observe(&id("b", "one"), &passed(7), LATENCY, now),
            [health_of("b", true), valid(true), weight("a", 300), weight("b", 7)]
        );
        // The services take the new number by themselves.
        assert!(state.configure(&config(&["one"], &[("a", 40), ("b", 6)]), now).is_empty());
        assert_eq!(
            state.observe(&id("a", "one"), &passed(300), LATENCY, now),
            [health_of("a", true), weight("a", 300)]
        );
    }

    #[test]
    fn an_answer_that_fails_reports_its_weight_and_tells_nothing_by_having_none() {
        let mut state = HealthState::default();
        let now = Duration::ZERO;
        state.configure(&config(&["one"], &[("a", 5), ("b", 6)]), now);
        let fails = |weight| ProbeResult::Unwell { reason: "status 503".to_owned(), weight: Some(weight) };
        for backend in ["a", "b", "a", "b"] {
            state.observe(&id(backend, "one"), &passed(5), LATENCY, now);
        }
        let weight = |backend: &str, weight| HealthChange::Weight {
            service: "svc".to_owned(),
            backend: backend.to_owned(),
            weight,
        };
        let drained = state.observe(&id("b", "one"), &fails(WeightReport::Weight(0)), LATENCY, now);
        assert_eq!(drained, [health_of("b", false), weight("b", 0)]);
        assert_eq!(state.weight_status("svc", "b"), Some(WeightStatus::Valid));
        assert_eq!(state.observe(&id("b", "one"), &fails(WeightReport::Missing), LATENCY, now), []);
        assert_eq!(state.weight_status("svc", "b"), Some(WeightStatus::UnavailableWeight));
        assert_eq!(state.weight("svc", "b"), Some((0, WeightBasis::Reported)), "it keeps the last one");
        let unreadable = state.observe(&id("b", "one"), &fails(WeightReport::Invalid), LATENCY, now);
        let equal = HealthChange::Weights { service: "svc".to_owned(), valid: false };
        assert_eq!(unreadable, [equal, weight("a", 1), weight("b", 1)]);
    }

    #[test]
    fn configured_weights_are_left_as_they_are() {
        let mut state = HealthState::default();
        let now = Duration::ZERO;
        let reported = config(&["one"], &[("a", 5), ("b", 1)]);
        let mut configured = reported.clone();
        configured.services[0].configured_weights = true;
        state.configure(&reported, now);
        for _ in 0..2 {
            state.observe(&id("a", "one"), &passed(9), LATENCY, now);
        }
        // The services go back to the configured weight by themselves.
        assert_eq!(state.configure(&configured, now), []);
        let missing = ProbeResult::Well(Some(WeightReport::Missing));
        for result in [passed(9), missing, failed()] {
            let changes = state.observe(&id("a", "one"), &result, LATENCY, now);
            assert!(
                changes.iter().all(|change| matches!(change, HealthChange::Health { .. })),
                "{changes:?}"
            );
        }
        assert_eq!((state.weight("svc", "a"), state.weights_are_valid("svc")), (None, None));
        assert_eq!(state.weight_status("svc", "a"), None);
        assert_eq!(state.configure(&reported, now), []);
        let weight = HealthChange::Weight { service: "svc".to_owned(), backend: "a".to_owned(), weight: 9 };
        assert_eq!(state.observe(&id("a", "one"), &passed(9), LATENCY, now), [weight]);
    }

    #[test]
    fn a_first_round_is_decided_when_somebody_is_well_and_everybody_else_has_had_a_chance() {
        let mut state = HealthState::default();
        let now = Duration::ZERO;
        state.configure(&config(&["one"], &[("a", 5), ("b", 6)]), now);
        assert!(state.knows("svc") && !state.knows("other"));
        for _ in 0..3 {
            state.observe(&id("a", "one"), &failed(), LATENCY, now);
            state.observe(&id("b", "one"), &failed(), LATENCY, now);
        }
        assert!(!state.are_decided("svc"), "nobody is well: the link may be slow to come up");
        state.observe(&id("b", "one"), &passed(9), LATENCY, now);
        assert!(!state.are_decided("svc"));
        state.observe(&id("b", "one"), &passed(9), LATENCY, now);
        assert!(state.are_decided("svc"));
        let weight = HealthChange::Weight { service: "svc".to_owned(), backend: "b".to_owned(), weight: 9 };
        assert_eq!(state.standing("svc"), [weight, health_of("b", true)]);
        // A backend that is removed and comes back begins anew, whatever was said of it before.
        state.configure(&config(&["one"], &[("a", 5)]), now);
        state.configure(&config(&["one"], &[("a", 5), ("b", 6)]), now);
        assert_eq!(state.standing("svc"), []);
    }

    #[test]
    fn a_service_that_moves_to_another_network_begins_anew() {
        let mut state = HealthState::default();
        let mut config = config(&["one"], &[("a", 1)]);
        state.configure(&config, Duration::ZERO);
        for second in 1..3 {
            state.observe(&id("a", "one"), &passed(1), LATENCY, Duration::from_secs(second));
        }
        assert!(state.backend("svc", "a").is_some_and(BackendHealth::is_healthy));
        let network =
            guideway_model::config::Network { name: "red".to_owned(), ..(*config.networks[0]).clone() };
        config.networks[0] = network.into();
        state.configure(&config, Duration::from_secs(3));
        assert!(!state.backend("svc", "a").is_some_and(BackendHealth::is_healthy));
    }
}
