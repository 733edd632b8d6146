//! The first packets of plain connections, and plain packets that are not tracked: a backend is selected by the hash, and an
//! entry made that keeps the connection there.
//!
//! A packet that is sure to be selected for has its hash computed in the first loop, and its slot of the lookup table is on
//! the way when the second comes to it.

use super::intake::Intake;
use super::step::{Step, Way, known_in};
use super::{Decision, Round, Tracking, Worker};
use crate::address::Address;
use crate::admission::{Admitted, Limits, PROTECTED_SECONDS, Sender};
use crate::backend::BackendHandle;
use crate::conntrack::{Entry, Inserted, Stage, Standing, TrackingKey};
use crate::counters::ConntrackCounters;
use crate::flow::Flow;
use crate::forwarding_rule::{PlainRule, RuleId};
use crate::frame::Frame;
use crate::ingress::NetworkId;
use crate::packet::{Plain, PlainIpv4, PlainIpv6};
use crate::source_meter::SourceKey;
use crate::traffic_counters::WorkerTrafficCounters;
use crate::verdict::{DropReason, Verdict};
use crate::wire::protocol;

/// Entry that a packet without one makes, but for its backend.
#[derive(Clone, Copy)]
pub(super) struct Opening {
    /// Rule of the packet.
    pub(super) rule: RuleId,
    pub(super) key: TrackingKey,
    /// True if the connection stays on its backend when that turns unhealthy.
    pub(super) persists: bool,
    pub(super) stage: Stage,
    /// True if the packet starts the connection anew, whatever entry there is.
    pub(super) restarts: bool,
}

/// Refusal of a packet whose source has begun as many connections as it may.
pub(super) struct Refused;

impl Intake<'_> {
    /// Takes in a plain packet of which it is known that its hash selects, in the first loop. None if it is another.
    #[inline(always)]
    pub(super) fn take_in_opening<'f, P: Plain<'f>>(
        &self,
        plain: P,
        rule: &PlainRule,
        step: &mut Step<'_>,
    ) -> Option<Way> {
        let service = self.snapshot.service(rule.service);
        let flow = &plain.flow();
        let way = if !rule.tracked {
            Way::Untracked
        } else if plain.opens() && service.policy.treatment_with_ports(flow.protocol).restarts {
            step.key = plain.tracking_key(self.hasher, &rule.key);
            self.table.prefetch_pair(step.key);
            Way::Opening
        } else {
            return None;
        };
        let target = self.snapshot.target(service, flow);
        service.eligible.prefetch(target);
        step.target = target as u32;
        Some(way)
    }
}

impl<'s> Round<'s> {
    /// Selects a backend for a plain packet that has no entry, in the second loop.
    #[inline(always)]
    pub(super) fn open<F: Frame>(
        &self,
        step: &mut Step<'s>,
        frame: &mut F,
        decision: &mut Decision,
        worker: &mut Worker<'_>,
    ) {
        if self.snapshot.admission.limits.is_none() {
            self.open_as::<F, false>(step, frame, decision, worker);
        } else {
            self.open_as::<F, true>(step, frame, decision, worker);
        }
    }

    /// Selects a backend, with limits or without: without them, it is as if there were none.
    #[inline(never)]
    fn open_as<F: Frame, const LIMITED: bool>(
        &self,
        step: &mut Step<'s>,
        frame: &mut F,
        decision: &mut Decision,
        worker: &mut Worker<'_>,
    ) {
        let service = self.snapshot.service(step.service);
        let counters = &mut worker.counters.conntrack;
        let (selected, tracking) = match step.way {
            Way::Opening => {
                let stage = Stage::HalfOpen;
                // Only TCP has packets that open a connection.
                let persists = service.policy.treatment_with_ports(protocol::TCP).persists;
                let opening = Opening { rule: step.rule, key: step.key, persists, stage, restarts: true };
                match self.protected(step.key, counters) {
                    Some(handle) => (Some(handle), Tracking::Hit),
                    None => {
                        let sender = || plain_sender(step, service.network, frame.bytes());
                        let target = service.eligible.at(step.target as usize);
                        match self.enter::<LIMITED>(&opening, target, sender, counters) {
                            Ok(found) => found,
                            Err(Refused) => return refuse(step, frame.bytes(), decision),
                        }
                    }
                }
            }
            _ => {
                let bytes = frame.bytes();
                let flow = plain_flow(step, bytes);
                if let Some(reason) = self.unforwardable_source(step, flow.src) {
                    *decision = Decision::pending(step.rule, step.service, bytes);
                    decision.verdict = Verdict::Drop(reason);
                    return;
                }
                let persists = service.policy.treatment_with_ports(flow.protocol).persists;
                let stage = Stage::Unconfirmed;
                let opening = Opening { rule: step.rule, key: step.key, persists, stage, restarts: false };
                let sender = || plain_sender(step, service.network, bytes);
                let selected = self.snapshot.select(service, &flow);
                match self.enter::<LIMITED>(&opening, selected, sender, counters) {
                    Ok(found) => found,
                    Err(Refused) => return refuse(step, frame.bytes(), decision),
                }
            }
        };
        self.depart(selected, tracking, step, frame, decision, worker);
    }

