//! Counters of a worker, read by the control thread while the worker goes on.
//!
//! The worker writes its counters to shared words now and then; one writer, and it never waits. A reader must not see
//! half of an update, or the packets that came in and those that went out would differ. So a sequence number stands
//! beside the words, odd while they are being written, and a reader that saw it odd or changed reads again (a
//! seqlock).

use std::fmt;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[cfg(loom)]
use loom::{
    sync::Arc,
    sync::atomic::{AtomicU64, fence},
    thread::yield_now,
};
#[cfg(not(loom))]
use std::{
    sync::Arc,
    sync::atomic::{AtomicU64, fence},
    thread::yield_now,
};

use crossbeam_utils::CachePadded;
use guideway_dataplane::counters::{ConntrackCounters, Counters};
use guideway_dataplane::verdict::{DropReason, PassReason};

/// Counters of one worker between its ports and its pipeline: frames that it sent or lost, and its polls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoCounters {
    /// Frames that a port took to send: forwarded ones, ICMP errors, and the control thread's.
    pub sent: u64,
    /// Frames dropped because a port's transmit queue stayed full.
    pub tx_full: u64,
    /// Frames dropped because the port that they were to leave by is none of this worker's.
    pub unknown_egress_port: u64,
    /// Fragments that packets too long for their tunnel were cut into; each is a frame that is sent or dropped.
    pub fragments: u64,
    /// Packets dropped because there was no memory for their fragments.
    pub no_fragment_memory: u64,
    /// Passed frames dropped because too many waited for the control thread.
    pub host_full: u64,
    /// Frames that came in and that the driver could not hand on, because they were too long for one mbuf, or because
    /// the worker that they belong to had no room.
    pub refused: u64,
    /// Frames that came in several mbufs, and whose bytes were copied into the first.
    pub joined: u64,
    /// Polls that found a frame.
    pub busy_polls: u64,
}

impl IoCounters {
    /// Adds the counters of another worker.
    pub fn add(&mut self, other: &Self) {
        let Self {
            sent,
            tx_full,
            unknown_egress_port,
            fragments,
            no_fragment_memory,
            host_full,
            refused,
            joined,
            busy_polls,
        } = other;
        self.sent += sent;
        self.tx_full += tx_full;
        self.unknown_egress_port += unknown_egress_port;
        self.fragments += fragments;
        self.no_fragment_memory += no_fragment_memory;
        self.host_full += host_full;
        self.refused += refused;
        self.joined += joined;
        self.busy_polls += busy_polls;
    }
}

/// Counters of one worker; written by it alone, read by the control thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerCounters {
    /// Packets by their verdict, and what conntrack did for them.
    pub pipeline: Counters,
    /// Frames that went between the ports and the pipeline.
    pub io: IoCounters,
}

/// The newest snapshot that a worker has polled with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adoption {
    /// Generation of the snapshot; 0 before the first poll.
    pub generation: u64,
    /// Time of the worker's first poll with the snapshot, by the engine's clock.
    pub at: Duration,
}

const PASS: usize = PassReason::ALL.len();
const DROP: usize = DropReason::ALL.len();
const WORDS: usize = 2 + PASS + DROP + 12 + 7 + 9;

impl WorkerCounters {
    fn to_words(&self) -> [u64; WORDS] {
        // Without `..`: a counter that is added does not compile before it is published.
        let Counters {
            offered,
            forwarded,
            passed,
            dropped,
            conntrack,
            exceeding_mtu,
            fragmented,
            icmp_errors_sent,
            icmp_errors_suppressed,
            icmp_errors_steered,
            fragments_followed,
            fragments_first_unseen,
        } = &self.pipeline;
        let ConntrackCounters {
            hits,
            inserts,
            occupied,
            swept,
            evicted_void,
            evicted_half_open,
            evicted_closed,
            evicted_unconfirmed,
            full,
            limited,
            protected,
            untracked,
        } = conntrack;
        let IoCounters {
            sent,
            tx_full,
            unknown_egress_port,
            fragments,
            no_fragment_memory,
            host_full,
            refused,
            joined,
            busy_polls,
        } = &self.io;
        let single = [
            offered,
            forwarded,
            hits,
            inserts,
            occupied,
            swept,
            evicted_void,
            evicted_half_open,
            evicted_closed,
            evicted_unconfirmed,
            full,
            limited,
            protected,
            untracked,
            exceeding_mtu,
            fragmented,
            icmp_errors_sent,
            icmp_errors_suppressed,
            icmp_errors_steered,
            fragments_followed,
            fragments_first_unseen,
            sent,
            tx_full,
            unknown_egress_port,
            fragments,
            no_fragment_memory,
            host_full,
            refused,
            joined,
            busy_polls,
        ];
        let mut words = [0; WORDS];
        let counts = single.into_iter().chain(passed).chain(dropped);
        for (word, count) in words.iter_mut().zip(counts) {
            *word = *count;
        }
        words
    }

