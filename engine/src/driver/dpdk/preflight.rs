//! Checks before EAL starts, for faults that EAL itself would report less clearly.

use std::fs;
use std::path::Path;

use super::StartError;
use crate::driver::device::{Device, PciAddress};
use crate::driver::pci_function::{PciFunction, Vf};

/// Checks that a huge page of any size is free. `sys` is `/sys`.
///
/// # Errors
/// [`StartError::NoHugePages`].
pub(super) fn huge_pages(sys: &Path) -> Result<(), StartError> {
    let sizes = fs::read_dir(sys.join("kernel/mm/hugepages")).into_iter().flatten().flatten();
    let free = sizes.filter_map(|size| number(&size.path().join("free_hugepages"))).sum::<u64>();
    if free > 0 { Ok(()) } else { Err(StartError::NoHugePages) }
}

/// Checks that the PCI functions of a device exist and that their drivers leave them to DPDK. `sys` is `/sys`.
///
/// # Errors
/// [`StartError::Binding`].
pub(super) fn device(sys: &Path, device: &Device) -> Result<(), StartError> {
    let mut functions = device.pci_functions().into_iter().map(|address| PciFunction::new(sys, address));
    functions.try_for_each(|function| function.check_binding()).map_err(StartError::Binding)
}

/// Words by which DPDK's log means a PCI function: its address, and its IOMMU group in two ways. `sys` is `/sys`.
pub(super) fn log_names(sys: &Path, address: PciAddress) -> Vec<String> {
    let mut names = vec![address.to_string()];
    if let Some(group) = PciFunction::new(sys, address).iommu_group() {
        names.extend([format!("/dev/vfio/{group}"), format!("VFIO group {group}")]);
    }
    names
}

/// VF that a device is, as its PF has it; None for other devices. `sys` is `/sys`.
pub(super) fn vf(sys: &Path, device: &Device) -> Option<Vf> {
    function_of(sys, device)?.vf()
}

/// Interface of the PF that a device belongs to, and its MTU; None for other devices, and for a PF without an interface of
/// the kernel. `sys` is `/sys`.
pub(super) fn pf_mtu(sys: &Path, device: &Device) -> Option<(String, u32)> {
    function_of(sys, device)?.pf_mtu()
}

/// Function that a device is, if it is on PCI and no bond.
fn function_of(sys: &Path, device: &Device) -> Option<PciFunction> {
    match device {
        Device::Pci(address) => Some(PciFunction::new(sys, *address)),
        Device::Virtual(_) => None,
    }
}

/// Checks that a core is online. `sys` is `/sys`.
///
/// # Errors
/// [`StartError::CoreOffline`].
pub(super) fn core(sys: &Path, core: usize) -> Result<(), StartError> {
    let online = online_cores(sys);
    if cores_in(&online).any(|other| other == core) {
        Ok(())
    } else {
        Err(StartError::CoreOffline { core, online })
    }
}

/// Cores that are online, as the kernel lists them: `0-3,8`.
pub(super) fn online_cores(sys: &Path) -> String {
    let list = fs::read_to_string(sys.join("devices/system/cpu/online")).unwrap_or_default();
    list.trim().to_owned()
}

fn cores_in(list: &str) -> impl Iterator<Item = usize> {
    list.split(',').flat_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        match (first.parse::<usize>(), last.parse::<usize>()) {
            (Ok(first), Ok(last)) => first..last + 1,
            _ => 0..0,
        }
    })
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;

    /// Directory that stands for `/sys` in one test, removed at the end.
    struct Sys(PathBuf);

    impl Sys {
        fn new(test: &str) -> Self {
            let path = std::env::temp_dir().join(format!("guideway-sys-{test}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn write(&self, path: &str, content: &str) {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }

    impl Drop for Sys {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn free_huge_pages_of_any_size_will_do() {
        let sys = Sys::new("huge");
        assert_eq!(huge_pages(&sys.0), Err(StartError::NoHugePages));
        sys.write("kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "0\n");
        assert_eq!(huge_pages(&sys.0), Err(StartError::NoHugePages));
        sys.write("kernel/mm/hugepages/hugepages-1048576kB/free_hugepages", "2\n");
        assert_eq!(huge_pages(&sys.0), Ok(()));
    }

    #[test]
    fn the_members_of_a_bond_are_looked_at() {
        let sys = Sys::new("bond");
        fs::create_dir_all(sys.0.join("bus/pci/devices/0000:3b:02.0")).unwrap();
        let bond: Device = "net_bonding0,mode=4,slave=3b:02.0".parse().unwrap();
        let unbound = device(&sys.0, &bond).unwrap_err().to_string();
        assert!(unbound.starts_with("0000:3b:02.0 is bound to no driver: "), "{unbound}");
        let vf: Device = "3b:02.0".parse().unwrap();
        assert!(device(&sys.0, &vf).is_err() && pf_mtu(&sys.0, &vf).is_none());
        let ring: Device = "net_ring0".parse().unwrap();
        assert!(device(&sys.0, &ring).is_ok() && pf_mtu(&sys.0, &ring).is_none());
    }

    #[test]
    fn a_log_means_a_function_by_its_address_and_its_iommu_group() {
        let sys = Sys::new("group");
        let address = match "3b:02.0".parse() {
            Ok(Device::Pci(address)) => address,
            other => unreachable!("{other:?}"),
        };
        assert_eq!(log_names(&sys.0, address), ["0000:3b:02.0"]);
        let directory = sys.0.join("bus/pci/devices/0000:3b:02.0");
        fs::create_dir_all(&directory).unwrap();
        symlink("../../../../kernel/iommu_groups/16", directory.join("iommu_group")).unwrap();
        assert_eq!(log_names(&sys.0, address)[1..], ["/dev/vfio/16", "VFIO group 16"]);
    }

    #[test]
    fn a_core_must_be_among_those_online() {
        let sys = Sys::new("core");
        sys.write("devices/system/cpu/online", "0-2,5\n");
        for online in [0, 2, 5] {
            assert_eq!(core(&sys.0, online), Ok(()));
        }
        let error = core(&sys.0, 3).unwrap_err().to_string();
        assert_eq!(error, "core 3 is not online: choose from 0-2,5, or bring it up (`chcpu -e 3`)");
    }
}
