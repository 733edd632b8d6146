//! The forwarding state at one moment: rules, services, backends and lookup tables, immutable.
//!
//! The control thread makes a new snapshot for every change and publishes it; workers only read. What a change
//! leaves alone is shared between snapshots.

mod backends;
mod builder;

use std::sync::Arc;

use crate::access_list::AccessList;
use crate::address::Address;
use crate::admission::Admission;
use crate::affinity::{AffinityPolicy, ServiceKey, TupleBytes};
use crate::backend::{BackendHandle, Generation};
use crate::conntrack::{Entry, Standing};
use crate::delivery::Delivery;
use crate::flow::Flow;
use crate::forwarding_rule::ServiceId;
use crate::ingress::NetworkId;
use crate::maglev::LookupTable;
use crate::network::Networks;
use crate::prefetch::prefetch;
use crate::seed::Seed;
use crate::subsets::Subsets;
use crate::time::Tick;
use crate::traffic_counters::TrafficCounters;

pub use backends::Backends;
pub(crate) use backends::{PlainBackend, PlainBackends};
pub use builder::SnapshotBuilder;

/// Forwarding state at one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Number of the snapshot, counted in this process.
    pub generation: u64,
    /// Networks that the appliance is in: rules and routes that lead packets to services, and its own addresses.
    pub networks: Networks,
    /// Services by [`ServiceId`].
    pub services: Box<[Service]>,
    /// Backends by [`BackendHandle`].
    pub backends: Backends,
    /// Key of the selection hash, for the whole fleet.
    pub seed: Seed,
    /// Access lists of forwarding rules, by [`AccessListId`](crate::access_list::AccessListId).
    pub access_lists: Arc<[AccessList]>,
    /// Settings of admission to the conntrack table.
    pub admission: Admission,
    /// Counters of the traffic through each rule and to each backend, and of backends' conntrack entries.
    pub traffic_counters: Arc<TrafficCounters>,
}

/// Backend service as packets see it.
#[derive(Clone, Debug)]
pub struct Service {
    /// Network that the service's packets come from, and leave by.
    pub network: NetworkId,
    /// Key that tells the service's connections from those of others.
    pub key: ServiceKey,
    /// Hashes and tracking of the service.
    pub policy: AffinityPolicy,
    /// Backends that may get new connections.
    pub eligible: Arc<Eligible>,
}

/// Backends that may get new connections, and the lookup table over them.
#[derive(Debug)]
pub struct Eligible {
    /// Lookup table, whose slots hold indices into `backends`.
    pub table: LookupTable,
    /// Subsets of the table's backends, each met by a class of clients; none where every client meets all.
    pub subsets: Option<Box<Subsets>>,
    /// Eligible backends.
    pub backends: Box<[BackendHandle]>,
    /// Indices that hashes lead to: those of the table's slots, or of the subsets' seats.
    targets: Arc<[u16]>,
}

/// Backend as packets see it: the validity of entries that name it, and the delivery to it.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Name of the backend and of its service as a number, the same in every snapshot; handles have other users in time.
    pub identity: u64,
    /// Generation that an entry that does not persist must carry.
    pub generation: Generation,
    /// Generation that an entry that persists on unhealthy backends must carry.
    pub persistent_generation: Generation,
    /// Time from which on the backend's entries are void: the end of its draining, or never.
    pub drain_deadline: Tick,
    /// Seconds after which an unused entry is void.
    pub idle_timeout_sec: u32,
    /// Delivery of packets to the backend.
    pub delivery: Delivery,
}

/// Reason for which a conntrack entry is void.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryFault {
    /// The handle of the entry's backend is in use no more.
    NoBackend,
    /// The entry was not used for longer than its service's idle timeout.
    Idle,
    /// The draining of the entry's backend is over.
    Drained,
    /// An event has voided the backend's entries since this one was made.
    Voided,
}

impl Snapshot {
    /// Backend of this handle, unless nothing uses the handle now.
    #[inline]
    pub fn backend(&self, handle: BackendHandle) -> Option<&Backend> {
        self.backends.get(handle)
    }

    /// Selection hash of `flow` in a service.
    pub fn selection_hash(&self, service: &Service, flow: &Flow) -> u64 {
        self.seed.hash(service.policy.selection_tuple(flow).bytes(flow).as_slice())
    }

    /// Eligible backend that the selection hash of `flow` chooses.
    pub fn select(&self, service: &Service, flow: &Flow) -> Option<BackendHandle> {
        service.eligible.at(self.target(service, flow))
    }

    /// Slot of the lookup table that the selection hash of `flow` falls on; where there are subsets, seat of the client's.
    #[inline(always)]
    pub(crate) fn target(&self, service: &Service, flow: &Flow) -> usize {
        let hash = self.selection_hash(service, flow);
        match &service.eligible.subsets {
            None => service.eligible.table.slot_of(hash),
            Some(subsets) => self.seat(subsets, flow, hash),
        }
    }

    /// Seat that a selection hash leads to in the class of the flow's client.
    #[cold]
    #[inline(never)]
    fn seat(&self, subsets: &Subsets, flow: &Flow, hash: u64) -> usize {
        subsets.seat_of(self.class(subsets, flow.src), hash)
    }

    /// Class of a client, which has one of these subsets.
    #[inline(never)]
    pub fn class(&self, subsets: &Subsets, client: Address) -> usize {
        subsets.class_of(self.seed.hash_apart(TupleBytes::of_client(client).as_slice()))
    }

