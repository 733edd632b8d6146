//! The state of each backend service: who is configured or draining, health, weight, and which pool serves.
//!
//! Pure: events go in with their time, and what packets need to know of them comes out as generations, deadlines
//! and the set of eligible backends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use guideway_dataplane::affinity::ServiceKey;
use guideway_dataplane::backend::BackendHandle;
use guideway_dataplane::delivery::DeliveryMode;

use crate::backend_handles::BackendHandles;
use crate::config::{BackendService, Config, Endpoint, MacAddress, Network};
use crate::eligible::{Candidate, Rules, eligible};

/// States of all backend services.
#[derive(Debug, Default)]
pub struct Services {
    states: BTreeMap<String, ServiceState>,
    handles: BackendHandles,
    keys: u32,
}

/// State of one backend service.
#[derive(Debug)]
pub struct ServiceState {
    key: ServiceKey,
    /// By name, the draining ones too: a backend is known by its name, whatever its address.
    backends: BTreeMap<String, BackendState>,
    rules: Rules,
    draining_timeout: Duration,
    void_on_switch: bool,
    /// The pool that served last; `None` until some backend was eligible.
    pool: Option<Pool>,
}

/// State of one backend of one service.
#[derive(Clone, Debug)]
pub struct BackendState {
    /// Handle that names the backend in snapshots and in conntrack entries.
    pub handle: BackendHandle,
    /// Endpoint as configured; of a draining backend, as it was configured last.
    pub endpoint: Endpoint,
    /// Mode in which packets are delivered to the backend.
    pub delivery: DeliveryMode,
    /// MTU of the path to the backend.
    pub mtu: u16,
    /// Network that the appliance reaches the backend from; of a draining backend, as it was configured last.
    pub network: Arc<Network>,
    /// True if the backend belongs to a failover group.
    pub failover: bool,
    /// True if the health checks of the backend succeed.
    pub healthy: bool,
    /// Weight in force.
    pub weight: u16,
    /// Source of the weight in force.
    pub weight_source: WeightSource,
    /// True while an operator keeps new connections away from the backend.
    pub operator_drained: bool,
    /// Time of its removal from the configuration; `None` while it is configured.
    pub removed_at: Option<Duration>,
}

/// Source of a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightSource {
    /// The configuration.
    Configured,
    /// Reports of the backend itself.
    Reported,
    /// An operator, until the configured number changes.
    Operator,
}

/// Pool of a service: the primary or the failover backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// Groups that serve by default.
    Primary,
    /// Groups that stand in for the primaries.
    Failover,
}

/// Name of a service or a backend that is neither configured nor draining.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnknownName {
    /// No backend service of this name.
    Service(String),
    /// No backend of the second name in the service of the first.
    Backend(String, String),
}

impl std::fmt::Display for UnknownName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Service(service) => write!(f, "there is no backend service `{service}`"),
            Self::Backend(service, backend) => {
                write!(f, "backend service `{service}` has no backend `{backend}`")
            }
        }
    }
}

impl std::error::Error for UnknownName {}

impl Services {
    /// Takes over a configuration, the first or a new one, at `now`; backends that are new are `healthy` or not.
    pub(crate) fn configure(&mut self, config: &Config, now: Duration, healthy: bool) {
        self.expire(now);
        let is_configured = |name: &String| config.services.iter().any(|service| service.name == *name);
        for (_, state) in self.states.extract_if(.., |name, _| !is_configured(name)) {
            state.backends.into_values().for_each(|backend| self.handles.give_back(backend.handle));
        }
        let wanted: usize = config.services.iter().map(|service| service.endpoints(config).count()).sum();
        if self.handles.in_use() + wanted > BackendHandle::LIMIT as usize {
            self.end_draining();
        }
        for service in &config.services {
            if !self.states.contains_key(&service.name) {
                self.states.insert(service.name.clone(), ServiceState::new(ServiceKey(self.keys), service));
                self.keys += 1;
            }
            if let Some(state) = self.states.get_mut(&service.name) {
                state.configure(config, service, now, healthy, &mut self.handles);
            }
        }
    }

