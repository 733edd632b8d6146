//! Addresses that an open port is told to take frames for, when it is opened, when they change and after each reset.
#![allow(unsafe_code)]

use std::path::Path;

use guideway_dataplane::wire::ethernet::MacAddress;
use guideway_dpdk_sys as sys;

use super::address_filter::{self, Filter, Kind, Refused};
use super::port::mac_of;
use super::{Port, StartError, dpdk_log, preflight};
use crate::driver::device::Device;

/// Filter of a device.
pub(super) struct DeviceFilter {
    pub(super) port: u16,
}

impl Port<'_> {
    /// Has the device take the frames for `mac`, and as its own address if it can; None is the address that the device had
    /// when it was opened. Returns a sentence for the operator if there is something to know.
    ///
    /// # Errors
    /// [`StartError::MacRefused`] if the device takes no frames for the address.
    pub fn adopt_mac(&self, mac: Option<MacAddress>) -> Result<Option<String>, StartError> {
        let before = std::mem::replace(&mut self.addresses().borrow_mut().mac, mac);
        if before == mac {
            return Ok(None);
        }
        let programmed = self.program_mac();
        if programmed.is_err() {
            // So that the next reload asks again, and a reset asks for what the device takes.
            self.addresses().borrow_mut().mac = before;
        }
        programmed
    }

    /// Gives the device the MAC address that it is to have.
    fn program_mac(&self) -> Result<Option<String>, StartError> {
        let wanted = self.addresses().borrow().mac.unwrap_or(self.own_mac());
        // A device that is being reset is told by the next reset that succeeds.
        if !self.is_usable() || wanted == self.mac() {
            return Ok(None);
        }
        dpdk_log::forget();
        let adopted =
            address_filter::adopt(&mut self.filter(), wanted, self.kind(), self.options().promiscuous);
        adopted.map_err(|Refused(result)| StartError::MacRefused {
            device: self.device().to_string(),
            mac: wanted,
            vf: preflight::vf(Path::new("/sys"), self.device()),
            message: dpdk_log::message(result),
        })
    }

    /// Has the device take the frames of these groups, or all multicast frames. Returns a sentence for the operator if that
    /// is not so, and was not said before.
    pub fn listen(&self, groups: &[MacAddress]) -> Option<String> {
        let mut addresses = self.addresses().borrow_mut();
        addresses.groups = groups.to_vec();
        if !self.is_usable() {
            return None;
        }
        dpdk_log::forget();
        let remark = address_filter::listen(&mut self.filter(), groups, self.kind());
        let is_new = remark != addresses.remark;
        addresses.remark.clone_from(&remark);
        remark.filter(|_| is_new)
    }

    /// Sentence for the operator if the PF of a VF takes shorter packets than the port: some PFs then drop the VF's longer
    /// ones without a word.
    pub fn remark_of_mtu(&self) -> Option<String> {
        let (pf, pf_mtu) = preflight::pf_mtu(Path::new("/sys"), self.device())?;
        let mtu = self.mtu();
        (pf_mtu < u32::from(mtu)).then(|| {
            format!(
                "its PF {pf} has an MTU of {pf_mtu}, the port one of {mtu}: longer packets may be lost; `ip link set {pf} mtu \
                 {mtu}` lets them through"
            )
        })
    }

    /// Tells the device after a reset, in which it was told these groups, what else it is to take since.
    pub(super) fn tell_addresses_since(&self, told: &[MacAddress]) {
        let _ = self.program_mac();
        let groups = self.addresses().borrow().groups.clone();
        if groups != told {
            self.listen(&groups);
        }
    }

    fn filter(&self) -> DeviceFilter {
        DeviceFilter { port: self.open_port().id() }
    }

    /// Kind of the device, as far as its filter goes.
    pub(super) fn kind(&self) -> Kind {
        let has_pf = preflight::vf(Path::new("/sys"), self.device()).is_some();
        Kind::of(matches!(self.device(), Device::Pci(_)), self.driver(), has_pf)
    }
}

impl DeviceFilter {
    /// MAC address that the device has now.
    pub(super) fn address(&self) -> MacAddress {
        mac_of(self.port)
    }
}

impl Filter for DeviceFilter {
    fn take_all_groups(&mut self, on: bool) -> i32 {
        if on {
            // SAFETY: the port exists.
            unsafe { sys::rte_eth_allmulticast_enable(self.port) }
        } else {
            // SAFETY: as above.
            unsafe { sys::rte_eth_allmulticast_disable(self.port) }
        }
    }

    fn take_groups(&mut self, groups: &[MacAddress]) -> i32 {
        let mut groups: Vec<_> =
            groups.iter().map(|group| sys::rte_ether_addr { addr_bytes: group.0 }).collect();
        // SAFETY: the port exists; the list has the stated length and is copied.
        unsafe { sys::rte_eth_dev_set_mc_addr_list(self.port, groups.as_mut_ptr(), groups.len() as u32) }
    }

    fn take_everything(&mut self) -> i32 {
        // SAFETY: the port exists.
        unsafe { sys::rte_eth_promiscuous_enable(self.port) }
    }

    fn change_address(&mut self, mac: MacAddress) -> i32 {
        let mut address = sys::rte_ether_addr { addr_bytes: mac.0 };
        // SAFETY: the port exists; the address is copied.
        unsafe { sys::rte_eth_dev_default_mac_addr_set(self.port, &raw mut address) }
    }

    fn add_address(&mut self, mac: MacAddress) -> i32 {
        let mut address = sys::rte_ether_addr { addr_bytes: mac.0 };
        // SAFETY: the port exists; the address is copied. Pool 0 is that of a device without pools.
        unsafe { sys::rte_eth_dev_mac_addr_add(self.port, &raw mut address, 0) }
    }
}
