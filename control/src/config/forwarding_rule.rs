//! Forwarding rules: which packets belong to which backend service.

use std::net::IpAddr;

use guideway_dataplane::affinity::LoadBalancingScheme;
use ipnet::IpNet;

/// A virtual IP address with a protocol and ports, and the backend service behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct ForwardingRule {
    /// Its name, unique among forwarding rules.
    pub name: String,
    /// Which side of the network it faces; its service's scheme too.
    pub scheme: LoadBalancingScheme,
    /// The virtual IP address.
    pub address: IpAddr,
    /// Which IP protocols it takes.
    pub protocol: RuleProtocol,
    /// Which layer-4 ports it takes.
    pub ports: Ports,
    /// Prefixes that the client must be in; empty means any client. All are of the address's family.
    pub source_ranges: Vec<IpNet>,
    /// Whether clients outside [`super::Network::region_ranges`] may use it; always true where the scheme is
    /// external.
    pub allow_global_access: bool,
    /// Index of its backend service in [`super::Config::services`].
    pub service: usize,
}

/// The IP protocols that a forwarding rule takes (`ip_protocol`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RuleProtocol {
    /// TCP alone.
    Tcp,
    /// UDP alone.
    Udp,
    /// Every IP protocol, on all ports.
    L3Default,
}

/// The layer-4 ports that a forwarding rule takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ports {
    /// One to five ports, without duplicates, in ascending order.
    List(Vec<u16>),
    /// From the first to the last, both included.
    Range(u16, u16),
    /// All of them, and packets without any.
    All,
}
