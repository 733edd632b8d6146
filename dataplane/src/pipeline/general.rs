//! The way of any packet: parsed in full, looked up with its client, tracked, selected for and delivered by every rule.

use super::intake::Intake;
use super::opening::{Opening, Refused};
use super::{Decision, Round, Tracking, Worker};
use crate::address::Address;
use crate::admission::Sender;
use crate::affinity::{DatagramKey, TrackingHasher, Tuple};
use crate::backend::BackendHandle;
use crate::conntrack::{Found, Stage, TrackingKey};
use crate::counters::{ConntrackCounters, Counters};
use crate::flow::{Flow, Fragment};
use crate::forwarding_rule::{ForwardingRules, RuleId, RuleMatch, ServiceId};
use crate::frame::Frame;
use crate::icmp_error::{self, ErrorBudgets};
use crate::ingress::NetworkId;
use crate::packet::Packet;
use crate::snapshot::Backend;
use crate::verdict::{DropReason, PassReason, Verdict};
use crate::wire::{ethernet, protocol};

/// A packet that belongs to a service, between the loops.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// Parsed packet, with the flow of its connection: an ICMP error has that of the packet which it quotes.
    pub(super) packet: Packet,
    /// Name of its connection, if that is tracked.
    pub(super) key: TrackingKey,
    pub(super) tracked: bool,
    /// True for an ICMP error that goes where the packet goes which it quotes.
    pub(super) quoted: bool,
    pub(super) apart: Apart,
    pub(super) rule: RuleId,
    pub(super) service: ServiceId,
    /// Network of a fragment, of whose service nothing is known yet.
    pub(super) network: NetworkId,
}

/// Reason for which a candidate without a valid entry is decided apart from those that nearly all are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Apart {
    No,
    /// Came by a route: its hashes are those of both directions.
    Routed,
    /// A later fragment of TCP or UDP, of which nothing is decided yet: it follows its first.
    LaterFragment,
}

impl Candidate {
    /// Candidate before there is any.
    pub(super) const NONE: Self = Self {
        packet: Packet::NONE,
        key: TrackingKey(0),
        tracked: false,
        quoted: false,
        apart: Apart::No,
        rule: RuleId(0),
        service: ServiceId(0),
        network: NetworkId::FIRST,
    };

    /// Name of the datagram whose first fragment this is, if others are to follow it.
    #[inline(always)]
    pub(super) fn first_of(&self, frame: &[u8], hasher: &TrackingHasher) -> Option<DatagramKey> {
        // An ICMP error has the flow of the packet that it quotes.
        let is_first = self.packet.flow.fragment == Fragment::First && !self.quoted;
        if is_first { datagram_of(self, frame, hasher) } else { None }
    }

    /// Sender of the packet, which came in this network.
    pub(super) fn sender(&self, network: NetworkId) -> Sender {
        let flow = &self.packet.flow;
        let goes_on = flow.protocol == protocol::TCP && !self.packet.opens();
        Sender { network, address: flow.src, goes_on }
    }

    /// Stage of the connection whose first packet this is; `one` says that the entry holds no other connections, which
    /// a close of this one would leave open.
    fn first_stage(&self, one: bool) -> Stage {
        match &self.packet {
            packet if packet.tcp_flags == 0 => Stage::Unconfirmed,
            packet if packet.opens() => Stage::HalfOpen,
            packet if packet.closes() && one => Stage::Closed,
            _ => Stage::Unconfirmed,
        }
    }
}

