//! Signals of devices: drivers give them on EAL's own thread, at any time, and the control thread takes them when it looks.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU8, Ordering};

use guideway_dpdk_sys as sys;

/// Signals that nobody has taken yet, by DPDK's number of the port.
static PENDING: [AtomicU8; sys::RTE_MAX_ETHPORTS as usize] =
    [const { AtomicU8::new(0) }; sys::RTE_MAX_ETHPORTS as usize];

const LINK: u8 = 1;
const RESET: u8 = 2;
const REMOVAL: u8 = 4;

/// Signals of one device since they were last taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// True if the link has changed.
    pub link: bool,
    /// True if the device has to be reset before it works again, as a VF has whose PF was reset.
    pub reset: bool,
    /// True if the device is gone, or the kernel waits for this process to release it.
    pub removal: bool,
}

/// Takes the signals of a port.
pub(super) fn take(port: u16) -> Signals {
    let Some(pending) = PENDING.get(usize::from(port)) else { return Signals::default() };
    // Relaxed: signals carry nothing but themselves. Read first, so that a look costs no write.
    let bits = if pending.load(Ordering::Relaxed) == 0 { 0 } else { pending.swap(0, Ordering::Relaxed) };
    Signals { link: bits & LINK != 0, reset: bits & RESET != 0, removal: bits & REMOVAL != 0 }
}

/// Has a port's driver signal what happens to its device. A driver that knows of no such events never does.
pub(super) fn listen(port: u16) {
    for event in [sys::RTE_ETH_EVENT_INTR_LSC, sys::RTE_ETH_EVENT_INTR_RESET, sys::RTE_ETH_EVENT_INTR_RMV] {
        // SAFETY: the port exists; the function may be called by any thread at any time, and has no argument to outlive.
        let result =
            unsafe { sys::rte_eth_dev_callback_register(port, event, Some(on_port_event), null_mut()) };
        debug_assert!(result >= 0, "the port exists");
    }
}

/// Has the bus signal devices that the kernel is to take away: of a VF that is being removed, its driver says nothing.
pub(super) fn listen_to_buses() {
    // SAFETY: EAL runs; the rest is as above.
    let _ =
        unsafe { sys::rte_dev_event_callback_register(std::ptr::null(), Some(on_device_event), null_mut()) };
}

/// Notes that a device has to be reset.
pub(super) fn ask_for_reset(port: u16) {
    signal(port, RESET);
}

fn signal(port: u16, bit: u8) {
    if let Some(pending) = PENDING.get(usize::from(port)) {
        pending.fetch_or(bit, Ordering::Relaxed);
    }
}

/// Notes an event of a port. The driver, which calls this, may hold locks: no more is done here.
unsafe extern "C" fn on_port_event(
    port: u16,
    event: sys::rte_eth_event_type,
    _: *mut c_void,
    _: *mut c_void,
) -> c_int {
    match event {
        sys::RTE_ETH_EVENT_INTR_LSC => signal(port, LINK),
        sys::RTE_ETH_EVENT_INTR_RESET => signal(port, RESET),
        sys::RTE_ETH_EVENT_INTR_RMV => signal(port, REMOVAL),
        _ => {}
    }
    0
}

/// Notes an event of a device on its bus.
unsafe extern "C" fn on_device_event(name: *const c_char, event: sys::rte_dev_event_type, _: *mut c_void) {
    let mut port = 0;
    if event == sys::RTE_DEV_EVENT_REMOVE {
        // SAFETY: EAL, which calls this, passes a device's name that ends in NUL, and which is that of its port.
        let found = unsafe { sys::rte_eth_dev_get_port_by_name(name, &raw mut port) };
        if found == 0 {
            signal(port, REMOVAL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_taken_once() {
        let port = sys::RTE_MAX_ETHPORTS as u16 - 1;
        let event = |event| {
            // SAFETY: the function reads nothing but its first two arguments.
            let result = unsafe { on_port_event(port, event, null_mut(), null_mut()) };
            assert_eq!(result, 0);
        };
        event(sys::RTE_ETH_EVENT_INTR_RESET);
        event(sys::RTE_ETH_EVENT_INTR_LSC);
        event(sys::RTE_ETH_EVENT_INTR_RESET);
        event(sys::RTE_ETH_EVENT_NEW);
        assert_eq!(take(port), Signals { link: true, reset: true, removal: false });
        assert_eq!(take(port), Signals::default());
        event(sys::RTE_ETH_EVENT_INTR_RMV);
        assert!(take(port).removal);
        assert_eq!(take(u16::MAX), Signals::default());
    }
}
