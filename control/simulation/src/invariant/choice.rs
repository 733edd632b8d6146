//! Choices of backends: a new connection's is eligible, a tracked one's stays, and all appliances choose alike.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::{Eligible, Invariant, View, Views};
use crate::client::Kind;
use crate::scenario::Service;

/// Addresses and ports of a flow, as hashes know it.
type Ends = (Service, IpAddr, u16);

/// Packet that has been sent to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Service of the packet.
    pub service: Service,
    /// Client's address.
    pub client: IpAddr,
    /// Client's port.
    pub port: u16,
    /// Kind of the packet.
    pub kind: Kind,
    /// Number of the datagram that it is of.
    pub datagram: u64,
    /// Backend that it was sent to.
    pub backend: usize,
}

/// Connection that an appliance tracks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tracked {
    backend: usize,
    /// True once the semantics allow another backend: the connection's own was removed, or is unhealthy and does not persist.
    may_move: bool,
    /// True if a damaged packet may have begun the connection anew, or another one.
    is_doubtful: bool,
}

/// Connections of an appliance as its packets have shown them.
#[derive(Debug, Default)]
pub struct Choices {
    tracked: BTreeMap<Ends, Tracked>,
    /// Backends that packets may have chosen which were dropped on their way there.
    suspects: BTreeMap<Ends, BTreeSet<usize>>,
    /// Backends that first fragments went to, by their datagrams.
    firsts: BTreeMap<u64, usize>,
    /// Datagrams of which a fragment was damaged.
    doubtful: BTreeSet<u64>,
    /// Number of choices of a backend for a new connection.
    pub chosen: u64,
    /// Number of packets that had to follow their connection.
    pub kept: u64,
}

/// Earlier choices of all appliances, by flow and eligible backends.
pub type Precedents = BTreeMap<(Ends, Eligible), usize>;

impl Choices {
    /// Forgets all connections, as a process that ends does.
    pub fn forget(&mut self) {
        self.tracked.clear();
        self.suspects.clear();
        self.firsts.clear();
        self.doubtful.clear();
    }

    /// Takes in what has changed about backends.
    pub fn observe(&mut self, view: &View) {
        for ((service, _, _), tracked) in &mut self.tracked {
            tracked.may_move |= match view.member(*service, tracked.backend) {
                None => true,
                // A failover switch keeps connections by default.
                Some(member) => member.is_removed || (!service.is_tcp() && !member.is_healthy),
            };
        }
    }

    /// Takes in a decision about a damaged packet: nobody knows which flow it was of, and what it was of it.
    pub fn doubt(&mut self, decision: &Decision) {
        let Decision { service, client, port, backend, .. } = *decision;
        for port in [port, 0] {
            let tracked = Tracked { backend, may_move: true, is_doubtful: true };
            self.tracked.insert((service, client, port), tracked);
        }
        self.doubtful.insert(decision.datagram);
    }

    /// Takes in that a packet was dropped, perhaps after it had chosen a backend: its connection is tracked then.
    pub fn suspect(&mut self, dropped: &Decision, views: &Views, now: Duration) {
        let Decision { service, client, port, kind, .. } = *dropped;
        let ends = (service, client, if kind == Kind::First { 0 } else { port });
        let known = self.tracked.get_mut(&ends);
        if known.as_ref().is_some_and(|tracked| !tracked.may_move) && kind != Kind::Syn {
            return;
        }
        if let Some(tracked) = known {
            tracked.may_move = true;
        }
        self.suspects
            .entry(ends)
            .or_default()
            .extend(views.eligible(service, now).into_iter().flat_map(Eligible::into_keys));
    }

