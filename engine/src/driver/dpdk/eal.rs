//! DPDK's environment (EAL): started once in a process, by the thread that opens the ports, and ended after all else.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::{CString, c_char, c_int};
use std::fmt;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use guideway_dpdk_sys as sys;

use super::ethdev::check;
use super::{Running, StartError, dpdk_log, lcore, log_cause, open_files, preflight, signals};
use crate::driver::device::Device;

/// True once this process has tried to start EAL: what EAL leaves behind does not let it start again.
static STARTED: AtomicBool = AtomicBool::new(false);

/// True where bonds have members, as they do since DPDK 23.11.
const MEMBERS: bool = sys::RTE_VER_YEAR >= 23 && (sys::RTE_VER_YEAR > 23 || sys::RTE_VER_MONTH >= 11);

/// Version of DPDK whose headers this was compiled with: `22.11`.
pub fn version() -> String {
    format!("{}.{:02}", sys::RTE_VER_YEAR, sys::RTE_VER_MONTH)
}

/// Options that EAL starts with.
#[derive(Clone, Debug)]
pub struct EalOptions {
    /// Memory that frames are kept in.
    pub memory: Memory,
    /// Devices that this process drives; DPDK touches no other.
    pub devices: Vec<Device>,
    /// Cores that the calling thread, and the threads that it starts, may run on afterwards; all cores if it is
    /// empty.
    pub control_cores: Vec<usize>,
    /// Shows DPDK's own messages on standard error.
    pub verbose: bool,
}

/// Memory that frames are kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Huge pages, as many as are needed, without a file.
    HugePages,
    /// Ordinary pages: slower, and unfit for hardware. For tests.
    NoHuge {
        /// Size of the memory in MiB.
        mebibytes: u32,
    },
}

impl Default for EalOptions {
    fn default() -> Self {
        Self { memory: Memory::HugePages, devices: Vec::new(), control_cores: Vec::new(), verbose: false }
    }
}

/// Running EAL. It stays on the thread that started it; ports, mempools and registrations borrow it.
pub struct Eal {
    /// Ports that were opened, by DPDK's number.
    pub(super) opened: RefCell<BTreeSet<u16>>,
    /// `rte_eal_cleanup` belongs to the thread of `rte_eal_init`.
    not_send: PhantomData<*const ()>,
}

impl Eal {
    /// Starts EAL and probes the devices.
    ///
    /// # Errors
    /// [`StartError`] names what is missing; this process cannot try again once EAL itself has failed.
    pub fn init(options: &EalOptions) -> Result<Self, StartError> {
        let sys_directory = Path::new("/sys");
        if options.memory == Memory::HugePages {
            preflight::huge_pages(sys_directory)?;
        }
        for device in &options.devices {
            preflight::device(sys_directory, device)?;
        }
        for core in &options.control_cores {
            preflight::core(sys_directory, *core)?;
        }
        // AcqRel: two threads that race here agree on who was first; nothing else is passed on.
        if STARTED.swap(true, Ordering::AcqRel) {
            return Err(StartError::AlreadyStarted);
        }
        dpdk_log::open(options.verbose)?;
        let arguments = arguments(options);
        // EAL permutes the pointers and copies the texts.
        let mut pointers: Vec<*mut c_char> = arguments.iter().map(|text| text.as_ptr().cast_mut()).collect();
        let count = pointers.len() as c_int;
        // SAFETY: `pointers` holds `count` strings that end in NUL and live until the call returns; EAL reads them and
        // writes to the array alone. `STARTED` says that it was not called before.
        let parsed = unsafe { sys::rte_eal_init(count, pointers.as_mut_ptr()) };
        if parsed < 0 {
            return Err(StartError::Eal { message: dpdk_log::message(dpdk_log::errno()) });
        }
        let eal = Self { opened: RefCell::default(), not_send: PhantomData };
        lcore::claim_for_eal();
        // Devices on PCI were probed by now; what was logged of all of them tells why one is missing.
        let logged = dpdk_log::take();
        for device in &options.devices {
            eal.probe(device, &logged)?;
        }
        signals::listen_to_buses();
        open_files::close_in_children();
        dpdk_log::forget();
        Ok(eal)
    }

    /// Makes the proof by which a worker's thread registers.
    pub fn running(&self) -> Running<'_> {
        Running::new()
    }

    /// Makes a driver take a device. Devices on PCI were probed by EAL itself, which goes on without the ones that
    /// failed.
    fn probe(&self, device: &Device, logged: &[String]) -> Result<(), StartError> {
        if let Device::Pci(address) = device {
            return self.port_id(device).map(drop).map_err(|error| match error {
                StartError::DeviceRefused { device, message } => {
                    let names = preflight::log_names(Path::new("/sys"), *address);
                    let message = log_cause::cause(logged, &names).map_or(message, str::to_owned);
                    StartError::DeviceRefused { device, message }
                }
                error => error,
            });
        }
        if let Device::Virtual(_) = device {
            plug(device)?;
        }
        self.port_id(device).map(drop)
    }

    /// DPDK's number of a device's port.
    pub(super) fn port_id(&self, device: &Device) -> Result<u16, StartError> {
        port_id(device)
    }
}

