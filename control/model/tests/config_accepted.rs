//! Configurations that are right, and what they come to.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use guideway_dataplane::affinity::{
    LoadBalancingScheme, PersistenceOnUnhealthy, SessionAffinity, TrackingMode,
};
use guideway_dataplane::delivery::DeliveryMode;
use guideway_model::config::{
    Config, EXAMPLE, FailoverPolicy, Fleet, GroupMember, Network, Ports, Probe, ProxyHeader, RuleProtocol,
    ServiceProtocol, schema,
};

fn parse(name: &str, text: &str) -> Config {
    Config::parse(name, text).unwrap_or_else(|errors| panic!("{errors}"))
}

fn fixture(name: &str) -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config_accepted").join(name);
    parse(name, &std::fs::read_to_string(path).expect("the fixture is there"))
}

#[test]
fn an_empty_file_is_all_defaults() {
    let config = parse("empty.toml", "");
    let Network { mtu, icmp_errors_per_sec, ipv4_address, .. } = *config.networks[0];
    assert_eq!((mtu, icmp_errors_per_sec, ipv4_address), (1_500, 100, None));
    assert_eq!(config.fleet, Fleet { seed: *b"guideway-default" });
    assert_eq!(config.conntrack.max_entries, 16_777_216);
    assert!(config.rules.is_empty() && config.services.is_empty());
}

#[test]
fn the_example_is_right_and_its_seed_is_the_default() {
    let config = parse("default.toml", EXAMPLE);
    assert_eq!(config.fleet.seed, Fleet::DEFAULT_SEED);
    assert_eq!(
        config.services[0].members,
        [GroupMember { group: 0, failover: false }, GroupMember { group: 1, failover: true }]
    );
    assert_eq!(config.groups[1].delivery, DeliveryMode::Gue { dst_port: 6_080 });
    assert_eq!(config.rules[config.routes[0].next_hop_rule].name, "firewall");
}

#[test]
fn the_committed_schema_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guideway.schema.json");
    let committed = std::fs::read_to_string(path).expect("the schema is committed");
    assert!(committed == schema(), "run `cargo run -- schema > control/guideway.schema.json`");
}

#[test]
fn every_key_is_documented() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let reference = std::fs::read_to_string(path).expect("the reference is there");
    let schema: serde_json::Value = serde_json::from_str(&schema()).expect("the schema is JSON");
    let tables = schema["definitions"].as_object().expect("the schema has tables");
    let keys =
        tables.values().flat_map(|table| table["properties"].as_object().expect("a table has keys").keys());
    for key in keys {
        let forms = [format!("| `{key}` |"), format!(".{key}]`"), format!("{key} = ")];
        let found = forms.iter().any(|form| reference.contains(form));
        assert!(found, "`{key}` is not in docs/configuration.md");
    }
}

#[test]
fn a_service_left_to_its_defaults() {
    let config = fixture("defaults.toml");
    let service = &config.services[0];
    assert_eq!(service.scheme, LoadBalancingScheme::External);
    assert_eq!(service.protocol, ServiceProtocol::Tcp);
    assert_eq!(service.affinity, SessionAffinity::None);
    assert_eq!(service.tracking_mode, TrackingMode::PerConnection);
    assert_eq!(service.persistence, PersistenceOnUnhealthy::DefaultForProtocol);
    assert_eq!((service.idle_timeout_sec, service.draining_timeout_sec, service.weighted), (60, 0, false));
    let FailoverPolicy { ratio, drop_traffic_if_unhealthy, disable_connection_drain_on_failover } =
        service.failover_policy;
    assert_eq!((ratio, drop_traffic_if_unhealthy, disable_connection_drain_on_failover), (0.0, false, false));

    let rule = &config.rules[0];
    assert_eq!((rule.protocol, &rule.ports), (RuleProtocol::Tcp, &Ports::List(vec![80, 443])));
    assert!(rule.allow_global_access, "every client may use an EXTERNAL rule");

    let group = &config.groups[0];
    assert_eq!((group.delivery, group.mtu), (DeliveryMode::L2, 1_500));
    let endpoint = &group.endpoints[0];
    assert_eq!(
        (endpoint.address, endpoint.mac_address, endpoint.weight),
        (IpAddr::from([10, 1, 0, 1]), None, 1)
    );

    let check = &config.health_checks[0];
    assert_eq!((check.interval, check.timeout), (Duration::from_secs(5), Duration::from_secs(5)));
    assert_eq!((check.healthy_threshold, check.unhealthy_threshold, check.port), (2, 2, 80));
    let Probe::Http(request) = &check.probe else { panic!("{:?}", check.probe) };
    assert_eq!((request.host.as_deref(), request.path.as_str()), (None, "/"));
    assert_eq!((request.response.as_str(), request.proxy_header), ("", ProxyHeader::None));
}

