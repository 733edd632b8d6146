//! Filters of live packets, as operators write them: clients, VIPs, a flow, a service, a backend.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use guideway_dataplane::address::Prefix;
use guideway_engine::tap::FlowFilter;
use guideway_model::flow_text::FlowText;
use ipnet::IpNet;

/// Packets that an operator asks for: those that agree with every part that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PacketFilter {
    /// Name of the service that the packets belong to.
    pub service: Option<String>,
    /// Name of the backend that the packets go to.
    pub backend: Option<String>,
    /// Addresses of the clients.
    pub client: Option<Addresses>,
    /// Addresses and port that clients send to.
    pub vip: Option<Destination>,
    /// Flow of the packets, from the client to the VIP.
    pub flow: Option<FlowText>,
}

/// Single address, or all addresses of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses(pub IpNet);

/// Addresses that clients send to, and the port where that counts: `203.0.113.10:443`, `[2001:db8::10]:443`, `203.0.113.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Addresses.
    pub addresses: Addresses,
    /// Port.
    pub port: Option<u16>,
}

impl PacketFilter {
    /// True if no part is given: every packet agrees.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Parts that are given, each as the query of a request names it.
    pub fn parts(&self) -> [(&'static str, Option<String>); 5] {
        [
            ("service", self.service.clone()),
            ("backend", self.backend.clone()),
            ("client", self.client.map(|client| client.to_string())),
            ("vip", self.vip.map(|vip| vip.to_string())),
            ("flow", self.flow.map(|flow| flow.to_string())),
        ]
    }

    /// Addresses, protocol and ports; service and backend are numbers that the filter does not know.
    pub fn flows(&self) -> FlowFilter {
        let prefix = |Addresses(net): Addresses| Prefix::new(net.addr().into(), net.prefix_len());
        let Some(FlowText(flow)) = self.flow else {
            return FlowFilter {
                client: self.client.map(prefix),
                vip: self.vip.map(|vip| prefix(vip.addresses)),
                vip_port: self.vip.and_then(|vip| vip.port),
                ..FlowFilter::default()
            };
        };
        let has_ports = flow.rule_port().is_some();
        FlowFilter {
            client: Some(flow.src.into()),
            vip: Some(flow.dst.into()),
            client_port: has_ports.then_some(flow.src_port),
            vip_port: has_ports.then_some(flow.dst_port),
            protocol: Some(flow.protocol),
            ..FlowFilter::default()
        }
    }

    /// Checks that no part contradicts another.
    ///
    /// # Errors
    /// The contradiction: a flow names its client and its VIP already.
    pub fn check(&self) -> Result<(), String> {
        if self.flow.is_some() && (self.client.is_some() || self.vip.is_some()) {
            return Err("a flow has a client and a VIP of its own: leave out the others".to_owned());
        }
        Ok(())
    }

    /// True if the filter holds packets of this service to this backend, whatever their headers.
    pub fn holds_names(&self, service: Option<&str>, backend: Option<&str>) -> bool {
        let agrees = |wanted: &Option<String>, name: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| name == Some(wanted))
        };
        agrees(&self.service, service) && agrees(&self.backend, backend)
    }
}

/// Writes the parts that are given: `service web, client 198.51.100.0/24`.
impl fmt::Display for PacketFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.parts().into_iter().filter_map(|(part, value)| Some(format!("{part} {}", value?)));
        f.write_str(&parts.collect::<Vec<_>>().join(", "))
    }
}

impl FromStr for Addresses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
        let addresses = address.or_else(|_| text.parse::<IpNet>().map(|net| net.trunc()));
        addresses.map(Self).map_err(|_| {
            format!("`{text}` is no address; write one as `198.51.100.7`, or a prefix as `198.51.100.0/24`")
        })
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() { self.0.addr().fmt(f) } else { self.0.fmt(f) }
    }
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(end) = text.parse::<SocketAddr>() {
            let addresses = Addresses(end.ip().to_canonical().into());
            return Ok(Self { addresses, port: Some(end.port()) });
        }
        let addresses = text.parse().map_err(|_| {
            format!(
                "`{text}` is no destination; write an address, with a port (`203.0.113.10:443`, `[2001:db8::10]:443`) or \
                 without, or a prefix"
            )
        })?;
        Ok(Self { addresses, port: None })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.addresses.0.addr(), port).fmt(f),
            None => self.addresses.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_destinations_are_read_as_they_are_written() {
        for text in ["198.51.100.7", "198.51.100.0/24", "2001:db8::7", "2001:db8::/32"] {
            assert_eq!(text.parse::<Addresses>().unwrap().to_string(), text);
        }
        for text in
            ["203.0.113.10:443", "203.0.113.10", "203.0.113.0/24", "[2001:db8::10]:53", "2001:db8::10"]
        {
            assert_eq!(text.parse::<Destination>().unwrap().to_string(), text);
        }
        assert_eq!("198.51.100.7/24".parse::<Addresses>().unwrap().to_string(), "198.51.100.0/24");
        assert_eq!("::ffff:198.51.100.7".parse::<Addresses>().unwrap().to_string(), "198.51.100.7");
        assert!("web".parse::<Addresses>().unwrap_err().starts_with("`web` is no address; write one as "));
        assert!("203.0.113.0/24:80".parse::<Destination>().is_err());
    }

    #[test]
    fn a_filter_says_what_it_is_about() {
        let filter = PacketFilter {
            service: Some("web".to_owned()),
            client: Some("198.51.100.0/24".parse().unwrap()),
            ..PacketFilter::default()
        };
        assert_eq!(filter.to_string(), "service web, client 198.51.100.0/24");
        assert!(!filter.is_empty() && PacketFilter::default().is_empty());
        assert!(filter.holds_names(Some("web"), None) && !filter.holds_names(Some("dns"), None));
        assert!(!filter.holds_names(None, None));
    }

    #[test]
    fn a_flow_stands_alone() {
        let flow = Some("tcp 198.51.100.7:4000 > 203.0.113.10:443".parse().unwrap());
        let alone = PacketFilter { flow, backend: Some("web-1".to_owned()), ..PacketFilter::default() };
        assert!(alone.check().is_ok());
        let vip = Some("203.0.113.10".parse().unwrap());
        assert!(PacketFilter { vip, ..alone }.check().is_err());
    }
}
