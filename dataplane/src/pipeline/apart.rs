//! Packets that are decided apart: those that came by a route, and later fragments of TCP and UDP.

use super::general::{Apart, Candidate, datagram_of, unforwardable};
use super::{Decision, Round, Tracking};
use crate::affinity::DatagramKey;
use crate::backend::BackendHandle;
use crate::counters::{ConntrackCounters, Counters};
use crate::first_fragments::{First, FirstFragments};
use crate::forwarding_rule::{RuleId, ServiceId, Targets};
use crate::ingress::NetworkId;
use crate::snapshot::Backend;
use crate::verdict::{DropReason, Verdict};

impl Round<'_> {
    /// Decides a packet without a valid entry that came by a route, or a later fragment of TCP or UDP. True if it goes on to
    /// its delivery, false where its decision is final.
    #[cold]
    #[inline(never)]
    pub(super) fn decide_apart(
        &self,
        candidate: &mut Candidate,
        frame: &[u8],
        decision: &mut Decision,
        counters: &mut Counters,
        first_fragments: &FirstFragments,
    ) -> bool {
        if candidate.apart == Apart::LaterFragment {
            return self.decide_later_fragment(candidate, frame, decision, counters, first_fragments);
        }
        (decision.backend, decision.tracking) = self.select_apart(candidate, &mut counters.conntrack);
        true
    }

    /// Remembers that a first fragment went to `backend`, if it was forwarded.
    #[cold]
    #[inline(never)]
    pub(super) fn remember(
        &self,
        datagram: DatagramKey,
        backend: &Backend,
        decision: &Decision,
        first_fragments: &mut FirstFragments,
    ) {
        if let (Verdict::Forward, Some((rule, _)), Some(handle)) =
            (decision.verdict, decision.rule, decision.backend)
        {
            let rule = self.targets().identity(rule);
            let first = First { rule, backend: handle, backend_identity: backend.identity, seen: self.now };
            first_fragments.remember(datagram, first);
        }
    }

    /// Decides a later fragment: it goes where its first went, else it decides for itself. True if it goes on to its
    /// delivery, false where its decision is final.
    fn decide_later_fragment(
        &self,
        candidate: &mut Candidate,
        frame: &[u8],
        decision: &mut Decision,
        counters: &mut Counters,
        first_fragments: &FirstFragments,
    ) -> bool {
        let packet = &candidate.packet;
        let first = datagram_of(candidate, frame, self.hasher)
            .and_then(|datagram| first_fragments.find(datagram, self.now))
            .and_then(|first| self.followed(&first, candidate.network));
        if let Some((rule, service, handle)) = first {
            counters.fragments_followed += 1;
            *decision = Decision::pending(rule, service, frame);
            // The list may have come after the first.
            let intake = self.intake(self.snapshot.networks.get(candidate.network));
            if intake.denies(rule, packet.flow.src) {
                decision.verdict = Verdict::Drop(DropReason::AccessDenied);
                return false;
            }
            if let Some(reason) = unforwardable(frame, packet.flow.src, packet.ttl, intake.rules) {
                decision.verdict = Verdict::Drop(reason);
                return false;
            }
            counters.conntrack.untracked += 1;
            decision.backend = Some(handle);
            return true;
        }
        let intake = self.intake(self.snapshot.networks.get(candidate.network));
        let is_admitted = intake.classify(candidate, frame, decision, counters);
        let is_ours = decision.rule.is_some() || intake.rules.is_vip(candidate.packet.flow.dst);
        counters.fragments_first_unseen += u64::from(is_ours);
        if !is_admitted {
            return false;
        }
        (decision.backend, decision.tracking) = match self.connection(candidate, &mut counters.conntrack) {
            Some(handle) => (Some(handle), Tracking::Hit),
            None => self.select_apart(candidate, &mut counters.conntrack),
        };
        true
    }

    /// Backend as [`Round::select`] selects it, by the hash of both directions if the packet came by a route.
    fn select_apart(
        &self,
        candidate: &Candidate,
        counters: &mut ConntrackCounters,
    ) -> (Option<BackendHandle>, Tracking) {
        let flow = &candidate.packet.flow;
        if candidate.apart != Apart::Routed {
            return self.select(candidate, flow, counters);
        }
        let in_order = self.snapshot.service(candidate.service).policy.routed(flow);
        self.select(candidate, &in_order, counters)
    }

    /// Rule and backend of a first fragment in a network, while both are still there: the backend configured or draining.
    pub(super) fn followed(
        &self,
        first: &First,
        network: NetworkId,
    ) -> Option<(RuleId, ServiceId, BackendHandle)> {
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
