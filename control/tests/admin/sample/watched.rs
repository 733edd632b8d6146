//! Connections that a watch shows.

use guideway::api::view::{ConnectionState, WatchedFlow, WatchedFlows};

/// Connections of one second.
pub(crate) fn watched() -> WatchedFlows {
    let flow = |client: &str, client_port, backend: &str, packets| WatchedFlow {
        protocol: "tcp".to_owned(),
        client: client.parse().unwrap(),
        client_port: Some(client_port),
        vip: "203.0.113.10".parse().unwrap(),
        vip_port: Some(443),
        network: None,
        forwarding_rule: "web-https".to_owned(),
        service: "web".to_owned(),
        backend: backend.to_owned(),
        packets,
        bytes: packets * 1_100,
        state: Some(ConnectionState::Established),
    };
    let esp = WatchedFlow {
        protocol: "esp".to_owned(),
        client_port: None,
        vip_port: None,
        state: None,
        ..flow("198.51.100.9", 0, "web-2", 1)
    };
    WatchedFlows {
        at_unix_sec: 1_760_000_000.5,
        flows: vec![flow("198.51.100.7", 40_001, "web-1", 12), esp],
        left_out_flows: 0,
        missed_packets: 3,
    }
}
