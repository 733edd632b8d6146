//! Invariants: what holds after every step, each with a name, and the words for what was seen where one does not.

use std::fmt;
use std::time::Duration;

use crate::appliance::WorkerCounts;

mod choice;
mod view;

pub use choice::{Choices, Decision, Precedents};
pub use view::{Eligible, Member, View, Views};

/// Invariant of a simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// Every packet is counted once, by each worker: offered = forwarded + passed + dropped, and wires agree with counters.
    Conservation,
    /// A packet comes out as it came in but for its link-layer addresses, a TTL that is one less, and its checksum, and no more
    /// often.
    Delivery,
    /// A packet in a tunnel is what the tunnel's headers say, from the appliance's address to that of the machine that it goes
    /// to, and no packet leaves its tunnel out.
    Tunnel,
    /// A packet goes to the link-layer address of a backend, and to no stranger's while the backend answers. Nothing in such a
    /// packet names its backend: packets to another's address break `Eligible`, `Kept` or `SameChoice`.
    NextHop,
    /// A new connection goes to a backend that the semantics call eligible.
    Eligible,
    /// Backends have shares in proportion to their weights, and weights that were reported or set.
    Weights,
    /// Operators are told the eligible backends that the semantics name.
    Stated,
    /// A packet of a tracked connection goes to the connection's backend.
    Kept,
    /// Appliances with the same eligible backends choose alike for a flow, now and later.
    SameChoice,
    /// A backend that is dead for the time of its health check is not healthy.
    Health,
    /// Snapshots that are alive are bounded.
    Snapshots,
    /// No address is announced by an appliance that does not serve it.
    Announcement,
    /// A setting of an operator that was answered holds, over restarts too.
    OperatorState,
    /// A configuration is taken over whole, or refused and not at all.
    Reload,
    /// An appliance ends when it is told to, and not otherwise.
    Alive,
    /// Within a bounded time after the last fault, all is well.
    Convergence,
}

impl Invariant {
    /// Invariants, in the order of their names' places in the documentation.
    pub const ALL: [Self; 16] = [
        Self::Conservation,
        Self::Delivery,
        Self::Tunnel,
        Self::NextHop,
        Self::Eligible,
        Self::Weights,
        Self::Stated,
        Self::Kept,
        Self::SameChoice,
        Self::Health,
        Self::Snapshots,
        Self::Announcement,
        Self::OperatorState,
        Self::Reload,
        Self::Alive,
        Self::Convergence,
    ];

    /// Word for the invariant.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Conservation => "conservation",
            Self::Delivery => "delivery",
            Self::Tunnel => "tunnel",
            Self::NextHop => "next_hop",
            Self::Eligible => "eligible",
            Self::Weights => "weights",
            Self::Stated => "stated",
            Self::Kept => "kept",
            Self::SameChoice => "same_choice",
            Self::Health => "health",
            Self::Snapshots => "snapshots",
            Self::Announcement => "announcement",
            Self::OperatorState => "operator_state",
            Self::Reload => "reload",
            Self::Alive => "alive",
            Self::Convergence => "convergence",
        }
    }

    /// Violation of the invariant by an appliance, in words.
    pub fn violated(self, appliance: usize, at: Duration, text: String) -> Violation {
        Violation { invariant: self, appliance, at, text }
    }
}

/// Invariant that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Invariant.
    pub invariant: Invariant,
    /// Appliance that was looked at.
    pub appliance: usize,
    /// Virtual time.
    pub at: Duration,
    /// Observation, in words.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { invariant, appliance, at, text } = self;
        write!(f, "{} at {:.3} s, appliance {appliance}: {text}", invariant.as_str(), at.as_secs_f64())
    }
}

/// Longest time for which a dead backend counts as healthy: two probes that time out, the first of which begins an interval
/// and its jitter after the last success, and the time that a snapshot waits.
pub const SLOWEST_FAILURE: Duration = Duration::from_millis(3_800);

/// Longest time for which an address stays announced without being served, once the control thread can tell the router: the
/// router hears of one address at a time, and of at most four before this one.
pub const SLOWEST_WITHDRAWAL: Duration = Duration::from_millis(1_700);