impl Intake<'_> {
    /// Takes in any packet. True where it goes on to the second loop, false where its decision is final.
    #[inline(never)]
    pub(super) fn admit_any(
        &self,
        candidate: &mut Candidate,
        frame: &[u8],
        decision: &mut Decision,
        counters: &mut Counters,
    ) -> bool {
        candidate.network = self.network;
        if let Err(verdict) = candidate.packet.read(frame) {
            *decision = Decision::end(verdict);
            return false;
        }
        if candidate.packet.flow.fragment == Fragment::Later && candidate.packet.flow.is_followed() {
            // The first fragment may be in this burst, and is not decided yet.
            (candidate.tracked, candidate.apart) = (false, Apart::LaterFragment);
            return true;
        }
        self.classify(candidate, frame, decision, counters)
    }

    /// Finds rule, service and connection of a parsed packet. True where it goes on to them, false where its decision
    /// is final.
    #[inline(always)]
    pub(super) fn classify(
        &self,
        candidate: &mut Candidate,
        frame: &[u8],
        decision: &mut Decision,
        counters: &mut Counters,
    ) -> bool {
        let src = candidate.packet.flow.src;
        let by_quote =
            if candidate.packet.icmp_error { self.follow_quote(&mut candidate.packet, frame) } else { None };
        let packet = &candidate.packet;
        let found = match by_quote {
            Some(found) => found,
            None => self.rules.lookup(&packet.flow),
        };
        let passed = |reason| Decision::end(Verdict::Pass(reason));
        let (rule, service, routed) = match found {
            RuleMatch::Rule(..) | RuleMatch::Route(..) if packet.neighbor_discovery => {
                *decision = passed(PassReason::NeighborDiscovery);
                return false;
            }
            RuleMatch::Rule(rule, service) => (rule, service, false),
            RuleMatch::Route(rule, service) => (rule, service, true),
            RuleMatch::OutsideRegion => {
                *decision = passed(PassReason::OutsideRegion);
                return false;
            }
            RuleMatch::None => {
                *decision = passed(PassReason::NoForwardingRule);
                return false;
            }
        };
        *decision = Decision::pending(rule, service, frame);
        // An ICMP error is the client's whose packet it quotes.
        if self.denies(rule, packet.flow.src) {
            decision.verdict = Verdict::Drop(DropReason::AccessDenied);
            return false;
        }
        if let Some(reason) = unforwardable(frame, src, packet.ttl, self.rules) {
            decision.verdict = Verdict::Drop(reason);
            return false;
        }
        let opens = packet.opens();
        candidate.quoted = by_quote.is_some();
        counters.icmp_errors_steered += u64::from(candidate.quoted);
        let policy = &self.snapshot.service(service).policy;
        let in_order;
        let mut flow = &candidate.packet.flow;
        candidate.apart = Apart::No;
        if routed {
            in_order = policy.routed(flow);
            (flow, candidate.apart) = (&in_order, Apart::Routed);
        }
        let treatment = policy.treatment(flow.protocol);
        candidate.tracked = treatment.tracked;
        if treatment.tracked {
            candidate.key = self.name(service, treatment.tracking_tuple(flow), flow, opens);
        }
        (candidate.rule, candidate.service) = (rule, service);
        true
    }

    /// Gives an ICMP error the flow of the packet that it quotes, and returns the rule of that; none, and the error keeps
    /// its own flow, where the quoted packet is none of ours.
    ///
    /// The packet was an answer of a VIP to its client, or it came by a route itself, or its other direction does.
    #[cold]
    #[inline(never)]
    fn follow_quote(&self, error: &mut Packet, frame: &[u8]) -> Option<RuleMatch> {
        let rules = self.rules;
        let client_flow = icmp_error::quoted_flow(frame, error)?;
        let found = rules.lookup(&client_flow);
        if matches!(found, RuleMatch::Rule(..)) {
            error.flow = client_flow;
            return Some(found);
        }
        if rules.is_own(client_flow.dst) {
            // The appliance sent the packet itself, most likely in a tunnel: a route to the tunnel's end has no say.
            return None;
        }
        let sent = client_flow.reversed();
        let (flow, found) = match rules.lookup(&sent) {
            by_route @ RuleMatch::Route(..) => (sent, by_route),
            _ => (client_flow, found),
        };
        if !matches!(found, RuleMatch::Route(..)) {
            return None;
        }
        error.flow = flow;
        Some(found)
    }

    /// Name of a connection in the table; starts to bring into the cache what the packet will need of it.
    #[inline(always)]
    fn name(&self, service: ServiceId, tuple: Tuple, flow: &Flow, opens: bool) -> TrackingKey {
        let key = self.hasher.key(self.snapshot.service(service).key, tuple, flow);
        if opens {
            self.table.prefetch_pair(key);
        } else {
            self.table.prefetch(key);
        }
        key
    }
}

