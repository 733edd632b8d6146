//! Check of huge pages: enough free ones on each node of the ports for frames, and what the conntrack table lies on.

use guideway_engine::driver::MempoolOptions;
use guideway_model::config::Config;

use super::facts::Facts;
use super::finding::Finding;
use crate::run::machine::huge_pages::{HugePages, reserve};
use crate::run::machine::memory::TableMemory;

/// Bytes that DPDK takes beside the frames: queues, rings and its own lists. An estimate.
const BESIDE_FRAMES: u64 = 32 << 20;

/// Pages for the mempool of each node, and for the conntrack table.
pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let Some(config) = &facts.config else { return Vec::new() };
    let mut findings = Vec::new();
    if config.engine.no_huge {
        let found = "frames lie in ordinary pages (`no_huge = true`), which is for tests on virtual devices";
        findings.push(Finding::note("frames", found));
    } else if facts.is_running() {
        findings.push(Finding::ok("frames", "the running appliance has the pages that it needs"));
    } else {
        findings.extend(facts.pools.iter().map(|pool| of_pool(facts, pool)));
        let without = facts.nodes_without_pages.iter();
        let without = without.filter(|one| facts.pools.iter().all(|pool| pool.node != Some(one.node)));
        findings
            .extend(without.map(|one| {
                Finding::fault("frames", one.found()).should_be("free pages there", one.remedy())
            }));
    }
    findings.extend(of_table(facts, config));
    findings
}

fn of_pool(facts: &Facts, pool: &MempoolOptions) -> Finding {
    let of_node: Vec<&HugePages> =
        facts.huge_pages.iter().filter(|pages| pool.node.is_none() || pages.node == pool.node).collect();
    let free: u64 = of_node.iter().map(|pages| pages.free * (pages.kibibytes << 10)).sum();
    let needed = pool.bytes() + BESIDE_FRAMES;
    let subject = pool.node.map_or_else(|| "frames".to_owned(), |node| format!("frames on NUMA node {node}"));
    let sizes: Vec<_> = of_node
        .iter()
        .map(|pages| format!("{} of {} pages of {} MiB", pages.free, pages.reserved, pages.kibibytes >> 10))
        .collect();
    let sizes = if sizes.is_empty() { "none".to_owned() } else { sizes.join(", ") };
    let found = format!("free: {sizes}");
    if free >= needed {
        return Finding::ok(subject, found);
    }
    let expected = format!(
        "{} MiB free: {} MiB for {} frames of {} bytes, and about {} MiB for the devices' queues and DPDK's own lists",
        needed.div_ceil(1 << 20),
        pool.bytes().div_ceil(1 << 20),
        pool.mbufs,
        pool.buffer_len(),
        BESIDE_FRAMES >> 20
    );
    let small = of_node.iter().filter(|pages| pages.kibibytes == 2048);
    let reserved: u64 = small.map(|pages| pages.reserved).sum();
    let pages = reserved + (needed - free).div_ceil(2 << 20);
    let remedy = match pool.node {
        Some(node) => reserve(node, pages),
        None => format!("sysctl vm.nr_hugepages={pages}"),
    };
    Finding::fault(subject, found).should_be(expected, remedy)
}

/// Pages of the conntrack table: reserved ones of 1 GiB, those that the kernel gives by itself, or ordinary ones.
fn of_table(facts: &Facts, config: &Config) -> Option<Finding> {
    if facts.is_running() {
        return None;
    }
    let table = TableMemory::of(config).bytes;
    let gigantic = facts.memory.free_gigantic;
    if table >= 1 << 30 && table.div_ceil(1 << 30) <= gigantic {
        return Some(Finding::ok(
            "conntrack table",
            format!("free: {gigantic} pages of 1 GiB, which hold all of it"),
        ));
    }
    match &*facts.transparent_huge_pages {
        "never" => Some(
            Finding::warning(
                "conntrack table",
                "transparent huge pages are off: it lies on pages of 4 KiB, and lookups are slower",
            )
            .should_be("`madvise` or `always`", "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"),
        ),
        "" => None,
        setting if table < 1 << 30 => {
            Some(Finding::ok("conntrack table", format!("transparent huge pages: {setting}")))
        }
        setting => {
            let pages = table.div_ceil(1 << 30);
            let found = format!("{} MiB on pages of 2 MiB (transparent huge pages: {setting})", table >> 20);
            let remedy = format!("echo {pages} > /sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages");
            let expected =
                format!("{pages} pages of 1 GiB beside those of DPDK, which lookups are faster on");
            Some(Finding::note("conntrack table", found).should_be(expected, remedy))
        }
    }
}
