//! Return of a link, which is all that some VFs tell of their PF's reset.
//!
//! The driver of an 82576's VFs hears of a reset by an interrupt that may not come, as with QEMU's model of the NIC. What its
//! PF has reset carries nothing until it is reset itself.

/// Drivers whose devices are to be reset when their link comes back.
const DRIVERS: [&str; 1] = ["net_e1000_igb_vf"];

/// True for a driver whose device, once it is reset, has a link if its PF has heard of the reset: a driver that says otherwise
/// says nothing at all.
pub(super) fn needs_link(driver: &str) -> bool {
    DRIVERS.contains(&driver)
}

/// Memory of a port's link since the device was set up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LinkMemory {
    was_up: bool,
    /// Looks since the link went down.
    looks_down: u32,
}

/// Looks at a link that stays down until its device is reset: some seconds. A VF that its PF has reset gets none before.
const PATIENCE: u32 = 3;

impl LinkMemory {
    /// Takes in the state of the link of a device with this driver; true if the device is to be reset: once its link has stayed
    /// down for long, and when it comes back.
    pub(super) fn see(&mut self, driver: &str, up: bool) -> bool {
        let returns = up && self.looks_down > 0;
        // A link that comes up for the first time since the device was set up does not return.
        let looks_down = if self.was_up && !up { self.looks_down + 1 } else { 0 };
        *self = Self { was_up: self.was_up || up, looks_down };
        (returns || looks_down == PATIENCE) && DRIVERS.contains(&driver)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vf_that_may_not_hear_of_its_pf_is_reset_when_its_link_comes_back() {
        for (driver, resets) in [("net_e1000_igb_vf", 2), ("net_iavf", 0)] {
            let mut memory = LinkMemory::default();
            let seen = [false, true, true, false, true, true, false, false, false, false];
            assert_eq!(seen.into_iter().filter(|up| memory.see(driver, *up)).count(), resets, "{driver}");
        }
    }
}
