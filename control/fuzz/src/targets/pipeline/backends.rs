//! Backends of packets: eligible ones, or those that the packet's connection went to before.

use std::collections::{BTreeMap, BTreeSet};

use guideway_dataplane::address::Address;
use guideway_dataplane::backend::BackendHandle;
use guideway_dataplane::flow::Fragment;
use guideway_dataplane::packet::Packet;
use guideway_dataplane::pipeline::{Decision, Tracking};

/// Last bytes of the addresses of the backends `a` and `b`.
const A: u8 = 1;
const B: u8 = 2;

/// Backends that packets have gone to.
#[derive(Default)]
pub(super) struct Backends {
    /// Backends, each with both addresses of a packet that it was chosen for, the lower first.
    seen: BTreeSet<([[u8; 16]; 2], u32)>,
    /// Host of each backend.
    hosts: BTreeMap<u32, u8>,
}

impl Backends {
    /// Asserts that the backend of a packet may have it. `host` is where a forwarded frame goes to.
    pub(super) fn inspect(
        &mut self,
        packet: &Packet,
        host: Option<u8>,
        decision: &Decision,
        is_b_healthy: bool,
    ) {
        let Some(BackendHandle(backend)) = decision.backend else {
            return assert_eq!(host, None, "a frame without a backend is sent");
        };
        let mut addresses = [packet.flow.src, packet.flow.dst].map(Address::v6_bytes);
        addresses.sort_unstable();
        let is_known = !self.seen.insert((addresses, backend));
        // Errors are about another flow; later fragments follow their first.
        let is_own_flow = !packet.icmp_error && packet.flow.fragment != Fragment::Later;
        // An entry may be of a packet that was dropped after all.
        assert!(!is_own_flow || decision.tracking != Tracking::Hit || is_known, "an entry of no packet");
        let Some(host) = host else { return };
        assert!([A, B].contains(&host), "no backend has {host}");
        assert_eq!(*self.hosts.entry(backend).or_insert(host), host, "a backend has one address");
        let is_new = is_own_flow && decision.tracking != Tracking::Hit;
        assert!(!is_new || host == A || is_b_healthy, "a new connection goes to an unhealthy backend");
    }
}
