//! Taps: copies of frames and of their decisions, from the workers to whoever captures.
//!
//! ```text
//! control:  TapSwitch ── which verdicts ──→ every worker's WorkerTap
//!           TapReader ←── two rings ────── WorkerTap::record, once a burst
//! ```
//!
//! While nobody captures, a worker pays one relaxed load per burst. While somebody does, it copies what is
//! wanted into two bounded rings that hold it for the control thread, as in [`host_path`](crate::host_path):
//! heads, all of one size, and the bytes that belong to them, one after the other. So a short frame costs a
//! short copy. A frame that finds no slot is missed, and counted; the worker neither waits nor allocates.
//!
//! The worker stamps what it records, since the control thread comes by too seldom to tell in which order
//! workers saw their frames. It reads the clock once per burst that has such a frame: frames of a burst came
//! together anyway, and without one the clock isn't read at all.
//!
//! The only words that are shared outside of the rings, the filter and the count of missed frames, carry
//! nothing but themselves and have one writer each; so all access to them is relaxed.

mod filter;
mod frame;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crossbeam_utils::CachePadded;
use guideway_dataplane::egress::PortId;
use guideway_dataplane::frame::Frame;
use guideway_dataplane::pipeline::Decision;
use rtrb::{Consumer, Producer, RingBuffer};

pub use filter::{TapFilter, UnknownVerdict};
pub use frame::TappedFrame;

/// Bytes that are recorded of a frame at most: all of one that carries 1,500 bytes behind two VLAN tags, with all
/// outer headers that come on top.
pub const SNAPLEN: usize = 1600;

/// Bytes of a slot, which holds one frame of any length. The memory is touched when a frame is recorded, not before.
pub const SLOT_BYTES: usize = SNAPLEN + size_of::<Head>();

/// Tells the workers which verdicts to record: none at first.
pub struct TapSwitch {
    wanted: Arc<CachePadded<AtomicU64>>,
}

/// Worker's end of its tap: records frames.
pub struct WorkerTap {
    wanted: Arc<CachePadded<AtomicU64>>,
    heads: Producer<Head>,
    /// Bytes of the frames, without anything between them. Written before their head, which says how many there are.
    bytes: Producer<u8>,
    /// Generation of the snapshot that decided the next frames.
    generation: u64,
    /// Frames missed since the worker's start, which `missed_shown` shows to the reader.
    missed: u64,
    missed_shown: Arc<CachePadded<AtomicU64>>,
    /// Clock of the records, in nanoseconds since the epoch.
    clock: fn() -> u64,
}

/// Control thread's end of a worker's tap: reads the recorded frames.
pub struct TapReader {
    heads: Consumer<Head>,
    bytes: Consumer<u8>,
    missed: Arc<CachePadded<AtomicU64>>,
    /// Bytes of the frame that was read last: in their ring they may lie in two pieces.
    frame: Box<[u8; SNAPLEN]>,
}

/// Facts that are recorded of a frame beside its bytes.
#[derive(Clone, Copy)]
struct Head {
    timestamp_nanos: u64,
    generation: u64,
    decision: Decision,
    wire_len: u32,
    recorded_len: u16,
    came_by: PortId,
}

impl TapSwitch {
    /// Makes a switch that is off.
    pub fn new() -> Self {
        Self { wanted: Arc::default() }
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
            frame: Box::new([0; SNAPLEN]),
        };
        let wanted = Arc::clone(&self.wanted);
        let (generation, missed, clock) = (0, 0, nanos_since_epoch);
        (WorkerTap { wanted, heads, bytes, generation, missed, missed_shown, clock }, reader)
    }

    /// Makes every worker record frames of these verdicts, and no others, from one of its next bursts on.
    ///
    /// A frame of the filter before may therefore follow: readers ask [`TapFilter::contains`] of their own.
    pub fn set(&mut self, filter: TapFilter) {
        self.wanted.store(filter.to_bits(), Ordering::Relaxed);
    }

    /// Verdicts that the workers are to record.
    pub fn filter(&self) -> TapFilter {
        TapFilter::from_bits(self.wanted.load(Ordering::Relaxed))
    }
}

impl WorkerTap {
    /// Makes a tap that never records anything.
    pub fn off() -> Self {
        TapSwitch::new().tap(0).0
    }

    /// Notes the generation of the snapshot that decides all later frames.
    pub fn adopt(&mut self, generation: u64) {
        self.generation = generation;
    }

    /// Records the frames of a burst whose verdicts the filter holds. The burst came in by `port`; `decisions` are
    /// those of its frames.
    #[inline]
    pub fn record<F: Frame>(&mut self, port: PortId, frames: &[F], decisions: &[Decision]) {
        let wanted = TapFilter::from_bits(self.wanted.load(Ordering::Relaxed));
        if !wanted.is_empty() {
            self.record_wanted(wanted, port, frames, decisions);
        }
    }

