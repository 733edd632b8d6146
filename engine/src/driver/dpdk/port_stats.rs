//! Counters of a port, which go on where its device is reset or made anew and begins to count from 0.

use std::mem;

/// Counters of a port since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStats {
    /// Packets received.
    pub received: u64,
    /// Packets sent.
    pub sent: u64,
    /// Packets dropped by the device because no worker took them in time.
    pub missed: u64,
    /// Packets received with errors.
    pub rx_errors: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
    /// Packets lost because the mempool was empty.
    pub no_mbuf: u64,
}

/// Counts of a port that its device has forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ForgottenStats {
    forgotten: PortStats,
    /// Counters of the device before the reset that goes on.
    before: PortStats,
}

impl PortStats {
    fn combine(self, other: Self, with: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            received: with(self.received, other.received),
            sent: with(self.sent, other.sent),
            missed: with(self.missed, other.missed),
            rx_errors: with(self.rx_errors, other.rx_errors),
            tx_errors: with(self.tx_errors, other.tx_errors),
            no_mbuf: with(self.no_mbuf, other.no_mbuf),
        }
    }
}

impl ForgottenStats {
    /// Counters of the port, given those of its device.
    pub(super) fn total(&self, device: PortStats) -> PortStats {
        self.forgotten.combine(device, |forgotten, counted| forgotten + counted)
    }

    /// Notes the counters of a device that is about to be reset or closed.
    pub(super) fn lose(&mut self, device: PortStats) {
        self.before = device;
    }

    /// Takes in the counters of the device after its reset. A device that was made anew has forgotten all; of others, some drivers
    /// forget and some do not, so a counter that is less than before has begun anew.
    pub(super) fn renew(&mut self, device: PortStats, is_new: bool) {
        let forgotten = mem::take(&mut self.before)
            .combine(device, |before, now| if is_new || now < before { before } else { 0 });
        self.forgotten = self.total(forgotten);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(received: u64, missed: u64) -> PortStats {
        PortStats { received, missed, ..PortStats::default() }
    }

    #[test]
    fn no_counter_goes_backwards_over_a_reset_whatever_the_driver_forgets() {
        let mut port = ForgottenStats::default();
        assert_eq!(port.total(stats(5, 2)), stats(5, 2));
        port.lose(stats(5, 2));
        // A driver that has forgotten its missed frames alone.
        port.renew(stats(5, 0), false);
        assert_eq!(port.total(stats(6, 1)), stats(6, 3));
        // A new device may have received as much as the old one before anybody looks.
        port.lose(stats(6, 1));
        port.renew(stats(7, 1), true);
        assert_eq!(port.total(stats(7, 1)), stats(13, 4));
        // A reset is over but once.
        port.renew(stats(7, 1), true);
        assert_eq!(port.total(stats(7, 1)), stats(13, 4));
    }
}
