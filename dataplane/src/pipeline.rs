//! The life of a burst, stage by stage. Every branch of the packet path is here: those of routes, fragments and prefixes in
//! `apart.rs`, and of packets that exceed a path's MTU in `too_long.rs`.
//!
//! ```text
//! all:        prefetch the header → parse → classify → hash, prefetch the connection's bucket
//! each, then: its connection, or selection → deliver
//! fragments:  all but the parse in the second pass: a later one follows the first before it, or decides for itself
//! ```
//!
//! By the time that the second pass comes to a packet, its bucket has had the rest of the first to arrive from memory.
//! The snapshot and the clock are taken once per burst. Connections are decided packet by packet, in order, so that
//! an entry which the first packet of a burst makes is there for the second.

mod apart;
mod too_long;

use std::num::NonZeroU16;

use crate::affinity::{TrackingHasher, Tuple};
use crate::backend::BackendHandle;
use crate::conntrack::{ConntrackTable, Entry, Found, Inserted, Stage, TrackingKey};
use crate::counters::{ConntrackCounters, Counters};
use crate::egress::PortId;
use crate::first_fragments::FirstFragments;
use crate::flow::Flow;
use crate::forwarding_rule::{RuleId, RuleMatch, ServiceId};
use crate::frame::Frame;
use crate::icmp_error::{self, ErrorBudget};
use crate::packet::Packet;
use crate::prefetch::prefetch;
use crate::snapshot::{Backend, Snapshot};
use crate::time::Tick;
use crate::verdict::{DropReason, PassReason, Verdict};
use crate::wire::ethernet;
use apart::Onward;

/// Largest number of frames that one call of [`Pipeline::process`] takes.
pub const BURST: usize = 32;

/// Decision for one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// End of the packet.
    pub verdict: Verdict,
    /// Rule that the packet belongs to, and the service behind it.
    pub rule: Option<(RuleId, ServiceId)>,
    /// Backend that the packet goes to, or would have gone to if it had not been dropped.
    pub backend: Option<BackendHandle>,
    /// Way that the backend was found.
    pub tracking: Tracking,
    /// Port that sends the packet, if it is forwarded.
    pub egress: PortId,
    /// Length of the frame as it came in, before delivery or an answer has changed it; zero if it has no rule.
    pub received_len: u32,
    /// True if the frame now holds an ICMP error, to be sent back where the packet came from.
    pub answered: bool,
    /// MTU that the forwarded frame exceeds: [`fragments`](crate::delivery::fragments::fragments) of it are sent. None
    /// for a frame that is sent whole.
    pub fragment_mtu: Option<NonZeroU16>,
}

/// Way that a packet's backend was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracking {
    /// Found in a valid entry.
    Hit,
    /// Found by the hash; an entry was made or replaced.
    New,
    /// Found by the hash; no entry was made.
    Off,
}

impl Tracking {
    /// Stable word that captures, metrics and tools show.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::New => "new",
            Self::Off => "off",
        }
    }
}

impl Decision {
    /// Decision before it is made.
    pub const PENDING: Self = Self {
        verdict: Verdict::Forward,
        rule: None,
        backend: None,
        tracking: Tracking::Off,
        egress: PortId(0),
        received_len: 0,
        answered: false,
        fragment_mtu: None,
    };

    const fn end(verdict: Verdict) -> Self {
        Self { verdict, ..Self::PENDING }
    }

    const fn pending(rule: RuleId, service: ServiceId, frame: &[u8]) -> Self {
        Self { rule: Some((rule, service)), received_len: frame.len() as u32, ..Self::PENDING }
    }
}

/// Packet path of one worker.
#[derive(Debug)]
pub struct Pipeline {
    hasher: TrackingHasher,
    counters: Counters,
    budget: ErrorBudget,
    first_fragments: FirstFragments,
    /// Packets of a burst between the two passes; kept, so that each is written once, where it stays.
    candidates: Box<[Candidate; BURST]>,
}

/// Number of packets ahead that headers are prefetched: a line comes from the third-level cache, where NICs put it, in
/// the time that some four take to parse.
const HEADERS_AHEAD: usize = 4;

/// A packet that belongs to a service, between the two passes.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    /// Parsed packet, with the flow of its connection: an ICMP error has that of the packet which it quotes.
    packet: Packet,
    /// Name of its connection, if that is tracked.
    key: TrackingKey,
    tracked: bool,
    /// True for an ICMP error that goes where the packet goes which it quotes.
    quoted: bool,
    apart: Apart,
    service: ServiceId,
    /// Index in the burst.
    index: u8,
}

