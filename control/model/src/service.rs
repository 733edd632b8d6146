//! The state of each backend service: who is configured or draining, health, weight, and which pool serves.
//!
//! Pure: events go in with their time, and what packets need to know of them comes out as generations, deadlines
//! and the set of eligible backends.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use guideway_dataplane::affinity::ServiceKey;
use guideway_dataplane::backend::BackendHandle;
use guideway_dataplane::delivery::DeliveryMode;
use guideway_dataplane::ingress::NetworkId;

use crate::backend_handles::{BackendHandles, identity};
use crate::config::{BackendService, Config, Endpoint, MacAddress, Network};
use crate::eligible::{Because, Candidate, Rules, choice};

/// States of all backend services.
#[derive(Clone, Debug, Default)]
pub struct Services {
    states: BTreeMap<String, ServiceState>,
    handles: BackendHandles,
    keys: u32,
}

/// State of one backend service.
#[derive(Clone, Debug)]
pub struct ServiceState {
    key: ServiceKey,
    network: NetworkId,
    /// By name, the draining ones too: a backend is known by its name, whatever its address.
    backends: BTreeMap<String, BackendState>,
    rules: Rules,
    draining_timeout: Duration,
    void_on_switch: bool,
    /// The pool that served last; `None` until some backend was eligible.
    pool: Option<Pool>,
    /// True while changes are in whose consequences for entries are not drawn yet.
    is_unsettled: bool,
    /// Number of configured backends that were healthy when the consequences were drawn last.
    healthy: u32,
    /// True if there ever was one.
    has_been_healthy: bool,
    /// Time before which no draining and no operator's drain ends; `None` where there is none.
    quiet_until: Option<Duration>,
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
    /// True where its ordinary entries are void because it is unhealthy while somebody healthy is eligible: so they are
    /// voided once, and not at every change.
    diverted: bool,
    /// True while an operator keeps new connections away from the backend.
    pub operator_drained: bool,
    /// Time at which the operator's drain ends the backend's entries; `None` while they hold without a limit.
    pub entries_end_at: Option<Duration>,
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

/// Name of a network that is not configured, or of a service or a backend that is neither configured nor draining.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnknownName {
    /// No network of this name.
    Network(String),
    /// No backend service of this name.
    Service(String),
    /// No backend of the second name in the service of the first.
    Backend(String, String),
}

