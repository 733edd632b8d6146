//! A capture from the data plane: frames that the workers' taps record go to an operator as pcapng, each with its verdict
//! as its comment, and the capture says how many it lacks.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use guideway_dataplane::egress::PortId;
use guideway_dataplane::verdict::Verdict;
use guideway_engine::capture::{CommentedFrame, Direction, PcapngWriter};
use guideway_engine::tap::{SNAPLEN, TapFilter, TapOrder, TappedBytes, TappedFrame};
use guideway_model::names::Names;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::event_log::Note;
use super::taps::{Listener, Moment};
use crate::api::packet_filter::PacketFilter;
use crate::api::request::{CaptureReason, Copies};
use crate::api::view::EventKind;

/// Frames that are read in a turn, of all workers together: a million a second, and the control thread has other things to do.
const FRAMES_A_TURN: usize = 1_024;

/// An operator's order for a capture.
#[derive(Debug)]
pub(super) struct CaptureOrder {
    pub(super) reasons: Vec<CaptureReason>,
    pub(super) filter: PacketFilter,
    pub(super) copies: Option<Copies>,
    /// Packets after which the capture ends.
    pub(super) packets: Option<u64>,
    /// The way to the reader.
    pub(super) blocks: mpsc::Sender<Bytes>,
}

/// A capture that goes on.
#[derive(Debug)]
pub(super) struct Capture {
    packets_left: Option<u64>,
    writer: PcapngWriter<Vec<u8>>,
    /// Number of the interface of a port's sent packets, counted from that of its received ones: 0 where they share one.
    sent_apart: u8,
    /// True if packets are left out that nothing is sent of.
    sent_alone: bool,
    blocks: mpsc::Sender<Bytes>,
    /// Room for the last block, however slowly the others are read.
    last: Option<mpsc::OwnedPermit<Bytes>>,
    /// Packets that were written in this turn.
    fresh: u64,
    /// Packets that a slow reader of the capture had no room for.
    lost: u64,
    /// Missing packets that the reader has been told of.
    told: u64,
}

impl CaptureOrder {
    /// Frames that the taps are to record, of whatever flow.
    pub(super) fn tapped(&self) -> TapOrder {
        let verdicts = self.reasons.iter().map(|reason| match *reason {
            CaptureReason::Forward => Verdict::Forward,
            CaptureReason::Pass(reason) => Verdict::Pass(reason),
            CaptureReason::Drop(reason) => Verdict::Drop(reason),
        });
        let verdicts: TapFilter = verdicts.map(TapFilter::of).collect();
        let verdicts = if verdicts.is_empty() { TapFilter::ALL } else { verdicts };
        let (received, sent) = match self.copies {
            // A copy before the decision costs every packet that may be wanted: of what is dropped, few are answered.
            None => (verdicts.contains(Verdict::Forward), true),
            Some(Copies::Received) => (true, false),
            Some(Copies::Sent) => (false, true),
            Some(Copies::Both) => (true, true),
        };
        TapOrder { verdicts, received, sent, ..TapOrder::OFF }
    }

    /// The event that the capture begins.
    pub(super) fn note(&self) -> Note {
        let words: Vec<_> = self.reasons.iter().map(|reason| reason.as_str()).collect();
        let mut text = "the operator captures packets".to_owned();
        if !words.is_empty() {
            text += &format!(" that end for {}", words.join(", "));
        }
        if !self.filter.is_empty() {
            text += &format!(" of {}", self.filter);
        }
        Note::new(EventKind::CaptureStarted, text)
    }
}

