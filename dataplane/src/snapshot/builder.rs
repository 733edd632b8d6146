//! Makes a snapshot piece by piece, for tests, examples and benchmarks: the same forwarding state as a configuration
//! gives, without one.

use std::num::NonZeroU16;
use std::sync::Arc;

use super::{Backend, Eligible, Service, Snapshot};
use crate::access_list::{AccessList, AccessListId};
use crate::address::{Address, Prefix};
use crate::admission::Admission;
use crate::affinity::{AffinityPolicy, ServiceKey};
use crate::backend::BackendHandle;
use crate::conntrack::Census;
use crate::delivery::Delivery;
use crate::egress::PortId;
use crate::forwarding_rule::{ForwardingRule, ForwardingRules, Route, RuleId, ServiceId, Targets};
use crate::ingress::{Ingress, NetworkId, NetworkLink};
use crate::maglev::{LookupTable, Weighted};
use crate::network::{Network, Networks, OwnAddresses};
use crate::seed::Seed;
use crate::subsets::Subsets;
use crate::traffic_counters::TrafficCounters;

/// Snapshot in the making.
///
/// Services, backends and rules are numbered in the order in which they are added. By default the snapshot has
/// generation 1, the default seed, one network with a hundred ICMP errors a second and no own addresses, and no counters of
/// traffic.
///
/// ```
/// use guideway_dataplane::address::Address;
/// use guideway_dataplane::affinity::AffinityPolicy;
/// use guideway_dataplane::delivery::Delivery;
/// use guideway_dataplane::egress::Egress;
/// use guideway_dataplane::forwarding_rule::{ForwardingRule, RulePorts, RuleProtocol};
/// use guideway_dataplane::snapshot::SnapshotBuilder;
/// use guideway_dataplane::wire::ethernet::MacAddress;
///
/// let mut builder = SnapshotBuilder::new();
/// let web = builder.service(AffinityPolicy::default());
/// builder.backend(web, "web-1", 1, Delivery::l2(Egress::to(MacAddress([2, 0, 0, 0, 1, 1])), 1500));
/// builder.backend(web, "web-2", 3, Delivery::l2(Egress::to(MacAddress([2, 0, 0, 0, 1, 2])), 1500));
/// let vip = Address::v4([203, 0, 113, 10]);
/// builder.rule(ForwardingRule::new(vip, RuleProtocol::Tcp, RulePorts::List(vec![80, 443]), web));
/// let snapshot = builder.own(Address::v4([192, 0, 2, 1])).build();
/// assert_eq!((snapshot.services.len(), snapshot.backends.len()), (1, 2));
/// ```
#[derive(Debug)]
pub struct SnapshotBuilder {
    generation: u64,
    rules: Vec<ForwardingRule>,
    networks: Vec<NetworkDraft>,
    services: Vec<ServiceDraft>,
    backends: Vec<Option<Backend>>,
    access_lists: Vec<AccessList>,
    admission: Admission,
    workers: usize,
}

/// Network in the making.
#[derive(Debug)]
struct NetworkDraft {
    link: Option<NetworkLink>,
    routes: Vec<Route>,
    region: Vec<Prefix>,
    own: OwnAddresses,
    icmp_errors_per_sec: u32,
}

/// Service in the making, and the backends that may get its new connections.
#[derive(Debug)]
struct ServiceDraft {
    network: NetworkId,
    policy: AffinityPolicy,
    subset_size: Option<NonZeroU16>,
    eligible: Vec<EligibleDraft>,
}

#[derive(Debug)]
struct EligibleDraft {
    name: String,
    weight: u16,
    handle: BackendHandle,
}

impl SnapshotBuilder {
    /// Builder of a snapshot that has no services, backends and rules yet.
    pub fn new() -> Self {
        Self {
            generation: 1,
            rules: Vec::new(),
            networks: vec![NetworkDraft::new(None)],
            services: Vec::new(),
            backends: Vec::new(),
            access_lists: Vec::new(),
            admission: Admission::default(),
            workers: 0,
        }
    }

    /// Adds a network of a port, untagged or in a VLAN: services, routes, regions and own addresses that are added from here
    /// on are of it. Without any, all are of one network that has every frame.
    pub fn network(&mut self, port: PortId, vlan: Option<u16>) -> NetworkId {
        if self.networks[0].link.is_none() {
            self.networks.clear();
        }
        let network = NetworkId(self.networks.len() as u8);
        self.networks.push(NetworkDraft::new(Some(NetworkLink { network, port, vlan })));
        network
    }

