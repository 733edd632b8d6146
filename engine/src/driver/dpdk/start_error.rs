//! Why live operation cannot start, each in one line with its remedy.

use std::fmt;

/// Why live operation cannot start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartError {
    /// A second EAL was asked for; a process has one, once.
    AlreadyStarted,
    /// No huge page is free, and the configuration wants them.
    NoHugePages,
    /// EAL did not start, for a reason that it states itself.
    Eal {
        /// Its last words.
        said: String,
    },
    /// No PCI function has this address.
    NoSuchDevice {
        /// The address.
        device: String,
    },
    /// A PCI function belongs to a driver that keeps it from DPDK.
    WrongDriver {
        /// The address.
        device: String,
        /// The kernel's driver, if any.
        driver: Option<String>,
    },
    /// DPDK's driver did not take a device.
    DeviceRefused {
        /// The device as configured.
        device: String,
        /// The driver's last words.
        said: String,
    },
    /// A device was opened before.
    DeviceTaken {
        /// The device as configured.
        device: String,
    },
    /// A device has fewer queues than there are workers.
    TooFewQueues {
        /// The device as configured.
        device: String,
        /// Queues asked for.
        asked: u16,
        /// Queues that it has.
        offered: u16,
    },
    /// The mempool's buffers are too small for the port's longest frame.
    BuffersTooSmall {
        /// The device as configured.
        device: String,
        /// The longest frame.
        frame_len: u32,
        /// What a buffer holds.
        data_room: u32,
    },
    /// A step of opening a port failed.
    PortRefused {
        /// The device as configured.
        device: String,
        /// What was to be done.
        step: &'static str,
        /// The error, and the driver's last words.
        said: String,
    },
    /// There was not enough memory for the mbufs.
    NoMemoryForMbufs {
        /// How many were wanted.
        mbufs: u32,
        /// The memory that they take, in MiB.
        mebibytes: u32,
        /// The error.
        said: String,
    },
    /// A worker's core is not online.
    CoreOffline {
        /// The core.
        core: usize,
        /// The cores that are, as the kernel lists them.
        online: String,
    },
    /// A core is online and closed to this process.
    CoreForbidden {
        /// The core.
        core: usize,
    },
    /// EAL has no place for another thread, or has this one already.
    ThreadRefused {
        /// Why.
        said: String,
    },
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
            Self::Eal { said } => {
                write!(f, "DPDK does not start ({said}): run as root, and see that no other process uses its devices")
            }
            Self::NoSuchDevice { device } => write!(
                f,
                "there is no PCI device {device}: `dpdk-devbind.py --status-dev net` lists those that there are; \
                 VFs come to be by `echo 1 > /sys/class/net/INTERFACE/device/sriov_numvfs`"
            ),
            Self::WrongDriver { device, driver: Some(driver) } => write!(
                f,
                "{device} is bound to the kernel's driver `{driver}`: `dpdk-devbind.py --bind=vfio-pci {device}`"
            ),
            Self::WrongDriver { device, driver: None } => {
                write!(f, "{device} is bound to no driver: `dpdk-devbind.py --bind=vfio-pci {device}`")
            }
            Self::DeviceRefused { device, said } => write!(
                f,
                "`{device}` cannot be used ({said}): check the device's name and its arguments, and that the \
                 interface or file they name exists"
            ),
            Self::DeviceTaken { device } => {
                write!(f, "`{device}` is configured twice: name each device once")
            }
            Self::TooFewQueues { device, asked, offered } => write!(
                f,
                "`{device}` has {offered} queue pair{} and {asked} workers want one each: run at most {offered} \
                 worker{}, or give the device more queues",
                plural(*offered),
                plural(*offered)
            ),
            Self::BuffersTooSmall { device, frame_len, data_room } => write!(
                f,
                "`{device}` takes frames of {frame_len} bytes and an mbuf holds {data_room}: lower the port's MTU, \
                 or raise the mempool's data room"
            ),
            Self::PortRefused { device, step, said } => {
                write!(
                    f,
                    "`{device}` refuses to {step} ({said}): check the device's arguments, and leave the port's settings \
                     at their defaults"
                )
            }
            Self::NoMemoryForMbufs { mbufs, mebibytes, said } => write!(
                f,
                "no memory for {mbufs} mbufs, about {mebibytes} MiB ({said}): reserve more huge pages, or lower the \
                 number of mbufs"
            ),
            Self::CoreOffline { core, online } => {
                write!(f, "core {core} is not online: choose from {online}, or bring it up (`chcpu -e {core}`)")
            }
            Self::CoreForbidden { core } => {
                write!(f, "this process may not run on core {core}: widen its cpuset (`taskset -pc`, `AllowedCPUs=`)")
            }
            Self::ThreadRefused { said } => {
                write!(f, "DPDK does not register the worker's thread ({said}): run fewer workers")
            }
        }
    }
}

impl std::error::Error for StartError {}

fn plural(count: u16) -> &'static str {
    if count == 1 { "" } else { "s" }
}