/// Time within which all is well after the last fault: a neighbour is asked again, two probes succeed, a hold-down ends, and a
/// router that was deaf is told again after at most eight seconds.
pub const CONVERGENCE: Duration = Duration::from_secs(20);

/// Snapshots that are alive at most: those that probes make, and as many of operators' and configurations'.
pub const MOST_SNAPSHOTS: u64 = 512;

/// Error in the counts of a worker, if there is one.
pub fn conservation(index: usize, counts: &WorkerCounts) -> Option<String> {
    let WorkerCounts { counters, given, taken, sent, is_idle } = counts;
    let pipeline = &counters.pipeline;
    let (passed, dropped) = (pipeline.passed.iter().sum::<u64>(), pipeline.dropped.iter().sum::<u64>());
    let ends = pipeline.forwarded + passed + dropped;
    if pipeline.offered != ends {
        return Some(format!(
            "worker {index}: {} offered, {} forwarded, {passed} passed, {dropped} dropped",
            pipeline.offered, pipeline.forwarded
        ));
    }
    if pipeline.offered != *taken || taken > given || (*is_idle && taken < given) {
        let queue = if *is_idle { ", and its queue is empty" } else { "" };
        return Some(format!(
            "worker {index}: {} offered of {taken} taken, of {given} given{queue}",
            pipeline.offered
        ));
    }
    (counters.io.sent != *sent)
        .then(|| format!("worker {index}: {} counted as sent of {sent}", counters.io.sent))
}

/// Error in the count of packets that were forwarded in a step, of which some came out and others had no room, if there is one.
pub fn forwarded(forwarded: u64, seen: u64, full: u64) -> Option<String> {
    let is_right = seen <= forwarded && forwarded <= seen + full;
    (!is_right).then(|| {
        format!(
            "{forwarded} packets are counted as forwarded, {seen} came out, and {full} frames had no room"
        )
    })
}

#[cfg(test)]
mod tests {
    use guideway_dataplane::counters::Counters;
    use guideway_engine::counters::{IoCounters, WorkerCounters};

    use super::*;

    #[test]
    fn a_packet_that_is_not_counted_or_counted_twice_is_seen() {
        let pipeline = Counters { offered: 7, forwarded: 7, ..Counters::default() };
        let counters = WorkerCounters { pipeline, io: IoCounters { sent: 7, ..IoCounters::default() } };
        let right = WorkerCounts { counters, given: 9, taken: 7, sent: 7, is_idle: false };
        assert_eq!(conservation(0, &right), None);
        let wrong = |change: fn(&mut WorkerCounts)| {
            let mut counts = right.clone();
            change(&mut counts);
            conservation(0, &counts).expect("it is wrong")
        };
        assert!(wrong(|counts| counts.counters.pipeline.dropped[3] += 1).contains("1 dropped"));
        assert!(wrong(|counts| counts.counters.pipeline.forwarded -= 1).contains("6 forwarded"));
        assert!(wrong(|counts| counts.taken += 1).contains("of 8 taken"));
        assert!(wrong(|counts| counts.given = 6).contains("of 6 given"));
        assert!(wrong(|counts| counts.is_idle = true).contains("of 9 given, and its queue is empty"));
        assert!(wrong(|counts| counts.sent -= 1).contains("7 counted as sent of 6"));
    }

    #[test]
    fn a_forwarded_packet_comes_out_or_had_no_room_in_the_same_step() {
        assert_eq!((forwarded(5, 5, 0), forwarded(5, 5, 2), forwarded(5, 3, 2)), (None, None, None));
        assert!([forwarded(5, 4, 0), forwarded(5, 6, 1), forwarded(5, 2, 2)].iter().all(Option::is_some));
    }

    #[test]
    fn every_invariant_has_a_word_of_its_own() {
        let words: std::collections::BTreeSet<_> = Invariant::ALL.iter().map(|one| one.as_str()).collect();
        assert_eq!(words.len(), Invariant::ALL.len());
    }
}
