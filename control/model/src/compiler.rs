//! Configuration and service state become the snapshot that workers forward by.
//!
//! Compiled services, backends and lookup tables are kept from one snapshot to the next, and made anew only where they
//! are marked stale: a health change costs what its own service costs, whatever else is configured.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use guideway_dataplane::access_list::{AccessList, AccessListId};
use guideway_dataplane::address::{Address, Prefix};
use guideway_dataplane::affinity::{AffinityPolicy, LoadBalancingScheme, ServiceKey};
use guideway_dataplane::backend::BackendHandle;
use guideway_dataplane::delivery::{Delivery, DeliveryMode, Tunnel};
use guideway_dataplane::egress::{Egress, PortId};
use guideway_dataplane::forwarding_rule::{
    ForwardingRule, ForwardingRules, Route, RuleId, RuleIdentity, RulePorts, RuleProtocol, ServiceId, Targets,
};
use guideway_dataplane::ingress::{Ingress, NetworkId, NetworkLink};
use guideway_dataplane::network::{self as dataplane, Networks, OwnAddresses};
use guideway_dataplane::seed::Seed;
use guideway_dataplane::snapshot::{Backend, Backends, Eligible, Service, Snapshot};
use guideway_dataplane::time::Tick;
use guideway_dataplane::traffic_counters::TrafficCounters;
use guideway_dataplane::wire::ethernet::MacAddress;
use ipnet::IpNet;

use crate::backend_handles::identity;
use crate::choices::{Choice, Choices, Ingredients};
use crate::config::{
    AccessList as ConfiguredList, BackendService, Config, ForwardingRule as ConfiguredRule, Network, Ports,
    RuleProtocol as ConfiguredProtocol,
};
use crate::egress_lookup::EgressLookup;
use crate::lookup_table_view::NamedTable;
use crate::service::{BackendState, ServiceState, Services};

/// Maker of snapshots.
#[derive(Clone, Debug, Default)]
pub(crate) struct Compiler {
    networks: Networks,
    /// By name of the service: its lookup table, and the ingredients that the table was made of.
    tables: BTreeMap<String, (Arc<Ingredients>, Arc<Eligible>)>,
    choices: Choices,
    /// By [`AccessListId`], each with what it was made of.
    access_lists: MadeLists,
    /// Access lists that were made ahead for the next configuration.
    prepared_lists: MadeLists,
    /// Access lists that this compiler has made.
    #[cfg(test)]
    lists_made: usize,
    /// By [`ServiceId`].
    services: Vec<CompiledService>,
    /// By [`BackendHandle`].
    backends: Backends,
    stale: Stale,
}

/// Access lists, each with what it was made of.
pub(crate) type MadeLists = Vec<(ConfiguredList, AccessList)>;

#[derive(Clone, Debug)]
struct CompiledService {
    service: Service,
    /// Handles of its backends, the draining ones too.
    handles: Vec<BackendHandle>,
}

/// Parts that have changed since the last snapshot.
#[derive(Clone, Debug)]
enum Stale {
    /// Everything: the configuration is new.
    Everything,
    /// Some services, by name, and perhaps the egress of any backend.
    Parts { services: BTreeSet<String>, egress: bool },
}

impl Default for Stale {
    fn default() -> Self {
        Self::Parts { services: BTreeSet::new(), egress: false }
    }
}

impl Compiler {
    /// Takes in a new configuration: everything is stale.
    pub(crate) fn set_config(&mut self, config: &Config) {
        let configured: HashSet<&str> = config.services.iter().map(|service| &*service.name).collect();
        self.tables.retain(|name, _| configured.contains(&**name));
        self.stale = Stale::Everything;
    }

    /// Marks a service as changed.
    pub(crate) fn mark_service(&mut self, name: &str) {
        if let Stale::Parts { services, .. } = &mut self.stale
            && !services.contains(name)
        {
            services.insert(name.to_owned());
        }
    }

    /// Marks the egress and the path MTU of every backend as possibly changed.
    pub(crate) fn mark_egress(&mut self) {
        if let Stale::Parts { egress, .. } = &mut self.stale {
            *egress = true;
        }
    }

    /// True where anything has changed since the last snapshot.
    pub(crate) fn is_stale(&self) -> bool {
        match &self.stale {
            Stale::Everything => true,
            Stale::Parts { services, egress } => *egress || !services.is_empty(),
        }
    }

    /// Services that have changed since the last snapshot; [`None`] where everything has.
    pub(crate) fn stale_services(&self) -> Option<impl Iterator<Item = &str>> {
        match &self.stale {
            Stale::Everything => None,
            Stale::Parts { services, .. } => Some(services.iter().map(String::as_str)),
        }
    }

    /// True if a service has changed since the last snapshot.
    pub(crate) fn is_service_stale(&self, name: &str) -> bool {
        match &self.stale {
            Stale::Everything => true,
            Stale::Parts { services, .. } => services.contains(name),
        }
    }

