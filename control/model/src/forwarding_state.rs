//! The one owner of the forwarding state: configuration, services, compiler, names and traffic totals move together.
//!
//! ```text
//!  StateChange, several at once ──▶ ┌─────────────────┐ ──▶ Applied: what a configuration changes, names unknown
//!  time ──────────────────────────▶ │ ForwardingState │ ──▶ Snapshot, where anything has changed
//!  egress lookup ─────────────────▶ └─────────────────┘ ──▶ names, totals, lookup tables
//! ```
//!
//! The numbers of a snapshot (rules, services, backend handles) mean something only beside the names and the counters
//! of the same configuration. So nobody else holds a part of them, and no caller can take over a configuration in one
//! part and forget another.
//!
//! A snapshot is made apart from the changes: several sets of changes may go into one, and the host stack, which knows
//! the egress, has to hear of a new configuration in between.

mod name_history;
mod preparation;

use std::sync::Arc;
use std::time::Duration;

use guideway_dataplane::address::Address;
use guideway_dataplane::backend::BackendHandle;
use guideway_dataplane::conntrack::Census;
use guideway_dataplane::egress::PortId;
use guideway_dataplane::ingress::{Ingress, NetworkId};
use guideway_dataplane::snapshot::Snapshot;
use guideway_dataplane::traffic_counters::TrafficCounters;

use crate::compiler::{self, Compiler};
use crate::config::{Config, Conntrack, Network};
use crate::config_diff;
use crate::egress_lookup::{EgressLookup, WithPathMtus};
use crate::lookup_table_view::NamedTable;
use crate::names::Names;
use crate::network_numbers;
use crate::path_mtu::{PathMtu, PathMtus};
use crate::port_succession;
use crate::service::{Services, UnknownName, WeightSource};
use crate::traffic_totals::TrafficTotals;

use name_history::NameHistory;

pub use preparation::{Preparation, Prepared};

/// Configuration, services, names and totals, and the snapshots that they come to.
#[derive(Debug)]
pub struct ForwardingState {
    setup: Setup,
    config: Config,
    services: Services,
    compiler: Compiler,
    names: NameHistory,
    traffic_totals: TrafficTotals,
    path_mtus: PathMtus,
    ingress: Ingress,
    /// Counters of the numbering that is in force.
    traffic_counters: Arc<TrafficCounters>,
    /// Entries of backends in the conntrack table, which outlive every numbering.
    census: Census,
    configuration_generation: u64,
    snapshot_generation: u64,
}

/// Facts that hold for the whole life of a forwarding state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Number of workers that count traffic by rule and backend.
    pub workers: usize,
    /// Health of a backend that is new, until somebody says otherwise.
    pub presumed_healthy: bool,
    /// True where what a process sets up at its start stays for its life: a reload then leaves cores, devices, sockets and
    /// the size of the conntrack table as they were.
    pub starts_once: bool,
}

impl Setup {
    /// Setup of a state without an appliance around it: nobody counts, backends are healthy until an event says otherwise,
    /// and a configuration replaces the one before as a whole.
    pub const OFFLINE: Self = Self { workers: 0, presumed_healthy: true, starts_once: false };
}

/// One change to the forwarding state.
#[derive(Clone, Debug)]
pub enum StateChange {
    /// A whole configuration takes the place of the one before.
    Config(Box<Config>),
    /// A backend, configured or draining, has become healthy or unhealthy.
    Health {
        /// Name of the backend service.
        service: String,
        /// Name of the backend.
        backend: String,
        /// True if its health checks succeed from now on.
        healthy: bool,
    },
    /// A backend has reported a weight; a weight that an operator has set holds before it.
    ReportedWeight {
        /// Name of the backend service.
        service: String,
        /// Name of the backend.
        backend: String,
        /// Weight from now on.
        weight: u16,
    },
    /// An operator has set the weight of a backend, until the configured number changes.
    OperatorWeight {
        /// Name of the backend service.
        service: String,
        /// Name of the backend.
        backend: String,
        /// Weight from now on.
        weight: u16,
    },
    /// An operator gives a backend its configured weight again.
    ConfiguredWeight {
        /// Name of the backend service.
        service: String,
        /// Name of the backend.
        backend: String,
    },
    /// An operator keeps new connections away from a backend.
    OperatorDrain {
        /// Name of the backend service.
        service: String,
        /// Name of the backend.
        backend: String,
        /// Time at which the backend's entries end; without one, an earlier drain's holds.
        entries_end_at: Option<Duration>,
    },
    /// An operator lets new connections come to a backend again.
    OperatorUndrain {
        /// Name of the backend service.
        service: String,
        /// Name of the backend.
        backend: String,
    },
    /// The egress of backends may be another: a next hop is known, has changed, or is lost.
    Egress,
}

