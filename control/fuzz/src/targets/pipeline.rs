//! No capture makes the packet path panic, lose count of a packet, damage one that it forwards, send one to a backend that is
//! neither eligible nor tracked, or send a frame that etherparse reads otherwise or that is longer than its path.
//!
//! The input is a capture, so that captures are the seeds, and what is found can be replayed. The time of its first
//! frame picks the delivery, the length of bursts, and the burst before which one of two backends turns unhealthy.

mod appliance;
mod backends;
mod outer;

use std::sync::OnceLock;

use guideway_dataplane::affinity::TrackingHasher;
use guideway_dataplane::conntrack::ConntrackTable;
use guideway_dataplane::delivery::fragments::fragments;
use guideway_dataplane::egress::PortId;
use guideway_dataplane::flow::Fragment;
use guideway_dataplane::frame::Frame;
use guideway_dataplane::packet::Packet;
use guideway_dataplane::pipeline::{BURST, Decision, Pipeline};
use guideway_dataplane::time::Tick;
use guideway_dataplane::verdict::{PassReason, Verdict};
use guideway_dataplane::wire::checksum;
use guideway_dataplane::wire::ipv4::Ipv4Header;
use guideway_engine::capture::CaptureReader;
use guideway_engine::mbuf::Mbuf;
use zerocopy::IntoBytes;

use appliance::{Appliance, MTU, appliances};
use backends::Backends;

/// Runs the target on these bytes.
pub(crate) fn run(capture: &[u8]) {
    let Ok(mut reader) = CaptureReader::new(capture) else { return };
    let (mut frames, mut start) = (Vec::new(), None);
    while let Ok(Some(record)) = reader.next_record() {
        // The capture's own target has the long frames; here they would only cost time.
        if record.wire_len > 4096 || frames.len() == 64 {
            break;
        }
        let first = *start.get_or_insert(record.timestamp_nanos);
        let mut frame = Mbuf::new();
        frame.fill_padded(record.bytes, record.wire_len as usize);
        frames.push((Tick::from_secs(record.timestamp_nanos.saturating_sub(first) / 1_000_000_000), frame));
    }
    static APPLIANCES: OnceLock<Vec<Appliance>> = OnceLock::new();
    let appliances = APPLIANCES.get_or_init(appliances);
    let choice = start.unwrap_or(0) as usize;
    let (appliance, choice) = (&appliances[choice % appliances.len()], choice / appliances.len());
    let (burst_len, unhealthy_from) = ([BURST, 7, 1][choice % 3], choice / 3 % 4);
    let mut pipeline = Pipeline::new(TrackingHasher::new([1, 2, 3, 4]), 0);
    let table = ConntrackTable::with_capacity(64).expect("memory for a small table");
    let mut backends = Backends::default();
    for (number, burst) in frames.chunks(burst_len).enumerate() {
        let is_b_healthy = number < unhealthy_from || unhealthy_from == 0;
        let snapshot = if is_b_healthy { &appliance.snapshot } else { &appliance.without_b };
        let mut processed: Vec<Mbuf> = burst.iter().map(|(_, frame)| frame.clone()).collect();
        let mut decisions = vec![Decision::PENDING; burst.len()];
        pipeline.process(PortId(0), &mut processed, &mut decisions, burst[0].0, snapshot, &table);
        for ((before, after), decision) in burst.iter().zip(&processed).zip(&decisions) {
            let (before, after) = (before.1.bytes(), after.bytes());
            appliance.inspect(before, after, decision);
            if let Ok(packet) = Packet::parse(before) {
                let host = (decision.verdict == Verdict::Forward)
                    .then(|| outer::host(after, appliance.shim_len.is_some()));
                backends.inspect(&packet, host, decision, is_b_healthy);
            }
        }
    }
    let counters = pipeline.counters();
    assert_eq!(counters.offered, frames.len() as u64);
    assert_eq!(counters.offered, counters.forwarded + counters.passed_total() + counters.dropped_total());
}

