//! Virtual IP addresses of a forwarding rule: one address, or all of a prefix.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use guideway_dataplane::address::Prefix;
use ipnet::IpNet;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use toml::Spanned;
use toml::de::DeValue;

use super::field::Value;
use super::value::{text, unicast};
use crate::config::report::Report;

/// Virtual IP addresses of a forwarding rule: one address, written without a length, or all of a prefix.
///
/// In order: IPv4 before IPv6, by address, shorter prefixes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VipRange(IpNet);

impl VipRange {
    /// Prefix of the addresses; that of one address has its full length.
    pub fn prefix(self) -> IpNet {
        self.0
    }

    /// First of the addresses.
    pub fn first(self) -> IpAddr {
        self.0.network()
    }

    /// True if there is more than one address.
    pub fn is_prefix(self) -> bool {
        self.0.prefix_len() < self.0.max_prefix_len()
    }

    /// True if `address` is one of the addresses.
    pub fn contains(self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }

    /// True if the addresses are IPv4.
    pub fn is_ipv4(self) -> bool {
        self.0.addr().is_ipv4()
    }
}

impl From<IpAddr> for VipRange {
    fn from(address: IpAddr) -> Self {
        Self(address.into())
    }
}

impl From<VipRange> for Prefix {
    fn from(range: VipRange) -> Self {
        Self::new(range.first().into(), range.0.prefix_len())
    }
}

impl From<Prefix> for VipRange {
    fn from(prefix: Prefix) -> Self {
        let length = if prefix.is_ipv4() { prefix.bits() - 96 } else { prefix.bits() };
        let net = IpNet::new(prefix.network().into(), length);
        Self(net.expect("a prefix is no longer than an address of its family"))
    }
}

impl fmt::Display for VipRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_prefix() { self.0.fmt(f) } else { self.first().fmt(f) }
    }
}

/// Text that is neither an address nor a prefix without host bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableVip {
    text: String,
}

impl fmt::Display for UnreadableVip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is neither an IP address nor a prefix, such as 198.51.100.0/28", self.text)
    }
}

impl std::error::Error for UnreadableVip {}

impl FromStr for VipRange {
    type Err = UnreadableVip;

    fn from_str(text: &str) -> Result<Self, UnreadableVip> {
        let prefix = text.parse::<IpAddr>().map(IpNet::from).or_else(|_| text.parse::<IpNet>());
        let whole = prefix.ok().filter(|prefix| prefix.addr() == prefix.network());
        whole.map(Self).ok_or_else(|| UnreadableVip { text: text.to_owned() })
    }
}

impl Serialize for VipRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VipRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Value for VipRange {
    fn read(key: &str, value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        let text = text(key, "an IP address or a prefix", value, report)?;
        if let Ok(address) = text.parse::<IpAddr>() {
            return unicast(key, text, address, value, report).map(Self::from);
        }
        if text.parse::<IpNet>().is_err() {
            let help = "write an IPv4 or IPv6 address, or a prefix such as `198.51.100.0/28`, without a port";
            report.error(&value.span(), format!("`{text}` is neither an IP address nor a prefix"), help);
            return None;
        }
        let prefix = IpNet::read(key, value, report)?;
        if let Some((_, kind)) = not_unicast().find(|(other, _)| overlap(*other, prefix)) {
            let message = format!("`{key}` must hold unicast addresses alone, `{text}` holds {kind}");
            let help = "write the address or the prefix that clients connect to";
            report.error(&value.span(), message, help);
            return None;
        }
        Some(Self(prefix))
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9a-fA-F:.]+(/[0-9]{1,3})?$" })
    }
}

/// Prefixes whose addresses are of no one host, and words for them.
fn not_unicast() -> impl Iterator<Item = (IpNet, &'static str)> {
    let all: [(IpAddr, u8, _); 8] = [
        ([0, 0, 0, 0].into(), 32, "the unspecified address"),
        ([127, 0, 0, 0].into(), 8, "loopback addresses"),
        ([224, 0, 0, 0].into(), 4, "multicast addresses"),
        ([255, 255, 255, 255].into(), 32, "the broadcast address"),
        ([0; 8].into(), 128, "the unspecified address"),
        ([0, 0, 0, 0, 0, 0, 0, 1].into(), 128, "the loopback address"),
        ([0, 0, 0, 0, 0, 0xffff, 0, 0].into(), 96, "IPv4-mapped addresses"),
        ([0xff00, 0, 0, 0, 0, 0, 0, 0].into(), 8, "multicast addresses"),
    ];
    all.into_iter().filter_map(|(network, length, words)| Some((IpNet::new(network, length).ok()?, words)))
}

/// True if the prefixes share addresses: one then holds the other.
fn overlap(a: IpNet, b: IpNet) -> bool {
    a.contains(&b) || b.contains(&a)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_written_as_it_was_read_and_an_address_without_its_length() {
        for (text, written) in [
            ("203.0.113.10", "203.0.113.10"),
            ("203.0.113.10/32", "203.0.113.10"),
            ("198.51.100.0/28", "198.51.100.0/28"),
            ("2001:DB8:1234:0::/96", "2001:db8:1234::/96"),
            ("2001:db8::1/128", "2001:db8::1"),
        ] {
            let range: VipRange = text.parse().expect("a range");
            assert_eq!(range.to_string(), written);
            assert_eq!(range, VipRange::from(Prefix::from(range)), "{text}");
            let json = serde_json::to_string(&range).expect("JSON");
            assert_eq!(json, format!("\"{written}\""));
            assert_eq!(serde_json::from_str::<VipRange>(&json).expect("a range"), range);
        }
        for text in ["198.51.100.1/28", "198.51.100.0/33", "web", "", "198.51.100.0/"] {
            assert!(text.parse::<VipRange>().is_err(), "{text}");
        }
    }
}
