//! Checks before EAL starts, for faults that EAL itself would report less clearly.

use std::fs;
use std::path::Path;

use super::start_error::Vfio;
use super::{StartError, Vf};
use crate::driver::device::{Device, PciAddress};

/// Kernel drivers that hand a function to user space.
const USER_SPACE_DRIVERS: &[&str] = &["vfio-pci", "igb_uio", "uio_pci_generic"];

/// Kernel drivers that DPDK's own drivers work beside (its "bifurcated" ones).
const SHARED_DRIVERS: &[&str] = &["mlx4_core", "mlx5_core", "mana"];

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
/// [`StartError::NoSuchDevice`], [`StartError::WrongDriver`].
pub(super) fn device(sys: &Path, device: &Device) -> Result<(), StartError> {
    device.pci_functions().iter().try_for_each(|address| function(sys, *address))
}

fn function(sys: &Path, address: PciAddress) -> Result<(), StartError> {
    let device = address.to_string();
    let directory = sys.join("bus/pci/devices").join(&device);
    if !directory.exists() {
        return Err(StartError::NoSuchDevice { device });
    }
    let link = fs::read_link(directory.join("driver")).ok();
    let driver = link.and_then(|link| Some(link.file_name()?.to_str()?.to_owned()));
    match &driver {
        Some(name) if USER_SPACE_DRIVERS.iter().chain(SHARED_DRIVERS).any(|fit| fit == name) => Ok(()),
        _ => Err(StartError::WrongDriver { device, driver, vfio: vfio(sys) }),
    }
}

fn vfio(sys: &Path) -> Vfio {
    let has_groups =
        fs::read_dir(sys.join("kernel/iommu_groups")).is_ok_and(|mut groups| groups.next().is_some());
    let unsafe_mode = fs::read_to_string(sys.join("module/vfio/parameters/enable_unsafe_noiommu_mode"));
    Vfio {
        is_loaded: sys.join("bus/pci/drivers/vfio-pci").exists(),
        has_iommu: has_groups || unsafe_mode.is_ok_and(|mode| mode.trim() == "Y"),
    }
}

/// Words by which DPDK's log means a PCI function: its address, and its IOMMU group in two ways. `sys` is `/sys`.
pub(super) fn log_names(sys: &Path, address: &PciAddress) -> Vec<String> {
    let mut names = vec![address.to_string()];
    let group = fs::read_link(sys.join("bus/pci/devices").join(&names[0]).join("iommu_group"));
    if let Some(group) = group.ok().as_deref().and_then(Path::file_name).and_then(|name| name.to_str()) {
        names.extend([format!("/dev/vfio/{group}"), format!("VFIO group {group}")]);
    }
    names
}

/// Number of a VF among those of its PF, and the PF's interface where the kernel has one; None for other devices. `sys` is
/// `/sys`.
pub(super) fn vf_number(sys: &Path, device: &Device) -> Option<Vf> {
    let Device::Pci(address) = device else { return None };
    let name = address.to_string();
    let pf = sys.join("bus/pci/devices").join(&name).join("physfn");
    let is_device = |entry: &fs::DirEntry| {
        fs::read_link(entry.path()).is_ok_and(|link| link.file_name().is_some_and(|last| *last == *name))
    };
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.strip_prefix("virtfn")?.parse().ok();
    let number = fs::read_dir(&pf).ok()?.flatten().filter(is_device).find_map(number)?;
    let interface = fs::read_dir(pf.join("net")).ok().and_then(|entries| entries.flatten().next());
    Some(Vf { number, interface: interface.and_then(|entry| entry.file_name().into_string().ok()) })
}

