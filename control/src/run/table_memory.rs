//! Memory of the conntrack table at the start: asked for by several threads at once, each on a worker's core.
//!
//! The kernel clears each page that it gives: 4.8 GB took one thread 3 to 8 s (docs/performance.md). It takes the page from the node of the
//! thread that asks, so threads on the workers' cores spread the table over the workers' nodes.

use std::fs;
use std::io;
use std::thread;
use std::time::Instant;

use guideway_dataplane::conntrack::ConntrackTable;
use rustix::thread::{CpuSet, sched_setaffinity};

/// Bytes for which a further thread is worth its start.
const A_THREAD: usize = 64 << 20;

/// Bytes of the largest pages, which are reserved.
const GIGANTIC: usize = 1 << 30;

/// Asks for the memory of the whole table, and logs what it got; `cores` are those of the workers.
pub(super) fn populate(table: &ConntrackTable, cores: &[usize]) {
    let (begun, huge_before) = (Instant::now(), transparent_huge_bytes());
    let cores = choose(cores, table.bytes());
    let results: Vec<io::Result<()>> = thread::scope(|scope| {
        let shares = cores.iter().enumerate().map(|(share, core)| {
            let of = cores.len();
            scope.spawn(move || {
                if let Some(core) = core.filter(|core| *core < CpuSet::MAX_CPU) {
                    let mut set = CpuSet::new();
                    set.set(core);
                    // From another core the memory is as good, and farther away.
                    let _ = sched_setaffinity(None, &set);
                }
                table.populate(share, of)
            })
        });
        let threads: Vec<_> = shares.collect();
        let ended = threads.into_iter().map(thread::ScopedJoinHandle::join);
        ended.map(|result| result.unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))).collect()
    });
    let on_huge_pages = match table.page_bytes() {
        GIGANTIC => table.bytes(),
        _ => transparent_huge_bytes().saturating_sub(huge_before).min(table.bytes()),
    };
    match results.into_iter().collect::<io::Result<()>>() {
        Ok(()) => tracing::info!(
            mebibytes = table.bytes() >> 20,
            on_huge_pages = on_huge_pages >> 20,
            page_mebibytes = table.page_bytes() >> 20,
            threads = cores.len(),
            seconds = begun.elapsed().as_secs_f64(),
            "the conntrack table has its memory"
        ),
        Err(error) => {
            tracing::warn!(
                "the conntrack table gets its memory at its first use, which packets wait for: {error}"
            );
        }
    }
}

/// Bytes of the process that lie on huge pages which the kernel has given by itself; 0 where it does not tell.
fn transparent_huge_bytes() -> usize {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("AnonHugePages:"));
    let kibibytes = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<usize>().ok());
    kibibytes.unwrap_or(0) << 10
}

/// Cores to ask from, spread over those of the workers, as many as so many bytes are worth; none stands for any core.
fn choose(cores: &[usize], bytes: usize) -> Vec<Option<usize>> {
    let count = cores.len().min(bytes / A_THREAD);
    if count <= 1 {
        // One thread on one worker's core is as good as the thread at hand, but for the node.
        return vec![cores.first().copied()];
    }
    (0..count).map(|index| Some(cores[index * cores.len() / count])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_table_is_asked_for_from_all_workers_cores_and_a_small_one_from_some() {
        let cores: Vec<usize> = (2..10).collect();
        assert_eq!(choose(&cores, 24 << 30), cores.iter().copied().map(Some).collect::<Vec<_>>());
        assert_eq!(choose(&cores, 4 * A_THREAD), [2, 4, 6, 8].map(Some));
        assert_eq!(choose(&cores, 1 << 20), [Some(2)]);
        assert_eq!(choose(&[], 24 << 30), [None]);
        let of_two_nodes = [4, 5, 6, 7, 0, 1, 2, 3];
        assert_eq!(choose(&of_two_nodes, 2 * A_THREAD), [4, 0].map(Some), "each node has its part");
    }

    #[test]
    fn a_table_is_populated_whatever_its_size_and_whether_the_cores_are_there() {
        for max_entries in [1, 1_000, 8_000_000] {
            let table = ConntrackTable::with_capacity(max_entries).expect("192 MB at most");
            populate(&table, &[0, 4_095, 1]);
            assert_eq!(table.occupancy(), 0);
        }
    }
}
