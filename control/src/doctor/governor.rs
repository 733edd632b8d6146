//! Check of the frequency of the workers' cores.

use super::facts::Facts;
use super::finding::{Finding, named_cores};

/// Governor that keeps a core at its highest frequency.
const WANTED: &str = "performance";

/// Governor of each worker's core.
pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let workers = facts.workers();
    let of_workers = || workers.iter().filter_map(|core| Some((*core, facts.governors.get(core)?)));
    if workers.is_empty() {
        return Vec::new();
    }
    if of_workers().next().is_none() {
        return vec![Finding::ok("workers' cores", "the kernel does not change their frequency")];
    }
    let slow: Vec<(usize, &String)> = of_workers().filter(|(_, governor)| *governor != WANTED).collect();
    let Some((_, governor)) = slow.first() else {
        return vec![Finding::ok("workers' cores", format!("governor `{WANTED}`"))];
    };
    let cores: Vec<usize> = slow.iter().map(|(core, _)| *core).collect();
    let found = format!("the governor `{governor}` lowers the frequency of {}", named_cores(&cores));
    let names: Vec<String> = cores.iter().map(usize::to_string).collect();
    let remedy = format!(
        "for core in {}; do echo {WANTED} > /sys/devices/system/cpu/cpu$core/cpufreq/scaling_governor; done",
        names.join(" ")
    );
    vec![Finding::warning("workers' cores", found).should_be(format!("`{WANTED}`"), remedy)]
}
