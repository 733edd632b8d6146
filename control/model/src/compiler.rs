//! Configuration and state become the snapshot that workers forward by.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use guideway_dataplane::address::{Address, Prefix};
use guideway_dataplane::affinity::{AffinityPolicy, LoadBalancingScheme};
use guideway_dataplane::backend::BackendHandle;
use guideway_dataplane::delivery::{Delivery, DeliveryMode, Tunnel};
use guideway_dataplane::egress::Egress;
use guideway_dataplane::forwarding_rule::{
    ForwardingRule, ForwardingRules, Route, RuleId, RulePorts, RuleProtocol, ServiceId,
};
use guideway_dataplane::maglev::{LookupTable, Weighted};
use guideway_dataplane::seed::Seed;
use guideway_dataplane::snapshot::{Backend, Eligible, OwnAddresses, Service, Snapshot};
use guideway_dataplane::time::Tick;
use guideway_dataplane::traffic_counters::TrafficCounters;
use guideway_dataplane::wire::ethernet::MacAddress;
use ipnet::IpNet;

use crate::config::{BackendService, Config, Network, Ports, RuleProtocol as ConfiguredProtocol};
use crate::egress_lookup::EgressLookup;
use crate::service::{BackendState, ServiceState, Services};

/// Makes snapshots, and keeps what the last one can lend to the next: a change recompiles only what it touches.
#[derive(Debug, Default)]
pub struct Compiler {
    generation: u64,
    rules: Arc<ForwardingRules>,
    eligible: HashMap<String, (Ingredients, Arc<Eligible>)>,
    traffic_counters: Arc<TrafficCounters>,
}

/// All that a lookup table and its backends depend on.
#[derive(Debug, PartialEq, Eq)]
struct Ingredients {
    seed: Seed,
    backends: Vec<(String, u16, BackendHandle)>,
}

impl Compiler {
    /// Sorts the rules and routes of a configuration that is new.
    pub fn set_config(&mut self, config: &Config) {
        self.rules = Arc::new(forwarding_rules(config));
        self.eligible.retain(|name, _| config.services.iter().any(|service| service.name == *name));
    }

    /// Has workers count in `traffic_counters` from the next snapshot on; their numbering is that of its rules and backends.
    pub fn count_in(&mut self, traffic_counters: Arc<TrafficCounters>) {
        self.traffic_counters = traffic_counters;
    }

    /// The snapshot of `config` and `services`, whose backends are reached by `ways`.
    pub fn compile(
        &mut self,
        config: &Config,
        services: &Services,
        egress_lookup: &impl EgressLookup,
    ) -> Snapshot {
        self.generation += 1;
        let seed = Seed::new(config.fleet.seed);
        let mut backends: Vec<Option<Backend>> = vec![None; services.handles().len()];
        let mut compiled = Vec::with_capacity(config.services.len());
        for service in &config.services {
            let Some(state) = services.get(&service.name) else { continue };
            let eligible = self.eligible(service, state, &seed);
            let serving: HashSet<BackendHandle> = eligible.backends.iter().copied().collect();
            for backend in state.backends() {
                let serves = backend.healthy || serving.contains(&backend.handle);
                backends[backend.handle.0 as usize] =
                    Some(compile_backend(service, state, services, backend, serves, egress_lookup));
            }
            let policy = AffinityPolicy::new(
                service.scheme,
                service.affinity,
                service.tracking_mode,
                service.persistence,
            );
            compiled.push(Service { key: state.key(), policy, eligible });
        }
        Snapshot {
            generation: self.generation,
            rules: Arc::clone(&self.rules),
            services: compiled.into(),
            backends: backends.into(),
            seed,
            own: own_addresses(&config.network),
            icmp_errors_per_sec: config.network.icmp_errors_per_sec,
            traffic_counters: Arc::clone(&self.traffic_counters),
        }
    }

