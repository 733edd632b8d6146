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

use std::sync::Arc;
use std::time::Duration;

use guideway_dataplane::address::Address;
use guideway_dataplane::snapshot::Snapshot;
use guideway_dataplane::traffic_counters::TrafficCounters;

use crate::compiler::Compiler;
use crate::config::Config;
use crate::config_diff;
use crate::egress_lookup::{EgressLookup, WithPathMtus};
use crate::lookup_table_view::NamedTable;
use crate::names::Names;
use crate::path_mtu::{PathMtu, PathMtus};
use crate::service::{Services, UnknownName, WeightSource};
use crate::traffic_totals::TrafficTotals;

use name_history::NameHistory;

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
    /// Counters of the numbering that is in force.
    traffic_counters: Arc<TrafficCounters>,
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
}

impl Setup {
    /// Setup of a state without an appliance around it: nobody counts, and backends are healthy until an event says
    /// otherwise.
    pub const OFFLINE: Self = Self { workers: 0, presumed_healthy: true };
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
    /// An operator keeps new connections away from a backend, or lets them come again.
    OperatorDrain {
        /// Name of the backend service.
        service: String,
        /// Name of the backend.
        backend: String,
        /// True while new connections are kept away.
        drained: bool,
    },
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
            traffic_counters: Arc::default(),
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

    /// Ends the draining of every backend whose time is over at `now`; true where there was one.
    pub fn expire(&mut self, now: Duration) -> bool {
        let expired = self.services.expire(now);
        expired.iter().for_each(|service| self.compiler.mark_service(service));
        !expired.is_empty()
    }

    /// Has the next snapshot look the egress of every backend up again.
    pub fn egress_changed(&mut self) {
        self.compiler.mark_egress();
    }

    /// Takes in a frame that was passed and may hold an ICMP error about a tunnel packet. Returns the endpoint whose path
    /// MTU is lower from now on, if there is one.
    pub fn take_in_tunnel_error(&mut self, frame: &[u8], now: Duration) -> Option<(Address, PathMtu)> {
        let lowered = self.path_mtus.take_in(frame, &self.services, now);
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

    /// Snapshot of the state, whose backends are reached as `egress_lookup` says.
    ///
    /// Only what a change concerns is made anew; the rest is that of the snapshot before.
    pub fn snapshot(&mut self, egress_lookup: &impl EgressLookup) -> Snapshot {
        self.snapshot_generation += 1;
        self.compiler.compile(
            self.snapshot_generation,
            &self.config,
            &self.services,
            &WithPathMtus { egress_lookup, path_mtus: &self.path_mtus },
            &self.traffic_counters,
        )
    }

    /// Frees the counters that no snapshot uses any more; their sums are kept.
    pub fn close_unused_counters(&mut self) {
        self.traffic_totals.close_unused();
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

    /// Packets and bytes of rules and backends since the start, by name.
    pub fn traffic_totals(&self) -> &TrafficTotals {
        &self.traffic_totals
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
            StateChange::OperatorDrain { service, backend, drained } => {
                self.services.set_operator_drain(&service, &backend, drained)?;
                service
            }
        };
        self.compiler.mark_service(&service);
        Ok(Vec::new())
    }

    /// Takes over another configuration but for what holds from the start, and returns the differences.
    fn reload(&mut self, config: Config, now: Duration) -> Vec<config_diff::Change> {
        let changes = config_diff::changes(&self.config, &config);
        let before = &self.config;
        self.config = Config {
            engine: before.engine.clone(),
            ports: before.ports.clone(),
            admin: before.admin.clone(),
            metrics: before.metrics,
            conntrack: before.conntrack,
            ..config
        };
        self.take_over(now);
        changes
    }

    fn take_over(&mut self, now: Duration) {
        self.configuration_generation += 1;
        self.services.configure(&self.config, now, self.setup.presumed_healthy);
        self.compiler.set_config(&self.config);
        let names = Arc::new(Names::new(&self.config, &self.services));
        self.traffic_counters = self.traffic_totals.open(Arc::clone(&names), self.setup.workers);
        // Until the next snapshot is made, none has the new names.
        self.names.replace(names, self.snapshot_generation + 1);
    }
}

#[cfg(test)]
mod tests {
    use guideway_dataplane::backend::BackendHandle;
    use guideway_dataplane::frame::Frame;
    use guideway_dataplane::packet::Packet;
    use guideway_engine::mbuf::Mbuf;

    use super::*;
    use crate::egress_lookup::StandInMacs;
    use crate::sample::sample;

