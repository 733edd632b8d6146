//! Check of the kernel's clock source, which workers read at each burst.

use super::facts::Facts;
use super::finding::Finding;

/// Sources that a process reads without asking the kernel.
const FAST: [&str; 4] = ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"];

/// Clock source: one that costs no system call.
pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let current = &*facts.clock_source;
    if current.is_empty() {
        return Vec::new();
    }
    if FAST.contains(&current) {
        return vec![Finding::ok("clock source", format!("`{current}`"))];
    }
    let found =
        format!("`{current}`: each look at the clock is a system call, and workers look at each burst");
    let fast = facts.clock_sources.iter().find(|source| FAST.contains(&&***source));
    let (expected, remedy) = match fast {
        Some(source) => (
            format!("`{source}`, which the kernel has"),
            format!("echo {source} > /sys/devices/system/clocksource/clocksource0/current_clocksource"),
        ),
        None => {
            ("`tsc`; the kernel's log says why it is not used".to_owned(), "dmesg | grep -i tsc".to_owned())
        }
    };
    vec![Finding::warning("clock source", found).should_be(expected, remedy)]
}
