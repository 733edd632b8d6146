//! Targets of test frames: virtual addresses and ports that a configuration has rules for.

use std::net::IpAddr;

use guideway_model::config::{Config, ForwardingRule, Ports, RuleProtocol};

use super::client;
use super::protocol::{Family, Protocol};

/// Ports of one rule that frames go to, at most: of a longer range, the first ones.
const PORTS_OF_A_RULE: usize = 16;

/// Port for rules that take all: discard (RFC 863).
const ANY_PORT: u16 = 9;

/// Destination of test frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) vip: IpAddr,
    pub(super) port: u16,
}

/// Targets of this family and protocol that take the tester's clients, in the order of the rules.
pub(super) fn targets(config: &Config, family: Family, protocol: Protocol) -> Vec<Target> {
    let takes = |rule: &&ForwardingRule| {
        let takes_protocol = match rule.protocol {
            RuleProtocol::Tcp => protocol == Protocol::Tcp,
            RuleProtocol::Udp => protocol == Protocol::Udp,
            RuleProtocol::L3Default => true,
        };
        takes_protocol
            && rule.vip.is_ipv4() == (family == Family::Ipv4)
            && takes_clients(rule, config, family)
    };
    let targets = |rule: &ForwardingRule| {
        let ports: Vec<u16> = match &rule.ports {
            Ports::List(ports) => ports.clone(),
            Ports::Range(first, last) => (*first..=*last).take(PORTS_OF_A_RULE).collect(),
            Ports::All => vec![ANY_PORT],
        };
        let vip = rule.vip.first();
        ports.into_iter().map(move |port| Target { vip, port }).collect::<Vec<_>>()
    };
    config.rules.iter().filter(takes).flat_map(targets).collect()
}

/// True if a rule takes the whole range of clients.
fn takes_clients(rule: &ForwardingRule, config: &Config, family: Family) -> bool {
    let ends = client::ends(family);
    let by_source = rule.source_ranges.is_empty()
        || rule.source_ranges.iter().any(|range| ends.iter().all(|end| range.contains(end)));
    let region = &config.networks[rule.network].region_ranges;
    let by_region = rule.allow_global_access
        || region.is_empty()
        || region.iter().any(|range| ends.iter().all(|end| range.contains(end)));
    by_source && by_region
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(rules: &str) -> Config {
        let text = format!(
            "[network]
            ipv4_address = \"192.0.2.1\"
            ipv6_address = \"2001:db8:1::1\"
            {rules}
            [[backend_service]]
            name = \"all\"
            load_balancing_scheme = \"EXTERNAL\"
            protocol = \"UNSPECIFIED\"
            health_checks = [\"any\"]
            backends = [{{ group = \"all\" }}]
            [[health_check]]
            name = \"any\"
            type = \"TCP\"
            [[backend_group]]
            name = \"all\"
            delivery = \"ipip\"
            endpoints = [{{ name = \"a\", ip_address = \"10.0.0.1\" }}, {{ name = \"b\", ip_address = \"2001:db8::b\" }}]"
        );
        Config::parse("test", &text).unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn rule(name: &str, address: &str, rest: &str) -> String {
        format!(
            "[[forwarding_rule]]\nname = \"{name}\"\nload_balancing_scheme = \"EXTERNAL\"\n\
             ip_address = \"{address}\"\nbackend_service = \"all\"\n{rest}\n"
        )
    }

    #[test]
    fn frames_go_to_the_rules_that_take_them() {
        let config = config(
            &[
                rule("listed", "203.0.113.1", "ip_protocol = \"UDP\"\nports = [53, 443]"),
                rule("range", "203.0.113.2", "ip_protocol = \"UDP\"\nport_range = \"1000-2000\""),
                rule("tcp", "203.0.113.3", "ip_protocol = \"TCP\"\nall_ports = true"),
                rule("prefix", "203.0.113.64/28", "ip_protocol = \"L3_DEFAULT\"\nall_ports = true"),
                rule("others", "203.0.113.5", "ip_protocol = \"UDP\"\nports = [1]"),
                rule(
                    "half",
                    "203.0.113.5",
                    "ip_protocol = \"UDP\"\nports = [1]\nsource_ip_ranges = [\"198.18.0.0/16\"]",
                ),
                rule(
                    "ours",
                    "203.0.113.5",
                    "ip_protocol = \"UDP\"\nports = [1]\nsource_ip_ranges = [\"198.16.0.0/14\"]",
                ),
                rule("six", "2001:db8::1", "ip_protocol = \"UDP\"\nports = [53]"),
            ]
            .concat(),
        );
        let all = |family, protocol| -> Vec<String> {
            let targets = targets(&config, family, protocol);
            targets.iter().map(|target| format!("{} {}", target.vip, target.port)).collect()
        };
        let udp = all(Family::Ipv4, Protocol::Udp);
        assert_eq!(udp[..3], ["203.0.113.1 53", "203.0.113.1 443", "203.0.113.2 1000"]);
        assert_eq!(udp[17..], ["203.0.113.2 1015", "203.0.113.64 9", "203.0.113.5 1", "203.0.113.5 1"]);
        assert_eq!(all(Family::Ipv4, Protocol::Tcp), ["203.0.113.3 9", "203.0.113.64 9"]);
        assert_eq!(all(Family::Ipv6, Protocol::Udp), ["2001:db8::1 53"]);
    }
}
