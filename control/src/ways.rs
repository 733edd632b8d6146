//! The ways out of the appliance: for a destination, the port that sends to it and the link-layer addresses.

use guideway_dataplane::address::Address;
use guideway_dataplane::egress::{Egress, PortId};
use guideway_dataplane::wire::ethernet::MacAddress;

use crate::host_stack::HostStack;

/// Knows the way to a destination.
pub trait Ways {
    /// The way to a backend, or to a tunnel's endpoint.
    fn way(&self, destination: Address) -> Egress;
}

/// The ways of the live appliance: by its links, to whoever answers there.
impl Ways for HostStack {
    fn way(&self, destination: Address) -> Egress {
        match self.next_hop(destination) {
            Some(next_hop) => {
                let link = self.link(next_hop.link);
                Egress {
                    port: link.port,
                    source: Some(link.mac),
                    next_hop: self.mac(next_hop),
                    offloads_udp_checksum: link.offloads_udp_checksum,
                }
            }
            // A next hop that the configuration names leaves by the first port.
            None => Egress { port: PortId(0), source: None, next_hop: None, offloads_udp_checksum: false },
        }
    }
}

/// The ways of a replay, where nobody can be asked for a neighbour's MAC address: 02:00 and the last four bytes of its
/// IP address stand in for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct StandIns;

impl Ways for StandIns {
    fn way(&self, destination: Address) -> Egress {
        let [a, b, c, d] = destination.v4_bytes();
        Egress::to(MacAddress([0x02, 0x00, a, b, c, d]))
    }
}
