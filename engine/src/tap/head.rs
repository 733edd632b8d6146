//! Heads: the facts that a tap records of a frame beside its bytes.

use guideway_dataplane::egress::PortId;
use guideway_dataplane::flow::Flow;
use guideway_dataplane::pipeline::{Decision, Look};

/// Facts that are recorded of a frame beside its bytes.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub(super) timestamp_nanos: u64,
    pub(super) generation: u64,
    pub(super) decision: Decision,
    pub(super) came_by: PortId,
    pub(super) flow: Option<Flow>,
    pub(super) look: Option<Look>,
    pub(super) received: Option<Lengths>,
    pub(super) sent: Option<Lengths>,
}

/// Lengths of a copy of a frame.
#[derive(Clone, Copy)]
pub(super) struct Lengths {
    pub(super) recorded: u16,
    pub(super) wire: u32,
}
