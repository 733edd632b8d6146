//! Toll of a flood: what it cost those who were there before it, and what became of its own frames.

use guideway::api::view::Stats;
use guideway_dataplane::verdict::{DropReason, PassReason};
use guideway_engine::counters::WorkerCounters;

use crate::besieged::{CAPACITY, FLOOD_MS, FRAMES_A_MS};
use crate::lan::CLIENTS;

/// The most memory that the worker's and the control thread's heap may grow by, during a flood.
const MOST_MEMORY: u64 = 2 << 20;

/// The most that it may have grown by when the flood is over: probes' connections are still closing.
const KEPT_MEMORY: i64 = 1 << 20;

/// Toll of a flood.
#[derive(Default)]
pub(crate) struct Toll {
    pub(crate) before: WorkerCounters,
    pub(crate) during: WorkerCounters,
    pub(crate) stats_before: Stats,
    pub(crate) stats: Stats,
    pub(crate) most_memory: u64,
    pub(crate) kept_memory: i64,
    /// Clients whose packets all came to the same backend.
    pub(crate) kept: u64,
    /// Clients whose entry was there when the flood was over.
    pub(crate) tracked: u64,
    /// Packets of clients: lost, and sent.
    pub(crate) segments: [u64; 2],
    /// Questions of the neighbour: unanswered, and asked.
    pub(crate) questions: [u64; 2],
    /// Probes: failed, and begun.
    pub(crate) probes: [u64; 2],
    /// Backends that are healthy when the flood is over.
    pub(crate) healthy: u64,
}

/// A number with commas between its thousands.
pub(crate) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl Toll {
    /// Frames of the flood, in words.
    pub(crate) fn amount() -> String {
        format!("{} frames in {FLOOD_MS} ms", number(u64::from(FLOOD_MS * FRAMES_A_MS)))
    }

    /// Losses of those who were there before the flood.
    pub(crate) fn lost(&self) -> String {
        let clients = u64::from(CLIENTS);
        let [lost, moved, untracked] = [self.segments[0], clients - self.kept, clients - self.tracked];
        let losses = [
            (moved, format!("the backend of {} of {} connections", number(moved), clients)),
            (untracked, format!("the entry of {} of {} connections", number(untracked), clients)),
            (lost, format!("{} of their {} packets", number(lost), number(self.segments[1]))),
            (
                self.questions[0],
                format!("answers to {} of {} questions", self.questions[0], self.questions[1]),
            ),
            (self.probes[0], format!("{} of {} probes", self.probes[0], self.probes[1])),
            (4 - self.healthy, format!("{} of 4 healthy backends", 4 - self.healthy)),
        ];
        let losses: Vec<String> =
            losses.into_iter().filter(|(count, _)| *count > 0).map(|(_, text)| text).collect();
        if losses.is_empty() { "nothing".to_owned() } else { losses.join(", ") }
    }

    /// Ends of all frames of the time, and what the table and the control thread had of them.
    pub(crate) fn became(&self) -> String {
        let (before, during) = (&self.before.pipeline, &self.during.pipeline);
        let (connections_before, connections) = (&before.conntrack, &during.conntrack);
        let host = |read: fn(&guideway::api::view::HostStackStats) -> u64| {
            read(&self.stats.host_stack) - read(&self.stats_before.host_stack)
        };
        let mut counts = vec![(during.forwarded - before.forwarded, "forwarded".to_owned())];
        for reason in PassReason::ALL {
            let index = *reason as usize;
            counts.push((
                during.passed[index] - before.passed[index],
                format!("passed as `{}`", reason.as_str()),
            ));
        }
        for reason in DropReason::ALL {
            let index = *reason as usize;
            counts.push((
                during.dropped[index] - before.dropped[index],
                format!("dropped as `{}`", reason.as_str()),
            ));
        }
        let of_table = [
            (connections.inserts - connections_before.inserts, "entries made"),
            (connections.evicted_void - connections_before.evicted_void, "void ones pushed out"),
            (
                connections.evicted_half_open - connections_before.evicted_half_open,
                "half-open ones pushed out",
            ),
            (connections.evicted_closed - connections_before.evicted_closed, "closed ones pushed out"),
            (
                connections.evicted_unconfirmed - connections_before.evicted_unconfirmed,
                "unconfirmed ones pushed out",
            ),
            (connections.full - connections_before.full, "without room for one"),
            (during.icmp_errors_steered - before.icmp_errors_steered, "errors steered"),
            (during.icmp_errors_sent - before.icmp_errors_sent, "ICMP errors sent"),
            (during.fragments_followed - before.fragments_followed, "fragments after their first"),
            (during.fragments_first_unseen - before.fragments_first_unseen, "without a first"),
            (self.during.io.host_full - self.before.io.host_full, "lost before the host stack (`host_full`)"),
            (host(|stats| stats.answered), "answered by the host stack"),
            (host(|stats| stats.limited), "beyond its rates"),
            (host(|stats| stats.refused_claims), "claims refused"),
            (host(|stats| stats.defences), "defences"),
        ];
        counts.extend(of_table.map(|(count, text)| (count, text.to_owned())));
        let counts = counts.into_iter().filter(|(count, _)| *count > 0);
        let mut became: Vec<String> =
            counts.map(|(count, text)| format!("{} {text}", number(count))).collect();
        became.push(format!("{} of {} slots taken", number(self.entries()), number(CAPACITY * 3 / 2)));
        became.join("; ")
    }

    /// Entries in the table at the flood's end.
    pub(crate) fn entries(&self) -> u64 {
        let connections = &self.during.pipeline.conntrack;
        connections.occupied - connections.swept
    }

    /// Checks the bounds that every flood keeps.
    pub(crate) fn assert_bounded(&self) {
        assert!(self.entries() <= CAPACITY * 3 / 2, "{} entries", self.entries());
        assert!(self.most_memory <= MOST_MEMORY, "{} bytes at once", self.most_memory);
        assert!(self.kept_memory <= KEPT_MEMORY, "{} bytes in the end", self.kept_memory);
    }
}
