//! The way of plain packets, which nearly all are: whole TCP and UDP without options or tags, in a tracked connection that
//! has an entry. Three loops over a burst, each of which has all of its memory on the way when it begins.
//!
//! The rules are stated elsewhere, once for all packets: a packet's fields by the parser, its rule by the VIP's lists, its
//! entry's validity by the backend, its outer header by the delivery. This file holds what these come to for ordinary packets;
//! all others take the general way from its start.

use super::apart::Onward;
use super::general::{Apart, Candidate};
use super::{BURST, Decision, Round, Tracking, Worker};
use crate::backend::BackendHandle;
use crate::conntrack::TrackingKey;
use crate::counters::Counters;
use crate::delivery::PlainPacket;
use crate::forwarding_rule::{RuleId, ServiceId};
use crate::frame::Frame;
use crate::packet::Plain;
use crate::prefetch::prefetch;
use crate::traffic_counters::Tally;
use crate::verdict::{DropReason, Verdict};
use crate::wire::ethernet;

/// Number of packets ahead that headers are prefetched: a line comes from the third-level cache, where NICs put it, in
/// the time that some four take to parse.
const HEADERS_AHEAD: usize = 4;

/// Way of a packet between the loops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// No further way: the decision is final.
    Ended,
    /// Plain, of a connection that should have an entry.
    Established,
    /// Plain, of a connection that has turned out to have no valid entry.
    Unknown,
    /// Plain, and a candidate: it opens or closes a connection, or is not tracked.
    Plain,
    /// A candidate of the general way.
    General,
    /// Plain, on its way to a backend.
    Departing,
}

/// State of a packet between the loops.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    key: TrackingKey,
    packet: PlainPacket,
    rule: RuleId,
    service: ServiceId,
    backend: BackendHandle,
    tracking: Tracking,
    way: Way,
}

/// Memory of the packets of a burst that are not of the plain way alone, and the index of one of them.
struct Others<'a> {
    candidates: &'a mut [Candidate; BURST],
    decisions: &'a mut [Decision],
    index: usize,
}

impl Step {
    /// Step before there is any.
    pub(super) const NONE: Self = Self {
        key: TrackingKey(0),
        packet: PlainPacket { l3_len: 0, is_ipv4: false, entropy: 0 },
        rule: RuleId(0),
        service: ServiceId(0),
        backend: BackendHandle(0),
        tracking: Tracking::Off,
        way: Way::Ended,
    };

    /// Decision on the packet when it departs, in a frame that came with `received_len` bytes.
    #[inline(always)]
    fn decision(&self, received_len: usize) -> Decision {
        Decision {
            rule: Some((self.rule, self.service)),
            backend: Some(self.backend),
            tracking: self.tracking,
            received_len: received_len as u32,
            ..Decision::PENDING
        }
    }
}