    fn latest(&mut self) -> &mut NetworkDraft {
        self.networks.last_mut().expect("there is one network at least")
    }

    /// Adds a service that has no backends yet.
    pub fn service(&mut self, policy: AffinityPolicy) -> ServiceId {
        let network = NetworkId((self.networks.len() - 1) as u8);
        self.services.push(ServiceDraft { network, policy, subset_size: None, eligible: Vec::new() });
        ServiceId((self.services.len() - 1) as u16)
    }

    /// Lets each client of a service meet a subset of so many backends.
    ///
    /// # Panics
    /// If the service was not added before.
    pub fn subset_size(&mut self, service: ServiceId, size: NonZeroU16) -> &mut Self {
        self.services[usize::from(service.0)].subset_size = Some(size);
        self
    }

    /// Adds a healthy backend to a service. One of weight zero gets no new connections, and keeps those that it has.
    ///
    /// # Panics
    /// If the service was not added before.
    pub fn backend(
        &mut self,
        service: ServiceId,
        name: &str,
        weight: u16,
        delivery: Delivery,
    ) -> BackendHandle {
        let handle = BackendHandle(self.backends.len() as u32);
        self.backends.push(Some(Backend::healthy(delivery)));
        if weight > 0 {
            let eligible = EligibleDraft { name: name.to_owned(), weight, handle };
            self.services[usize::from(service.0)].eligible.push(eligible);
        }
        handle
    }

    /// Adds a forwarding rule, which is of its service's network.
    pub fn rule(&mut self, rule: ForwardingRule) -> RuleId {
        self.rules.push(rule);
        RuleId((self.rules.len() - 1) as u16)
    }

    /// Adds a route to the service behind a rule.
    pub fn route(&mut self, route: Route) -> &mut Self {
        self.latest().routes.push(route);
        self
    }

    /// Adds clients of the appliance's own region. Without any, all clients count as such.
    pub fn region(&mut self, clients: Prefix) -> &mut Self {
        self.latest().region.push(clients);
        self
    }

    /// Sets the appliance's own address of one family.
    pub fn own(&mut self, address: Address) -> &mut Self {
        let own = &mut self.latest().own;
        *(if address.is_ipv4() { &mut own.ipv4 } else { &mut own.ipv6 }) = Some(address);
        self
    }

    /// Sets the number of the snapshot.
    pub fn generation(&mut self, generation: u64) -> &mut Self {
        self.generation = generation;
        self
    }

    /// Sets how many ICMP errors a worker may send in a second.
    pub fn icmp_errors_per_sec(&mut self, limit: u32) -> &mut Self {
        self.latest().icmp_errors_per_sec = limit;
        self
    }

    /// Adds an access list, which rules may name.
    pub fn access_list(&mut self, list: AccessList) -> AccessListId {
        self.access_lists.push(list);
        AccessListId((self.access_lists.len() - 1) as u16)
    }

    /// Sets what is admitted to the conntrack table.
    pub fn admission(&mut self, admission: Admission) -> &mut Self {
        self.admission = admission;
        self
    }

    /// Gives the first so many workers counters for the traffic of rules and backends, and for the entries of backends.
    pub fn counted_workers(&mut self, workers: usize) -> &mut Self {
        self.workers = workers;
        self
    }

