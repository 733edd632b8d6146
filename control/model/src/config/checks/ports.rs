//! Ports and VLANs: no two ports share a device, and no two links of one network an address.

use std::collections::HashMap;
use std::net::IpAddr;

use super::networks::untagged_on;
use crate::config::names::Scope;
use crate::config::report::{Report, Span};
use crate::config::written::field::{Field, elements};
use crate::config::written::value::InterfaceAddress;

/// Reports devices that two ports share, and addresses that are written twice in one network.
pub(super) fn check(scope: &Scope<'_>, report: &mut Report) {
    let mut devices = HashMap::new();
    let mut addresses = HashMap::new();
    for (index, port) in elements(&scope.file.port).iter().enumerate() {
        let Some(port) = port.get() else { continue };
        if let Some(device) = port.device.get()
            && let Some(first) = devices.insert(device.name(), port.device.span())
        {
            report.error_beside(
                port.device.span(),
                format!("two ports are device `{}`", device.name()),
                "name each device once",
                [(first, "the first".to_owned())],
            );
        }
        if let Some(network) = untagged_on(index, scope) {
            check_addresses(network, elements(&port.ip_addresses), &mut addresses, report);
        }
    }
    for (network, table) in scope.networks.iter() {
        check_addresses(network, elements(&table.ip_addresses), &mut addresses, report);
    }
}

/// Reports addresses of a link that its network has already.
fn check_addresses<'f>(
    network: usize,
    written: &'f [Field<InterfaceAddress>],
    seen: &mut HashMap<(usize, IpAddr), &'f Span>,
    report: &mut Report,
) {
    for address in written {
        let Some(InterfaceAddress(own)) = address.copied() else { continue };
        if let Some(first) = seen.insert((network, own.addr()), address.span()) {
            report.error_beside(
                address.span(),
                format!("`{}` is written twice", own.addr()),
                "an address belongs to one port",
                [(first, "the first".to_owned())],
            );
        }
    }
}
