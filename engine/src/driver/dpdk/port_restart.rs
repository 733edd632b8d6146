//! Restart and removal of an open port, while the workers keep away from its queues.
#![allow(unsafe_code)]

use std::ffi::CString;

use guideway_dpdk_sys as sys;

use super::address_filter::NOT_SUPPORTED;
use super::ethdev::check;
use super::signals::{self, Signals};
use super::{Port, StartError, dpdk_log};
use crate::driver::device::Device;

impl Port<'_> {
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

    /// Resets the device, sets it up as it was opened, and lets the workers poll it again; the VLANs that it took have to be told
    /// it again. Until this succeeds, which may
    /// take several calls, they stay away.
    ///
    /// # Errors
    /// [`StartError::PortRefused`] names the step that failed; and so it does while the port is not paused.
    pub fn restart(&self) -> Result<(), StartError> {
        self.expect_quiet("be reset")?;
        let (id, device) = (self.open_port().id(), self.device());
        dpdk_log::forget();
        // SAFETY: the port exists, and nobody polls it; the port is stopped first.
        let result = unsafe { sys::rte_eth_dev_reset(id) };
        if result == NOT_SUPPORTED {
            // Drivers without a reset, such as that of an 82576's VFs, reset the device when they start it.
            // SAFETY: as above.
            let result = unsafe { sys::rte_eth_dev_stop(id) };
            check(result, device, "stop")?;
        } else {
            check(result, device, "be reset")?;
        }
        self.set_up()?;
        self.taken_vlans().take();
        self.open_port().gate().open();
        Ok(())
    }

    /// Closes the port for good and releases its device, whatever drives it: no worker ever polls it again.
    ///
    /// # Errors
    /// [`StartError::PortRefused`] if the device is closed and its bus keeps it all the same, which another call may change,
    /// or if the port is not paused.
    pub fn remove(&self) -> Result<(), StartError> {
        if self.open_port().is_open() {
            self.expect_quiet("be removed")?;
        }
        dpdk_log::forget();
        self.open_port().close();
        let bus = match self.device() {
            Device::Pci(_) => c"pci",
            Device::Virtual(_) => c"vdev",
        };
        let name = CString::new(self.device().name()).expect("parsing admits no NUL");
        // SAFETY: EAL runs; both names end in NUL, and are read before the call returns.
        let result = unsafe { sys::rte_eal_hotplug_remove(bus.as_ptr(), name.as_ptr()) };
        check(result, self.device(), "be released")
    }

    fn expect_quiet(&self, step: &'static str) -> Result<(), StartError> {
        if self.is_paused() && self.open_port().is_open() {
            return Ok(());
        }
        let message = "workers may poll it, or it is closed".to_owned();
        Err(StartError::PortRefused { device: self.device().to_string(), step, message })
    }
}
