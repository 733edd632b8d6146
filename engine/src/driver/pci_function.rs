//! PCI functions as Linux tells of them below `/sys`: the driver that has one, its PF, its IOMMU group.
//!
//! ```text
//! bus/pci/devices/0000:3b:02.0/driver             -> …/drivers/vfio-pci
//!                             /vendor             0x8086
//!                             /iommu_group        -> …/iommu_groups/16, whose `devices` are all of the group
//!                             /physfn             -> …/0000:3b:00.0, of a VF alone
//!                             /physfn/virtfn0     -> …/0000:3b:02.0
//!                             /physfn/net/ens1f0/mtu
//! ```

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::device::PciAddress;

/// Kernel drivers that hand a function to user space.
const USER_SPACE_DRIVERS: &[&str] = &["vfio-pci", "igb_uio", "uio_pci_generic"];

/// Kernel drivers that DPDK's own drivers work beside (its "bifurcated" ones).
const SHARED_DRIVERS: &[&str] = &["mlx4_core", "mlx5_core", "mana"];

/// Vendor of Mellanox, whose functions from ConnectX-4 on DPDK drives beside `mlx5_core` alone.
const MELLANOX: &str = "0x15b3";

/// PCI function, looked at below `/sys`.
#[derive(Clone, Debug)]
pub struct PciFunction {
    sys: PathBuf,
    address: PciAddress,
    directory: PathBuf,
}

/// Virtual function, as its PF has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vf {
    /// Number of the VF among those of its PF.
    pub number: u32,
    /// Interface of the PF; None where the kernel has none.
    pub interface: Option<String>,
}

/// State of `vfio-pci`, as far as it decides whether that takes a PCI function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vfio {
    /// True if the module is loaded.
    pub is_loaded: bool,
    /// True if there is an IOMMU, or the module may do without.
    pub has_iommu: bool,
}

/// Fault for which DPDK cannot have a PCI function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindingFault {
    /// No PCI function has this address.
    Missing {
        /// Address of the PCI function.
        device: String,
    },
    /// The kernel's driver keeps the function from DPDK.
    KernelDriver {
        /// Address of the PCI function.
        device: String,
        /// Name of the kernel's driver.
        driver: String,
        /// State of the driver that is to have it.
        vfio: Vfio,
    },
    /// No driver has the function.
    NoDriver {
        /// Address of the PCI function.
        device: String,
        /// State of the driver that is to have it.
        vfio: Vfio,
    },
    /// A driver for user space has a function that DPDK drives beside the kernel's own driver.
    NotShared {
        /// Address of the PCI function.
        device: String,
        /// Name of the driver that has it.
        driver: String,
    },
}

impl PciFunction {
    /// Function of this address; `sys` is `/sys`.
    pub fn new(sys: &Path, address: PciAddress) -> Self {
        Self {
            sys: sys.to_owned(),
            address,
            directory: sys.join("bus/pci/devices").join(address.to_string()),
        }
    }

    /// True if the kernel knows a function of this address.
    pub fn exists(&self) -> bool {
        self.directory.exists()
    }

    /// Name of the driver that has the function; None if no driver has it.
    pub fn driver(&self) -> Option<String> {
        link_name(&self.directory.join("driver"))
    }

    /// Number of the function's IOMMU group; None without an IOMMU.
    pub fn iommu_group(&self) -> Option<String> {
        link_name(&self.directory.join("iommu_group"))
    }

    /// True if `vfio-pci` has the function without an IOMMU, whether or not it may do so for others.
    pub fn is_without_iommu(&self) -> bool {
        self.read("iommu_group/name").is_some_and(|name| name == "vfio-noiommu")
    }

    /// Content of a file that the kernel keeps for the function, such as `device` or `numa_node`, without spaces at its ends.
    pub fn read(&self, name: &str) -> Option<String> {
        Some(fs::read_to_string(self.directory.join(name)).ok()?.trim().to_owned())
    }

    /// Checks that DPDK can have the function.
    ///
    /// # Errors
    /// [`BindingFault`], with the command that mends it.
    pub fn check_binding(&self) -> Result<(), BindingFault> {
        let device = self.address.to_string();
        if !self.exists() {
            return Err(BindingFault::Missing { device });
        }
        let Some(driver) = self.driver() else {
            return Err(BindingFault::NoDriver { device, vfio: Vfio::look(&self.sys) });
        };
        if SHARED_DRIVERS.contains(&&*driver) {
            return Ok(());
        }
        match (USER_SPACE_DRIVERS.contains(&&*driver), self.read("vendor").as_deref()) {
            (true, Some(MELLANOX)) => Err(BindingFault::NotShared { device, driver }),
            (true, _) => Ok(()),
            (false, _) => Err(BindingFault::KernelDriver { device, driver, vfio: Vfio::look(&self.sys) }),
        }
    }

