//! A capture from the data plane: what the workers' taps record goes to an operator as pcapng, each packet with its
//! verdict as its comment, and how many it lacks.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use guideway_dataplane::pipeline::Decision;
use guideway_dataplane::verdict::Verdict;
use guideway_engine::capture::PcapngWriter;
use guideway_engine::tap::{SNAPLEN, TapFilter};
use guideway_model::names::Names;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::event_log::Note;
use super::{Ports, Supervisor};
use crate::api::request::{CaptureReason, Refused};
use crate::api::view::EventKind;

/// A capture that goes on.
#[derive(Debug)]
pub(super) struct Capture {
    filter: TapFilter,
    packets_left: Option<u64>,
    writer: PcapngWriter<Vec<u8>>,
    blocks: mpsc::Sender<Bytes>,
    /// Room for the last block, however slowly the others are read.
    last: Option<mpsc::OwnedPermit<Bytes>>,
    /// Packets that a slow reader of the capture had no room for.
    lost: u64,
    /// Packets that the workers' taps had missed before it began.
    missed_before: u64,
    /// How many packets its reader knows to be missing.
    told: u64,
}

impl Capture {
    /// Whether nobody reads it any more, or all was captured that was asked for.
    fn is_over(&self) -> bool {
        self.blocks.is_closed() || self.packets_left == Some(0)
    }

    /// Sends the blocks that have been written, with what is missing by now, where `missed` is what taps have
    /// missed since they are there; what does not fit is lost, whole packets at a time.
    fn send(&mut self, packets: u64, missed: u64) {
        let missing = self.write_missing(missed);
        let written = std::mem::take(self.writer.output());
        if written.is_empty() {
            return;
        }
        match self.blocks.try_send(written.into()) {
            Ok(()) => self.told = missing,
            Err(TrySendError::Full(_)) => self.lost += packets,
            Err(TrySendError::Closed(_)) => {}
        }
    }

    /// Writes how many packets are missing, where that is news; and returns it.
    fn write_missing(&mut self, missed: u64) -> u64 {
        let missing = self.lost + missed.saturating_sub(self.missed_before);
        if missing != self.told {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
            self.writer.write_missing(now, missing).expect("memory takes all bytes");
        }
        missing
    }

    /// Says at its end how much is missing: to its reader, and in the log.
    fn end(mut self, missed: u64) {
        let missing = self.write_missing(missed);
        if missing == 0 {
            return;
        }
        let lost = self.lost;
        tracing::warn!(
            lost,
            missed = missing - lost,
            "a capture lacks packets: lost by a reader that was too slow, missed by workers without room"
        );
        let written = std::mem::take(self.writer.output());
        if let Some(last) = self.last.filter(|_| !written.is_empty()) {
            last.send(written.into());
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
        self.end_capture();
        let verdicts = reasons.iter().map(|reason| match *reason {
            CaptureReason::Pass(reason) => Verdict::Pass(reason),
            CaptureReason::Drop(reason) => Verdict::Drop(reason),
        });
        let filter = verdicts.map(TapFilter::of).fold(TapFilter::NONE, |all, one| all | one);
        let ports = self.appliance.config().ports.iter().map(|port| &*port.name);
        let writer = PcapngWriter::new(Vec::new(), ports, SNAPLEN as u32).expect("memory takes all bytes");
        let missed_before = self.missed();
        let mut capture = Capture {
            filter,
            packets_left: packets,
            writer,
            last: blocks.clone().try_reserve_owned().ok(),
            blocks,
            lost: 0,
            missed_before,
            told: 0,
        };
        capture.send(0, missed_before);
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
        let mut packets = 0;
        for worker in &mut self.workers {
            // No more than is there now: a worker may record as fast as this reads.
            for _ in 0..worker.tap.waiting() {
                let Some(frame) = worker.tap.read() else { break };
                let wanted = capture.filter.contains(frame.decision.verdict);
                if wanted && capture.packets_left != Some(0) {
                    let comment = comment(&frame.decision, self.appliance.names_of(frame.generation));
                    // A port that the configuration does not know has no frames.
                    if capture.writer.write(&frame.commented(&comment)).is_ok() {
                        packets += 1;
                        capture.packets_left = capture.packets_left.map(|left| left - 1);
                    }
                }
            }
        }
        capture.send(packets, self.workers.iter().map(|worker| worker.tap.missed()).sum());
        if capture.is_over() {
            self.end_capture();
        }
    }

    /// Ends the capture that goes on, if one does.
    pub(super) fn end_capture(&mut self) {
        let missed = self.missed();
        if let Some(capture) = self.capture.take() {
            self.tap_switch.set(TapFilter::NONE);
            capture.end(missed);
        }
    }

    /// How many frames the workers had no room to record, since they are there.
    fn missed(&self) -> u64 {
        self.workers.iter().map(|worker| worker.tap.missed()).sum()
    }
}

/// What was decided, in the words of `guideway replay --decisions`; without names where `names` has none
/// for it.
fn comment(decision: &Decision, names: Option<&Names>) -> String {
    let mut comment = match decision.verdict {
        Verdict::Forward => "forward".to_owned(),
        Verdict::Pass(reason) => format!("pass {}", reason.as_str()),
        Verdict::Drop(reason) => format!("drop {}", reason.as_str()),
    };
    let Some(names) = names else { return comment };
    if let Some((rule, service)) = decision.rule.and_then(|(rule, _)| names.rule_and_service(rule)) {
        comment += &format!(" forwarding_rule={rule} backend_service={service}");
    }
    if let Some(backend) = decision.backend.and_then(|backend| names.backend(backend)) {
        comment += &format!(" backend={backend} tracking={}", decision.tracking.as_str());
    }
    comment
}
