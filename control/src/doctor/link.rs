//! Check of the ports' links, and of the kernel's interfaces that virtual devices take.

use guideway_model::config::Port;

use super::facts::{Facts, Interface};
use super::finding::{Finding, quoted};
use crate::api::view::{self, PortState};

/// Link of each port: of the running appliance, or of the kernel's interface.
pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let Some(config) = &facts.config else { return Vec::new() };
    let mut findings = Vec::new();
    for port in &config.ports {
        let running =
            facts.status.as_ref().and_then(|status| status.ports.iter().find(|one| one.name == port.name));
        let subject = format!("port `{}`", port.name);
        for name in port.device.interfaces() {
            let Some(interface) = facts.interfaces.get(name) else { continue };
            findings.extend(of_interface(port, name, interface.as_ref(), &subject));
        }
        if let Some(running) = running {
            findings.push(of_running(running, &subject));
        }
    }
    findings
}

fn of_running(port: &view::Port, subject: &str) -> Finding {
    let device = &port.device;
    match (port.state, port.link_up) {
        (PortState::Running, true) => Finding::ok(subject, "its link is up"),
        (PortState::Running, false) => Finding::fault(subject, "its link is down")
            .should_be("up: look at cable, switch and, of a VF, its PF", "guideway events --limit 20"),
        (PortState::Resetting, _) => Finding::fault(subject, format!("its device {device} is being reset"))
            .should_be("a device that works again within seconds", "guideway events --limit 20"),
        (PortState::Removed, _) => Finding::fault(subject, format!("its device {device} is gone"))
            .should_be("the device, and a restart of the appliance", "systemctl restart guideway"),
    }
}

fn of_interface(port: &Port, name: &str, interface: Option<&Interface>, subject: &str) -> Vec<Finding> {
    let Some(interface) = interface else {
        let finding = Finding::fault(subject, format!("the kernel has no interface {name}"));
        return vec![finding.should_be("an interface that there is", "ip -br link show")];
    };
    let mut findings = Vec::new();
    if !interface.is_up {
        let finding = Finding::fault(subject, format!("the interface {name} is switched off"));
        findings.push(finding.should_be("up", format!("ip link set {} up", quoted(name))));
    } else if !interface.has_carrier {
        let finding = Finding::fault(subject, format!("the interface {name} has no link"));
        findings.push(finding.should_be(
            "a link: look at the cable and its other end",
            format!("ip link show dev {}", quoted(name)),
        ));
    }
    if interface.mtu < u32::from(port.mtu) {
        let found =
            format!("the interface {name} has an MTU of {}, the port one of {}", interface.mtu, port.mtu);
        let remedy = format!("ip link set {} mtu {}", quoted(name), port.mtu);
        findings.push(
            Finding::fault(subject, found).should_be("an interface that takes the port's packets", remedy),
        );
    }
    if findings.is_empty() {
        findings.push(Finding::ok(subject, format!("the interface {name} is up, its MTU {}", interface.mtu)));
    }
    findings
}