    /// The lookup tables of the last snapshot, by service.
    pub fn lookup_tables(&self) -> impl Iterator<Item = NamedTable<'_>> {
        let mut tables: Vec<_> = self
            .eligible
            .iter()
            .map(|(service, (ingredients, eligible))| NamedTable { service, ingredients, eligible })
            .collect();
        tables.sort_unstable_by_key(|table| table.service);
        tables.into_iter()
    }

    fn eligible(&mut self, service: &BackendService, state: &ServiceState, seed: &Seed) -> Arc<Eligible> {
        let eligible = state.eligible();
        let weight = |backend: &BackendState| if service.weighted { backend.weight } else { 1 };
        let ingredients = Ingredients {
            seed: *seed,
            backends: eligible.iter().map(|b| (b.endpoint.name.clone(), weight(b), b.handle)).collect(),
        };
        if let Some((known, table)) = self.eligible.get(&service.name)
            && *known == ingredients
        {
            return Arc::clone(table);
        }
        let weighted: Vec<Weighted<'_>> =
            eligible.iter().map(|b| Weighted { name: &b.endpoint.name, weight: weight(b) }).collect();
        let made = Arc::new(Eligible {
            table: LookupTable::build(seed, &weighted),
            backends: eligible.iter().map(|backend| backend.handle).collect(),
        });
        self.eligible.insert(service.name.clone(), (ingredients, Arc::clone(&made)));
        made
    }
}

/// A service's lookup table with the names of its backends.
#[derive(Clone, Copy, Debug)]
pub struct NamedTable<'a> {
    service: &'a str,
    ingredients: &'a Ingredients,
    eligible: &'a Eligible,
}

/// An eligible backend's part of a lookup table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share<'a> {
    /// Its name.
    pub backend: &'a str,
    /// Its weight; 1 where the service is not weighted.
    pub weight: u16,
    /// How many slots it has.
    pub slots: u32,
}

impl<'a> NamedTable<'a> {
    /// The name of its service.
    pub fn service(&self) -> &'a str {
        self.service
    }

    /// The table itself.
    pub fn table(&self) -> &'a LookupTable {
        &self.eligible.table
    }

    /// Each eligible backend's part, by name.
    pub fn shares(&self) -> impl Iterator<Item = Share<'a>> {
        let slots = self.eligible.table.shares();
        let backends = self.ingredients.backends.iter();
        backends.zip(slots).map(|((backend, weight, _), slots)| Share { backend, weight: *weight, slots })
    }

    /// The name of the backend in a slot.
    ///
    /// # Panics
    /// If there is no such slot.
    pub fn backend_at(&self, slot: usize) -> &'a str {
        &self.ingredients.backends[usize::from(self.eligible.table.at(slot))].0
    }
}

fn forwarding_rules(config: &Config) -> ForwardingRules {
    let rules: Vec<ForwardingRule> = config
        .rules
        .iter()
        .map(|rule| ForwardingRule {
            address: rule.address.into(),
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
            service: ServiceId(rule.service as u16),
        })
        .collect();
    let routes: Vec<Route> = config
        .routes
        .iter()
        .map(|route| Route {
            dest_range: prefix(route.dest_range),
            next_hop: RuleId(route.next_hop_rule as u16),
        })
        .collect();
    let region: Vec<Prefix> = config.network.region_ranges.iter().copied().map(prefix).collect();
    let network = &config.network;
    let own = [network.ipv4_address.map(IpAddr::V4), network.ipv6_address.map(IpAddr::V6)];
    let of_ports = config.ports.iter().flat_map(|port| &port.addresses).map(IpNet::addr);
    let own = own.into_iter().flatten().chain(of_ports).map(Address::from);
    ForwardingRules::new(&rules, &routes, &region).with_own(own)
}

