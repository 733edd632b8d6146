//! VLANs whose frames a port's device takes, where it filters them: those of the port's networks.
//!
//! A device that filters VLANs takes untagged frames and those of the VLANs that it was told. Others take every frame, and are
//! told nothing. A VF may filter whatever it is asked for, as its PF wants it.
#![allow(unsafe_code)]

use std::collections::BTreeSet;

use guideway_dpdk_sys as sys;
use rustix::io::Errno;

use super::ethdev::device_info;
use super::{Port, dpdk_log};
use crate::driver::device::Device;

/// VLAN of tags that have nothing but a priority: Linux has its devices take it too.
const PRIORITY: u16 = 0;

/// Calls to a driver, each with its result: 0, or a negative error number.
trait Filter {
    /// Switches the filter on or off.
    fn switch(&mut self, on: bool) -> i32;
    /// Takes the frames of a VLAN, or no longer does.
    fn set(&mut self, vlan: u16, on: bool) -> i32;
}

/// Refusal of VLANs, with the driver's first error number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    vlans: Vec<u16>,
    result: i32,
}

/// Has a device take the frames of these VLANs and of none that it has taken before; remembers those that it takes.
fn take(filter: &mut impl Filter, wanted: &BTreeSet<u16>, taken: &mut BTreeSet<u16>) -> Result<(), Refused> {
    if taken.is_empty() && !wanted.is_empty() {
        // A driver that cannot do so while the port runs has done so when it was opened, or refuses the VLANs.
        let _ = filter.switch(true);
        let _ = filter.set(PRIORITY, true);
    }
    let mut refused = Vec::new();
    for vlan in wanted {
        if !taken.contains(vlan) {
            match filter.set(*vlan, true) {
                0 => drop(taken.insert(*vlan)),
                result => refused.push((*vlan, result)),
            }
        }
    }
    // Workers drop the frames that a device goes on to take.
    let gone: Vec<u16> = taken.difference(wanted).copied().collect();
    for vlan in &gone {
        let _ = filter.set(*vlan, false);
        taken.remove(vlan);
    }
    if wanted.is_empty() && !gone.is_empty() {
        let _ = filter.switch(false);
    }
    match refused.first() {
        None => Ok(()),
        Some((_, result)) => {
            Err(Refused { vlans: refused.iter().map(|(vlan, _)| *vlan).collect(), result: *result })
        }
    }
}

/// Filter of a device.
struct DeviceFilter(u16);

impl Filter for DeviceFilter {
    fn switch(&mut self, on: bool) -> i32 {
        // SAFETY: the port exists.
        let now = unsafe { sys::rte_eth_dev_get_vlan_offload(self.0) };
        let flag = sys::RTE_ETH_VLAN_FILTER_OFFLOAD as i32;
        let wanted = if on { now | flag } else { now & !flag };
        if now < 0 || wanted == now {
            return now.min(0);
        }
        // SAFETY: the port exists.
        unsafe { sys::rte_eth_dev_set_vlan_offload(self.0, wanted) }
    }

    fn set(&mut self, vlan: u16, on: bool) -> i32 {
        // SAFETY: the port exists.
        unsafe { sys::rte_eth_dev_vlan_filter(self.0, vlan, on.into()) }
    }
}

/// Has a device that filters VLANs take the frames of these; remembers those that it takes.
pub(super) fn tell(
    id: u16,
    device: &Device,
    wanted: &BTreeSet<u16>,
    taken: &mut BTreeSet<u16>,
) -> Result<(), Refused> {
    let filters =
        device_info(id, device).is_ok_and(|info| info.rx_offload_capa & sys::guideway_rx_vlan_filter != 0);
    if filters { take(&mut DeviceFilter(id), wanted, taken) } else { Ok(()) }
}

impl Port<'_> {
    /// Has a device that filters VLANs take the frames of these, besides untagged ones, and of no others; without any, it takes
    /// every frame again. Returns a sentence for the operator if the device refuses one.
    pub fn take_vlans(&self, vlans: &BTreeSet<u16>) -> Option<String> {
        if *self.wanted_vlans().borrow() != *vlans {
            self.wanted_vlans().borrow_mut().clone_from(vlans);
        }
        // Before the device filters any, as its PF takes tags off from then on.
        self.open_port().restore_tags(!vlans.is_empty());
        // A device that is being reset is told by the next reset that succeeds.
        if !self.is_usable() {
            return None;
        }
        dpdk_log::forget();
        let Refused { vlans, result } =
            tell(self.id(), self.device(), vlans, &mut self.taken_vlans().borrow_mut()).err()?;
        let vlans: Vec<String> = vlans.iter().map(u16::to_string).collect();
        let cause = dpdk_log::message(result);
        let remedy = if result == -Errno::NOSYS.raw_os_error() {
            "the next start asks it to filter them"
        } else {
            "see what its PF allows, or `promiscuous = true`"
        };
        Some(format!(
            "the device refuses the VLANs {} ({cause}), whose frames may not arrive: {remedy}",
            vlans.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: i32 = -Errno::PERM.raw_os_error();

    /// Filter with room for so many VLANs besides that of priorities.
    #[derive(Default)]
    struct FakeFilter {
        room: usize,
        is_on: bool,
        vlans: BTreeSet<u16>,
        calls: usize,
    }

    impl Filter for FakeFilter {
        fn switch(&mut self, on: bool) -> i32 {
            self.is_on = on;
            0
        }

        fn set(&mut self, vlan: u16, on: bool) -> i32 {
            self.calls += 1;
            match on {
                true if vlan != PRIORITY && self.vlans.len() > self.room => REFUSED,
                true => i32::from(!self.vlans.insert(vlan)),
                false => i32::from(!self.vlans.remove(&vlan)),
            }
        }
    }

    fn with_room(room: usize) -> (FakeFilter, BTreeSet<u16>) {
        (FakeFilter { room, ..FakeFilter::default() }, BTreeSet::new())
    }

    #[test]
    fn a_device_takes_the_vlans_of_the_latest_configuration_and_is_told_changes_alone() {
        let (mut device, mut taken) = with_room(9);
        assert_eq!(take(&mut device, &[].into(), &mut taken), Ok(()));
        assert_eq!((device.is_on, device.calls), (false, 0), "without VLANs nothing is asked for");
        assert_eq!(take(&mut device, &[100, 200].into(), &mut taken), Ok(()));
        assert_eq!((device.is_on, &device.vlans), (true, &[0, 100, 200].into()));
        let calls = device.calls;
        assert_eq!(take(&mut device, &[200, 100].into(), &mut taken), Ok(()));
        assert_eq!(device.calls, calls);
        assert_eq!(take(&mut device, &[200, 300].into(), &mut taken), Ok(()));
        assert_eq!((device.calls, &device.vlans), (calls + 2, &[0, 200, 300].into()));
        assert_eq!(take(&mut device, &[].into(), &mut taken), Ok(()));
        assert!(!device.is_on && taken.is_empty());
    }

    #[test]
    fn vlans_that_a_device_refuses_are_named_and_asked_for_again() {
        let (mut device, mut taken) = with_room(1);
        let wanted = [100, 200, 300].into();
        let refused = Refused { vlans: vec![200, 300], result: REFUSED };
        assert_eq!(take(&mut device, &wanted, &mut taken), Err(refused));
        assert_eq!(taken, [100].into());
        device.room = 9;
        assert_eq!(take(&mut device, &wanted, &mut taken), Ok(()));
        assert_eq!(taken, wanted);
    }
}