/// Reason for which a candidate without a valid entry is decided apart from those that nearly all are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Apart {
    No,
    /// Came by a route: its hashes are those of both directions.
    Routed,
    /// A fragment of TCP or UDP, of which nothing is decided yet.
    Fragment,
}

/// Inputs that are the same for all packets of a burst.
struct Round<'a> {
    snapshot: &'a Snapshot,
    table: &'a ConntrackTable,
    hasher: &'a TrackingHasher,
    now: Tick,
}

impl Pipeline {
    /// Pipeline whose conntrack keys are made with `hasher`, the same for all workers that share a table.
    pub fn new(hasher: TrackingHasher) -> Self {
        Self {
            hasher,
            counters: Counters::default(),
            budget: ErrorBudget::default(),
            first_fragments: FirstFragments::new(),
            candidates: Box::new([Candidate::NONE; BURST]),
        }
    }

    /// Counters of this worker.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Counts entries that a sweep has taken out for this worker.
    pub fn count_swept(&mut self, entries: usize) {
        self.counters.conntrack.swept += entries as u64;
    }

    /// Decides a burst of at most [`BURST`] frames, and turns each forwarded one into the frame that its backend gets.
    ///
    /// `decisions` gets one decision a frame, in order.
    ///
    /// # Panics
    /// Where `frames` and `decisions` differ in length, or exceed [`BURST`].
    pub fn process<F: Frame>(
        &mut self,
        frames: &mut [F],
        decisions: &mut [Decision],
        now: Tick,
        snapshot: &Snapshot,
        table: &ConntrackTable,
    ) {
        assert!(frames.len() <= BURST && frames.len() == decisions.len());
        let Self { hasher, counters, budget, first_fragments, candidates } = self;
        let round = Round { snapshot, table, hasher, now };
        let of_address = |flow: &Flow| snapshot.rules.lookup_unconditional(flow);
        let mut count = 0;
        for frame in frames.iter().take(HEADERS_AHEAD) {
            prefetch_header(frame);
        }
        for (index, decision) in decisions.iter_mut().enumerate() {
            if let Some(ahead) = frames.get(index + HEADERS_AHEAD) {
                prefetch_header(ahead);
            }
            let frame = frames[index].bytes();
            let candidate = &mut candidates[count];
            candidate.index = index as u8;
            // Each family by itself, so that the compiler knows which it is in all that follows.
            let admitted = (candidate.packet.read_plain_ipv4(frame)
                && round.admit_plain(candidate, frame, decision, of_address))
                || (candidate.packet.read_plain_ipv6(frame)
                    && round.admit_plain(candidate, frame, decision, of_address))
                || round.admit_any(candidate, frame, decision, counters);
            count += usize::from(admitted);
        }
        for candidate in &candidates[..count] {
            let index = usize::from(candidate.index);
            let (frame, decision) = (&mut frames[index], &mut decisions[index]);
            match round.connection(candidate, &mut counters.conntrack) {
                Some((handle, backend)) => {
                    (decision.backend, decision.tracking) = (Some(handle), Tracking::Hit);
                    round.deliver(candidate, backend, frame, decision, counters, budget);
                }
                None => {
                    let mut first_of = None;
                    if candidate.apart == Apart::No {
                        (decision.backend, decision.tracking) =
                            round.select(candidate, &mut counters.conntrack);
                    } else {
                        let bytes = frame.bytes();
                        match round.decide_apart(candidate, bytes, decision, counters, first_fragments) {
                            Onward::Deliver => {}
                            Onward::DeliverFirst(datagram) => first_of = Some(datagram),
                            Onward::End => continue,
                        }
                    }
                    match decision.backend.and_then(|handle| snapshot.backend(handle)) {
                        Some(backend) => {
                            round.deliver(candidate, backend, frame, decision, counters, budget);
                        }
                        None => decision.verdict = Verdict::Drop(DropReason::NoEligibleBackend),
                    }
                    if let Some(datagram) = first_of {
                        round.remember(datagram, decision, first_fragments);
                    }
                }
            }
        }
        counters.count(decisions.iter().map(|decision| decision.verdict));
    }
}

