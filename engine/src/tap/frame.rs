//! Frames that a tap has recorded.

use guideway_dataplane::egress::PortId;
use guideway_dataplane::flow::Flow;
use guideway_dataplane::pipeline::{Decision, Look};
use guideway_dataplane::verdict::Verdict;

/// Frame that a worker has decided, with the decision: as it was received, as it was sent, or both.
///
/// As it is sent, a forwarded frame has its delivery header; but a checksum that the device is to compute is not there yet, and
/// one that is too long is not yet cut into fragments. A frame that was passed or dropped is as it came.
#[derive(Clone, Copy, Debug)]
pub struct TappedFrame<'a> {
    pub(super) timestamp_nanos: u64,
    pub(super) generation: u64,
    pub(super) came_by: PortId,
    pub(super) decision: Decision,
    pub(super) flow: Option<Flow>,
    pub(super) look: Option<Look>,
    pub(super) received: Option<TappedBytes<'a>>,
    pub(super) sent: Option<TappedBytes<'a>>,
}

/// Bytes of a recorded frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TappedBytes<'a> {
    /// First bytes of the frame, [`SNAPLEN`](super::SNAPLEN) at most.
    pub bytes: &'a [u8],
    /// Length of the whole frame.
    pub wire_len: u32,
}

impl<'a> TappedFrame<'a> {
    /// Time of the decision, in nanoseconds since 1970-01-01 00:00 UTC by the system's clock, which may be set.
    pub fn timestamp_nanos(&self) -> u64 {
        self.timestamp_nanos
    }

    /// Generation of the snapshot that decided the frame.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Port that the frame came in by.
    pub fn came_by(&self) -> PortId {
        self.came_by
    }

    /// Port that the frame leaves by, if it is forwarded or answered.
    pub fn leaves_by(&self) -> Option<PortId> {
        match self.decision.verdict {
            Verdict::Forward => Some(self.decision.egress),
            _ => self.decision.answered.then_some(self.came_by),
        }
    }

    /// Decision on the frame. Its rule is to be looked up among the names of that generation: a reload numbers rules
    /// anew.
    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    /// Flow of the frame's packet, or of the packet that an ICMP error quotes, by which the frame was found; none where the
    /// order does not read packets.
    pub fn flow(&self) -> Option<&Flow> {
        self.flow.as_ref()
    }

    /// Facts that the frame met on its way, the conntrack entry among them, found right before it was decided; none where the
    /// order does not ask for them.
    pub fn look(&self) -> Option<&Look> {
        self.look.as_ref()
    }

    /// Frame as it was received: of one that is forwarded or answered, if the order asks for that.
    pub fn received(&self) -> Option<TappedBytes<'a>> {
        self.received
    }

    /// Frame as it is sent, if it is forwarded or answered, and the order asks for that. The answer is an ICMP error to the
    /// sender.
    pub fn sent(&self) -> Option<TappedBytes<'a>> {
        self.sent
    }
}
