//! Check of the drivers that have the ports' PCI functions, and of those in their IOMMU groups.

use super::facts::{Facts, Function};
use super::finding::Finding;

/// True for a kernel's driver that DPDK works beside.
pub(super) fn is_shared(driver: &str) -> bool {
    matches!(driver, "mlx4_core" | "mlx5_core" | "mana")
}

/// Driver of each function, `vfio-pci` where one needs it, and the others of its IOMMU group.
pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let needs_vfio = |function: &Function| !function.driver.as_deref().is_some_and(is_shared);
    if !facts.has_vfio_pci && facts.functions.iter().any(needs_vfio) {
        let remedy = "modprobe vfio-pci && echo vfio-pci > /etc/modules-load.d/vfio-pci.conf";
        findings.push(
            Finding::fault("kernel", "the module `vfio-pci` is not loaded").should_be("loaded", remedy),
        );
    }
    for function in &facts.functions {
        let subject = subject(facts, function);
        match &function.binding {
            Ok(()) => {
                let driver = function.driver.as_deref().unwrap_or_default();
                findings.push(Finding::ok(subject.clone(), format!("bound to `{driver}`")));
            }
            Err(fault) => findings.push(
                Finding::fault(subject.clone(), fault.found())
                    .should_be("a driver that leaves it to DPDK", fault.remedy()),
            ),
        }
        if needs_vfio(function) && !function.group_mates.is_empty() {
            let mates: Vec<_> =
                function.group_mates.iter().map(|(mate, driver)| format!("{mate} (`{driver}`)")).collect();
            let addresses: Vec<_> = function.group_mates.iter().map(|(mate, _)| &**mate).collect();
            let found = format!("in its IOMMU group, a driver of the kernel's has {}", mates.join(", "));
            let remedy = format!("dpdk-devbind.py --unbind {}", addresses.join(" "));
            findings.push(
                Finding::fault(subject, found)
                    .should_be("all of the group bound to `vfio-pci`, or to nothing", remedy),
            );
        }
    }
    findings
}

/// Name of a function: its port, and its address.
pub(super) fn subject(facts: &Facts, function: &Function) -> String {
    let ports = facts.config.as_ref().map_or(&[][..], |config| &config.ports);
    let name = ports.get(function.port).map_or("", |port| &*port.name);
    format!("port `{name}` ({})", function.address)
}
