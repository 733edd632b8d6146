//! Metrics of VIPs, and of the routes that are announced to them.

use std::fmt;

use super::families::{Families, Label};
use crate::api::view::{Announcement, Status, Vip};

/// Writes the state of VIPs and routes.
pub(super) fn vips(families: &mut Families<'_>, status: &Status) -> fmt::Result {
    let vips = &status.vips;
    let label = |vip: &Vip| in_network([("address", vip.address.to_string())], vip.network.as_ref());
    let announced = vips.iter().map(|vip| (label(vip), u64::from(vip.announced)));
    families.gauges(
        "vip_announced",
        "1 if the appliance answers ARP and neighbour discovery for the VIP now.",
        announced,
    )?;
    let conflicts = vips.iter().map(|vip| (label(vip), vip.conflicts));
    families.counters("vip_conflicts_total", "Claims of the VIP heard from other hosts.", conflicts)?;
    let announcements = |of: fn(&Announcement) -> u64| {
        status.announcements.iter().map(move |one| {
            let labels = [("announcement", one.announcement.clone()), ("address", one.address.to_string())];
            (in_network(labels, one.network.as_ref()), of(one))
        })
    };
    families.gauges(
        "route_wanted",
        "1 if routers are to be told of the address.",
        announcements(|one| one.wanted.into()),
    )?;
    families.gauges(
        "route_announced",
        "1 if routers were told of the address.",
        announcements(|one| (one.announced == Some(true)).into()),
    )?;
    families.gauges(
        "route_failures",
        "Consecutive failures to announce or withdraw the address.",
        announcements(|one| one.failures.into()),
    )?;
    let Some(guard) = &status.guard else { return Ok(()) };
    families.gauge(
        "guard_running",
        "1 if a guard stands, which withdraws announcements should the appliance die.",
        u64::from(guard.pid.is_some()),
    )?;
    families.counter("guard_restarts_total", "Guards that have followed one that had died.", guard.restarts)
}

/// Labels, and that of the network if there are several.
fn in_network<const LABELS: usize>(labels: [Label; LABELS], network: Option<&String>) -> Vec<Label> {
    let network = network.map(|network| ("network", network.clone()));
    labels.into_iter().chain(network).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vip_of_two_networks_has_a_sample_of_each() {
        let address = || [("address", "192.0.2.10".to_owned())];
        assert_eq!(in_network(address(), None), address());
        let red = in_network(address(), Some(&"red".to_owned()));
        assert_eq!(red, [&address()[..], &[("network", "red".to_owned())]].concat());
    }
}
