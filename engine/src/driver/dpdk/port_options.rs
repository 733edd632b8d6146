//! Options that a port is opened with, and their defaults.

/// Options that a port is opened with.
#[derive(Clone, Copy, Debug)]
pub struct PortOptions {
    /// Number of queue pairs: one for each worker.
    pub queues: u16,
    /// Descriptors of a receive queue; the driver's limits apply.
    pub rx_descriptors: u16,
    /// Descriptors of a transmit queue; the driver's limits apply.
    pub tx_descriptors: u16,
    /// Bytes of the longest packet; 1500 if it is `None`.
    pub mtu: Option<u16>,
    /// Receives frames for any MAC address.
    pub promiscuous: bool,
    /// Has a device that filters VLANs do so: [`Port::take_vlans`](super::Port::take_vlans) names those that it takes.
    pub filters_vlans: bool,
}

impl Default for PortOptions {
    fn default() -> Self {
        Self {
            queues: 1,
            rx_descriptors: 1024,
            tx_descriptors: 1024,
            mtu: None,
            promiscuous: false,
            filters_vlans: false,
        }
    }
}
