//! `guideway run`: from a configuration to an appliance that forwards, and back to nothing.
//!
//! ```text
//! cores, table ─▶ EAL ─▶ ports, mempool ─▶ appliance ─▶ workers ─▶ listeners ─▶ supervisor's loop
//!                                                          └── stop ◀───────────────┘
//! ```
//!
//! What comes out of EAL borrows it, so the workers are scoped: none outlives the ports that it polls.

mod cores;
#[cfg(feature = "fault-injection")]
mod fault;
mod ports;
mod worker_threads;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fmt, io};

use guideway_dataplane::affinity::TrackingHasher;
use guideway_dataplane::conntrack::{ConntrackTable, TableTooLarge};
use guideway_engine::clock::Clock;
use guideway_engine::driver::dpdk::{Eal, EalOptions, Memory, StartError};
use guideway_engine::tap::TapSwitch;
use guideway_model::config::Config;
use tokio::sync::{mpsc, watch};

use crate::announce::Guard;
use crate::api::admin::server::Server;
use crate::api::metrics;
use crate::log::Log;
use crate::run::appliance::Appliance;
use crate::run::supervisor::{Inbox, Shared, Supervisor, WorkerFailure};

use cores::Cores;
use ports::LivePorts;

/// Requests that may wait for the supervisor.
const PENDING_REQUESTS: usize = 64;

/// Outcomes of probes that may wait for it.
const PENDING_REPORTS: usize = 1_024;

/// Why the appliance did not start, or did not end well.
#[derive(Debug)]
pub enum LiveError {
    /// The configuration has no port to forward by.
    NoPorts,
    /// There is no core for a worker.
    NoCores(String),
    /// There is no memory for the conntrack table.
    Table(TableTooLarge),
    /// DPDK, a device or a core is not as it should be.
    Start(StartError),
    /// A socket that the appliance is to be asked by cannot be had.
    Listen {
        /// What it is for.
        what: &'static str,
        /// Why.
        message: String,
    },
    /// The operating system refuses something that every program has.
    System(io::Error),
    /// A worker has failed.
    Worker(WorkerFailure),
}

impl fmt::Display for LiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPorts => {
                f.write_str("there is no port to forward by: add a `[[port]]` with its `device`")
            }
            Self::NoCores(why) => f.write_str(why),
            Self::Table(error) => write!(f, "{error}: lower `[conntrack] max_entries`"),
            Self::Start(error) => error.fmt(f),
            Self::Listen { what, message } => write!(f, "{what}: {message}"),
            Self::System(error) => write!(f, "cannot start the control thread: {error}"),
            Self::Worker(failure) => failure.fmt(f),
        }
    }
}

impl std::error::Error for LiveError {}

impl From<StartError> for LiveError {
    fn from(error: StartError) -> Self {
        Self::Start(error)
    }
}

/// Ends the workers however this thread leaves the scope that they run in: a scope waits for its threads.
struct StopWorkers<'s>(&'s AtomicBool);

impl Drop for StopWorkers<'_> {
    fn drop(&mut self) {
        // Relaxed: the flag carries nothing but itself; the scope joins the threads.
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs an appliance until it is told to stop; `path` is where its configuration is read again, `log` where
/// it logs to.
///
/// # Errors
/// [`LiveError`] where it cannot start, or a worker fails.
pub fn run(config: Config, path: PathBuf, verbose: bool, log: Log) -> Result<(), LiveError> {
    if config.ports.is_empty() {
        return Err(LiveError::NoPorts);
    }
    // Before there is anything that it must not hold open.
    let guard = Guard::start().map_err(LiveError::System)?;
    let cores = Cores::choose(&config.engine).map_err(LiveError::NoCores)?;
    let table =
        ConntrackTable::with_capacity(config.conntrack.max_entries as usize).map_err(LiveError::Table)?;
    if let Err(error) = table.populate() {
        tracing::warn!(
            "the conntrack table gets its memory at its first use, which packets wait for: {error}"
        );
    }
    let shared = Shared {
        table: Arc::new(table),
        hasher: TrackingHasher::new(random_keys().map_err(LiveError::System)?),
        clock: Clock::start(),
    };
    let options = EalOptions {
        memory: if config.engine.no_huge {
            Memory::NoHuge { mebibytes: config.engine.memory_mib }
        } else {
            Memory::HugePages
        },
        devices: config.ports.iter().map(|port| port.device.clone()).collect(),
        control_cores: vec![cores.control],
        verbose,
    };
    // It goes after EAL: who waits for its end waits until ports are closed.
    let mut socket = None;
    let eal = Eal::init(&options)?;
    let (ports, queues) = LivePorts::open(&eal, &config, cores.workers.len())?;
    let appliance = Appliance::new(config, &ports.nics(), cores.workers.len(), false, shared.clock.elapsed());

    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop_workers = StopWorkers(&stop);
        let (report, failures) = mpsc::unbounded_channel();
        let tap_switch = TapSwitch::new();
        let threads =
            worker_threads::WorkerThreads { scope, eal: eal.running(), stop: &stop, shared: &shared, report };
        let workers = threads.start(&cores.workers, queues, &appliance.feed(), &tap_switch)?;

        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(LiveError::System)?;
        let settings = (appliance.config().admin.clone(), appliance.config().metrics);
        let mut supervisor = Supervisor::new(appliance, ports, workers, tap_switch, shared.clone(), path);
        // Probes are tasks of this thread alone.
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let (admin, metrics) = settings;
            let listen = |what, message| LiveError::Listen { what, message };
            let admin = Server::bind(&admin.socket)
                .await
                .map_err(|error| listen("admin socket", error.to_string()))?;
            let metrics = metrics::Exporter::bind(metrics.listen)
                .await
                .map_err(|error| listen("metrics", error.to_string()))?;
            tracing::info!(workers = cores.workers.len(), "forwarding");
            // Without systemd there is nobody to tell.
            let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Ready]);

            let (requests, incoming) = mpsc::channel(PENDING_REQUESTS);
            let (found, reports) = mpsc::channel(PENDING_REPORTS);
            supervisor.watch(found);
            supervisor.guard_by(guard);
            supervisor.log_by(log);
            let (running, ended) = watch::channel(());
            let control = async {
                let result = supervisor.run(Inbox { requests: incoming, failures, reports }).await;
                if result.is_err() {
                    // The other workers must not go on while listeners end in good order.
                    stop.store(true, Ordering::Relaxed);
                }
                drop(running);
                result
            };
            let (result, served, ()) = tokio::join!(
                control,
                admin.serve(requests.clone(), end_of(ended.clone())),
                metrics.serve(requests, end_of(ended)),
            );
            socket = Some(served);
            result.map_err(LiveError::Worker)
        })
    })
}

/// Comes when the other end of `running` is gone.
async fn end_of(mut running: watch::Receiver<()>) {
    while running.changed().await.is_ok() {}
}

/// Keys of the tracking hash that no client can know.
fn random_keys() -> Result<[u64; 4], io::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    let (words, _) = bytes.as_chunks::<8>();
    Ok(std::array::from_fn(|place| u64::from_ne_bytes(words[place])))
}
