//! The egress of the appliance: for a destination, the port that sends to it and the link-layer addresses.

use guideway_dataplane::address::Address;
use guideway_dataplane::egress::Egress;
use guideway_dataplane::ingress::NetworkId;
use guideway_dataplane::wire::ethernet::MacAddress;

use crate::path_mtu::PathMtus;

/// Source of egresses: knows by which port and to which next hop packets to a destination leave.
pub trait EgressLookup {
    /// Egress of a network's packets to a backend, or to a tunnel's endpoint.
    fn egress(&self, network: NetworkId, destination: Address) -> Egress;

    /// MTU of the path to a tunnel's endpoint in a network, where a router has told of one; the configured one may be lower.
    fn path_mtu(&self, network: NetworkId, endpoint: Address) -> Option<u16> {
        let _ = (network, endpoint);
        None
    }
}

/// Egress lookup that knows the path MTUs too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WithPathMtus<'a, L> {
    pub(crate) egress_lookup: &'a L,
    pub(crate) path_mtus: &'a PathMtus,
}

impl<L: EgressLookup> EgressLookup for WithPathMtus<'_, L> {
    fn egress(&self, network: NetworkId, destination: Address) -> Egress {
        self.egress_lookup.egress(network, destination)
    }

    fn path_mtu(&self, network: NetworkId, endpoint: Address) -> Option<u16> {
        self.path_mtus.learnt(network, endpoint).map(|path_mtu| path_mtu.mtu)
    }
}

/// Egress lookup of a replay, where nobody can be asked for a neighbour's MAC address: 02:00 and the last four bytes of
/// its IP address stand in for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct StandInMacs;

impl EgressLookup for StandInMacs {
    fn egress(&self, _: NetworkId, destination: Address) -> Egress {
        let [a, b, c, d] = destination.v4_bytes();
        Egress::to(MacAddress([0x02, 0x00, a, b, c, d]))
    }
}
