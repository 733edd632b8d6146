//! Options that a port is opened with, and their defaults.

use super::QueueCounts;

/// Options that a port is opened with.
#[derive(Clone, Copy, Debug)]
pub struct PortOptions {
    /// Numbers of queues, for the workers to poll; the device may have or take fewer.
    pub queues: QueueCounts,
    /// Descriptors of a receive queue; the driver's limits apply.
    pub rx_descriptors: u16,
    /// Descriptors of a transmit queue; the driver's limits apply.
    pub tx_descriptors: u16,
    /// Bytes of the longest packet; 1500 if it is `None`.
    pub mtu: Option<u16>,
    /// Receives frames for any MAC address.
    pub promiscuous: bool,
    /// Has the device compute UDP checksums where it can. Only tunnels by GUE over IPv6 need it, and some drivers (ixgbe,
    /// i40e) give up their fastest way to send for any offload.
    pub udp_checksum: bool,
    /// Has a device that filters VLANs do so: [`Port::take_vlans`](super::Port::take_vlans) names those that it takes.
    pub filters_vlans: bool,
}

impl PortOptions {
    /// Number of descriptors of a queue pair.
    pub fn descriptors(&self) -> u32 {
        u32::from(self.rx_descriptors) + u32::from(self.tx_descriptors)
    }
}

impl Default for PortOptions {
    fn default() -> Self {
        Self {
            queues: QueueCounts { rx: 1, tx: 1 },
            rx_descriptors: 1024,
            tx_descriptors: 1024,
            mtu: None,
            promiscuous: false,
            udp_checksum: false,
            filters_vlans: false,
        }
    }
}
