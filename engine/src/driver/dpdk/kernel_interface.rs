//! Network interface of the kernel below a virtual device, as that of `net_af_packet`: DPDK's drivers look at it when they open it,
//! and say afterwards that the link is up, whatever has become of it.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use guideway_dpdk_sys as sys;

use crate::driver::device::Device;

/// Driver that makes its interface itself, and does so again.
const MAKER: &str = "net_tap";

/// Interface as it was when the device was opened.
#[derive(Clone, Debug)]
pub(super) struct KernelInterface {
    name: CString,
    index: u32,
    /// True if the driver makes the interface.
    is_made: bool,
    /// True once the interface was missed: the device's sockets are cut off from it then, even if it comes back with its index, as
    /// one does that was moved to another network namespace and back. Clones share it.
    was_missed: Arc<AtomicBool>,
}

/// State of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterfaceState {
    /// The interface is up and has a carrier.
    Up,
    /// The interface is down, or has no carrier.
    Down,
    /// The interface was deleted or moved to another network namespace, and none of its name is up.
    Gone,
    /// The interface was gone, and one of its name is up, or its driver can make it anew.
    Replaced,
}

impl KernelInterface {
    /// Interface below a device whose driver states its index; none where there is none, or the device is hardware.
    pub(super) fn of(device: &Device, info: &sys::rte_eth_dev_info) -> Option<Self> {
        if !matches!(device, Device::Virtual(_)) || info.if_index == 0 {
            return None;
        }
        // An interface that was deleted since the device was opened has no name but that of the argument.
        let name = name_of(info.if_index).or_else(|| CString::new(device.argument("iface")?).ok())?;
        Some(Self {
            name,
            index: info.if_index,
            is_made: device.is_driven_by(MAKER),
            was_missed: Arc::default(),
        })
    }

    /// Interface of this name, which a device has just been opened on; missed where there is none any more.
    pub(super) fn named(name: &str) -> Option<Self> {
        let name = CString::new(name).ok()?;
        // No interface has the index 0.
        let index = index_of(&name);
        Some(Self { name, index, is_made: false, was_missed: Arc::default() })
    }

    /// Index of the interface.
    pub(super) fn index(&self) -> u32 {
        self.index
    }

    /// Name of the interface.
    pub(super) fn name(&self) -> String {
        self.name.to_string_lossy().into_owned()
    }

    /// Notes that the interface was away, whether or not it is back.
    pub(super) fn miss(&self) {
        // Relaxed: it carries nothing but itself.
        self.was_missed.store(true, Ordering::Relaxed);
    }

    /// State of the interface now.
    pub(super) fn state(&self) -> InterfaceState {
        // Relaxed: it carries nothing but itself.
        if !self.was_missed.load(Ordering::Relaxed) {
            // An interface that was renamed is still the device's.
            match name_of(self.index) {
                Some(name) if runs(&name) => return InterfaceState::Up,
                Some(_) => return InterfaceState::Down,
                None => self.miss(),
            }
        }
        // A device is opened by the name, on an interface that is up.
        if self.is_made || index_of(&self.name) != 0 && runs(&self.name) {
            return InterfaceState::Replaced;
        }
        InterfaceState::Gone
    }
}

fn name_of(index: u32) -> Option<CString> {
    let mut name = [0; 16];
    // SAFETY: the function writes a name of at most 16 bytes, its end included.
    let found = unsafe { sys::guideway_interface_name(index, name.as_mut_ptr()) } == 0;
    // SAFETY: the array ends in NUL, as it was zero before, and no name is longer than 15 bytes.
    found.then(|| unsafe { CStr::from_ptr(name.as_ptr()) }.to_owned())
}

fn index_of(name: &CStr) -> u32 {
    // SAFETY: the name ends in NUL, and is read before the call returns.
    unsafe { sys::guideway_interface_index(name.as_ptr()) }
}

fn runs(name: &CStr) -> bool {
    // SAFETY: as above.
    unsafe { sys::guideway_interface_runs(name.as_ptr()) != 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_known_by_its_index_and_missed_by_it() {
        let device: Device = "net_af_packet0,iface=lo".parse().unwrap();
        let mut info = sys::rte_eth_dev_info { if_index: index_of(c"lo"), ..Default::default() };
        let interface = KernelInterface::of(&device, &info).expect("every namespace has one");
        assert_eq!((interface.name(), interface.is_made), ("lo".to_owned(), false));
        assert!(matches!(interface.state(), InterfaceState::Up | InterfaceState::Down));
        let missed = |name: &CStr| KernelInterface {
            name: name.to_owned(),
            index: u32::MAX >> 1,
            is_made: false,
            was_missed: Arc::default(),
        };
        assert_eq!(missed(c"guideway-none").state(), InterfaceState::Gone);
        let made = KernelInterface { is_made: true, ..missed(c"guideway-none") };
        assert_eq!(made.state(), InterfaceState::Replaced);
        // As after a way to another namespace and back, with its index.
        let mut returned = missed(c"lo");
        let replaced = returned.state();
        assert!(matches!(replaced, InterfaceState::Replaced | InterfaceState::Gone), "{replaced:?}");
        returned.index = interface.index();
        assert_eq!(returned.clone().state(), replaced);
        // Deleted between the opening of the device and the first look.
        info.if_index = u32::MAX >> 1;
        assert_eq!(KernelInterface::of(&device, &info).expect("an argument names it").state(), replaced);
        info.if_index = 0;
        assert!(KernelInterface::of(&device, &info).is_none());
    }
}
