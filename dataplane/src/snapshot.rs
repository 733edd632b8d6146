//! The forwarding state at one moment: rules, services, backends and lookup tables, immutable.
//!
//! The control thread makes a new snapshot for every change and publishes it; workers only read. What a change
//! leaves alone is shared between snapshots.

use std::sync::Arc;

use crate::address::Address;
use crate::affinity::{AffinityPolicy, ServiceKey};
use crate::backend::{BackendHandle, Generation};
use crate::conntrack::{Entry, Standing};
use crate::delivery::Delivery;
use crate::flow::Flow;
use crate::forwarding_rule::{ForwardingRules, ServiceId};
use crate::maglev::LookupTable;
use crate::seed::Seed;
use crate::time::Tick;

/// The forwarding state at one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Counts the snapshots of this process.
    pub generation: u64,
    /// Which packets belong to which service.
    pub rules: Arc<ForwardingRules>,
    /// By [`ServiceId`].
    pub services: Box<[Service]>,
    /// By [`BackendHandle`]; vacant places are handles that nothing uses now.
    pub backends: Box<[Option<Backend>]>,
    /// Keys the selection hash, for the whole fleet.
    pub seed: Seed,
    /// The appliance's own addresses, from which it sends ICMP errors.
    pub own: OwnAddresses,
    /// How many ICMP errors a worker may send in a second.
    pub icmp_errors_per_sec: u32,
}

/// The appliance's own addresses.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnAddresses {
    /// The IPv4 address.
    pub ipv4: Option<Address>,
    /// The IPv6 address.
    pub ipv6: Option<Address>,
}

impl OwnAddresses {
    /// The own address of the same family as `address`.
    pub fn like(&self, address: Address) -> Option<Address> {
        if address.is_ipv4() { self.ipv4 } else { self.ipv6 }
    }
}

/// A backend service as packets see it.
#[derive(Clone, Debug)]
pub struct Service {
    /// Tells its connections from those of other services.
    pub key: ServiceKey,
    /// Its hashes and its tracking.
    pub policy: AffinityPolicy,
    /// Who may get new connections.
    pub eligible: Arc<Eligible>,
}

/// The backends that may get new connections, and the lookup table over them.
#[derive(Debug)]
pub struct Eligible {
    /// Slots, each naming a place in `backends`.
    pub table: LookupTable,
    /// The eligible backends.
    pub backends: Box<[BackendHandle]>,
}

/// A backend as packets see it: whether entries that name it are valid, and how to deliver to it.
#[derive(Clone, Debug)]
pub struct Backend {
    /// What an entry that does not persist must carry; [`Generation::NONE`] while health voids all of them.
    pub generation: Generation,
    /// What an entry that persists on unhealthy backends must carry.
    pub persistent_generation: Generation,
    /// From when on its entries are void: the end of its draining, or never.
    pub drained: Tick,
    /// Seconds after which an unused entry is void.
    pub idle_timeout_sec: u32,
    /// How packets reach it.
    pub delivery: Delivery,
}

impl Snapshot {
    /// The backend of this handle, unless nothing uses it now.
    pub fn backend(&self, handle: BackendHandle) -> Option<&Backend> {
        self.backends.get(handle.0 as usize)?.as_ref()
    }

    /// The selection hash of `flow` in a service.
    pub fn selection_hash(&self, service: &Service, flow: &Flow) -> u64 {
        self.seed.hash(service.policy.selection_tuple(flow).bytes(flow).as_slice())
    }

    /// The eligible backend that the selection hash of `flow` chooses.
    pub fn select(&self, service: &Service, flow: &Flow) -> Option<BackendHandle> {
        service.eligible.select(self.selection_hash(service, flow))
    }

    /// The service behind a rule.
    pub fn service(&self, id: ServiceId) -> &Service {
        &self.services[usize::from(id.0)]
    }

    /// What a conntrack entry is worth at `now`.
    pub fn standing(&self, entry: &Entry, now: Tick) -> Standing {
        match self.backend(entry.backend) {
            Some(backend) if backend.holds(entry, now) && entry.half_open => Standing::HalfOpen,
            Some(backend) if backend.holds(entry, now) => Standing::Live,
            _ => Standing::Void,
        }
    }
}

impl Eligible {
    /// The backend whose slot a selection hash falls on; none where nobody is eligible.
    pub fn select(&self, hash: u64) -> Option<BackendHandle> {
        self.table.select(hash).map(|place| self.backends[usize::from(place)])
    }
}

impl Backend {
    /// Whether `entry`, which names this backend, is valid.
    pub fn holds(&self, entry: &Entry, now: Tick) -> bool {
        let generation = if entry.persists { self.persistent_generation } else { self.generation };
        entry.generation == generation && now < self.drained && entry.idle(now) <= self.idle_timeout_sec
    }

    /// The generation that a new entry is to carry; of an eligible backend never [`Generation::NONE`].
    pub fn generation_for(&self, persists: bool) -> Generation {
        if persists { self.persistent_generation } else { self.generation }
    }
}
