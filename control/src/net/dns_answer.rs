//! Answers of the domain name system, read: the addresses of a host, and the hosts of a service.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use domain::base::iana::Rtype;
use domain::base::{Message, Name, ParsedName, ToName};
use domain::rdata::{A, Aaaa, Cname, Srv};
use guideway_model::config::EndpointsRecord;

/// Name of a host.
pub(crate) type DnsName = Name<Vec<u8>>;

/// Addresses that a question is answered with.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Addresses, in the order of their records; those of a whole question in ascending order, each once.
    pub(crate) addresses: Vec<IpAddr>,
    /// Time for which the answer holds: the least of all its records.
    pub(crate) ttl: Duration,
}

/// Addresses, or names of hosts, that a message answers a question for these records with, and the time for which they hold.
///
/// # Errors
/// The reason, if the message is damaged.
pub fn read(message: &[u8], record: EndpointsRecord) -> Result<(Vec<String>, Duration), String> {
    let message = Message::from_octets(Bytes::copy_from_slice(message)).map_err(damaged)?;
    let addresses = |family| {
        let Answer { addresses, ttl } = addresses_in(&message, family)?;
        Ok((addresses.iter().map(ToString::to_string).collect(), ttl))
    };
    match record {
        EndpointsRecord::A => addresses(Rtype::A),
        EndpointsRecord::Aaaa => addresses(Rtype::AAAA),
        EndpointsRecord::Srv => {
            let (hosts, ttl) = hosts_in(&message)?;
            Ok((hosts.iter().map(ToString::to_string).collect(), ttl))
        }
    }
}

/// Hosts that the records of a service name, each once, and the least time for which these hold.
pub(crate) fn hosts_in(message: &Message<Bytes>) -> Result<(Vec<DnsName>, Duration), String> {
    let (owner, mut ttl) = canonical(message)?;
    let mut hosts: Vec<DnsName> = Vec::new();
    for record in message.answer().map_err(damaged)?.limit_to_in::<Srv<_>>() {
        let record = record.map_err(damaged)?;
        let host: DnsName = record.data().target().to_name();
        // RFC 2782: the root means that there is no such service.
        if *record.owner() == owner && !host.is_root() && !hosts.contains(&host) {
            ttl = ttl.min(record.ttl().into_duration());
            hosts.push(host);
        }
    }
    Ok((hosts, ttl))
}

/// Addresses of a host, of the family of these records.
pub(crate) fn addresses_in(message: &Message<Bytes>, record: Rtype) -> Result<Answer, String> {
    let (owner, mut ttl) = canonical(message)?;
    let mut addresses = Vec::new();
    let mut add = |of: &ParsedName<_>, record_ttl: Duration, address: IpAddr| {
        if *of == owner {
            ttl = ttl.min(record_ttl);
            addresses.push(address);
        }
    };
    let answers = message.answer().map_err(damaged)?;
    if record == Rtype::A {
        for record in answers.limit_to_in::<A>() {
            let record = record.map_err(damaged)?;
            add(record.owner(), record.ttl().into_duration(), record.data().addr().into());
        }
    } else {
        for record in answers.limit_to_in::<Aaaa>() {
            let record = record.map_err(damaged)?;
            add(record.owner(), record.ttl().into_duration(), record.data().addr().into());
        }
    }
    Ok(Answer { addresses, ttl })
}

/// Name at the end of the aliases of an answer, and the least time for which these hold.
fn canonical(message: &Message<Bytes>) -> Result<(ParsedName<Bytes>, Duration), String> {
    let owner = message.canonical_name().ok_or("the answer's aliases lead nowhere")?;
    let aliases = message.answer().map_err(damaged)?.limit_to_in::<Cname<_>>();
    let ttls = aliases.filter_map(|alias| Some(alias.ok()?.ttl().into_duration()));
    Ok((owner, ttls.min().unwrap_or(Duration::MAX)))
}

fn damaged(error: impl std::fmt::Display) -> String {
    format!("the answer is damaged: {error}")
}