    /// Makes the snapshot, with the lookup tables of its services.
    ///
    /// # Panics
    /// If a rule names a service, or a route a rule, that was not added.
    pub fn build(&self) -> Snapshot {
        assert!(
            self.rules.iter().all(|rule| usize::from(rule.service.0) < self.services.len()),
            "every rule has its service"
        );
        assert!(
            self.networks
                .iter()
                .flat_map(|network| &network.routes)
                .all(|route| usize::from(route.next_hop.0) < self.rules.len()),
            "every route has its rule"
        );
        let treated: Vec<(ServiceKey, AffinityPolicy)> =
            (1..).map(ServiceKey).zip(self.services.iter().map(|service| service.policy)).collect();
        let targets = Arc::new(Targets::new(&self.rules));
        let ids = (0..).map(NetworkId);
        let rules = ids.clone().zip(&self.networks).map(|(id, draft)| {
            let of_network = |rule: &ForwardingRule| self.services[usize::from(rule.service.0)].network == id;
            let rules = (0..).map(RuleId).zip(&self.rules).filter(|(_, rule)| of_network(rule));
            ForwardingRules::of_network(&targets, rules, &draft.routes, &draft.region)
                .with_own([draft.own.ipv4, draft.own.ipv6].into_iter().flatten().map(Prefix::from))
        });
        let rules = ForwardingRules::spell_out_all(rules, &treated);
        let networks = ids.zip(&self.networks).zip(rules).map(|((id, draft), rules)| {
            let (own, icmp_errors_per_sec) = (draft.own, draft.icmp_errors_per_sec);
            Network { id, rules: Arc::new(rules), own, icmp_errors_per_sec }
        });
        let links: Vec<NetworkLink> = self.networks.iter().filter_map(|network| network.link).collect();
        let services = treated.iter().zip(&self.services).map(|((key, policy), service)| Service {
            network: service.network,
            key: *key,
            policy: *policy,
            eligible: Arc::new(service.eligible()),
        });
        let census = Census::new(self.workers, self.backends.len());
        Snapshot {
            generation: self.generation,
            networks: Networks::new(networks, Ingress::new(&links)),
            services: services.collect(),
            backends: self.backends.clone().into(),
            seed: Seed::DEFAULT,
            access_lists: self.access_lists.clone().into(),
            admission: self.admission,
            traffic_counters: Arc::new(TrafficCounters::new(
                &census,
                self.rules.len(),
                self.backends.len(),
                self.access_lists.len(),
            )),
        }
    }
}

impl Default for SnapshotBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl NetworkDraft {
    fn new(link: Option<NetworkLink>) -> Self {
        Self {
            link,
            routes: Vec::new(),
            region: Vec::new(),
            own: OwnAddresses::default(),
            icmp_errors_per_sec: 100,
        }
    }
}

impl ServiceDraft {
    fn eligible(&self) -> Eligible {
        let weighted: Vec<Weighted<'_>> = self
            .eligible
            .iter()
            .map(|backend| Weighted { name: &backend.name, weight: backend.weight })
            .collect();
        let table = LookupTable::build(&Seed::DEFAULT, &weighted);
        let subsets = self.subset_size.and_then(|size| Subsets::build(&Seed::DEFAULT, &table, size));
        Eligible::new(table, subsets, self.eligible.iter().map(|backend| backend.handle).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::Egress;
    use crate::flow::{Flow, Fragment};
    use crate::forwarding_rule::{RuleMatch, RulePorts, RuleProtocol};
    use crate::wire::ethernet::MacAddress;
    use crate::wire::protocol;

    fn delivery(last: u8) -> Delivery {
        Delivery::l2(Egress::to(MacAddress([2, 0, 0, 0, 1, last])), 1500)
    }

    fn flow(dst: [u8; 4]) -> Flow {
        Flow {
            src: Address::v4([192, 0, 2, 7]),
            dst: Address::v4(dst),
            src_port: 40_001,
            dst_port: 80,
            protocol: protocol::TCP,
            fragment: Fragment::No,
        }
    }

    #[test]
    fn each_service_selects_among_its_own_backends_of_any_weight() {
        let mut builder = SnapshotBuilder::new();
        let (first, second) =
            (builder.service(AffinityPolicy::default()), builder.service(AffinityPolicy::default()));
        let alone = builder.backend(first, "a", 5, delivery(1));
        let weightless = builder.backend(second, "a", 0, delivery(2));
        let snapshot = builder.build();
        let flow = flow([203, 0, 113, 10]);
        assert_eq!(snapshot.select(snapshot.service(first), &flow), Some(alone));
        assert_eq!(snapshot.select(snapshot.service(second), &flow), None);
        assert!(snapshot.backend(weightless).is_some());
    }

    #[test]
    fn rules_and_routes_lead_to_the_services_that_they_name() {
        let mut builder = SnapshotBuilder::new();
        let web = builder.service(AffinityPolicy::default());
        let vip = Address::v4([203, 0, 113, 10]);
        let rule = builder.rule(ForwardingRule::new(vip, RuleProtocol::Tcp, RulePorts::All, web));
        let dest_range = Prefix::new(Address::v4([198, 51, 100, 0]), 24);
        builder.route(Route { dest_range, next_hop: rule }).own(Address::v4([198, 51, 100, 1]));
        let rules = Arc::clone(&builder.build().networks.first().rules);
        assert_eq!(rules.lookup(&flow([203, 0, 113, 10])), RuleMatch::Rule(rule, web));
        assert_eq!(rules.lookup(&flow([198, 51, 100, 9])), RuleMatch::Route(rule, web));
        assert_eq!(rules.lookup(&flow([198, 51, 100, 1])), RuleMatch::None, "the appliance's own address");
    }
}