    fn from_words(words: [u64; WORDS]) -> Self {
        let mut words = words.into_iter();
        let mut next = || words.next().expect("to_words writes as many");
        // Fields are evaluated in the order in which they are written here, which is that of `to_words`.
        let mut pipeline = Counters { offered: next(), forwarded: next(), ..Counters::default() };
        pipeline.conntrack = ConntrackCounters {
            hits: next(),
            inserts: next(),
            occupied: next(),
            swept: next(),
            evicted_void: next(),
            evicted_half_open: next(),
            evicted_closed: next(),
            evicted_unconfirmed: next(),
            full: next(),
            limited: next(),
            protected: next(),
            untracked: next(),
        };
        pipeline.exceeding_mtu = next();
        pipeline.fragmented = next();
        pipeline.icmp_errors_sent = next();
        pipeline.icmp_errors_suppressed = next();
        pipeline.icmp_errors_steered = next();
        pipeline.fragments_followed = next();
        pipeline.fragments_first_unseen = next();
        let io = IoCounters {
            sent: next(),
            tx_full: next(),
            unknown_egress_port: next(),
            fragments: next(),
            no_fragment_memory: next(),
            host_full: next(),
            refused: next(),
            joined: next(),
            busy_polls: next(),
        };
        pipeline.passed = std::array::from_fn(|_| next());
        pipeline.dropped = std::array::from_fn(|_| next());
        Self { pipeline, io }
    }
}

/// Words of a seqlock with one writer.
struct Words<const N: usize> {
    sequence: AtomicU64,
    words: [AtomicU64; N],
}

impl<const N: usize> Words<N> {
    fn new() -> Self {
        Self { sequence: AtomicU64::new(0), words: std::array::from_fn(|_| AtomicU64::new(0)) }
    }

    /// Replaces the words; only ever called by one thread.
    fn write(&self, values: [u64; N]) {
        // Relaxed: only this thread writes it.
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence + 1, Ordering::Relaxed);
        // Release: pairs with the Acquire fence in `read`; who reads one of the new words sees the odd number too.
        fence(Ordering::Release);
        for (word, value) in self.words.iter().zip(values) {
            word.store(value, Ordering::Relaxed);
        }
        // Release: pairs with the Acquire load in `read`; who sees the even number sees all the words.
        self.sequence.store(sequence + 2, Ordering::Release);
    }

    /// Reads the words of one update, again if the writer was at work meanwhile.
    fn read(&self) -> [u64; N] {
        loop {
            // Acquire: pairs with the Release store in `write`.
            let before = self.sequence.load(Ordering::Acquire);
            let values = std::array::from_fn(|index| self.words[index].load(Ordering::Relaxed));
            // Acquire: pairs with the Release fence in `write`.
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.sequence.load(Ordering::Relaxed) == before {
                return values;
            }
            yield_now();
        }
    }
}

/// Words that the two ends share.
struct Shared {
    heartbeat: CachePadded<AtomicU64>,
    counters: CachePadded<Words<WORDS>>,
    adoption: CachePadded<Words<2>>,
}

/// Worker's end of its counters, and their only writer.
pub struct CountersWriter(Arc<Shared>);

/// Control thread's end of a worker's counters.
#[derive(Clone)]
pub struct CountersReader(Arc<Shared>);

