//! Packets, bytes and new connections by rule and by backend, counted beside the snapshot that numbers them.
//!
//! Numbers of rules and backends mean something only together with the snapshot that they come from, so the counters are
//! a part of it. Snapshots with one numbering share them; a reload brings new ones, and whoever reads them adds up the
//! old and the new by name. Each worker has counters of its own, so each counter has one writer, and no cache line has
//! two.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use zerocopy::{FromZeros, KnownLayout};

use crate::access_list::AccessListId;
use crate::backend::BackendHandle;
use crate::conntrack::{Census, WorkerCensus};
use crate::forwarding_rule::RuleId;
use crate::worker_cells::WorkerCells;

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

/// Traffic of a rule or to a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets and bytes.
    pub volume: Volume,
    /// Conntrack entries made for a packet, or replaced under their own key: connections that have begun, or sessions.
    pub new_connections: u64,
}

impl Traffic {
    /// Adds other traffic.
    pub fn add(&mut self, other: Self) {
        self.volume.add(other.volume);
        self.new_connections += other.new_connections;
    }
}

/// Packets that an access list has judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Packets that it has admitted.
    pub admitted: u64,
    /// Packets that it has denied.
    pub denied: u64,
}

impl Access {
    /// Adds others.
    pub fn add(&mut self, other: Self) {
        self.admitted += other.admitted;
        self.denied += other.denied;
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
    rules: WorkerCells<TrafficCounter>,
    backends: WorkerCells<TrafficCounter>,
    /// New connections: apart, as few packets begin one.
    begun_by_rule: WorkerCells<AtomicU64>,
    begun_by_backend: WorkerCells<AtomicU64>,
    /// Packets that each access list has admitted, and those that it has denied.
    access: WorkerCells<AtomicU64>,
    /// Entries of the conntrack table, which outlive the numbering.
    census: Arc<WorkerCensus>,
}

impl TrafficCounters {
    /// Counters at zero for the workers of a census, for so many rules, backend handles and access lists.
    pub fn new(census: &Census, rules: usize, backends: usize, access_lists: usize) -> Self {
        let worker = |census: &Arc<WorkerCensus>| WorkerTrafficCounters {
            rules: WorkerCells::new(rules),
            backends: WorkerCells::new(backends),
            begun_by_rule: WorkerCells::new(rules),
            begun_by_backend: WorkerCells::new(backends),
            access: WorkerCells::new(2 * access_lists),
            census: Arc::clone(census),
        };
        Self { workers: census.workers().map(worker).collect() }
    }

    /// Counters of a worker; `None` if nobody reads what it counts.
    #[inline]
    pub fn worker(&self, worker: usize) -> Option<&WorkerTrafficCounters> {
        self.workers.get(worker)
    }

    /// Traffic of a rule, over all workers.
    pub fn rule(&self, rule: RuleId) -> Traffic {
        let index = usize::from(rule.0);
        self.sum(|worker| Some((worker.rules.used().get(index)?, worker.begun_by_rule.used().get(index)?)))
    }

    /// Traffic to a backend, over all workers.
    pub fn backend(&self, backend: BackendHandle) -> Traffic {
        let index = backend.0 as usize;
        self.sum(|worker| {
            Some((worker.backends.used().get(index)?, worker.begun_by_backend.used().get(index)?))
        })
    }

    /// Packets that an access list has admitted and denied, over all workers.
    pub fn access_list(&self, list: AccessListId) -> Access {
        let mut sum = Access::default();
        for worker in &self.workers {
            let counter =
                |index: usize| worker.access.used().get(index).map_or(0, |c| c.load(Ordering::Relaxed));
            let index = 2 * usize::from(list.0);
            sum.add(Access { admitted: counter(index), denied: counter(index + 1) });
        }
        sum
    }

    fn sum<'a>(
        &'a self,
        counters: impl Fn(&'a WorkerTrafficCounters) -> Option<(&'a TrafficCounter, &'a AtomicU64)>,
    ) -> Traffic {
        let mut sum = Traffic::default();
        self.workers.iter().filter_map(counters).for_each(|(volume, begun)| {
            sum.add(Traffic { volume: volume.read(), new_connections: begun.load(Ordering::Relaxed) });
        });
        sum
    }
}

impl WorkerTrafficCounters {
    /// Counts a connection of `rule` that has begun, and goes to `backend`.
    #[inline(always)]
    pub fn begin(&self, rule: RuleId, backend: BackendHandle) {
        // Relaxed: as in `count`.
        let count =
            |counter: &AtomicU64| counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        if let Some(counter) = self.begun_by_rule.at(rule.0.into()) {
            count(counter);
        }
        if let Some(counter) = self.begun_by_backend.at(backend.0) {
            count(counter);
        }
    }

    /// Counts a packet that an access list has admitted or denied.
    #[inline]
    pub fn judge(&self, list: AccessListId, is_admitted: bool) {
        if let Some(counter) = self.access.at(2 * u32::from(list.0) + u32::from(!is_admitted)) {
            // Relaxed: as in `count`.
            counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }

    /// The worker's part of the census, which counts entries of the conntrack table.
    #[inline(always)]
    pub fn census(&self) -> &WorkerCensus {
        &self.census
    }

    /// Addresses that the worker writes to.
    pub fn addresses(&self) -> [Range<usize>; 5] {
        [
            self.rules.addresses(),
            self.backends.addresses(),
            self.begun_by_rule.addresses(),
            self.begun_by_backend.addresses(),
            self.access.addresses(),
        ]
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
    use crate::worker_cells::LINES;

    #[test]
    fn workers_count_apart_and_are_read_together() {
        let traffic_counters = TrafficCounters::new(&Census::new(2, 0), 3, 1, 2);
        for (worker, bytes) in [(0, 60), (1, 100), (1, 40)] {
            let tally = Tally::new(traffic_counters.worker(worker));
            tally.receive(RuleId(2), bytes);
            tally.send(BackendHandle(0), bytes as usize);
            traffic_counters.worker(worker).expect("there are two").begin(RuleId(2), BackendHandle(0));
        }
        let all = Traffic { volume: Volume { packets: 3, bytes: 200 }, new_connections: 3 };
        assert_eq!(traffic_counters.rule(RuleId(2)), all);
        assert_eq!(traffic_counters.backend(BackendHandle(0)), all);
        assert_eq!(traffic_counters.rule(RuleId(0)), Traffic::default());
        for (worker, is_admitted) in [(0, true), (1, true), (1, false), (1, true)] {
            traffic_counters.worker(worker).expect("there are two").judge(AccessListId(1), is_admitted);
        }
        assert_eq!(traffic_counters.access_list(AccessListId(1)), Access { admitted: 3, denied: 1 });
        assert_eq!(traffic_counters.access_list(AccessListId(0)), Access::default());
    }

    #[test]
    fn what_has_no_place_is_nobodys() {
        let traffic_counters = TrafficCounters::new(&Census::new(1, 0), 1, 1, 0);
        Tally::new(traffic_counters.worker(0)).send(BackendHandle(1), 60);
        assert!(traffic_counters.worker(1).is_none());
        traffic_counters.worker(0).expect("there is one").begin(RuleId(1), BackendHandle(1));
        assert_eq!(traffic_counters.backend(BackendHandle(1)), Traffic::default());
    }

    #[test]
    fn no_line_is_written_by_two_workers() {
        for (rules, backends) in [(0, 0), (1, 1), (3, 5), (8, 8), (100, 1_000)] {
            let traffic_counters = TrafficCounters::new(&Census::new(8, 0), rules, backends, rules);
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
