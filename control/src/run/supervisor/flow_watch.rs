//! Connections as they are seen live: packets that the workers' taps record, added up by flow, a line of JSON each second.
//!
//! The conntrack table holds no addresses, so they are taken from packets that are forwarded. The watch reads a bounded number
//! of them in a turn, and a worker records no more than its tap has room for: what a busy worker shows is a sample, and each
//! line says how many packets are not in it.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use guideway_dataplane::address::Address;
use guideway_dataplane::flow::Flow;
use guideway_engine::tap::{FlowFilter, TapFilter, TapOrder, TappedFrame};
use guideway_model::flow_text::{FlowText, protocol_name};
use guideway_model::names::Names;
use tokio::sync::mpsc;

use super::event_log::Note;
use super::taps::{Listener, Moment};
use crate::api::packet_filter::PacketFilter;
use crate::api::view::{EventKind, WatchedFlow, WatchedFlows};

/// Time that a line is about.
const PERIOD: Duration = Duration::from_secs(1);

/// Flows of a line.
const SHOWN: usize = 50;

/// Flows that are added up in a period.
const FLOWS: usize = 4_096;

/// Frames that are read in a turn, of all workers together: the control thread has other things to do.
const FRAMES_A_TURN: usize = 128;

/// A watch that goes on.
#[derive(Debug)]
pub(super) struct FlowWatch {
    lines: mpsc::Sender<Bytes>,
    lines_left: Option<u64>,
    sums: HashMap<Seen, Sum>,
    /// Packets of this period for whose flow there was no room.
    left_out: u64,
    /// Packets that were missed until the begin of this period.
    missed_before: u64,
    /// End of this period.
    due: Duration,
}

/// A flow, and who has its packets.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Seen {
    ends: [(Address, u16); 2],
    protocol: u8,
    network: Option<Arc<str>>,
    rule: Arc<str>,
    service: Arc<str>,
    backend: Arc<str>,
}

/// Packets of one flow in this period.
#[derive(Debug)]
struct Sum {
    flow: Flow,
    packets: u64,
    bytes: u64,
}

impl FlowWatch {
    /// A watch that begins now, and writes so many lines at most.
    pub(super) fn new(lines: mpsc::Sender<Bytes>, lines_left: Option<u64>, now: Duration) -> Self {
        let sums = HashMap::new();
        Self { lines, lines_left, sums, left_out: 0, missed_before: 0, due: now + PERIOD }
    }

    /// Frames that the taps are to record, of whatever flow: those of tracked connections are forwarded.
    pub(super) fn tapped() -> TapOrder {
        TapOrder { verdicts: TapFilter::FORWARD, received: true, ..TapOrder::OFF }
    }

    /// The event that a watch begins.
    pub(super) fn note(filter: &PacketFilter) -> Note {
        let of = if filter.is_empty() { String::new() } else { format!(" of {filter}") };
        Note::new(EventKind::CaptureStarted, format!("the operator watches connections{of}"))
    }

    /// The connections of the period that is over, those with most packets first.
    fn flows(&mut self, moment: &Moment<'_>) -> WatchedFlows {
        let mut sums: Vec<(Seen, Sum)> = self.sums.drain().collect();
        sums.sort_unstable_by_key(|(seen, sum)| (Reverse(sum.packets), seen.ends, seen.protocol));
        let left_out_flows = sums.len().saturating_sub(SHOWN) as u64;
        let missed = moment.missed - std::mem::replace(&mut self.missed_before, moment.missed);
        let missed_packets = missed + std::mem::take(&mut self.left_out);
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let shown = sums.into_iter().take(SHOWN).map(|(seen, Sum { flow, packets, bytes })| {
            let has_ports = flow.rule_port().is_some();
            WatchedFlow {
                protocol: protocol_name(flow.protocol),
                client: flow.src.into(),
                client_port: has_ports.then_some(flow.src_port),
                vip: flow.dst.into(),
                vip_port: has_ports.then_some(flow.dst_port),
                forwarding_rule: seen.rule.to_string(),
                service: seen.service.to_string(),
                backend: seen.backend.to_string(),
                packets,
                bytes,
                state: (moment.state_of)(&FlowText(flow), seen.network.as_deref()),
                network: seen.network.map(|network| network.to_string()),
            }
        });
        WatchedFlows { at_unix_sec: at.as_secs_f64(), flows: shown.collect(), left_out_flows, missed_packets }
    }
}

impl Listener for FlowWatch {
    fn appetite(&self, workers: usize) -> usize {
        FRAMES_A_TURN.div_ceil(workers.max(1))
    }

    fn is_over(&self) -> bool {
        self.lines.is_closed() || self.lines_left == Some(0)
    }

    fn hear(&mut self, frame: &TappedFrame<'_>, names: Option<&Names>) {
        let (Some(received), Some(names), decision) = (frame.received(), names, frame.decision()) else {
            return;
        };
        let any = FlowFilter::default();
        let Some(flow) = frame.flow().copied().or_else(|| any.flow_of(received.bytes)) else { return };
        let (Some((rule_id, service_id)), Some(backend)) =
            (decision.rule, decision.backend.and_then(|backend| names.backend(backend)))
        else {
            return;
        };
        let Some((rule, service)) = names.rule_and_service(rule_id) else { return };
        let seen = Seen {
            ends: [(flow.src, flow.src_port), (flow.dst, flow.dst_port)],
            protocol: flow.protocol,
            network: names.network(service_id).map(Arc::clone),
            rule: Arc::clone(rule),
            service: Arc::clone(service),
            backend: Arc::clone(backend),
        };
        if self.sums.len() >= FLOWS && !self.sums.contains_key(&seen) {
            self.left_out += 1;
            return;
        }
        let sum = self.sums.entry(seen).or_insert(Sum { flow, packets: 0, bytes: 0 });
        sum.packets += 1;
        sum.bytes += u64::from(decision.received_len);
    }

    fn hand_on(&mut self, moment: &Moment<'_>) {
        if moment.now < self.due {
            return;
        }
        self.due = moment.now + PERIOD;
        let flows = self.flows(moment);
        let mut line = serde_json::to_vec(&flows).expect("a line is plain data");
        line.push(b'\n');
        // A line that a slow reader has no room for is not written: the next one is as good.
        if self.lines.try_send(line.into()).is_ok() {
            self.lines_left = self.lines_left.map(|left| left - 1);
        }
    }

    fn end(self: Box<Self>, _missed: u64) {}
}
