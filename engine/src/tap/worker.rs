//! A worker's end of its tap: it compares frames with the order, and copies those that are wanted into the rings.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;
use guideway_dataplane::egress::PortId;
use guideway_dataplane::flow::Flow;
use guideway_dataplane::frame::Frame;
use guideway_dataplane::pipeline::{BURST, Decision, Look};
use guideway_dataplane::verdict::Verdict;
use rtrb::Producer;

use super::SNAPLEN;
use super::flow_filter::Numbers;
use super::head::{Head, Lengths};
use super::order::{SharedOrder, TapOrder};

/// Worker's end of its tap: records frames.
pub struct WorkerTap {
    pub(super) shared: Arc<CachePadded<SharedOrder>>,
    /// Order that the burst in hand is recorded by.
    pub(super) order: TapOrder,
    /// Version of that order.
    pub(super) version: u64,
    /// Frames of the burst that were looked at before they are decided, by their index.
    pub(super) taken: Vec<Taken>,
    /// Bytes of those frames as they were received, one after the other.
    pub(super) received: Vec<u8>,
    /// True if there was no slot when the burst was taken in.
    pub(super) is_full: bool,
    pub(super) heads: Producer<Head>,
    /// Bytes of the frames, without anything between them. Written before their head, which says how many there are.
    pub(super) bytes: Producer<u8>,
    /// Frames missed since the worker's start, which `missed_shown` shows to the reader.
    pub(super) missed: u64,
    pub(super) missed_shown: Arc<CachePadded<AtomicU64>>,
    /// Clock of the records, in nanoseconds since the epoch.
    pub(super) clock: fn() -> u64,
}

/// Frame that was looked at before it is decided.
pub(super) struct Taken {
    /// Index in the burst.
    index: usize,
    flow: Option<Flow>,
    look: Option<Look>,
    /// Copy among the received bytes.
    copied: Range<usize>,
    wire_len: u32,
}

impl WorkerTap {
    /// True if frames are to be recorded: a burst is then [taken in](Self::take_in) before it is decided, and
    /// [recorded](Self::record) behind that.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.shared.is_on()
    }

    /// Takes the newest order, and keeps the received bytes of those frames of a burst whose headers agree with it.
    #[cold]
    pub fn take_in<F: Frame>(&mut self, frames: &[F]) {
        (self.order, self.version) = self.shared.get_versioned();
        self.taken.clear();
        self.received.clear();
        self.is_full = false;
        if self.taken.capacity() == 0 || !self.order.looks_ahead() {
            return;
        }
        // Copies would be in vain where no frame of this burst will find a slot.
        self.is_full = self.heads.is_full();
        let copies = self.order.received && !self.is_full;
        let flows = self.order.flows;
        for (index, frame) in frames.iter().enumerate().take(BURST) {
            let bytes = frame.bytes();
            let flow = if flows.reads_packets() { flows.flow_of(bytes) } else { None };
            if flow.is_none() && flows.reads_packets() {
                continue;
            }
            let start = self.received.len();
            if copies {
                self.received.extend_from_slice(&bytes[..bytes.len().min(SNAPLEN)]);
            }
            let copied = start..self.received.len();
            self.taken.push(Taken { index, flow, look: None, copied, wire_len: bytes.len() as u32 });
        }
    }

    /// True if the facts that the frame with this index meets are to be [noted](Self::note), right before it is decided.
    pub fn looks_at(&self, index: usize) -> bool {
        self.order.looks && self.find(index).is_some()
    }

    /// Notes the facts that the frame with this index meets.
    pub fn note(&mut self, index: usize, look: Look) {
        if let Ok(at) = self.taken.binary_search_by_key(&index, |taken| taken.index) {
            self.taken[at].look = Some(look);
        }
    }

    /// Completes the facts that were noted of the frame with this index, which is decided now.
    pub fn revise(&mut self, index: usize, revise: impl FnMut(&mut Look)) {
        let found = self.find(index);
        found.and_then(|at| self.taken[at].look.as_mut()).into_iter().for_each(revise);
    }

    /// Records those frames of a burst, or of a piece of it that begins with the index `first`, that the order wants. The burst
    /// came in by `port`; `decisions` are those of its frames, by the snapshot of this generation.
    #[cold]
    pub fn record<F: Frame>(
        &mut self,
        generation: u64,
        port: PortId,
        first: usize,
        frames: &[F],
        decisions: &[Decision],
    ) {
        let order = self.order;
        // A reload has come in between: the decisions may be numbered otherwise than the order, and their names tell later.
        let numbers = if self.shared.is_at(self.version) { order.flows.numbers } else { Numbers::default() };
        let mut timestamp = None;
        for (index, (frame, decision)) in frames.iter().zip(decisions).enumerate() {
            let taken = self.find(first + index);
            let is_wanted = order.verdicts.contains(decision.verdict)
                && numbers.agree_with(decision, generation)
                && (taken.is_some() || !order.looks_ahead());
            if !is_wanted {
                continue;
            }
            if self.is_full {
                self.miss();
                continue;
            }
            let taken = taken.map(|at| &self.taken[at]);
            let changes = decision.verdict == Verdict::Forward || decision.answered;
            let whole = frame.bytes();
            let now = (&whole[..whole.len().min(SNAPLEN)], whole.len() as u32);
            let before = taken.map(|taken| (&self.received[taken.copied.clone()], taken.wire_len));
            let received = if changes { before.filter(|_| order.received) } else { Some(now) };
            let sent = Some(now).filter(|_| changes && order.sent);
            let timestamp_nanos = *timestamp.get_or_insert_with(self.clock);
            let head = Head {
                timestamp_nanos,
                generation,
                decision: *decision,
                came_by: port,
                flow: taken.and_then(|taken| taken.flow),
                look: taken.and_then(|taken| taken.look),
                received: received.map(lengths),
                sent: sent.map(lengths),
            };
            let copies = [received, sent].map(|copy| copy.map_or(&[][..], |(bytes, _)| bytes));
            if !push(&mut self.heads, &mut self.bytes, head, copies) {
                self.miss();
            }
        }
    }

    fn miss(&mut self) {
        self.missed += 1;
        // Relaxed: the count carries nothing but itself, and has one writer.
        self.missed_shown.store(self.missed, Ordering::Relaxed);
    }

    fn find(&self, index: usize) -> Option<usize> {
        self.taken.binary_search_by_key(&index, |taken| taken.index).ok()
    }
}

/// Lengths of a copy and of the whole frame.
fn lengths((copy, wire): (&[u8], u32)) -> Lengths {
    Lengths { recorded: copy.len() as u16, wire }
}

/// Copies a frame into the rings; false if they have no room.
fn push(heads: &mut Producer<Head>, bytes: &mut Producer<u8>, head: Head, copies: [&[u8]; 2]) -> bool {
    let Ok(slot) = heads.write_chunk_uninit(1) else { return false };
    if bytes.slots() < copies[0].len() + copies[1].len() {
        return false;
    }
    // The bytes first: whoever sees the head sees them.
    copies.into_iter().all(|copy| bytes.push_entire_slice(copy).is_ok()) && slot.fill_from_iter([head]) == 1
}

impl fmt::Debug for WorkerTap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerTap").field("missed", &self.missed).finish_non_exhaustive()
    }
}