impl Appliance {
    fn inspect(&self, before: &[u8], after: &[u8], decision: &Decision) {
        match decision.verdict {
            Verdict::Forward => {
                self.inspect_forwarded(before, after);
                self.inspect_length(after, decision);
            }
            _ if decision.answered => {
                let (packet, answer) = (parse(before), parse(after));
                assert!(answer.icmp_error, "the answer is an ICMP error");
                assert_eq!(answer.flow.dst, packet.flow.src, "to the sender");
                assert!(answer.l3_len <= if answer.is_ipv4 { 576 } else { 1280 });
                outer::inspect_answer(after);
            }
            verdict => {
                assert_eq!(before, after, "{verdict:?} leaves the frame alone");
                let own = self.snapshot.networks.first().own;
                let is_routed = Packet::parse(before)
                    .is_ok_and(|packet| ![own.ipv4, own.ipv6].contains(&Some(packet.flow.dst)));
                assert!(
                    !is_routed || verdict != Verdict::Pass(PassReason::NoForwardingRule),
                    "everything is routed but what is for the appliance itself"
                );
            }
        }
    }

    /// Asserts that a frame which leaves by a tunnel fits its path, or that its fragments do and put together are the same.
    fn inspect_length(&self, after: &[u8], decision: &Decision) {
        let outer = parse(after);
        let fits = outer.l3_len as usize <= MTU;
        let Some(mtu) = decision.fragment_mtu else {
            assert!(fits || self.shim_len.is_none(), "what is too long is dropped");
            return;
        };
        assert!(self.fragments && self.shim_len.is_some() && !fits);
        assert_eq!(usize::from(mtu.get()), MTU);
        let mut whole = Vec::new();
        for fragment in fragments(after, MTU) {
            let part = parse(&[fragment.headers(), fragment.piece].concat());
            assert!(part.l3_len as usize <= MTU);
            assert_ne!(part.flow.fragment, Fragment::No);
            assert_eq!((part.flow.src, part.flow.dst), (outer.flow.src, outer.flow.dst));
            whole.extend_from_slice(fragment.piece);
        }
        assert_eq!(whole, after[usize::from(outer.l4_offset)..]);
    }

    fn inspect_forwarded(&self, before: &[u8], after: &[u8]) {
        let packet = parse(before);
        let start = usize::from(packet.l3_offset);
        // The flow of an ICMP error is its own here: the quote is read later.
        let own = self.snapshot.networks.first().own;
        assert_ne!(own.like(packet.flow.src), Some(packet.flow.src), "no own source is forwarded");
        let before = &before[start..start + packet.l3_len as usize];
        let inner = match self.shim_len {
            None => {
                let outer = parse(after);
                &after[usize::from(outer.l3_offset)..][..outer.l3_len as usize]
            }
            Some(len) => outer::inner(after, len, packet.traffic_class),
        };
        assert_eq!(inner.len(), before.len());
        if packet.is_ipv4 {
            assert_eq!((inner[8], &inner[..8]), (before[8] - 1, &before[..8]));
            assert_eq!((inner[9], &inner[12..]), (before[9], &before[12..]));
            assert_eq!(
                header_sum(inner),
                header_sum(before),
                "a right checksum stays right, a wrong one wrong"
            );
        } else {
            assert_eq!((inner[7], &inner[..7], &inner[8..]), (before[7] - 1, &before[..7], &before[8..]));
        }
    }
}

fn parse(frame: &[u8]) -> Packet {
    Packet::parse(frame).expect("what is forwarded or answered is well-formed, before and after")
}

/// Sum of the words of an IPv4 header without its options, modulo 0xffff: both zeros are one.
fn header_sum(packet: &[u8]) -> u16 {
    let header = Ipv4Header::parse(packet).expect("a header");
    let sum = checksum::finish(checksum::sum(header.as_bytes()));
    if sum == 0xffff { 0 } else { sum }
}
