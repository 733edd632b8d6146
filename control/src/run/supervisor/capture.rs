//! A capture from the data plane: frames that the workers' taps record go to an operator as pcapng, each with its verdict
//! as its comment, and the capture says how many it lacks.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use guideway_dataplane::pipeline::Decision;
use guideway_dataplane::verdict::Verdict;
use guideway_engine::capture::{CommentedFrame, Direction, PcapngWriter};
use guideway_engine::tap::{SNAPLEN, TapFilter, TapReader, TapSwitch, TappedFrame};
use guideway_model::names::Names;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::event_log::Note;
use crate::api::request::{CaptureReason, Refused};
use crate::api::view::EventKind;

/// The workers' taps.
#[derive(Debug)]
pub(in crate::run) struct Taps {
    /// The switch of all taps.
    pub(in crate::run) switch: TapSwitch,
    /// The tap of each worker.
    pub(in crate::run) readers: Vec<TapReader>,
}

/// The taps, and the one capture that may go on.
#[derive(Debug)]
pub(super) struct Captures {
    taps: Taps,
    running: Option<Capture>,
}

/// An operator's order for a capture.
#[derive(Debug)]
pub(super) struct CaptureOrder {
    pub(super) reasons: Vec<CaptureReason>,
    /// Packets after which the capture ends.
    pub(super) packets: Option<u64>,
    /// The way to the reader.
    pub(super) blocks: mpsc::Sender<Bytes>,
}

/// A capture that goes on.
#[derive(Debug)]
struct Capture {
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
    /// Missing packets that the reader has been told of.
    told: u64,
}

impl Capture {
    /// True if nobody reads the capture any more, or all was captured that was asked for.
    fn is_over(&self) -> bool {
        self.blocks.is_closed() || self.packets_left == Some(0)
    }

    /// Sends the blocks that have been written, and how many packets are missing by now; `missed` is what taps have
    /// missed since their start. Blocks that find no room are lost, whole packets at a time.
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

    /// Writes how many packets are missing, where that has changed; returns that number.
    fn write_missing(&mut self, missed: u64) -> u64 {
        let missing = self.lost + missed.saturating_sub(self.missed_before);
        if missing != self.told {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
            self.writer.write_missing(now, missing).expect("memory takes all bytes");
        }
        missing
    }

    /// Ends the capture: tells its reader, and the log, how much is missing.
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

impl Captures {
    pub(super) fn new(taps: Taps) -> Self {
        Self { taps, running: None }
    }

    /// Begins a capture at ports of these names, unless one goes on.
    pub(super) fn begin<'n>(
        &mut self,
        order: CaptureOrder,
        ports: impl IntoIterator<Item = &'n str>,
    ) -> Result<Note, Refused> {
        if self.running.as_ref().is_some_and(|capture| !capture.is_over()) {
            return Err(Refused::CaptureRunning);
        }
        self.end();
        let CaptureOrder { reasons, packets, blocks } = order;
        let verdicts = reasons.iter().map(|reason| match *reason {
            CaptureReason::Pass(reason) => Verdict::Pass(reason),
            CaptureReason::Drop(reason) => Verdict::Drop(reason),
        });
        let filter = verdicts.map(TapFilter::of).fold(TapFilter::NONE, |all, one| all | one);
        let writer = PcapngWriter::new(Vec::new(), ports, SNAPLEN as u32).expect("memory takes all bytes");
        let missed_before = self.taps.missed();
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
        self.taps.readers.iter_mut().for_each(TapReader::discard);
        self.taps.switch.set(filter);
        self.running = Some(capture);
        let words: Vec<_> = reasons.iter().map(|reason| reason.as_str()).collect();
        let text = format!("the operator captures packets that end for {}", words.join(", "));
        Ok(Note::new(EventKind::CaptureStarted, text))
    }

