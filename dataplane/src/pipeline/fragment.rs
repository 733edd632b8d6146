//! Fragments of TCP and UDP: a later one goes where its first went; all others decide for themselves.

use super::{Candidate, Decision, Round, Tracking, unforwardable};
use crate::backend::BackendHandle;
use crate::counters::Counters;
use crate::first_fragments::{First, FirstFragments};
use crate::flow::Fragment;
use crate::forwarding_rule::{RuleId, ServiceId};
use crate::frame::Frame;
use crate::icmp_error::ErrorBudget;
use crate::snapshot::Backend;
use crate::verdict::{DropReason, Verdict};

impl Round<'_> {
    /// Decides a fragment of TCP or UDP: a later one goes where its first went, all else decide for themselves.
    #[cold]
    #[inline(never)]
    pub(super) fn decide_fragment<F: Frame>(
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
            None => self.select(&candidate, &mut counters.conntrack),
        };
        let known = |handle| Some((handle, self.snapshot.backend(handle)?));
        let Some((handle, backend)) = decision.backend.and_then(known) else {
            decision.verdict = Verdict::Drop(DropReason::NoEligibleBackend);
            return;
        };
        self.deliver(&candidate, backend, frame, decision, counters, budget);
        if let (true, Verdict::Forward, Some((rule, _)), Some(datagram)) =
            (is_first, decision.verdict, decision.rule, datagram)
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
