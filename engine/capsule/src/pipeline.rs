//! Runs Guideway's data plane as a capsule pipeline.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use capsule::PortQueue;
use capsule::batch::{PacketRx, PacketTx, Pipeline};
use guideway_dataplane::affinity::TrackingHasher;
use guideway_dataplane::conntrack::ConntrackTable;
use guideway_dataplane::egress::PortId;
use guideway_dataplane::frame::Frame;
use guideway_dataplane::ingress::NetworkId;
use guideway_dataplane::pipeline::{self, Decision};
use guideway_dataplane::snapshot::Snapshot;
use guideway_dataplane::verdict::Verdict;

use crate::arrival::Arrival;
use crate::frame::CapsuleFrame;

/// Keys of the conntrack table: any will do, as nobody attacks a capture.
const TRACKING_KEYS: [u64; 4] = [1, 2, 3, 4];

/// Decision on a frame.
pub(crate) struct Decided {
    pub(crate) decision: Decision,
    /// Network of the frame; None if it is of no network.
    pub(crate) network: Option<NetworkId>,
    /// Known bytes of the frame that was sent, and its whole length; None if none was sent.
    pub(crate) sent: Option<(Vec<u8>, usize)>,
}

/// Cell in which a pipeline leaves its decisions once it has made all of them.
pub(crate) type Outcome = Arc<OnceLock<Vec<Decided>>>;

/// Pipeline that decides a capture's frames as they come from a port, and sends them by the same port.
///
/// Not made of capsule's combinators: they hand on packet by packet what the data plane takes as a burst.
pub(crate) struct CapturePipeline {
    port: PortQueue,
    pipeline: pipeline::Pipeline,
    snapshot: Snapshot,
    table: ConntrackTable,
    arrivals: Vec<Arrival>,
    decided: Vec<Decided>,
    outcome: Outcome,
}

impl CapturePipeline {
    pub(crate) fn new(
        port: PortQueue,
        snapshot: Snapshot,
        table: ConntrackTable,
        arrivals: Vec<Arrival>,
        outcome: Outcome,
    ) -> Self {
        let pipeline = pipeline::Pipeline::new(TrackingHasher::new(TRACKING_KEYS), 0);
        Self { port, pipeline, snapshot, table, arrivals, decided: Vec::new(), outcome }
    }
}

impl Pipeline for CapturePipeline {
    fn name(&self) -> &str {
        "guideway"
    }

    fn run_once(&mut self) {
        let mbufs = self.port.receive();
        if mbufs.is_empty() {
            return;
        }
        let first = self.decided.len();
        let arrivals = &self.arrivals[first..first + mbufs.len()];
        let fill = |(mbuf, arrival): (_, &Arrival)| CapsuleFrame::new(mbuf, arrival.wire_len);
        let mut frames: Vec<CapsuleFrame> = mbufs.into_iter().zip(arrivals).map(fill).collect();
        let mut decisions = vec![Decision::PENDING; frames.len()];

        // The data plane decides a burst at one time.
        let mut index = 0;
        for second in arrivals.chunk_by(|a, b| a.now == b.now) {
            let burst = index..index + second.len();
            index = burst.end;
            self.pipeline.process(
                PortId(0),
                &mut frames[burst.clone()],
                &mut decisions[burst],
                second[0].now,
                &self.snapshot,
                &self.table,
            );
        }

        let mut sent = Vec::new();
        for ((frame, decision), arrival) in frames.into_iter().zip(decisions).zip(arrivals) {
            let is_sent = decision.verdict == Verdict::Forward || decision.answered;
            let network = self.snapshot.networks.ingress().network_of(PortId(0), frame.bytes());
            let known = is_sent.then(|| known(&frame, arrival));
            self.decided.push(Decided { decision, network, sent: known });
            if is_sent {
                sent.push(frame.into_mbuf());
            }
        }
        if !sent.is_empty() {
            self.port.transmit(sent);
        }
        if self.decided.len() == self.arrivals.len() {
            let _ = self.outcome.set(std::mem::take(&mut self.decided));
        }
    }
}

impl Future for CapturePipeline {
    type Output = ();

    /// Runs once, and asks to be polled again after the other tasks of the core, as capsule's pipelines do.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.get_mut().run_once();
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Known bytes of a frame that is sent (those put before it, and those that the capture held), and its whole length.
fn known(frame: &CapsuleFrame, arrival: &Arrival) -> (Vec<u8>, usize) {
    let bytes = frame.bytes();
    let known = bytes.len().min(frame.prepended() + arrival.captured_len);
    (bytes[..known].to_vec(), bytes.len())
}
