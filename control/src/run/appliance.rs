//! The live appliance as the control thread has it: configuration, state and neighbours in, snapshots out.
//!
//! No I/O and no clock: frames, changes and times are arguments, and what changes is published to the workers.

mod links;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use guideway_dataplane::address::Address;
use guideway_dataplane::egress::PortId;
use guideway_dataplane::snapshot::Snapshot;
use guideway_engine::publish::{Feed, Publisher};
use guideway_model::compiler::Compiler;
use guideway_model::config::{Config, NeighborReplies};
use guideway_model::config_diff::{self, Change};
use guideway_model::names::Names;
use guideway_model::service::{Services, UnknownName, WeightSource};
use guideway_model::traffic_totals::TrafficTotals;

use crate::net::host_stack::{Answers, Conflict, FrameKind, HostStack, NextHop, Outgoing, Rates, Vip};

pub use links::Nic;

/// The live appliance.
#[derive(Debug)]
pub struct Appliance {
    config: Config,
    /// How many configurations it has taken over, the first one too.
    configuration_generation: u64,
    snapshot_generation: u64,
    services: Services,
    compiler: Compiler,
    names: Arc<Names>,
    /// The generation of the first snapshot that has these names.
    named_from: u64,
    /// The names before these, and their first generation.
    former: Option<(u64, Arc<Names>)>,
    traffic_totals: TrafficTotals,
    publisher: Publisher<Snapshot>,
    host: HostStack,
    /// By port.
    nics: Vec<Nic>,
    /// The next hops that are being resolved.
    watched: BTreeSet<NextHop>,
    /// Next hops that found no room among the watched.
    unwatched: usize,
    /// How often another host claimed an address of the appliance.
    conflicts: BTreeMap<Address, u64>,
    presumed_healthy: bool,
    workers: usize,
    /// The workers have not seen the latest state yet.
    is_stale: bool,
}

impl Appliance {
    /// An appliance of so many workers, on ports with these devices, in the order of the configuration.
    ///
    /// Backends that are new, now or after a reload, count as `healthy` or not until somebody says otherwise.
    pub fn new(config: Config, nics: &[Nic], workers: usize, healthy: bool, now: Duration) -> Self {
        let host = HostStack::new(links::links(&config, nics), &vips(&config), Rates::default());
        let mut appliance = Self {
            config,
            configuration_generation: 0,
            snapshot_generation: 0,
            services: Services::default(),
            compiler: Compiler::default(),
            names: Arc::default(),
            named_from: 0,
            former: None,
            traffic_totals: TrafficTotals::default(),
            publisher: Publisher::new(Snapshot::default()),
            host,
            nics: nics.to_vec(),
            watched: BTreeSet::new(),
            unwatched: 0,
            conflicts: BTreeMap::new(),
            presumed_healthy: healthy,
            workers,
            is_stale: true,
        };
        appliance.take_over(now);
        appliance.host.announce_all(now);
        appliance.publish();
        appliance
    }

    /// Where workers get their snapshots.
    pub fn feed(&self) -> Feed<Snapshot> {
        self.publisher.feed()
    }

    /// Takes over another configuration, and says what it changes.
    ///
    /// What holds from the start stays as it is, and is among the changes as what takes a restart.
    pub fn reload(&mut self, config: Config, now: Duration) -> Vec<Change> {
        let changes = config_diff::changes(&self.config, &config);
        let own = |config: &Config| {
            let network = &config.network;
            (network.ipv4_address, network.ipv6_address, network.mac_address)
        };
        let own_changed = own(&self.config) != own(&config);
        self.config = Config {
            engine: self.config.engine.clone(),
            ports: self.config.ports.clone(),
            admin: self.config.admin.clone(),
            metrics: self.config.metrics,
            conntrack: self.config.conntrack,
            ..config
        };
        let known: BTreeSet<Address> = self.host.vips().map(|(vip, _)| vip.address).collect();
        let vips = vips(&self.config);
        self.host.set_links(links::links(&self.config, &self.nics), &vips);
        for vip in vips.iter().filter(|vip| vip.answers == Answers::Always && !known.contains(&vip.address)) {
            // A VIP that is an address of the appliance itself was announced at the start.
            let _ = self.host.announce(vip.address, now);
        }
        if own_changed {
            self.host.announce_all(now);
        }
        self.take_over(now);
        self.publish();
        changes
    }

