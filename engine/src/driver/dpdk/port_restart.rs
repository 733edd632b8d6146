//! Restart and removal of an open port, while the workers keep away from its queues.
//!
//! ```text
//! control thread: pause ──▶ is_paused ──▶ begin_restart ──────────────────────────▶ end_restart: the gate opens
//! any thread:                                  └─▶ Reset::run, which may take seconds ──┘
//! ```
//!
//! A driver may wait for its PF, which the control thread must not. From the beginning of a reset to the end of one that
//! succeeds, the control thread asks the driver nothing: what it would answer may not be there.
#![allow(unsafe_code)]

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use guideway_dataplane::wire::ethernet::MacAddress;
use guideway_dpdk_sys as sys;

use super::address_filter::{self, Kind, NOT_SUPPORTED};
use super::ethdev::{check, device_info};
use super::kernel_drops::{KernelDrops, OpenBefore};
use super::kernel_interfaces::KernelInterfaces;
use super::open_port::OpenPort;
use super::port::link_of;
use super::port_addresses::DeviceFilter;
use super::port_setup::{set_up, settle};
use super::signals::{self, Signals};
use super::{
    InterfaceState, Mempool, Port, PortOptions, Rss, StartError, dpdk_log, eal, link_return, open_files,
    vlan_filter,
};
use crate::driver::device::Device;

/// Reset of a port's device that was begun, for a thread that may wait for the driver. There is one of a port at a time.
pub struct Reset<'eal> {
    port: Arc<OpenPort<'eal>>,
    device: Device,
    options: PortOptions,
    pool: Mempool<'eal>,
    kind: Kind,
    mac: MacAddress,
    groups: Vec<MacAddress>,
    vlans: BTreeSet<u16>,
    /// True if a reset is in vain without a link.
    needs_link: bool,
    driver: String,
    /// Interfaces of the kernel below the device.
    interfaces: KernelInterfaces,
}

/// Result of a reset, for the port's control thread.
#[derive(Debug)]
pub struct ResetOutcome {
    port: u16,
    result: Result<Renewed, StartError>,
}

/// State of a device after its reset.
#[derive(Debug)]
struct Renewed {
    rss: Option<Rss>,
    groups: Vec<MacAddress>,
    vlans: BTreeSet<u16>,
    interfaces: KernelInterfaces,
    drops: KernelDrops,
}

impl Reset<'_> {
    /// Resets the device, sets it up as it was opened, and tells it the addresses and VLANs that it was told before. May take
    /// as long as the driver waits.
    pub fn run(self) -> ResetOutcome {
        let result = self.renew();
        open_files::close_in_children();
        ResetOutcome { port: self.port.id(), result }
    }

    fn renew(&self) -> Result<Renewed, StartError> {
        let (id, device) = (self.port.id(), &self.device);
        dpdk_log::forget();
        match self.interfaces.state() {
            Some(InterfaceState::Gone) => {
                let message = format!("its network interface {} is gone", self.interfaces.gone());
                return Err(StartError::PortRefused {
                    device: device.to_string(),
                    step: "be reset",
                    message,
                });
            }
            Some(InterfaceState::Replaced) => self.make_anew()?,
            _ if !self.port.is_plugged() => self.make_anew()?,
            _ => self.reset()?,
        }
        let info = device_info(id, device)?;
        let before = OpenBefore::look(&self.driver);
        // The workers go by the queues that there were: fewer will not do.
        set_up(&self.port, device, &self.options, &info, self.pool).map_err(|(_, error)| error)?;
        let rss = settle(id, device, &self.options, &info)?;
        // A refusal leaves the device with what it takes: a port that receives less is better than none, and the PF of a VF
        // may have reset it to give it another address.
        let mut filter = DeviceFilter { port: id };
        if self.mac != filter.address() {
            let _ = address_filter::adopt(&mut filter, self.mac, self.kind, self.options.promiscuous);
        }
        let _ = address_filter::listen(&mut filter, &self.groups, self.kind);
        // Every VLAN anew, as the device has forgotten them; the control thread asks again for those that it refuses.
        let mut vlans = BTreeSet::new();
        let _ = vlan_filter::tell(id, device, &self.vlans, &mut vlans);
        if self.needs_link && !comes_up(id) {
            let message = "it has no link afterwards: its PF is down, or does not answer".to_owned();
            return Err(StartError::PortRefused { device: device.to_string(), step: "be reset", message });
        }
        let interfaces = KernelInterfaces::of(device, &info);
        let drops = KernelDrops::of(&self.driver, &interfaces, &before);
        Ok(Renewed { rss, groups: self.groups.clone(), vlans, interfaces, drops })
    }

    /// Has the driver reset the device.
    fn reset(&self) -> Result<(), StartError> {
        let (id, device) = (self.port.id(), &self.device);
        // SAFETY: the port exists, and nobody polls it, or asks its driver anything; the port is stopped first.
        let result = unsafe { sys::rte_eth_dev_reset(id) };
        if result != NOT_SUPPORTED {
            return check(result, device, "be reset");
        }
        // Drivers without a reset, such as that of an 82576's VFs, reset the device when they start it.
        // SAFETY: as above.
        let result = unsafe { sys::rte_eth_dev_stop(id) };
        check(result, device, "stop")
    }

    /// Gives the device back, and takes it once more: its driver opens a network interface of the kernel then, and never again.
    fn make_anew(&self) -> Result<(), StartError> {
        let (id, device) = (self.port.id(), &self.device);
        if self.port.is_plugged() {
            self.port.set_plugged(false);
            // SAFETY: the port exists, and nobody polls it, or asks its driver anything.
            unsafe { sys::rte_eth_dev_stop(id) };
            // SAFETY: as above, and the port is stopped.
            unsafe { sys::rte_eth_dev_close(id) };
        }
        // Not there any more where an earlier attempt has ended after it.
        let _ = eal::unplug(device);
        eal::plug(device)?;
        let found = eal::port_id(device)?;
        if found != id {
            // Workers know the port by its number, which it gets where no port before it is away.
            eal::unplug(device)?;
            let message = format!("DPDK gives it the number {found}, and workers know it as {id}");
            return Err(StartError::PortRefused {
                device: device.to_string(),
                step: "be taken again",
                message,
            });
        }
        self.port.set_plugged(true);
        signals::listen(id);
        Ok(())
    }
}

