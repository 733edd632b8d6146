//! Counters of one worker.

use crate::conntrack::Inserted;
use crate::verdict::{DropReason, PassReason, Verdict};

/// Packets that one worker has decided, by what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets that came in.
    pub offered: u64,
    /// Packets that went to a backend.
    pub forwarded: u64,
    /// Packets that were passed to the host, by [`PassReason`].
    pub passed: [u64; PassReason::ALL.len()],
    /// Packets that were dropped, by [`DropReason`].
    pub dropped: [u64; DropReason::ALL.len()],
    /// Decisions and insertions of connection tracking.
    pub conntrack: ConntrackCounters,
    /// Packets that were forwarded though they exceed the path's MTU and will be fragmented on it.
    pub exceeding_mtu: u64,
    /// Packets whose outer packet exceeds the path's MTU, and leaves in fragments.
    pub fragmented: u64,
    /// ICMP errors sent because a packet was too big.
    pub icmp_errors_sent: u64,
    /// ICMP errors that were not sent, by the limit or because none may answer the packet.
    pub icmp_errors_suppressed: u64,
    /// ICMP errors that went where the packet goes that they quote.
    pub icmp_errors_steered: u64,
}

/// Decisions and insertions of connection tracking for one worker's packets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConntrackCounters {
    /// Packets that a valid entry decided.
    pub hits: u64,
    /// Packets for which an entry was made, or replaced under its own key.
    pub inserts: u64,
    /// Inserts that took a slot that was empty.
    pub occupied: u64,
    /// Entries that this worker's sweeps have taken out, void or idle too long: what is left of `occupied` is in the
    /// table.
    pub swept: u64,
    /// Inserts that pushed out another connection's entry, which was void or idle too long.
    pub evicted_void: u64,
    /// Inserts that pushed out another connection's half-open entry.
    pub evicted_half_open: u64,
    /// Packets without room for an entry, forwarded by their hash alone.
    pub full: u64,
    /// Packets that are not tracked, ICMP errors that no entry decided among them.
    pub untracked: u64,
}

impl ConntrackCounters {
    /// Counts the result of an insertion.
    pub fn count(&mut self, inserted: &Inserted) {
        match inserted {
            Inserted::Full => self.full += 1,
            Inserted::Lost(_) => self.hits += 1,
            Inserted::New => {
                self.inserts += 1;
                self.occupied += 1;
            }
            Inserted::Replaced => self.inserts += 1,
            Inserted::EvictedVoid => {
                self.inserts += 1;
                self.evicted_void += 1;
            }
            Inserted::EvictedHalfOpen => {
                self.inserts += 1;
                self.evicted_half_open += 1;
            }
        }
    }
}

impl Counters {
    /// Counts the ends of a burst's packets; every packet is counted here exactly once.
    #[inline]
    pub fn count(&mut self, verdicts: impl ExactSizeIterator<Item = Verdict> + Clone) {
        self.offered += verdicts.len() as u64;
        let others = verdicts.clone().filter(|verdict| *verdict != Verdict::Forward).count();
        self.forwarded += (verdicts.len() - others) as u64;
        if others > 0 {
            verdicts.for_each(|verdict| self.count_other(verdict));
        }
    }

    fn count_other(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Forward => {}
            Verdict::Pass(reason) => self.passed[reason as usize] += 1,
            Verdict::Drop(reason) => self.dropped[reason as usize] += 1,
        }
    }

    /// Adds what another worker counted.
    pub fn add(&mut self, other: &Self) {
        self.offered += other.offered;
        self.forwarded += other.forwarded;
        for (sum, count) in self.passed.iter_mut().zip(&other.passed) {
            *sum += count;
        }
        for (sum, count) in self.dropped.iter_mut().zip(&other.dropped) {
            *sum += count;
        }
        self.conntrack.hits += other.conntrack.hits;
        self.conntrack.inserts += other.conntrack.inserts;
        self.conntrack.occupied += other.conntrack.occupied;
        self.conntrack.swept += other.conntrack.swept;
        self.conntrack.evicted_void += other.conntrack.evicted_void;
        self.conntrack.evicted_half_open += other.conntrack.evicted_half_open;
        self.conntrack.full += other.conntrack.full;
        self.conntrack.untracked += other.conntrack.untracked;
        self.exceeding_mtu += other.exceeding_mtu;
        self.fragmented += other.fragmented;
        self.icmp_errors_sent += other.icmp_errors_sent;
        self.icmp_errors_suppressed += other.icmp_errors_suppressed;
        self.icmp_errors_steered += other.icmp_errors_steered;
    }

    /// Packets that were passed, for any reason.
    pub fn passed_total(&self) -> u64 {
        self.passed.iter().sum()
    }

    /// Packets that were dropped, for any reason.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }
}