    #[cold]
    fn record_wanted<F: Frame>(
        &mut self,
        wanted: TapFilter,
        came_by: PortId,
        frames: &[F],
        decisions: &[Decision],
    ) {
        let mut timestamp = None;
        for (frame, decision) in frames.iter().zip(decisions) {
            if wanted.contains(decision.verdict) {
                let timestamp_nanos = *timestamp.get_or_insert_with(self.clock);
                if !self.push(timestamp_nanos, came_by, decision, frame.bytes()) {
                    self.missed += 1;
                    self.missed_shown.store(self.missed, Ordering::Relaxed);
                }
            }
        }
    }

    /// Copies a frame into the rings; false if they have no room.
    fn push(&mut self, timestamp_nanos: u64, came_by: PortId, decision: &Decision, frame: &[u8]) -> bool {
        let recorded = &frame[..frame.len().min(SNAPLEN)];
        let head = Head {
            timestamp_nanos,
            generation: self.generation,
            decision: *decision,
            wire_len: frame.len() as u32,
            recorded_len: recorded.len() as u16,
            came_by,
        };
        let Ok(slot) = self.heads.write_chunk_uninit(1) else { return false };
        // The bytes first: whoever sees the head sees them.
        self.bytes.push_entire_slice(recorded).is_ok() && slot.fill_from_iter([head]) == 1
    }
}

impl TapReader {
    /// Takes the next frame that the worker has recorded.
    ///
    /// A worker may record as fast as this is called: whoever has other things to do reads no more at once
    /// than were [`waiting`](Self::waiting).
    pub fn read(&mut self) -> Option<TappedFrame<'_>> {
        let head = *self.heads.peek().ok()?;
        let recorded_len = usize::from(head.recorded_len);
        let bytes = self.bytes.read_chunk(recorded_len).expect("the worker writes them before their head");
        let (first, second) = bytes.as_slices();
        self.frame[..first.len()].copy_from_slice(first);
        self.frame[first.len()..recorded_len].copy_from_slice(second);
        bytes.commit_all();
        // The head last: where a slot is free, a frame's bytes have room too.
        self.heads.pop().expect("it was there before its bytes were read");
        Some(TappedFrame {
            timestamp_nanos: head.timestamp_nanos,
            generation: head.generation,
            came_by: head.came_by,
            decision: head.decision,
            wire_len: head.wire_len,
            bytes: &self.frame[..recorded_len],
        })
    }

    /// Number of frames that can be read now.
    pub fn waiting(&self) -> usize {
        self.heads.slots()
    }

    /// Drops the frames that wait, which an earlier capture left.
    pub fn discard(&mut self) {
        for _ in 0..self.waiting() {
            self.read();
        }
    }

    /// Number of frames since the worker's start that the filter held and no slot was free for.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }
}

impl Default for TapSwitch {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for TapSwitch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TapSwitch").field(&self.filter()).finish()
    }
}

impl fmt::Debug for WorkerTap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerTap").field("missed", &self.missed).finish_non_exhaustive()
    }
}

impl fmt::Debug for TapReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TapReader").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}

