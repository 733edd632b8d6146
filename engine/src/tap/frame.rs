//! Frames that a tap has recorded.

use guideway_dataplane::egress::PortId;
use guideway_dataplane::pipeline::Decision;
use guideway_dataplane::verdict::Verdict;

use crate::capture::{CommentedFrame, Direction};

/// Frame as a worker had it after deciding it, with the decision.
///
/// A forwarded frame is as it is sent, behind its delivery header; but a checksum that the device is to
/// compute is not there yet. One that was passed or dropped is as it came. Where the decision says that it
/// was answered, the bytes are the answer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TappedFrame<'a> {
    /// Time of the decision, in nanoseconds since 1970-01-01 00:00 UTC by the system's clock, which may be set.
    pub timestamp_nanos: u64,
    /// Generation of the snapshot that decided the frame.
    pub generation: u64,
    /// Port that the frame came in by.
    pub came_by: PortId,
    /// Decision on the frame. Its rule is to be looked up among the names of that generation: a reload numbers rules
    /// anew.
    pub decision: Decision,
    /// Length of the whole frame.
    pub wire_len: u32,
    /// First bytes of the frame, [`SNAPLEN`](super::SNAPLEN) at most.
    pub bytes: &'a [u8],
}

impl TappedFrame<'_> {
    /// Port that the recorded bytes pass: the one that sends a forwarded frame, the one that it came by for any
    /// other.
    pub fn port(&self) -> PortId {
        if self.decision.verdict == Verdict::Forward { self.decision.egress } else { self.came_by }
    }

    /// Direction in which the recorded bytes pass that port.
    pub fn direction(&self) -> Direction {
        if self.decision.verdict == Verdict::Forward || self.decision.answered {
            Direction::Outbound
        } else {
            Direction::Inbound
        }
    }

    /// Makes a frame for a capture, with `comment` to say what became of it.
    pub fn commented<'a>(&'a self, comment: &'a str) -> CommentedFrame<'a> {
        CommentedFrame {
            port: self.port(),
            direction: Some(self.direction()),
            timestamp_nanos: self.timestamp_nanos,
            bytes: self.bytes,
            wire_len: self.wire_len,
            comment,
        }
    }
}

#[cfg(test)]
mod tests {
    use guideway_dataplane::verdict::{DropReason, PassReason};

    use super::*;

    #[test]
    fn a_frame_tells_where_its_bytes_pass() {
        let dropped = Decision { verdict: Verdict::Drop(DropReason::TtlExpired), ..Decision::PENDING };
        let cases = [
            (Decision { egress: PortId(7), ..Decision::PENDING }, PortId(7), Direction::Outbound),
            (
                Decision { verdict: Verdict::Pass(PassReason::NotIp), ..Decision::PENDING },
                PortId(2),
                Direction::Inbound,
            ),
            (dropped, PortId(2), Direction::Inbound),
            (Decision { answered: true, ..dropped }, PortId(2), Direction::Outbound),
        ];
        for (decision, port, direction) in cases {
            let frame = TappedFrame {
                timestamp_nanos: 5,
                generation: 3,
                came_by: PortId(2),
                decision,
                wire_len: 60,
                bytes: b"frame",
            };
            let commented = CommentedFrame {
                port,
                direction: Some(direction),
                timestamp_nanos: 5,
                bytes: b"frame",
                wire_len: 60,
                comment: "why",
            };
            assert_eq!(frame.commented("why"), commented);
        }
    }
}