impl std::fmt::Display for UnknownName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Network(network) => write!(f, "there is no network `{network}`"),
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
        let configured: HashSet<&str> = config.services.iter().map(|service| &*service.name).collect();
        // A service that comes to another network is another one: packets there must not meet its entries.
        let moves: HashSet<&str> = config
            .services
            .iter()
            .filter(|service| self.moves(service, config))
            .map(|service| &*service.name)
            .collect();
        let is_configured = |name: &String| configured.contains(&**name) && !moves.contains(&**name);
        for (_, state) in self.states.extract_if(.., |name, _| !is_configured(name)) {
            state.backends.into_values().for_each(|backend| self.handles.give_back(backend.handle));
        }
        let wanted: usize = config.services.iter().map(|service| service.endpoints(config).count()).sum();
        if self.handles.in_use() + wanted > BackendHandle::LIMIT as usize {
            self.end_draining();
        }
        for service in &config.services {
            if !self.states.contains_key(&service.name) {
                self.states
                    .insert(service.name.clone(), ServiceState::new(ServiceKey(self.keys), service, config));
                self.keys += 1;
            }
            if let Some(state) = self.states.get_mut(&service.name) {
                state.configure(config, service, now, healthy, &mut self.handles);
            }
        }
    }

    /// True for a service that is known in another network than the one that it has in `config`.
    fn moves(&self, service: &BackendService, config: &Config) -> bool {
        let known = self.states.get(&service.name);
        known.is_some_and(|state| state.network != config.networks[service.network].id)
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
        self.change(service, backend, |backend, _| backend.healthy = healthy)
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

    /// Keeps new connections away from a backend; its entries hold until `entries_end_at`, or until its health voids them.
    /// Without a time, they hold as long as an earlier drain says, or without a time limit.
    ///
    /// # Errors
    /// [`UnknownName`] where it is neither configured nor draining; nothing changes then.
    pub(crate) fn operator_drain(
        &mut self,
        service: &str,
        backend: &str,
        entries_end_at: Option<Duration>,
    ) -> Result<(), UnknownName> {
        self.change(service, backend, |backend, _| {
            backend.operator_drained = true;
            backend.entries_end_at = entries_end_at.or(backend.entries_end_at);
        })
    }

    /// Lets new connections come to a backend again; entries that a drain has ended by `now` stay void.
    ///
    /// # Errors
    /// [`UnknownName`] where it is neither configured nor draining; nothing changes then.
    pub(crate) fn operator_undrain(
        &mut self,
        service: &str,
        backend: &str,
        now: Duration,
    ) -> Result<(), UnknownName> {
        self.change(service, backend, |backend, handles| {
            backend.end_entries(handles, now);
            backend.operator_drained = false;
            backend.entries_end_at = None;
        })
    }

    /// Gives a backend its configured weight again.
    ///
    /// # Errors
    /// [`UnknownName`] where it is neither configured nor draining; nothing changes then.
    pub(crate) fn restore_weight(&mut self, service: &str, backend: &str) -> Result<(), UnknownName> {
        self.change(service, backend, |backend, _| {
            backend.weight = backend.endpoint.weight;
            backend.weight_source = WeightSource::Configured;
        })
    }

    /// Ends the draining of every backend, and the entries of every drained one, whose time is over at `now`; returns
    /// the names of their services.
    pub(crate) fn expire(&mut self, now: Duration) -> Vec<String> {
        let mut expired = Vec::new();
        // Asked ten times a second: services where nothing ends have no backend looked at.
        let due = |state: &ServiceState| state.quiet_until.is_some_and(|until| until <= now);
        for (name, state) in self.states.iter_mut().filter(|(_, state)| due(state)) {
            let timeout = state.draining_timeout;
            let mut ended = 0;
            for backend in state.backends.values_mut() {
                ended += usize::from(backend.end_entries(&mut self.handles, now));
            }
            let over = |_: &String, backend: &mut BackendState| {
                backend.removed_at.is_some_and(|removed| now >= removed + timeout)
            };
            let handles: Vec<_> =
                state.backends.extract_if(.., over).map(|(_, backend)| backend.handle).collect();
            if ended > 0 || !handles.is_empty() {
                handles.into_iter().for_each(|handle| self.handles.give_back(handle));
                expired.push(name.clone());
            }
            state.quiet_until = state.next_end();
        }
        expired
    }

    /// Draws the consequences for entries of all changes since the last time.
    pub(crate) fn settle(&mut self) {
        self.states.values_mut().for_each(|state| state.settle(&mut self.handles));
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
        let end = found.end(state.draining_timeout);
        state.quiet_until = state.quiet_until.into_iter().chain(end).min();
        state.is_unsettled = true;
        Ok(())
    }
}

impl ServiceState {
    fn new(key: ServiceKey, service: &BackendService, config: &Config) -> Self {
        Self {
            key,
            network: config.networks[service.network].id,
            backends: BTreeMap::new(),
            rules: rules(service),
            draining_timeout: Duration::ZERO,
            void_on_switch: false,
            pool: None,
            is_unsettled: true,
            healthy: 0,
            has_been_healthy: false,
            quiet_until: None,
        }
    }

    /// Key that tells the connections of the service from those of every other service there has been.
    pub fn key(&self) -> ServiceKey {
        self.key
    }