impl StateChange {
    /// Service that the change is of, if it is of one.
    pub fn service(&self) -> Option<&str> {
        match self {
            Self::Health { service, .. }
            | Self::ReportedWeight { service, .. }
            | Self::OperatorWeight { service, .. }
            | Self::ConfiguredWeight { service, .. }
            | Self::OperatorDrain { service, .. }
            | Self::OperatorUndrain { service, .. } => Some(service),
            Self::Config(_) | Self::Egress => None,
        }
    }

    /// True if probes make such changes, as often as backends flap.
    pub fn is_of_probe(&self) -> bool {
        matches!(self, Self::Health { .. } | Self::ReportedWeight { .. })
    }
}

/// Outcome of a set of changes.
#[derive(Debug, Default)]
pub struct Applied {
    /// Differences that new configurations of the set have made, in words.
    pub config: Vec<config_diff::Change>,
    /// Names that changes of the set gave and nobody has; those changes alone have changed nothing.
    pub unknown: Vec<UnknownName>,
}

impl Applied {
    /// The differences, where every name was known.
    ///
    /// # Errors
    /// The first name that nobody has.
    pub fn all_known(self) -> Result<Vec<config_diff::Change>, UnknownName> {
        match self.unknown.into_iter().next() {
            None => Ok(self.config),
            Some(unknown) => Err(unknown),
        }
    }
}

impl ForwardingState {
    /// The state at `now` of a configuration, which is the first.
    pub fn new(config: Config, setup: Setup, now: Duration) -> Self {
        let mut state = Self {
            setup,
            config,
            services: Services::default(),
            compiler: Compiler::default(),
            names: NameHistory::default(),
            traffic_totals: TrafficTotals::default(),
            path_mtus: PathMtus::default(),
            ingress: Ingress::default(),
            traffic_counters: Arc::default(),
            census: Census::of_all_handles(setup.workers),
            configuration_generation: 0,
            snapshot_generation: 0,
        };
        state.take_over(now);
        state
    }

    /// The state of a configuration without an appliance around it, at time zero.
    pub fn offline(config: Config) -> Self {
        Self::new(config, Setup::OFFLINE, Duration::ZERO)
    }

    /// Copy of the state to try changes on, with the same lookup tables and handles. It counts no traffic, and a backend that
    /// is new to it is healthy: what is asked is what comes of a change, not how long its first probes take.
    #[must_use]
    pub fn copied(&self) -> Self {
        Self {
            setup: Setup { workers: 0, presumed_healthy: true, ..self.setup },
            config: self.config.clone(),
            services: self.services.clone(),
            compiler: self.compiler.clone(),
            names: self.names.clone(),
            traffic_totals: TrafficTotals::default(),
            path_mtus: self.path_mtus.clone(),
            ingress: self.ingress.clone(),
            traffic_counters: Arc::clone(&self.traffic_counters),
            census: Census::of_all_handles(0),
            configuration_generation: self.configuration_generation,
            snapshot_generation: self.snapshot_generation,
        }
    }

    /// Takes in a set of changes that happen at `now`, in their order.
    pub fn apply(&mut self, changes: impl IntoIterator<Item = StateChange>, now: Duration) -> Applied {
        let mut applied = Applied::default();
        for change in changes {
            match self.apply_one(change, now) {
                Ok(mut config) => applied.config.append(&mut config),
                Err(unknown) => applied.unknown.push(unknown),
            }
        }
        applied
    }

    /// Ends the draining of every backend, and the entries of every drained one, whose time is over at `now`; true where
    /// there was one.
    pub fn expire(&mut self, now: Duration) -> bool {
        let expired = self.services.expire(now);
        expired.iter().for_each(|service| self.compiler.mark_service(service));
        !expired.is_empty()
    }

    /// Has the next snapshot look the egress of every backend up again.
    pub fn egress_changed(&mut self) {
        self.compiler.mark_egress();
    }

    /// Takes in a frame of a network that was passed and may hold an ICMP error about a tunnel packet. Returns the endpoint
    /// whose path MTU is lower from now on, if there is one.
    pub fn take_in_tunnel_error(
        &mut self,
        network: NetworkId,
        frame: &[u8],
        now: Duration,
    ) -> Option<(Address, PathMtu)> {
        let lowered = self.path_mtus.take_in(network, frame, &self.services, now);
        if lowered.is_some() {
            self.compiler.mark_egress();
        }
        lowered
    }

