//! Packets and bytes by rule and by backend, counted beside the snapshot that numbers them.
//!
//! Numbers of rules and backends mean something only together with the snapshot that they come from, so the counters are
//! a part of it. Snapshots with one numbering share them; a reload brings new ones, and whoever reads them adds up the
//! old and the new by name. Each worker has counters of its own, so each counter has one writer, and no cache line has
//! two.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use zerocopy::{FromZeros, KnownLayout};

use crate::backend::BackendHandle;
use crate::forwarding_rule::RuleId;

/// Packets, and the bytes of their frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Number of packets.
    pub packets: u64,
    /// Bytes of their frames, from the destination MAC address on: of a rule's packets as they came in, of a backend's
    /// as they are sent, with the outer headers of a tunnel.
    pub bytes: u64,
}

impl Volume {
    /// Adds another volume.
    pub fn add(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
    }
}

/// Volume that one worker counts and others read.
#[derive(Debug, FromZeros, KnownLayout)]
#[repr(C)]
struct TrafficCounter {
    packets: AtomicU64,
    bytes: AtomicU64,
}

impl TrafficCounter {
    /// Counts a packet in a frame of so many bytes; only ever called by one worker.
    #[inline]
    fn count(&self, bytes: u64) {
        // Relaxed: each number stands for itself, and only this worker writes it, so it needs no exchange.
        self.packets.store(self.packets.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.bytes.store(self.bytes.load(Ordering::Relaxed) + bytes, Ordering::Relaxed);
    }

    fn read(&self) -> Volume {
        Volume { packets: self.packets.load(Ordering::Relaxed), bytes: self.bytes.load(Ordering::Relaxed) }
    }
}

/// Traffic of all workers, under one numbering of rules and backends.
#[derive(Debug, Default)]
pub struct TrafficCounters {
    workers: Box<[WorkerTrafficCounters]>,
}

/// Traffic of one worker; written by it alone.
#[derive(Debug)]
pub struct WorkerTrafficCounters {
    rules: Cells,
    backends: Cells,
}

/// Counters of one worker that no cache line has in common with anything else.
///
/// The allocator puts workers' memory side by side, and a line that two of them write to would travel between their cores
/// with every burst. So there is room before the first counter and behind the last one that nobody uses.
#[derive(Debug)]
struct Cells(Box<[TrafficCounter]>);

/// Bytes that a processor fetches together: two lines of 64.
const LINES: usize = 128;

/// Counters before the first and behind the last that nobody uses.
const UNUSED: usize = LINES / size_of::<TrafficCounter>();

impl Cells {
    /// So many counters at zero, which take no memory before they are counted: the system gives zeros at the first use,
    /// from the memory that is nearest to the worker.
    fn new(count: usize) -> Self {
        let cells = <[TrafficCounter]>::new_box_zeroed_with_elems(count + 2 * UNUSED);
        Self(cells.expect("memory for 16 bytes a rule or backend"))
    }

    #[inline]
    fn used(&self) -> &[TrafficCounter] {
        &self.0[UNUSED..self.0.len() - UNUSED]
    }
}

impl TrafficCounters {
    /// Counters at zero, for so many workers, rules and backend handles.
    pub fn new(workers: usize, rules: usize, backends: usize) -> Self {
        let worker = |_| WorkerTrafficCounters { rules: Cells::new(rules), backends: Cells::new(backends) };
        Self { workers: (0..workers).map(worker).collect() }
    }

    /// Counters of a worker; `None` if nobody reads what it counts.
    #[inline]
    pub fn worker(&self, worker: usize) -> Option<&WorkerTrafficCounters> {
        self.workers.get(worker)
    }

    /// Traffic of a rule, over all workers.
    pub fn rule(&self, rule: RuleId) -> Volume {
        self.sum(|worker| worker.rules.used().get(usize::from(rule.0)))
    }

