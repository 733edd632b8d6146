//! Packets that are decided apart: those that came by a route, and fragments of TCP and UDP.

use super::{Apart, Candidate, Decision, Round, Tracking, unforwardable};
use crate::backend::BackendHandle;
use crate::counters::{ConntrackCounters, Counters};
use crate::first_fragments::{First, FirstFragments};
use crate::flow::Fragment;
use crate::forwarding_rule::{RuleId, ServiceId};
use crate::frame::Frame;
use crate::icmp_error::ErrorBudget;
use crate::snapshot::Backend;
use crate::verdict::{DropReason, Verdict};

impl Round<'_> {
    /// Decides a packet without a valid entry that came by a route, or any fragment of TCP or UDP.
    #[cold]
    #[inline(never)]
    pub(super) fn decide_apart<F: Frame>(
        &self,
        candidate: &Candidate,
        frame: &mut F,
        decision: &mut Decision,
        counters: &mut Counters,
        budget: &mut ErrorBudget,
        first_fragments: &mut FirstFragments,
    ) {
        if candidate.apart == Apart::Fragment {
            self.decide_fragment(candidate, frame, decision, counters, budget, first_fragments);
        } else {
            (decision.backend, decision.tracking) = self.select_apart(candidate, &mut counters.conntrack);
            self.deliver_selected(candidate, frame, decision, counters, budget);
        }
    }

    /// Backend as [`Round::select`] selects it, by the hash of both directions if the packet came by a route.
    fn select_apart(
        &self,
        candidate: &Candidate,
        counters: &mut ConntrackCounters,
    ) -> (Option<BackendHandle>, Tracking) {
        let flow = &candidate.packet.flow;
        if candidate.apart == Apart::Routed {
            let policy = &self.snapshot.service(candidate.service).policy;
            return self.select(candidate, &policy.routed(flow), counters);
        }
        self.select(candidate, flow, counters)
    }

    /// Delivers a packet to the backend of its decision, or drops it for want of one.
    fn deliver_selected<F: Frame>(
        &self,
        candidate: &Candidate,
        frame: &mut F,
        decision: &mut Decision,
        counters: &mut Counters,
        budget: &mut ErrorBudget,
    ) {
        match decision.backend.and_then(|handle| self.snapshot.backend(handle)) {
            Some(backend) => self.deliver(candidate, backend, frame, decision, counters, budget),
            None => decision.verdict = Verdict::Drop(DropReason::NoEligibleBackend),
        }
    }

    /// Decides a fragment of TCP or UDP: a later one goes where its first went, all else decide for themselves.
    fn decide_fragment<F: Frame>(
        &self,
        fragment: &Candidate,
        frame: &mut F,
        decision: &mut Decision,
        counters: &mut Counters,
        budget: &mut ErrorBudget,
        first_fragments: &mut FirstFragments,
    ) {
        let packet = &fragment.packet;
        let is_first = packet.flow.fragment == Fragment::First;
        let datagram = packet
            .fragment_identification(frame.bytes())
            .map(|identification| self.hasher.datagram_key(&packet.flow, identification));
        if !is_first {
            let first = datagram.and_then(|datagram| first_fragments.find(datagram, self.now));
            if let Some((rule, service, handle, backend)) = first.and_then(|first| self.followed(&first)) {
                counters.fragments_followed += 1;
                *decision = Decision::pending(rule, service, frame.bytes());
                if let Some(reason) = unforwardable(frame.bytes(), packet) {
                    decision.verdict = Verdict::Drop(reason);
                    return;
                }
                counters.conntrack.untracked += 1;
                decision.backend = Some(handle);
                return self.deliver(fragment, backend, frame, decision, counters, budget);
            }
        }
        let mut candidate = *fragment;
        let admitted = self.classify(&mut candidate, frame.bytes(), decision, counters);
        let is_ours = decision.rule.is_some() || self.snapshot.rules.is_vip(packet.flow.dst);
        counters.fragments_first_unseen += u64::from(!is_first && is_ours);
        if !admitted {
            return;
        }
        (decision.backend, decision.tracking) = match self.connection(&candidate, &mut counters.conntrack) {
            Some((handle, _)) => (Some(handle), Tracking::Hit),
            None => self.select_apart(&candidate, &mut counters.conntrack),
        };
        self.deliver_selected(&candidate, frame, decision, counters, budget);
        if let (true, Verdict::Forward) = (is_first, decision.verdict)
            && let (Some((rule, _)), Some(handle), Some(datagram)) =
                (decision.rule, decision.backend, datagram)
            && let Some(backend) = self.snapshot.backend(handle)
        {
            let rule = self.snapshot.rules.identity(rule);
            let first = First { rule, backend: handle, backend_identity: backend.identity, seen: self.now };
            first_fragments.remember(datagram, first);
        }
    }

    /// Rule and backend of a first fragment, while both are still there: the backend configured or draining.
    fn followed(&self, first: &First) -> Option<(RuleId, ServiceId, BackendHandle, &Backend)> {
        let backend = self.snapshot.backend(first.backend)?;
        let is_there = backend.identity == first.backend_identity && self.now < backend.drain_deadline;
        let (rule, service) = self.snapshot.rules.identified(first.rule).filter(|_| is_there)?;
        Some((rule, service, first.backend, backend))
    }
}
