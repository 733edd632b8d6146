//! Reasons for which live operation cannot start, each in one line with its remedy.

use std::fmt;

use guideway_dataplane::wire::ethernet::MacAddress;

use super::Vf;
use crate::driver::device::Device;

/// Reason for which live operation cannot start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartError {
    /// EAL was started a second time; a process starts it once.
    AlreadyStarted,
    /// No huge page is free, and the configuration asks for them.
    NoHugePages,
    /// EAL did not start.
    Eal {
        /// Cause as DPDK logged it.
        message: String,
    },
    /// No PCI function has this address.
    NoSuchDevice {
        /// Address of the PCI function.
        device: String,
    },
    /// A PCI function belongs to a driver that keeps it from DPDK.
    WrongDriver {
        /// Address of the PCI function.
        device: String,
        /// Name of the kernel's driver; None if no driver has the function.
        driver: Option<String>,
        /// State of the driver that is to have it.
        vfio: Vfio,
    },
    /// DPDK's driver did not take a device.
    DeviceRefused {
        /// Device as configured.
        device: String,
        /// Cause as DPDK logged it.
        message: String,
    },
    /// A device is configured twice.
    DeviceTaken {
        /// Device as configured.
        device: String,
    },
    /// The mempool's buffers are too small for the port's longest frame.
    BuffersTooSmall {
        /// Device as configured.
        device: String,
        /// Bytes of the port's longest frame.
        frame_len: u32,
        /// Bytes that a buffer holds.
        data_room: u32,
    },
    /// A device takes no packets of the port's MTU.
    MtuTooLong {
        /// Device as configured.
        device: String,
        /// MTU asked for.
        mtu: u16,
        /// Bytes of the longest packet that the device takes.
        longest: u16,
    },
    /// A device, or the PF of a VF, refuses the port's MTU though the driver's limits admit it.
    MtuRefused {
        /// Device as configured.
        device: String,
        /// MTU asked for.
        mtu: u16,
        /// Interface of the PF and its MTU, for a VF whose PF the kernel drives.
        pf: Option<(String, u32)>,
        /// Cause as DPDK logged it.
        message: String,
    },
    /// A device takes no frames for the appliance's MAC address.
    MacRefused {
        /// Device as configured.
        device: String,
        /// MAC address of the appliance.
        mac: MacAddress,
        /// Number of a VF, and its PF; None for other devices.
        vf: Option<Vf>,
        /// Cause as DPDK logged it, or the name of the error.
        message: String,
    },
    /// A step of opening a port failed.
    PortRefused {
        /// Device as configured.
        device: String,
        /// Step that failed, as a verb phrase.
        step: &'static str,
        /// Cause as DPDK logged it, or the name of the error.
        message: String,
    },
    /// There was not enough memory for the mbufs.
    NoMemoryForMbufs {
        /// Mbufs asked for.
        mbufs: u32,
        /// Memory that the mbufs take, in MiB.
        mebibytes: u32,
        /// Cause as DPDK logged it, or the name of the error.
        message: String,
    },
    /// A worker's core is not online.
    CoreOffline {
        /// Number of the core.
        core: usize,
        /// Cores that are online, as the kernel lists them: `0-3,8`.
        online: String,
    },
    /// A core is online, but this process may not run on it.
    CoreForbidden {
        /// Number of the core.
        core: usize,
    },
    /// EAL has no room for another thread, or has registered this one before.
    ThreadRefused {
        /// Cause of the refusal.
        message: String,
    },
}

/// State of `vfio-pci`, as far as it decides whether that takes a PCI function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vfio {
    /// True if the module is loaded.
    pub is_loaded: bool,
    /// True if there is an IOMMU, or the module may do without.
    pub has_iommu: bool,
}

/// Way to bind a PCI function to `vfio-pci`, in its present state.
struct Binding<'a>(&'a str, Vfio);

