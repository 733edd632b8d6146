//! Check of the kernel's own forwarding beside the appliance, and of its reverse path filter for health checks.

use guideway_model::config::Transport;

use super::facts::Facts;
use super::finding::{Finding, quoted};

/// Devices whose frames the kernel sees too.
const SHARED: [&str; 2] = ["net_af_packet", "net_pcap"];

/// `ip_forward` where the kernel sees the ports' frames, and `rp_filter` where it makes health checks.
pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let Some(config) = &facts.config else { return Vec::new() };
    let mut findings = Vec::new();
    let is_shared =
        config.ports.iter().any(|port| SHARED.iter().any(|driver| port.device.is_driven_by(driver)));
    if is_shared {
        for (setting, key) in [
            ("ipv4/ip_forward", "net.ipv4.ip_forward"),
            ("ipv6/conf/all/forwarding", "net.ipv6.conf.all.forwarding"),
        ] {
            match facts.net_settings.get(setting).map(|value| &**value) {
                None => {}
                Some("0") => findings.push(Finding::ok(key, "0")),
                Some(value) => {
                    let found =
                        format!("{value}: the kernel sees the ports' frames too, and forwards a second copy");
                    let finding = Finding::warning(key, found);
                    findings.push(finding.should_be("0", format!("sysctl -w {key}=0")));
                }
            }
        }
    }
    findings.extend(reverse_path(facts, config));
    findings
}

/// Strict filter of an interface that health checks are bound to: answers by another interface are dropped.
fn reverse_path(facts: &Facts, config: &guideway_model::config::Config) -> Vec<Finding> {
    let bound = config.health_checks.iter().filter_map(|check| match &check.transport {
        Transport::Kernel { bind_device, .. } => bind_device.as_deref(),
        Transport::InPath => None,
    });
    let interfaces: std::collections::BTreeSet<&str> = bound.collect();
    let value = |interface: &str| {
        let text = facts.net_settings.get(&format!("ipv4/conf/{interface}/rp_filter"));
        text.and_then(|text| text.parse::<u8>().ok()).unwrap_or(0)
    };
    let strict = interfaces.into_iter().filter(|interface| value(interface).max(value("all")) == 1);
    strict
        .map(|interface| {
            let key = format!("net.ipv4.conf.{interface}.rp_filter");
            let found = "1: answers to health checks that the kernel would send back by another interface are dropped";
            let remedy = format!("sysctl -w {}=2", quoted(&key));
            Finding::note(key, found).should_be("2 (loose), where the way back is another", remedy)
        })
        .collect()
}
