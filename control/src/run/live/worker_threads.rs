//! The workers' threads: started together, each on its core, and reported when one ends though nobody told it to.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc as std_mpsc;
use std::thread::Scope;
use std::time::Duration;

use guideway_dataplane::snapshot::Snapshot;
use guideway_engine::burst_processor::BurstProcessor;
use guideway_engine::counters::{CountersWriter, counters};
use guideway_engine::driver::dpdk::{DpdkMbuf, Lcore, Running, StartError};
use guideway_engine::driver::steering::{Distributor, WorkerQueues};
use guideway_engine::host_path::{HostQueue, host_path};
use guideway_engine::poll_loop::PollLoop;
use guideway_engine::publish::Feed;
use guideway_engine::tap::{TapSwitch, WorkerTap};
use tokio::sync::mpsc;

use super::ports::Queues;
use crate::run::supervisor::{Shared, WorkerEnd, WorkerFailure};

/// Frames that may wait on the way between a worker and the control thread, each way.
pub(super) const HOST_FRAMES: usize = 1_024;

/// Frames that a worker may have recorded for a capture and nobody has read yet: 1.6 MB, touched as they are used.
const TAP_FRAMES: usize = 1_024;

/// How long a worker's thread may take to be pinned and registered.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// What all workers' threads are started with.
pub(super) struct WorkerThreads<'s, 'scope, 'env, 'eal> {
    pub(super) scope: &'scope Scope<'scope, 'env>,
    pub(super) eal: Running<'eal>,
    pub(super) stop: &'s AtomicBool,
    pub(super) shared: &'s Shared,
    /// Where failures go.
    pub(super) report: mpsc::UnboundedSender<WorkerFailure>,
}

/// What one worker's thread takes along.
struct WorkerSeed<'eal> {
    core: usize,
    number: usize,
    queues: Vec<Queues<'eal>>,
    feed: Feed<Snapshot>,
    shared: Shared,
    link: HostQueue<DpdkMbuf<'eal>>,
    counters: CountersWriter,
    tap: WorkerTap,
}

impl<'s: 'scope, 'scope, 'eal: 'scope> WorkerThreads<'s, 'scope, '_, 'eal> {
    /// Starts a worker on each core, and returns when all poll.
    pub(super) fn start(
        &self,
        cores: &[usize],
        queues: Vec<Vec<Queues<'eal>>>,
        feed: &Feed<Snapshot>,
        tap_switch: &TapSwitch,
    ) -> Result<Vec<WorkerEnd<DpdkMbuf<'eal>>>, StartError> {
        let mut ends = Vec::with_capacity(cores.len());
        for (number, (core, queues)) in cores.iter().copied().zip(queues).enumerate() {
            let (link, host) = host_path(HOST_FRAMES);
            let (writer, reader) = counters();
            let (tap, tap_reader) = tap_switch.tap(TAP_FRAMES);
            let seed = WorkerSeed {
                core,
                number,
                queues,
                feed: feed.clone(),
                shared: self.shared.clone(),
                link,
                counters: writer,
                tap,
            };
            self.start_one(seed)?;
            ends.push(WorkerEnd { core, counters: reader, host, tap: tap_reader });
        }
        Ok(ends)
    }

    fn start_one(&self, seed: WorkerSeed<'eal>) -> Result<(), StartError> {
        let (core, worker) = (seed.core, seed.number);
        let (eal, stop, report) = (self.eal, self.stop, self.report.clone());
        let (ready, started) = std_mpsc::channel();
        let thread = move || {
            let work = AssertUnwindSafe(|| seed.work(eal, stop, &ready));
            if let Err(panic) = catch_unwind(work) {
                // Whoever listens no longer is stopping anyway.
                let _ = report.send(WorkerFailure { worker, core, message: message(&*panic) });
            }
        };
        let refused = |message: String| StartError::ThreadRefused { message };
        std::thread::Builder::new()
            .name(format!("worker-{worker}"))
            .spawn_scoped(self.scope, thread)
            .map_err(|error| refused(error.to_string()))?;
        let silent = |_| refused(format!("worker {worker} on core {core} does not start"));
        started.recv_timeout(START_PATIENCE).map_err(silent)?
    }
}

impl<'eal> WorkerSeed<'eal> {
    /// A worker's life.
    fn work(self, eal: Running<'eal>, stop: &AtomicBool, ready: &std_mpsc::Sender<Result<(), StartError>>) {
        // Whoever waits for these has given up where it does not hear them, and stops this thread.
        let lcore = match Lcore::register(eal, self.core) {
            Ok(lcore) => lcore,
            Err(error) => return drop(ready.send(Err(error))),
        };
        let attach = |queues| match queues {
            Queues::Own(pair) => WorkerQueues::Own(lcore.attach(pair)),
            Queues::Distributor(pair, followers) => {
                WorkerQueues::Distributor(Distributor::new(lcore.attach(pair), followers))
            }
            Queues::Follower(queues) => WorkerQueues::Follower(queues),
        };
        let ports = self.queues.into_iter().map(attach).collect();
        let Shared { table, hasher, clock } = self.shared;
        let worker =
            BurstProcessor::new(self.feed.subscribe(), Arc::clone(&table), hasher).numbered(self.number);
        let mut poll_loop = PollLoop::new(worker, ports, self.link, clock, self.counters).tapped(self.tap);
        let _ = ready.send(Ok(()));
        #[cfg(feature = "fault-injection")]
        super::fault::run(&mut poll_loop, self.number, stop);
        #[cfg(not(feature = "fault-injection"))]
        poll_loop.run(stop);
    }
}

/// What a panic says.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".to_owned())
}
