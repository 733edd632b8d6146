//! Check of virtual functions: what their PFs allow them, against what the configuration needs.

use guideway_dataplane::wire::ethernet::MacAddress;
use guideway_model::config::Config;

use super::driver_binding::subject;
use super::facts::{Facts, Function, VfSettings, VirtualFunction};
use super::finding::Finding;

/// Drivers of DPDK for virtual functions, but those whose names end in `_vf`.
const VF_DRIVER: &str = "net_iavf";

/// Trust, spoof check, VLAN, MTU, MAC address and link of each VF.
pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let Some(config) = &facts.config else { return Vec::new() };
    let mut findings = Vec::new();
    for function in &facts.functions {
        let name = subject(facts, function);
        match &function.vf {
            Some(vf) => findings.extend(of_vf(config, function, vf, &name)),
            None if is_lent(facts, function) => {
                let found =
                    "it is a VF whose PF another machine has, so that its settings cannot be seen from here";
                let remedy = "ip link set PF vf NUMBER trust on spoofchk off";
                findings.push(
                    Finding::note(name, found)
                        .should_be("on that machine: trust on, spoof check off", remedy),
                );
            }
            None => {}
        }
    }
    findings
}

/// True for a VF that a hypervisor lends: the running appliance knows its driver.
fn is_lent(facts: &Facts, function: &Function) -> bool {
    let port = facts.status.as_ref().and_then(|status| status.ports.get(function.port));
    port.is_some_and(|port| port.driver == VF_DRIVER || port.driver.ends_with("_vf"))
}

fn of_vf(config: &Config, function: &Function, vf: &VirtualFunction, name: &str) -> Vec<Finding> {
    let Some(pf) = &vf.pf else {
        let found = "its PF has no interface of the kernel, so that its settings cannot be seen";
        return vec![Finding::note(name, found)];
    };
    let port = &config.ports[function.port];
    let mut findings = Vec::new();
    if let Some(mtu) = vf.pf_mtu.filter(|mtu| *mtu < u32::from(port.mtu)) {
        let found = format!("its PF {pf} has an MTU of {mtu}, the port one of {}", port.mtu);
        findings.push(Finding::fault(name, found).should_be(
            "a PF that lets the port's packets through",
            format!("ip link set {pf} mtu {}", port.mtu),
        ));
    }
    if vf.pf_state.as_deref().is_some_and(|state| !matches!(state, "up" | "unknown")) {
        let state = vf.pf_state.as_deref().unwrap_or_default();
        findings.push(
            Finding::fault(name, format!("its PF {pf} is {state}"))
                .should_be("a PF that is up and has a link", format!("ip link set {pf} up")),
        );
    }
    match &vf.settings {
        Some(settings) => findings.extend(of_settings(config, function, settings, pf, name)),
        None => findings.push(
            Finding::note(name, format!("`ip` does not tell what its PF {pf} allows it"))
                .should_be("trust on, spoof check off", format!("ip -d link show dev {pf}")),
        ),
    }
    if findings.is_empty() {
        findings.push(Finding::ok(name, format!("VF {} of {pf}: trusted, spoof check off", vf.number)));
    }
    findings
}

fn of_settings(
    config: &Config,
    function: &Function,
    settings: &VfSettings,
    pf: &str,
    name: &str,
) -> Vec<Finding> {
    let number = settings.vf;
    let set = |what: &str| format!("ip link set {pf} vf {number} {what}");
    let mac = config.mac_of_port(function.port).map(|mac| MacAddress(mac).to_string());
    let is_tagged = config.links().any(|link| link.port == function.port && link.vlan.is_some());
    let port = &config.ports[function.port];
    let mut findings = Vec::new();
    if settings.spoofchk == Some(true) {
        let expected = "spoof check off: the appliance sends from its own MAC address";
        let finding = match (&mac, is_tagged) {
            (Some(mac), _) if settings.address.as_ref() != Some(mac) => {
                Finding::fault(name, format!("the spoof check drops what it sends from `mac_address` {mac}"))
            }
            (_, true) => Finding::warning(name, "the spoof check is on, and some NICs' drops tagged frames"),
            (_, false) => Finding::note(name, "the spoof check is on"),
        };
        findings.push(finding.should_be(expected, set("spoofchk off")));
    }
    if settings.trust == Some(false) {
        let uses_ipv6 = port.addresses.iter().any(|own| own.addr().is_ipv6())
            || config.rules.iter().any(|rule| !rule.vip.is_ipv4());
        let finding = if port.promiscuous {
            Finding::fault(name, "it is not trusted, and may not be `promiscuous`")
        } else if uses_ipv6 {
            Finding::warning(
                name,
                "it is not trusted, and may be refused multicast, which IPv6 neighbours ask by",
            )
        } else {
            Finding::note(name, "it is not trusted: multicast and other MAC addresses may be refused")
        };
        findings.push(finding.should_be("trust on", set("trust on")));
    }
    if let (Some(mac), Some(own)) = (&mac, &settings.address)
        && own != mac
        && settings.trust == Some(false)
        && own != "00:00:00:00:00:00"
    {
        let found =
            format!("its PF has given it the MAC address {own}, and it may not take `mac_address` {mac}");
        findings.push(Finding::fault(name, found).should_be("the same address", set(&format!("mac {mac}"))));
    }
    if let Some(vlan) = settings.vlan() {
        let found = format!("its PF puts it into VLAN {vlan}, whose tags the appliance does not see");
        findings.push(if is_tagged {
            let expected = "no VLAN from the PF, as networks of the configuration have their own";
            Finding::fault(name, found).should_be(expected, set("vlan 0"))
        } else {
            Finding::note(name, found)
        });
    }
    if settings.link_state.as_deref() == Some("disable") {
        let finding = Finding::fault(name, "its PF shows it no link");
        findings.push(finding.should_be("the PF's own link", set("state auto")));
    }
    findings
}