    /// Keeps new connections away from a backend, or lets them come again.
    ///
    /// # Errors
    /// [`UnknownName`] where there is no such backend.
    pub fn set_operator_drain(
        &mut self,
        service: &str,
        backend: &str,
        operator_drained: bool,
    ) -> Result<(), UnknownName> {
        self.services.set_operator_drain(service, backend, operator_drained)?;
        self.is_stale = true;
        Ok(())
    }

    /// Sets the weight of a backend.
    ///
    /// # Errors
    /// [`UnknownName`] where there is no such backend.
    pub fn set_weight(&mut self, service: &str, backend: &str, weight: u16) -> Result<(), UnknownName> {
        self.services.set_weight(service, backend, weight, WeightSource::Operator)?;
        self.is_stale = true;
        Ok(())
    }

    /// Notes the health of a backend.
    ///
    /// # Errors
    /// [`UnknownName`] where there is no such backend.
    pub fn set_health(&mut self, service: &str, backend: &str, healthy: bool) -> Result<(), UnknownName> {
        self.services.set_health(service, backend, healthy)?;
        self.is_stale = true;
        Ok(())
    }

    /// Notes the weight that a backend's probes come to; that of an operator holds before it.
    ///
    /// # Errors
    /// [`UnknownName`] where there is no such backend.
    pub fn report_weight(&mut self, service: &str, backend: &str, weight: u16) -> Result<(), UnknownName> {
        let state = self.services.get(service);
        let known = state.and_then(|state| state.backends().find(|known| known.endpoint.name == backend));
        if known.is_some_and(|known| known.weight_source == WeightSource::Operator) {
            return Ok(());
        }
        self.services.set_weight(service, backend, weight, WeightSource::Reported)?;
        self.is_stale = true;
        Ok(())
    }

    /// Takes in a frame that a worker has passed on.
    pub fn handle(&mut self, port: PortId, frame: &[u8], now: Duration) -> FrameKind {
        let kind = self.host.handle(port, frame, now);
        if kind == FrameKind::AddressConflict
            && let Some(conflict) = self.host.last_conflict()
        {
            *self.conflicts.entry(conflict.address).or_default() += 1;
        }
        kind
    }

    /// The latest claim of another host to one of the appliance's addresses, where that is the first to this address.
    pub fn new_conflict(&self) -> Option<Conflict> {
        self.host.last_conflict().filter(|conflict| self.conflicts(conflict.address) == 1)
    }

    /// Does what is due at `now`, and publishes what has changed.
    pub fn poll(&mut self, now: Duration) {
        self.host.poll(now);
        self.is_stale |= !self.host.events().is_empty();
        self.publish_changes();
    }

    /// Publishes what has changed since the latest snapshot, if anything has.
    pub fn publish_changes(&mut self) {
        if self.is_stale {
            self.publish();
        }
    }

    /// Does what is due every now and then: ends what has drained, frees what no worker reads any more.
    pub fn tidy(&mut self, now: Duration) {
        if self.services.expire(now) {
            self.watch(now);
            self.is_stale = true;
        }
        self.publisher.reclaim();
        self.traffic_totals.close_unused();
    }

    /// The next frame that the appliance sends on its own behalf.
    pub fn transmit(&mut self) -> Option<Outgoing> {
        self.host.transmit()
    }

    /// The appliance as a host on its links.
    pub fn host(&self) -> &HostStack {
        &self.host
    }

    /// The same, to announce and withdraw VIPs.
    pub fn host_mut(&mut self) -> &mut HostStack {
        &mut self.host
    }

    /// The configuration that is in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The state of the services.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// The lookup tables, and who made them.
    pub fn compiler(&self) -> &Compiler {
        &self.compiler
    }