    /// True if the egress of backends may have changed since the last snapshot.
    pub(crate) fn is_egress_stale(&self) -> bool {
        match self.stale {
            Stale::Everything => true,
            Stale::Parts { egress, .. } => egress,
        }
    }

    /// Snapshot of the configuration that was set last and of `services`, which have that configuration too. Services that have
    /// changed and that are not `wanted` stay as they were, and stale.
    #[expect(clippy::too_many_arguments, reason = "parts of one owner, and nobody else calls it")]
    pub(crate) fn compile(
        &mut self,
        generation: u64,
        config: &Config,
        ingress: &Ingress,
        services: &Services,
        egress_lookup: &impl EgressLookup,
        traffic_counters: &Arc<TrafficCounters>,
        wanted: impl Fn(&str) -> bool,
    ) -> Snapshot {
        let seed = Seed::new(config.fleet.seed);
        match std::mem::take(&mut self.stale) {
            Stale::Everything => {
                self.backends = Backends::unused(services.handles().len());
                self.services.clear();
                for service in &config.services {
                    let state = state_of(services, service);
                    let compiled = self.compile_service(service, state, services, &seed, egress_lookup);
                    self.services.push(compiled);
                }
                let treated =
                    self.services.iter().map(|compiled| (compiled.service.key, compiled.service.policy));
                let treated: Vec<_> = treated.collect();
                self.networks = Networks::new(networks(config, &treated), ingress.clone());
                self.compile_access_lists(config);
            }
            Stale::Parts { services: stale, egress } => {
                let (stale, left) = stale.into_iter().partition(|service| wanted(service));
                self.stale = Stale::Parts { services: left, egress: false };
                let stale: BTreeSet<String> = stale;
                for (id, service) in config.services.iter().enumerate() {
                    if !stale.contains(&service.name) {
                        continue;
                    }
                    for handle in std::mem::take(&mut self.services[id].handles) {
                        self.backends.set(handle, None);
                    }
                    let state = state_of(services, service);
                    self.services[id] = self.compile_service(service, state, services, &seed, egress_lookup);
                }
                if egress {
                    self.refresh_egress(services, egress_lookup);
                }
            }
        }
        Snapshot {
            generation,
            networks: self.networks.clone(),
            services: self.services.iter().map(|compiled| compiled.service.clone()).collect(),
            backends: self.backends.clone(),
            seed,
            access_lists: self.access_lists.iter().map(|(_, list)| list.clone()).collect(),
            admission: config.conntrack.admission,
            traffic_counters: Arc::clone(traffic_counters),
        }
    }

    /// Choices and access lists that were made for snapshots.
    pub(crate) fn into_made(self) -> (Choices, MadeLists) {
        (self.choices, self.access_lists)
    }

    /// Number of access lists that this compiler has made itself.
    #[cfg(test)]
    pub(crate) fn lists_made(&self) -> usize {
        self.lists_made
    }

    /// Number of choices that are known.
    #[cfg(test)]
    pub(crate) fn choices_made(&self) -> usize {
        self.choices.len()
    }

    /// Takes in choices and access lists that another compiler has made.
    pub(crate) fn adopt(&mut self, choices: Choices, lists: MadeLists) {
        self.choices.adopt(choices);
        self.prepared_lists = lists;
    }

