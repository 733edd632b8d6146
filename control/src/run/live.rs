//! `guideway run`: from a configuration to an appliance that forwards on DPDK, and back to nothing.
//!
//! ```text
//! cores ─▶ claims ─▶ EAL ─▶ ports, mempool ─▶ table ─▶ assembly ─▶ listeners ─▶ workers ─▶ supervisor's loop
//!                                                                                └── stop ◀──┘
//! ```
//!
//! Ports and frames borrow EAL, so the workers are scoped: none outlives the ports that it polls.

mod claims;
#[cfg(feature = "fault-injection")]
mod fault;
mod listeners;
mod ports;
mod resets;
mod worker_threads;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fmt, io};

use guideway_dataplane::conntrack::TableTooLarge;
use guideway_engine::driver::dpdk::{Eal, EalOptions, Memory, StartError};
use guideway_model::config::{Config, Sources};
use guideway_model::warnings::exposures;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use tokio::sync::watch;

use super::aside::Aside;
use super::assemble::{Probing, Setup, assemble, control_thread};
use super::last_resort::LastResort;
use super::machine::capabilities::{Capabilities, MissingCapability};
use super::machine::cores::{Cores, NoCores};
use super::machine::huge_pages::{self, NodeWithoutPages};
use super::machine::memory::{Memory as MachineMemory, TableMemory, TooLittleMemory};
use super::machine::topology::Topology;
use super::process::Process;
use super::service_manager;
use super::worker::{RingSizes, Shared, StopWorkers, WorkerFailure};
use crate::announce::Guard;
use crate::log::Log;

use claims::{Claimed, Claims};
use listeners::Listeners;
use ports::LivePorts;
use worker_threads::WorkerThreads;

