//! The engine: the cores that work, and the memory that holds frames.

use super::limits::MAX_WORKERS;
use super::report::Report;
use super::written::field::{Field, Optional, elements};
use super::written::file::EngineFile;
use super::written::lengths::limit;
use super::written::value::{Core, Integer};

/// Cores and memory that the engine uses. A reload does not change them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engine {
    /// Cores of the workers, one each; empty if they are chosen at the start.
    pub worker_cores: Vec<usize>,
    /// Core of the control thread; [`None`] if it is chosen at the start.
    pub control_core: Option<usize>,
    /// True if frames lie in ordinary pages.
    pub no_huge: bool,
    /// Memory for frames in ordinary pages, in MiB.
    pub memory_mib: u32,
    /// Number of mbufs; [`None`] if it is worked out from ports and workers.
    pub mbufs: Option<u32>,
    /// True if the workers' threads may make the system calls alone that a poll-mode driver needs.
    pub confine_workers: bool,
    /// True if the thread of the admin interface and the metrics has no capabilities, files, new sockets and programs.
    pub confine_listeners: bool,
}

impl Engine {
    pub(super) fn parse(file: &Option<Field<EngineFile>>, report: &mut Report) -> Option<Self> {
        let file = file.value_or_default()?;
        let cores = elements(&file.worker_cores);
        limit("worker cores", cores, MAX_WORKERS, report);
        for (index, core) in cores.iter().enumerate() {
            let Some(Integer(number)) = core.copied() else { continue };
            let same = |other: &&Field<Core>| other.copied().is_some_and(|other| other.0 == number);
            if let Some(first) = cores[..index].iter().find(same) {
                report.error_beside(
                    core.span(),
                    format!("two workers on core {number}"),
                    "name each core once: a worker polls without a pause",
                    [(first.span(), "the first".to_owned())],
                );
            }
        }
        if let Some(empty) = file.worker_cores.as_ref().filter(|list| list.get().is_some_and(Vec::is_empty)) {
            report.error(empty.span(), "no worker cores", "name at least one, or leave the key out");
        }
        let no_huge = file.no_huge()?;
        if let (Some(memory), false) = (&file.memory_mib, no_huge) {
            report.error(
                memory.span(),
                "`memory_mib` is for `no_huge = true` only",
                "leave it out: of huge pages, as many are taken as are needed",
            );
        }
        Some(Self {
            worker_cores: cores.iter().map(|core| Some(core.copied()?.0 as usize)).collect::<Option<_>>()?,
            control_core: match &file.control_core {
                Some(core) => Some(core.copied()?.0 as usize),
                None => None,
            },
            no_huge,
            memory_mib: file.memory_mib()?.0,
            mbufs: match &file.mbufs {
                Some(mbufs) => Some(mbufs.copied()?.0),
                None => None,
            },
            confine_workers: file.confine_workers()?,
            confine_listeners: file.confine_listeners()?,
        })
    }
}
