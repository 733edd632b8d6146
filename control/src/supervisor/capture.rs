//! A capture from the data plane: what the workers' taps record goes to an operator as pcapng, each packet with its
//! verdict as its comment.

use bytes::Bytes;
use guideway_dataplane::pipeline::Decision;
use guideway_dataplane::verdict::Verdict;
use guideway_engine::capture::PcapngWriter;
use guideway_engine::tap::{SNAPLEN, TapFilter};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::journal::Note;
use super::{Ports, Supervisor};
use crate::admin::view::EventKind;
use crate::admin::{CaptureReason, Refused};
use crate::directory::Directory;

/// A capture that goes on.
#[derive(Debug)]
pub(super) struct Capture {
    filter: TapFilter,
    packets_left: Option<u64>,
    writer: PcapngWriter<Vec<u8>>,
    blocks: mpsc::Sender<Bytes>,
    /// Packets that a slow reader of the capture had no room for.
    lost: u64,
}

impl Capture {
    /// Whether nobody reads it any more, or all was captured that was asked for.
    fn is_over(&self) -> bool {
        self.blocks.is_closed() || self.packets_left == Some(0)
    }

    /// Sends the blocks that have been written; what does not fit is lost, whole packets at a time.
    fn send(&mut self, packets: u64) {
        let written = std::mem::take(self.writer.output());
        if written.is_empty() {
            return;
        }
        if let Err(TrySendError::Full(_)) = self.blocks.try_send(written.into()) {
            self.lost += packets;
        }
    }
}

impl<P: Ports> Supervisor<P> {
    pub(super) fn begin_capture(
        &mut self,
        reasons: &[CaptureReason],
        packets: Option<u64>,
        blocks: mpsc::Sender<Bytes>,
    ) -> Result<(), Refused> {
        if self.capture.as_ref().is_some_and(|capture| !capture.is_over()) {
            return Err(Refused::CaptureRunning);
        }
        let verdicts = reasons.iter().map(|reason| match *reason {
            CaptureReason::Pass(reason) => Verdict::Pass(reason),
            CaptureReason::Drop(reason) => Verdict::Drop(reason),
        });
        let filter = verdicts.map(TapFilter::of).fold(TapFilter::NONE, |all, one| all | one);
        let ports = self.appliance.config().ports.iter().map(|port| &*port.name);
        let writer = PcapngWriter::new(Vec::new(), ports, SNAPLEN as u32).expect("memory takes all bytes");
        let mut capture = Capture { filter, packets_left: packets, writer, blocks, lost: 0 };
        capture.send(0);
        self.workers.iter_mut().for_each(|worker| worker.tap.discard());
        self.tap_switch.set(filter);
        self.capture = Some(capture);
        let words: Vec<_> = reasons.iter().map(|reason| reason.as_str()).collect();
        let text = format!("the operator captures packets that end for {}", words.join(", "));
        self.note(Note::new(EventKind::CaptureStarted, text));
        Ok(())
    }

    /// Hands on what the workers have recorded, and ends a capture that is over.
    pub(super) fn drain_taps(&mut self) {
        let Some(capture) = &mut self.capture else { return };
        let directory = self.appliance.directory();
        let mut packets = 0;
        for worker in &mut self.workers {
            // No more than is there now: a worker may record as fast as this reads.
            for _ in 0..worker.tap.waiting() {
                let Some(frame) = worker.tap.read() else { break };
                let wanted = capture.filter.contains(frame.decision.verdict);
                if wanted && capture.packets_left != Some(0) {
                    let comment = comment(&frame.decision, directory);
                    // A port that the configuration does not know has no frames.
                    if capture.writer.write(&frame.commented(&comment)).is_ok() {
                        packets += 1;
                        capture.packets_left = capture.packets_left.map(|left| left - 1);
                    }
                }
            }
        }
        capture.send(packets);
        if capture.is_over() {
            if capture.lost > 0 {
                tracing::warn!(lost = capture.lost, "the reader of a capture was too slow for all of it");
            }
            self.tap_switch.set(TapFilter::NONE);
            self.capture = None;
        }
    }
}

/// What was decided, in the words of `guideway replay --decisions`.
fn comment(decision: &Decision, directory: &Directory) -> String {
    let mut comment = match decision.verdict {
        Verdict::Forward => "forward".to_owned(),
        Verdict::Pass(reason) => format!("pass {}", reason.as_str()),
        Verdict::Drop(reason) => format!("drop {}", reason.as_str()),
    };
    if let Some((rule, service)) = decision.rule.and_then(|(rule, _)| directory.rule_and_service(rule)) {
        comment += &format!(" forwarding_rule={rule} backend_service={service}");
    }
    if let Some(backend) = decision.backend.and_then(|backend| directory.backend(backend)) {
        comment += &format!(" backend={backend} tracking={}", decision.tracking.as_str());
    }
    comment
}