    /// Forgets the path MTUs that were learnt too long before `now`.
    pub fn expire_path_mtus(&mut self, now: Duration) {
        if self.path_mtus.expire(now) {
            self.compiler.mark_egress();
        }
    }

    /// Path MTUs that were learnt, and endpoints that tunnel packets did not reach.
    pub fn path_mtus(&self) -> &PathMtus {
        &self.path_mtus
    }

    /// True where anything has changed since the last snapshot.
    pub fn is_stale(&self) -> bool {
        self.compiler.is_stale()
    }

    /// Snapshot of the state. Its backends are reached as `egress_lookup` says: those of services that have changed, and
    /// after a [`StateChange::Egress`] all of them.
    ///
    /// All changes since the snapshot before are one: what they void is judged by the state before and after them. Only
    /// what they concern is made anew; the rest is that of the snapshot before.
    pub fn snapshot(&mut self, egress_lookup: &impl EgressLookup) -> Snapshot {
        self.snapshot_of(egress_lookup, |_| true)
    }

    /// Draws the consequences of the changes of this instant, whether or not a snapshot follows at once: a backend that is well
    /// again before the next one has lost its connections all the same.
    pub fn settle(&mut self) {
        self.services.settle();
    }

    /// Snapshot as [`Self::snapshot`] makes it, in which services that have changed and that are not `wanted` are those of the
    /// snapshot before: they stay stale, for a later one. A new configuration takes all.
    pub fn snapshot_of(
        &mut self,
        egress_lookup: &impl EgressLookup,
        wanted: impl Fn(&str) -> bool,
    ) -> Snapshot {
        self.services.settle();
        self.snapshot_generation += 1;
        self.compiler.compile(
            self.snapshot_generation,
            &self.config,
            &self.ingress,
            &self.services,
            &WithPathMtus { egress_lookup, path_mtus: &self.path_mtus },
            &self.traffic_counters,
            wanted,
        )
    }

    /// Services that have changed since the last snapshot; [`None`] where everything has.
    pub fn stale_services(&self) -> Option<impl Iterator<Item = &str>> {
        self.compiler.stale_services()
    }

    /// True if a service has changed since the last snapshot.
    pub fn is_service_stale(&self, service: &str) -> bool {
        self.compiler.is_service_stale(service)
    }

    /// True if the egress of backends may have changed since the last snapshot.
    pub fn is_egress_stale(&self) -> bool {
        self.compiler.is_egress_stale()
    }

    /// Takes a sample of the traffic of rules and backends, if one is due at `now`.
    pub fn sample_traffic(&mut self, now: Duration) {
        self.traffic_totals.sample(now);
    }

    /// Frees the counters that no snapshot uses any more; their sums are kept.
    pub fn close_unused_counters(&mut self) {
        self.traffic_totals.close_unused();
    }

    /// Network of a frame that came by a port; `None` if it is of no network.
    pub fn network_of(&self, port: PortId, frame: &[u8]) -> Option<NetworkId> {
        self.ingress.network_of(port, frame)
    }

    /// Network of this name; the first without a name.
    ///
    /// # Errors
    /// [`UnknownName`] where there is none.
    pub fn network_named(&self, name: Option<&str>) -> Result<NetworkId, UnknownName> {
        let found = self.config.network_named(name);
        found.map(|network| network.id).ok_or_else(|| UnknownName::Network(name.unwrap_or("").to_owned()))
    }

    /// Name of a network; `None` where the appliance is in one network alone, which needs no word.
    pub fn network_name(&self, network: NetworkId) -> Option<&str> {
        let several = Some(&self.config).filter(|config| config.has_several_networks())?;
        several.networks.iter().find(|known| known.id == network).map(|network| network.name.as_str())
    }

