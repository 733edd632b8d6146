//! The workers' threads: started together, each on its core, and reported when one ends though nobody told it to.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc as std_mpsc;
use std::thread::Scope;
use std::time::Duration;

use guideway_engine::driver::dpdk::{DpdkMbuf, Lcore, Running, StartError};
use guideway_engine::driver::steering::WorkerQueues;
use tokio::sync::mpsc;

use super::ports::Queues;
use crate::run::confinement::{confine_files, confine_worker};
use crate::run::worker::{WorkerFailure, WorkerSeed};

/// The time that a worker's thread may take to be pinned and registered.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// The scope, the flag and the channel that all workers' threads are started with.
pub(super) struct WorkerThreads<'s, 'scope, 'env, 'eal> {
    pub(super) scope: &'scope Scope<'scope, 'env>,
    pub(super) eal: Running<'eal>,
    pub(super) stop: &'s AtomicBool,
    /// True if each thread may make the system calls alone that a poll-mode driver needs.
    pub(super) is_confined: bool,
    /// The way to the supervisor for workers that fail.
    pub(super) report: mpsc::UnboundedSender<WorkerFailure>,
}

impl<'s: 'scope, 'scope, 'eal: 'scope> WorkerThreads<'s, 'scope, '_, 'eal> {
    /// Starts each worker on its core, with its queues of each port, and returns when all poll.
    pub(super) fn start(
        &self,
        seeds: Vec<WorkerSeed<DpdkMbuf<'eal>>>,
        queues: Vec<Vec<Queues<'eal>>>,
    ) -> Result<(), StartError> {
        seeds.into_iter().zip(queues).try_for_each(|(seed, queues)| self.start_one(seed, queues))
    }

    fn start_one(
        &self,
        seed: WorkerSeed<DpdkMbuf<'eal>>,
        queues: Vec<Queues<'eal>>,
    ) -> Result<(), StartError> {
        let (core, worker) = (seed.core(), seed.number());
        let (eal, stop, is_confined, report) = (self.eal, self.stop, self.is_confined, self.report.clone());
        let (ready, started) = std_mpsc::channel();
        let thread = move || {
            let work = AssertUnwindSafe(|| work(seed, queues, eal, stop, is_confined, &ready));
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

/// Pins this thread to the worker's core, and polls until `stop` is set.
fn work<'eal>(
    seed: WorkerSeed<DpdkMbuf<'eal>>,
    queues: Vec<Queues<'eal>>,
    eal: Running<'eal>,
    stop: &AtomicBool,
    is_confined: bool,
    ready: &std_mpsc::Sender<Result<(), StartError>>,
) {
    // Whoever waits for these has given up where it does not hear them, and stops this thread.
    let lcore = match Lcore::register(eal, seed.core()) {
        Ok(lcore) => lcore,
        Err(error) => return drop(ready.send(Err(error))),
    };
    let attach = |Queues { own, rings }| WorkerQueues::new(own.map(|pair| lcore.attach(pair)), rings);
    let number = seed.number();
    let mut poll_loop = seed.poll_loop(queues.into_iter().map(attach).collect());
    // Once the thread has all that it needs.
    if is_confined {
        // The kernel's rules for files first: the filter refuses the calls that make them.
        if let Err(error) = confine_files(&[]) {
            tracing::warn!("worker {number} is kept from files by its filter of system calls alone: {error}");
        }
        if let Err(error) = confine_worker() {
            tracing::warn!("worker {number} may make any system call: {error}");
        }
    }
    let _ = ready.send(Ok(()));
    #[cfg(feature = "fault-injection")]
    super::fault::run(&mut poll_loop, number, stop);
    poll_loop.run_on_dpdk(stop);
}

/// The words of a panic.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".to_owned())
}
