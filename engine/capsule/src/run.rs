//! Runs a capture through capsule's runtime.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use capsule::Runtime;
use capsule::config::RuntimeConfig;
use guideway_dataplane::conntrack::ConntrackTable;
use guideway_dataplane::snapshot::Snapshot;
use rustix::process::{Signal, getpid, kill_process};
use serde_json::json;

use crate::arrival::Arrival;
use crate::pipeline::{CapturePipeline, Decided, Outcome};

const PORT: &str = "capture";

/// Interval at which the main core checks if all frames are decided, and the number of checks before it gives up.
const LOOK_EVERY: Duration = Duration::from_millis(5);
const LOOKS: u32 = 12_000;

/// Runs the capture at `path`, whose frames have these arrivals, through the data plane on `net_pcap`.
pub(crate) fn run(
    path: &Path,
    arrivals: Vec<Arrival>,
    snapshot: Snapshot,
    table: ConntrackTable,
) -> Result<Vec<Decided>> {
    let cores: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect();
    let (Some(main), Some(worker)) = (cores.first().copied(), cores.get(1).or(cores.first()).copied()) else {
        bail!("this process may run on no core");
    };
    let outcome = Outcome::default();
    let mut runtime = Runtime::build(config(path, main, worker)?).context("capsule does not start")?;
    let left = Arc::clone(&outcome);
    runtime.add_pipeline_to_core(worker, move |mut ports| {
        let port = ports.remove(PORT).expect("the configuration gives the core this port");
        CapturePipeline::new(port, snapshot, table, arrivals, left)
    })?;
    // A signal alone ends capsule's runtime. One that came before capsule listens would end the process, so
    // it is the main core that sends it: there tasks run only once capsule does.
    let (looked, left) = (AtomicU32::new(0), Arc::clone(&outcome));
    runtime.add_periodic_task_to_core(
        main,
        move || {
            // Relaxed: nobody else counts.
            if left.get().is_some() || looked.fetch_add(1, Ordering::Relaxed) == LOOKS {
                kill_process(getpid(), Signal::TERM).expect("a process may send itself a signal");
            }
        },
        LOOK_EVERY,
    )?;
    runtime.execute()?;
    // With the runtime goes its executor, and with it whatever still holds the outcome.
    drop(runtime);
    let decided = Arc::into_inner(outcome).and_then(OnceLock::into_inner);
    decided.context("capsule ended before it had handed on every frame of the capture")
}

/// Makes capsule's configuration. Its cores can be named in no way but by parsing them from text.
fn config(path: &Path, main: usize, worker: usize) -> Result<RuntimeConfig> {
    let path = path.to_str().context("the capture's path is not UTF-8")?;
    ensure!(!path.contains(','), "{path}: DPDK takes a comma for the end of the path");
    let config = json!({
        "app_name": "guideway-capsule",
        "master_core": main,
        "mempool": { "capacity": 2047, "cache_size": 128 },
        // No huge pages, no PCI device, no file.
        "dpdk_args": "--no-huge --no-shconf --no-telemetry --no-pci -m 64",
        "ports": [{
            "name": PORT,
            "device": "net_pcap0",
            "args": format!("rx_pcap={path}"),
            "cores": [worker],
        }],
    });
    Ok(serde_json::from_value(config)?)
}
