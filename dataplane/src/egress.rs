//! Ways out of the appliance: the port that a frame leaves by, and its link-layer addresses.

use crate::wire::ethernet::MacAddress;

/// Number of a port: its index in the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId(pub u8);

/// Way of a backend's frames out of the appliance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Egress {
    /// Port that sends them.
    pub port: PortId,
    /// Link-layer address that they leave from; without it, the one that they came to.
    pub source: Option<MacAddress>,
    /// Link-layer address of the backend, or of the router on the way to it; none while nobody has answered for it.
    pub next_hop: Option<MacAddress>,
    /// True if the port's device computes UDP checksums.
    pub offloads_udp_checksum: bool,
}

impl Egress {
    /// Way to a next hop by the first port, from the address that a frame came to.
    pub const fn to(next_hop: MacAddress) -> Self {
        Self { port: PortId(0), source: None, next_hop: Some(next_hop), offloads_udp_checksum: false }
    }
}