impl fmt::Display for Binding<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(device, vfio) = self;
        if !vfio.is_loaded {
            f.write_str("`modprobe vfio-pci`, then ")?;
        }
        write!(f, "`dpdk-devbind.py --bind=vfio-pci {device}`")?;
        if !vfio.has_iommu {
            f.write_str(
                "; that needs an IOMMU, and the kernel shows none: switch it on (in the firmware, and `intel_iommu=on`), or \
                 bind a physical function to `uio_pci_generic`",
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyStarted => {
                f.write_str("DPDK was started in this process before: start a new process to start it again")
            }
            Self::NoHugePages => f.write_str(
                "no huge page is free: reserve some (`sysctl vm.nr_hugepages=512`), or set `no_huge = true` for a test",
            ),
            Self::Eal { message } => {
                write!(f, "DPDK does not start ({message}): run as root, and see that no other process uses its devices")
            }
            Self::NoSuchDevice { device } => write!(
                f,
                "there is no PCI device {device}: `dpdk-devbind.py --status-dev net` lists those that there are; \
                 VFs come to be by `echo 1 > /sys/class/net/INTERFACE/device/sriov_numvfs`"
            ),
            Self::WrongDriver { device, driver: Some(driver), vfio } => {
                write!(f, "{device} is bound to the kernel's driver `{driver}`: {}", Binding(device, *vfio))
            }
            Self::WrongDriver { device, driver: None, vfio } => {
                write!(f, "{device} is bound to no driver: {}", Binding(device, *vfio))
            }
            Self::DeviceRefused { device, message } if message.contains("resource busy") => write!(
                f,
                "`{device}` cannot be used ({message}): another process has it, or another device of its IOMMU group; end \
                 that process (`fuser -v /dev/vfio/*` names it)"
            ),
            Self::DeviceRefused { device, message } if matches!(device.parse(), Ok(Device::Pci(_))) => write!(
                f,
                "`{device}` cannot be used ({message}): see that DPDK has a driver for it, and that all devices of its IOMMU \
                 group are bound to `vfio-pci` (`dpdk-devbind.py --status-dev net`)"
            ),
            Self::DeviceRefused { device, message } => write!(
                f,
                "`{device}` cannot be used ({message}): check the device's name and its arguments, and that the \
                 interface or file they name exists"
            ),
            Self::DeviceTaken { device } => {
                write!(f, "`{device}` is configured twice: name each device once")
            }
            Self::BuffersTooSmall { device, frame_len, data_room } => write!(
                f,
                "`{device}` takes frames of {frame_len} bytes and an mbuf holds {data_room}: lower the port's MTU, \
                 or raise the mempool's data room"
            ),
            Self::MtuTooLong { device, mtu, longest } => write!(
                f,
                "`{device}` takes packets of at most {longest} bytes, and the port's `mtu` is {mtu}: lower `mtu`, or use \
                 a device that takes them"
            ),
            Self::MtuRefused { device, mtu, pf: Some((pf, pf_mtu)), message } => write!(
                f,
                "`{device}` refuses its `mtu` of {mtu} ({message}): its PF {pf} has an MTU of {pf_mtu}; raise that (`ip link \
                 set {pf} mtu {mtu}`), or lower `mtu`"
            ),
            Self::MtuRefused { device, mtu, pf: None, message } => write!(
                f,
                "`{device}` refuses its `mtu` of {mtu} ({message}): lower `mtu`, or raise that of whoever lends the device"
            ),
            Self::MacRefused { device, mac, vf, message } => {
                write!(f, "`{device}` refuses the MAC address {mac} of `[network] mac_address` ({message}): ")?;
                match vf {
                    Some(Vf { number, interface }) => {
                        let pf = interface.as_deref().unwrap_or("PF");
                        write!(
                            f,
                            "have its PF give it that address (`ip link set {pf} vf {number} mac {mac}`) or trust it \
                             (`ip link set {pf} vf {number} trust on`), or leave out `mac_address`"
                        )
                    }
                    None => f.write_str("leave out `mac_address`, or set the port's `promiscuous`"),
                }
            }
            Self::PortRefused { device, step, message } => {
                write!(
                    f,
                    "`{device}` refuses to {step} ({message}): check the device's arguments, and leave the port's settings \
                     at their defaults"
                )
            }
            Self::NoMemoryForMbufs { mbufs, mebibytes, message } => write!(
                f,
                "no memory for {mbufs} mbufs, about {mebibytes} MiB ({message}): reserve more huge pages, or lower the \
                 number of mbufs"
            ),
            Self::CoreOffline { core, online } => {
                write!(f, "core {core} is not online: choose from {online}, or bring it up (`chcpu -e {core}`)")
            }
            Self::CoreForbidden { core } => {
                write!(f, "this process may not run on core {core}: widen its cpuset (`taskset -pc`, `AllowedCPUs=`)")
            }
            Self::ThreadRefused { message } => {
                write!(f, "DPDK does not register the worker's thread ({message}): run fewer workers")
            }
        }
    }
}

impl std::error::Error for StartError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_device_has_the_remedy_of_its_kind() {
        let refused = |device: &str, message: &str| {
            let (device, message) = (device.to_owned(), message.to_owned());
            StartError::DeviceRefused { device, message }.to_string()
        };
        let busy = refused("0000:01:10.2", "EAL: Cannot open /dev/vfio/16: Device or resource busy");
        assert!(busy.contains("another process has it"), "{busy}");
        let unknown = refused("0000:01:10.2", "No such device");
        assert!(unknown.contains("see that DPDK has a driver for it"), "{unknown}");
        let file = refused("net_pcap0,rx_pcap=none", "Couldn't open none");
        assert!(file.contains("the interface or file they name exists"), "{file}");
    }
}
