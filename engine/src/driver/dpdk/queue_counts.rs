//! Numbers of queues that a port is opened with: as many as there are workers and the device states, and fewer where it
//! refuses them when it comes to it.
//!
//! What a device states is a bound. A virtual function states its driver's and gets what the physical function grants, some
//! drivers take powers of two alone, and no call tells that beforehand. So a refusal is followed by another attempt with
//! fewer queues, down to one of each direction.

use std::fmt;

/// Numbers of receive and transmit queues of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueCounts {
    /// Number of receive queues.
    pub rx: u16,
    /// Number of transmit queues.
    pub tx: u16,
}

/// Refusal of a device to run with so many queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Numbers of queues that were tried.
    pub counts: QueueCounts,
    /// Step that failed, as a verb phrase.
    pub step: &'static str,
    /// Cause as DPDK logged it, or the name of the error.
    pub message: String,
}

/// Directions whose queues an attempt may have had too many of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Receive queues.
    Receive,
    /// Transmit queues.
    Transmit,
    /// One of both, or none.
    Either,
}

impl QueueCounts {
    /// The lower number of each direction, and 1 at least.
    pub(super) fn at_most(self, other: Self) -> Self {
        Self { rx: self.rx.min(other.rx).max(1), tx: self.tx.min(other.tx).max(1) }
    }

    /// Numbers of the next attempt after a refusal; None if there is nothing left to try.
    ///
    /// They go down by powers of two, which devices grant more often than other numbers. Where the refusal tells no direction,
    /// receive queues come first: limits on these alone are more common than such on transmit queues.
    pub(super) fn fewer(self, refused: Refused) -> Option<Self> {
        let Self { rx, tx } = self;
        match refused {
            Refused::Receive if rx > 1 => Some(Self { rx: lower(rx), tx }),
            Refused::Transmit if tx > 1 => Some(Self { rx, tx: lower(tx) }),
            Refused::Either if rx >= tx && rx > 1 => Some(Self { rx: lower(rx), tx }),
            Refused::Either if tx > rx => Some(Self { rx, tx: rx }),
            _ => None,
        }
    }
}

/// The greatest power of two below `count`, which is 2 at least.
fn lower(count: u16) -> u16 {
    1 << (count - 1).ilog2()
}

impl fmt::Display for QueueCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} receive and {} transmit queues", self.rx, self.tx)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { counts, step, message } = self;
        write!(f, "with {counts} the device refuses to {step} ({message})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that are tried until `takes` accepts them; the last if it never does.
    fn tried(first: (u16, u16), refused: Refused, takes: impl Fn(QueueCounts) -> bool) -> Vec<(u16, u16)> {
        let mut counts = QueueCounts { rx: first.0, tx: first.1 };
        let mut tried = vec![first];
        while !takes(counts) {
            let Some(fewer) = counts.fewer(refused) else { break };
            tried.push((fewer.rx, fewer.tx));
            counts = fewer;
        }
        tried
    }

    #[test]
    fn a_refusal_is_followed_by_fewer_queues_down_to_one() {
        // vmxnet3 takes powers of two, for receive queues alone.
        let vmxnet3 = |counts: QueueCounts| counts.rx.is_power_of_two();
        assert_eq!(tried((7, 7), Refused::Either, vmxnet3), [(7, 7), (4, 7)]);
        // A virtual function states 16, and the physical function grants 4 pairs, or 1.
        let grants = |pairs: u16| move |counts: QueueCounts| counts.rx.max(counts.tx) <= pairs;
        assert_eq!(tried((7, 7), Refused::Either, grants(4)), [(7, 7), (4, 7), (4, 4)]);
        assert_eq!(
            tried((7, 7), Refused::Either, grants(1)),
            [(7, 7), (4, 7), (4, 4), (2, 4), (2, 2), (1, 2), (1, 1)]
        );
        assert_eq!(tried((1, 4), Refused::Either, grants(1)), [(1, 4), (1, 1)]);
        let never = |_: QueueCounts| false;
        assert_eq!(tried((1, 1), Refused::Either, never), [(1, 1)]);
        assert_eq!(tried((5, 3), Refused::Transmit, never), [(5, 3), (5, 2), (5, 1)]);
        assert_eq!(tried((5, 3), Refused::Receive, never), [(5, 3), (4, 3), (2, 3), (1, 3)]);
        assert_eq!(tried((64, 64), Refused::Either, never).len(), 13);
    }
}
