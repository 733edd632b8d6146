//! Endpoints from the domain name system: the question that a group asks, and the text that its answer becomes.

use std::fmt::{self, Display, Formatter};
use std::net::{IpAddr, SocketAddr};

use super::limits::MAX_DNS_SERVERS;
use super::report::Report;
use super::source::{FileKind, NamedFile};
use super::written::choice::EndpointsRecord;
use super::written::field::{Field, elements};
use super::written::file::EndpointsDnsFile;
use super::written::lengths;

/// Question whose answer is the endpoints of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsQuestion {
    /// Name that is asked for, without the dot at its end.
    pub name: String,
    /// Type of the records that are asked for.
    pub record: EndpointsRecord,
    /// Servers that are asked; those of `/etc/resolv.conf` if there are none.
    pub servers: Vec<SocketAddr>,
}

/// Spells the question as errors and tables name it, such as `A web.example.com`; no two questions are spelt alike.
impl Display for DnsQuestion {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.record.as_str(), self.name)?;
        for (i, server) in self.servers.iter().enumerate() {
            write!(f, "{}{server}", if i == 0 { " at " } else { ", " })?;
        }
        Ok(())
    }
}

impl DnsQuestion {
    /// Text that answers the question with these addresses, as a file of endpoints would have it.
    pub fn text(addresses: &[IpAddr]) -> String {
        let targets: Vec<_> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
        format!("[{{\"targets\": [{}]}}]", targets.join(", "))
    }

    /// The question among the named files of a configuration, with the text of its answer, or why there is none.
    pub fn file(&self, text: Result<String, String>) -> NamedFile {
        let path = self.to_string();
        NamedFile {
            kind: FileKind::Dns,
            named_in: 0,
            name: format!("answer of DNS to {path}"),
            path,
            text,
            is_public: true,
        }
    }
}

impl EndpointsDnsFile {
    /// Reports servers that are none, or too many.
    pub(super) fn check(&self, report: &mut Report) {
        let servers = elements(&self.servers);
        lengths::limit("servers of DNS", servers, MAX_DNS_SERVERS, report);
        if let Some(empty) = self.servers.as_ref().filter(|list| list.get().is_some_and(Vec::is_empty)) {
            let help = "name at least one, or leave the key out to ask those of /etc/resolv.conf";
            report.error(empty.span(), "no servers of DNS", help);
        }
    }

    /// The question; [`None`] if a part of it is wrong.
    pub(super) fn question(&self) -> Option<DnsQuestion> {
        let servers = elements(&self.servers).iter().map(|server| Some(server.get()?.0)).collect();
        let servers: Option<Vec<SocketAddr>> = servers;
        let is_read = self.servers.as_ref().is_none_or(|servers| Field::get(servers).is_some());
        Some(DnsQuestion {
            name: self.name.get()?.0.clone(),
            record: self.r#type()?.0,
            servers: servers.filter(|_| is_read)?,
        })
    }
}
