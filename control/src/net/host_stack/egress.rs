//! The egress of the live appliance's packets: by its links, to the MAC addresses of its neighbours.

use guideway_dataplane::address::Address;
use guideway_dataplane::egress::{Egress, PortId};
use guideway_dataplane::ingress::NetworkId;
use guideway_model::egress_lookup::EgressLookup;

use super::HostStack;

impl EgressLookup for HostStack {
    fn egress(&self, _: NetworkId, destination: Address) -> Egress {
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
