//! Fate of tracked connections: what becomes of those of each backend, and for what cause.

use std::collections::{BTreeMap, BTreeSet};

use guideway_dataplane::backend::BackendHandle;
use guideway_dataplane::forwarding_rule::ServiceId;
use guideway_dataplane::snapshot::Snapshot;
use guideway_dataplane::wire::protocol;

use super::lost_rules::LostRules;
use crate::config::BackendService;
use crate::forwarding_state::ForwardingState;
use crate::service::{BackendState, ServiceState};

/// Fate of some tracked connections that do not simply go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fate {
    /// Service of the connections.
    pub service: String,
    /// Backend that they are on.
    pub backend: String,
    /// Kind of fate.
    pub kind: FateKind,
    /// Cause, in words.
    pub cause: String,
    /// Number of the connections; `None` where no table was looked at.
    pub connections: Option<u64>,
}

/// Kind of fate of a tracked connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FateKind {
    /// The connection ends: its backend, or everything that leads to its service, is gone.
    End,
    /// The connection goes by its hash again, to another backend in most cases, which does not know it.
    Move,
    /// The connection ends if it came by a rule that is gone or takes fewer packets; entries do not tell their rule.
    MayEnd,
    /// The connection goes on until the draining timeout of its service.
    Drain,
}

/// Cause of entries that a switch of pools or of health voids.
pub(super) const VOIDED: &str = "a change of health or of the pool that serves voids entries";

/// Destiny of the connections on one backend; no kind where they go on.
#[derive(Clone, Debug)]
pub(super) struct Destiny {
    pub(super) service: String,
    pub(super) backend: String,
    pub(super) kind: Option<FateKind>,
    pub(super) cause: String,
}

/// Destinies of all backends, and the services whose selection hash stays.
#[derive(Debug)]
pub(super) struct Judge {
    /// By handle.
    destinies: Vec<Option<Destiny>>,
    hash_stays: BTreeSet<String>,
}

impl Judge {
    pub(super) fn new(
        before: &ForwardingState,
        before_snapshot: &Snapshot,
        after: &ForwardingState,
        after_snapshot: &Snapshot,
    ) -> Self {
        let mut judge =
            Self { destinies: vec![None; before.services().handles().len()], hash_stays: BTreeSet::new() };
        let (old, new) = (indices(before), indices(after));
        for (name, state) in before.services().iter() {
            let pair = old.get(name).zip(new.get(name));
            let policies = pair.map(|((was, _), (is, _))| {
                (before_snapshot.service(*was).policy, after_snapshot.service(*is).policy)
            });
            let is_tracked_alike = policies.is_some_and(|(was, is)| {
                let of = |policy: guideway_dataplane::affinity::AffinityPolicy| {
                    [protocol::TCP, protocol::UDP, protocol::ESP, protocol::ICMP].map(|number| {
                        let treatment = *policy.treatment(number);
                        (treatment.tracked, treatment.tracking_tuple_with_ports())
                    })
                };
                of(was) == of(is)
            });
            let selects_alike = pair
                .is_some_and(|((_, was), (_, is))| was.affinity == is.affinity && was.scheme == is.scheme);
            if selects_alike {
                judge.hash_stays.insert(name.to_owned());
            }
            let lost = LostRules::of(name, before.config(), after.config());
            let now = after.services().get(name).filter(|now| now.key() == state.key());
            for backend in state.backends() {
                let whole = match now {
                    None => Some((FateKind::End, "the service is gone".to_owned())),
                    Some(_) if lost.are_all => {
                        Some((FateKind::End, "no rule leads to the service any more".to_owned()))
                    }
                    Some(now) => of_backend(backend, now, before_snapshot, after_snapshot)
                        .or_else(|| {
                            let cause = "connections are tracked by other fields";
                            (!is_tracked_alike).then(|| (FateKind::Move, cause.to_owned()))
                        })
                        .or_else(|| {
                            let names = lost.lost.join(", ");
                            (!lost.lost.is_empty())
                                .then(|| (FateKind::MayEnd, format!("gone, or takes fewer packets: {names}")))
                        }),
                };
                let (kind, cause) = whole.map_or((None, String::new()), |(kind, cause)| (Some(kind), cause));
                let destiny =
                    Destiny { service: name.to_owned(), backend: backend.endpoint.name.clone(), kind, cause };
                judge.destinies[backend.handle.0 as usize] = Some(destiny);
            }
        }
        judge
    }

    /// Destiny of the connections on a backend; none of a handle that nobody has.
    pub(super) fn destiny(&self, backend: BackendHandle) -> Option<&Destiny> {
        self.destinies.get(backend.0 as usize)?.as_ref()
    }

    /// True if the flows of a service keep their selection hash, the seed apart.
    pub(super) fn hash_stays(&self, service: &str) -> bool {
        self.hash_stays.contains(service)
    }

    /// Fates of the connections that there may be: service, backend, kind and cause.
    pub(super) fn possible(self) -> BTreeSet<(String, String, FateKind, String)> {
        let destinies = self.destinies.into_iter().flatten();
        destinies
            .filter_map(|Destiny { service, backend, kind, cause }| Some((service, backend, kind?, cause)))
            .collect()
    }
}

/// Numbers and settings of the services of a configuration, by name.
fn indices(state: &ForwardingState) -> BTreeMap<&str, (ServiceId, &BackendService)> {
    let services = state.config().services.iter().enumerate();
    services.map(|(index, service)| (&*service.name, (ServiceId(index as u16), service))).collect()
}

/// Fate of the connections on a backend by what becomes of the backend; none where they go on.
fn of_backend(
    before: &BackendState,
    service: &ServiceState,
    before_snapshot: &Snapshot,
    after_snapshot: &Snapshot,
) -> Option<(FateKind, String)> {
    let name = &before.endpoint.name;
    let now = service.backends().find(|now| now.endpoint.name == *name && now.handle == before.handle);
    let Some(now) = now else {
        return Some((FateKind::End, "the backend is removed, and its service drains nothing".to_owned()));
    };
    if now.removed_at.is_some() {
        let seconds = service.draining_timeout().as_secs();
        // A backend that drained before drains on.
        let is_new = before.removed_at.is_none();
        return is_new
            .then(|| (FateKind::Drain, format!("the backend is removed, and drains for {seconds} s")));
    }
    if before.endpoint.address != now.endpoint.address {
        let (was, is) = (before.endpoint.address, now.endpoint.address);
        return Some((FateKind::Move, format!("the backend's address changes from {was} to {is}")));
    }
    let (was, is) = (before_snapshot.backend(before.handle)?, after_snapshot.backend(now.handle)?);
    let is_voided = was.generation != is.generation || was.persistent_generation != is.persistent_generation;
    is_voided.then(|| (FateKind::Move, VOIDED.to_owned()))
}
