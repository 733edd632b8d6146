//! Check of the process's rights: capabilities, and memory that it may lock for devices.

use guideway_engine::driver::MempoolOptions;

use super::facts::Facts;
use super::finding::Finding;
use crate::run::machine::capabilities::Capability;

/// Capabilities that ports and listeners need, and locked memory for `vfio-pci`. A running appliance has what it needs.
pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    if facts.is_running() {
        return vec![Finding::ok("running appliance", "it has opened its ports and listeners")];
    }
    if facts.config.is_none() {
        return Vec::new();
    }
    let missing = facts.missing_capabilities.iter().map(|missing| {
        Finding::fault("this process", missing.found())
            .should_be("root, or these capabilities", missing.remedy())
    });
    let mut findings: Vec<Finding> = missing.collect();
    let needed: u64 = facts.pools.iter().map(MempoolOptions::bytes).sum();
    let uses_vfio = facts.functions.iter().any(|function| function.driver.as_deref() == Some("vfio-pci"));
    if let (true, false, Some(limit)) =
        (uses_vfio, facts.capabilities.has(Capability::IpcLock), facts.lockable)
        && limit < needed
    {
        let found =
            format!("it may lock {} MiB of memory, and devices reach locked memory alone", limit >> 20);
        let expected =
            format!("{} MiB and more (`LimitMEMLOCK=infinity` in a unit)", needed.div_ceil(1 << 20));
        findings.push(Finding::fault("this process", found).should_be(expected, "ulimit -l unlimited"));
    }
    if findings.is_empty() {
        findings.push(Finding::ok("this process", "it has the capabilities that ports and listeners need"));
    }
    findings
}