impl Round<'_> {
    /// Takes in a burst: the first loop. Steps of plain packets are complete after it, and candidates of all others.
    #[inline(never)]
    pub(super) fn take_in_all<F: Frame>(
        &self,
        frames: &[F],
        steps: &mut [Step; BURST],
        candidates: &mut [Candidate; BURST],
        decisions: &mut [Decision],
        counters: &mut Counters,
    ) {
        for frame in frames.iter().take(HEADERS_AHEAD) {
            prefetch_header(frame);
        }
        for (index, (frame, step)) in frames.iter().zip(&mut *steps).enumerate() {
            if let Some(ahead) = frames.get(index + HEADERS_AHEAD) {
                prefetch_header(ahead);
            }
            let frame = frame.bytes();
            let others = &mut Others { candidates, decisions, index };
            // Each family by itself, so that the compiler knows which it is in all that follows.
            let is_taken = match Plain::read_ipv4(frame) {
                Some(plain) => self.take_in(plain, frame, step, others),
                None => Plain::read_ipv6(frame).is_some_and(|plain| self.take_in(plain, frame, step, others)),
            };
            if !is_taken {
                step.way = self.take_in_other(frame, &mut candidates[index], &mut decisions[index], counters);
            }
        }
    }

    /// Takes in a burst whose packets all take the general way.
    pub(super) fn take_in_generally<F: Frame>(
        &self,
        frames: &[F],
        steps: &mut [Step; BURST],
        candidates: &mut [Candidate; BURST],
        decisions: &mut [Decision],
        counters: &mut Counters,
    ) {
        for (frame, ((step, candidate), decision)) in
            frames.iter().zip(steps.iter_mut().zip(candidates).zip(decisions))
        {
            step.way = self.take_in_other(frame.bytes(), candidate, decision, counters);
        }
    }

    /// Finds the backends of a burst, in the order of its packets: the second loop. Plain packets depart in the third;
    /// all others are decided and delivered.
    #[inline(never)]
    pub(super) fn decide_all<F: Frame>(
        &self,
        frames: &mut [F],
        steps: &mut [Step; BURST],
        candidates: &mut [Candidate; BURST],
        decisions: &mut [Decision],
        worker: &mut Worker<'_>,
    ) {
        let mut hits = 0;
        for (index, (frame, step)) in frames.iter_mut().zip(steps).enumerate() {
            if step.way == Way::Established && self.follow(step) {
                hits += 1;
            } else {
                self.decide_other(step, &mut candidates[index], frame, &mut decisions[index], worker);
            }
        }
        worker.counters.conntrack.hits += hits;
    }

    /// Turns the frames of plain packets into those that their backends get: the third loop.
    #[inline(never)]
    pub(super) fn depart_all<F: Frame>(
        &self,
        frames: &mut [F],
        steps: &[Step; BURST],
        decisions: &mut [Decision],
        worker: &mut Worker<'_>,
        tally: &mut Tally<'_>,
    ) {
        for ((frame, step), decision) in frames.iter_mut().zip(steps).zip(decisions) {
            if step.way == Way::Departing {
                if self.depart(step, frame, decision, tally) {
                    continue;
                }
                self.deliver_generally(step.backend, frame, decision, worker);
            }
            if let Some((rule, _)) = decision.rule {
                tally.receive(rule, decision.received_len);
                if let (Verdict::Forward, Some(backend)) = (decision.verdict, decision.backend) {
                    tally.send(backend, frame.bytes().len());
                }
            }
        }
    }

    /// Takes in a plain packet, in the first loop. False where it is not for a rule, or may not be forwarded.
    #[inline(always)]
    fn take_in(&self, plain: Plain, frame: &[u8], step: &mut Step, others: &mut Others<'_>) -> bool {
        // By value where it is a call: a flow that a pointer leads to has to be in memory, for every packet.
        let rules = &self.snapshot.rules;
        let found = match rules.lookup_unconditional(&plain.flow) {
            None => rules.lookup_conditional(plain.flow),
            found => found,
        };
        let Some((rule, service)) = found else { return false };
        let flow = &plain.flow;
        let to_group = ethernet::destination(frame).is_group();
        if to_group | flow.src.is_martian_source() | (plain.ttl <= 1) {
            return false;
        }
        (step.rule, step.service) = (rule, service);
        let is_ipv4 = flow.src.is_ipv4();
        let entropy = if is_ipv4 { 0 } else { flow.entropy() };
        step.packet = PlainPacket { l3_len: plain.l3_len, is_ipv4, entropy };
        let service = self.snapshot.service(service);
        let treatment = service.policy.treatment_with_ports(flow.protocol);
        if treatment.tracked & (plain.tcp_flags == 0) {
            step.key = self.hasher.key_of_parts(service.key, treatment.tracking_parts_with_ports(), flow);
            step.way = Way::Established;
            self.table.prefetch(step.key);
        } else {
            self.take_in_turning(plain, frame, step, others);
        }
        true
    }

    /// Takes in a packet that is not plain, or that no rule takes.
    #[inline(always)]
    fn take_in_other(
        &self,
        frame: &[u8],
        candidate: &mut Candidate,
        decision: &mut Decision,
        counters: &mut Counters,
    ) -> Way {
        if self.admit_any(candidate, frame, decision, counters) { Way::General } else { Way::Ended }
    }

    /// Takes in a plain packet that opens or closes its connection, or has none.
    #[inline(always)]
    fn take_in_turning(&self, plain: Plain, frame: &[u8], step: &mut Step, others: &mut Others<'_>) {
        let Others { candidates, decisions, index } = others;
        step.way = Way::Plain;
        let rule = (step.rule, step.service);
        self.admit_plain(&mut candidates[*index], plain, rule, None, frame, &mut decisions[*index]);
    }

    /// Lets a plain packet follow its connection, in the second loop. False where the connection has no valid entry, or the
    /// packet does not fit the path.
    #[inline(always)]
    fn follow(&self, step: &mut Step) -> bool {
        let found = self.table.glance(step.key);
        let handle = found.backend();
        if let Some(backend) = self.snapshot.backends.plain(handle)
            && found.is_in_use(&backend.valid, self.now) & (self.now < backend.drain_deadline)
            && backend.delivery.fits(&step.packet)
        {
            (step.backend, step.tracking, step.way) = (handle, Tracking::Hit, Way::Departing);
            return true;
        }
        if found.is_nothing() {
            step.way = Way::Unknown;
            return false;
        }
        self.follow_anew(step)
    }

    /// Lets a plain packet follow its connection, and notes that it came: mostly the first one in a second.
    #[inline(never)]
    fn follow_anew(&self, step: &mut Step) -> bool {
        let found = self.table.lookup(step.key).map(|found| (found, found.entry())).filter(|(_, entry)| {
            self.snapshot.backend(entry.backend).is_some_and(|backend| backend.holds(entry, self.now))
        });
        match found {
            None => step.way = Way::Unknown,
            Some((found, entry)) if self.fits(step, entry.backend) => {
                found.refresh(self.now, false);
                (step.backend, step.tracking, step.way) = (entry.backend, Tracking::Hit, Way::Departing);
                return true;
            }
            Some(_) => {}
        }
        false
    }

    /// Decides a packet that the plain way has found no backend for.
    #[inline(always)]
    fn decide_other<F: Frame>(
        &self,
        step: &mut Step,
        candidate: &mut Candidate,
        frame: &mut F,
        decision: &mut Decision,
        worker: &mut Worker<'_>,
    ) {
        let connection = match step.way {
            Way::Ended | Way::Departing => return,
            Way::Plain | Way::General => self.connection(candidate, &mut worker.counters.conntrack),
            Way::Established | Way::Unknown => {
                let plain = Plain::read(frame.bytes(), step.packet.is_ipv4);
                let plain = plain.expect("it was plain in the first loop");
                let rule = (step.rule, step.service);
                self.admit_plain(candidate, plain, rule, Some(step.key), frame.bytes(), decision);
                let is_known = step.way == Way::Established;
                if is_known { self.connection(candidate, &mut worker.counters.conntrack) } else { None }
            }
        };
        if let Some(backend) = self.decide(candidate, connection, step, frame, decision, worker) {
            (step.backend, step.tracking, step.way) = (backend, decision.tracking, Way::Departing);
        }
    }

    /// Decides a candidate, which goes where its `connection` does if it has one, and turns its frame into the one that its
    /// backend gets; but of a plain packet that fits the path it returns the backend, for the third loop.
    #[inline(always)]
    fn decide<F: Frame>(
        &self,
        candidate: &Candidate,
        connection: Option<BackendHandle>,
        step: &Step,
        frame: &mut F,
        decision: &mut Decision,
        worker: &mut Worker<'_>,
    ) -> Option<BackendHandle> {
        let Worker { counters, budget, first_fragments } = worker;
        let mut first_of = None;
        match connection {
            Some(handle) => (decision.backend, decision.tracking) = (Some(handle), Tracking::Hit),
            None if candidate.apart == Apart::No => {
                (decision.backend, decision.tracking) = self.select(candidate, &mut counters.conntrack);
            }
            None => match self.decide_apart(candidate, frame.bytes(), decision, counters, first_fragments) {
                Onward::Deliver => {}
                Onward::DeliverFirst(datagram) => first_of = Some(datagram),
                Onward::End => return None,
            },
        }
        let Some(backend) = decision.backend.and_then(|handle| self.snapshot.backend(handle)) else {
            decision.verdict = Verdict::Drop(DropReason::NoEligibleBackend);
            return None;
        };
        if step.way != Way::General
            && let Some(handle) = decision.backend.filter(|handle| self.fits(step, *handle))
        {
            return Some(handle);
        }
        self.deliver(&candidate.packet, backend, frame, decision, counters, budget);
        if let Some(datagram) = first_of {
            self.remember(datagram, decision, first_fragments);
        }
        None
    }

    /// True if a plain packet fits the path to its backend; else it takes the general way there.
    fn fits(&self, step: &Step, handle: BackendHandle) -> bool {
        self.snapshot.backends.plain(handle).is_some_and(|backend| backend.delivery.fits(&step.packet))
    }

    /// Turns the frame of a plain packet into the one that its backend gets, in the third loop, and counts it. False where
    /// the general delivery has to, and then the packet is not counted.
    #[inline(always)]
    fn depart<F: Frame>(
        &self,
        step: &Step,
        frame: &mut F,
        decision: &mut Decision,
        tally: &mut Tally<'_>,
    ) -> bool {
        let Some(backend) = self.snapshot.backends.plain(step.backend) else { return false };
        let received_len = frame.bytes().len();
        *decision = step.decision(received_len);
        let Some(sent_len) = backend.delivery.deliver(frame, &step.packet) else { return false };
        decision.egress = backend.delivery.port();
        tally.receive(step.rule, received_len as u32);
        tally.send(step.backend, sent_len);
        true
    }
}

#[inline]
fn prefetch_header<F: Frame>(frame: &F) {
    if let Some(first) = frame.bytes().first() {
        prefetch(first);
    }
}
