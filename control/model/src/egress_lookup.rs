//! The egress of the appliance: for a destination, the port that sends to it and the link-layer addresses.

use guideway_dataplane::address::Address;
use guideway_dataplane::egress::Egress;
use guideway_dataplane::wire::ethernet::MacAddress;

/// Source of egresses: knows by which port and to which next hop packets to a destination leave.
pub trait EgressLookup {
    /// Egress of packets to a backend, or to a tunnel's endpoint.
    fn egress(&self, destination: Address) -> Egress;
}

/// Egress lookup of a replay, where nobody can be asked for a neighbour's MAC address: 02:00 and the last four bytes of
/// its IP address stand in for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct StandInMacs;

impl EgressLookup for StandInMacs {
    fn egress(&self, destination: Address) -> Egress {
        let [a, b, c, d] = destination.v4_bytes();
        Egress::to(MacAddress([0x02, 0x00, a, b, c, d]))
    }
}
