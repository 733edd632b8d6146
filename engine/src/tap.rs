//! Taps: copies of frames and of their decisions, from the workers to whoever captures.
//!
//! ```text
//! control:  TapSwitch ── which frames ──→ every worker's WorkerTap: take_in, once a burst, before it is decided
//!           TapReader ←── two rings ───── WorkerTap::record, behind that
//! ```
//!
//! While nobody captures, a worker pays one relaxed load per burst. While somebody does, it copies what is
//! wanted into two bounded rings that hold it for the control thread, as in [`host_path`](crate::host_path):
//! heads, all of one size, and the bytes that belong to them, one after the other. So a short frame costs a
//! short copy. A frame that finds no slot is missed, and counted; the worker neither waits nor allocates.
//!
//! Delivery changes a frame where it lies. So whoever wants to see one as it was received has it copied before it is decided,
//! if its headers agree with the filter; verdict, service and backend are known, and looked at, afterwards.
//!
//! The worker stamps what it records, since the control thread comes by too seldom to tell in which order
//! workers saw their frames. It reads the clock once per burst that has such a frame: frames of a burst came
//! together anyway, and without one the clock isn't read at all.

mod filter;
mod flow_filter;
mod frame;
mod head;
mod order;
mod reader;
mod worker;

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crossbeam_utils::CachePadded;
use guideway_dataplane::pipeline::BURST;
use rtrb::RingBuffer;

pub use filter::{TapFilter, UnknownVerdict};
pub use flow_filter::{FlowFilter, Numbers};
pub use frame::{TappedBytes, TappedFrame};
use head::Head;
use order::SharedOrder;
pub use order::TapOrder;
pub use reader::TapReader;
pub use worker::WorkerTap;

/// Bytes that are recorded of a frame at most, as received and as sent: all of one that carries 1,500 bytes behind two VLAN
/// tags, with all outer headers that come on top.
pub const SNAPLEN: usize = 1600;

/// Bytes of a slot, which holds one frame of any length, or two copies of a shorter one. The memory is touched when a frame is
/// recorded, not before.
pub const SLOT_BYTES: usize = SNAPLEN + size_of::<Head>();

/// Tells the workers which frames to record: none at first.
pub struct TapSwitch {
    order: Arc<CachePadded<SharedOrder>>,
}

impl TapSwitch {
    /// Makes a switch that is off.
    pub fn new() -> Self {
        Self { order: Arc::default() }
    }

    /// Makes the tap of one more worker, which holds `slots` frames, at [`SLOT_BYTES`] each, until they are read.
    pub fn tap(&self, slots: usize) -> (WorkerTap, TapReader) {
        let (heads, heads_reader) = RingBuffer::new(slots);
        let (bytes, bytes_reader) = RingBuffer::new(slots * SNAPLEN);
        let missed_shown = Arc::new(CachePadded::default());
        let reader = TapReader {
            heads: heads_reader,
            bytes: bytes_reader,
            missed: Arc::clone(&missed_shown),
            copies: Box::new([0; 2 * SNAPLEN]),
        };
        let looked_at = if slots == 0 { 0 } else { BURST };
        let worker = WorkerTap {
            shared: Arc::clone(&self.order),
            order: TapOrder::OFF,
            version: 0,
            taken: Vec::with_capacity(looked_at),
            received: Vec::with_capacity(looked_at * SNAPLEN),
            is_full: false,
            heads,
            bytes,
            missed: 0,
            missed_shown,
            clock: nanos_since_epoch,
        };
        (worker, reader)
    }

    /// Makes every worker record frames of this order, and no others, from one of its next bursts on.
    ///
    /// A frame of the order before may therefore follow: readers ask [`TapOrder::wants`] of their own.
    pub fn set(&mut self, order: impl Into<TapOrder>) {
        self.order.set(&order.into());
    }

    /// Order that the workers are to go by.
    pub fn order(&self) -> TapOrder {
        self.order.get()
    }
}

impl WorkerTap {
    /// Makes a tap that never records anything.
    pub fn off() -> Self {
        TapSwitch::new().tap(0).0
    }
}

impl Default for TapSwitch {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for TapSwitch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TapSwitch").field(&self.order()).finish()
    }
}