    /// Traffic to a backend, over all workers.
    pub fn backend(&self, backend: BackendHandle) -> Volume {
        self.sum(|worker| worker.backends.used().get(backend.0 as usize))
    }

    fn sum<'a>(
        &'a self,
        counter: impl Fn(&'a WorkerTrafficCounters) -> Option<&'a TrafficCounter>,
    ) -> Volume {
        let mut sum = Volume::default();
        self.workers.iter().filter_map(counter).for_each(|counter| sum.add(counter.read()));
        sum
    }
}

impl WorkerTrafficCounters {
    /// Addresses that the worker writes to.
    pub fn addresses(&self) -> [Range<usize>; 2] {
        [&self.rules, &self.backends].map(|cells| {
            let used = cells.used().as_ptr_range();
            used.start.addr()..used.end.addr()
        })
    }
}

/// Access of one worker to its counters: each packet is counted for its rule by the frame that came in, and each forwarded one
/// for its backend by the frame that is sent.
//
// Each packet is added at once: to add up neighbours of one rule takes a branch that nobody can foresee where they are of
// several.
#[derive(Clone, Copy, Debug)]
pub struct Tally<'a> {
    /// Counters of rules; empty if nobody reads what is counted.
    rules: &'a [TrafficCounter],
    backends: &'a [TrafficCounter],
}

impl<'a> Tally<'a> {
    /// Access to these counters.
    pub fn new(counters: Option<&'a WorkerTrafficCounters>) -> Self {
        let (rules, backends) =
            counters.map_or((&[][..], &[][..]), |counters| (counters.rules.used(), counters.backends.used()));
        Self { rules, backends }
    }

    /// Counts a packet of `rule` that came in a frame of so many bytes.
    #[inline(always)]
    pub fn receive(&self, rule: RuleId, bytes: u32) {
        if let Some(counter) = self.rules.get(usize::from(rule.0)) {
            counter.count(bytes.into());
        }
    }

    /// Counts a packet that is sent to `backend` in a frame of so many bytes.
    #[inline(always)]
    pub fn send(&self, backend: BackendHandle, bytes: usize) {
        if let Some(counter) = self.backends.get(backend.0 as usize) {
            counter.count(bytes as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_count_apart_and_are_read_together() {
        let traffic_counters = TrafficCounters::new(2, 3, 1);
        for (worker, bytes) in [(0, 60), (1, 100), (1, 40)] {
            let tally = Tally::new(traffic_counters.worker(worker));
            tally.receive(RuleId(2), bytes);
            tally.send(BackendHandle(0), bytes as usize);
        }
        assert_eq!(traffic_counters.rule(RuleId(2)), Volume { packets: 3, bytes: 200 });
        assert_eq!(traffic_counters.backend(BackendHandle(0)), Volume { packets: 3, bytes: 200 });
        assert_eq!(traffic_counters.rule(RuleId(0)), Volume::default());
    }

    #[test]
    fn what_has_no_place_is_nobodys() {
        let traffic_counters = TrafficCounters::new(1, 1, 1);
        Tally::new(traffic_counters.worker(0)).send(BackendHandle(1), 60);
        assert!(traffic_counters.worker(1).is_none());
        assert_eq!(traffic_counters.backend(BackendHandle(1)), Volume::default());
    }

    #[test]
    fn no_line_is_written_by_two_workers() {
        for (rules, backends) in [(0, 0), (1, 1), (3, 5), (8, 8), (100, 1_000)] {
            let traffic_counters = TrafficCounters::new(8, rules, backends);
            let mut lines = std::collections::HashMap::new();
            for (number, worker) in traffic_counters.workers.iter().enumerate() {
                for range in worker.addresses() {
                    for line in range.start / LINES..range.end.div_ceil(LINES) {
                        let owner = *lines.entry(line).or_insert(number);
                        assert_eq!(owner, number, "{rules} rules, {backends} backends: workers share a line");
                    }
                }
            }
        }
    }
}