    /// Service with this number.
    #[inline]
    pub fn service(&self, id: ServiceId) -> &Service {
        &self.services[usize::from(id.0)]
    }

    /// Standing of a conntrack entry at `now`, for a packet of its connection or one that needs its slot.
    pub fn standing(&self, entry: &Entry, now: Tick) -> Standing {
        match self.backend(entry.backend) {
            Some(backend) if backend.holds(entry, now) => entry.stage.standing(),
            _ => Standing::Void,
        }
    }

    /// Reason for which a conntrack entry is void at `now`; none for a valid one.
    pub fn entry_fault(&self, entry: &Entry, now: Tick) -> Option<EntryFault> {
        let Some(backend) = self.backend(entry.backend) else { return Some(EntryFault::NoBackend) };
        if backend.holds(entry, now) {
            None
        } else if entry.idle(now) > backend.idle_timeout_sec {
            Some(EntryFault::Idle)
        } else if now >= backend.drain_deadline {
            Some(EntryFault::Drained)
        } else {
            Some(EntryFault::Voided)
        }
    }
}

impl Eligible {
    /// Eligible backends with the lookup table over them, and perhaps subsets of them that were chosen from it.
    pub fn new(table: LookupTable, subsets: Option<Subsets>, backends: Box<[BackendHandle]>) -> Self {
        let targets = Arc::clone(subsets.as_ref().map_or(table.slots(), Subsets::seats));
        Self { table, subsets: subsets.map(Box::new), backends, targets }
    }

    /// Digest that tells choices of backends apart: that of the lookup table, where there are subsets hashed once more
    /// with their size. Appliances can compare theirs.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let digest = self.table.digest();
        match &self.subsets {
            None => digest,
            Some(subsets) => subsets.digest(digest),
        }
    }

    /// Backend of a target, a slot or a seat; none if nobody is eligible.
    #[inline]
    pub(crate) fn at(&self, target: usize) -> Option<BackendHandle> {
        self.targets.get(target).map(|index| self.backends[usize::from(*index)])
    }

    /// Starts to bring a target into the cache.
    #[inline]
    pub(crate) fn prefetch(&self, target: usize) {
        prefetch(self.targets.as_ptr().wrapping_add(target));
    }
}

impl Backend {
    /// Healthy backend of the first generations, whose entries live for ten minutes without a packet.
    pub fn healthy(delivery: Delivery) -> Self {
        Self {
            identity: 0,
            generation: Generation(0),
            persistent_generation: Generation(0),
            drain_deadline: Tick::NEVER,
            idle_timeout_sec: 600,
            delivery,
        }
    }

    /// True if `entry`, which names this backend, is valid. One that is not will never be again.
    #[inline]
    pub fn holds(&self, entry: &Entry, now: Tick) -> bool {
        // One branch for all of it, which nearly every packet takes alike.
        (entry.generation == self.generation_for(entry.persists))
            & (now < self.drain_deadline)
            & (entry.idle(now) <= self.idle_timeout_sec)
    }

    /// Generation that a new entry is to carry.
    #[inline]
    pub fn generation_for(&self, persists: bool) -> Generation {
        if persists { self.persistent_generation } else { self.generation }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conntrack::Stage;
    use crate::egress::Egress;
    use crate::wire::ethernet::MacAddress;

    #[test]
    fn an_entry_is_valid_under_its_generation_until_it_is_idle_or_its_backend_has_drained() {
        let snapshot = |drain_deadline| Snapshot {
            backends: Backends::from(vec![Some(Backend {
                generation: Generation(7),
                persistent_generation: Generation(3),
                drain_deadline,
                ..Backend::healthy(Delivery::l2(Egress::to(MacAddress::default()), 1500))
            })]),
            ..Snapshot::default()
        };
        let entry = Entry {
            backend: BackendHandle(0),
            generation: Generation(7),
            persists: false,
            stage: Stage::Established,
            seen: Tick(10),
        };
        let standing = |entry: &Entry, now| snapshot(Tick::NEVER).standing(entry, Tick(now));
        assert_eq!(standing(&entry, 20), Standing::Live);
        assert_eq!(standing(&Entry { stage: Stage::HalfOpen, ..entry }, 20), Standing::HalfOpen);
        assert_eq!(standing(&Entry { generation: Generation(6), ..entry }, 20), Standing::Void, "lost");
        assert_eq!(standing(&Entry { persists: true, ..entry }, 20), Standing::Void, "another generation");
        assert_eq!(
            standing(&Entry { generation: Generation(3), persists: true, ..entry }, 20),
            Standing::Live
        );
        assert_eq!(standing(&entry, 611), Standing::Void, "idle");
        assert_eq!(snapshot(Tick(20)).standing(&entry, Tick(19)), Standing::Live);
        assert_eq!(snapshot(Tick(20)).standing(&entry, Tick(20)), Standing::Void, "drained");
        let fault = |entry: &Entry, deadline, now| snapshot(deadline).entry_fault(entry, Tick(now));
        assert_eq!(fault(&entry, Tick::NEVER, 20), None);
        assert_eq!(
            fault(&Entry { generation: Generation(6), ..entry }, Tick::NEVER, 20),
            Some(EntryFault::Voided)
        );
        assert_eq!(fault(&entry, Tick::NEVER, 611), Some(EntryFault::Idle));
        assert_eq!(fault(&entry, Tick(20), 20), Some(EntryFault::Drained));
        let stranger = Entry { backend: BackendHandle(1), ..entry };
        assert_eq!(fault(&stranger, Tick::NEVER, 20), Some(EntryFault::NoBackend));
    }
}
