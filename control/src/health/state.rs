//! The health and the weight of every backend, from the results of all its probes.
//!
//! Pure: configurations and results go in with their time, and what changes for the services comes out. A backend is
//! probed once for each forwarding rule of its service, and is healthy while the probes through all rules say so.

use std::collections::BTreeMap;
use std::time::Duration;

use guideway_dataplane::ingress::NetworkId;
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
    network: NetworkId,
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
            let network = config.networks[service.network].id;
            let before = known.remove(&service.name).filter(|before| before.network == network);
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

    /// True if a service of a configuration is known, and in the network that it has there.
    pub fn knows(&self, service: &BackendService, config: &Config) -> bool {
        let known = self.services.get(&service.name);
        known.is_some_and(|known| known.network == config.networks[service.network].id)
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
            network: config.networks[service.network].id,
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
mod tests;