/// Text of the defaults' fixture with a text in it replaced.
fn defaults_with(from: &str, to: &str) -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config_accepted/defaults.toml");
    let text = std::fs::read_to_string(path).expect("the fixture is there");
    assert!(text.contains(from), "{from}");
    parse("defaults.toml", &text.replacen(from, to, 1))
}

#[test]
fn a_virtual_ip_address_may_be_a_prefix() {
    let vip = |written: &str| {
        let written = format!("ip_address = {written}");
        let rule = defaults_with("ip_address = \"203.0.113.10\"", &written).rules[0].clone();
        (rule.vip.to_string(), rule.probe_address.to_string())
    };
    let both = |vip: &str, probe: &str| (vip.to_owned(), probe.to_owned());
    assert_eq!(vip("\"203.0.113.10\""), both("203.0.113.10", "203.0.113.10"));
    assert_eq!(vip("\"203.0.113.10/32\""), both("203.0.113.10", "203.0.113.10"));
    assert_eq!(vip("\"203.0.113.0/28\""), both("203.0.113.0/28", "203.0.113.0"));
    let named = vip("\"203.0.113.0/28\"\nprobe_address = \"203.0.113.7\"");
    assert_eq!(named, both("203.0.113.0/28", "203.0.113.7"));
}

#[test]
fn ports_may_be_text() {
    let ports = |written: &str| defaults_with("ports = [443, 80]", written).rules[0].ports.clone();
    assert_eq!(ports("ports = [\"443\", 80]"), Ports::List(vec![80, 443]));
    assert_eq!(ports("ports = [\"8000-8010\"]"), Ports::Range(8_000, 8_010));
    assert_eq!(ports("ports = [\"8000-8010\"]"), ports("port_range = \"8000-8010\""));
    assert_eq!(ports("ports = [\"81-83\", \"80\"]"), Ports::List(vec![80, 81, 82, 83]));
}

#[test]
fn a_range_of_one_port_is_that_port() {
    let ports = |written: &str| defaults_with("ports = [443, 80]", written).rules[0].ports.clone();
    assert_eq!(ports("port_range = \"80-80\""), Ports::List(vec![80]));
    assert_eq!(ports("ports = [\"80-80\"]"), Ports::List(vec![80]));
}

#[test]
fn a_client_may_be_an_address_alone() {
    let base = "ports = [443, 80]\nbackend_service = \"web\"\n[[forwarding_rule]]\nname = \"steered\"\n\
                ip_address = \"203.0.113.10\"\nports = [80, 443]\nsource_ip_ranges = [\"192.0.2.1\", \"10.0.0.0/8\"]";
    let ranges = defaults_with("ports = [443, 80]", base).rules[1].source_ranges.clone();
    assert_eq!(ranges.iter().map(ToString::to_string).collect::<Vec<_>>(), ["192.0.2.1/32", "10.0.0.0/8"]);
}

#[test]
fn the_weighted_policy_has_a_name_of_its_own_on_internal_services() {
    let name = "health_checks = [\"page\"]";
    let weighted = |policy: &str| defaults_with(name, &format!("{name}\nlocality_lb_policy = \"{policy}\""));
    assert_eq!(weighted("WEIGHTED_GCP_RENDEZVOUS"), weighted("WEIGHTED_MAGLEV"));
    assert!(weighted("WEIGHTED_GCP_RENDEZVOUS").services[0].weighted);
}

#[test]
fn descriptions_have_no_effect() {
    let described =
        defaults_with("name = \"page\"", "name = \"page\"\ndescription = \"Wie geht's, Müller?\"");
    assert_eq!(described, fixture("defaults.toml"));
    let longest = format!("name = \"page\"\ndescription = \"{}\"", "ü".repeat(2_048));
    assert_eq!(defaults_with("name = \"page\"", &longest), fixture("defaults.toml"));
}

#[test]
fn an_external_service_for_every_protocol_with_weights_and_failover() {
    let config = fixture("external.toml");
    let (service, rule) = (&config.services[0], &config.rules[0]);
    assert_eq!((rule.protocol, &rule.ports), (RuleProtocol::L3Default, &Ports::All));
    assert!(service.weighted && service.has_failover());
    assert_eq!(
        service.failover_policy,
        FailoverPolicy {
            ratio: 0.75,
            drop_traffic_if_unhealthy: true,
            disable_connection_drain_on_failover: false,
        }
    );
    assert_eq!(config.groups[0].endpoints[1].weight, 1_000);
    assert_eq!(config.groups[0].endpoints[0].mac_address, Some([2, 0, 0, 0, 1, 1]));
}

#[test]
fn an_internal_service_on_ipv6_with_a_route() {
    let config = fixture("internal_v6.toml");
    let service = &config.services[0];
    assert_eq!((service.affinity, service.idle_timeout_sec), (SessionAffinity::ClientIpProto, 900));
    assert_eq!(service.draining_timeout_sec, 30);
    assert!(service.weighted && service.configured_weights, "a check of type TCP will do");
    assert!(!config.rules[0].allow_global_access);
    assert_eq!(config.routes[0].next_hop_rule, 1);
}
