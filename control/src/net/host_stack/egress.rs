//! The egress of the live appliance's packets: by its links, to the MAC addresses of its neighbours.

use guideway_dataplane::address::Address;
use guideway_dataplane::egress::{Egress, PortId};

use super::HostStack;

impl HostStack {
    /// Egress of packets to a destination.
    pub fn egress(&self, destination: Address) -> Egress {
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
            // A next hop that the configuration names leaves by the first link's port, untagged or in its VLAN.
            None => {
                let port = self.links.iter().next().map_or(PortId(0), |(_, link)| link.port);
                Egress { port, source: None, next_hop: None, offloads_udp_checksum: false }
            }
        }
    }
}