/// Makes a virtual device, while EAL runs.
pub(super) fn plug(device: &Device) -> Result<(), StartError> {
    let arguments = CString::new(device.in_words_of(MEMBERS)).expect("parsing admits no NUL");
    dpdk_log::forget();
    // SAFETY: EAL runs; the string ends in NUL and is copied.
    let probed = unsafe { sys::rte_dev_probe(arguments.as_ptr()) };
    if probed < 0 {
        let message = dpdk_log::message(probed);
        return Err(StartError::DeviceRefused { device: device.to_string(), message });
    }
    Ok(())
}

/// Gives a device back to its bus, while EAL runs and its port is closed.
pub(super) fn unplug(device: &Device) -> Result<(), StartError> {
    let bus = match device {
        Device::Pci(_) => c"pci",
        Device::Virtual(_) => c"vdev",
    };
    let name = CString::new(device.name()).expect("parsing admits no NUL");
    // SAFETY: EAL runs; both names end in NUL, and are read before the call returns.
    let result = unsafe { sys::rte_eal_hotplug_remove(bus.as_ptr(), name.as_ptr()) };
    check(result, device, "be released")
}

/// DPDK's number of a device's port, while EAL runs.
pub(super) fn port_id(device: &Device) -> Result<u16, StartError> {
    let name = CString::new(device.name()).expect("parsing admits no NUL");
    let mut id = 0;
    // SAFETY: EAL runs; the name ends in NUL, and `id` is written to before the call returns, or not at all.
    let found = unsafe { sys::rte_eth_dev_get_port_by_name(name.as_ptr(), &raw mut id) };
    if found < 0 {
        let message = dpdk_log::message(found);
        return Err(StartError::DeviceRefused { device: device.to_string(), message });
    }
    Ok(id)
}

impl Drop for Eal {
    fn drop(&mut self) {
        // SAFETY: EAL runs, and this is the thread that started it. Ports, mempools, mbufs and registered threads
        // borrow `self`, so none is left. What was leaked on purpose is never used again.
        unsafe { sys::rte_eal_cleanup() };
    }
}

impl fmt::Debug for Eal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Eal").field("opened", &self.opened).finish_non_exhaustive()
    }
}

/// Makes EAL's command line.
fn arguments(options: &EalOptions) -> Vec<CString> {
    let cores = if options.control_cores.is_empty() {
        preflight::online_cores(Path::new("/sys"))
    } else {
        options.control_cores.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
    };
    // One lcore, the calling thread's, which may move among these cores; workers register theirs.
    let mut arguments: Vec<String> = ["guideway", "--no-telemetry", "--lcores"].map(String::from).to_vec();
    arguments.push(format!("0@({cores})"));
    // No files: nothing is left behind, and any number of processes go beside each other.
    match options.memory {
        Memory::HugePages => arguments.push("--in-memory".to_owned()),
        Memory::NoHuge { mebibytes } => {
            arguments.extend(["--no-huge", "--no-shconf", "-m"].map(String::from));
            arguments.push(mebibytes.to_string());
        }
    }
    let pci = options.devices.iter().flat_map(Device::pci_functions);
    let allowed: Vec<String> = pci.map(|function| format!("--allow={function}")).collect();
    if allowed.is_empty() {
        arguments.push("--no-pci".to_owned());
    }
    arguments.extend(allowed);
    arguments.into_iter().map(|text| CString::new(text).expect("none holds a NUL")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(options: &EalOptions) -> String {
        let words: Vec<_> = arguments(options).into_iter().map(|word| word.into_string().unwrap()).collect();
        words.join(" ")
    }

    #[test]
    fn only_configured_pci_devices_are_touched() {
        let mut options = EalOptions { control_cores: vec![0, 3], ..EalOptions::default() };
        assert_eq!(line(&options), "guideway --no-telemetry --lcores 0@(0,3) --in-memory --no-pci");
        options.devices = vec!["3b:02.0".parse().unwrap(), "net_null0".parse().unwrap()];
        assert!(line(&options).ends_with(" --in-memory --allow=0000:3b:02.0"));
        options.devices = vec!["net_bonding0,mode=4,slave=3b:00.0,slave=3b:00.1".parse().unwrap()];
        assert!(line(&options).ends_with(" --in-memory --allow=0000:3b:00.0 --allow=0000:3b:00.1"));
    }
}
