//! Network interface of the kernel below a virtual device, as that of `net_af_packet`: DPDK's drivers look at it when they open it,
//! and say afterwards that the link is up, whatever has become of it.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};

use guideway_dpdk_sys as sys;

use crate::driver::device::Device;

/// Driver that makes its interface itself, and does so again.
const MAKER: &str = "net_tap";

/// Interface as it was when the device was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KernelInterface {
    name: CString,
    index: u32,
    /// True if the driver makes the interface.
    is_made: bool,
}

/// State of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterfaceState {
    /// The interface is up and has a carrier.
    Up,
    /// The interface is down, or has no carrier.
    Down,
    /// The interface was deleted, and there is none of its name.
    Gone,
    /// The interface was deleted, and another one has its name, or its driver can make it anew.
    Replaced,
}

impl KernelInterface {
    /// Interface below a device whose driver states its index; none where there is none, or the device is hardware.
    pub(super) fn of(device: &Device, info: &sys::rte_eth_dev_info) -> Option<Self> {
        if !matches!(device, Device::Virtual(_)) || info.if_index == 0 {
            return None;
        }
        let name = name_of(info.if_index)?;
        Some(Self { name, index: info.if_index, is_made: device.is_driven_by(MAKER) })
    }

    /// Index of the interface.
    pub(super) fn index(&self) -> u32 {
        self.index
    }

    /// Name of the interface.
    pub(super) fn name(&self) -> String {
        self.name.to_string_lossy().into_owned()
    }

    /// State of the interface now.
    pub(super) fn state(&self) -> InterfaceState {
        // An interface that was renamed is still the device's.
        match name_of(self.index) {
            Some(name) if runs(&name) => InterfaceState::Up,
            Some(_) => InterfaceState::Down,
            None if self.is_made => InterfaceState::Replaced,
            // A device is opened on an interface that is up.
            None if index_of(&self.name) != 0 && runs(&self.name) => InterfaceState::Replaced,
            None => InterfaceState::Gone,
        }
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
        let missed =
            |name: &CStr| KernelInterface { name: name.to_owned(), index: u32::MAX >> 1, is_made: false };
        assert_eq!(missed(c"guideway-none").state(), InterfaceState::Gone);
        let made = KernelInterface { is_made: true, ..missed(c"guideway-none") };
        assert_eq!(made.state(), InterfaceState::Replaced);
        info.if_index = 0;
        assert_eq!(KernelInterface::of(&device, &info), None);
    }
}