impl Round<'_> {
    /// Delivers a plain packet that the plain delivery leaves to the general one.
    #[inline(never)]
    pub(super) fn deliver_generally<F: Frame>(
        &self,
        backend: BackendHandle,
        frame: &mut F,
        decision: &mut Decision,
        worker: &mut Worker<'_>,
    ) {
        let packet = Packet::parse(frame.bytes()).expect("a plain packet is well-formed");
        let backend = self.snapshot.backend(backend).expect("the second loop found it in this snapshot");
        self.deliver(&packet, backend, frame, decision, worker.counters, worker.budgets);
    }

    /// Backend that a packet's connection has been going to, if a valid entry says so.
    #[inline(always)]
    pub(super) fn connection(
        &self,
        candidate: &Candidate,
        counters: &mut ConntrackCounters,
    ) -> Option<BackendHandle> {
        if !candidate.tracked {
            return None;
        }
        if candidate.packet.tcp_flags != 0 {
            let one = self.is_one_connection(candidate);
            let restarts = one && candidate.packet.opens();
            return if restarts {
                self.protected(candidate.key, counters)
            } else {
                self.turning_connection(candidate, one, counters)
            };
        }
        let (found, handle) = self.valid_entry(candidate)?;
        // An error, which anyone may forge, keeps no entry alive (RFC 5508 asks the same of NATs).
        if !candidate.quoted {
            found.refresh(self.now, false);
        }
        counters.hits += 1;
        Some(handle)
    }

    /// Backend of a connection that the packet closes, or opens as one of several; `one` says that the entry holds no
    /// others. An ICMP error does neither: it has no flags.
    #[inline(never)]
    fn turning_connection(
        &self,
        candidate: &Candidate,
        one: bool,
        counters: &mut ConntrackCounters,
    ) -> Option<BackendHandle> {
        let packet = &candidate.packet;
        let (found, handle) = self.valid_entry(candidate)?;
        if packet.closes() && one {
            self.table.close(candidate.key, found, self.now);
        } else {
            found.refresh(self.now, packet.opens());
        }
        counters.hits += 1;
        Some(handle)
    }

    /// Valid entry of the candidate's connection, with its backend.
    #[inline(always)]
    fn valid_entry(&self, candidate: &Candidate) -> Option<(Found<'_>, BackendHandle)> {
        let found = self.table.lookup(candidate.key)?;
        let entry = found.entry();
        self.snapshot.backend(entry.backend).filter(|backend| backend.holds(&entry, self.now))?;
        Some((found, entry.backend))
    }

    /// True if the candidate's entry is that of one TCP connection, which a SYN starts anew and a FIN or RST closes.
    #[inline(always)]
    pub(super) fn is_one_connection(&self, candidate: &Candidate) -> bool {
        // Only TCP packets have the flags, and an ICMP error that quotes one is none: the flow is the packet's own.
        let service = self.snapshot.service(candidate.service);
        service.policy.treatment(candidate.packet.flow.protocol).restarts
    }

    /// Backend that the hash of `flow`, of a packet without a valid entry, selects; makes an entry that keeps a tracked
    /// connection there.
    #[inline(never)]
    pub(super) fn select(
        &self,
        candidate: &Candidate,
        flow: &Flow,
        counters: &mut ConntrackCounters,
    ) -> (Option<BackendHandle>, Tracking) {
        let service = self.snapshot.service(candidate.service);
        let selected = self.snapshot.select(service, flow);
        if !candidate.tracked || candidate.quoted {
            counters.untracked += 1;
            return (selected, Tracking::Off);
        }
        let treatment = service.policy.treatment(flow.protocol);
        let opening = Opening {
            rule: candidate.rule,
            key: candidate.key,
            persists: treatment.persists,
            stage: candidate.first_stage(treatment.restarts),
            restarts: candidate.packet.opens() && treatment.restarts,
        };
        if self.snapshot.admission.limits.is_some() {
            return self.enter_limited(&opening, selected, &candidate.sender(service.network), counters);
        }
        let sender = || candidate.sender(service.network);
        // Without limits no packet is refused.
        self.enter::<false>(&opening, selected, sender, counters).unwrap_or((selected, Tracking::Off))
    }

    /// Makes an entry as limits let it.
    #[cold]
    #[inline(never)]
    fn enter_limited(
        &self,
        opening: &Opening,
        selected: Option<BackendHandle>,
        sender: &Sender,
        counters: &mut ConntrackCounters,
    ) -> (Option<BackendHandle>, Tracking) {
        self.enter::<true>(opening, selected, || *sender, counters).unwrap_or_else(|Refused| {
            self.admissions.refuse();
            (None, Tracking::Off)
        })
    }

    /// Turns the frame into the one that its backend gets, or drops it.
    #[inline(always)]
    pub(super) fn deliver<F: Frame>(
        &self,
        packet: &Packet,
        backend: &Backend,
        frame: &mut F,
        decision: &mut Decision,
        counters: &mut Counters,
        budgets: &mut ErrorBudgets,
    ) {
        if !backend.delivery.fits(packet) {
            self.deliver_too_long(packet, backend, frame, decision, counters, budgets);
            return;
        }
        match backend.delivery.deliver(frame, packet, &packet.flow) {
            Ok(()) => decision.egress = backend.delivery.port(),
            Err(reason) => decision.verdict = Verdict::Drop(reason),
        }
    }
}

/// Name of the datagram that a fragment of TCP or UDP is part of.
#[cold]
#[inline(never)]
pub(super) fn datagram_of(
    fragment: &Candidate,
    frame: &[u8],
    hasher: &TrackingHasher,
) -> Option<DatagramKey> {
    let packet = &fragment.packet;
    let identification = packet.flow.is_followed().then(|| packet.fragment_identification(frame))??;
    Some(hasher.datagram_key(fragment.network, &packet.flow, identification))
}

/// Reason for which no packet like this is forwarded, whatever its rule.
pub(super) fn unforwardable(
    frame: &[u8],
    src: Address,
    ttl: u8,
    rules: &ForwardingRules,
) -> Option<DropReason> {
    if ethernet::destination(frame).is_group() {
        // RFC 1812, section 5.3.4: whoever forwarded a broadcast would multiply it.
        Some(DropReason::LinkLayerGroup)
    } else if src.is_martian_source() {
        Some(DropReason::MartianSource)
    } else if rules.is_own_source(src) {
        Some(DropReason::OwnSource)
    } else {
        (ttl <= 1).then_some(DropReason::TtlExpired)
    }
}