    /// Configuration that is in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// State of the backend services.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// Lookup tables of the last snapshot, by service.
    pub fn lookup_tables(&self) -> impl Iterator<Item = NamedTable<'_>> {
        self.compiler.lookup_tables()
    }

    /// Names behind the numbers of the snapshots from now on.
    pub fn names(&self) -> &Arc<Names> {
        self.names.current()
    }

    /// Names behind the numbers of the snapshot of this generation; `None` where nobody knows them any more. Those
    /// before the latest configuration are known.
    pub fn names_of(&self, generation: u64) -> Option<&Names> {
        self.names.of(generation)
    }

    /// Traffic of rules and backends since the start and in the last minutes, by name.
    pub fn traffic_totals(&self) -> &TrafficTotals {
        &self.traffic_totals
    }

    /// Number of entries that a backend has in the conntrack table, but for those that events have voided; entries that are
    /// void for their age are among them until they are swept.
    pub fn tracked(&self, backend: BackendHandle) -> u64 {
        let generations = self.services.handles().generations(backend);
        self.census.entries(backend, generations.ordinary, generations.persistent)
    }

    /// Number of configurations that were taken over, the first one too.
    pub fn configuration_generation(&self) -> u64 {
        self.configuration_generation
    }

    /// Number of the latest snapshot.
    pub fn snapshot_generation(&self) -> u64 {
        self.snapshot_generation
    }

    fn apply_one(
        &mut self,
        change: StateChange,
        now: Duration,
    ) -> Result<Vec<config_diff::Change>, UnknownName> {
        let service = match change {
            StateChange::Config(config) => return Ok(self.reload(*config, now)),
            StateChange::Egress => {
                self.compiler.mark_egress();
                return Ok(Vec::new());
            }
            StateChange::Health { service, backend, healthy } => {
                self.services.set_health(&service, &backend, healthy)?;
                service
            }
            StateChange::ReportedWeight { service, backend, weight } => {
                if self.services.weight_source(&service, &backend)? == WeightSource::Operator {
                    return Ok(Vec::new());
                }
                self.services.set_weight(&service, &backend, weight, WeightSource::Reported)?;
                service
            }
            StateChange::OperatorWeight { service, backend, weight } => {
                self.services.set_weight(&service, &backend, weight, WeightSource::Operator)?;
                service
            }
            StateChange::ConfiguredWeight { service, backend } => {
                self.services.restore_weight(&service, &backend)?;
                service
            }
            StateChange::OperatorDrain { service, backend, entries_end_at } => {
                self.services.operator_drain(&service, &backend, entries_end_at)?;
                service
            }
            StateChange::OperatorUndrain { service, backend } => {
                self.services.operator_undrain(&service, &backend, now)?;
                service
            }
        };
        self.compiler.mark_service(&service);
        Ok(Vec::new())
    }

    /// Takes over another configuration, but for what holds from the start, and returns the differences.
    fn reload(&mut self, config: Config, now: Duration) -> Vec<config_diff::Change> {
        let changes = config_diff::changes(&self.config, &config);
        self.config = self.taken_over(config);
        let networks = &self.config.networks;
        self.path_mtus.retain(|network| networks.iter().any(|known| known.id == network));
        self.take_over(now);
        changes
    }

    /// Configuration that would be in force after a reload of `config`: without what holds from the start.
    fn taken_over(&self, config: Config) -> Config {
        let before = &self.config;
        let networks = network_numbers::numbered(&before.networks, &config.networks);
        let config = Config { networks, ..config };
        if !self.setup.starts_once {
            return config;
        }
        Config {
            engine: before.engine.clone(),
            networks: on_ports_of(before, &config),
            ports: port_succession::readdressed(&before.ports, &config.ports),
            admin: before.admin.clone(),
            metrics: before.metrics.clone(),
            conntrack: Conntrack { max_entries: before.conntrack.max_entries, ..config.conntrack },
            ..config
        }
    }

    /// True if a reload of `config` would put in force what is in force already.
    pub fn is_in_force(&self, config: &Config) -> bool {
        self.taken_over(config.clone()) == self.config
    }

    fn take_over(&mut self, now: Duration) {
        self.configuration_generation += 1;
        self.services.configure(&self.config, now, self.setup.presumed_healthy);
        self.compiler.set_config(&self.config);
        self.ingress = compiler::ingress(&self.config);
        let names = Arc::new(Names::new(&self.config, &self.services));
        self.traffic_counters = self.traffic_totals.open(Arc::clone(&names), &self.census);
        // Until the next snapshot is made, none has the new names.
        self.names.replace(names, self.snapshot_generation + 1);
    }
}

/// Networks of a new configuration on the ports of the one before, which stay; one whose port is new is on none of them.
fn on_ports_of(before: &Config, config: &Config) -> Vec<Arc<Network>> {
    let predecessors = port_succession::predecessors(&before.ports, &config.ports);
    let port_before = |port: usize| match predecessors.get(port) {
        Some(predecessor) => *predecessor,
        // A configuration without ports, as of a replay, has the first all the same.
        None => before.ports.get(port).is_none().then_some(port),
    };
    let kept = |network: &Arc<Network>| match network.port {
        Some(port) if port_before(port) != Some(port) => {
            let port = Some(port_before(port).unwrap_or(Network::NO_PORT));
            Arc::new(Network { port, ..(**network).clone() })
        }
        _ => Arc::clone(network),
    };
    config.networks.iter().map(kept).collect()
}

#[cfg(test)]
mod tests;
