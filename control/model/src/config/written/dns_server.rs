//! Addresses of servers of the domain name system, with a port or without.

use std::net::{IpAddr, SocketAddr};

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use toml::Spanned;
use toml::de::DeValue;

use super::field::Value;
use super::value::text;
use crate::config::report::Report;

/// Port of servers that are written without one.
const DNS_PORT: u16 = 53;

/// Server of the domain name system.
#[derive(Clone, Copy, Debug, Serialize)]
pub(in crate::config) struct DnsServer(pub(in crate::config) SocketAddr);

impl Value for DnsServer {
    fn read(key: &str, value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        let text = text(key, "an IP address", value, report)?;
        let alone = text.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, DNS_PORT));
        let server = alone.or_else(|| text.parse().ok()).filter(|server| server.port() != 0);
        if server.is_none() {
            let help =
                "write the IP address of a server, such as `192.0.2.53`, `192.0.2.53:5353` or `2001:db8::53`";
            report.error(&value.span(), format!("`{text}` is no server of DNS"), help);
        }
        server.map(Self)
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}
