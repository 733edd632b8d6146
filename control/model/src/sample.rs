//! A small configuration for unit tests.

use crate::config::Config;

/// Configuration of one rule before the service `svc`; `head` holds the tables before it, `service` its lines, `groups`
/// the tables after it.
pub fn sample(head: &str, service: &str, groups: &str) -> Config {
    let text = format!(
        r#"
        {head}
        [[forwarding_rule]]
        name = "rule"
        ip_address = "203.0.113.10"
        ip_protocol = "TCP"
        all_ports = true
        backend_service = "svc"
        [[health_check]]
        name = "hc"
        type = "TCP"
        port = 80
        [[backend_service]]
        name = "svc"
        protocol = "TCP"
        health_checks = ["hc"]
        {service}
        {groups}
        "#
    );
    Config::parse("sample", &text).unwrap_or_else(|errors| panic!("{errors}"))
}
