//! Backend groups: endpoints, and how packets travel to them.

use std::net::IpAddr;

use guideway_dataplane::delivery::DeliveryMode;

use super::MacAddress;

/// Endpoints that receive packets in one way.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendGroup {
    /// Its name, unique among backend groups.
    pub name: String,
    /// How packets travel to its endpoints.
    pub delivery: DeliveryMode,
    /// The path MTU to its endpoints: the group's own, else the network's.
    pub mtu: u16,
    /// Its endpoints, in the order of the file; there may be none.
    pub endpoints: Vec<Endpoint>,
}

/// A machine that receives packets.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// Its name, unique within every service that uses its group.
    pub name: String,
    /// Its own address, unique within every service that uses its group.
    pub address: IpAddr,
    /// Its MAC address, where it is not resolved from the address.
    pub mac_address: Option<MacAddress>,
    /// Its weight before the first health report, 0 to 1000.
    pub weight: u16,
}
