//! The way of plain packets, which nearly all are: whole TCP and UDP without options, in a tracked connection that has an
//! entry. Three loops over a burst, each of which has all of its memory on the way when it begins.
//!
//! The rules are stated elsewhere, once for all packets: a packet's fields by the parser, its rule by the lists, its entry's
//! validity by the backend, its outer header by the delivery. This file holds what these come to for ordinary packets;
//! all others take the general way from its start.

use super::general::{Apart, Candidate};
use super::header_prefetch::HeadersAhead;
use super::intake::Intake;
use super::step::{Step, Way, known_in};
use super::{BURST, Decision, Round, Tracking, Worker};
use crate::backend::BackendHandle;
use crate::counters::Counters;
use crate::delivery::{PlainForm, PlainPacket};
use crate::forwarding_rule::{Answer, Came, PlainRule};
use crate::frame::Frame;
use crate::packet::{Lead, Plain, PlainIpv4, PlainIpv6};
use crate::snapshot::PlainBackend;
use crate::traffic_counters::Tally;
use crate::verdict::{DropReason, PassReason, Verdict};
use crate::wire::ethernet::{self, HEADER_LEN, TAG_LEN};

/// Packet that the first loop does not take in as established: it is not plain, has no rule, opens or closes its connection, or
/// is not tracked.
#[derive(Clone, Copy)]
pub(super) enum Other<'s> {
    /// A matter of the general way.
    General,
    /// Plain, of this rule: it opens or closes its connection, or is not tracked.
    Plain(&'s PlainRule),
    /// Plain, of this rule, whose access list denies its source.
    Denied(&'s PlainRule),
    /// Not ours: no rule has the packet.
    WithoutRule,
    /// Not ours: the client is outside of the region.
    OutsideRegion,
}

impl<'s> Intake<'s> {
    /// Takes in a burst: the first loop. Steps of plain packets are complete after it, and candidates of all others.
    #[inline(never)]
    pub(super) fn take_in_all<F: Frame>(
        &self,
        frames: &[F],
        steps: &mut [Step<'s>; BURST],
        candidates: &mut [Candidate; BURST],
        decisions: &mut [Decision],
        counters: &mut Counters,
    ) {
        let ahead = HeadersAhead::of(frames);
        for (index, (frame, step)) in frames.iter().zip(&mut *steps).enumerate() {
            ahead.prefetch(index);
            let frame = frame.bytes();
            if let Err(other) = self.take_in_frame(frame, step) {
                let (candidate, decision) = (&mut candidates[index], &mut decisions[index]);
                step.way = self.take_in_other(other, frame, step, candidate, decision, counters);
            }
        }
    }

    /// Takes in the packet of a frame with or without a VLAN tag, as [`Self::take_in`] does.
    #[inline(always)]
    pub(super) fn take_in_frame(&self, frame: &[u8], step: &mut Step<'s>) -> Result<(), Other<'s>> {
        match Lead::behind::<0>(frame) {
            Some(lead) if PlainIpv4::is_led_by(lead) => self.take_in::<0, PlainIpv4>(frame, step),
            Some(lead) if PlainIpv6::is_led_by(lead) => self.take_in::<0, PlainIpv6>(frame, step),
            Some(lead) if lead.is_tag() => self.take_in_tagged(frame, step),
            _ => Err(Other::General),
        }
    }

    /// Takes in the packet of a frame with a VLAN tag, as [`Self::take_in`] does.
    #[inline(never)]
    fn take_in_tagged(&self, frame: &[u8], step: &mut Step<'s>) -> Result<(), Other<'s>> {
        match Lead::behind::<TAG_LEN>(frame) {
            Some(lead) if PlainIpv4::is_led_by(lead) => self.take_in::<TAG_LEN, PlainIpv4>(frame, step),
            Some(lead) if PlainIpv6::is_led_by(lead) => self.take_in::<TAG_LEN, PlainIpv6>(frame, step),
            _ => Err(Other::General),
        }
    }

    /// Takes in the packet behind so many bytes of VLAN tags, in the first loop, if it is plain and should have an entry.
    ///
    /// # Errors
    /// The kind of the packet, if it is another.
    #[inline(always)]
    fn take_in<'f, const TAG: usize, P: Plain<'f>>(
        &self,
        frame: &'f [u8],
        step: &mut Step<'s>,
    ) -> Result<(), Other<'s>> {
        let plain = frame.get(HEADER_LEN + TAG..).and_then(P::read).ok_or(Other::General)?;
        let rule = plain.rule(self.rules.table()).map_err(Other::without_rule)?;
        if ethernet::destination(frame).is_group() || plain.ttl() <= 1 {
            return Err(Other::General);
        }
        (step.rule, step.service) = (rule.rule, rule.service);
        step.packet = PlainPacket { l3_len: plain.l3_len(), form: PlainForm::new(P::IS_IPV4, TAG > 0) };
        if plain.tcp_flags() != 0 {
            return Err(Other::Plain(rule));
        }
        step.key = if rule.is_ordinary {
            plain.tracking_key(self.hasher, &rule.key)
        } else {
            if !rule.tracked {
                return Err(Other::Plain(rule));
            }
            step.came = rule.came;
            let key = if rule.came == Came::ByRoute {
                // Martian sources are looked for where there is no entry: no packet from one makes any, but one to it may,
                // which came by a route and has the same key. None to an own address comes by a route.
                if plain.flow().src.is_martian_source() {
                    return Err(Other::General);
                }
                plain.tracking_key_in_order(self.hasher, &rule.key)
            } else {
                plain.tracking_key(self.hasher, &rule.key)
            };
            // Asked once a packet, as it is counted: last, when no other way may ask again.
            if rule.is_guarded && self.denies_by_list(rule.rule, plain.flow().src) {
                return Err(Other::Denied(rule));
            }
            key
        };
        step.way = Way::Established;
        step.home = Some(self.table.approach(step.key));
        Ok(())
    }

    /// Takes in a packet that is not of an established connection.
    //
    // A call, so that what it needs takes no registers from the packets before it.
    #[inline(never)]
    pub(super) fn take_in_other(
        &self,
        other: Other<'s>,
        frame: &[u8],
        step: &mut Step<'s>,
        candidate: &mut Candidate,
        decision: &mut Decision,
        counters: &mut Counters,
    ) -> Way {
        let way = match other {
            Other::General => None,
            Other::WithoutRule | Other::OutsideRegion => {
                let is_outside = matches!(other, Other::OutsideRegion);
                let reason =
                    if is_outside { PassReason::OutsideRegion } else { PassReason::NoForwardingRule };
                *decision = Decision::end(Verdict::Pass(reason));
                return Way::Ended;
            }
            Other::Denied(rule) => {
                *decision = denied(rule, frame);
                return Way::Ended;
            }
            Other::Plain(rule) if step.packet.form.is_ipv4() => {
                self.take_in_turning::<PlainIpv4>(rule, frame, step, candidate, decision)
            }
            Other::Plain(rule) => self.take_in_turning::<PlainIpv6>(rule, frame, step, candidate, decision),
        };
        way.unwrap_or_else(|| {
            if self.admit_any(candidate, frame, decision, counters) { Way::General } else { Way::Ended }
        })
    }

    /// Takes in a plain packet that opens or closes its connection, or has none. None where the general way has to.
    #[inline(always)]
    fn take_in_turning<'f, P: Plain<'f>>(
        &self,
        rule: &PlainRule,
        frame: &'f [u8],
        step: &mut Step<'s>,
        candidate: &mut Candidate,
        decision: &mut Decision,
    ) -> Option<Way> {
        let plain: P = known_in(frame, step);
        let source = plain.flow().src;
        if rule.came.is_routed() || source.is_martian_source() || self.rules.is_own_source(source) {
            return None;
        }
        if rule.is_guarded && self.denies_by_list(rule.rule, plain.flow().src) {
            *decision = denied(rule, frame);
            return Some(Way::Ended);
        }
        if let Some(way) = self.take_in_opening(plain, rule, step) {
            return Some(way);
        }
        admit_plain(plain, step, candidate, frame, decision);
        (candidate.tracked, candidate.key) = (true, plain.tracking_key(self.hasher, &rule.key));
        self.table.prefetch(candidate.key);
        Some(Way::Turning)
    }
}

impl<'s> Round<'s> {
    /// Finds the backends of a burst, in the order of its packets: the second loop. Plain packets depart in the third;
    /// all others are decided and delivered.
    #[inline(never)]
    pub(super) fn decide_all<F: Frame>(
        &self,
        frames: &mut [F],
        steps: &mut [Step<'s>; BURST],
        candidates: &mut [Candidate; BURST],
        decisions: &mut [Decision],
        worker: &mut Worker<'_>,
    ) {
        let steps = &mut steps[..frames.len()];
        let mut ahead = steps.iter_mut();
        let mut follow = frames.len();
        while let Some(step) = ahead.next() {
            if !self.follow(step) {
                follow -= ahead.len() + 1;
                break;
            }
        }
        worker.counters.conntrack.hits += follow as u64;
        if follow < frames.len() {
            let (steps, candidates) = (&mut steps[follow..], &mut candidates[follow..]);
            self.decide_rest(&mut frames[follow..], steps, candidates, &mut decisions[follow..], worker);
        }
    }

    /// Finds the backends of the rest of a burst, which begins with a packet that does not follow its connection.
    #[inline(never)]
    fn decide_rest<F: Frame>(
        &self,
        frames: &mut [F],
        steps: &mut [Step<'s>],
        candidates: &mut [Candidate],
        decisions: &mut [Decision],
        worker: &mut Worker<'_>,
    ) {
        if let [first, next @ ..] = &*steps
            && first.way == Way::Unknown
        {
            self.prefetch_others(next);
        }
        let mut hits = 0;
        for (index, (frame, step)) in frames.iter_mut().zip(steps).enumerate() {
            if self.follow(step) {
                hits += 1;
            } else {
                self.decide_other(step, &mut candidates[index], frame, &mut decisions[index], worker);
            }
        }
        worker.counters.conntrack.hits += hits;
    }

    /// Starts to bring the other buckets of packets' connections into the cache, where they may be needed: behind a packet
    /// that turned out to begin a connection, which no SYN had told. While all packets have entries, none pays for this look.
    #[inline(never)]
    fn prefetch_others(&self, next: &[Step<'s>]) {
        for step in next.iter().filter(|step| step.way == Way::Established) {
            self.table.prefetch_other(step.key);
        }
    }

    /// Turns the frames of plain packets into those that their backends get: the third loop.
    #[inline(never)]
    pub(super) fn depart_all<F: Frame>(
        &self,
        frames: &mut [F],
        steps: &[Step<'s>; BURST],
        decisions: &mut [Decision],
        worker: &mut Worker<'_>,
        tally: Tally<'_>,
    ) {
        let (offered, mut others) = (frames.len(), 0);
        for ((frame, step), decision) in frames.iter_mut().zip(steps).zip(decisions) {
            if let Some(backend) = step.backend {
                *decision = step.decision(frame.bytes().len());
                decision.egress = backend.delivery.port();
                tally.receive(step.rule, decision.received_len);
                if let Some(sent_len) = backend.delivery.deliver(frame, &step.packet) {
                    tally.send(BackendHandle(step.target), sent_len.get());
                    continue;
                }
                decision.egress = Decision::PENDING.egress;
                self.deliver_generally(BackendHandle(step.target), frame, decision, worker);
            } else if let Some((rule, _)) = decision.rule {
                tally.receive(rule, decision.received_len);
            }
            if decision.verdict != Verdict::Forward {
                worker.counters.count_other(decision.verdict);
                others += 1;
            } else if let Some(backend) = decision.backend {
                tally.send(backend, frame.bytes().len());
            }
        }
        worker.counters.count(offered, offered - others);
    }

    /// Lets a plain packet follow its connection, in the second loop. False where the connection has no valid entry, or the
    /// packet does not fit the path.
    #[inline(always)]
    fn follow(&self, step: &mut Step<'s>) -> bool {
        let Some(home) = step.home else { return false };
        let found = self.table.glance(step.key, home);
        let handle = found.backend();
        if let Some(backend) = self.backends.get(handle)
            && found.is_in_use(&backend.valid, self.now) & (self.now < backend.drain_deadline)
            && backend.delivery.fits(&step.packet)
        {
            step.depart_to(backend, handle, Tracking::Hit);
            return true;
        }
        if found.is_nothing() { step.turn_out_unknown() } else { self.follow_anew(step) }
    }

    /// Lets a plain packet follow its connection, and notes that it came: mostly the first one in a second.
    #[inline(never)]
    fn follow_anew(&self, step: &mut Step<'s>) -> bool {
        let found = self.table.lookup(step.key).map(|found| (found, found.entry())).filter(|(_, entry)| {
            self.snapshot.backend(entry.backend).is_some_and(|backend| backend.holds(entry, self.now))
        });
        let Some((found, entry)) = found else { return step.turn_out_unknown() };
        let Some(backend) = self.fitting(step, entry.backend) else { return false };
        found.refresh(self.now, false);
        step.depart_to(backend, entry.backend, Tracking::Hit);
        true
    }

    /// Decides a packet that the plain way has found no backend for.
    #[inline(always)]
    fn decide_other<F: Frame>(
        &self,
        step: &mut Step<'s>,
        candidate: &mut Candidate,
        frame: &mut F,
        decision: &mut Decision,
        worker: &mut Worker<'_>,
    ) {
        let connection = match step.way {
            Way::Ended => return,
            Way::Untracked => return self.select_untracked(step, frame, decision, worker),
            Way::Opening => return self.open(step, frame, decision, worker),
            Way::Unknown if !step.came.is_routed() => return self.open(step, frame, decision, worker),
            Way::Turning | Way::General => self.connection(candidate, &mut worker.counters.conntrack),
            Way::Established | Way::Unknown => {
                let is_admitted = if step.packet.form.is_ipv4() {
                    self.admit_unknown::<PlainIpv4>(step, candidate, frame.bytes(), decision)
                } else {
                    self.admit_unknown::<PlainIpv6>(step, candidate, frame.bytes(), decision)
                };
                if !is_admitted {
                    return;
                }
                let is_known = step.way == Way::Established;
                if is_known { self.connection(candidate, &mut worker.counters.conntrack) } else { None }
            }
        };
        self.decide(candidate, connection, step, frame, decision, worker);
    }

    /// Makes a plain packet of an unknown connection a candidate, in the second loop. False where no packet like it is
    /// forwarded, as the decision then says.
    #[inline(always)]
    fn admit_unknown<'f, P: Plain<'f>>(
        &self,
        step: &Step<'_>,
        candidate: &mut Candidate,
        frame: &'f [u8],
        decision: &mut Decision,
    ) -> bool {
        let plain: P = known_in(frame, step);
        admit_plain(plain, step, candidate, frame, decision);
        (candidate.tracked, candidate.key) = (true, step.key);
        if let Some(reason) = self.unforwardable_source(step, plain.flow().src) {
            decision.verdict = Verdict::Drop(reason);
            return false;
        }
        true
    }

    /// Decides a candidate, which goes where its `connection` does if it has one, and turns its frame into the one that its
    /// backend gets; but a plain packet that fits the path is left to the third loop.
    #[inline(always)]
    fn decide<F: Frame>(
        &self,
        candidate: &mut Candidate,
        connection: Option<BackendHandle>,
        step: &mut Step<'s>,
        frame: &mut F,
        decision: &mut Decision,
        worker: &mut Worker<'_>,
    ) {
        let Worker { counters, budgets, first_fragments } = worker;
        match connection {
            Some(handle) => (decision.backend, decision.tracking) = (Some(handle), Tracking::Hit),
            None if candidate.apart == Apart::No => {
                (decision.backend, decision.tracking) =
                    self.select(candidate, &candidate.packet.flow, &mut counters.conntrack);
            }
            None => {
                if !self.decide_apart(candidate, frame.bytes(), decision, counters, first_fragments) {
                    return;
                }
            }
        }
        let Some(backend) = decision.backend.and_then(|handle| self.snapshot.backend(handle)) else {
            decision.verdict = Verdict::Drop(DropReason::NoEligibleBackend);
            if self.snapshot.admission.limits.is_some() && self.admissions.has_refused() {
                decision.verdict = Verdict::Drop(DropReason::SourceRateLimited);
            }
            return;
        };
        if step.way != Way::General
            && let Some(handle) = decision.backend
            && let Some(backend) = self.fitting(step, handle)
        {
            step.depart_to(backend, handle, decision.tracking);
            return;
        }
        let first_of = candidate.first_of(frame.bytes(), self.hasher);
        self.deliver(&candidate.packet, backend, frame, decision, counters, budgets);
        if let Some(datagram) = first_of {
            self.remember(datagram, backend, decision, first_fragments);
        }
    }

    /// Backend of this handle as plain packets see it, if the packet fits the path there; else it takes the general way.
    #[inline]
    pub(super) fn fitting(&self, step: &Step<'s>, handle: BackendHandle) -> Option<&'s PlainBackend> {
        self.backends.get(handle).filter(|backend| backend.delivery.fits(&step.packet))
    }
}

impl Other<'_> {
    /// Packet for which the rules have this answer, which is no rule.
    #[inline(always)]
    fn without_rule(answer: &Answer) -> Self {
        match answer {
            Answer::None => Self::WithoutRule,
            Answer::OutsideRegion => Self::OutsideRegion,
            Answer::Rule(_) | Answer::NotSpelledOut | Answer::ByPort(_) | Answer::ByClient(_) => {
                Self::General
            }
        }
    }
}

/// Decision on a plain packet whose source its rule's access list denies.
fn denied(rule: &PlainRule, frame: &[u8]) -> Decision {
    let verdict = Verdict::Drop(DropReason::AccessDenied);
    Decision { verdict, ..Decision::pending(rule.rule, rule.service, frame) }
}

/// Makes a plain packet a candidate, but for its connection's key.
#[inline(always)]
fn admit_plain<'f, P: Plain<'f>>(
    plain: P,
    step: &Step<'_>,
    candidate: &mut Candidate,
    frame: &[u8],
    decision: &mut Decision,
) {
    plain.write_to(step.packet.form.tag_len() as u8, &mut candidate.packet);
    *decision = Decision::pending(step.rule, step.service, frame);
    (candidate.rule, candidate.service) = (step.rule, step.service);
    candidate.quoted = false;
    candidate.apart = if step.came.is_routed() { Apart::Routed } else { Apart::No };
}
