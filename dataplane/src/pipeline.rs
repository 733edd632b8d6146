//! The life of a burst, loop by loop. The plain way, which nearly all packets take, is in `plain.rs`, with the first packets
//! of its connections in `opening.rs`; every other branch of the packet path in `general.rs`, those of routes and fragments in `apart.rs`, and of packets that exceed a path's MTU in
//! `too_long.rs`. What a packet would meet on these ways without being decided is in `look.rs`.
//!
//! ```text
//! all:        prefetch the header → parse → classify → hash, prefetch the connection's bucket
//! each, then: its connection, or selection; not plain: → deliver
//! plain:      → deliver
//! fragments:  all but the parse in the second loop: a later one follows the first before it, or decides for itself
//! ```
//!
//! By the time that the second loop comes to a packet, its bucket has had the rest of the first to arrive from memory.
//! The snapshot and the clock are taken once per burst. Connections are decided packet by packet, in order, so that
//! an entry which the first packet of a burst makes is there for the second.

mod apart;
mod by_tag;
mod general;
mod header_prefetch;
mod intake;
mod look;
mod opening;
mod plain;
mod step;
mod too_long;

use std::num::NonZeroU16;

use crate::admission::Admissions;
use crate::affinity::TrackingHasher;
use crate::backend::BackendHandle;
use crate::conntrack::ConntrackTable;
use crate::counters::Counters;
use crate::egress::PortId;
use crate::first_fragments::FirstFragments;
use crate::forwarding_rule::{RuleId, ServiceId};
use crate::frame::Frame;
use crate::icmp_error::ErrorBudgets;
use crate::network::OfPort;
use crate::snapshot::{PlainBackends, Snapshot};
use crate::time::Tick;
use crate::traffic_counters::Tally;
use crate::verdict::Verdict;
use general::Candidate;
pub use look::{Connection, LaterFragment, Look, RuleFound};
use step::Step;

/// Largest number of frames that one call of [`Pipeline::process`] takes.
pub const BURST: usize = 32;

/// Decision for one packet.
//
// In this order constants lie side by side, and are stored in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Decision {
    /// MTU that the forwarded frame exceeds: [`fragments`](crate::delivery::fragments::fragments) of it are sent. None
    /// for a frame that is sent whole.
    pub fragment_mtu: Option<NonZeroU16>,
    /// True if the frame now holds an ICMP error, to be sent back where the packet came from.
    pub answered: bool,
    /// End of the packet.
    pub verdict: Verdict,
    /// Port that sends the packet, if it is forwarded.
    pub egress: PortId,
    /// Way that the backend was found.
    pub tracking: Tracking,
    /// Rule that the packet belongs to, and the service behind it.
    pub rule: Option<(RuleId, ServiceId)>,
    /// Backend that the packet goes to, or would have gone to if it had not been dropped.
    pub backend: Option<BackendHandle>,
    /// Length of the frame as it came in, before delivery or an answer has changed it; zero if it has no rule.
    pub received_len: u32,
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
    number: usize,
    /// True if no packet takes the plain way.
    general_alone: bool,
    counters: Counters,
    budgets: ErrorBudgets,
    first_fragments: FirstFragments,
    /// Connections that were admitted in the latest second, where they are limited.
    admissions: Admissions,
    /// Packets of a burst that are not of the plain way alone; kept, so that each is written once, where it stays.
    candidates: Box<[Candidate; BURST]>,
}

/// State of the worker that deciding a packet changes.
struct Worker<'a> {
    counters: &'a mut Counters,
    budgets: &'a mut ErrorBudgets,
    first_fragments: &'a mut FirstFragments,
}

/// Inputs that are the same for all packets of a burst.
struct Round<'a> {
    snapshot: &'a Snapshot,
    table: &'a ConntrackTable,
    hasher: &'a TrackingHasher,
    /// Backends of the snapshot as plain packets see them.
    backends: PlainBackends<'a>,
    /// Number of the worker.
    number: usize,
    /// Connections that the worker has admitted in the latest second, where they are limited.
    admissions: &'a Admissions,
    now: Tick,
}

impl Pipeline {
    /// Pipeline whose conntrack keys are made with `hasher`, the same for all workers that share a table; `number` is that
    /// of the worker, which names its traffic counters.
    pub fn new(hasher: TrackingHasher, number: usize) -> Self {
        Self {
            hasher,
            number,
            general_alone: false,
            counters: Counters::default(),
            budgets: ErrorBudgets::default(),
            first_fragments: FirstFragments::new(),
            admissions: Admissions::default(),
            candidates: Box::new([Candidate::NONE; BURST]),
        }
    }

    /// Pipeline in which every packet takes the general way, plain ones too: what the plain way is compared with.
    #[must_use]
    pub fn general_alone(self) -> Self {
        Self { general_alone: true, ..self }
    }

    /// Counters of this worker.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Counts entries that a sweep has taken out for this worker.
    pub fn count_swept(&mut self, entries: usize) {
        self.counters.conntrack.swept += entries as u64;
    }

    /// Decides a burst of at most [`BURST`] frames that came by a port, and turns each forwarded one into the frame that its
    /// backend gets.
    ///
    /// `decisions` gets one decision a frame, in order.
    ///
    /// # Panics
    /// Where `frames` and `decisions` differ in length, or exceed [`BURST`].
    pub fn process<F: Frame>(
        &mut self,
        port: PortId,
        frames: &mut [F],
        decisions: &mut [Decision],
        now: Tick,
        snapshot: &Snapshot,
        table: &ConntrackTable,
    ) {
        assert!(frames.len() <= BURST && frames.len() == decisions.len());
        let Self {
            hasher,
            number,
            general_alone,
            counters,
            budgets,
            first_fragments,
            admissions,
            candidates,
        } = self;
        let mut steps = [Step::NONE; BURST];
        let backends = snapshot.backends.plain();
        let round = Round { snapshot, table, hasher, backends, number: *number, admissions, now };
        let mut worker = Worker { counters, budgets, first_fragments };
        match snapshot.networks.of_port(port) {
            OfPort::One(network) if !*general_alone => {
                let intake = round.intake(network);
                intake.take_in_all(frames, &mut steps, candidates, decisions, worker.counters);
            }
            OfPort::ByTag(by_tag) if !*general_alone => {
                round.take_in_by_tag(by_tag, frames, &mut steps, candidates, decisions, worker.counters);
            }
            of_port => {
                round.take_in_generally(of_port, frames, &mut steps, candidates, decisions, worker.counters);
            }
        }
        round.decide_all(frames, &mut steps, candidates, decisions, &mut worker);
        let tally = Tally::new(snapshot.traffic_counters.worker(*number));
        round.depart_all(frames, &steps, decisions, &mut worker, tally);
    }
}