    /// The names behind the numbers of decisions.
    pub fn names(&self) -> &Arc<Names> {
        &self.names
    }

    /// The names behind the numbers of a decision by the snapshot of this generation; `None` where nobody
    /// knows them any more. Those before the latest reload are known.
    pub fn names_of(&self, generation: u64) -> Option<&Names> {
        if generation >= self.named_from {
            return Some(&self.names);
        }
        let (from, former) = self.former.as_ref()?;
        (generation >= *from).then_some(former)
    }

    /// What went through rules and to backends.
    pub fn traffic_totals(&self) -> &TrafficTotals {
        &self.traffic_totals
    }

    /// How many configurations were taken over, the first one too.
    pub fn configuration_generation(&self) -> u64 {
        self.configuration_generation
    }

    /// The number of the snapshot that workers forward by.
    pub fn snapshot_generation(&self) -> u64 {
        self.snapshot_generation
    }

    /// How many replaced snapshots are not freed yet.
    pub fn unreclaimed_snapshots(&self) -> usize {
        self.publisher.unreclaimed()
    }

    /// How often another host claimed an address that the appliance answers for.
    pub fn conflicts(&self, address: Address) -> u64 {
        self.conflicts.get(&address).copied().unwrap_or(0)
    }

    /// How many next hops are asked for and not known, those included that there is no room to ask for.
    pub fn unresolved_next_hops(&self) -> usize {
        let unknown = self.watched.iter().filter(|next_hop| self.host.mac(**next_hop).is_none());
        unknown.count() + self.unwatched
    }

    fn take_over(&mut self, now: Duration) {
        self.configuration_generation += 1;
        self.services.configure(&self.config, now, self.presumed_healthy);
        self.compiler.set_config(&self.config);
        let names = Arc::new(Names::new(&self.config, &self.services));
        let former = std::mem::replace(&mut self.names, names);
        // Until the next snapshot is made, none has the new names.
        self.former = Some((std::mem::replace(&mut self.named_from, self.snapshot_generation + 1), former));
        let traffic_counters = self.traffic_totals.open(Arc::clone(&self.names), self.workers);
        self.compiler.count_in(traffic_counters);
        self.watch(now);
        self.is_stale = true;
    }

    /// Resolves the next hops of all backends whose MAC addresses are not configured, and of no one else.
    fn watch(&mut self, now: Duration) {
        let backends = self.services.iter().flat_map(|(_, service)| service.backends());
        let unnamed = backends.filter(|backend| backend.next_hop_mac().is_none());
        let wanted: BTreeSet<NextHop> = unnamed
            .filter_map(|backend| self.host.next_hop(Address::from(backend.endpoint.address)))
            .collect();
        for next_hop in self.watched.difference(&wanted) {
            self.host.forget(*next_hop);
        }
        self.unwatched = wanted.len();
        self.watched =
            wanted.into_iter().filter(|next_hop| self.host.resolve(*next_hop, now).is_ok()).collect();
        self.unwatched -= self.watched.len();
    }

    fn publish(&mut self) {
        let snapshot = self.compiler.compile(&self.config, &self.services, &self.host);
        self.snapshot_generation = snapshot.generation;
        self.publisher.publish(snapshot);
        self.is_stale = false;
    }
}

/// The virtual IP addresses, each once: rules of one address agree on who answers for it.
fn vips(config: &Config) -> Vec<Vip> {
    let answers = |replies| match replies {
        NeighborReplies::Always => Answers::Always,
        NeighborReplies::WhenAnnounced => Answers::WhenAnnounced,
        NeighborReplies::Never => Answers::Never,
    };
    let by_address: BTreeMap<IpAddr, NeighborReplies> =
        config.rules.iter().map(|rule| (rule.address, rule.neighbor_replies)).collect();
    let vip = |(address, replies): (IpAddr, _)| Vip { address: address.into(), answers: answers(replies) };
    by_address.into_iter().map(vip).collect()
}
