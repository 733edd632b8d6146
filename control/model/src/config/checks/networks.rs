//! Networks: each has a name and a link of its own, and its addresses are written where the link is.

use std::collections::HashMap;

use crate::config::names::Scope;
use crate::config::report::{Report, Span};
use crate::config::written::field::{Field, elements};
use crate::config::written::file::NetworkFile;
use crate::config::written::value::Mac;

/// Reports networks without a name among several, networks that share a link, ports without a network, and addresses that
/// are of no network.
pub(super) fn check(scope: &Scope<'_>, report: &mut Report) {
    let is_one_of_several = scope.networks.count() > 1;
    let mut links: HashMap<Link, (usize, &Span)> = HashMap::new();
    for (index, table) in scope.networks.iter() {
        let span = scope.networks.span(index);
        if table.name.is_none() && is_one_of_several {
            report.error(
                span,
                "a network without a name",
                "add `name = …`: rules and services name their network",
            );
        }
        check_addresses(table, report);
        let Some(link) = Link::of(index, scope) else { continue };
        let place = table.vlan.as_ref().map(Field::span).or(table.port.as_ref().map(Field::span));
        let place = place.or(table.name.as_ref().map(Field::span)).unwrap_or(span);
        if let Some((first, first_span)) = links.insert(link, (index, place)) {
            let vlan = link.vlan.map_or("untagged".to_owned(), |vlan| format!("VLAN {vlan}"));
            report.error_beside(
                place,
                format!(
                    "networks `{}` and `{}` are on one link: one port, {vlan}",
                    scope.networks.name(first),
                    scope.networks.name(index)
                ),
                "give one of them another `port` or `vlan`: nothing else tells their packets apart",
                [(first_span, "the first".to_owned())],
            );
        }
    }
    check_mac_addresses(scope, report);
    check_ports(scope, report);
}

/// Port and VLAN of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Link {
    /// Index of the port; none for a sole network, which is on all ports.
    port: Option<usize>,
    vlan: Option<u32>,
}

impl Link {
    /// Link of the network with this index; none if what is written of it is wrong.
    fn of(index: usize, scope: &Scope<'_>) -> Option<Self> {
        let Some(table) = scope.networks.table(index) else {
            return scope.networks.is_readable(index).then_some(Self { port: None, vlan: None });
        };
        let vlan = match &table.vlan {
            Some(vlan) => Some(vlan.copied()?.0),
            None => None,
        };
        let port = match &table.port {
            Some(name) => Some(scope.ports.find(name)?.0),
            None => (scope.networks.count() > 1 || vlan.is_some()).then_some(0),
        };
        Some(Self { port, vlan })
    }

    fn is_on(self, port: usize) -> bool {
        self.port.is_none_or(|own| own == port)
    }
}

/// Index of the network whose frames are untagged on a port.
pub(super) fn untagged_on(port: usize, scope: &Scope<'_>) -> Option<usize> {
    (0..scope.networks.count())
        .find(|index| Link::of(*index, scope).is_some_and(|link| link.vlan.is_none() && link.is_on(port)))
}

/// Reports addresses and gateways of an untagged network, which has those of its port.
fn check_addresses(table: &NetworkFile, report: &mut Report) {
    if table.vlan.is_some() {
        return;
    }
    let addresses = table.ip_addresses.as_ref().map(|written| ("ip_addresses", written.span()));
    let gateways = table.gateways.as_ref().map(|written| ("gateways", written.span()));
    for (key, span) in addresses.into_iter().chain(gateways) {
        report.error(
            span,
            format!("`{key}` of a network without a VLAN"),
            format!("write `{key}` into the `[[port]]` that the network is on, or add `vlan`"),
        );
    }
}

/// Reports networks on one port that give it different MAC addresses: its device takes frames for one.
fn check_mac_addresses(scope: &Scope<'_>, report: &mut Report) {
    let mut known: HashMap<usize, (Mac, &Span)> = HashMap::new();
    for (index, table) in scope.networks.iter() {
        let Some(written) = &table.mac_address else { continue };
        let (Some(mac), Some(Link { port: Some(port), .. })) = (written.copied(), Link::of(index, scope))
        else {
            continue;
        };
        let (first, first_span) = *known.entry(port).or_insert((mac, written.span()));
        if first.0 != mac.0 {
            report.error_beside(
                written.span(),
                "another MAC address than that of another network on the port",
                "write the same address in both: a port's device takes frames for one",
                [(first_span, "the first".to_owned())],
            );
        }
    }
}

/// Reports ports on which no network is, and addresses of ports on which every network is tagged.
fn check_ports(scope: &Scope<'_>, report: &mut Report) {
    let links: Option<Vec<Link>> = (0..scope.networks.count()).map(|index| Link::of(index, scope)).collect();
    let Some(links) = links else { return };
    for (index, port) in elements(&scope.file.port).iter().enumerate() {
        let Some(port) = port.get() else { continue };
        if !links.iter().any(|link| link.is_on(index)) {
            let name = port.name.get().map_or("", |name| &name.0);
            report.error(
                port.name.span(),
                format!("no network is on port `{name}`"),
                format!("add a `[[network]]` with `port = \"{name}\"`, or leave the port out"),
            );
        } else if untagged_on(index, scope).is_none() {
            let addresses = port.ip_addresses.as_ref().map(|written| ("ip_addresses", written.span()));
            let gateways = port.gateways.as_ref().map(|written| ("gateways", written.span()));
            for (key, span) in addresses.into_iter().chain(gateways) {
                report.error(
                    span,
                    format!("`{key}` of a port on which every network is a VLAN"),
                    format!("write `{key}` into the `[[network]]` that has them"),
                );
            }
        }
    }
}
