//! Traces of live packets: what the workers' taps record of each is put into words, a line of JSON a packet.
//!
//! A worker looks at what a packet meets right before it decides it. The words for that are those of the state that made the
//! snapshot which decided; where that is no longer in force when the control thread comes by, a trace says so.

use bytes::Bytes;
use guideway_dataplane::egress::PortId;
use guideway_dataplane::pipeline::{Decision, Look};
use guideway_engine::tap::{TapFilter, TapOrder, TappedFrame};
use guideway_model::names::Names;
use guideway_model::trace::{PacketTrace, Passage};
use tokio::sync::mpsc;

use super::event_log::Note;
use super::taps::{Listener, Moment};
use crate::api::packet_filter::PacketFilter;
use crate::api::view::{EventKind, TracedPacket};

/// Frames that are read of each worker's tap in a turn: the control thread has other things to do.
const FRAMES_A_TURN: usize = 16;

/// Trace that goes on.
#[derive(Debug)]
pub(super) struct PacketTracer {
    lines: mpsc::Sender<Bytes>,
    packets_left: u64,
    /// Number of the latest packet.
    number: u64,
    /// Packets of this turn.
    heard: Vec<Heard>,
}

/// Packet as its worker saw it.
#[derive(Debug)]
struct Heard {
    timestamp_unix_nanos: u64,
    generation: u64,
    port: PortId,
    look: Look,
    decision: Decision,
    received: Copy,
    sent: Copy,
}

/// Copy of a frame.
#[derive(Debug, Default)]
struct Copy {
    bytes: Vec<u8>,
    wire_len: u32,
}

impl PacketTracer {
    /// Tracer of so many packets.
    pub(super) fn new(lines: mpsc::Sender<Bytes>, packets: u64) -> Self {
        Self { lines, packets_left: packets, number: 0, heard: Vec::new() }
    }

    /// Frames that the taps are to record, of whatever flow.
    pub(super) fn tapped() -> TapOrder {
        TapOrder { verdicts: TapFilter::ALL, received: true, sent: true, looks: true, ..TapOrder::OFF }
    }

    /// Event that a trace begins.
    pub(super) fn note(filter: &PacketFilter) -> Note {
        let of = if filter.is_empty() { String::new() } else { format!(" of {filter}") };
        Note::new(EventKind::CaptureStarted, format!("the operator traces packets{of}"))
    }
}

impl Listener for PacketTracer {
    fn appetite(&self, _workers: usize) -> usize {
        FRAMES_A_TURN
    }

    fn is_over(&self) -> bool {
        self.lines.is_closed() || self.packets_left == 0
    }

    fn hear(&mut self, frame: &TappedFrame<'_>, _names: Option<&Names>) {
        // No more than there is room to hand on: the reader comes to its turn after this one.
        if self.heard.len() >= self.lines.capacity() || self.packets_left == 0 {
            return;
        }
        // A frame of the order before was not looked at.
        let (Some(look), Some(received)) = (frame.look(), frame.received()) else { return };
        let sent = frame
            .sent()
            .map_or_else(Copy::default, |sent| Copy { bytes: sent.bytes.to_vec(), wire_len: sent.wire_len });
        self.heard.push(Heard {
            timestamp_unix_nanos: frame.timestamp_nanos(),
            generation: frame.generation(),
            port: frame.came_by(),
            look: *look,
            decision: *frame.decision(),
            received: Copy { bytes: received.bytes.to_vec(), wire_len: received.wire_len },
            sent,
        });
        self.packets_left -= 1;
    }

    fn hand_on(&mut self, moment: &Moment<'_>) {
        if self.heard.is_empty() {
            return;
        }
        let mut subscriber = moment.feed.subscribe();
        // Changes that no snapshot has yet are not those that decided.
        let snapshot = (!moment.state.is_stale()).then(|| subscriber.repin());
        for heard in std::mem::take(&mut self.heard) {
            self.number += 1;
            let passage = Passage {
                number: self.number,
                timestamp_unix_nanos: heard.timestamp_unix_nanos,
                generation: heard.generation,
                port: heard.port,
                received: &heard.received.bytes,
                received_len: heard.received.wire_len,
                look: &heard.look,
                decision: &heard.decision,
                sent: &heard.sent.bytes,
                sent_len: heard.sent.wire_len,
            };
            let packet = PacketTrace::new(&passage, moment.state, snapshot);
            let line = TracedPacket { missed_packets: moment.missed, packet };
            let mut line = serde_json::to_vec(&line).expect("a line is plain data");
            line.push(b'\n');
            // A line that a slow reader has no room for is lost: its number is missing.
            let _ = self.lines.try_send(line.into());
        }
    }

    fn end(self: Box<Self>, _missed: u64) {}
}