    /// Selects a backend for a plain packet that is not tracked, in the second loop.
    #[inline(never)]
    pub(super) fn select_untracked<F: Frame>(
        &self,
        step: &mut Step<'s>,
        frame: &mut F,
        decision: &mut Decision,
        worker: &mut Worker<'_>,
    ) {
        worker.counters.conntrack.untracked += 1;
        let selected = self.snapshot.service(step.service).eligible.at(step.target as usize);
        self.depart(selected, Tracking::Off, step, frame, decision, worker);
    }

    /// Sends a plain packet to the backend that was selected for it, or drops it where there is none.
    #[inline(always)]
    fn depart<F: Frame>(
        &self,
        selected: Option<BackendHandle>,
        tracking: Tracking,
        step: &mut Step<'s>,
        frame: &mut F,
        decision: &mut Decision,
        worker: &mut Worker<'_>,
    ) {
        if let Some(handle) = selected
            && let Some(backend) = self.fitting(step, handle)
        {
            step.depart_to(backend, handle, tracking);
            return;
        }
        *decision = Decision::pending(step.rule, step.service, frame.bytes());
        (decision.backend, decision.tracking) = (selected, tracking);
        match selected.filter(|handle| self.snapshot.backend(*handle).is_some()) {
            Some(handle) => self.deliver_generally(handle, frame, decision, worker),
            None => decision.verdict = Verdict::Drop(DropReason::NoEligibleBackend),
        }
    }

    /// Reason for which no packet from this source makes an entry. Asked where there is none: an older entry has passed, or the
    /// source has become the appliance's own since.
    #[inline]
    pub(super) fn unforwardable_source(&self, step: &Step<'_>, source: Address) -> Option<DropReason> {
        if source.is_martian_source() {
            return Some(DropReason::MartianSource);
        }
        // A packet's rule, and so its service, is of its own network.
        let network = self.snapshot.networks.get(self.snapshot.service(step.service).network);
        network.rules.is_own_source(source).then_some(DropReason::OwnSource)
    }

    /// Backend of an established connection that a SYN does not start anew, where such are protected.
    #[inline(always)]
    pub(super) fn protected(
        &self,
        key: TrackingKey,
        counters: &mut ConntrackCounters,
    ) -> Option<BackendHandle> {
        if self.snapshot.admission.protect_established { self.find_protected(key, counters) } else { None }
    }

    #[cold]
    #[inline(never)]
    fn find_protected(&self, key: TrackingKey, counters: &mut ConntrackCounters) -> Option<BackendHandle> {
        let entry = self.table.lookup(key)?.entry();
        let is_established = entry.stage == Stage::Established && entry.idle(self.now) <= PROTECTED_SECONDS;
        let backend = self.snapshot.backend(entry.backend).filter(|_| is_established)?;
        if !backend.holds(&entry, self.now) {
            return None;
        }
        // Not noted as a use: SYNs alone, which anyone may forge, protect no entry for longer.
        counters.hits += 1;
        counters.protected += 1;
        Some(entry.backend)
    }

    /// Admission of a connection that begins, by limits that there are. A connection that has an entry gets its next one in the
    /// same slot, though the worker's limit is reached: left alone, the old one would mislead its packets.
    #[cold]
    #[inline(never)]
    fn admit(&self, limits: &Limits, opening: &Opening, sender: &Sender) -> Admitted {
        let source = self.counted_source(limits, opening.key, sender);
        if self.is_exhausted(limits, source) {
            // A connection that goes on has begun before: it may have lost its entry, as a backend has left or a router has
            // moved it to this appliance.
            return if sender.goes_on { Admitted::WithoutEntry } else { Admitted::Refused };
        }
        if let Some(limit) = limits.per_worker {
            match self.admissions.made.get().take(self.now, limit) {
                Some(after) => self.admissions.made.set(after),
                None if self.entry(opening.key).is_none() => return Admitted::WithoutEntry,
                None => {}
            }
        }
        Admitted::WithEntry(source)
    }

    /// True if a source has begun as many connections in this second as it may.
    pub(super) fn is_exhausted(&self, limits: &Limits, source: Option<SourceKey>) -> bool {
        let of_source = limits.per_source.zip(source);
        of_source.is_some_and(|(limit, source)| self.admissions.is_exhausted(limit, source, self.now))
    }