    /// Notes the health of a backend, configured or draining.
    ///
    /// # Errors
    /// [`UnknownName`] where it is neither; nothing changes then.
    pub(crate) fn set_health(
        &mut self,
        service: &str,
        backend: &str,
        healthy: bool,
    ) -> Result<(), UnknownName> {
        self.change(service, backend, |backend, handles| {
            if backend.healthy && !healthy {
                handles.void_ordinary(backend.handle);
            }
            backend.healthy = healthy;
        })
    }

    /// Notes the weight of a backend, configured or draining.
    ///
    /// # Errors
    /// [`UnknownName`] where it is neither; nothing changes then.
    pub(crate) fn set_weight(
        &mut self,
        service: &str,
        backend: &str,
        weight: u16,
        source: WeightSource,
    ) -> Result<(), UnknownName> {
        self.change(service, backend, |backend, _| {
            backend.weight = weight;
            backend.weight_source = source;
        })
    }

    /// Keeps new connections away from a backend, as if it were removed, or lets them come again; its entries hold,
    /// without a time limit.
    ///
    /// # Errors
    /// [`UnknownName`] where it is neither configured nor draining; nothing changes then.
    pub(crate) fn set_operator_drain(
        &mut self,
        service: &str,
        backend: &str,
        operator_drained: bool,
    ) -> Result<(), UnknownName> {
        self.change(service, backend, |backend, _| backend.operator_drained = operator_drained)
    }

    /// Ends the draining of every backend whose time is over at `now`; returns the names of their services.
    pub(crate) fn expire(&mut self, now: Duration) -> Vec<String> {
        let mut expired = Vec::new();
        for (name, state) in &mut self.states {
            let timeout = state.draining_timeout;
            let over = |_: &String, backend: &mut BackendState| {
                backend.removed_at.is_some_and(|removed| now >= removed + timeout)
            };
            let handles: Vec<_> =
                state.backends.extract_if(.., over).map(|(_, backend)| backend.handle).collect();
            if !handles.is_empty() {
                handles.into_iter().for_each(|handle| self.handles.give_back(handle));
                expired.push(name.clone());
            }
        }
        expired
    }

    /// Ends all draining early: those who left must not keep those who come from a handle.
    fn end_draining(&mut self) {
        for state in self.states.values_mut() {
            for (_, backend) in state.backends.extract_if(.., |_, backend| backend.removed_at.is_some()) {
                self.handles.give_back(backend.handle);
            }
        }
    }

    /// State of a service.
    pub fn get(&self, service: &str) -> Option<&ServiceState> {
        self.states.get(service)
    }

    /// All services with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ServiceState)> {
        self.states.iter().map(|(name, state)| (name.as_str(), state))
    }

    /// Backend handles and their generations.
    pub fn handles(&self) -> &BackendHandles {
        &self.handles
    }

    /// Source of the weight of a backend, configured or draining.
    ///
    /// # Errors
    /// [`UnknownName`] where it is neither.
    pub(crate) fn weight_source(&self, service: &str, backend: &str) -> Result<WeightSource, UnknownName> {
        let state = self.states.get(service).ok_or_else(|| UnknownName::Service(service.to_owned()))?;
        let known = state.backends.get(backend).map(|backend| backend.weight_source);
        known.ok_or_else(|| UnknownName::Backend(service.to_owned(), backend.to_owned()))
    }

    fn change(
        &mut self,
        service: &str,
        backend: &str,
        change: impl FnOnce(&mut BackendState, &mut BackendHandles),
    ) -> Result<(), UnknownName> {
        let state = self.states.get_mut(service).ok_or_else(|| UnknownName::Service(service.to_owned()))?;
        let unknown = || UnknownName::Backend(service.to_owned(), backend.to_owned());
        let found = state.backends.get_mut(backend).ok_or_else(unknown)?;
        change(found, &mut self.handles);
        state.notice_pool(&mut self.handles);
        Ok(())
    }
}

