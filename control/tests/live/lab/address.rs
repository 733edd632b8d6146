//! Addresses of a lab's hosts and VIPs: the same in every lab, as labs share nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// TCP port of every backend's web server, for HTTP.
pub(crate) const WEB: u16 = 80;
/// TCP port of every backend's web server, for TLS.
pub(crate) const WEB_TLS: u16 = 443;
/// TCP port of every backend's web server, for HTTP after a PROXY header.
pub(crate) const WEB_PROXY: u16 = 8080;
/// TCP port of every backend's web server, for TLS after a PROXY header.
pub(crate) const WEB_TLS_PROXY: u16 = 8443;
/// TCP port of every backend's gRPC server.
pub(crate) const GRPC: u16 = 50051;
/// Port of the backends' server of datagrams.
pub(crate) const DATAGRAMS: u16 = 5300;
/// UDP port of every backend's echo server.
pub(crate) const ECHO: u16 = 5353;

/// Address of a backend that is behind a gateway.
pub(crate) const BEHIND_GATEWAY: &str = "198.51.100.11";

/// IP version; each host of a lab has an address of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// Last word of the names of rules, services and groups.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::V4 => "v4",
            Self::V6 => "v6",
        }
    }
}

/// Kind of VIP, by the client's route to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vip {
    /// A VIP on the client's link: the client asks by ARP or neighbour discovery who has it.
    OnLink,
    /// A VIP behind a route to an appliance's own address.
    Routed,
}

impl Vip {
    pub(crate) const BOTH: [Self; 2] = [Self::OnLink, Self::Routed];

    pub(crate) fn address(self, family: Family) -> IpAddr {
        match (self, family) {
            (Self::OnLink, _) => on_link(family, 200),
            (Self::Routed, Family::V4) => Ipv4Addr::new(203, 0, 113, 10).into(),
            (Self::Routed, Family::V6) => Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 10).into(),
        }
    }

    pub(crate) fn web(self, family: Family) -> SocketAddr {
        SocketAddr::new(self.address(family), WEB)
    }

    pub(crate) fn echo(self, family: Family) -> SocketAddr {
        SocketAddr::new(self.address(family), ECHO)
    }
}

pub(crate) fn client(family: Family) -> IpAddr {
    on_link(family, 100)
}

pub(crate) fn appliance(number: usize, family: Family) -> IpAddr {
    on_link(family, 1 + number)
}

/// Address that an appliance moves to.
pub(crate) fn moved_appliance(number: usize, family: Family) -> IpAddr {
    on_link(family, 41 + number)
}

/// Address of an appliance's kernel, where it has one.
pub(crate) fn management(number: usize, family: Family) -> IpAddr {
    on_link(family, 51 + number)
}

/// Second address of an appliance's kernel, which the kernel uses only when told to.
pub(crate) fn other_management(number: usize, family: Family) -> IpAddr {
    on_link(family, 61 + number)
}

pub(crate) fn backend(number: usize, family: Family) -> IpAddr {
    on_link(family, 11 + number)
}

/// Writes an address on the lab's link with its prefix length.
pub(crate) fn with_length(address: IpAddr) -> String {
    let length = if address.is_ipv4() { 24 } else { 64 };
    format!("{address}/{length}")
}

fn on_link(family: Family, host: usize) -> IpAddr {
    let host = u8::try_from(host).expect("a lab has a handful of hosts");
    match family {
        Family::V4 => Ipv4Addr::new(192, 0, 2, host).into(),
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, host.into()).into(),
    }
}
