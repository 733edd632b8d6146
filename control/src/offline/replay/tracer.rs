//! Packets of a replay that are traced: the first of those that fit a choice of flows.
//!
//! A frame that may be traced is decided in a burst of its own, by a worker that looks at what the packet will meet right
//! before. Packets that may share a conntrack entry have the same worker, so what it sees is what decides.

use guideway_dataplane::pipeline::Decision;
use guideway_dataplane::snapshot::Snapshot;
use guideway_engine::tap::FlowFilter;
use guideway_model::forwarding_state::ForwardingState;
use guideway_model::names::Names;
use guideway_model::trace::{PacketTrace, Passage};
use serde::Serialize;

use super::lane::Job;
use super::sight::Sight;

/// Order to trace packets.
#[derive(Clone, Debug)]
pub struct TraceOrder {
    /// Flows whose packets are traced.
    pub flows: FlowFilter,
    /// Service whose packets alone are traced.
    pub service: Option<String>,
    /// Backend whose packets alone are traced.
    pub backend: Option<String>,
    /// Number of packets after which no more are traced.
    pub packets: u64,
}

/// Traces of packets, the first that fit.
#[derive(Debug, Default, Serialize)]
pub struct Traces {
    /// Packets that fit, traced or not.
    pub fitting: u64,
    /// Traces, in the order of the packets.
    pub packets: Vec<PacketTrace>,
}

/// Tracer of a replay.
#[derive(Debug)]
pub(super) struct Tracer {
    order: TraceOrder,
    traces: Traces,
}

impl Tracer {
    pub(super) fn new(order: TraceOrder) -> Self {
        Self { order, traces: Traces::default() }
    }

    /// True if a frame fits as far as its own bytes tell.
    pub(super) fn may_fit(&self, frame: &[u8]) -> bool {
        let flows = &self.order.flows;
        !flows.reads_packets() || flows.flow_of(frame).is_some()
    }

    /// True while fewer packets are traced than were asked for.
    pub(super) fn has_room(&self) -> bool {
        (self.traces.packets.len() as u64) < self.order.packets
    }

    /// True if a decided packet, which may fit by its bytes, fits; it is counted then.
    pub(super) fn fits(&mut self, decision: &Decision, names: &Names) -> bool {
        let TraceOrder { service, backend, .. } = &self.order;
        let is_service =
            |wanted: &String| decision.rule.is_some_and(|(_, of)| **names.service(of) == **wanted);
        let to_backend = decision.backend.and_then(|handle| names.backend(handle));
        let is_backend = |wanted: &String| to_backend.is_some_and(|name| **name == **wanted);
        let fits = service.as_ref().is_none_or(is_service) && backend.as_ref().is_none_or(is_backend);
        self.traces.fitting += u64::from(fits);
        fits
    }

    /// Traces a packet, which was decided under a snapshot of `state`.
    pub(super) fn trace(&mut self, number: u64, job: &Job, state: &ForwardingState, snapshot: &Snapshot) {
        let Some(Sight { received, look: Some(look) }) = job.sight() else { return };
        let (sent, sent_len) = job.sent();
        let passage = Passage {
            number,
            timestamp_unix_nanos: job.timestamp_nanos,
            generation: snapshot.generation,
            port: job.port,
            received,
            received_len: job.wire_len,
            look,
            decision: &job.decision,
            sent,
            sent_len,
        };
        self.traces.packets.push(PacketTrace::new(&passage, state, Some(snapshot)));
    }

    pub(super) fn into_traces(self) -> Traces {
        self.traces
    }
}