/// Makes the counters of a worker that is about to start, all zero.
pub fn counters() -> (CountersWriter, CountersReader) {
    let shared = Arc::new(Shared {
        heartbeat: CachePadded::new(AtomicU64::new(0)),
        counters: CachePadded::new(Words::new()),
        adoption: CachePadded::new(Words::new()),
    });
    (CountersWriter(Arc::clone(&shared)), CountersReader(shared))
}

impl CountersWriter {
    /// Shows readers how many polls the worker has made.
    #[inline]
    pub fn beat(&mut self, polls: u64) {
        // Relaxed: a reader asks only whether the number moves.
        self.0.heartbeat.store(polls, Ordering::Relaxed);
    }

    /// Shows readers that the worker polls with another snapshot from now on.
    pub fn adopt(&mut self, adoption: Adoption) {
        let Adoption { generation, at } = adoption;
        // 64 bits of nanoseconds are 584 years.
        self.0.adoption.write([generation, at.as_nanos() as u64]);
    }

    /// Addresses that the worker writes to.
    pub fn addresses(&self) -> Range<usize> {
        let start = std::ptr::from_ref::<Shared>(&self.0).addr();
        start..start + size_of::<Shared>()
    }

    /// Shows readers these counters.
    pub fn publish(&mut self, counters: &WorkerCounters) {
        self.0.counters.write(counters.to_words());
    }
}

impl CountersReader {
    /// Number of polls that the worker has made. If it stands still, the worker is stuck or gone.
    pub fn heartbeat(&self) -> u64 {
        // Relaxed: the number alone is of interest.
        self.0.heartbeat.load(Ordering::Relaxed)
    }

    /// Newest snapshot that the worker has polled with, and the time of the first such poll.
    pub fn adoption(&self) -> Adoption {
        let [generation, nanos] = self.0.adoption.read();
        Adoption { generation, at: Duration::from_nanos(nanos) }
    }

    /// Counters that the worker showed last: all of one moment, and a few polls old at most.
    pub fn read(&self) -> WorkerCounters {
        WorkerCounters::from_words(self.0.counters.read())
    }
}

impl fmt::Debug for CountersWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CountersWriter").finish_non_exhaustive()
    }
}

impl fmt::Debug for CountersReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CountersReader").field("heartbeat", &self.heartbeat()).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_counter_comes_through_as_itself() {
        let words: [u64; WORDS] = std::array::from_fn(|index| index as u64 + 1);
        let counters = WorkerCounters::from_words(words);
        assert_eq!(counters.to_words(), words);
        assert_eq!((counters.pipeline.offered, counters.pipeline.forwarded), (1, 2));
        assert_eq!(counters.pipeline.dropped[DROP - 1], WORDS as u64);
    }

    #[test]
    fn a_reader_sees_what_was_published_last() {
        let (mut writer, reader) = counters();
        assert_eq!(reader.read(), WorkerCounters::default());
        let mut counted = WorkerCounters::default();
        counted.pipeline.offered = 3;
        counted.io.tx_full = 1;
        writer.publish(&counted);
        writer.beat(7);
        assert_eq!(reader.read(), counted);
        assert_eq!(reader.heartbeat(), 7);
    }

    #[test]
    fn a_reader_sees_the_newest_adoption_with_its_own_time() {
        let (mut writer, reader) = counters();
        assert_eq!(reader.adoption(), Adoption::default());
        for generation in [4, 9] {
            let adoption = Adoption { generation, at: Duration::new(generation, 123_456_789) };
            writer.adopt(adoption);
            assert_eq!(reader.adoption(), adoption);
        }
        assert_eq!(reader.read(), WorkerCounters::default(), "the counters have words of their own");
    }
}

/// `RUSTFLAGS="--cfg loom" cargo test -p guideway-engine --lib counters --release`.
#[cfg(all(test, loom))]
mod interleavings {
    use loom::thread;

    use super::*;

    #[test]
    fn a_reader_never_sees_half_of_an_update() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let words = Arc::new(Words::<2>::new());
            let writer = {
                let words = Arc::clone(&words);
                thread::spawn(move || {
                    words.write([1, 1]);
                    words.write([2, 2]);
                })
            };
            let [first, second] = words.read();
            assert_eq!(first, second);
            writer.join().unwrap();
            assert_eq!(words.read(), [2, 2]);
        });
    }
}