/// Waits for a link for some seconds; true once there is one.
fn comes_up(id: u16) -> bool {
    (0..50).any(|_| {
        thread::sleep(Duration::from_millis(100));
        link_of(id).up
    })
}

impl Drop for Reset<'_> {
    fn drop(&mut self) {
        self.port.release_driver();
    }
}

impl fmt::Debug for Reset<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reset").field("device", &self.device).finish_non_exhaustive()
    }
}

impl<'eal> Port<'eal> {
    /// Takes the signals of the device since the last call.
    pub fn take_signals(&self) -> Signals {
        signals::take(self.open_port().id())
    }

    /// Keeps the workers away from the port's queues, from their next polls on: they receive nothing, and send nothing.
    pub fn pause(&self) {
        self.open_port().gate().close();
    }

    /// True if the port is paused and no worker is at its queues.
    pub fn is_paused(&self) -> bool {
        self.open_port().gate().is_quiet()
    }

    /// Begins a reset of the device. Until [`end_restart`](Self::end_restart) takes in one that has succeeded, which may take
    /// several, the workers stay away and the port answers by what was known of it before.
    ///
    /// # Errors
    /// [`StartError::PortRefused`] while the port is not paused, or another reset of it goes on.
    pub fn begin_restart(&self) -> Result<Reset<'eal>, StartError> {
        self.expect_quiet("be reset")?;
        if !self.open_port().claim_driver() {
            return Err(self.refused("be reset", "a reset of it goes on"));
        }
        self.lose();
        let addresses = self.addresses().borrow();
        Ok(Reset {
            port: self.shared_port(),
            device: self.device().clone(),
            options: *self.options(),
            pool: self.pool(),
            kind: self.kind(),
            mac: addresses.mac.unwrap_or(self.own_mac()),
            groups: addresses.groups.clone(),
            vlans: self.wanted_vlans().borrow().clone(),
            needs_link: link_return::needs_link(self.driver()),
            driver: self.driver().to_owned(),
            interfaces: self.interfaces().borrow().clone(),
        })
    }

    /// Takes in the end of a reset; after one that has succeeded, lets the workers poll the device again.
    ///
    /// # Errors
    /// [`StartError::PortRefused`] names the step that failed.
    pub fn end_restart(&self, outcome: ResetOutcome) -> Result<(), StartError> {
        if outcome.port != self.id() {
            return Err(self.refused("be reset", "the reset was another port's"));
        }
        let Renewed { rss, groups, vlans, interfaces, drops } = outcome.result?;
        self.expect_quiet("be polled again")?;
        if !self.open_port().claim_driver() {
            return Err(self.refused("be polled again", "another reset of it goes on"));
        }
        self.open_port().release_driver();
        self.renew(rss);
        *self.interfaces().borrow_mut() = interfaces;
        self.drops().borrow_mut().follow(drops);
        *self.taken_vlans().borrow_mut() = vlans;
        // Addresses and VLANs that were asked for meanwhile.
        self.tell_addresses_since(&groups);
        let wanted = self.wanted_vlans().borrow().clone();
        let _ = self.take_vlans(&wanted);
        self.open_port().gate().open();
        Ok(())
    }

    /// Resets the device on this thread, as [`begin_restart`](Self::begin_restart) and what follows it do.
    ///
    /// # Errors
    /// [`StartError::PortRefused`] as these do.
    pub fn restart(&self) -> Result<(), StartError> {
        self.end_restart(self.begin_restart()?.run())
    }

    /// Closes the port for good and releases its device, whatever drives it: no worker ever polls it again.
    ///
    /// # Errors
    /// [`StartError::PortRefused`] if the device is closed and its bus keeps it all the same, which another call may change,
    /// or if the port is not paused, or is being reset.
    pub fn remove(&self) -> Result<(), StartError> {
        if self.open_port().is_open() {
            self.expect_quiet("be removed")?;
        }
        if !self.open_port().claim_driver() {
            return Err(self.refused("be removed", "a reset of it goes on"));
        }
        dpdk_log::forget();
        self.lose();
        self.open_port().close();
        self.open_port().release_driver();
        eal::unplug(self.device())
    }

    fn expect_quiet(&self, step: &'static str) -> Result<(), StartError> {
        if self.is_paused() && self.open_port().is_open() {
            return Ok(());
        }
        Err(self.refused(step, "workers may poll it, or it is closed"))
    }

    fn refused(&self, step: &'static str, cause: &str) -> StartError {
        StartError::PortRefused { device: self.device().to_string(), step, message: cause.to_owned() }
    }
}