    /// Number of a VF among those of its PF, and the PF's interface where the kernel has one; None for other functions.
    pub fn vf(&self) -> Option<Vf> {
        let (name, pf) = (self.address.to_string(), self.directory.join("physfn"));
        let is_this = |entry: &fs::DirEntry| link_name(&entry.path()).is_some_and(|last| last == name);
        let number = |entry: fs::DirEntry| entry.file_name().to_str()?.strip_prefix("virtfn")?.parse().ok();
        let number = fs::read_dir(pf).ok()?.flatten().filter(is_this).find_map(number)?;
        Some(Vf { number, interface: self.pf_interface() })
    }

    /// Interface of the PF that a VF belongs to, and its MTU; None for other functions, and for a PF without an interface of
    /// the kernel.
    pub fn pf_mtu(&self) -> Option<(String, u32)> {
        let interface = self.pf_interface()?;
        let mtu = fs::read_to_string(self.directory.join("physfn/net").join(&interface).join("mtu"));
        Some((interface, mtu.ok()?.trim().parse().ok()?))
    }

    fn pf_interface(&self) -> Option<String> {
        let interface = fs::read_dir(self.directory.join("physfn/net")).ok()?.flatten().next()?;
        interface.file_name().into_string().ok()
    }
}

/// Last name of the path that a symbolic link leads to.
fn link_name(link: &Path) -> Option<String> {
    Some(fs::read_link(link).ok()?.file_name()?.to_str()?.to_owned())
}

impl Vfio {
    /// State of the module; `sys` is `/sys`.
    fn look(sys: &Path) -> Self {
        let has_groups =
            fs::read_dir(sys.join("kernel/iommu_groups")).is_ok_and(|mut groups| groups.next().is_some());
        let unsafe_mode = fs::read_to_string(sys.join("module/vfio/parameters/enable_unsafe_noiommu_mode"));
        Self {
            is_loaded: sys.join("bus/pci/drivers/vfio-pci").exists(),
            has_iommu: has_groups || unsafe_mode.is_ok_and(|mode| matches!(mode.trim(), "Y" | "1")),
        }
    }
}

impl BindingFault {
    /// Fault in words, without its remedy.
    pub fn found(&self) -> String {
        match self {
            Self::Missing { device } => format!("there is no PCI device {device}"),
            Self::KernelDriver { device, driver, .. } => {
                format!("{device} is bound to the kernel's driver `{driver}`")
            }
            Self::NoDriver { device, .. } => format!("{device} is bound to no driver"),
            Self::NotShared { device, driver } => {
                format!(
                    "{device} is bound to `{driver}`, and DPDK drives it beside the kernel's own driver alone"
                )
            }
        }
    }

    /// Command that mends the fault, or shows what can be had instead.
    pub fn remedy(&self) -> String {
        match self {
            Self::Missing { .. } => "dpdk-devbind.py --status-dev net".to_owned(),
            Self::KernelDriver { device, vfio, .. } | Self::NoDriver { device, vfio } => {
                let load = if vfio.is_loaded { "" } else { "modprobe vfio-pci; " };
                format!("{load}dpdk-devbind.py --bind=vfio-pci {device}")
            }
            Self::NotShared { device, .. } => format!("dpdk-devbind.py --bind=mlx5_core {device}"),
        }
    }
}

impl fmt::Display for BindingFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: `{}`", self.found(), self.remedy())?;
        match self {
            Self::Missing { .. } => f.write_str(
                " lists those that there are; VFs come to be by `echo 1 > /sys/class/net/INTERFACE/device/sriov_numvfs`",
            ),
            Self::KernelDriver { vfio, .. } | Self::NoDriver { vfio, .. } if !vfio.has_iommu => f.write_str(
                ", which needs an IOMMU, and the kernel shows none: switch it on (in the firmware, and `intel_iommu=on`), or bind \
                 a physical function to `uio_pci_generic`",
            ),
            Self::KernelDriver { .. } | Self::NoDriver { .. } | Self::NotShared { .. } => Ok(()),
        }
    }
}

