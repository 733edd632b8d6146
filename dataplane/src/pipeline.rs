//! The life of a burst, stage by stage. Every branch of the packet path is here.
//!
//! ```text
//! all:        prefetch the header → parse → classify → hash, prefetch the connection's bucket
//! each, then: its connection, or selection → deliver
//! ```
//!
//! By the time that the second pass comes to a packet, its bucket has had the rest of the first to arrive from memory.
//! The snapshot and the clock are taken once per burst. Connections are decided packet by packet, in order, so that
//! an entry which the first packet of a burst makes is there for the second.

use arrayvec::ArrayVec;

use crate::affinity::TrackingHasher;
use crate::backend::BackendHandle;
use crate::conntrack::{ConntrackTable, Entry, Inserted, TrackingKey};
use crate::counters::Counters;
use crate::egress::PortId;
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

/// The most frames that one call of [`Pipeline::process`] takes.
pub const BURST: usize = 32;

/// What was decided for one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What becomes of it.
    pub verdict: Verdict,
    /// The rule, and the service behind it, that it belongs to.
    pub rule: Option<(RuleId, ServiceId)>,
    /// The backend that it goes to, or was refused by.
    pub backend: Option<BackendHandle>,
    /// How the backend was found.
    pub tracking: Tracking,
    /// The port that sends it, where it is forwarded.
    pub egress: PortId,
    /// The frame now holds an ICMP error to be sent back where it came from.
    pub answered: bool,
}

/// How a packet's backend was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracking {
    /// A valid entry decided.
    Hit,
    /// Its hash decided, and an entry was made or replaced.
    New,
    /// Its hash decided, and no entry was made.
    Off,
}

impl Tracking {
    /// The stable word that captures, metrics and tools show.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::New => "new",
            Self::Off => "off",
        }
    }
}

impl Decision {
    /// What a decision is before it is made.
    pub const PENDING: Self = Self {
        verdict: Verdict::Forward,
        rule: None,
        backend: None,
        tracking: Tracking::Off,
        egress: PortId(0),
        answered: false,
    };

    const fn end(verdict: Verdict) -> Self {
        Self { verdict, ..Self::PENDING }
    }

    const fn pending(rule: RuleId, service: ServiceId) -> Self {
        Self { rule: Some((rule, service)), ..Self::PENDING }
    }
}

/// One worker's share of the packet path.
#[derive(Debug)]
pub struct Pipeline {
    hasher: TrackingHasher,
    counters: Counters,
    budget: ErrorBudget,
}

/// How many packets ahead headers are asked for: a line comes from the third-level cache, where NICs put it, in the
/// time that some four take to parse.
const HEADERS_AHEAD: usize = 4;

/// A packet that belongs to a service, between the two passes.
struct Candidate {
    /// Its place in the burst.
    place: u8,
    /// It is an ICMP error and goes where the packet goes that it quotes.
    quoted: bool,
    service: ServiceId,
    packet: Packet,
    key: Option<TrackingKey>,
}

impl Candidate {
    /// Starts to bring its connection's bucket into the cache.
    #[inline]
    fn prefetch(&self, table: &ConntrackTable) {
        if let Some(key) = self.key {
            table.prefetch(key);
        }
    }
}

impl Pipeline {
    /// A pipeline whose conntrack keys are made with `hasher`, the same for all workers that share a table.
    pub fn new(hasher: TrackingHasher) -> Self {
        Self { hasher, counters: Counters::default(), budget: ErrorBudget::default() }
    }

    /// What this worker has counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Counts entries that a sweep has taken out for this worker.
    pub fn count_swept(&mut self, entries: usize) {
        self.counters.conntrack.swept += entries as u64;
    }

