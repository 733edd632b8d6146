//! The doctor: every fault of machine and configuration at once, each with the command that mends it.
//!
//! ```text
//!  /sys, /proc, configuration ──┐
//!  kernel, BIRD ────────────────┼─▶ Facts ──▶ a check each ──▶ findings ──▶ Diagnosis
//!  running appliance, by API ───┘   (read)      (pure)
//! ```
//!
//! A check is a function from facts to findings, in a file of its own, and reads nothing itself: a test gives it the facts of
//! a tree of files. What `guideway run` refuses is stated where `run` does, in [`crate::run::machine`].

mod addresses;
pub mod backend;
mod bird;
mod capabilities;
mod clock_source;
mod configuration;
mod cores;
mod driver_binding;
pub mod facts;
pub mod finding;
mod forwarding;
mod governor;
mod huge_pages;
mod interrupts;
mod iommu;
mod link;
mod listeners;
mod mask;
mod memory;
mod numa;
mod program;
mod queues;
pub mod report;
mod secrets;
pub mod text;
mod virtual_function;

use facts::Facts;
use finding::{Diagnosis, Finding};

/// Check of one kind, by its name in results.
type Check = (&'static str, fn(&Facts) -> Vec<Finding>);

/// Table of every check, in the order in which a machine is set up.
const CHECKS: [Check; 19] = [
    ("configuration", configuration::check),
    ("program", program::check),
    ("capabilities", capabilities::check),
    ("iommu", iommu::check),
    ("driver_binding", driver_binding::check),
    ("virtual_function", virtual_function::check),
    ("link", link::check),
    ("huge_pages", huge_pages::check),
    ("memory", memory::check),
    ("cores", cores::check),
    ("numa", numa::check),
    ("interrupts", interrupts::check),
    ("governor", governor::check),
    ("clock_source", clock_source::check),
    ("queues", queues::check),
    ("addresses", addresses::check),
    ("forwarding", forwarding::check),
    ("bird", bird::check),
    ("listeners", listeners::check),
];

/// Names of the checks, for documents and their test.
pub fn check_names() -> impl Iterator<Item = &'static str> {
    CHECKS.into_iter().map(|(name, _)| name)
}

/// Makes every check of the facts; the worst findings come first, and of one kind in the order of the checks.
pub fn diagnose(facts: &Facts) -> Diagnosis {
    let of_check = |(name, check): Check| {
        check(facts).into_iter().map(move |finding| Finding { check: name.to_owned(), ..finding })
    };
    let mut findings: Vec<Finding> = CHECKS.into_iter().flat_map(of_check).collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    Diagnosis::new(facts, findings)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tree;
