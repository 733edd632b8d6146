//! Check of interrupts: none comes to a worker's core.

use super::facts::{Facts, Interrupt};
use super::finding::{Finding, list, named_cores};

/// Interrupts that are named before the rest is counted.
const NAMED: usize = 4;

/// Interrupts whose affinity includes workers' cores.
pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let workers = facts.workers();
    let disturbs = |interrupt: &&Interrupt| interrupt.cores.iter().any(|core| workers.contains(core));
    let disturbing: Vec<&Interrupt> = facts.interrupts.iter().filter(disturbs).collect();
    if workers.is_empty() || facts.interrupts.is_empty() {
        return Vec::new();
    }
    if disturbing.is_empty() {
        return vec![Finding::ok("workers' cores", format!("no interrupt comes to {}", list(workers)))];
    }
    let mut named: Vec<String> =
        disturbing.iter().take(NAMED).map(|one| format!("{} ({})", one.number, one.name)).collect();
    if disturbing.len() > NAMED {
        named.push(format!("and {} more", disturbing.len() - NAMED));
    }
    let found = format!("the kernel may send interrupts to {}: {}", named_cores(workers), named.join(", "));
    let others: Vec<usize> = facts.online.iter().copied().filter(|core| !workers.contains(core)).collect();
    if others.is_empty() {
        let finding = Finding::warning("workers' cores", found);
        return vec![finding.should_be("a core that is no worker's", "[engine] worker_cores = […]")];
    }
    let numbers: Vec<String> = disturbing.iter().map(|one| one.number.to_string()).collect();
    let remedy = format!(
        "for irq in {}; do echo {} > /proc/irq/$irq/smp_affinity_list; done",
        numbers.join(" "),
        list(&others)
    );
    let cores = list(&others);
    let expected = format!(
        "interrupts to {} only: `irqaffinity={cores}` at boot, and no irqbalance",
        named_cores(&others)
    );
    vec![Finding::warning("workers' cores", found).should_be(expected, remedy)]
}
