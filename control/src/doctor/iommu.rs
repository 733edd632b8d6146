//! Check of the IOMMU, without which `vfio-pci` takes no device.

use super::facts::Facts;
use super::finding::Finding;

/// Drivers for user space that do without an IOMMU.
const WITHOUT: [&str; 2] = ["uio_pci_generic", "igb_uio"];

/// IOMMU groups, where a port is a PCI device that `vfio-pci` is for.
pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let for_vfio = |driver: &str| !WITHOUT.contains(&driver) && !super::driver_binding::is_shared(driver);
    let mut drivers = facts.functions.iter().map(|function| function.driver.as_deref());
    if !drivers.any(|driver| driver.is_none_or(for_vfio)) {
        return Vec::new();
    }
    let groups = facts.iommu_groups;
    if groups > 0 {
        return vec![Finding::ok("kernel", format!("the IOMMU is on, with {groups} groups"))];
    }
    if facts.is_without_iommu {
        let found = "`vfio-pci` takes devices without an IOMMU, which can then write anywhere in memory";
        return vec![
            Finding::warning("kernel", found)
                .should_be("an IOMMU, where the machine has one", kernel_options(facts)),
        ];
    }
    let line = &facts.kernel_command_line;
    let options: Vec<&str> = line.split_whitespace().filter(|option| option.contains("iommu")).collect();
    let found = match options.is_empty() {
        true => "the IOMMU is off, and the kernel's command line has no option for it".to_owned(),
        false => format!("the IOMMU is off; the kernel's command line has `{}`", options.join(" ")),
    };
    let is_asked_for = facts.processor.is_amd || line.contains("intel_iommu=on");
    let (expected, remedy) = match (facts.processor.is_virtual, is_asked_for) {
        // The hypervisor gives one or none, whatever the command line says.
        (true, true) => (
            "an IOMMU from the hypervisor, or `vfio-pci` without one".to_owned(),
            "modprobe vfio-pci && echo 1 > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode".to_owned(),
        ),
        (false, true) => (
            "VT-d or AMD-Vi switched on in the firmware".to_owned(),
            "dmesg | grep -iE 'dmar|iommu|amd-vi'".to_owned(),
        ),
        (_, false) => (
            "`intel_iommu=on iommu=pt` on the command line, VT-d in the firmware, and a reboot".to_owned(),
            kernel_options(facts),
        ),
    };
    vec![Finding::fault("kernel", found).should_be(expected, remedy)]
}

/// Command that puts the IOMMU's options on the command line.
fn kernel_options(facts: &Facts) -> String {
    let options = if facts.processor.is_amd { "iommu=pt" } else { "intel_iommu=on iommu=pt" };
    boot_with(options)
}

/// Command that puts options on the command line of Debian's kernel, from its next boot on.
pub(super) fn boot_with(options: &str) -> String {
    format!("sed -i 's/^GRUB_CMDLINE_LINUX=\"/&{options} /' /etc/default/grub && update-grub")
}