    /// Decides a burst of at most [`BURST`] frames, and makes each forwarded one into what its backend gets.
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
        let mut candidates = ArrayVec::<Candidate, BURST>::new();
        for frame in frames.iter().take(HEADERS_AHEAD) {
            prefetch_header(frame);
        }
        for place in 0..frames.len() {
            if let Some(ahead) = frames.get(place + HEADERS_AHEAD) {
                prefetch_header(ahead);
            }
            let frame = frames[place].bytes();
            // Two ways to one end: what the compiler has in registers on the plain one stays there.
            decisions[place] = if let Some((rule, candidate)) = self.admit_plain(place, frame, snapshot) {
                let decision = Decision::pending(rule, candidate.service);
                candidate.prefetch(table);
                candidates.push(candidate);
                decision
            } else {
                self.admit_any(place, frame, snapshot, table, &mut candidates)
            };
        }
        for candidate in &candidates {
            let place = usize::from(candidate.place);
            let (frame, decision) = (&mut frames[place], &mut decisions[place]);
            let quoted;
            let mut flow = &candidate.packet.flow;
            if candidate.quoted {
                quoted = icmp_error::quoted_flow(frame.bytes(), &candidate.packet).unwrap_or(*flow);
                flow = &quoted;
            }
            let (handle, tracking) = self.choose(candidate, flow, now, snapshot, table);
            (decision.backend, decision.tracking) = (handle, tracking);
            match handle.and_then(|handle| snapshot.backend(handle)) {
                Some(backend) => self.deliver(candidate, flow, backend, frame, decision, now, snapshot),
                None => decision.verdict = Verdict::Drop(DropReason::NoEligibleBackend),
            }
        }
        self.counters.count(decisions.iter().map(|decision| decision.verdict));
    }

    /// Where a packet belongs that is as nearly all are: well-formed, plain, for a rule that takes every client.
    #[inline(always)]
    fn admit_plain(&self, place: usize, frame: &[u8], snapshot: &Snapshot) -> Option<(RuleId, Candidate)> {
        let packet = Packet::parse_plain(frame)?;
        let (rule, service) = snapshot.rules.lookup_sole(&packet.flow)?;
        let ends_here =
            ethernet::destination(frame).is_group() | packet.flow.src.is_martian_source() | (packet.ttl <= 1);
        if ends_here {
            return None;
        }
        let key = self.key(service, &packet.flow, snapshot);
        Some((rule, Candidate { place: place as u8, quoted: false, service, packet, key }))
    }

    /// Where any packet belongs; one that a connection is to be asked for becomes a candidate.
    #[inline(never)]
    fn admit_any(
        &mut self,
        place: usize,
        frame: &[u8],
        snapshot: &Snapshot,
        table: &ConntrackTable,
        candidates: &mut ArrayVec<Candidate, BURST>,
    ) -> Decision {
        let packet = match Packet::parse(frame) {
            Ok(packet) => packet,
            Err(verdict) => return Decision::end(verdict),
        };
        let mut flow = packet.flow;
        let mut quoted = false;
        let mut found = RuleMatch::None;
        if packet.icmp_error
            && let Some(client_flow) = icmp_error::quoted_flow(frame, &packet)
        {
            found = snapshot.rules.lookup(&client_flow);
            if matches!(found, RuleMatch::Rule(..)) {
                (flow, quoted) = (client_flow, true);
            }
        }
        if !quoted {
            found = snapshot.rules.lookup(&flow);
        }
        let (rule, service) = match found {
            RuleMatch::Rule(rule, service) => (rule, service),
            RuleMatch::OutsideRegion => return Decision::end(Verdict::Pass(PassReason::OutsideRegion)),
            RuleMatch::None => return Decision::end(Verdict::Pass(PassReason::NoForwardingRule)),
        };
        if packet.neighbor_discovery {
            return Decision::end(Verdict::Pass(PassReason::NeighborDiscovery));
        }
        let decision = Decision::pending(rule, service);
        let dropped = |reason| Decision { verdict: Verdict::Drop(reason), ..decision };
        if ethernet::destination(frame).is_group() {
            // RFC 1812, section 5.3.4: whoever forwarded a broadcast would multiply it.
            return dropped(DropReason::LinkLayerGroup);
        }
        if packet.flow.src.is_martian_source() {
            return dropped(DropReason::MartianSource);
        }
        if packet.ttl <= 1 {
            return dropped(DropReason::TtlExpired);
        }
        self.counters.icmp_errors_steered += u64::from(quoted);
        let key = self.key(service, &flow, snapshot);
        let candidate = Candidate { place: place as u8, quoted, service, packet, key };
        candidate.prefetch(table);
        candidates.push(candidate);
        decision
    }

    /// The key that the connection of `flow` has in the table, where it is to have one.
    #[inline(always)]
    fn key(&self, service: ServiceId, flow: &Flow, snapshot: &Snapshot) -> Option<TrackingKey> {
        let service = snapshot.service(service);
        let tracked = service.policy.treatment(flow.protocol).tracked;
        tracked.then(|| self.hasher.key(service.key, service.policy.tracking_tuple(flow), flow))
    }

    /// The backend of a packet: its connection's where a valid entry says so, else the one that its hash selects.
    #[inline]
    fn choose(
        &mut self,
        candidate: &Candidate,
        flow: &Flow,
        now: Tick,
        snapshot: &Snapshot,
        table: &ConntrackTable,
    ) -> (Option<BackendHandle>, Tracking) {
        let service = snapshot.service(candidate.service);
        let Some(key) = candidate.key else {
            self.counters.conntrack.untracked += 1;
            return (snapshot.select(service, flow), Tracking::Off);
        };
        let opens = candidate.packet.tcp_syn;
        let restarts = opens && service.policy.treatment(flow.protocol).restarts;
        if !restarts
            && let Some(found) = table.lookup(key)
            && let entry = found.entry()
            && snapshot.backend(entry.backend).is_some_and(|backend| backend.holds(&entry, now))
        {
            // An error, which anyone may forge, keeps no entry alive (RFC 5508 asks the same of NATs).
            if !candidate.quoted {
                found.refresh(now, !opens);
            }
            self.counters.conntrack.hits += 1;
            return (Some(entry.backend), Tracking::Hit);
        }
        self.open(key, candidate, flow, now, snapshot, table)
    }

    /// The backend that the hash of a packet without a valid entry selects, and an entry that keeps it there.
    #[inline(never)]
    fn open(
        &mut self,
        key: TrackingKey,
        candidate: &Candidate,
        flow: &Flow,
        now: Tick,
        snapshot: &Snapshot,
        table: &ConntrackTable,
    ) -> (Option<BackendHandle>, Tracking) {
        let service = snapshot.service(candidate.service);
        let treatment = service.policy.treatment(flow.protocol);
        let opens = candidate.packet.tcp_syn;
        let selected = snapshot.select(service, flow);
        match selected.and_then(|handle| Some((handle, snapshot.backend(handle)?))) {
            Some((handle, backend)) if !candidate.quoted => {
                let entry = Entry {
                    backend: handle,
                    generation: backend.generation_for(treatment.persists),
                    persists: treatment.persists,
                    half_open: opens,
                    seen: now,
                };
                let judge = |other: &Entry| snapshot.standing(other, now);
                let restarts = opens && treatment.restarts;
                let inserted =
                    if restarts { table.restart(key, entry, judge) } else { table.insert(key, entry, judge) };
                self.count_insert(&inserted);
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
                self.counters.conntrack.untracked += u64::from(candidate.quoted);
                (selected, Tracking::Off)
            }
        }
    }

    fn count_insert(&mut self, inserted: &Inserted) {
        let counters = &mut self.counters.conntrack;
        match inserted {
            Inserted::Full => counters.full += 1,
            Inserted::Lost(_) => counters.hits += 1,
            Inserted::New => {
                counters.inserts += 1;
                counters.occupied += 1;
            }
            Inserted::Replaced => counters.inserts += 1,
            Inserted::EvictedVoid => {
                counters.inserts += 1;
                counters.evicted_void += 1;
            }
            Inserted::EvictedHalfOpen => {
                counters.inserts += 1;
                counters.evicted_half_open += 1;
            }
        }
    }

    /// Makes the frame into what its backend gets, or says why that can't be.
    #[inline]
    #[expect(clippy::too_many_arguments, reason = "a stage takes what the stages before it have found out")]
    fn deliver<F: Frame>(
        &mut self,
        candidate: &Candidate,
        flow: &Flow,
        backend: &Backend,
        frame: &mut F,
        decision: &mut Decision,
        now: Tick,
        snapshot: &Snapshot,
    ) {
        let packet = &candidate.packet;
        if backend.delivery.refuses(packet) {
            decision.verdict = Verdict::Drop(DropReason::PacketTooBig);
            decision.answered = self.answer_too_big(packet, backend, frame, now, snapshot);
            return;
        }
        match backend.delivery.deliver(frame, packet, flow) {
            Ok(delivered) => {
                decision.egress = backend.delivery.port();
                self.counters.exceeding_mtu += u64::from(delivered.exceeds_mtu);
            }
            Err(reason) => decision.verdict = Verdict::Drop(reason),
        }
    }

    /// Tells the sender of a packet that it is too big, where that may be told, and whether it was.
    #[cold]
    fn answer_too_big<F: Frame>(
        &mut self,
        packet: &Packet,
        backend: &Backend,
        frame: &mut F,
        now: Tick,
        snapshot: &Snapshot,
    ) -> bool {
        let answered = snapshot.error_source(packet.flow.dst).is_some_and(|own| {
            icmp_error::may_answer(frame.bytes(), packet)
                && self.budget.take(now, snapshot.icmp_errors_per_sec)
                && icmp_error::answer_too_big(frame, packet, own, backend.delivery.inner_mtu())
        });
        if answered {
            self.counters.icmp_errors_sent += 1;
        } else {
            self.counters.icmp_errors_suppressed += 1;
        }
        answered
    }
}

#[inline]
fn prefetch_header<F: Frame>(frame: &F) {
    if let Some(first) = frame.bytes().first() {
        prefetch(first);
    }
}
