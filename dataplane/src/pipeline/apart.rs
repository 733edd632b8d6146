//! Packets that are decided apart: those that came by a route, and fragments of TCP and UDP.

use super::general::{Apart, Candidate, unforwardable};
use super::{Decision, Round, Tracking};
use crate::affinity::DatagramKey;
use crate::backend::BackendHandle;
use crate::counters::{ConntrackCounters, Counters};
use crate::first_fragments::{First, FirstFragments};
use crate::flow::Fragment;
use crate::forwarding_rule::{RuleId, ServiceId, Targets};
use crate::ingress::NetworkId;
use crate::verdict::Verdict;

/// Rest of the way of a packet that was decided apart.
pub(super) enum Onward {
    /// Delivery to the backend of the decision, if there is one.
    Deliver,
    /// Delivery, and this datagram's later fragments are to follow if it succeeds.
    DeliverFirst(DatagramKey),
    /// Nothing: the decision is final.
    End,
}

impl Round<'_> {
    /// Decides a packet without a valid entry that came by a route, or any fragment of TCP or UDP.
    #[cold]
    #[inline(never)]
    pub(super) fn decide_apart(
        &self,
        candidate: &Candidate,
        frame: &[u8],
        decision: &mut Decision,
        counters: &mut Counters,
        first_fragments: &FirstFragments,
    ) -> Onward {
        if candidate.apart == Apart::Fragment {
            return self.decide_fragment(candidate, frame, decision, counters, first_fragments);
        }
        (decision.backend, decision.tracking) = self.select_apart(candidate, &mut counters.conntrack);
        Onward::Deliver
    }

    /// Remembers where a first fragment went, if it was forwarded.
    #[cold]
    #[inline(never)]
    pub(super) fn remember(
        &self,
        datagram: DatagramKey,
        decision: &Decision,
        first_fragments: &mut FirstFragments,
    ) {
        if let (Verdict::Forward, Some((rule, _)), Some(handle)) =
            (decision.verdict, decision.rule, decision.backend)
            && let Some(backend) = self.snapshot.backend(handle)
        {
            let rule = self.targets().identity(rule);
            let first = First { rule, backend: handle, backend_identity: backend.identity, seen: self.now };
            first_fragments.remember(datagram, first);
        }
    }

    /// Decides a fragment: a later one goes where its first went, all else decide for themselves.
    fn decide_fragment(
        &self,
        fragment: &Candidate,
        frame: &[u8],
        decision: &mut Decision,
        counters: &mut Counters,
        first_fragments: &FirstFragments,
    ) -> Onward {
        let packet = &fragment.packet;
        let is_first = packet.flow.fragment == Fragment::First;
        let datagram = packet
            .fragment_identification(frame)
            .map(|identification| self.hasher.datagram_key(fragment.network, &packet.flow, identification));
        if !is_first {
            let first = datagram.and_then(|datagram| first_fragments.find(datagram, self.now));
            if let Some((rule, service, handle)) =
                first.and_then(|first| self.followed(&first, fragment.network))
            {
                counters.fragments_followed += 1;
                *decision = Decision::pending(rule, service, frame);
                if let Some(reason) = unforwardable(frame, packet) {
                    decision.verdict = Verdict::Drop(reason);
                    return Onward::End;
                }
                counters.conntrack.untracked += 1;
                decision.backend = Some(handle);
                return Onward::Deliver;
            }
        }
        let mut candidate = *fragment;
        let intake = self.intake(self.snapshot.networks.get(fragment.network));
        let admitted = intake.classify(&mut candidate, frame, decision, counters);
        let is_ours = decision.rule.is_some() || intake.rules.is_vip(packet.flow.dst);
        counters.fragments_first_unseen += u64::from(!is_first && is_ours);
        if !admitted {
            return Onward::End;
        }
        (decision.backend, decision.tracking) = match self.connection(&candidate, &mut counters.conntrack) {
            Some(handle) => (Some(handle), Tracking::Hit),
            None => self.select_apart(&candidate, &mut counters.conntrack),
        };
        datagram.filter(|_| is_first).map_or(Onward::Deliver, Onward::DeliverFirst)
    }

    /// Backend as [`Round::select`] selects it, by the hash of both directions if the packet came by a route.
    fn select_apart(
        &self,
        candidate: &Candidate,
        counters: &mut ConntrackCounters,
    ) -> (Option<BackendHandle>, Tracking) {
        let mut hashed = *candidate;
        if candidate.apart == Apart::Routed {
            let policy = &self.snapshot.service(candidate.service).policy;
            hashed.packet.flow = policy.routed(&candidate.packet.flow);
        }
        self.select(&hashed, counters)
    }

    /// Rule and backend of a first fragment in a network, while both are still there: the backend configured or draining.
    fn followed(&self, first: &First, network: NetworkId) -> Option<(RuleId, ServiceId, BackendHandle)> {
        let backend = self.snapshot.backend(first.backend)?;
        let is_there = backend.identity == first.backend_identity && self.now < backend.drain_deadline;
        let (rule, service) = self.targets().identified(first.rule).filter(|_| is_there)?;
        // A reload may have given the network's number to another, or the rule to another network.
        let is_here = self.snapshot.service(service).network == network;
        is_here.then_some((rule, service, first.backend))
    }

    /// Rules of all networks, by their ids.
    fn targets(&self) -> &Targets {
        self.snapshot.networks.first().rules.targets()
    }
}