    /// Lookup tables of the last snapshot, by service.
    pub(crate) fn lookup_tables(&self) -> impl Iterator<Item = NamedTable<'_>> {
        self.tables
            .iter()
            .map(|(service, (ingredients, eligible))| NamedTable::new(service, ingredients, eligible))
    }

    /// Makes the access lists that have changed and that were not made ahead, and takes over the others.
    fn compile_access_lists(&mut self, config: &Config) {
        let prepared = std::mem::take(&mut self.prepared_lists);
        // Prepared ones first: they share their entries with the configuration, and so are compared at once.
        let known: MadeLists = prepared.into_iter().chain(std::mem::take(&mut self.access_lists)).collect();
        for list in &config.access_lists {
            let made = match known.iter().find(|(known, _)| known == list) {
                Some((_, made)) => made.clone(),
                None => {
                    #[cfg(test)]
                    (self.lists_made += 1);
                    let entries = list.entries.iter().map(|(net, admits)| (prefix(*net), *admits));
                    AccessList::new(entries, list.admits_others)
                }
            };
            self.access_lists.push((list.clone(), made));
        }
    }

    fn compile_service(
        &mut self,
        service: &BackendService,
        state: &ServiceState,
        services: &Services,
        seed: &Seed,
        egress_lookup: &impl EgressLookup,
    ) -> CompiledService {
        let eligible = self.eligible(service, state, seed);
        let mut handles = Vec::new();
        for backend in state.backends() {
            let generations = services.handles().generations(backend.handle);
            handles.push(backend.handle);
            let compiled = Backend {
                identity: services.handles().identity(backend.handle),
                generation: generations.ordinary,
                persistent_generation: generations.persistent,
                drain_deadline: backend.end(state.draining_timeout()).map_or(Tick::NEVER, first_tick_after),
                idle_timeout_sec: service.idle_timeout_sec,
                delivery: delivery(
                    backend,
                    egress(state.network(), backend, egress_lookup),
                    mtu(state.network(), backend, egress_lookup),
                ),
            };
            self.backends.set(backend.handle, Some(compiled));
        }
        let policy =
            AffinityPolicy::new(service.scheme, service.affinity, service.tracking_mode, service.persistence);
        CompiledService {
            service: Service { network: state.network(), key: state.key(), policy, eligible },
            handles,
        }
    }

    /// Makes the deliveries anew whose egress or path MTU is another than when they were made.
    fn refresh_egress<'s>(&mut self, services: &'s Services, egress_lookup: &impl EgressLookup) {
        let backends =
            |(_, state): (_, &'s ServiceState)| state.backends().map(|backend| (state.network(), backend));
        for (network, backend) in services.iter().flat_map(backends) {
            let egress = egress(network, backend, egress_lookup);
            let mtu = mtu(network, backend, egress_lookup);
            if let Some(compiled) = self.backends.get(backend.handle)
                && (*compiled.delivery.egress() != egress || compiled.delivery.mtu() != usize::from(mtu))
            {
                let delivery = delivery(backend, egress, mtu);
                let changed = Backend { delivery, ..compiled.clone() };
                self.backends.set(backend.handle, Some(changed));
            }
        }
    }

    fn eligible(&mut self, service: &BackendService, state: &ServiceState, seed: &Seed) -> Arc<Eligible> {
        let eligible = state.eligible();
        let weight = |backend: &BackendState| if service.weighted { backend.weight } else { 1 };
        let ingredients = Ingredients {
            seed: *seed,
            subset_size: service.subset_size,
            backends: eligible.iter().map(|b| (b.endpoint.name.clone(), weight(b))).collect(),
        };
        let handles: Box<[BackendHandle]> = eligible.iter().map(|backend| backend.handle).collect();
        if let Some((known, table)) = self.tables.get(&service.name)
            && **known == ingredients
            && table.backends == handles
        {
            return Arc::clone(table);
        }
        let Choice { ingredients, table, subsets } = self.choices.get(ingredients);
        let made = Arc::new(Eligible::new(table, subsets, handles));
        self.tables.insert(service.name.clone(), (ingredients, Arc::clone(&made)));
        made
    }
}

/// State of a configured service.
fn state_of<'a>(services: &'a Services, service: &BackendService) -> &'a ServiceState {
    services.get(&service.name).expect("the services have the configuration that is compiled")
}

/// Networks of a configuration, with rules and routes that lead to services of these keys and policies.
fn networks(config: &Config, services: &[(ServiceKey, AffinityPolicy)]) -> Vec<dataplane::Network> {
    let rules: Vec<ForwardingRule> = config.rules.iter().map(forwarding_rule).collect();
    let identities =
        config.rules.iter().map(|rule| identity(&config.services[rule.service].name, &rule.name));
    let targets = Arc::new(Targets::new(&rules).with_identities(identities.map(RuleIdentity)));
    let rules = |(index, network): (usize, &Arc<Network>)| {
        let own_rules = (0..).map(RuleId).zip(&rules).zip(&config.rules);
        let own_rules = own_rules.filter(|(_, configured)| configured.network == index).map(|(rule, _)| rule);
        let routes = config.routes.iter().filter(|route| route.network == index);
        let routes: Vec<Route> = routes
            .map(|route| Route {
                dest_range: prefix(route.dest_range),
                next_hop: RuleId(route.next_hop_rule as u16),
            })
            .collect();
        let region: Vec<Prefix> = network.region_ranges.iter().copied().map(prefix).collect();
        ForwardingRules::of_network(&targets, own_rules, &routes, &region)
            .with_own(own_prefixes(index, config))
    };
    let rules = config.networks.iter().enumerate().map(rules);
    let rules = ForwardingRules::spell_out_all(rules, services);
    let network = |(network, rules): (&Arc<Network>, ForwardingRules)| dataplane::Network {
        id: network.id,
        rules: Arc::new(rules),
        own: own_addresses(network),
        icmp_errors_per_sec: network.icmp_errors_per_sec,
    };
    config.networks.iter().zip(rules).map(network).collect()
}

