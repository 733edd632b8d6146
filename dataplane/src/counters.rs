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
    /// Later fragments of TCP and UDP that went where the first of their datagram had gone.
    pub fragments_followed: u64,
    /// Later fragments of TCP and UDP for a VIP or a route that decided for themselves, because this worker had not
    /// forwarded a first one within the time.
    pub fragments_first_unseen: u64,
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
    /// Inserts that pushed out another connection's entry after its FIN or RST.
    pub evicted_closed: u64,
    /// Inserts that pushed out another connection's entry, all of whose packets had come within a second.
    pub evicted_unconfirmed: u64,
    /// Packets without room for an entry, forwarded by their hash alone.
    pub full: u64,
    /// Packets whose connection got no entry, as so many had begun in the second: forwarded by their hash alone.
    pub limited: u64,
    /// SYNs on established entries that went to the entry's backend: hits, too.
    pub protected: u64,
    /// Packets that are not tracked, ICMP errors that no entry decided among them.
    pub untracked: u64,
}

impl ConntrackCounters {
    /// Counts the result of an insertion.
    #[inline(always)]
    pub fn count(&mut self, inserted: &Inserted) {
        // Most of them, without a jump by the kind.
        if *inserted == Inserted::New {
            self.occupied += 1;
            self.inserts += 1;
        } else {
            self.count_other(inserted);
        }
    }

    #[inline(never)]
    fn count_other(&mut self, inserted: &Inserted) {
        let taken = match inserted {
            Inserted::New => &mut self.occupied,
            Inserted::EvictedVoid => &mut self.evicted_void,
            Inserted::EvictedHalfOpen => &mut self.evicted_half_open,
            Inserted::EvictedClosed => &mut self.evicted_closed,
            Inserted::EvictedUnconfirmed => &mut self.evicted_unconfirmed,
            Inserted::Replaced => return self.inserts += 1,
            Inserted::Lost(_) => return self.hits += 1,
            Inserted::Full => return self.full += 1,
        };
        *taken += 1;
        self.inserts += 1;
    }
}

impl Counters {
    /// Counts a burst of which so many packets were forwarded. [`Self::count_other`] counts the ends of all others.
    #[inline]
    pub fn count(&mut self, offered: usize, forwarded: usize) {
        self.offered += offered as u64;
        self.forwarded += forwarded as u64;
    }

    /// Counts the end of a packet that is not forwarded.
    pub fn count_other(&mut self, verdict: Verdict) {
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
        self.conntrack.evicted_closed += other.conntrack.evicted_closed;
        self.conntrack.evicted_unconfirmed += other.conntrack.evicted_unconfirmed;
        self.conntrack.full += other.conntrack.full;
        self.conntrack.limited += other.conntrack.limited;
        self.conntrack.protected += other.conntrack.protected;
        self.conntrack.untracked += other.conntrack.untracked;
        self.exceeding_mtu += other.exceeding_mtu;
        self.fragmented += other.fragmented;
        self.icmp_errors_sent += other.icmp_errors_sent;
        self.icmp_errors_suppressed += other.icmp_errors_suppressed;
        self.icmp_errors_steered += other.icmp_errors_steered;
        self.fragments_followed += other.fragments_followed;
        self.fragments_first_unseen += other.fragments_first_unseen;
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