    /// Takes in a decision; returns the invariant that it breaks, if it breaks one, and how.
    pub fn take_in(
        &mut self,
        decision: &Decision,
        views: &Views,
        precedents: &mut Precedents,
        now: Duration,
    ) -> Option<(Invariant, String)> {
        let Decision { service, client, port, kind, datagram, backend } = *decision;
        // The ports of a datagram in fragments do not count: not every fragment has them.
        let ends = (service, client, if kind == Kind::First { 0 } else { port });
        match kind {
            Kind::First => drop(self.firsts.insert(datagram, backend)),
            Kind::Later if self.doubtful.contains(&datagram) => return None,
            Kind::Later if self.firsts.get(&datagram) == Some(&backend) => return None,
            Kind::Later => {
                let text =
                    format!("{decision:?}, and its first fragment went to {:?}", self.firsts.get(&datagram));
                return Some((Invariant::Kept, text));
            }
            _ => {}
        }
        let known = self.tracked.get(&ends).copied().filter(|_| kind != Kind::Syn);
        match known {
            Some(Tracked { is_doubtful: true, .. }) => {
                self.tracked.insert(ends, Tracked { backend, may_move: true, is_doubtful: false });
                return None;
            }
            Some(tracked) if tracked.backend == backend => {
                self.kept += u64::from(!tracked.may_move);
                return None;
            }
            Some(tracked) if !tracked.may_move => {
                let text = format!("{decision:?} follows a connection of b{}", tracked.backend);
                return Some((Invariant::Kept, text));
            }
            _ => {}
        }
        let sets = views.eligible(service, now);
        let was_chosen =
            kind != Kind::Syn && self.suspects.get(&ends).is_some_and(|set| set.contains(&backend));
        if was_chosen {
            self.tracked.insert(ends, Tracked { backend, may_move: true, is_doubtful: false });
            return None;
        }
        if !sets.iter().any(|set| set.contains_key(&backend)) {
            return Some((Invariant::Eligible, format!("{decision:?}, and eligible are {sets:?}")));
        }
        // An error leaves no entry.
        if kind == Kind::Error {
            return None;
        }
        self.chosen += 1;
        self.tracked.insert(ends, Tracked { backend, may_move: false, is_doubtful: false });
        let [set] = &sets[..] else { return None };
        let before = *precedents.entry((ends, set.clone())).or_insert(backend);
        let text = format!("{decision:?}, and b{before} was chosen of the same backends {set:?} before");
        (before != backend).then_some((Invariant::SameChoice, text))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Member;
    use super::*;

    fn views(healthy: [bool; 2]) -> Views {
        let member = |backend: usize| Member {
            backend,
            is_spare: false,
            is_healthy: healthy[backend],
            is_drained: false,
            is_removed: false,
            is_stated: true,
            weight: None,
            share_ppm: 0,
        };
        let mut views = Views::default();
        let members = vec![member(0), member(1)];
        let of = |service| (service, members.clone());
        views.add(View(BTreeMap::from([of(Service::Web), of(Service::Dns)])), Duration::ZERO);
        views
    }

    fn decision(service: Service, kind: Kind, backend: usize) -> Decision {
        Decision { service, client: IpAddr::from([198, 51, 100, 1]), port: 7, kind, datagram: 1, backend }
    }

    /// Invariants that decisions break, one after another.
    fn broken(views: &Views, decisions: &[Decision]) -> Vec<Option<Invariant>> {
        let (mut choices, mut precedents) = (Choices::default(), Precedents::new());
        let mut one = |decision: &Decision| {
            choices.take_in(decision, views, &mut precedents, Duration::ZERO).map(|(invariant, _)| invariant)
        };
        decisions.iter().map(&mut one).collect()
    }

    #[test]
    fn a_connection_to_a_backend_that_is_not_eligible_is_seen() {
        let views = views([true, false]);
        let to = |backend| [decision(Service::Web, Kind::Syn, backend)];
        assert_eq!(broken(&views, &to(0)), [None]);
        assert_eq!(broken(&views, &to(1)), [Some(Invariant::Eligible)]);
    }

    #[test]
    fn a_connection_that_moves_is_seen() {
        let views = views([true, true]);
        let (syn, segment) = (decision(Service::Web, Kind::Syn, 0), decision(Service::Web, Kind::Segment, 1));
        assert_eq!(broken(&views, &[syn, segment]), [None, Some(Invariant::Kept)]);
        let stays = decision(Service::Web, Kind::Segment, 0);
        assert_eq!(broken(&views, &[syn, stays]), [None, None]);
    }

    #[test]
    fn a_fragment_that_leaves_its_first_is_seen() {
        let views = views([true, true]);
        let first = decision(Service::Dns, Kind::First, 0);
        let later = |backend| decision(Service::Dns, Kind::Later, backend);
        assert_eq!(broken(&views, &[first, later(0), later(1)]), [None, None, Some(Invariant::Kept)]);
        assert_eq!(broken(&views, &[later(0)]), [Some(Invariant::Kept)]);
    }

    #[test]
    fn a_choice_of_a_dropped_packet_counts_and_no_other() {
        let (all, one) = (views([true, false]), views([false, true]));
        let (mut choices, mut precedents) = (Choices::default(), Precedents::new());
        choices.suspect(&decision(Service::Web, Kind::Segment, 0), &all, Duration::ZERO);
        let mut take_in = |kind, backend| {
            let decision = decision(Service::Web, kind, backend);
            choices.take_in(&decision, &one, &mut precedents, Duration::ZERO).map(|(invariant, _)| invariant)
        };
        assert_eq!((take_in(Kind::Segment, 0), take_in(Kind::Segment, 0)), (None, None));
        assert_eq!((take_in(Kind::Syn, 0), take_in(Kind::Syn, 1)), (Some(Invariant::Eligible), None));
    }

    #[test]
    fn a_damaged_packet_leaves_one_packet_free() {
        let views = views([true, true]);
        let (mut choices, mut precedents) = (Choices::default(), Precedents::new());
        choices.doubt(&decision(Service::Web, Kind::Syn, 0));
        let mut take_in = |backend| {
            let decision = decision(Service::Web, Kind::Segment, backend);
            choices
                .take_in(&decision, &views, &mut precedents, Duration::ZERO)
                .map(|(invariant, _)| invariant)
        };
        assert_eq!((take_in(1), take_in(1)), (None, None));
    }

    #[test]
    fn a_choice_that_differs_from_an_earlier_one_is_seen() {
        let views = views([true, true]);
        let syn = |backend| decision(Service::Web, Kind::Syn, backend);
        assert_eq!(broken(&views, &[syn(0), syn(1)]), [None, Some(Invariant::SameChoice)]);
    }

    #[test]
    fn datagrams_may_leave_an_unhealthy_backend_and_connections_may_not() {
        let (all, one) = (views([true, true]), views([false, true]));
        for (service, first, later, expected) in [
            (Service::Dns, Kind::Datagram, Kind::Datagram, None),
            (Service::Web, Kind::Syn, Kind::Segment, Some(Invariant::Kept)),
        ] {
            let (mut choices, mut precedents) = (Choices::default(), Precedents::new());
            let mut take_in = |choices: &mut Choices, views: &Views, kind, backend| {
                let decision = decision(service, kind, backend);
                choices
                    .take_in(&decision, views, &mut precedents, Duration::ZERO)
                    .map(|(invariant, _)| invariant)
            };
            assert_eq!(take_in(&mut choices, &all, first, 0), None);
            choices.observe(one.latest().expect("there is one"));
            assert_eq!(take_in(&mut choices, &one, later, 1), expected);
        }
    }
}
