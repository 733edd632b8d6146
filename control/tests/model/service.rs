//! A backend service in the reference: its eligible backends, and its tracked connections.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use crate::setup::{Affinity, Endpoint, Persistence, Scheme, Service};
use crate::traffic::{ESP, Flow, GRE, TCP, UDP};

/// Seconds about a timeout within which either decision is right.
pub(crate) const TICK: f64 = 1.0;

/// Fields that a hash covers: source, destination, protocol and ports, each if it counts.
pub(crate) type Selection = (IpAddr, Option<IpAddr>, Option<u8>, Option<(u16, u16)>);

/// Answer to the question which backend holds a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    By(String),
    /// Held by this backend or by none: the timeout is a second or less away, and a table may keep time that coarsely.
    Perhaps(String),
    No,
}

#[derive(Clone, Debug)]
struct Backend {
    /// Number that no other backend has, not even a later one of the same name.
    incarnation: u64,
    is_failover: bool,
    configured_weight: u16,
    weight: u16,
    is_healthy: bool,
    /// Number of times that entries that do not persist were voided.
    losses: u64,
    removed_at: Option<Duration>,
}

#[derive(Clone, Debug)]
struct Entry {
    backend: String,
    incarnation: u64,
    losses: u64,
    switches: u64,
    persists: bool,
    seen: Duration,
}

/// State of one service.
#[derive(Debug)]
pub(crate) struct State {
    policy: Service,
    backends: BTreeMap<String, Backend>,
    entries: HashMap<Selection, Entry>,
    incarnations: u64,
    /// True if the failover pool served last; none if no pool has served yet.
    failover_serves: Option<bool>,
    /// Number of switches of the pools that have voided all entries.
    switches: u64,
}

impl State {
    pub(crate) fn new(policy: &Service) -> Self {
        Self {
            policy: policy.clone(),
            backends: BTreeMap::new(),
            entries: HashMap::new(),
            incarnations: 0,
            failover_serves: None,
            switches: 0,
        }
    }

    pub(crate) fn configure<'s>(
        &mut self,
        policy: &Service,
        endpoints: impl Iterator<Item = (&'s Endpoint, bool)>,
        now: Duration,
    ) {
        // A backend whose draining was over under the old timeout is gone, whatever the new timeout is.
        self.forget_drained(now);
        self.policy = policy.clone();
        self.forget_drained(now);
        let mut left: Vec<String> = self.backends.keys().cloned().collect();
        for (endpoint, is_failover) in endpoints {
            left.retain(|name| *name != endpoint.name);
            self.incarnations += 1;
            let fresh = Backend {
                incarnation: self.incarnations,
                is_failover,
                configured_weight: endpoint.weight,
                weight: endpoint.weight,
                is_healthy: true,
                losses: 0,
                removed_at: None,
            };
            let known = self.backends.entry(endpoint.name.clone()).or_insert_with(|| fresh.clone());
            if known.removed_at.is_some() {
                let Backend { incarnation, losses, is_healthy, .. } = *known;
                *known = Backend { incarnation, losses, is_healthy, ..fresh };
                continue;
            }
            known.is_failover = is_failover;
            if known.configured_weight != endpoint.weight {
                (known.configured_weight, known.weight) = (endpoint.weight, endpoint.weight);
            }
        }
        for name in left {
            if let Some(backend) = self.backends.get_mut(&name) {
                backend.removed_at.get_or_insert(now);
            }
        }
        self.forget_drained(now);
    }

    fn forget_drained(&mut self, now: Duration) {
        let timeout = Duration::from_secs(self.policy.draining_timeout);
        self.backends.retain(|_, backend| backend.removed_at.is_none_or(|removed| now < removed + timeout));
    }

    pub(crate) fn set_health(&mut self, backend: &str, healthy: bool) {
        if let Some(backend) = self.backends.get_mut(backend) {
            backend.is_healthy = healthy;
        }
    }