/// Reads the system's clock, in nanoseconds since the epoch; 0 before it.
fn nanos_since_epoch() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use guideway_dataplane::address::{Address, Prefix};
    use guideway_dataplane::backend::BackendHandle;
    use guideway_dataplane::egress::PortId;
    use guideway_dataplane::forwarding_rule::{RuleId, ServiceId};
    use guideway_dataplane::pipeline::{Decision, Tracking};
    use guideway_dataplane::verdict::{DropReason, PassReason, Verdict};
    use pcap_fixtures::packet::Packet;

    use super::*;
    use crate::mbuf::Mbuf;

    const FORWARDED: Decision = Decision { egress: PortId(7), tracking: Tracking::Hit, ..Decision::PENDING };
    const PASSED: Decision = Decision { verdict: Verdict::Pass(PassReason::NotIp), ..Decision::PENDING };
    const DROPPED: Decision =
        Decision { verdict: Verdict::Drop(DropReason::TtlExpired), ..Decision::PENDING };

    thread_local! {
        static READINGS: Cell<u64> = const { Cell::new(0) };
    }

    /// Clock on which a nanosecond passes at every reading.
    fn ticking() -> u64 {
        READINGS.set(READINGS.get() + 1);
        READINGS.get()
    }

    fn tap(order: impl Into<TapOrder>, slots: usize) -> (TapSwitch, WorkerTap, TapReader) {
        let mut switch = TapSwitch::new();
        switch.set(order);
        let (worker, reader) = switch.tap(slots);
        (switch, WorkerTap { clock: ticking, ..worker }, reader)
    }

    fn frames<const N: usize>(all: [&[u8]; N]) -> [Mbuf; N] {
        all.map(|bytes| {
            let mut frame = Mbuf::new();
            frame.fill(bytes);
            frame
        })
    }

    /// Records frames of a burst that came in by a port, as a poll loop does.
    fn record(worker: &mut WorkerTap, port: PortId, frames: &[Mbuf], decisions: &[Decision]) {
        if worker.is_on() {
            worker.take_in(frames);
            worker.record(0, port, 0, frames, decisions);
        }
    }

    /// Copies of a frame: as it was received, and as it is sent.
    type Copies = [Option<Vec<u8>>; 2];

    fn copies(frame: &TappedFrame<'_>) -> Copies {
        [frame.received(), frame.sent()].map(|copy| copy.map(|copy| copy.bytes.to_vec()))
    }

    /// Reads what was recorded: of each frame the first copy that it has.
    fn read_all(reader: &mut TapReader) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(frame) = reader.read() {
            all.extend(copies(&frame).into_iter().flatten().next());
        }
        all
    }

    #[test]
    fn a_tap_is_off_until_it_is_switched_on() {
        let (mut switch, mut worker, mut reader) = tap(TapFilter::NONE, 4);
        let burst = frames([b"frame"]);
        record(&mut worker, PortId(0), &burst, &[DROPPED]);
        assert_eq!((reader.waiting(), reader.missed()), (0, 0));
        switch.set(TapFilter::ALL);
        record(&mut worker, PortId(0), &burst, &[DROPPED]);
        switch.set(TapFilter::NONE);
        record(&mut worker, PortId(0), &burst, &[DROPPED]);
        assert_eq!((reader.waiting(), reader.missed()), (1, 0));
        assert_eq!(read_all(&mut reader), [b"frame"]);
    }

    #[test]
    fn what_the_filter_holds_is_recorded_and_nothing_else() {
        let burst = frames([b"forwarded", b"passed", b"dropped"]);
        let recorded = |filter: TapFilter| {
            let (_switch, mut worker, mut reader) = tap(filter, 4);
            record(&mut worker, PortId(0), &burst, &[FORWARDED, PASSED, DROPPED]);
            assert_eq!(reader.missed(), 0);
            read_all(&mut reader)
        };
        assert_eq!(recorded(TapFilter::FORWARD), [b"forwarded"]);
        assert_eq!(recorded(TapFilter::of(PASSED.verdict)), [b"passed"]);
        assert_eq!(recorded(TapFilter::of(Verdict::Drop(DropReason::NoHeadroom))), [b""; 0]);
        let both: [&[u8]; 2] = [b"forwarded", b"dropped"];
        assert_eq!(recorded(TapFilter::FORWARD | TapFilter::DROP), both);
        assert_eq!(recorded(TapFilter::ALL).len(), 3);
    }

    #[test]
    fn a_frame_comes_with_its_port_and_what_was_decided() {
        let (_switch, mut worker, mut reader) = tap(TapFilter::ALL, 4);
        let decisions = [FORWARDED, PASSED, DROPPED];
        record(&mut worker, PortId(2), &frames([b"f", b"pa", b"dro"]), &decisions);
        for (decision, wire_len) in decisions.into_iter().zip(1..) {
            let frame = reader.read().unwrap();
            let copy = frame.received().or(frame.sent()).expect("a copy");
            assert_eq!((*frame.decision(), frame.came_by(), copy.wire_len), (decision, PortId(2), wire_len));
        }
    }

    #[test]
    fn a_frame_comes_with_the_generation_that_it_was_decided_by() {
        let (_switch, mut worker, mut reader) = tap(TapFilter::ALL, 4);
        for generation in [7, 8] {
            let burst = frames([b"frame"]);
            worker.take_in(&burst);
            worker.record(generation, PortId(0), 0, &burst, &[DROPPED]);
        }
        let generations = [(); 2].map(|()| reader.read().unwrap().generation());
        assert_eq!(generations, [7, 8]);
    }

    #[test]
    fn a_frame_is_recorded_up_to_the_snapshot_length() {
        let (_switch, mut worker, mut reader) = tap(TapFilter::ALL, 3);
        let bytes: Vec<u8> = (0..9000).map(|index| index as u8).collect();
        let burst = frames([&bytes, &bytes[1..SNAPLEN], &[]]);
        // Three times over, so that frames lie across the end of their ring.
        for _ in 0..3 {
            record(&mut worker, PortId(0), &burst, &[DROPPED; 3]);
            let recorded = [(9000, &bytes[..SNAPLEN]), (SNAPLEN as u32 - 1, &bytes[1..SNAPLEN]), (0, &[])];
            for (wire_len, bytes) in recorded {
                let copy = reader.read().unwrap().received().unwrap();
                assert_eq!((copy.wire_len, copy.bytes), (wire_len, bytes));
            }
        }
        assert_eq!((reader.waiting(), reader.missed()), (0, 0));
    }

    #[test]
    fn what_finds_no_slot_is_missed_and_counted() {
        let (_switch, mut worker, mut reader) = tap(TapFilter::DROP, 2);
        let burst = frames([b"first", b"passed", b"second", b"third", b"fourth"]);
        record(&mut worker, PortId(0), &burst, &[DROPPED, PASSED, DROPPED, DROPPED, DROPPED]);
        assert_eq!(reader.missed(), 2);
        let kept: [&[u8]; 2] = [b"first", b"second"];
        assert_eq!(read_all(&mut reader), kept);
        record(&mut worker, PortId(0), &burst[3..], &[DROPPED; 2]);
        assert_eq!((reader.waiting(), reader.missed()), (2, 2));
    }

    #[test]
    fn every_slot_has_room_for_the_longest_frame() {
        let (_switch, mut worker, mut reader) = tap(TapFilter::ALL, 3);
        let burst = frames([&[1; 1], &[2; SNAPLEN], &[3; SNAPLEN], &[4; SNAPLEN]]);
        record(&mut worker, PortId(0), &burst, &[DROPPED; 4]);
        assert_eq!((reader.waiting(), reader.missed()), (3, 1));
        for _ in 0..10 {
            reader.read().unwrap();
            record(&mut worker, PortId(0), &burst[3..], &[DROPPED]);
            assert_eq!((reader.waiting(), reader.missed()), (3, 1));
        }
    }

    #[test]
    fn the_clock_is_read_once_per_burst_that_is_recorded() {
        let (_switch, mut worker, mut reader) = tap(TapFilter::DROP, 8);
        let burst = frames([b"1", b"2", b"3"]);
        let before = READINGS.get();
        record(&mut worker, PortId(0), &burst, &[FORWARDED, PASSED, PASSED]);
        record(&mut worker, PortId(0), &burst[..0], &[]);
        assert_eq!(READINGS.get(), before);
        record(&mut worker, PortId(0), &burst, &[DROPPED, FORWARDED, DROPPED]);
        record(&mut worker, PortId(0), &burst, &[FORWARDED, FORWARDED, DROPPED]);
        let stamps: Vec<_> =
            std::iter::from_fn(|| reader.read().map(|frame| frame.timestamp_nanos() - before)).collect();
        assert_eq!(stamps, [1, 1, 2]);
    }

    #[test]
    fn the_clock_tells_this_century() {
        let (from, to) = (946_684_800_000_000_000, 4_102_444_800_000_000_000);
        assert!((from..to).contains(&nanos_since_epoch()));
    }

    #[test]
    fn discarding_leaves_what_comes_after() {
        let (_switch, mut worker, mut reader) = tap(TapFilter::ALL, 2);
        record(&mut worker, PortId(0), &frames([b"old", b"older"]), &[DROPPED; 2]);
        reader.discard();
        record(&mut worker, PortId(0), &frames([b"new"]), &[DROPPED]);
        assert_eq!(read_all(&mut reader), [b"new"]);
    }

    #[test]
    fn a_worker_whose_reader_is_gone_goes_on() {
        let (_switch, mut worker, reader) = tap(TapFilter::ALL, 1);
        drop(reader);
        record(&mut worker, PortId(0), &frames([b"1", b"2"]), &[DROPPED; 2]);
        assert_eq!(worker.missed, 1);
        assert!(!WorkerTap::off().is_on());
    }

    #[test]
    fn one_switch_serves_all_workers() {
        let mut switch = TapSwitch::new();
        let mut taps = [switch.tap(1), switch.tap(1)];
        switch.set(TapFilter::PASS);
        assert_eq!(switch.order(), TapOrder::from(TapFilter::PASS));
        for (worker, reader) in &mut taps {
            record(worker, PortId(0), &frames([b"passed"]), &[PASSED]);
            assert_eq!(reader.waiting(), 1);
        }
    }

    /// A forwarded frame as it came in, and as delivery leaves it.
    fn forwarded(worker: &mut WorkerTap, came: &[u8], leaves: &[u8]) {
        let came = frames([came]);
        worker.take_in(&came);
        worker.record(0, PortId(0), 0, &frames([leaves]), &[FORWARDED]);
    }

    #[test]
    fn a_forwarded_frame_is_recorded_as_received_and_as_sent_where_the_order_asks_for_it() {
        let (came, leaves) = (b"came".to_vec(), b"outer came".to_vec());
        let rows = [
            (true, false, [Some(came.clone()), None]),
            (false, true, [None, Some(leaves.clone())]),
            (true, true, [Some(came), Some(leaves)]),
        ];
        for (received, sent, expected) in rows {
            let order = TapOrder { received, sent, ..TapOrder::from(TapFilter::ALL) };
            let (_switch, mut worker, mut reader) = tap(order, 4);
            forwarded(&mut worker, b"came", b"outer came");
            let frame = reader.read().unwrap();
            assert_eq!((copies(&frame), frame.leaves_by()), (expected, Some(PortId(7))));
        }
    }

    #[test]
    fn an_answered_frame_has_both_copies_and_a_dropped_one_is_as_it_came() {
        let order = TapOrder { received: true, ..TapOrder::from(TapFilter::ALL) };
        let (_switch, mut worker, mut reader) = tap(order, 4);
        let answered = Decision { answered: true, ..DROPPED };
        worker.take_in(&frames([b"too long", b"expired"]));
        worker.record(0, PortId(2), 0, &frames([b"ICMP", b"expired"]), &[answered, DROPPED]);
        let frame = reader.read().unwrap();
        let both = [Some(b"too long".to_vec()), Some(b"ICMP".to_vec())];
        assert_eq!((copies(&frame), frame.leaves_by()), (both, Some(PortId(2))));
        let frame = reader.read().unwrap();
        assert_eq!((copies(&frame), frame.leaves_by()), ([Some(b"expired".to_vec()), None], None));
    }

    #[test]
    fn frames_of_another_flow_service_or_backend_are_not_recorded() {
        let packet = |client: &str| Packet::between(client, "203.0.113.10").udp(1025, 53).build();
        let (mine, other) = (packet("198.51.100.7"), packet("198.51.100.8"));
        let client = Prefix::from(Address::v4([198, 51, 100, 7]));
        let of = |service, backend| Decision {
            rule: Some((RuleId(0), ServiceId(service))),
            backend: Some(BackendHandle(backend)),
            ..FORWARDED
        };
        let numbers = Numbers { service: Some(ServiceId(1)), backend: Some(BackendHandle(2)), since: 0 };
        let flows = FlowFilter { client: Some(client), numbers, ..FlowFilter::default() };
        let order = TapOrder { flows, received: true, ..TapOrder::from(TapFilter::FORWARD) };
        let (_switch, mut worker, mut reader) = tap(order, 8);
        let burst = frames([&other, &mine, &mine, &mine, &other]);
        worker.take_in(&burst);
        let decisions = [of(1, 2), of(1, 3), of(1, 2), of(0, 2), of(1, 2)];
        // In pieces, as a burst is decided whose ways are recorded.
        worker.record(7, PortId(0), 0, &burst[..2], &decisions[..2]);
        worker.record(7, PortId(0), 2, &burst[2..], &decisions[2..]);
        assert_eq!(reader.waiting(), 1);
        let frame = reader.read().unwrap();
        assert_eq!(frame.received().unwrap().bytes, mine);
        assert_eq!(frame.flow().map(|flow| flow.src), Some(Address::v4([198, 51, 100, 7])));
        assert!(order.wants(frame.flow(), frame.decision(), frame.generation()));
        assert_eq!(reader.missed(), 0);
    }

    #[test]
    fn a_frame_is_recorded_whose_service_was_numbered_anew_while_its_burst_was_decided() {
        let of = |service| Decision { rule: Some((RuleId(0), ServiceId(service))), ..FORWARDED };
        let order = |service: Option<u16>, since| {
            let numbers = Numbers { service: service.map(ServiceId), backend: None, since };
            let flows = FlowFilter { numbers, ..FlowFilter::default() };
            TapOrder { flows, ..TapOrder::from(TapFilter::FORWARD) }
        };
        // A reload takes the numbers back, publishes a snapshot with others, and gives these.
        for (before, behind) in [(1, 0), (0, 1), (1, 1), (2, 0), (0, 2)] {
            let (mut switch, mut worker, mut reader) = tap(order(Some(1), 0), 8);
            let renumbered = [order(None, 0), order(Some(2), 8)];
            let mut steps = renumbered.into_iter();
            steps.by_ref().take(before).for_each(|order| switch.set(order));
            let burst = frames([b"wanted", b"not"]);
            worker.take_in(&burst);
            steps.by_ref().take(behind).for_each(|order| switch.set(order));
            worker.record(8, PortId(0), 0, &burst, &[of(2), of(1)]);
            steps.for_each(|order| switch.set(order));
            let read = std::iter::from_fn(|| {
                let frame = reader.read()?;
                Some(renumbered[1].wants(frame.flow(), frame.decision(), frame.generation()))
            });
            assert_eq!(read.filter(|wanted| *wanted).count(), 1, "{before} {behind}");
            assert_eq!(reader.missed(), 0);
        }
    }

    #[test]
    fn a_frame_whose_copies_have_no_room_together_is_missed_whole() {
        let order = TapOrder { received: true, ..TapOrder::from(TapFilter::ALL) };
        let (_switch, mut worker, mut reader) = tap(order, 2);
        for _ in 0..2 {
            forwarded(&mut worker, &[1; SNAPLEN], &[2; SNAPLEN]);
        }
        assert_eq!((reader.waiting(), reader.missed()), (1, 1));
        let both = [Some(vec![1; SNAPLEN]), Some(vec![2; SNAPLEN])];
        assert_eq!(reader.read().map(|frame| copies(&frame)), Some(both));
        forwarded(&mut worker, &[3; 9], &[4; 9]);
        let both = [Some(vec![3; 9]), Some(vec![4; 9])];
        assert_eq!(reader.read().map(|frame| copies(&frame)), Some(both));
    }
}
