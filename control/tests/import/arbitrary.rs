//! No export makes the import panic, and whatever it writes is valid.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value};

use super::{IN_TUNNELS, ON_THE_LINK, export, file};
use guideway::offline::import::import;
use guideway_model::config::Config;

/// Names of fields that the import knows.
const KEYS: [&str; 48] = [
    "kind",
    "name",
    "description",
    "selfLink",
    "zone",
    "items",
    "backendServices",
    "forwardingRules",
    "healthChecks",
    "networkEndpointGroups",
    "instanceGroups",
    "instances",
    "routes",
    "backends",
    "group",
    "failover",
    "loadBalancingScheme",
    "protocol",
    "sessionAffinity",
    "localityLbPolicy",
    "connectionDraining",
    "drainingTimeoutSec",
    "connectionTrackingPolicy",
    "trackingMode",
    "idleTimeoutSec",
    "failoverPolicy",
    "failoverRatio",
    "IPAddress",
    "IPProtocol",
    "ports",
    "portRange",
    "allPorts",
    "sourceIpRanges",
    "backendService",
    "type",
    "tcpHealthCheck",
    "httpHealthCheck",
    "checkIntervalSec",
    "port",
    "endpoints",
    "networkEndpoint",
    "instance",
    "ipAddress",
    "nextHopIlb",
    "values",
    "backend",
    "network_endpoint_group",
    "network_interface",
];

/// Texts that are right somewhere, and wrong elsewhere.
const TEXTS: [&str; 26] = [
    "",
    "a",
    "b",
    "Not a name",
    "zones/z/networkEndpointGroups/a",
    "regions/r/backendServices/a",
    "compute#backendService",
    "compute#forwardingRule",
    "compute#healthCheck",
    "compute#networkEndpointGroup",
    "TCP",
    "UDP",
    "HTTP",
    "L3_DEFAULT",
    "EXTERNAL",
    "INTERNAL",
    "EXTERNAL_MANAGED",
    "PER_SESSION",
    "CLIENT_IP",
    "203.0.113.1",
    "2001:db8::/96",
    "10.0.0.1",
    "80-80",
    "1-70000",
    "line\nbreak \u{7f}\u{0}\"\\",
    "/",
];

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        select(&[0_i64, -1, 1, 60, 80, 600, 65_536, i64::MAX][..]).prop_map(Value::from),
        select(&[0.0, 0.5, 1e300][..]).prop_map(Value::from),
        select(&TEXTS[..]).prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(5, 96, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((select(&KEYS[..]), inner), 0..9).prop_map(|entries| {
                Value::from_iter(entries.into_iter().map(|(key, value)| (key.to_owned(), value)))
            }),
        ]
    })
}

/// Number of values within a value, itself among them.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(count).sum(),
        Value::Object(object) => object.values().map(count).sum(),
        _ => 0,
    }
}

/// Replaces the value with an index, counted as they are met.
fn replace(value: &mut Value, index: &mut usize, other: &Value) {
    if *index == 0 {
        *value = other.clone();
    }
    *index = index.wrapping_sub(1);
    match value {
        Value::Array(list) => list.iter_mut().for_each(|value| replace(value, index, other)),
        Value::Object(object) => object.values_mut().for_each(|value| replace(value, index, other)),
        _ => {}
    }
}

fn import_and_parse(value: &Value) {
    for options in [ON_THE_LINK, IN_TUNNELS] {
        if let Ok(imported) = import(&[export(value)], &options)
            && let Err(errors) = Config::parse("imported.toml", &imported.text)
        {
            panic!("{errors}");
        }
    }
}

proptest! {
    #[test]
    fn any_value(value in value()) {
        import_and_parse(&value);
    }

    #[test]
    fn any_resources(lists in prop::collection::vec((select(&KEYS[6..13]), prop::collection::vec(value(), 0..4)), 0..5)) {
        let lists = lists.into_iter().map(|(key, list)| (key.to_owned(), Value::from(list)));
        import_and_parse(&Value::Object(Map::from_iter(lists)));
    }

    #[test]
    fn an_export_with_values_replaced(edits in prop::collection::vec((any::<Index>(), scalar()), 1..6)) {
        let mut value: Value = serde_json::from_str(&file("bookshop.json").text).expect("it is JSON");
        for (at, other) in edits {
            let mut index = at.index(count(&value));
            replace(&mut value, &mut index, &other);
        }
        import_and_parse(&value);
    }

    #[test]
    fn any_text(text in "\\PC{0,64}|[-a:\\[\\]{}\"'&*!|>\n ]{0,64}") {
        let file = guideway::offline::import::ExportFile { name: "x".to_owned(), text };
        let _ = import(&[file], &ON_THE_LINK);
    }
}
