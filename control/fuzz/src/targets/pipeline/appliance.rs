//! Appliances that frames are given to: a configuration of each delivery, family and number of networks.

use std::time::Duration;

use guideway_dataplane::snapshot::Snapshot;
use guideway_model::config::Config;
use guideway_model::egress_lookup::StandInMacs;
use guideway_model::forwarding_state::{ForwardingState, StateChange};

/// Configuration that takes every packet and delivers it in one way.
pub(super) struct Appliance {
    /// State in which backends `a` and `b` are eligible.
    pub(super) snapshot: Snapshot,
    /// State in which `b` has turned unhealthy.
    pub(super) without_b: Snapshot,
    /// Bytes between the outer IP header and the packet; none without a tunnel.
    pub(super) shim_len: Option<usize>,
    /// True if packets too long for the tunnel may leave in fragments.
    pub(super) fragments: bool,
}

/// MTU of every path.
pub(super) const MTU: usize = 1340;

/// Every combination of delivery, families and networks.
pub(super) fn appliances() -> Vec<Appliance> {
    let modes = [("l2", None), ("ipip", Some(0)), ("gre", Some(4)), ("gue", Some(12))];
    let directions = [("10.1.0", "fd00:"), ("fd00:", "10.1.0")];
    let mut found = Vec::new();
    for (delivery, shim_len) in modes {
        for (v4_hosts, v6_hosts) in directions {
            // On one segment, a family stays with itself.
            if shim_len.is_none() && v4_hosts != "10.1.0" {
                continue;
            }
            for fragments in [false, true] {
                let [snapshot, without_b] = snapshots(delivery, [v4_hosts, v6_hosts], fragments, &[None]);
                found.push(Appliance { snapshot, without_b, shim_len, fragments });
            }
            let [snapshot, without_b] = snapshots(delivery, [v4_hosts, v6_hosts], false, &[None, Some(100)]);
            found.push(Appliance { snapshot, without_b, shim_len, fragments: false });
        }
    }
    found
}

/// Snapshots of networks with these VLANs, or untagged, which have the same addresses: of all backends, and without `b`.
fn snapshots(
    delivery: &str,
    [v4_hosts, v6_hosts]: [&str; 2],
    fragments: bool,
    vlans: &[Option<u16>],
) -> [Snapshot; 2] {
    let mut text = "[[health_check]]\nname = \"check\"\ntype = \"TCP\"\n".to_owned();
    for (index, vlan) in vlans.iter().enumerate() {
        text += &format!(
            "[[network]]\nname = \"n{index}\"\n{}ipv4_address = \"192.0.2.1\"\nipv6_address = \"2001:db8:1::1\"\n\
             mtu = {MTU}\nfragment_tunnels = {fragments}\n",
            vlan.map(|vlan| format!("vlan = {vlan}\n")).unwrap_or_default()
        );
        add_services(&mut text, delivery, [v4_hosts, v6_hosts], index);
    }
    let config =
        Config::parse("fuzz.toml", &text).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
    let services = (0..vlans.len()).flat_map(|index| ["v4", "v6"].map(|family| format!("{family}-{index}")));
    let mut state = ForwardingState::offline(config);
    let snapshot = state.snapshot(&StandInMacs);
    let changes =
        services.map(|service| StateChange::Health { service, backend: "b".to_owned(), healthy: false });
    state.apply(changes, Duration::ZERO).all_known().unwrap_or_else(|unknown| panic!("{unknown}"));
    [snapshot, state.snapshot(&StandInMacs)]
}

/// Adds rules, services, groups and routes of both families to the network with this index.
fn add_services(text: &mut String, delivery: &str, [v4_hosts, v6_hosts]: [&str; 2], index: usize) {
    let network = format!("network = \"n{index}\"\n");
    for (name, vip, vip_prefix, range, hosts) in [
        ("v4", "192.0.2.10", "203.0.113.0/24", "0.0.0.0/0", v4_hosts),
        ("v6", "2001:db8::10", "2001:db8:1234::/96", "::/0", v6_hosts),
    ] {
        let separator = if hosts.contains(':') { ":" } else { "." };
        *text += &format!(
            "[[forwarding_rule]]\nname = \"{name}-{index}\"\n{network}load_balancing_scheme = \"INTERNAL\"\n\
             ip_address = \"{vip}\"\nip_protocol = \"L3_DEFAULT\"\nall_ports = true\nbackend_service = \"{name}-{index}\"\n\
             [[forwarding_rule]]\nname = \"prefix-{name}-{index}\"\n{network}load_balancing_scheme = \"INTERNAL\"\n\
             ip_address = \"{vip_prefix}\"\nip_protocol = \"TCP\"\nall_ports = true\n\
             backend_service = \"{name}-{index}\"\n\
             [[backend_service]]\nname = \"{name}-{index}\"\n{network}load_balancing_scheme = \"INTERNAL\"\n\
             protocol = \"UNSPECIFIED\"\nhealth_checks = [\"check\"]\nbackends = [{{ group = \"{name}-{index}\" }}]\n\
             [[backend_group]]\nname = \"{name}-{index}\"\n{network}delivery = \"{delivery}\"\nendpoints = [\
             {{ name = \"a\", ip_address = \"{hosts}{separator}1\" }}, \
             {{ name = \"b\", ip_address = \"{hosts}{separator}2\" }}]\n\
             [[route]]\nname = \"{name}-{index}\"\n{network}dest_range = \"{range}\"\nnext_hop_ilb = \"{name}-{index}\"\n"
        );
    }
}
