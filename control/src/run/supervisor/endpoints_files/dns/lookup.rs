//! Answer of the domain name system: the addresses that a name has, or the hosts of a service, within bounds of time and
//! number.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::base::iana::{Rcode, Rtype};
use domain::base::{Message, Name};
use domain::resolv::StubResolver;
use domain::resolv::stub::conf::{ResolvConf, ServerConf, Transport};
use guideway_model::config::{DnsQuestion, EndpointsRecord};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::net::dns_answer::{Answer, DnsName, addresses_in, hosts_in};

/// Time that a server may take, before it is asked again.
const TRY_TIMEOUT: Duration = Duration::from_secs(2);
/// Number of times that a server is asked.
const TRIES: usize = 3;
/// Time that a whole question may take, with the hosts of a service.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Number of hosts of a service that are asked for at the same time.
const MAX_AT_ONCE: usize = 8;
/// Largest number of addresses, which is that of the endpoints of a group, and of a service's hosts.
const MAX_ADDRESSES: usize = 1_000;

/// Reasons why a name has no addresses.
#[derive(Debug)]
enum Failure {
    /// The name has none: the server is sure of it.
    None(String),
    /// No server could say.
    Unknown(String),
}

use Failure::{None as NoAddress, Unknown};

/// Asks a question, and those that its answer leads to.
///
/// # Errors
/// The reason, if no address is found.
pub(super) async fn ask(question: &DnsQuestion) -> Result<Answer, String> {
    let asked = tokio::time::timeout(TIMEOUT, addresses(question)).await;
    let Ok(asked) = asked else { return Err(format!("no answer within {} seconds", TIMEOUT.as_secs())) };
    let Answer { mut addresses, ttl } = asked.map_err(|failure| match failure {
        NoAddress(why) | Unknown(why) => why,
    })?;
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.len() > MAX_ADDRESSES {
        return Err(format!("{} addresses, and a group has at most {MAX_ADDRESSES}", addresses.len()));
    }
    Ok(Answer { addresses, ttl })
}

async fn addresses(question: &DnsQuestion) -> Result<Answer, Failure> {
    let DnsQuestion { name, record, .. } = question;
    let name = Name::from_str(name).map_err(|error| Unknown(format!("`{name}`: {error}")))?;
    let resolver = Arc::new(resolver(question));
    match record {
        EndpointsRecord::A => of_host(&resolver, &name, Rtype::A).await,
        EndpointsRecord::Aaaa => of_host(&resolver, &name, Rtype::AAAA).await,
        EndpointsRecord::Srv => of_service(&resolver, &name).await,
    }
}

/// A resolver with servers of its own, or those of `/etc/resolv.conf`, which may be other ones by now.
fn resolver(question: &DnsQuestion) -> StubResolver {
    let mut conf = if question.servers.is_empty() { ResolvConf::default() } else { ResolvConf::new() };
    conf.servers.extend(question.servers.iter().map(|server| ServerConf::new(*server, Transport::UdpTcp)));
    // A try ends earlier, with words of its own.
    conf.options.timeout = TIMEOUT;
    StubResolver::from_conf(conf)
}

/// Addresses of the hosts of a service. A host without an address is left out; one that nobody can tell of is a failure of
/// all, so that it does not lose its endpoint.
async fn of_service(resolver: &Arc<StubResolver>, name: &DnsName) -> Result<Answer, Failure> {
    let message = query(resolver, name, Rtype::SRV).await?;
    let (hosts, mut ttl) = hosts_in(&message).map_err(Unknown)?;
    if hosts.is_empty() {
        return Err(NoAddress("there is no SRV record of that name".to_owned()));
    }
    if hosts.len() > MAX_ADDRESSES {
        return Err(Unknown(format!("{} hosts, and a group has at most {MAX_ADDRESSES}", hosts.len())));
    }
    let slots = Arc::new(Semaphore::new(MAX_AT_ONCE));
    let mut lookups = JoinSet::new();
    for host in hosts {
        let (resolver, slots) = (Arc::clone(resolver), Arc::clone(&slots));
        lookups.spawn(async move {
            let _slot = slots.acquire().await.expect("nobody closes the semaphore");
            let found = match of_host(&resolver, &host, Rtype::A).await {
                Err(NoAddress(_)) => of_host(&resolver, &host, Rtype::AAAA).await,
                found => found,
            };
            (host, found)
        });
    }
    let mut addresses = Vec::new();
    while let Some(joined) = lookups.join_next().await {
        match joined.map_err(|error| Unknown(error.to_string()))? {
            (_, Ok(answer)) => {
                addresses.extend(answer.addresses);
                ttl = ttl.min(answer.ttl);
            }
            (_, Err(NoAddress(_))) => {}
            (host, Err(Unknown(why))) => return Err(Unknown(format!("host {host}: {why}"))),
        }
    }
    if addresses.is_empty() {
        return Err(NoAddress("none of the hosts that its SRV records name has an address".to_owned()));
    }
    Ok(Answer { addresses, ttl })
}

/// Addresses of one family that a host has.
async fn of_host(resolver: &StubResolver, name: &DnsName, record: Rtype) -> Result<Answer, Failure> {
    let message = query(resolver, name, record).await?;
    let answer = addresses_in(&message, record).map_err(Unknown)?;
    if answer.addresses.is_empty() {
        return Err(NoAddress(format!("there is no {record} record of that name")));
    }
    Ok(answer)
}

/// Asks the servers, a few times.
async fn query(resolver: &StubResolver, name: &DnsName, record: Rtype) -> Result<Message<Bytes>, Failure> {
    let mut why = String::new();
    for _ in 0..TRIES {
        match tokio::time::timeout(TRY_TIMEOUT, resolver.query((name, record))).await {
            Ok(Ok(answer)) => {
                let message = answer.into_message();
                match message.header().rcode() {
                    Rcode::NOERROR => return Ok(message),
                    Rcode::NXDOMAIN => return Err(NoAddress("there is no such name (NXDOMAIN)".to_owned())),
                    other => why = format!("the server answers {other}"),
                }
            }
            Ok(Err(error)) => why = error.to_string(),
            Err(_) => why = format!("no server answers within {} seconds", TRY_TIMEOUT.as_secs()),
        }
    }
    Err(Unknown(why))
}
