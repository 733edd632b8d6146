//! Sight of a frame that may be traced: what its worker sees right before and right after the decision.

use guideway_dataplane::egress::PortId;
use guideway_dataplane::frame::Frame;
use guideway_dataplane::pipeline::Look;
use guideway_dataplane::time::Tick;
use guideway_engine::burst_processor::BurstProcessor;

/// Frame that may be traced, as the worker sees it before and after its decision.
#[derive(Debug)]
pub(super) struct Sight {
    /// First bytes of the frame, as it came.
    pub(super) received: Vec<u8>,
    pub(super) look: Option<Look>,
}

impl Sight {
    /// Bytes of a frame that are kept: its link-layer header, with two VLAN tags.
    const RECEIVED: usize = 22;

    /// Sight of a frame that is not decided yet.
    pub(super) fn of(frame: &[u8]) -> Self {
        Self { received: frame[..frame.len().min(Self::RECEIVED)].to_vec(), look: None }
    }

    /// Looks at what the frame will meet.
    pub(super) fn look(&mut self, worker: &mut BurstProcessor, port: PortId, frame: &impl Frame, now: Tick) {
        self.look = Some(worker.look(port, frame.bytes(), now));
    }

    /// Looks at what the frame has left behind.
    pub(super) fn look_again(&mut self, worker: &BurstProcessor) {
        self.look.iter_mut().for_each(|look| worker.look_again(look));
    }
}