impl ServiceState {
    fn new(key: ServiceKey, service: &BackendService) -> Self {
        Self {
            key,
            backends: BTreeMap::new(),
            rules: rules(service),
            draining_timeout: Duration::ZERO,
            void_on_switch: false,
            pool: None,
        }
    }

    /// Key that tells the connections of the service from those of every other service there has been.
    pub fn key(&self) -> ServiceKey {
        self.key
    }

    /// Pool that serves, or that served last.
    pub fn pool(&self) -> Option<Pool> {
        self.pool
    }

    /// Time for which a removed backend keeps its entries.
    pub fn draining_timeout(&self) -> Duration {
        self.draining_timeout
    }

    /// Configured and draining backends, by name.
    pub fn backends(&self) -> impl Iterator<Item = &BackendState> {
        self.backends.values()
    }

    /// Configured backends, by name.
    pub fn configured(&self) -> impl Iterator<Item = &BackendState> {
        self.backends().filter(|backend| backend.removed_at.is_none())
    }

    /// Backends that may get new connections, by name.
    pub fn eligible(&self) -> Vec<&BackendState> {
        let ready: Vec<_> = self.configured().filter(|backend| !backend.operator_drained).collect();
        let candidates: Vec<_> = ready.iter().map(|backend| backend.candidate()).collect();
        eligible(&candidates, self.rules).into_iter().map(|index| ready[index]).collect()
    }

    /// True if the service has failover groups, and so two pools.
    pub fn has_failover(&self) -> bool {
        self.rules.failover.is_some()
    }

    /// True if backends are chosen by weight.
    pub fn is_weighted(&self) -> bool {
        self.rules.weighted
    }

    fn configure(
        &mut self,
        config: &Config,
        service: &BackendService,
        now: Duration,
        healthy: bool,
        handles: &mut BackendHandles,
    ) {
        self.rules = rules(service);
        self.draining_timeout = Duration::from_secs(service.draining_timeout_sec.into());
        self.void_on_switch = service.failover_policy.disable_connection_drain_on_failover;
        let mut left: BTreeMap<String, BackendState> = std::mem::take(&mut self.backends);
        for member in &service.members {
            let group = &config.groups[member.group];
            for endpoint in &group.endpoints {
                let known =
                    left.remove(&endpoint.name).filter(|known| self.keeps_entries(known, handles, now));
                let handle = known.as_ref().map_or_else(|| handles.take(), |known| known.handle);
                // Who came back while it drained keeps its entries, but its health and weight begin anew.
                let kept = known.filter(|known| known.removed_at.is_none());
                let keeps_weight = |kept: &&BackendState| {
                    let is_ours = service.configured_weights && kept.weight_source == WeightSource::Reported;
                    kept.endpoint.weight == endpoint.weight && !is_ours
                };
                let weight = kept.as_ref().filter(keeps_weight);
                let backend = BackendState {
                    handle,
                    endpoint: endpoint.clone(),
                    delivery: group.delivery,
                    mtu: group.mtu,
                    network: Arc::clone(&config.network),
                    failover: member.failover,
                    healthy: kept.as_ref().map_or(healthy, |kept| kept.healthy),
                    weight: weight.map_or(endpoint.weight, |kept| kept.weight),
                    weight_source: weight.map_or(WeightSource::Configured, |kept| kept.weight_source),
                    operator_drained: kept.as_ref().is_some_and(|kept| kept.operator_drained),
                    removed_at: None,
                };
                self.backends.insert(endpoint.name.clone(), backend);
            }
        }
        for (name, mut backend) in left {
            backend.removed_at.get_or_insert(now);
            if self.keeps_entries(&backend, handles, now) {
                self.backends.insert(name, backend);
            }
        }
        self.notice_pool(handles);
    }

    /// True if the entries of a backend that was known before are still valid; gives its handle back if not.
    fn keeps_entries(&self, backend: &BackendState, handles: &mut BackendHandles, now: Duration) -> bool {
        let keeps = backend.removed_at.is_none_or(|removed| now < removed + self.draining_timeout);
        if !keeps {
            handles.give_back(backend.handle);
        }
        keeps
    }