impl std::error::Error for BindingFault {}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::driver::device::Device;

    /// Directory that stands for `/sys` in one test, removed at the end.
    struct Sys(PathBuf);

    impl Sys {
        fn new(test: &str) -> Self {
            let path = std::env::temp_dir().join(format!("guideway-pci-{test}-{}", std::process::id()));
            fs::create_dir_all(path.join(FUNCTION)).unwrap();
            Self(path)
        }

        fn write(&self, file: &str, content: &str) {
            let path = self.0.join(FUNCTION).join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }

        fn link(&self, file: &str, to: &str) {
            let _ = fs::remove_file(self.0.join(FUNCTION).join(file));
            symlink(to, self.0.join(FUNCTION).join(file)).unwrap();
        }

        fn function(&self) -> PciFunction {
            PciFunction::new(&self.0, address("3b:02.0"))
        }
    }

    impl Drop for Sys {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const FUNCTION: &str = "bus/pci/devices/0000:3b:02.0";

    fn address(text: &str) -> PciAddress {
        match text.parse() {
            Ok(Device::Pci(address)) => address,
            other => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn a_pci_function_must_exist_and_be_left_to_dpdk() {
        let sys = Sys::new("binding");
        let missing = PciFunction::new(&sys.0, address("3b:02.1")).check_binding().unwrap_err().to_string();
        assert!(missing.starts_with("there is no PCI device 0000:3b:02.1: "), "{missing}");
        let unbound = sys.function().check_binding().unwrap_err().to_string();
        let bind = "dpdk-devbind.py --bind=vfio-pci 0000:3b:02.0`";
        let all = format!(
            "0000:3b:02.0 is bound to no driver: `modprobe vfio-pci; {bind}, which needs an IOMMU, and"
        );
        assert!(unbound.starts_with(&all), "{unbound}");
        fs::create_dir_all(sys.0.join("bus/pci/drivers/vfio-pci")).unwrap();
        let unbound = sys.function().check_binding().unwrap_err().to_string();
        let loaded = format!("0000:3b:02.0 is bound to no driver: `{bind}, which needs an IOMMU, and");
        assert!(unbound.starts_with(&loaded), "{unbound}");
        let parameters = sys.0.join("module/vfio/parameters");
        fs::create_dir_all(&parameters).unwrap();
        fs::write(parameters.join("enable_unsafe_noiommu_mode"), "Y\n").unwrap();
        let unbound = sys.function().check_binding().unwrap_err().to_string();
        assert_eq!(unbound, format!("0000:3b:02.0 is bound to no driver: `{bind}"));
        for (driver, fits) in [("gve", false), ("iavf", false), ("vfio-pci", true), ("mlx5_core", true)] {
            sys.link("driver", &format!("../../../bus/pci/drivers/{driver}"));
            let result = sys.function().check_binding();
            assert_eq!(result.is_ok(), fits, "{result:?}");
            if let Err(error) = result {
                assert_eq!(
                    error.to_string(),
                    format!(
                        "0000:3b:02.0 is bound to the kernel's driver `{driver}`: `dpdk-devbind.py --bind=vfio-pci \
                         0000:3b:02.0`"
                    )
                );
            }
        }
    }

    #[test]
    fn a_function_that_dpdk_shares_with_the_kernel_is_not_for_user_space() {
        let sys = Sys::new("shared");
        sys.write("vendor", "0x15b3\n");
        sys.link("driver", "../../../bus/pci/drivers/vfio-pci");
        let fault = sys.function().check_binding().unwrap_err();
        assert_eq!(fault.remedy(), "dpdk-devbind.py --bind=mlx5_core 0000:3b:02.0");
        sys.link("driver", "../../../bus/pci/drivers/mlx5_core");
        assert_eq!(sys.function().check_binding(), Ok(()));
    }

    #[test]
    fn the_pf_of_a_vf_has_an_interface_with_an_mtu() {
        let sys = Sys::new("pf");
        assert_eq!(sys.function().pf_mtu(), None);
        sys.write("physfn/net/ens1f0/mtu", "1500\n");
        assert_eq!(sys.function().pf_mtu(), Some(("ens1f0".to_owned(), 1500)));
        assert_eq!(sys.function().vf(), None, "the PF does not know it");
        for (number, address) in [(0, "0000:3b:01.0"), (11, "0000:3b:02.0")] {
            sys.link(&format!("physfn/virtfn{number}"), &format!("../{address}"));
        }
        let found = sys.function().vf().expect("the PF knows it");
        assert_eq!((found.number, found.interface.as_deref()), (11, Some("ens1f0")));
    }

    #[test]
    fn the_group_of_a_function_is_the_last_name_of_its_link() {
        let sys = Sys::new("group");
        assert_eq!(sys.function().iommu_group(), None);
        sys.link("iommu_group", "../../../../kernel/iommu_groups/16");
        assert_eq!(sys.function().iommu_group().as_deref(), Some("16"));
        let group = sys.0.join("kernel/iommu_groups/16");
        for (name, is_without) in [("", false), ("vfio-noiommu\n", true)] {
            fs::create_dir_all(&group).unwrap();
            fs::write(group.join("name"), name).unwrap();
            assert_eq!(sys.function().is_without_iommu(), is_without);
        }
    }
}