/// Interface of the PF that a VF belongs to, and its MTU; None for other devices, and for a PF without an interface of the
/// kernel. `sys` is `/sys`.
pub(super) fn pf_mtu(sys: &Path, device: &Device) -> Option<(String, u32)> {
    let Device::Pci(address) = device else { return None };
    let interfaces = sys.join("bus/pci/devices").join(address.to_string()).join("physfn/net");
    let interface = fs::read_dir(interfaces).ok()?.flatten().next()?;
    let mtu = number(&interface.path().join("mtu"))?;
    Some((interface.file_name().into_string().ok()?, u32::try_from(mtu).ok()?))
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
    fn a_pci_function_must_exist_and_be_left_to_dpdk() {
        let sys = Sys::new("pci");
        let vf: Device = "3b:02.0".parse().unwrap();
        let missing = device(&sys.0, &vf).unwrap_err();
        assert!(missing.to_string().starts_with("there is no PCI device 0000:3b:02.0: "), "{missing}");

        let directory = sys.0.join("bus/pci/devices/0000:3b:02.0");
        fs::create_dir_all(&directory).unwrap();
        let unbound = || device(&sys.0, &vf).unwrap_err().to_string();
        let bind = "`dpdk-devbind.py --bind=vfio-pci 0000:3b:02.0`";
        assert!(
            unbound().starts_with(&format!(
                "0000:3b:02.0 is bound to no driver: `modprobe vfio-pci`, then {bind}; that needs an IOMMU, and"
            )),
            "{}",
            unbound()
        );
        sys.write("bus/pci/drivers/vfio-pci/bind", "");
        assert!(
            unbound()
                .starts_with(&format!("0000:3b:02.0 is bound to no driver: {bind}; that needs an IOMMU"))
        );
        sys.write("module/vfio/parameters/enable_unsafe_noiommu_mode", "Y\n");
        let unbound = unbound();
        assert_eq!(unbound, format!("0000:3b:02.0 is bound to no driver: {bind}"));

        let bond: Device = "net_bonding0,mode=4,slave=3b:02.0".parse().unwrap();
        assert_eq!(device(&sys.0, &bond).unwrap_err().to_string(), unbound, "its members are looked at");

        for (driver, fits) in [("gve", false), ("iavf", false), ("vfio-pci", true), ("mlx5_core", true)] {
            let _ = fs::remove_file(directory.join("driver"));
            symlink(format!("../../../bus/pci/drivers/{driver}"), directory.join("driver")).unwrap();
            let result = device(&sys.0, &vf);
            assert_eq!(result.is_ok(), fits, "{result:?}");
            if let Err(error) = result {
                assert!(
                    error.to_string().contains(&format!("bound to the kernel's driver `{driver}`: ")),
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn the_pf_of_a_vf_has_an_interface_with_an_mtu() {
        let sys = Sys::new("pf");
        let vf: Device = "3b:02.0".parse().unwrap();
        assert_eq!(pf_mtu(&sys.0, &vf), None);
        sys.write("bus/pci/devices/0000:3b:02.0/physfn/net/ens1f0/mtu", "1500\n");
        assert_eq!(pf_mtu(&sys.0, &vf), Some(("ens1f0".to_owned(), 1500)));
        assert_eq!(vf_number(&sys.0, &vf), None, "the PF does not know it");
        for (number, address) in [(0, "0000:3b:01.0"), (11, "0000:3b:02.0")] {
            let link = sys.0.join(format!("bus/pci/devices/0000:3b:02.0/physfn/virtfn{number}"));
            symlink(format!("../{address}"), link).unwrap();
        }
        let found = vf_number(&sys.0, &vf).expect("the PF knows it");
        assert_eq!((found.number, found.interface.as_deref()), (11, Some("ens1f0")));
        assert_eq!(pf_mtu(&sys.0, &"net_ring0".parse().unwrap()), None);
    }

    #[test]
    fn a_log_means_a_function_by_its_address_and_its_iommu_group() {
        let sys = Sys::new("group");
        let address = match "3b:02.0".parse() {
            Ok(Device::Pci(address)) => address,
            other => unreachable!("{other:?}"),
        };
        assert_eq!(log_names(&sys.0, &address), ["0000:3b:02.0"]);
        let directory = sys.0.join("bus/pci/devices/0000:3b:02.0");
        fs::create_dir_all(&directory).unwrap();
        symlink("../../../../kernel/iommu_groups/16", directory.join("iommu_group")).unwrap();
        assert_eq!(log_names(&sys.0, &address)[1..], ["/dev/vfio/16", "VFIO group 16"]);
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