    /// Notices a switch between the pools, which by the service's policy voids all its entries.
    fn notice_pool(&mut self, handles: &mut BackendHandles) {
        let pool = if self.has_failover() {
            let eligible = self.eligible();
            let Some(serving) = eligible.first() else { return };
            if serving.failover { Pool::Failover } else { Pool::Primary }
        } else if self.configured().any(|backend| !backend.operator_drained) {
            // Without failover groups somebody is always eligible then; hundreds of backends may turn at once.
            Pool::Primary
        } else {
            return;
        };
        let switched = self.pool.replace(pool).is_some_and(|before| before != pool);
        if switched && self.void_on_switch {
            self.backends.values().for_each(|backend| handles.void_all(backend.handle));
        }
    }
}

impl BackendState {
    /// MAC address of the next hop where the configuration names it: the endpoint's own, or that of the gateway of
    /// tunnels.
    pub fn next_hop_mac(&self) -> Option<MacAddress> {
        let gateway = || self.network.gateway_mac_address.filter(|_| self.delivery != DeliveryMode::L2);
        self.endpoint.mac_address.or_else(gateway)
    }

    fn candidate(&self) -> Candidate {
        Candidate { healthy: self.healthy, weight: self.weight, failover: self.failover }
    }
}

fn rules(service: &BackendService) -> Rules {
    Rules { weighted: service.weighted, failover: service.has_failover().then_some(service.failover_policy) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::sample;

    /// A service with primaries `a` and `b` and failover backend `c`, but for the endpoints in `gone`.
    fn config(policy: &str, gone: &[&str]) -> Config {
        let endpoint = |name: &str, last: u8| {
            let listed = !gone.contains(&name);
            if listed {
                format!("{{ name = \"{name}\", ip_address = \"10.1.0.{last}\" }},")
            } else {
                String::new()
            }
        };
        let service = format!(
            "backends = [{{ group = \"primary\" }}, {{ group = \"spare\", failover = true }}]\n{policy}"
        );
        let groups = format!(
            r#"
            [[backend_group]]
            name = "primary"
            endpoints = [{} {}]
            [[backend_group]]
            name = "spare"
            endpoints = [{}]
            "#,
            endpoint("a", 1),
            endpoint("b", 2),
            endpoint("c", 3),
        );
        sample("", &service, &groups)
    }

    fn started(policy: &str) -> Services {
        let mut services = Services::default();
        services.configure(&config(policy, &[]), Duration::ZERO, true);
        services
    }

    fn backend<'a>(services: &'a Services, name: &str) -> &'a BackendState {
        services.get("svc").unwrap().backends().find(|backend| backend.endpoint.name == name).unwrap()
    }

    fn eligible_names(services: &Services) -> Vec<String> {
        let state = services.get("svc").unwrap();
        state.eligible().iter().map(|backend| backend.endpoint.name.clone()).collect()
    }

    #[test]
    fn a_health_loss_voids_ordinary_entries_and_recovery_does_not_bring_them_back() {
        let mut services = started("");
        let handle = backend(&services, "a").handle;
        let before = services.handles().generations(handle);
        services.set_health("svc", "a", false).unwrap();
        services.set_health("svc", "a", false).unwrap();
        services.set_health("svc", "a", true).unwrap();
        let after = services.handles().generations(handle);
        assert_eq!(after.ordinary, before.ordinary.next(), "one loss, counted once");
        assert_eq!(after.persistent, before.persistent);
    }

    #[test]
    fn a_pool_switch_voids_every_entry_where_draining_on_failover_is_disabled() {
        const DISABLED: &str = "failover_policy = { disable_connection_drain_on_failover = true }";
        for (policy, voids) in [("", false), (DISABLED, true)] {
            let mut services = started(policy);
            let handle = backend(&services, "c").handle;
            let before = services.handles().generations(handle);
            services.set_health("svc", "a", false).unwrap();
            assert_eq!(services.handles().generations(handle), before, "no switch yet");
            services.set_health("svc", "b", false).unwrap();
            assert_eq!(eligible_names(&services), ["c"]);
            assert_eq!(services.handles().generations(handle) != before, voids);
        }
    }

    #[test]
    fn a_removed_backend_drains_and_keeps_its_entries_if_it_comes_back_in_time() {
        const DRAINING: &str = "connection_draining = { draining_timeout_sec = 30 }";
        let (all, without_a) = (config(DRAINING, &[]), config(DRAINING, &["a"]));
        for (back_at, keeps) in [(39, true), (40, false)] {
            let mut services = started(DRAINING);
            let handle = backend(&services, "a").handle;
            let before = services.handles().generations(handle);
            services.configure(&without_a, Duration::from_secs(10), true);
            assert_eq!(backend(&services, "a").removed_at, Some(Duration::from_secs(10)));
            assert_eq!(eligible_names(&services), ["b"]);
            services.configure(&all, Duration::from_secs(back_at), true);
            assert_eq!(services.handles().generations(handle) == before, keeps, "back at {back_at} s");
            assert_eq!(eligible_names(&services), ["a", "b"]);
        }
    }

    #[test]
    fn without_draining_a_removal_voids_at_once() {
        let mut services = started("");
        let handle = backend(&services, "a").handle;
        let before = services.handles().generations(handle);
        services.configure(&config("", &["a"]), Duration::from_secs(10), true);
        assert_ne!(services.handles().generations(handle).persistent, before.persistent);
        assert!(services.get("svc").unwrap().backends().all(|backend| backend.endpoint.name != "a"));
    }

    #[test]
    fn a_reload_keeps_health_and_weight_unless_the_configured_weight_changed() {
        let mut services = started("");
        services.set_health("svc", "a", false).unwrap();
        services.set_weight("svc", "b", 7, WeightSource::Reported).unwrap();
        services.configure(&config("", &[]), Duration::from_secs(1), true);
        assert!(!backend(&services, "a").healthy);
        assert_eq!(backend(&services, "b").weight, 7);
        let mut changed = config("", &[]);
        changed.groups[0].endpoints[1].weight = 3;
        services.configure(&changed, Duration::from_secs(2), true);
        assert_eq!(backend(&services, "b").weight, 3);
    }

    #[test]
    fn configured_weights_replace_reported_ones_and_leave_an_operators() {
        let mut services = started("");
        services.set_weight("svc", "a", 7, WeightSource::Reported).unwrap();
        services.set_weight("svc", "b", 8, WeightSource::Operator).unwrap();
        let mut changed = config("", &[]);
        changed.services[0].configured_weights = true;
        services.configure(&changed, Duration::from_secs(1), true);
        let weight = |name| (backend(&services, name).weight, backend(&services, name).weight_source);
        assert_eq!(weight("a"), (1, WeightSource::Configured));
        assert_eq!(weight("b"), (8, WeightSource::Operator));
    }

    #[test]
    fn an_endpoint_under_another_address_is_the_same_backend() {
        let mut services = started("");
        let handle = backend(&services, "a").handle;
        let before = services.handles().generations(handle);
        let mut moved = config("", &[]);
        moved.groups[0].endpoints[0].address = "10.1.0.99".parse().unwrap();
        services.configure(&moved, Duration::from_secs(1), true);
        assert_eq!(backend(&services, "a").handle, handle);
        assert_eq!(backend(&services, "a").endpoint.address, moved.groups[0].endpoints[0].address);
        assert_eq!(services.handles().generations(handle), before);
    }

    #[test]
    fn unknown_names_change_nothing() {
        let mut services = started("");
        let error = services.set_health("svc", "z", false).unwrap_err();
        assert_eq!(error.to_string(), "backend service `svc` has no backend `z`");
        assert!(matches!(
            services.set_weight("no", "a", 1, WeightSource::Reported),
            Err(UnknownName::Service(_))
        ));
    }
}