    pub(crate) fn set_weight(&mut self, backend: &str, weight: u16) {
        if let Some(backend) = self.backends.get_mut(backend) {
            backend.weight = weight;
        }
    }

    /// Voids what the changes of one instant void, once all of them are in.
    pub(crate) fn settle(&mut self) {
        let eligible = self.eligible();
        if eligible.iter().any(|(name, _)| self.backends[name].is_healthy) {
            // A healthy backend is there to divert to.
            let backends = self.backends.values_mut();
            for backend in backends.filter(|backend| !backend.is_healthy && backend.removed_at.is_none()) {
                backend.losses += 1;
            }
        }
        let Some((first, _)) = eligible.into_iter().next() else { return };
        let serves = self.backends[&first].is_failover;
        let switched = self.failover_serves.replace(serves).is_some_and(|before| before != serves);
        // The policy counts only in services with a failover group.
        if switched && self.policy.has_failover() && self.policy.failover.void_on_switch {
            self.switches += 1;
        }
    }

    /// Eligible backends by name, with the weights that count; empty if new connections are dropped.
    pub(crate) fn eligible(&self) -> Vec<(String, u16)> {
        let weighted = self.policy.weighted;
        let configured = || self.backends.iter().filter(|(_, backend)| backend.removed_at.is_none());
        let those = |wanted: &dyn Fn(&Backend) -> bool| -> Vec<(String, u16)> {
            let wanted = configured().filter(|(_, backend)| wanted(backend));
            wanted.map(|(name, backend)| (name.clone(), if weighted { backend.weight } else { 1 })).collect()
        };
        let first = |sets: &[&dyn Fn(&Backend) -> bool]| {
            sets.iter().map(|wanted| those(*wanted)).find(|set| !set.is_empty()).unwrap_or_default()
        };
        let heavy = |backend: &Backend| backend.weight > 0;
        let well = |backend: &Backend| backend.is_healthy;
        let spare = |backend: &Backend| backend.is_failover;
        let usable = |backend: &Backend| well(backend) && (heavy(backend) || !weighted);
        if !self.policy.has_failover() {
            return if weighted {
                first(&[
                    &|b| heavy(b) && well(b),
                    &|b| heavy(b) && !well(b),
                    &|b| !heavy(b) && well(b),
                    &|b| !heavy(b) && !well(b),
                ])
            } else {
                first(&[&well, &|_| true])
            };
        }
        let primaries = those(&|b| usable(b) && !spare(b));
        let failovers = those(&|b| usable(b) && spare(b));
        match (primaries.is_empty(), failovers.is_empty()) {
            (true, true) if self.policy.failover.drop => Vec::new(),
            (true, true) if !weighted => those(&|b| !spare(b)),
            (true, true) => first(&[
                &|b| heavy(b) && !well(b) && !spare(b),
                &|b| heavy(b) && !well(b) && spare(b),
                &|b| !heavy(b) && well(b) && !spare(b),
                &|b| !heavy(b) && well(b) && spare(b),
                &|b| !heavy(b) && !well(b) && !spare(b),
                &|b| !heavy(b) && !well(b) && spare(b),
            ]),
            (true, false) => failovers,
            (false, true) => primaries,
            (false, false) => {
                let all = those(&|b| !spare(b)).len();
                let share = primaries.len() as f64 / all as f64;
                let ratio = self.policy.failover.ratio;
                if ratio == 0.0 || share >= ratio { primaries } else { failovers }
            }
        }
    }

    fn has_connection_affinity(&self) -> bool {
        matches!(self.policy.affinity, Affinity::None | Affinity::ClientIpPortProto)
    }

    /// Number of backends that each client meets, where there are more than so many.
    pub(crate) fn subset_size(&self) -> Option<u16> {
        self.policy.subset_size
    }

    /// True if the tracking hash is a 5-tuple, so that a SYN starts a new connection.
    pub(crate) fn starts_anew(&self) -> bool {
        !self.policy.per_session || self.has_connection_affinity()
    }