/// The cause for which the appliance did not start, or did not end well.
#[derive(Debug)]
pub enum LiveError {
    /// The configuration has no port to forward by.
    NoPorts,
    /// No core is left for a worker, or none that can be used.
    NoCores(NoCores),
    /// The process may not have what a port or a listener needs.
    Capability(MissingCapability),
    /// Another process forwards by the interface of a port.
    Claimed(Claimed),
    /// The NUMA node of a port has no huge page.
    NoPages(NodeWithoutPages),
    /// The conntrack table finds no memory.
    Table(TableTooLarge),
    /// The conntrack table takes more memory than there is.
    Memory(TooLittleMemory),
    /// DPDK, a device or a core is not as it should be.
    Start(StartError),
    /// A socket for operators or for Prometheus cannot be opened.
    Listen {
        /// Use of the socket.
        what: &'static str,
        /// The cause, in words.
        message: String,
    },
    /// The operating system refuses something that every program needs.
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
            Self::NoCores(cause) => cause.fmt(f),
            Self::Capability(missing) => missing.fmt(f),
            Self::Claimed(error) => error.fmt(f),
            Self::NoPages(error) => error.fmt(f),
            Self::Table(error) => write!(f, "{error}: lower `[conntrack] max_entries`"),
            Self::Memory(error) => write!(f, "{error}: lower `[conntrack] max_entries`"),
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

/// Runs an appliance until it is told to stop; its configuration was read from `sources`, and a reload reads it again from `path`.
///
/// # Errors
/// [`LiveError`] where it cannot start, or a worker fails.
pub fn run(
    config: Config,
    sources: Sources,
    path: PathBuf,
    verbose: bool,
    log: Log,
) -> Result<(), LiveError> {
    if config.ports.is_empty() {
        return Err(LiveError::NoPorts);
    }
    // DPDK's own words are about what it could not do for want of them.
    if let Some(missing) =
        Capabilities::read(Path::new("/")).missing(&config, Path::new("/")).into_iter().next()
    {
        return Err(LiveError::Capability(missing));
    }
    // The kernel would give the table out, and kill somebody when it is filled.
    MachineMemory::read(Path::new("/")).provide(TableMemory::of(&config)).map_err(LiveError::Memory)?;
    Listeners::look(&config.admin)?;
    let _claims = Claims::of(&config.ports).map_err(LiveError::Claimed)?;
    // Before there is anything that it must not hold open: claims close in it by themselves.
    let guard = Guard::start(log.format()).map_err(LiveError::System)?;
    let topology = Topology::read(Path::new("/sys"));
    let nodes: Vec<Option<u8>> =
        config.ports.iter().map(|port| topology.node_of_device(&port.device)).collect();
    if let Some(error) = huge_pages::nodes_without_pages(&config, &topology).next() {
        return Err(LiveError::NoPages(error));
    }
    let cores = Cores::choose(&config.engine, &topology, &nodes).map_err(LiveError::NoCores)?;
    let hash_keys = random_keys().map_err(LiveError::System)?;
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
    // Dropped after EAL: who waits for the socket's end waits until ports are closed.
    let mut socket = None;
    let eal = Eal::init(&options)?;
    let (mut ports, queues) = LivePorts::open(&eal, &config, &cores.workers, &topology)?;
    // After DPDK, which cannot do without the huge pages that are reserved, and may leave fewer of them.
    MachineMemory::read(Path::new("/")).provide(TableMemory::of(&config)).map_err(LiveError::Memory)?;
    let shared = Shared::new(&config, hash_keys, &cores.workers).map_err(LiveError::Table)?;
    let (nics, cores) = (ports.nics(), cores.workers);
    let is_confined = config.engine.confine_workers;
    let state_path = config.admin.state.clone();
    let (mut assembly, seeds) = assemble(Setup {
        config,
        nics: &nics,
        cores: &cores,
        shared,
        probing: Probing::On,
        rings: RingSizes::LIVE,
    });
    if let Some(path) = state_path {
        assembly.keep_operator_state(path);
    }

    // Frames and keys are in memory, and DPDK has looked at its own through `/proc` by now.
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!("the process may be dumped and traced by its own user: {error}");
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop_workers = StopWorkers(&stop);
        ports.start_resets(scope).map_err(LiveError::System)?;
        let report = assembly.senders().failures.clone();

        // Before anybody can know that the appliance runs: an unheard SIGHUP would end it.
        let last_resort = LastResort::start(log.clone()).map_err(LiveError::System)?;
        let (running, ended) = watch::channel(());
        let config = assembly.appliance.config();
        let requests = assembly.senders().requests.clone();
        let (admin, metrics) = (config.admin.clone(), config.metrics.clone());
        // Before a packet is polled: one of two that start at once ends here, and has forwarded nothing.
        let listeners = Listeners::start(admin, metrics, config.engine.confine_listeners, requests, ended)?;
        let workers = WorkerThreads { scope, eal: eal.running(), stop: &stop, is_confined, report };
        if let Err(error) = workers.start(seeds, queues) {
            drop(running);
            socket = listeners.finish().ok();
            return Err(error.into());
        }
        exposures(config).iter().for_each(|exposure| tracing::warn!("{exposure}"));
        tracing::info!(workers = cores.len(), "forwarding");
        service_manager::tell_ready();
        let process = Process {
            config_path: path,
            sources: Some(sources),
            guard: Some(guard),
            last_resort: Some(last_resort),
            log: Some(log),
            aside: Aside::Threads,
            messenger: None,
        };
        let result = control_thread(assembly.run(ports, process)).map_err(LiveError::System);
        // The supervisor is gone, and its publisher with it: no worker is to go on while listeners end in good order.
        stop.store(true, Ordering::Relaxed);
        drop(running);
        socket = listeners.finish().ok();
        result?.map_err(LiveError::Worker)
    })
}

/// Keys of the tracking hash that no client can know.
fn random_keys() -> Result<[u64; 4], io::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    let (words, _) = bytes.as_chunks::<8>();
    Ok(std::array::from_fn(|index| u64::from_ne_bytes(words[index])))
}