impl Capture {
    /// A capture at ports of these names, which begins by its header.
    pub(super) fn new<'n>(order: CaptureOrder, ports: impl Iterator<Item = &'n str>) -> Self {
        let TapOrder { received, sent, .. } = order.tapped();
        let ports: Vec<&str> = ports.collect();
        let named = |how: &str| ports.iter().map(|port| format!("{port} {how}")).collect::<Vec<_>>();
        let both = [named("received"), named("sent")].concat();
        let names = if received && sent { both.iter().map(|name| &**name).collect() } else { ports.clone() };
        let writer = PcapngWriter::new(Vec::new(), names, SNAPLEN as u32).expect("memory takes all bytes");
        let CaptureOrder { packets, copies, blocks, .. } = order;
        let mut capture = Self {
            packets_left: packets,
            writer,
            sent_apart: if received && sent { ports.len() as u8 } else { 0 },
            sent_alone: copies == Some(Copies::Sent),
            last: blocks.clone().try_reserve_owned().ok(),
            blocks,
            fresh: 0,
            lost: 0,
            told: 0,
        };
        capture.send(0);
        capture
    }

    /// Writes a frame, as it was received, as it is sent or both. False if neither was recorded or is wanted.
    fn write(&mut self, frame: &TappedFrame<'_>, comment: &str) -> bool {
        let received = frame.received().filter(|_| !self.sent_alone);
        let received = received.map(|copy| (copy, Direction::Inbound, frame.came_by()));
        let leaves_by = frame.leaves_by().unwrap_or(frame.came_by());
        let interface = PortId(leaves_by.0.saturating_add(self.sent_apart));
        let sent = frame.sent().map(|copy| (copy, Direction::Outbound, interface));
        let copies: [Option<(TappedBytes<'_>, Direction, PortId)>; 2] = [received, sent];
        let written = copies.into_iter().flatten().filter(|(copy, direction, interface)| {
            let commented = CommentedFrame {
                port: *interface,
                direction: Some(*direction),
                timestamp_nanos: frame.timestamp_nanos(),
                bytes: copy.bytes,
                wire_len: copy.wire_len,
                comment,
            };
            // A port that the configuration does not know has no frames.
            self.writer.write(&commented).is_ok()
        });
        written.count() > 0
    }

    /// Sends the blocks that have been written, and how many packets are missing by now: `missed` are those that taps have
    /// missed. Blocks that find no room are lost, whole packets at a time.
    fn send(&mut self, missed: u64) {
        let packets = std::mem::take(&mut self.fresh);
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
        let missing = self.lost + missed;
        if missing != self.told {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
            self.writer.write_missing(now, missing).expect("memory takes all bytes");
        }
        missing
    }
}

impl Listener for Capture {
    fn appetite(&self, workers: usize) -> usize {
        FRAMES_A_TURN.div_ceil(workers.max(1))
    }

    fn is_over(&self) -> bool {
        self.blocks.is_closed() || self.packets_left == Some(0)
    }

    fn hear(&mut self, frame: &TappedFrame<'_>, names: Option<&Names>) {
        if self.write(frame, &comment(frame, names)) {
            self.fresh += 1;
            self.packets_left = self.packets_left.map(|left| left - 1);
        }
    }

    fn hand_on(&mut self, moment: &Moment<'_>) {
        self.send(moment.missed);
    }

    /// Tells the reader, and the log, how much is missing.
    fn end(mut self: Box<Self>, missed: u64) {
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

/// A decision in the words of `guideway replay --decisions`, with the generation that made it; without names where `names` has
/// none for it.
fn comment(frame: &TappedFrame<'_>, names: Option<&Names>) -> String {
    let decision = frame.decision();
    let mut comment = match decision.verdict {
        Verdict::Forward => "forward".to_owned(),
        Verdict::Pass(reason) => format!("pass {}", reason.as_str()),
        Verdict::Drop(reason) => format!("drop {}", reason.as_str()),
    };
    if let Some(names) = names {
        if let Some((id, service_id)) = decision.rule
            && let Some((rule, service)) = names.rule_and_service(id)
        {
            comment += &format!(" forwarding_rule={rule} backend_service={service}");
            if let Some(network) = names.network(service_id) {
                comment += &format!(" network={network}");
            }
        }
        if let Some(backend) = decision.backend.and_then(|backend| names.backend(backend)) {
            comment += &format!(" backend={backend} tracking={}", decision.tracking.as_str());
        }
    }
    comment + &format!(" generation={}", frame.generation())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use guideway_dataplane::pipeline::Decision;
    use guideway_dataplane::snapshot::Snapshot;
    use guideway_dataplane::verdict::DropReason;
    use guideway_engine::mbuf::Mbuf;
    use guideway_engine::publish::Publisher;
    use guideway_engine::tap::{TapSwitch, WorkerTap};
    use guideway_model::config::Config;
    use guideway_model::forwarding_state::ForwardingState;

    use super::super::taps::{Listening, Taps};
    use super::*;
    use crate::api::request::Refused;

    const EXPIRED: Verdict = Verdict::Drop(DropReason::TtlExpired);
    const REASON: CaptureReason = CaptureReason::Drop(DropReason::TtlExpired);

    /// Two services, with a backend `b` each.
    const CONFIG: &str = r#"
        forwarding_rule = [
            { name = "web", ip_address = "192.0.2.9", ports = [80], backend_service = "web" },
            { name = "dns", ip_address = "192.0.2.9", ports = [53], backend_service = "dns" },
        ]
        backend_service = [
            { name = "web", health_checks = ["alive"], backends = [{ group = "web" }] },
            { name = "dns", health_checks = ["alive"], backends = [{ group = "dns" }] },
        ]
        backend_group = [
            { name = "web", endpoints = [{ name = "b", ip_address = "192.0.2.1" }] },
            { name = "dns", endpoints = [{ name = "b", ip_address = "192.0.2.2" }, { name = "c", ip_address = "192.0.2.3" }] },
        ]
        health_check = [{ name = "alive", type = "TCP" }]
    "#;

    fn listening() -> (Listening, WorkerTap) {
        let switch = TapSwitch::new();
        let (tap, reader) = switch.tap(4);
        (Listening::new(Taps { switch, readers: vec![reader] }), tap)
    }

    fn order(packets: Option<u64>) -> (CaptureOrder, mpsc::Receiver<Bytes>) {
        let (blocks, received) = mpsc::channel(8);
        let filter = PacketFilter::default();
        (CaptureOrder { reasons: vec![REASON], filter, copies: None, packets, blocks }, received)
    }

    fn state() -> ForwardingState {
        let config = Config::parse("test", CONFIG).unwrap_or_else(|errors| panic!("{errors}"));
        ForwardingState::offline(config)
    }

    fn begin(listening: &mut Listening, order: CaptureOrder) -> Result<(), Refused> {
        let state = state();
        listening.check(&order.filter, state.names())?;
        let (tapped, filter) = (order.tapped(), order.filter.clone());
        listening.begin(tapped, filter, Box::new(Capture::new(order, ["lan"].into_iter())), &state);
        Ok(())
    }

    fn drain(listening: &mut Listening) {
        let publisher = Publisher::new(Snapshot::default());
        listening.drain(Duration::ZERO, &state(), &publisher.feed(), &|_, _| None);
    }

    /// Records a frame as it came and as it leaves, with its decision.
    fn record(tap: &mut WorkerTap, came: &[u8], leaves: &[u8], decision: Decision) {
        let frames = [came, leaves].map(|bytes| {
            let mut frame = Mbuf::new();
            frame.fill(bytes);
            [frame]
        });
        if tap.is_on() {
            tap.take_in(&frames[0]);
            tap.record(3, PortId(0), 0, &frames[1], &[decision]);
        }
    }

    fn expire(tap: &mut WorkerTap) {
        record(tap, b"frame", b"frame", Decision { verdict: EXPIRED, ..Decision::PENDING });
    }

    #[test]
    fn a_capture_ends_with_its_last_packet_and_another_may_begin() {
        let (mut listening, mut tap) = listening();
        let (first, mut received) = order(Some(1));
        assert!(begin(&mut listening, first).is_ok());
        assert!(matches!(begin(&mut listening, order(None).0), Err(Refused::CaptureRunning)));
        expire(&mut tap);
        expire(&mut tap);
        drain(&mut listening);
        assert!(!tap.is_on());
        let blocks: Vec<_> = std::iter::from_fn(|| received.try_recv().ok()).collect();
        assert_eq!(blocks.len(), 2, "the header, and one packet");
        assert!(String::from_utf8_lossy(&blocks[1]).contains("drop ttl_expired generation=3"));
        assert!(begin(&mut listening, order(None).0).is_ok());
    }

    #[test]
    fn a_reader_that_goes_away_ends_its_capture() {
        let (mut listening, tap) = listening();
        let (order, received) = order(None);
        assert!(begin(&mut listening, order).is_ok());
        drop(received);
        drain(&mut listening);
        assert!(!tap.is_on());
    }

    /// Interfaces that a capture describes, and of each of its frames the interface and the bytes.
    fn interfaces_and_frames(
        copies: Option<Copies>,
        reasons: Vec<CaptureReason>,
    ) -> (String, Vec<(u32, String)>) {
        let (mut listening, mut tap) = listening();
        let (order, mut received) = order(None);
        assert!(begin(&mut listening, CaptureOrder { copies, reasons, ..order }).is_ok());
        record(&mut tap, b"came", b"outer came", Decision::PENDING);
        expire(&mut tap);
        let answered = Decision { verdict: EXPIRED, answered: true, ..Decision::PENDING };
        record(&mut tap, b"too long", b"ICMP", answered);
        drain(&mut listening);
        let blocks: Vec<_> = std::iter::from_fn(|| received.try_recv().ok()).flatten().collect();
        let text = String::from_utf8_lossy(&blocks).into_owned();
        let names: Vec<&str> =
            ["lan received", "lan sent", "lan"].into_iter().filter(|name| text.contains(name)).collect();
        let mut reader = guideway_engine::capture::CaptureReader::new(&blocks[..]).unwrap();
        let mut frames = Vec::new();
        while let Some(record) = reader.next_record().unwrap() {
            frames.push((record.interface, String::from_utf8_lossy(record.bytes).into_owned()));
        }
        (names[0].to_owned(), frames)
    }

    #[test]
    fn copies_are_those_that_were_asked_for() {
        let frames = |copies, reasons: &[CaptureReason]| {
            let (name, frames) = interfaces_and_frames(copies, reasons.to_vec());
            let frames: Vec<_> =
                frames.iter().map(|(interface, bytes)| format!("{interface} {bytes}")).collect();
            format!("{name}: {}", frames.join(", "))
        };
        let all = "lan received: 0 came, 1 outer came, 0 frame, 0 too long, 1 ICMP";
        assert_eq!(frames(None, &[]), all);
        assert_eq!(frames(Some(Copies::Both), &[]), all);
        assert_eq!(frames(Some(Copies::Received), &[]), "lan: 0 came, 0 frame, 0 too long");
        assert_eq!(frames(Some(Copies::Sent), &[]), "lan: 0 outer came, 0 ICMP");
        assert_eq!(frames(None, &[REASON]), "lan: 0 frame, 0 ICMP", "as it leaves");
        assert_eq!(frames(None, &[CaptureReason::Forward]), "lan received: 0 came, 1 outer came");
    }

    #[test]
    fn a_filter_that_names_nothing_is_refused_with_what_there_is() {
        let (mut listening, _tap) = listening();
        let mut refused = |service: Option<&str>, backend: Option<&str>| {
            let filter = PacketFilter {
                service: service.map(str::to_owned),
                backend: backend.map(str::to_owned),
                ..PacketFilter::default()
            };
            match begin(&mut listening, CaptureOrder { filter, ..order(None).0 }) {
                Err(Refused::UnknownAmong { kind, name, known }) => {
                    format!("{kind} {name}: {}", known.join(", "))
                }
                Err(Refused::AmbiguousBackend { backend, services }) => {
                    format!("{backend}: {}", services.join(", "))
                }
                other => format!("{other:?}"),
            }
        };
        assert_eq!(refused(Some("wbe"), None), "service wbe: web, dns");
        assert_eq!(refused(None, Some("a")), "backend a: web/b, dns/b, dns/c");
        assert_eq!(refused(Some("dns"), Some("a")), "backend a: b, c");
        assert_eq!(refused(None, Some("b")), "b: web, dns");
        assert_eq!(refused(Some("dns"), Some("b")), "Ok(())");
    }
}