    /// Network that the packets of the service come from, and leave by.
    pub fn network(&self) -> NetworkId {
        self.network
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

    /// Number of configured backends that are healthy, as of the latest snapshot.
    pub fn healthy(&self) -> u32 {
        self.healthy
    }

    /// True if a configured backend has been healthy, as of some snapshot.
    pub fn has_been_healthy(&self) -> bool {
        self.has_been_healthy
    }

    /// Backends that may get new connections, by name.
    pub fn eligible(&self) -> Vec<&BackendState> {
        self.eligible_because().0
    }

    /// Backends that may get new connections, by name, and the clause that made them so.
    pub fn eligible_because(&self) -> (Vec<&BackendState>, Because) {
        let ready: Vec<_> = self.configured().filter(|backend| !backend.operator_drained).collect();
        let candidates: Vec<_> = ready.iter().map(|backend| backend.candidate()).collect();
        let chosen = choice(&candidates, self.rules);
        (chosen.indices.into_iter().map(|index| ready[index]).collect(), chosen.because)
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
        self.network = config.networks[service.network].id;
        self.rules = rules(service);
        self.draining_timeout = Duration::from_secs(service.draining_timeout_sec.into());
        self.void_on_switch = service.failover_policy.disable_connection_drain_on_failover;
        let mut left: BTreeMap<String, BackendState> = std::mem::take(&mut self.backends);
        for member in &service.members {
            let group = &config.groups[member.group];
            for endpoint in &group.endpoints {
                let known =
                    left.remove(&endpoint.name).filter(|known| self.keeps_entries(known, handles, now));
                let handle = known.as_ref().map_or_else(
                    || handles.take(identity(&service.name, &endpoint.name)),
                    |known| known.handle,
                );
                // A backend that comes back while it drains has the health that it had, and its weight anew.
                let kept = known.as_ref().filter(|known| known.removed_at.is_none());
                let keeps_weight = |kept: &&BackendState| {
                    let is_ours = service.configured_weights && kept.weight_source == WeightSource::Reported;
                    kept.endpoint.weight == endpoint.weight && !is_ours
                };
                let weight = kept.filter(keeps_weight);
                let backend = BackendState {
                    handle,
                    endpoint: endpoint.clone(),
                    delivery: group.delivery,
                    mtu: group.mtu,
                    network: Arc::clone(&config.networks[service.network]),
                    failover: member.failover,
                    healthy: known.as_ref().map_or(healthy, |known| known.healthy),
                    diverted: known.as_ref().is_some_and(|known| known.diverted),
                    weight: weight.map_or(endpoint.weight, |kept| kept.weight),
                    weight_source: weight.map_or(WeightSource::Configured, |kept| kept.weight_source),
                    operator_drained: kept.is_some_and(|kept| kept.operator_drained),
                    entries_end_at: kept.and_then(|kept| kept.entries_end_at),
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
        self.is_unsettled = true;
        self.quiet_until = self.next_end();
    }

    /// Earliest end of a draining or of an operator's drain.
    fn next_end(&self) -> Option<Duration> {
        self.backends.values().filter_map(|backend| backend.end(self.draining_timeout)).min()
    }

    /// True if the entries of a backend that was known before are still valid; gives its handle back if not.
    fn keeps_entries(&self, backend: &BackendState, handles: &mut BackendHandles, now: Duration) -> bool {
        let keeps = backend.removed_at.is_none_or(|removed| now < removed + self.draining_timeout);
        if !keeps {
            handles.give_back(backend.handle);
        }
        keeps
    }

    /// Draws the consequences for entries of all changes since the last time, as of one: judged is the state before them
    /// and the state after them, never one in between.
    fn settle(&mut self, handles: &mut BackendHandles) {
        if !std::mem::take(&mut self.is_unsettled) {
            return;
        }
        self.healthy = self.configured().filter(|backend| backend.healthy).count() as u32;
        self.has_been_healthy |= self.healthy > 0;
        let eligible = self.eligible();
        let pool = match eligible.first() {
            Some(serving) if serving.failover => Some(Pool::Failover),
            Some(_) => Some(Pool::Primary),
            None => None,
        };
        self.divert(eligible.iter().any(|backend| backend.healthy), handles);
        self.notice_pool(pool, handles);
    }

    /// Voids the ordinary entries of unhealthy backends where somebody healthy is there to divert them to. While there is
    /// nobody, nothing moves.
    fn divert(&mut self, to_somebody: bool, handles: &mut BackendHandles) {
        // Health has no say over the entries of removed backends.
        for backend in self.backends.values_mut().filter(|backend| backend.removed_at.is_none()) {
            let diverted = !backend.healthy && to_somebody;
            if diverted && !backend.diverted {
                handles.void_ordinary(backend.handle);
            }
            backend.diverted = diverted;
        }
    }

    /// Notices a switch between the pools, which by the service's policy voids all its entries.
    fn notice_pool(&mut self, pool: Option<Pool>, handles: &mut BackendHandles) {
        // While nobody is eligible, the pool that served last is the one to compare with.
        let Some(pool) = pool else { return };
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

    /// Time at which its draining, of so long, or the operator's drain ends; `None` where it is in neither.
    pub(crate) fn end(&self, draining_timeout: Duration) -> Option<Duration> {
        let drained = self.removed_at.map(|removed| removed + draining_timeout);
        drained.into_iter().chain(self.entries_end_at).min()
    }

    /// Voids the entries if the operator's drain ends them by `now`; true if it does.
    fn end_entries(&mut self, handles: &mut BackendHandles, now: Duration) -> bool {
        let over = self.entries_end_at.take_if(|end| *end <= now).is_some();
        if over {
            handles.void_all(self.handle);
        }
        over
    }

    fn candidate(&self) -> Candidate {
        Candidate { healthy: self.healthy, weight: self.weight, failover: self.failover }
    }
}

fn rules(service: &BackendService) -> Rules {
    Rules { weighted: service.weighted, failover: service.has_failover().then_some(service.failover_policy) }
}

#[cfg(test)]
mod tests;
