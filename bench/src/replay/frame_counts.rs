//! Counts of a replay's frames: those that came in are those that went out, and none is counted twice.

use guideway_engine::counters::WorkerCounters;
use serde::Serialize;

/// Frames of a replay, by where they went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct FrameCounts {
    /// Frames put on the wire, for the ports to receive.
    pub(super) put_in: u64,
    /// Frames that a port received and could not hand on.
    pub(super) refused: u64,
    /// Frames that the pipelines were offered.
    pub(super) offered: u64,
    pub(super) forwarded: u64,
    pub(super) passed: u64,
    pub(super) dropped: u64,
    /// Dropped frames that an ICMP error answered.
    pub(super) answered: u64,
    /// Frames that the ports took to send.
    pub(super) sent: u64,
    /// Frames lost to a full transmit queue.
    pub(super) tx_full: u64,
    /// Frames for a port that no worker has.
    pub(super) unknown_egress_port: u64,
    /// Frames that came out at the wire's other end.
    pub(super) came_out: u64,
    /// Passed frames that came to the control thread's end, and those that found it full.
    pub(super) to_host: u64,
    pub(super) host_full: u64,
}

impl FrameCounts {
    /// Makes the counts of one worker from its counters, and from the frames seen at its wire and at its host path.
    pub(super) fn new(counters: &WorkerCounters, put_in: u64, came_out: u64, to_host: u64) -> Self {
        let WorkerCounters { pipeline, io } = counters;
        Self {
            put_in,
            refused: io.refused,
            offered: pipeline.offered,
            forwarded: pipeline.forwarded,
            passed: pipeline.passed_total(),
            dropped: pipeline.dropped_total(),
            answered: pipeline.icmp_errors_sent,
            sent: io.sent,
            tx_full: io.tx_full,
            unknown_egress_port: io.unknown_egress_port,
            came_out,
            to_host,
            host_full: io.host_full,
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        let Self {
            put_in,
            refused,
            offered,
            forwarded,
            passed,
            dropped,
            answered,
            sent,
            tx_full,
            unknown_egress_port,
            came_out,
            to_host,
            host_full,
        } = other;
        self.put_in += put_in;
        self.refused += refused;
        self.offered += offered;
        self.forwarded += forwarded;
        self.passed += passed;
        self.dropped += dropped;
        self.answered += answered;
        self.sent += sent;
        self.tx_full += tx_full;
        self.unknown_egress_port += unknown_egress_port;
        self.came_out += came_out;
        self.to_host += to_host;
        self.host_full += host_full;
    }

    /// Lists the sums that do not come out; none if every frame is accounted for.
    pub(super) fn mismatches(&self) -> Vec<String> {
        let equal = |what: &str, one: u64, other: u64| {
            (one != other).then(|| format!("{what}: {one} and {other} differ"))
        };
        [
            equal("put in = offered + refused", self.put_in, self.offered + self.refused),
            equal(
                "offered = forwarded + passed + dropped",
                self.offered,
                self.forwarded + self.passed + self.dropped,
            ),
            equal(
                "forwarded + answered = sent + lost to a full queue + for an unknown port",
                self.forwarded + self.answered,
                self.sent + self.tx_full + self.unknown_egress_port,
            ),
            equal("sent = came out at the other end", self.sent, self.came_out),
            equal("passed = came to the host + found it full", self.passed, self.to_host + self.host_full),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: FrameCounts = FrameCounts {
        put_in: 101,
        refused: 1,
        offered: 100,
        forwarded: 80,
        passed: 12,
        dropped: 8,
        answered: 3,
        sent: 80,
        tx_full: 2,
        unknown_egress_port: 1,
        came_out: 80,
        to_host: 11,
        host_full: 1,
    };

    #[test]
    fn a_frame_that_is_missing_anywhere_is_noticed() {
        assert_eq!(SOUND.mismatches(), Vec::<String>::new());
        assert!(FrameCounts { put_in: 102, ..SOUND }.mismatches()[0].starts_with("put in"));
        assert!(FrameCounts { dropped: 9, ..SOUND }.mismatches()[0].starts_with("offered"));
        assert!(FrameCounts { answered: 4, ..SOUND }.mismatches()[0].starts_with("forwarded"));
        assert_eq!(
            FrameCounts { came_out: 79, ..SOUND }.mismatches(),
            ["sent = came out at the other end: 80 and 79 differ"]
        );
        assert!(FrameCounts { to_host: 12, ..SOUND }.mismatches()[0].starts_with("passed"));
    }

    #[test]
    fn counts_of_workers_add_up() {
        let mut sum = SOUND;
        sum.add(&SOUND);
        assert_eq!((sum.put_in, sum.host_full), (202, 2));
        assert!(sum.mismatches().is_empty());
    }
}