    /// Entry of a connection, valid or not.
    #[cold]
    #[inline(never)]
    fn entry(&self, key: TrackingKey) -> Option<Entry> {
        self.table.lookup(key).map(|found| found.entry())
    }

    /// Source that a connection is counted for, where sources are limited. None for a retransmitted SYN: its connection has
    /// counted, and its entry is half-open.
    pub(super) fn counted_source(
        &self,
        limits: &Limits,
        key: TrackingKey,
        sender: &Sender,
    ) -> Option<SourceKey> {
        let limit = limits.per_source?;
        let is_retransmission = self
            .entry(key)
            .is_some_and(|entry| self.snapshot.standing(&entry, self.now) == Standing::HalfOpen);
        (!is_retransmission).then(|| self.hasher.source_key(sender.network, limit.prefix_of(sender.address)))
    }

    /// Makes an entry that keeps a connection on the backend that is `selected` for it; returns the backend that the
    /// packet goes to.
    ///
    /// # Errors
    /// The packet is to be dropped: its `sender` has begun as many connections as it may.
    #[inline(always)]
    pub(super) fn enter<const LIMITED: bool>(
        &self,
        opening: &Opening,
        selected: Option<BackendHandle>,
        sender: impl FnOnce() -> Sender,
        counters: &mut ConntrackCounters,
    ) -> Result<(Option<BackendHandle>, Tracking), Refused> {
        let Self { snapshot, table, number, now, .. } = *self;
        let Some((handle, backend)) = selected.and_then(|handle| Some((handle, snapshot.backend(handle)?)))
        else {
            return Ok((selected, Tracking::Off));
        };
        let mut source = None;
        if LIMITED && let Some(limits) = &snapshot.admission.limits {
            match self.admit(limits, opening, &sender()) {
                Admitted::WithEntry(of) => source = of,
                Admitted::WithoutEntry => {
                    counters.limited += 1;
                    return Ok((selected, Tracking::Off));
                }
                Admitted::Refused => return Err(Refused),
            }
        }
        let entry = Entry {
            backend: handle,
            generation: backend.generation_for(opening.persists),
            persists: opening.persists,
            stage: opening.stage,
            seen: now,
        };
        let judge = |other: &Entry| snapshot.standing(other, now);
        let counted = snapshot.traffic_counters.worker(number);
        let census = counted.map(WorkerTrafficCounters::census);
        let inserted = if opening.restarts {
            table.restart_counted(opening.key, entry, judge, census)
        } else {
            table.insert_counted(opening.key, entry, judge, census)
        };
        counters.count(&inserted);
        // Without an entry, a connection's next packet would count as another one.
        if LIMITED
            && let Some(key) = source
            && !matches!(inserted, Inserted::Full | Inserted::Lost(_))
        {
            self.admissions.count(key, now);
        }
        Ok(match inserted {
            Inserted::Full => (selected, Tracking::Off),
            // Another worker was first. Its snapshot may be newer than ours, its backend unknown here yet.
            Inserted::Lost(winner) if snapshot.backend(winner.backend).is_some() => {
                (Some(winner.backend), Tracking::Hit)
            }
            Inserted::Lost(_) => (selected, Tracking::Hit),
            _ => {
                if let Some(counted) = counted {
                    counted.begin(opening.rule, handle);
                }
                (selected, Tracking::New)
            }
        })
    }
}

/// Decides a plain packet whose source has begun as many connections as it may.
#[cold]
#[inline(never)]
fn refuse(step: &Step<'_>, frame: &[u8], decision: &mut Decision) {
    *decision = Decision::pending(step.rule, step.service, frame);
    decision.verdict = Verdict::Drop(DropReason::SourceRateLimited);
}

/// Flow of a step's plain packet, which is in this frame.
#[inline(always)]
fn plain_flow(step: &Step<'_>, frame: &[u8]) -> Flow {
    if step.packet.form.is_ipv4() {
        known_in::<PlainIpv4>(frame, step).flow()
    } else {
        known_in::<PlainIpv6>(frame, step).flow()
    }
}

/// Sender of a step's plain packet, which is in this frame.
fn plain_sender(step: &Step<'_>, network: NetworkId, frame: &[u8]) -> Sender {
    let (flow, opens) = if step.packet.form.is_ipv4() {
        let plain = known_in::<PlainIpv4>(frame, step);
        (plain.flow(), plain.opens())
    } else {
        let plain = known_in::<PlainIpv6>(frame, step);
        (plain.flow(), plain.opens())
    };
    Sender { network, address: flow.src, goes_on: flow.protocol == protocol::TCP && !opens }
}