/// Way of frames to the networks of a configuration.
pub(crate) fn ingress(config: &Config) -> Ingress {
    let link = |network: &Arc<Network>| {
        let port = PortId(network.port? as u8);
        Some(NetworkLink { network: network.id, port, vlan: network.vlan })
    };
    let links: Vec<NetworkLink> = config.networks.iter().filter_map(link).collect();
    match &config.networks[..] {
        // A network without a port has every frame.
        [sole] if links.is_empty() => Ingress::to_sole(sole.id),
        _ => Ingress::new(&links),
    }
}

/// Addresses of the appliance itself in a network, and those that its tunnels there come from.
fn own_prefixes(index: usize, config: &Config) -> impl Iterator<Item = Prefix> {
    let network = &config.networks[index];
    let own = [network.ipv4_address.map(IpAddr::V4), network.ipv6_address.map(IpAddr::V6)];
    let of_links = config.links().filter(move |link| link.network == index);
    let of_links = of_links.flat_map(|link| link.addresses).map(IpNet::addr);
    let own = own.into_iter().flatten().chain(of_links).map(|address| Address::from(address).into());
    let of_tunnels = [network.tunnel_source_ipv4.map(IpNet::V4), network.tunnel_source_ipv6.map(IpNet::V6)];
    own.chain(of_tunnels.into_iter().flatten().map(prefix))
}

fn forwarding_rule(rule: &ConfiguredRule) -> ForwardingRule {
    ForwardingRule {
        vip: rule.vip.into(),
        protocol: match rule.protocol {
            ConfiguredProtocol::Tcp => RuleProtocol::Tcp,
            ConfiguredProtocol::Udp => RuleProtocol::Udp,
            ConfiguredProtocol::L3Default => RuleProtocol::L3Default,
        },
        ports: match &rule.ports {
            Ports::List(ports) => RulePorts::List(ports.clone()),
            Ports::Range(first, last) => RulePorts::Range(*first, *last),
            Ports::All => RulePorts::All,
        },
        source_ranges: rule.source_ranges.iter().copied().map(prefix).collect(),
        region_only: rule.scheme == LoadBalancingScheme::Internal && !rule.allow_global_access,
        access_list: rule.access_list.map(|index| AccessListId(index as u16)),
        service: ServiceId(rule.service as u16),
    }
}

/// First tick of which no part is before the deadline.
fn first_tick_after(deadline: Duration) -> Tick {
    let started = u64::from(deadline.subsec_nanos() > 0);
    Tick::from_secs(deadline.as_secs() + started)
}

/// Egress of a backend: the addresses that the configuration names, and for the rest the way that is looked up.
fn egress(network: NetworkId, backend: &BackendState, egress_lookup: &impl EgressLookup) -> Egress {
    let found = egress_lookup.egress(network, Address::from(backend.endpoint.address));
    Egress {
        source: backend.network.mac_address.map(MacAddress).or(found.source),
        next_hop: backend.next_hop_mac().map(MacAddress).or(found.next_hop),
        // A network of one port leaves by it, whatever else is known of the backend.
        port: backend.network.port.map_or(found.port, |port| PortId(port as u8)),
        ..found
    }
}

/// MTU of the path to a backend: the configured one, or a lower one that a tunnel's routers have told of.
fn mtu(network: NetworkId, backend: &BackendState, egress_lookup: &impl EgressLookup) -> u16 {
    let told = match backend.delivery {
        DeliveryMode::L2 => None,
        _ => egress_lookup.path_mtu(network, Address::from(backend.endpoint.address)),
    };
    told.map_or(backend.mtu, |told| told.min(backend.mtu))
}

fn delivery(backend: &BackendState, egress: Egress, mtu: u16) -> Delivery {
    let network = &backend.network;
    if backend.delivery == DeliveryMode::L2 {
        return Delivery::l2(egress, mtu);
    }
    let address = Address::from(backend.endpoint.address);
    let (source, source_range) = if address.is_ipv4() {
        (network.ipv4_address.map(IpAddr::V4), network.tunnel_source_ipv4.map(IpNet::V4))
    } else {
        (network.ipv6_address.map(IpAddr::V6), network.tunnel_source_ipv6.map(IpNet::V6))
    };
    let tunnel = Tunnel {
        endpoint: address,
        // A tunnel from an appliance without an own address of the endpoint's family is refused.
        source: source.map_or(Address(0), Address::from),
        source_range: source_range.map(prefix),
    };
    Delivery::tunnel(backend.delivery, &tunnel, egress, backend.mtu)
        .fragmenting(network.fragment_tunnels)
        .narrowed_to(mtu)
}

fn own_addresses(network: &Network) -> OwnAddresses {
    OwnAddresses {
        ipv4: network.ipv4_address.map(|address| IpAddr::V4(address).into()),
        ipv6: network.ipv6_address.map(|address| IpAddr::V6(address).into()),
    }
}

fn prefix(net: IpNet) -> Prefix {
    Prefix::new(net.network().into(), net.prefix_len())
}