    /// Hands on what the workers have recorded, and ends a capture that is over; `names_of` has the names of a snapshot,
    /// by its generation.
    pub(super) fn drain<'n>(&mut self, names_of: impl Fn(u64) -> Option<&'n Names>) {
        let Some(capture) = &mut self.running else { return };
        let mut packets = 0;
        for tap in &mut self.taps.readers {
            // No more than is there now: a worker may record as fast as this reads.
            for _ in 0..tap.waiting() {
                let Some(frame) = tap.read() else { break };
                let wanted = capture.filter.contains(frame.decision().verdict);
                if wanted && capture.packets_left != Some(0) {
                    let comment = comment(frame.decision(), names_of(frame.generation()));
                    let Some(commented) = commented(&frame, &comment) else { continue };
                    // A port that the configuration does not know has no frames.
                    if capture.writer.write(&commented).is_ok() {
                        packets += 1;
                        capture.packets_left = capture.packets_left.map(|left| left - 1);
                    }
                }
            }
        }
        capture.send(packets, self.taps.missed());
        if capture.is_over() {
            self.end();
        }
    }

    /// Ends the capture that goes on, if one does.
    pub(super) fn end(&mut self) {
        if let Some(capture) = self.running.take() {
            let missed = self.taps.missed();
            self.taps.switch.set(TapFilter::NONE);
            capture.end(missed);
        }
    }
}

impl Taps {
    /// Frames that the workers had no room to record, since their start.
    fn missed(&self) -> u64 {
        self.readers.iter().map(TapReader::missed).sum()
    }
}

/// A frame for a capture, as it is sent or as it came, with a comment.
fn commented<'a>(frame: &TappedFrame<'a>, comment: &'a str) -> Option<CommentedFrame<'a>> {
    let (copy, direction) = match frame.sent() {
        Some(sent) => (sent, Direction::Outbound),
        None => (frame.received()?, Direction::Inbound),
    };
    Some(CommentedFrame {
        port: frame.leaves_by().unwrap_or(frame.came_by()),
        direction: Some(direction),
        timestamp_nanos: frame.timestamp_nanos(),
        bytes: copy.bytes,
        wire_len: copy.wire_len,
        comment,
    })
}

/// A decision in the words of `guideway replay --decisions`; without names where `names` has none for it.
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

#[cfg(test)]
mod tests {
    use guideway_dataplane::egress::PortId;
    use guideway_dataplane::verdict::DropReason;
    use guideway_engine::mbuf::Mbuf;
    use guideway_engine::tap::{TapOrder, WorkerTap};

    use super::*;

    const EXPIRED: Verdict = Verdict::Drop(DropReason::TtlExpired);

    fn captures() -> (Captures, WorkerTap) {
        let switch = TapSwitch::new();
        let (tap, reader) = switch.tap(4);
        (Captures::new(Taps { switch, readers: vec![reader] }), tap)
    }

    fn order(packets: Option<u64>) -> (CaptureOrder, mpsc::Receiver<Bytes>) {
        let (blocks, received) = mpsc::channel(8);
        (
            CaptureOrder { reasons: vec![CaptureReason::Drop(DropReason::TtlExpired)], packets, blocks },
            received,
        )
    }

    fn record(tap: &mut WorkerTap) {
        let mut frame = Mbuf::new();
        frame.fill(b"frame");
        let frames = [frame];
        tap.take_in(&frames);
        tap.record(0, PortId(0), 0, &frames, &[Decision { verdict: EXPIRED, ..Decision::PENDING }]);
    }

    #[test]
    fn a_capture_ends_with_its_last_packet_and_another_may_begin() {
        let (mut captures, mut tap) = captures();
        let (first, mut received) = order(Some(1));
        assert!(captures.begin(first, ["lan"]).is_ok());
        assert!(matches!(captures.begin(order(None).0, ["lan"]), Err(Refused::CaptureRunning)));
        record(&mut tap);
        record(&mut tap);
        captures.drain(|_| None);
        assert_eq!(captures.taps.switch.order(), TapOrder::from(TapFilter::NONE));
        let blocks: Vec<_> = std::iter::from_fn(|| received.try_recv().ok()).collect();
        assert_eq!(blocks.len(), 2, "the header, and one packet");
        assert!(String::from_utf8_lossy(&blocks[1]).contains("drop ttl_expired"));
        assert!(captures.begin(order(None).0, ["lan"]).is_ok());
    }

    #[test]
    fn a_reader_that_goes_away_ends_its_capture() {
        let (mut captures, _tap) = captures();
        let (order, received) = order(None);
        assert!(captures.begin(order, ["lan"]).is_ok());
        drop(received);
        captures.drain(|_| None);
        assert!(captures.running.is_none());
    }
}