/// Reads the system's clock, in nanoseconds since the epoch; 0 before it.
fn nanos_since_epoch() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use guideway_dataplane::pipeline::Tracking;
    use guideway_dataplane::verdict::{DropReason, PassReason, Verdict};

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

    fn tap(filter: TapFilter, slots: usize) -> (TapSwitch, WorkerTap, TapReader) {
        let mut switch = TapSwitch::new();
        switch.set(filter);
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

    fn read_all(reader: &mut TapReader) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(frame) = reader.read() {
            all.push(frame.bytes.to_vec());
        }
        all
    }

    #[test]
    fn a_tap_is_off_until_it_is_switched_on() {
        let (mut switch, mut worker, mut reader) = tap(TapFilter::NONE, 4);
        let burst = frames([b"frame"]);
        worker.record(PortId(0), &burst, &[DROPPED]);
        assert_eq!((reader.waiting(), reader.missed()), (0, 0));
        switch.set(TapFilter::ALL);
        worker.record(PortId(0), &burst, &[DROPPED]);
        switch.set(TapFilter::NONE);
        worker.record(PortId(0), &burst, &[DROPPED]);
        assert_eq!((reader.waiting(), reader.missed()), (1, 0));
        assert_eq!(read_all(&mut reader), [b"frame"]);
    }

    #[test]
    fn what_the_filter_holds_is_recorded_and_nothing_else() {
        let burst = frames([b"forwarded", b"passed", b"dropped"]);
        let recorded = |filter: TapFilter| {
            let (_switch, mut worker, mut reader) = tap(filter, 4);
            worker.record(PortId(0), &burst, &[FORWARDED, PASSED, DROPPED]);
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
        worker.record(PortId(2), &frames([b"f", b"pa", b"dro"]), &decisions);
        for (decision, wire_len) in decisions.into_iter().zip(1..) {
            let frame = reader.read().unwrap();
            assert_eq!((frame.decision, frame.came_by, frame.wire_len), (decision, PortId(2), wire_len));
        }
    }

    #[test]
    fn a_frame_comes_with_the_generation_that_it_was_decided_by() {
        let (_switch, mut worker, mut reader) = tap(TapFilter::ALL, 4);
        for generation in [7, 8] {
            worker.adopt(generation);
            worker.record(PortId(0), &frames([b"frame"]), &[DROPPED]);
        }
        let generations = [(); 2].map(|()| reader.read().unwrap().generation);
        assert_eq!(generations, [7, 8]);
    }

    #[test]
    fn a_frame_is_recorded_up_to_the_snapshot_length() {
        let (_switch, mut worker, mut reader) = tap(TapFilter::ALL, 3);
        let bytes: Vec<u8> = (0..9000).map(|index| index as u8).collect();
        let burst = frames([&bytes, &bytes[1..SNAPLEN], &[]]);
        // Three times over, so that frames lie across the end of their ring.
        for _ in 0..3 {
            worker.record(PortId(0), &burst, &[DROPPED; 3]);
            let recorded = [(9000, &bytes[..SNAPLEN]), (SNAPLEN as u32 - 1, &bytes[1..SNAPLEN]), (0, &[])];
            for (wire_len, bytes) in recorded {
                let frame = reader.read().unwrap();
                assert_eq!((frame.wire_len, frame.bytes), (wire_len, bytes));
            }
        }
        assert_eq!((reader.waiting(), reader.missed()), (0, 0));
    }

    #[test]
    fn what_finds_no_slot_is_missed_and_counted() {
        let (_switch, mut worker, mut reader) = tap(TapFilter::DROP, 2);
        let burst = frames([b"first", b"passed", b"second", b"third", b"fourth"]);
        worker.record(PortId(0), &burst, &[DROPPED, PASSED, DROPPED, DROPPED, DROPPED]);
        assert_eq!(reader.missed(), 2);
        let kept: [&[u8]; 2] = [b"first", b"second"];
        assert_eq!(read_all(&mut reader), kept);
        worker.record(PortId(0), &burst[3..], &[DROPPED; 2]);
        assert_eq!((reader.waiting(), reader.missed()), (2, 2));
    }

    #[test]
    fn every_slot_has_room_for_the_longest_frame() {
        let (_switch, mut worker, mut reader) = tap(TapFilter::ALL, 3);
        let burst = frames([&[1; 1], &[2; SNAPLEN], &[3; SNAPLEN], &[4; SNAPLEN]]);
        worker.record(PortId(0), &burst, &[DROPPED; 4]);
        assert_eq!((reader.waiting(), reader.missed()), (3, 1));
        for _ in 0..10 {
            reader.read().unwrap();
            worker.record(PortId(0), &burst[3..], &[DROPPED]);
            assert_eq!((reader.waiting(), reader.missed()), (3, 1));
        }
    }

    #[test]
    fn the_clock_is_read_once_per_burst_that_is_recorded() {
        let (_switch, mut worker, mut reader) = tap(TapFilter::DROP, 8);
        let burst = frames([b"1", b"2", b"3"]);
        let before = READINGS.get();
        worker.record(PortId(0), &burst, &[FORWARDED, PASSED, PASSED]);
        worker.record(PortId(0), &burst[..0], &[]);
        assert_eq!(READINGS.get(), before);
        worker.record(PortId(0), &burst, &[DROPPED, FORWARDED, DROPPED]);
        worker.record(PortId(0), &burst, &[FORWARDED, FORWARDED, DROPPED]);
        let stamps: Vec<_> =
            std::iter::from_fn(|| reader.read().map(|frame| frame.timestamp_nanos - before)).collect();
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
        worker.record(PortId(0), &frames([b"old", b"older"]), &[DROPPED; 2]);
        reader.discard();
        worker.record(PortId(0), &frames([b"new"]), &[DROPPED]);
        assert_eq!(read_all(&mut reader), [b"new"]);
    }

    #[test]
    fn a_worker_whose_reader_is_gone_goes_on() {
        let (_switch, mut worker, reader) = tap(TapFilter::ALL, 1);
        drop(reader);
        worker.record(PortId(0), &frames([b"1", b"2"]), &[DROPPED; 2]);
        assert_eq!(worker.missed, 1);
        WorkerTap::off().record(PortId(0), &frames([b"1"]), &[DROPPED]);
    }

    #[test]
    fn one_switch_serves_all_workers() {
        let mut switch = TapSwitch::new();
        let mut taps = [switch.tap(1), switch.tap(1)];
        switch.set(TapFilter::PASS);
        assert_eq!(switch.filter(), TapFilter::PASS);
        for (worker, reader) in &mut taps {
            worker.record(PortId(0), &frames([b"passed"]), &[PASSED]);
            assert_eq!(reader.waiting(), 1);
        }
    }
}
