//! An appliance put together: the same for NICs, for benchmarks and for tests, which bring queues, ports and threads.
//!
//! ```text
//!  Setup ─▶ assemble ─┬─▶ a WorkerSeed for each worker ── the caller's threads ──▶ poll loops
//!                     └─▶ Assembly ── run, on the control thread ──▶ the supervisor's loop
//!                             └─▶ Senders ── the caller's listeners, probes, threads ──▶ ┘
//! ```

use std::io;
use std::path::PathBuf;

use guideway_engine::tap::TapSwitch;
use guideway_model::config::Config;
use guideway_model::forwarding_state;
use tokio::sync::mpsc;

use super::appliance::{Appliance, Nic};
use super::kept_state::KeptState;
use super::ports::Ports;
use super::process::Process;
use super::supervisor::{Inbox, PENDING_REPORTS, Parts, Supervisor, Taps};
use super::worker::{RingSizes, Shared, WorkerEnd, WorkerFailure, WorkerSeed, worker};
use crate::api::request::Request;
use crate::health::scheduler::ProbeReport;

/// Requests that may wait for the supervisor.
const PENDING_REQUESTS: usize = 64;

/// The source of the backends' health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probing {
    /// Nobody probes: every backend counts as healthy.
    Off,
    /// The appliance probes.
    On,
    /// [`Senders::reports`] brings the outcomes. The appliance's own checks begin too, but their reports find no receiver:
    /// each check ends with its first one.
    Told,
}

/// The things that make up an appliance.
#[derive(Debug)]
pub struct Setup<'s> {
    /// The configuration to start with.
    pub config: Config,
    /// Devices of the ports, in the order of the configuration.
    pub nics: &'s [Nic],
    /// Cores of the workers, by their numbers.
    pub cores: &'s [usize],
    /// The state that the control thread and the workers share.
    pub shared: Shared,
    /// The source of the backends' health.
    pub probing: Probing,
    /// Sizes of the rings between the workers and the control thread.
    pub rings: RingSizes,
}

/// Ways to reach the supervisor, before it runs and while it does.
#[derive(Clone, Debug)]
pub struct Senders {
    /// Requests of operators and of Prometheus.
    pub requests: mpsc::Sender<Request>,
    /// Workers that have failed.
    pub failures: mpsc::UnboundedSender<WorkerFailure>,
    /// Outcomes of probes.
    pub reports: mpsc::Sender<ProbeReport>,
}

/// The control thread's side of an appliance that does not run yet.
#[derive(Debug)]
pub struct Assembly<F> {
    /// The state, whose first snapshot is published.
    pub appliance: Appliance,
    /// The workers, by their numbers.
    pub workers: Vec<WorkerEnd<F>>,
    taps: Taps,
    shared: Shared,
    probing: Probing,
    kept: KeptState,
    senders: Senders,
    inbox: Inbox,
}

/// Puts an appliance together: the control thread's side, and a seed for each worker's thread.
pub fn assemble<F>(setup: Setup<'_>) -> (Assembly<F>, Vec<WorkerSeed<F>>) {
    let Setup { config, nics, cores, shared, probing, rings } = setup;
    let presumed_healthy = probing == Probing::Off;
    let state = forwarding_state::Setup { workers: cores.len(), presumed_healthy, starts_once: true };
    let appliance = Appliance::new(config, nics, state, shared.clock.elapsed());
    let mut taps = Taps { switch: TapSwitch::new(), readers: Vec::new() };
    let (mut workers, mut seeds) = (Vec::new(), Vec::new());
    for (number, core) in cores.iter().enumerate() {
        let (seed, end, tap) =
            worker((number, cores.len()), *core, appliance.feed(), &shared, &taps.switch, rings);
        seeds.push(seed);
        workers.push(end);
        taps.readers.push(tap);
    }
    let (requests, incoming) = mpsc::channel(PENDING_REQUESTS);
    let (report_failure, failures) = mpsc::unbounded_channel();
    let (report, reports) = mpsc::channel(PENDING_REPORTS);
    let senders = Senders { requests, failures: report_failure, reports: report };
    let inbox = Inbox { requests: incoming, failures, reports };
    let kept = KeptState::default();
    (Assembly { appliance, workers, taps, shared, probing, kept, senders, inbox }, seeds)
}

impl<F> Assembly<F> {
    /// Ways to reach the supervisor.
    pub fn senders(&self) -> &Senders {
        &self.senders
    }

    /// Keeps what operators set by hand in this file, and sets again what it holds: before the workers begin, so that no
    /// packet goes where an operator has said that it should not.
    pub fn keep_operator_state(&mut self, path: PathBuf) {
        let now = self.shared.clock.elapsed();
        self.kept = KeptState::restore(path, &mut self.appliance, now);
    }

    /// Runs the supervisor until a signal, a request or a worker's failure ends it; then withdraws all announcements.
    ///
    /// # Errors
    /// [`WorkerFailure`] of the first worker that failed.
    ///
    /// # Panics
    /// Outside of [`control_thread`]'s runtime.
    pub async fn run<P: Ports<Frame = F>>(self, ports: P, process: Process) -> Result<(), WorkerFailure> {
        let probe_reports = match self.probing {
            Probing::Off => None,
            Probing::On => Some(self.senders.reports),
            Probing::Told => Some(mpsc::channel(1).0),
        };
        let parts = Parts {
            appliance: self.appliance,
            ports,
            workers: self.workers,
            taps: self.taps,
            shared: self.shared,
            probe_reports,
            kept: self.kept,
            process,
        };
        Supervisor::new(parts).run(self.inbox).await
    }
}

/// Runs `control` to its end on this thread, where it may start tasks that stay on the thread, as probes are. Work that it has given to
/// threads apart, as the start of a guard, is not waited for: whatever hangs there holds up no stop.
///
/// # Errors
/// Where the operating system has no event queue or no timer.
pub fn control_thread<T>(control: impl Future<Output = T>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = tokio::task::LocalSet::new().block_on(&runtime, control);
    runtime.shutdown_background();
    Ok(ended)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn what_hangs_on_a_thread_apart_holds_up_no_stop() {
        let (go, wait) = channel::<()>();
        let (tell, ended) = channel();
        std::thread::spawn(move || {
            let control = async {
                drop(tokio::task::spawn_blocking(move || wait.recv()));
                // The thread has to run before the runtime ends.
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            };
            let _ = tell.send(control_thread(control).is_ok());
        });
        assert_eq!(ended.recv_timeout(std::time::Duration::from_secs(60)), Ok(true));
        drop(go);
    }
}