impl Candidate {
    /// Candidate before there is any.
    const NONE: Self = Self {
        packet: Packet::NONE,
        key: TrackingKey(0),
        tracked: false,
        quoted: false,
        apart: Apart::No,
        service: ServiceId(0),
        index: 0,
    };

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

impl Round<'_> {
    /// Takes in a packet that is as nearly all are: well-formed, plain, for a rule that takes every client and that
    /// `lookup` finds. False where it is not, and nothing is decided.
    #[inline(always)]
    fn admit_plain(
        &self,
        candidate: &mut Candidate,
        frame: &[u8],
        decision: &mut Decision,
        lookup: impl FnOnce(&Flow) -> Option<(RuleId, ServiceId)>,
    ) -> bool {
        let Some((rule, service)) = lookup(&candidate.packet.flow) else { return false };
        let to_group = ethernet::destination(frame).is_group();
        if to_group | candidate.packet.flow.src.is_martian_source() | (candidate.packet.ttl <= 1) {
            return false;
        }
        *decision = Decision::pending(rule, service, frame);
        candidate.service = service;
        candidate.quoted = false;
        candidate.apart = Apart::No;
        let flow = &candidate.packet.flow;
        let treatment = self.snapshot.service(service).policy.treatment_with_ports(flow.protocol);
        candidate.tracked = treatment.tracked;
        if treatment.tracked {
            let tuple = treatment.tracking_tuple_with_ports();
            candidate.key = self.name(service, tuple, flow, candidate.packet.opens());
        }
        true
    }

    /// Takes in any packet. True where it goes on to the second pass, false where its decision is final.
    #[inline(never)]
    fn admit_any(
        &self,
        candidate: &mut Candidate,
        frame: &[u8],
        decision: &mut Decision,
        counters: &mut Counters,
    ) -> bool {
        if self.snapshot.rules.has_vip_prefixes() && self.admit_plain_prefix(candidate, frame, decision) {
            return true;
        }
        match Packet::parse(frame) {
            Ok(packet) => candidate.packet = packet,
            Err(verdict) => {
                *decision = Decision::end(verdict);
                return false;
            }
        }
        if candidate.packet.flow.is_followed() {
            // Its first fragment may be in this burst, and is not decided yet.
            (candidate.tracked, candidate.apart) = (false, Apart::Fragment);
            return true;
        }
        self.classify(candidate, frame, decision, counters)
    }

    /// Finds rule, service and connection of a parsed packet. True where it goes on to them, false where its decision
    /// is final.
    #[inline(always)]
    fn classify(
        &self,
        candidate: &mut Candidate,
        frame: &[u8],
        decision: &mut Decision,
        counters: &mut Counters,
    ) -> bool {
        let packet = &candidate.packet;
        let rules = &self.snapshot.rules;
        let (mut quoted, mut found) = (None, RuleMatch::None);
        if packet.icmp_error
            && let Some(client_flow) = icmp_error::quoted_flow(frame, packet)
        {
            (quoted, found) = self.lookup_quoted(client_flow);
        }
        if quoted.is_none() {
            found = rules.lookup(&packet.flow);
        }
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
        if let Some(reason) = unforwardable(frame, packet) {
            decision.verdict = Verdict::Drop(reason);
            return false;
        }
        let opens = packet.opens();
        if let Some(flow) = quoted {
            counters.icmp_errors_steered += 1;
            candidate.packet.flow = flow;
        }
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
        (candidate.quoted, candidate.service) = (quoted.is_some(), service);
        true
    }

