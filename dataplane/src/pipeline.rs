//! The life of a burst, stage by stage. Every branch of the packet path is here.
//!
//! ```text
//! parse all → classify all → hash and prefetch all → per packet: connection, or selection → deliver
//! ```
//!
//! The snapshot and the clock are taken once per burst. Connections are decided packet by packet, in order, so that
//! an entry which the first packet of a burst makes is there for the second.

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
use crate::snapshot::Snapshot;
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
}

/// One worker's share of the packet path.
#[derive(Debug)]
pub struct Pipeline {
    hasher: TrackingHasher,
    counters: Counters,
    budget: ErrorBudget,
}

/// A packet that belongs to a service, on its way through the stages.
struct Candidate {
    /// Its place in the burst.
    place: usize,
    packet: Packet,
    /// Whose packet it is; for an ICMP error, whose packet it quotes.
    flow: Flow,
    /// It is an ICMP error and `flow` is that of its quote.
    quoted: bool,
    service: ServiceId,
    key: Option<TrackingKey>,
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
        let mut burst: [Option<Candidate>; BURST] = [const { None }; BURST];
        for (place, frame) in frames.iter().enumerate() {
            match Packet::parse(frame.bytes()) {
                Ok(packet) => match self.classify(place, packet, frame.bytes(), snapshot) {
                    Ok((decision, candidate)) => {
                        decisions[place] = decision;
                        burst[place] = Some(candidate);
                    }
                    Err(decision) => decisions[place] = decision,
                },
                Err(verdict) => decisions[place] = Decision::end(verdict),
            }
        }
        for candidate in burst.iter_mut().flatten() {
            let service = snapshot.service(candidate.service);
            if service.policy.treatment(candidate.flow.protocol).tracked {
                let tuple = service.policy.tracking_tuple(&candidate.flow);
                let key = self.hasher.key(service.key, tuple, &candidate.flow);
                table.prefetch(key);
                candidate.key = Some(key);
            }
        }
        for candidate in burst.iter().flatten() {
            let decision = &mut decisions[candidate.place];
            let chosen = self.choose(candidate, now, snapshot, table);
            self.deliver(candidate, chosen, &mut frames[candidate.place], decision, now, snapshot);
        }
        for decision in decisions.iter() {
            self.counters.count(decision.verdict);
        }
    }

    /// Which rule a packet belongs to, or why it ends before any connection is asked for.
    fn classify(
        &mut self,
        place: usize,
        packet: Packet,
        frame: &[u8],
        snapshot: &Snapshot,
    ) -> Result<(Decision, Candidate), Decision> {
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
            RuleMatch::OutsideRegion => return Err(Decision::end(Verdict::Pass(PassReason::OutsideRegion))),
            RuleMatch::None => return Err(Decision::end(Verdict::Pass(PassReason::NoForwardingRule))),
        };
        if packet.neighbor_discovery {
            return Err(Decision::end(Verdict::Pass(PassReason::NeighborDiscovery)));
        }
        let decision = Decision { rule: Some((rule, service)), ..Decision::PENDING };
        let dropped = |reason| Decision { verdict: Verdict::Drop(reason), ..decision };
        if ethernet::destination(frame).is_group() {
            // RFC 1812, section 5.3.4: whoever forwarded a broadcast would multiply it.
            return Err(dropped(DropReason::LinkLayerGroup));
        }
        if packet.flow.src.is_martian_source() {
            return Err(dropped(DropReason::MartianSource));
        }
        if packet.ttl <= 1 {
            return Err(dropped(DropReason::TtlExpired));
        }
        self.counters.icmp_errors_steered += u64::from(quoted);
        Ok((decision, Candidate { place, packet, flow, quoted, service, key: None }))
    }

    /// The backend of a packet: its connection's where a valid entry says so, else the one that its hash selects.
    fn choose(
        &mut self,
        candidate: &Candidate,
        now: Tick,
        snapshot: &Snapshot,
        table: &ConntrackTable,
    ) -> (Option<BackendHandle>, Tracking) {
        let service = snapshot.service(candidate.service);
        let Some(key) = candidate.key else {
            self.counters.conntrack.untracked += 1;
            return (snapshot.select(service, &candidate.flow), Tracking::Off);
        };
        let treatment = service.policy.treatment(candidate.flow.protocol);
        let opens = candidate.packet.tcp_syn;
        let restarts = opens && treatment.restarts;
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
        let selected = snapshot.select(service, &candidate.flow);
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

    fn deliver<F: Frame>(
        &mut self,
        candidate: &Candidate,
        (handle, tracking): (Option<BackendHandle>, Tracking),
        frame: &mut F,
        decision: &mut Decision,
        now: Tick,
        snapshot: &Snapshot,
    ) {
        decision.backend = handle;
        decision.tracking = tracking;
        let Some(backend) = handle.and_then(|handle| snapshot.backend(handle)) else {
            decision.verdict = Verdict::Drop(DropReason::NoEligibleBackend);
            return;
        };
        let packet = &candidate.packet;
        if backend.delivery.refuses(packet) {
            decision.verdict = Verdict::Drop(DropReason::PacketTooBig);
            decision.answered = snapshot.error_source(packet.flow.dst).is_some_and(|own| {
                icmp_error::may_answer(frame.bytes(), packet)
                    && self.budget.take(now, snapshot.icmp_errors_per_sec)
                    && icmp_error::answer_too_big(frame, packet, own, backend.delivery.inner_mtu())
            });
            if decision.answered {
                self.counters.icmp_errors_sent += 1;
            } else {
                self.counters.icmp_errors_suppressed += 1;
            }
            return;
        }
        match backend.delivery.deliver(frame, packet, &candidate.flow) {
            Ok(delivered) => {
                decision.egress = backend.delivery.port();
                self.counters.exceeding_mtu += u64::from(delivered.exceeds_mtu);
            }
            Err(reason) => decision.verdict = Verdict::Drop(reason),
        }
    }
}
