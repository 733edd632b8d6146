//! An appliance with two arms: clients on one port, backends on the other.

use std::time::Duration;

use guideway::run::appliance::{Appliance, Nic};
use guideway_dataplane::egress::PortId;
use guideway_dataplane::wire::ethernet::MacAddress;
use guideway_model::config::Config;
use guideway_model::forwarding_state::Setup;

const CONFIG: &str = r#"
[[port]]
name = "wan"
device = "net_null0"
ip_addresses = ["198.18.0.1/24"]
[[port]]
name = "lan"
device = "net_null1"
ip_addresses = ["192.0.2.1/24"]
[[forwarding_rule]]
name = "web"
ip_address = "198.18.0.10"
ports = [80]
backend_service = "web"
[[backend_service]]
name = "web"
health_checks = ["alive"]
backends = [{ group = "web" }]
[[backend_group]]
name = "web"
endpoints = [{ name = "web-1", ip_address = "192.0.2.11", mac_address = "02:00:00:00:00:11" }]
[[health_check]]
name = "alive"
type = "TCP"
"#;

fn config(garp_interval: &str) -> Config {
    Config::parse("test", &format!("[network]\n{garp_interval}\n{CONFIG}")).unwrap()
}

/// Seconds of a time at which the port that only receives sends something.
fn heard_at(appliance: &mut Appliance, seconds: std::ops::Range<u64>) -> Vec<u64> {
    let mut heard = Vec::new();
    for second in seconds {
        appliance.poll(Duration::from_secs(second));
        while let Some(frame) = appliance.transmit() {
            if frame.port == PortId(0) {
                heard.push(second);
            }
        }
    }
    heard
}

#[test]
fn the_port_that_only_receives_is_heard_of_as_often_as_configured_and_a_reload_changes_that() {
    let nic = |last| Nic { mac: MacAddress([2, 0, 0, 0, 1, last]), offloads_udp_checksum: false };
    let mut appliance = Appliance::new(config(""), &[nic(1), nic(2)], Setup::OFFLINE, Duration::ZERO);
    // Announcements of the start end within five seconds.
    heard_at(&mut appliance, 0..5);
    // By its own address and by the VIP, each once a minute.
    assert_eq!(heard_at(&mut appliance, 5..130), [40, 60, 100, 120]);
    appliance.reload(config("garp_interval_sec = 6"), Duration::from_secs(130));
    assert_eq!(heard_at(&mut appliance, 130..143).len(), 4);
    appliance.reload(config("garp_interval_sec = 0"), Duration::from_secs(143));
    assert_eq!(heard_at(&mut appliance, 143..1_000), [0; 0]);
}