    /// Flow that an ICMP error goes with, and its rule; no flow where the packet that it quotes is none of ours.
    ///
    /// The packet was an answer of a VIP to `client_flow`, or it came by a route itself, or its other direction does.
    #[cold]
    #[inline(never)]
    fn lookup_quoted(&self, client_flow: Flow) -> (Option<Flow>, RuleMatch) {
        let rules = &self.snapshot.rules;
        let found = rules.lookup(&client_flow);
        if matches!(found, RuleMatch::Rule(..)) {
            return (Some(client_flow), found);
        }
        let sent = client_flow.reversed();
        match rules.lookup(&sent) {
            by_route @ RuleMatch::Route(..) => (Some(sent), by_route),
            _ => (matches!(found, RuleMatch::Route(..)).then_some(client_flow), found),
        }
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

    /// Backend that a packet's connection has been going to, if a valid entry says so.
    #[inline(always)]
    fn connection(
        &self,
        candidate: &Candidate,
        counters: &mut ConntrackCounters,
    ) -> Option<(BackendHandle, &Backend)> {
        if !candidate.tracked {
            return None;
        }
        if candidate.packet.tcp_flags != 0 {
            let one = self.is_one_connection(candidate);
            let restarts = one && candidate.packet.opens();
            return if restarts { None } else { self.turning_connection(candidate, one, counters) };
        }
        let (found, handle, backend) = self.valid_entry(candidate)?;
        // An error, which anyone may forge, keeps no entry alive (RFC 5508 asks the same of NATs).
        if !candidate.quoted {
            found.refresh(self.now, false);
        }
        counters.hits += 1;
        Some((handle, backend))
    }

    /// Backend of a connection that the packet closes, or opens as one of several; `one` says that the entry holds no
    /// others. An ICMP error does neither: it has no flags.
    #[inline(never)]
    fn turning_connection(
        &self,
        candidate: &Candidate,
        one: bool,
        counters: &mut ConntrackCounters,
    ) -> Option<(BackendHandle, &Backend)> {
        let packet = &candidate.packet;
        let (found, handle, backend) = self.valid_entry(candidate)?;
        if packet.closes() && one {
            self.table.close(candidate.key, found, self.now);
        } else {
            found.refresh(self.now, packet.opens());
        }
        counters.hits += 1;
        Some((handle, backend))
    }

    /// Valid entry of the candidate's connection, with its backend.
    #[inline(always)]
    fn valid_entry(&self, candidate: &Candidate) -> Option<(Found<'_>, BackendHandle, &Backend)> {
        let found = self.table.lookup(candidate.key)?;
        let entry = found.entry();
        let backend =
            self.snapshot.backend(entry.backend).filter(|backend| backend.holds(&entry, self.now))?;
        Some((found, entry.backend, backend))
    }

    /// True if the candidate's entry is that of one TCP connection, which a SYN starts anew and a FIN or RST closes.
    fn is_one_connection(&self, candidate: &Candidate) -> bool {
        // Only TCP packets have the flags, and an ICMP error that quotes one is none: the flow is the packet's own.
        let service = self.snapshot.service(candidate.service);
        service.policy.treatment(candidate.packet.flow.protocol).restarts
    }

    /// Backend that the hash of a packet without a valid entry selects; makes an entry that keeps a tracked connection
    /// there.
    #[inline(never)]
    fn select(
        &self,
        candidate: &Candidate,
        counters: &mut ConntrackCounters,
    ) -> (Option<BackendHandle>, Tracking) {
        let flow = &candidate.packet.flow;
        let Self { snapshot, table, now, .. } = *self;
        let service = snapshot.service(candidate.service);
        let selected = snapshot.select(service, flow);
        if !candidate.tracked {
            counters.untracked += 1;
            return (selected, Tracking::Off);
        }
        let treatment = service.policy.treatment(flow.protocol);
        let opens = candidate.packet.opens();
        match selected.and_then(|handle| Some((handle, snapshot.backend(handle)?))) {
            Some((handle, backend)) if !candidate.quoted => {
                let entry = Entry {
                    backend: handle,
                    generation: backend.generation_for(treatment.persists),
                    persists: treatment.persists,
                    stage: candidate.first_stage(treatment.restarts),
                    seen: now,
                };
                let judge = |other: &Entry| snapshot.standing(other, now);
                let inserted = if opens && treatment.restarts {
                    table.restart(candidate.key, entry, judge)
                } else {
                    table.insert(candidate.key, entry, judge)
                };
                counters.count(&inserted);
                match inserted {
                    Inserted::Full => (selected, Tracking::Off),
                    // Another worker was first. Its snapshot may be newer than ours, its backend unknown here yet.
                    Inserted::Lost(winner) if snapshot.backend(winner.backend).is_some() => {
                        (Some(winner.backend), Tracking::Hit)
                    }
                    Inserted::Lost(_) => (selected, Tracking::Hit),
                    _ => (selected, Tracking::New),
                }
            }
            _ => {
                counters.untracked += u64::from(candidate.quoted);
                (selected, Tracking::Off)
            }
        }
    }

    /// Turns the frame into the one that its backend gets, or drops it.
    #[inline(always)]
    fn deliver<F: Frame>(
        &self,
        candidate: &Candidate,
        backend: &Backend,
        frame: &mut F,
        decision: &mut Decision,
        counters: &mut Counters,
        budget: &mut ErrorBudget,
    ) {
        let packet = &candidate.packet;
        if !backend.delivery.fits(packet) {
            self.deliver_too_long(packet, backend, frame, decision, counters, budget);
            return;
        }
        match backend.delivery.deliver(frame, packet, &packet.flow) {
            Ok(()) => decision.egress = backend.delivery.port(),
            Err(reason) => decision.verdict = Verdict::Drop(reason),
        }
    }
}

/// Reason for which no packet like this is forwarded, whatever its rule.
fn unforwardable(frame: &[u8], packet: &Packet) -> Option<DropReason> {
    if ethernet::destination(frame).is_group() {
        // RFC 1812, section 5.3.4: whoever forwarded a broadcast would multiply it.
        Some(DropReason::LinkLayerGroup)
    } else if packet.flow.src.is_martian_source() {
        Some(DropReason::MartianSource)
    } else {
        (packet.ttl <= 1).then_some(DropReason::TtlExpired)
    }
}

#[inline]
fn prefetch_header<F: Frame>(frame: &F) {
    if let Some(first) = frame.bytes().first() {
        prefetch(first);
    }
}