    /// Flow whose fields are hashed: of a packet that came by a route its ends in order, unless the client alone counts.
    pub(crate) fn hashed(&self, flow: &Flow, routed: bool) -> Flow {
        let (src_port, dst_port) = flow.hashed_ports().unwrap_or_default();
        let is_in_order = (flow.src, src_port) <= (flow.dst, dst_port);
        if !routed || is_in_order || self.policy.affinity == Affinity::ClientIpNoDestination {
            return flow.clone();
        }
        flow.reversed()
    }

    /// Seconds for which a backend goes on getting what follows a fragment that it got; none if it is gone.
    pub(crate) fn remains_for(&self, backend: &str, now: Duration) -> Option<f64> {
        let left = |removed: Duration| self.policy.draining_timeout as f64 - (now - removed).as_secs_f64();
        Some(self.backends.get(backend)?.removed_at.map_or(f64::INFINITY, left))
    }

    pub(crate) fn selection_key(&self, flow: &Flow) -> Selection {
        let Flow { src, dst, protocol, .. } = *flow;
        match self.policy.affinity {
            Affinity::None | Affinity::ClientIpPortProto => connection_of(flow),
            Affinity::ClientIpProto => (src, Some(dst), Some(protocol), None),
            Affinity::ClientIp => (src, Some(dst), None, None),
            Affinity::ClientIpNoDestination => (src, None, None, None),
        }
    }

    /// Fields of the tracking hash of a flow; none if the flow is not tracked.
    pub(crate) fn tracking_key(&self, flow: &Flow) -> Option<Selection> {
        let is_external = self.policy.scheme == Scheme::External;
        let tracked = match flow.protocol {
            TCP => true,
            UDP => !is_external || self.policy.affinity != Affinity::None,
            ESP | GRE => is_external && self.policy.affinity != Affinity::None,
            _ => false,
        };
        let key = if self.starts_anew() { connection_of(flow) } else { self.selection_key(flow) };
        tracked.then_some(key)
    }

    /// Backend that holds a connection by an entry that is valid at `now`.
    pub(crate) fn holds(&self, key: &Selection, now: Duration) -> Held {
        let Some(entry) = self.entries.get(key) else { return Held::No };
        let backend = match self.backends.get(&entry.backend) {
            Some(backend) if backend.incarnation == entry.incarnation => backend,
            _ => return Held::No,
        };
        if entry.switches != self.switches || !(entry.persists || entry.losses == backend.losses) {
            return Held::No;
        }
        let default = if self.policy.scheme == Scheme::External { 60 } else { 600 };
        let idle_timeout = self.policy.idle_timeout.unwrap_or(default) as f64;
        let mut left = idle_timeout - (now - entry.seen).as_secs_f64();
        if let Some(removed) = backend.removed_at {
            left = left.min(self.policy.draining_timeout as f64 - (now - removed).as_secs_f64());
        }
        match left {
            left if left >= TICK => Held::By(entry.backend.clone()),
            left if left > -TICK => Held::Perhaps(entry.backend.clone()),
            _ => Held::No,
        }
    }

    pub(crate) fn refresh(&mut self, key: &Selection, now: Duration) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.seen = now;
        }
    }

    /// Inserts or replaces an entry.
    pub(crate) fn track(&mut self, key: Selection, protocol: u8, backend: &str, now: Duration) {
        let Backend { incarnation, losses, .. } = self.backends[backend];
        let persists = match self.policy.persistence {
            Persistence::DefaultForProtocol => protocol == TCP && self.starts_anew(),
            Persistence::NeverPersist => false,
            Persistence::AlwaysPersist => true,
        };
        let backend = backend.to_owned();
        let entry = Entry { backend, incarnation, losses, switches: self.switches, persists, seen: now };
        self.entries.insert(key, entry);
    }
}

/// The 5-tuple of ported packets, the 3-tuple of all others.
fn connection_of(flow: &Flow) -> Selection {
    (flow.src, Some(flow.dst), Some(flow.protocol), flow.hashed_ports())
}
