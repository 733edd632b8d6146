//! No message makes the reader of DNS answers panic, or find more in it than its bytes can hold.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use guideway::net::dns_answer::read;
use guideway_model::config::EndpointsRecord;

/// Least length of a record of an address: a compressed name, type, class, time to live, length, and the address.
const A_RECORD: usize = 1 + 10 + 4;

/// Length of a message's header.
const HEADER: usize = 12;

/// Runs the target on this message.
pub(crate) fn run(message: &[u8]) {
    let room = message.len().saturating_sub(HEADER);
    if let Ok((addresses, _)) = read(message, EndpointsRecord::A) {
        assert!(addresses.len() * A_RECORD <= room, "{} addresses in {room} bytes", addresses.len());
        assert!(addresses.iter().all(|address| address.parse::<Ipv4Addr>().is_ok()));
    }
    if let Ok((addresses, _)) = read(message, EndpointsRecord::Aaaa) {
        assert!(addresses.len() * (A_RECORD + 12) <= room, "{} addresses in {room} bytes", addresses.len());
        assert!(addresses.iter().all(|address| address.parse::<Ipv6Addr>().is_ok()));
    }
    if let Ok((hosts, _)) = read(message, EndpointsRecord::Srv) {
        assert!(hosts.len() * (A_RECORD + 2) <= room, "{} hosts in {room} bytes", hosts.len());
        assert!(hosts.iter().all(|host| !host.is_empty() && host != "."), "the root is no host");
        assert_eq!(hosts.iter().collect::<BTreeSet<_>>().len(), hosts.len(), "each once");
    }
}
