//! Fields that have no counterpart, and what is lost with each.

use guideway_model::config::is_of_google_alone;
use serde_json::Value;

use super::resource::Kind;

/// Fields of passthrough load balancers that Google Cloud does not look at, or that are about something else than
/// packets.
const IDLE: [&str; 20] = [
    "allow_psc_global_access",
    "balancing_mode",
    "default_port",
    "deletion_policy",
    "effective_labels",
    "generated_id",
    "healths",
    "health_check_id",
    "is_managed",
    "named_port",
    "named_ports",
    "network_endpoint_type",
    "no_automate_dns_zone",
    "port_specification",
    "project",
    "route_type",
    "status",
    "terraform_labels",
    "timeouts",
    "used_by",
];

/// Fields of a backend service that a passthrough load balancer does not look at.
const IDLE_OF_A_SERVICE: [&str; 7] =
    ["affinity_cookie_ttl_sec", "port", "port_name", "timeout_sec", "used_by", "session_affinity_ttl", "iap"];

/// Reason why the loss of a field matters; [`None`] if nothing is lost with it.
pub(super) fn reason(kind: Kind, way: &str, key: &str, value: &Value) -> Option<String> {
    let is_top = !way.contains('.');
    let is_idle = is_of_google_alone(key)
        // Terraform writes zero for none; of these two it is a value.
        || value.as_u64() == Some(0) && !["capacity_scaler", "priority"].contains(&key)
        || IDLE.contains(&key)
        || kind == Kind::BackendService && is_top && IDLE_OF_A_SERVICE.contains(&key)
        || kind == Kind::Route && key == "priority" && value.as_u64() == Some(1_000)
        || is_off(value);
    if is_idle {
        return None;
    }
    Some(
        match key {
            "capacity_scaler"
            | "max_connections"
            | "max_connections_per_instance"
            | "max_utilization"
            | "max_rate"
            | "max_rate_per_instance"
            | "preference" => "backends have no capacity here, and weights of their own",
            "client_port_mapping_mode" => "packets keep their ports",
            "dynamic_forwarding" | "ha_policy" => "the network's own forwarding is not Guideway's to set",
            "enable_strong_affinity" => {
                "affinity is kept by the conntrack table and by the hash, as without it in Google Cloud"
            }
            "fqdn" => "an endpoint is an address; names are not looked up",
            "ipv6_address" => "an endpoint has one address, and this is its second",
            "is_mirroring_collector" => "packets are forwarded and not mirrored",
            "locality_lb_policies" => "a service has one policy, `locality_lb_policy`",
            "log_config" => {
                "flows are not logged; `guideway conntrack list`, `capture` and the metrics show them"
            }
            "network_pass_through_lb_traffic_policy" => "zones are unknown to Guideway: all are equal",
            "port" if kind == Kind::BackendGroup => "packets keep their ports",
            "port_name" => "ports have no names here",
            "priority" => "the longest prefix wins, and a prefix has one route",
            "security_policy" | "edge_security_policy" => "packets are not filtered",
            "service_label" | "service_name" | "service_directory_registrations" => "no DNS name is made",
            "source_regions" => "probes come from the appliance alone",
            "tags" => "a route holds for every client",
            _ => "without a counterpart",
        }
        .to_owned(),
    )
}

/// True of a value that switches something off, or is empty.
fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) | Value::Number(_) => false,
        Value::String(text) => text.is_empty() || text == "NONE" || text.ends_with("_DISABLED"),
        Value::Array(list) => list.iter().all(is_off),
        // `{"enable": false, "sampleRate": 1.0}` is off, whatever else it says.
        Value::Object(object) => {
            object.get("enable") == Some(&Value::Bool(false)) || object.values().all(is_off)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_off_is_no_loss() {
        for (key, off, on) in [
            ("log_config", json!({ "enable": false, "sampleRate": 1.0 }), json!({ "enable": true })),
            ("ha_policy", json!({}), json!({ "fastIPMove": "GARP_RA" })),
            (
                "network_pass_through_lb_traffic_policy",
                json!({ "zonalAffinity": { "spillover": "ZONAL_AFFINITY_DISABLED" } }),
                json!({ "zonalAffinity": { "spillover": "ZONAL_AFFINITY_STAY_WITHIN_ZONE" } }),
            ),
            ("enable_strong_affinity", json!(false), json!(true)),
            ("something_new", json!([]), json!(["x"])),
        ] {
            assert_eq!(reason(Kind::BackendService, key, key, &off), None, "{key}");
            assert!(reason(Kind::BackendService, key, key, &on).is_some(), "{key}");
        }
    }

    #[test]
    fn a_field_may_matter_to_one_kind_alone() {
        assert_eq!(reason(Kind::BackendService, "port", "port", &json!(80)), None);
        assert!(reason(Kind::BackendGroup, "endpoints[0].port", "port", &json!(80)).is_some());
        assert_eq!(reason(Kind::Route, "priority", "priority", &json!(1000)), None);
        assert!(reason(Kind::Route, "priority", "priority", &json!(900)).is_some());
    }
}