fn compile_backend(
    service: &BackendService,
    state: &ServiceState,
    services: &Services,
    backend: &BackendState,
    serves: bool,
    egress_lookup: &impl EgressLookup,
) -> Backend {
    let generations = services.handles().generations(backend.handle);
    Backend {
        generation: generations.ordinary,
        serves,
        persistent_generation: generations.persistent,
        drain_deadline: backend
            .removed_at
            .map_or(Tick::NEVER, |removed| drain_deadline(removed + state.draining_timeout())),
        idle_timeout_sec: service.idle_timeout_sec,
        delivery: delivery(backend, egress_lookup),
    }
}

/// The first tick of which no part is before the deadline.
fn drain_deadline(deadline: Duration) -> Tick {
    let started = u64::from(deadline.subsec_nanos() > 0);
    Tick::from_secs(deadline.as_secs() + started)
}

fn delivery(backend: &BackendState, egress_lookup: &impl EgressLookup) -> Delivery {
    let network = &backend.network;
    let address = Address::from(backend.endpoint.address);
    let egress = egress_lookup.egress(address);
    let egress = Egress {
        source: network.mac_address.map(MacAddress).or(egress.source),
        next_hop: backend.next_hop_mac().map(MacAddress).or(egress.next_hop),
        ..egress
    };
    if backend.delivery == DeliveryMode::L2 {
        return Delivery::l2(egress, backend.mtu);
    }
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

#[cfg(test)]
mod tests {
    use guideway_dataplane::frame::Frame;
    use guideway_dataplane::packet::Packet;
    use guideway_engine::mbuf::Mbuf;

    use super::*;
    use crate::egress_lookup::StandInMacs;
    use crate::sample::sample;
    use crate::service::WeightSource;

    fn config(network: &str, group: &str) -> Config {
        let service =
            "backends = [{ group = \"group\" }]\nconnection_draining = { draining_timeout_sec = 30 }";
        sample(network, service, &format!("[[backend_group]]\nname = \"group\"\n{group}"))
    }

    /// A reload takes the appliance's own address away while a backend drains behind a tunnel.
    #[test]
    fn a_draining_backend_keeps_the_tunnel_that_it_was_reached_by() {
        let before = config(
            "[network]\nipv4_address = \"192.0.2.1\"",
            "delivery = \"ipip\"\nendpoints = [{ name = \"a\", ip_address = \"10.1.0.1\" }]",
        );
        let after = config("", "endpoints = [{ name = \"b\", ip_address = \"10.1.0.2\" }]");
        let mut services = Services::default();
        services.configure(&before, Duration::ZERO, true);
        let draining = services.get("svc").unwrap().configured().next().unwrap().handle;
        services.configure(&after, Duration::from_secs(1), true);
        let snapshot = Compiler::default().compile(&after, &services, &StandInMacs);

        let packet =
            pcap_fixtures::packet::Packet::between("198.51.100.7", "203.0.113.10").tcp(40_000, 443, 0x10);
        let mut frame = Mbuf::new();
        frame.fill(&packet.build());
        let parsed = Packet::parse(frame.bytes()).unwrap();
        snapshot.backend(draining).unwrap().delivery.deliver(&mut frame, &parsed, &parsed.flow).unwrap();
        assert_eq!(frame.bytes()[26..34], [192, 0, 2, 1, 10, 1, 0, 1], "the outer source and destination");
    }

    #[test]
    fn what_a_change_leaves_alone_is_shared_between_snapshots() {
        let config = config("", "endpoints = [{ name = \"a\", ip_address = \"10.1.0.1\" }]");
        let mut services = Services::default();
        services.configure(&config, Duration::ZERO, true);
        let mut compiler = Compiler::default();
        compiler.set_config(&config);
        let first = compiler.compile(&config, &services, &StandInMacs);
        services.set_weight("svc", "a", 7, WeightSource::Reported).unwrap();
        let second = compiler.compile(&config, &services, &StandInMacs);
        assert!(Arc::ptr_eq(&first.rules, &second.rules));
        assert!(
            Arc::ptr_eq(&first.services[0].eligible, &second.services[0].eligible),
            "weights are not in use"
        );
        assert_eq!(second.generation, first.generation + 1);
    }
}
