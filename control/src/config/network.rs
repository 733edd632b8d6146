//! The appliance itself: its addresses, its path MTU, the secret of its fleet and the size of its conntrack table.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The six bytes of a MAC address, in the order in which they are sent.
pub type MacAddress = [u8; 6];

/// The appliance's own place in the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// The appliance's IPv4 address: source of its IPv4 tunnels and of its ICMP errors.
    pub ipv4_address: Option<Ipv4Addr>,
    /// The appliance's IPv6 address: source of its IPv6 tunnels and of its ICMPv6 errors.
    pub ipv6_address: Option<Ipv6Addr>,
    /// The source MAC address of what it sends, where it is not the port's own.
    pub mac_address: Option<MacAddress>,
    /// The next hop of tunnelled packets, where it is not resolved from the backend's address.
    pub gateway_mac_address: Option<MacAddress>,
    /// The path MTU to the backends, in bytes of the outermost IP packet.
    pub mtu: u16,
    /// Where clients of the appliance's own region live; empty means that every client does.
    pub region_ranges: Vec<IpNet>,
    /// Source prefix of IPv4 tunnels, whose host part carries the flow's entropy.
    pub tunnel_source_ipv4: Option<Ipv4Net>,
    /// Source prefix of IPv6 tunnels, whose host part carries the flow's entropy.
    pub tunnel_source_ipv6: Option<Ipv6Net>,
    /// How many ICMP errors the appliance may send in a second; 0 sends none.
    pub icmp_errors_per_sec: u32,
}

/// What all appliances of a fleet share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fleet {
    /// Key of the selection hash: appliances that share it choose alike.
    pub seed: [u8; 16],
}

/// The size of the conntrack table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conntrack {
    /// How many connections can be tracked at once.
    pub max_entries: u32,
}