    fn config(network: &str, group: &str) -> Config {
        let service =
            "backends = [{ group = \"group\" }]\nconnection_draining = { draining_timeout_sec = 30 }";
        sample(network, service, &format!("[[backend_group]]\nname = \"group\"\n{group}"))
    }

    /// Two services, `one` with backend `a` and `two` with backend `b`.
    fn two_services() -> Config {
        let service = |name: &str, host: u8, backend: &str| {
            format!(
                "[[forwarding_rule]]\nname = \"{name}\"\nip_address = \"203.0.113.{host}\"\nip_protocol = \"TCP\"\n\
                 all_ports = true\nbackend_service = \"{name}\"\n[[backend_service]]\nname = \"{name}\"\n\
                 health_checks = [\"hc\"]\nbackends = [{{ group = \"{name}\" }}]\n[[backend_group]]\nname = \"{name}\"\n\
                 endpoints = [{{ name = \"{backend}\", ip_address = \"10.1.0.{host}\" }}]\n"
            )
        };
        let check = "[[health_check]]\nname = \"hc\"\ntype = \"TCP\"\nport = 80\n";
        let text = format!("{check}{}{}", service("one", 1, "a"), service("two", 2, "b"));
        Config::parse("test", &text).unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn handle(state: &ForwardingState, service: &str) -> BackendHandle {
        state.services().get(service).unwrap().backends().next().unwrap().handle
    }

    fn health(service: &str, backend: &str, healthy: bool) -> StateChange {
        StateChange::Health { service: service.to_owned(), backend: backend.to_owned(), healthy }
    }

    /// An egress lookup that counts the questions for each address.
    #[derive(Default)]
    struct Counting(std::cell::RefCell<Vec<String>>);

    impl EgressLookup for Counting {
        fn egress(&self, destination: Address) -> guideway_dataplane::egress::Egress {
            self.0.borrow_mut().push(std::net::IpAddr::from(destination).to_string());
            StandInMacs.egress(destination)
        }
    }

    /// A reload takes the appliance's own address away while a backend drains behind a tunnel.
    #[test]
    fn a_draining_backend_keeps_the_tunnel_that_it_was_reached_by() {
        let before = config(
            "[network]\nipv4_address = \"192.0.2.1\"",
            "delivery = \"ipip\"\nendpoints = [{ name = \"a\", ip_address = \"10.1.0.1\" }]",
        );
        let after = config("", "endpoints = [{ name = \"b\", ip_address = \"10.1.0.2\" }]");
        let mut state = ForwardingState::offline(before);
        let draining = handle(&state, "svc");
        state.apply([StateChange::Config(Box::new(after))], Duration::from_secs(1));
        let snapshot = state.snapshot(&StandInMacs);

        let packet =
            pcap_fixtures::packet::Packet::between("198.51.100.7", "203.0.113.10").tcp(40_000, 443, 0x10);
        let mut frame = Mbuf::new();
        frame.fill(&packet.build());
        let parsed = Packet::parse(frame.bytes()).unwrap();
        snapshot.backend(draining).unwrap().delivery.deliver(&mut frame, &parsed, &parsed.flow).unwrap();
        assert_eq!(frame.bytes()[26..34], [192, 0, 2, 1, 10, 1, 0, 1], "the outer source and destination");
    }

    #[test]
    fn tables_and_rules_that_a_change_leaves_alone_are_shared_between_snapshots() {
        let config = config("", "endpoints = [{ name = \"a\", ip_address = \"10.1.0.1\" }]");
        let mut state = ForwardingState::offline(config);
        let first = state.snapshot(&StandInMacs);
        let (service, backend) = ("svc".to_owned(), "a".to_owned());
        state.apply([StateChange::ReportedWeight { service, backend, weight: 7 }], Duration::ZERO);
        let second = state.snapshot(&StandInMacs);
        assert!(Arc::ptr_eq(&first.rules, &second.rules));
        assert!(
            Arc::ptr_eq(&first.services[0].eligible, &second.services[0].eligible),
            "weights are not in use"
        );
        assert_eq!(second.generation, first.generation + 1);
    }

    #[test]
    fn a_change_remakes_its_own_service_alone() {
        let mut state = ForwardingState::offline(two_services());
        state.snapshot(&StandInMacs);
        assert!(!state.is_stale());
        state.apply([health("two", "b", false)], Duration::ZERO);
        assert!(state.is_stale());
        let asked = Counting::default();
        let snapshot = state.snapshot(&asked);
        assert_eq!(asked.0.take(), ["10.1.0.2"], "the delivery of the other service's backend stays");
        assert!(snapshot.backend(handle(&state, "one")).is_some());
        assert!(snapshot.backend(handle(&state, "two")).unwrap().serves, "as a last resort");
        assert!(!state.is_stale());
    }

    #[test]
    fn a_changed_egress_reaches_every_delivery_and_no_lookup_table() {
        let mut state = ForwardingState::offline(two_services());
        let before = state.snapshot(&NoEgress);
        state.egress_changed();
        let after = state.snapshot(&StandInMacs);
        for service in ["one", "two"] {
            let backend = handle(&state, service);
            let next_hop =
                |snapshot: &Snapshot| snapshot.backend(backend).unwrap().delivery.egress().next_hop;
            assert_eq!(next_hop(&before), None);
            assert!(next_hop(&after).is_some());
        }
        for (before, after) in before.services.iter().zip(&after.services) {
            assert!(Arc::ptr_eq(&before.eligible, &after.eligible));
        }
    }

    /// An egress lookup that knows no next hop yet.
    struct NoEgress;

    impl EgressLookup for NoEgress {
        fn egress(&self, destination: Address) -> guideway_dataplane::egress::Egress {
            guideway_dataplane::egress::Egress { next_hop: None, ..StandInMacs.egress(destination) }
        }
    }

    #[test]
    fn a_set_of_changes_is_one_snapshot_and_unknown_names_spoil_none_of_the_others() {
        let mut state = ForwardingState::offline(two_services());
        state.snapshot(&StandInMacs);
        let drain =
            StateChange::OperatorDrain { service: "one".to_owned(), backend: "a".to_owned(), drained: true };
        let applied =
            state.apply([health("one", "z", false), drain, health("two", "b", false)], Duration::ZERO);
        assert_eq!(applied.unknown, [UnknownName::Backend("one".to_owned(), "z".to_owned())]);
        let snapshot = state.snapshot(&StandInMacs);
        assert_eq!(snapshot.generation, 2);
        assert!(snapshot.services[0].eligible.table.is_empty(), "the drained backend was the only one");
        assert!(!state.services().get("two").unwrap().backends().next().unwrap().healthy);
    }

    #[test]
    fn a_reported_weight_yields_to_that_of_an_operator() {
        let mut state = ForwardingState::offline(two_services());
        let names = || ("one".to_owned(), "a".to_owned());
        let weight =
            |state: &ForwardingState| state.services().get("one").unwrap().backends().next().unwrap().weight;
        let (service, backend) = names();
        state.apply([StateChange::OperatorWeight { service, backend, weight: 3 }], Duration::ZERO);
        let (service, backend) = names();
        state.apply([StateChange::ReportedWeight { service, backend, weight: 7 }], Duration::ZERO);
        assert_eq!(weight(&state), 3);
    }

    /// A backend that has drained gives its handle back, and no snapshot has it any more.
    #[test]
    fn an_expired_backend_leaves_the_next_snapshot() {
        let group = |name: &str, host: u8| {
            format!("endpoints = [{{ name = \"{name}\", ip_address = \"10.1.0.{host}\" }}]")
        };
        let mut state = ForwardingState::offline(config("", &group("a", 1)));
        let draining = handle(&state, "svc");
        let after = config("", &group("b", 2));
        state.apply([StateChange::Config(Box::new(after))], Duration::from_secs(1));
        assert!(state.snapshot(&StandInMacs).backend(draining).is_some());
        assert!(!state.expire(Duration::from_secs(30)));
        assert!(state.expire(Duration::from_secs(31)));
        assert!(state.snapshot(&StandInMacs).backend(draining).is_none());
    }

    #[test]
    fn names_of_the_configuration_before_are_known_and_no_older_ones() {
        let named = |name: &str| {
            config("", &format!("endpoints = [{{ name = \"{name}\", ip_address = \"10.1.0.1\" }}]"))
        };
        let mut state = ForwardingState::offline(named("a"));
        let mut generations = vec![state.snapshot(&StandInMacs).generation];
        for name in ["b", "c"] {
            state.apply([StateChange::Config(Box::new(named(name)))], Duration::ZERO);
            generations.push(state.snapshot(&StandInMacs).generation);
        }
        let knows = |generation: &u64, name: &str| {
            let names = state.names_of(*generation);
            names.is_some_and(|names| names.backends().any(|(_, _, backend)| &**backend == name))
        };
        assert!(state.names_of(generations[0]).is_none());
        assert!(knows(&generations[1], "b"));
        assert!(knows(&generations[2], "c"));
    }
}
