//! A worker's two ends: the seed, which moves to its thread, and what the control thread keeps.
//!
//! ```text
//!  snapshots, conntrack table, clock ─▶ WorkerSeed ─▶ PollLoop, on the worker's thread
//!                                         ║ frames, both ways; counters; copies for captures
//!                                       WorkerEnd, TapReader, with the control thread
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use guideway_dataplane::affinity::TrackingHasher;
use guideway_dataplane::conntrack::{ConntrackTable, TableTooLarge};
use guideway_dataplane::snapshot::Snapshot;
use guideway_engine::burst_processor::BurstProcessor;
use guideway_engine::clock::Clock;
use guideway_engine::counters::{CountersReader, CountersWriter, counters};
use guideway_engine::driver::QueuePair;
use guideway_engine::host_path::{HostQueue, WorkerMailbox, host_path};
use guideway_engine::poll_loop::PollLoop;
use guideway_engine::publish::Feed;
use guideway_engine::tap::{TapReader, TapSwitch, WorkerTap};
use guideway_model::config::Config;

use super::table_memory;

/// Sizes of the rings between a worker and the control thread, in frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingSizes {
    /// Frames that may wait on the way to the control thread, and as many on the way back.
    pub host: usize,
    /// Frames that may be recorded for a capture and not read yet.
    pub tap: usize,
}

impl RingSizes {
    /// Sizes for an appliance on NICs. A tap's ring takes 1.6 MB, touched as it is used.
    pub const LIVE: Self = Self { host: 1_024, tap: 1_024 };
}

/// The state that the control thread and the workers share.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The connections.
    pub table: Arc<ConntrackTable>,
    /// The hash that finds a connection in the table.
    pub hasher: TrackingHasher,
    /// The time since the start.
    pub clock: Clock,
}

impl Shared {
    /// An empty conntrack table of the configured size, keyed by `hash_keys`, and a clock that starts when the table has
    /// its memory, which threads on the workers' `cores` ask for.
    ///
    /// # Errors
    /// [`TableTooLarge`] where there is no memory for the table.
    pub fn new(config: &Config, hash_keys: [u64; 4], cores: &[usize]) -> Result<Self, TableTooLarge> {
        let table = ConntrackTable::with_capacity(config.conntrack.max_entries as usize)?;
        table_memory::populate(&table, cores);
        Ok(Self { table: Arc::new(table), hasher: TrackingHasher::new(hash_keys), clock: Clock::start() })
    }
}

/// A worker before it runs: all that its thread takes along but for the queues that it polls.
#[derive(Debug)]
pub struct WorkerSeed<F> {
    number: usize,
    /// Number of all workers.
    workers: usize,
    core: usize,
    feed: Feed<Snapshot>,
    shared: Shared,
    host_queue: HostQueue<F>,
    counters: CountersWriter,
    tap: WorkerTap,
}

/// The control thread's end of a worker.
#[derive(Debug)]
pub struct WorkerEnd<F> {
    /// The core that the worker is pinned to.
    pub core: usize,
    /// The worker's counters.
    pub counters: CountersReader,
    /// Frames that the worker has passed on, and those that it is to send.
    pub mailbox: WorkerMailbox<F>,
}

/// The worker of this number, of so many, in its two ends and the reader of its tap.
pub(super) fn worker<F>(
    (number, workers): (usize, usize),
    core: usize,
    feed: Feed<Snapshot>,
    shared: &Shared,
    taps: &TapSwitch,
    rings: RingSizes,
) -> (WorkerSeed<F>, WorkerEnd<F>, TapReader) {
    let (host_queue, mailbox) = host_path(rings.host);
    let (writer, reader) = counters();
    let (tap, tap_reader) = taps.tap(rings.tap);
    let shared = shared.clone();
    let seed = WorkerSeed { number, workers, core, feed, shared, host_queue, counters: writer, tap };
    (seed, WorkerEnd { core, counters: reader, mailbox }, tap_reader)
}

impl<F> WorkerSeed<F> {
    /// Number of the worker, from 0 on.
    pub fn number(&self) -> usize {
        self.number
    }

    /// The core that the worker is to be pinned to.
    pub fn core(&self) -> usize {
        self.core
    }

    /// The worker's poll loop over `queues`, its own of each port; to be made on the thread that runs it.
    pub fn poll_loop<Q: QueuePair<Frame = F>>(self, queues: Vec<Q>) -> PollLoop<Q> {
        let Shared { table, hasher, clock } = self.shared;
        let processor =
            BurstProcessor::new(self.feed.subscribe(), table, hasher, self.number).among(self.workers);
        PollLoop::new(processor, queues, self.host_queue, clock, self.counters).tapped(self.tap)
    }
}

/// A worker has ended though nobody told it to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerFailure {
    /// Number of the worker.
    pub worker: usize,
    /// The core that the worker was pinned to.
    pub core: usize,
    /// The cause, in words.
    pub message: String,
}

impl std::fmt::Display for WorkerFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "worker {} on core {} has failed ({}): the appliance stops, as it must not forward on some of its \
             queues alone",
            self.worker, self.core, self.message
        )
    }
}

impl std::error::Error for WorkerFailure {}

/// Stops the workers when it is dropped, however the scope of their threads is left: a scope waits for its threads.
#[derive(Debug)]
pub struct StopWorkers<'s>(pub &'s AtomicBool);

impl Drop for StopWorkers<'_> {
    fn drop(&mut self) {
        // Relaxed: the flag carries nothing but itself; the scope joins the threads.
        self.0.store(true, Ordering::Relaxed);
    }
}
