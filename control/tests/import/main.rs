//! Exports of Google Cloud, and the configurations that they become.

mod arbitrary;

use std::net::Ipv4Addr;
use std::path::Path;

use guideway::offline::import::{ExportFile, ImportError, Imported, Options, import};
use guideway_dataplane::delivery::DeliveryMode;
use guideway_model::config::{Config, Ports, snake_case};
use insta::assert_snapshot;
use serde_json::{Value, json};

/// Backends on the link, and no addresses of the appliance.
const ON_THE_LINK: Options = Options { delivery: DeliveryMode::L2, ipv4_address: None, ipv6_address: None };

/// Backends behind tunnels over IPv4.
const IN_TUNNELS: Options = Options {
    delivery: DeliveryMode::Gre,
    ipv4_address: Some(Ipv4Addr::new(192, 0, 2, 5)),
    ipv6_address: None,
};

fn file(name: &str) -> ExportFile {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import").join(name);
    ExportFile { name: name.to_owned(), text: std::fs::read_to_string(path).expect("the fixture is there") }
}

fn export(value: &Value) -> ExportFile {
    ExportFile { name: "export.json".to_owned(), text: value.to_string() }
}

/// Imports files, and parses what they become.
fn imported(files: &[ExportFile], options: &Options) -> (Imported, Config) {
    let imported = import(files, options).expect("the files are readable");
    let config = Config::parse("imported.toml", &imported.text).unwrap_or_else(|errors| panic!("{errors}"));
    (imported, config)
}

/// A service with its check and its group, in a zone, and whatever else an export has.
fn service_and(other: Value) -> Value {
    json!({
        "backendServices": [{
            "name": "web", "protocol": "TCP", "healthChecks": ["hc"],
            "backends": [{ "group": "projects/p/zones/a/networkEndpointGroups/neg" }],
        }],
        "healthChecks": [{ "name": "hc", "type": "TCP" }],
        "other": other,
    })
}

#[test]
fn an_export_becomes_a_configuration_with_remarks() {
    let (imported, _) = imported(&[file("bookshop.json")], &ON_THE_LINK);
    assert_snapshot!("bookshop", imported.text);
    assert_snapshot!("bookshop_remarks", imported.remarks.join("\n"));
}

#[test]
fn subsets_with_a_size_are_carried_over() {
    let of = |subsetting: Value| {
        let mut from = service_and(json!({}));
        from["backendServices"][0]["loadBalancingScheme"] = json!("INTERNAL");
        from["backendServices"][0]["subsetting"] = subsetting;
        let (imported, config) = imported(&[export(&from)], &ON_THE_LINK);
        let told = imported.remarks.iter().any(|remark| remark.contains("subset"));
        (config.services[0].subset_size.map(std::num::NonZeroU16::get), told)
    };
    let policy = "CONSISTENT_HASH_SUBSETTING";
    assert_eq!(of(json!({ "policy": "NONE" })), (None, false));
    assert_eq!(of(json!({ "policy": policy, "subsetSize": 20 })), (Some(20), false));
    assert_eq!(of(json!({ "policy": policy })), (None, true));
    assert_eq!(of(json!({ "policy": policy, "subsetSize": 5000 })), (None, true));
}

#[test]
fn resources_of_several_networks_come_with_their_networks() {
    let (imported, config) = imported(&[file("networks.json")], &IN_TUNNELS);
    assert_snapshot!("networks", imported.text);
    assert_snapshot!("networks_remarks", imported.remarks.join("\n"));
    let names: Vec<&str> = config.networks.iter().map(|network| &*network.name).collect();
    assert_eq!(names, ["blue", "red"]);
    let rules: Vec<_> = config.rules.iter().map(|rule| (&*rule.name, rule.network)).collect();
    assert_eq!(
        rules,
        [("blue-firewall", 0), ("red-firewall", 1)],
        "of a rule's own word, and of its service's"
    );
    assert_eq!(config.services.iter().map(|service| service.network).collect::<Vec<_>>(), [0, 1]);
    // A machine is met by the interface that it has in the network.
    let groups: Vec<_> =
        config.groups.iter().map(|group| (&*group.name, group.endpoints[0].address.to_string())).collect();
    let expected = [("firewalls", "10.0.0.21"), ("firewalls-red", "10.0.0.22"), ("spare", "10.0.0.31")];
    assert_eq!(groups, expected.map(|(name, address)| (name, address.to_owned())));
    let hops: Vec<_> = config.routes.iter().map(|route| (route.network, route.next_hop_rule)).collect();
    assert_eq!(hops, [(0, 0), (1, 1)], "the same address is another rule's in each");
}

#[test]
fn a_resource_whose_network_nobody_tells_is_of_the_first() {
    let mut from: Value = serde_json::from_str(&file("networks.json").text).expect("it is JSON");
    let lonely = json!({ "name": "lonely", "networkEndpointType": "GCE_VM_IP", "size": 0, "endpoints": [] });
    from["networkEndpointGroups"].as_array_mut().expect("a list").push(lonely);
    // A name that is none says nothing.
    from["forwardingRules"][1]["network"] = json!("No Name");
    let (imported, config) = imported(&[export(&from)], &ON_THE_LINK);
    assert_eq!((config.rules[1].network, config.groups.last().map(|group| group.network)), (1, Some(0)));
    let told = "backend group `lonely`: its network is not told: it is of the first, `blue`";
    assert!(imported.remarks.iter().any(|remark| remark == told), "{:?}", imported.remarks);
}

#[test]
fn one_network_needs_no_word_and_networks_of_one_name_have_their_projects() {
    let of = |networks: [&str; 2]| {
        let mut from = service_and(json!({}));
        let [first, second] = networks;
        from["backendServices"][0]["network"] = json!(first);
        let mut other = from["backendServices"][0].clone();
        other["name"] = json!("mail");
        other["network"] = json!(second);
        from["backendServices"].as_array_mut().expect("a list").push(other);
        let (imported, config) = imported(&[export(&from)], &ON_THE_LINK);
        let names: Vec<String> = config.networks.iter().map(|network| network.name.clone()).collect();
        (names, imported.text.contains("[[network]]"))
    };
    let whole = "https://www.googleapis.com/compute/v1/projects/p/global/networks/default";
    let default = vec!["default".to_owned()];
    assert_eq!(of([whole, "projects/p/global/networks/default"]), (default.clone(), false));
    assert_eq!(of([whole, "default"]), (default, false));
    let names = vec!["default-p".to_owned(), "default-q".to_owned()];
    assert_eq!(of([whole, "projects/q/global/networks/default"]), (names, true));
}

#[test]
fn yaml_documents_and_lists_of_endpoints_become_one_too() {
    let (imported, config) = imported(&[file("rule.yaml"), file("clocks.json")], &ON_THE_LINK);
    assert_snapshot!("clocks", imported.text);
    let endpoints: Vec<_> = config.groups[0].endpoints.iter().map(|endpoint| &*endpoint.name).collect();
    assert_eq!(endpoints, ["clock-1", "endpoint-10-20-4-2"]);
    assert_eq!(config.rules[0].ports, Ports::List(vec![123]));
}

#[test]
fn the_state_of_terraform_becomes_one_too() {
    let (imported, config) = imported(&[file("terraform.json")], &ON_THE_LINK);
    assert_snapshot!("terraform", imported.text);
    let endpoints: Vec<_> = config.groups[0].endpoints.iter().map(|endpoint| &*endpoint.name).collect();
    assert_eq!(endpoints, ["mail-1", "mail-2"]);
    assert_eq!(imported.remarks, [""; 0]);
}

/// Adds the fields of a value that a text neither has as keys nor names in a remark; one that is told of is told of
/// with all that it holds.
fn add_untold(value: &Value, text: &str, untold: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let forms = [format!("{} = ", snake_case(name)), format!("{name}`"), format!("`{name}")];
                if forms.iter().any(|form| text.contains(form)) {
                    continue;
                }
                match value {
                    Value::Object(_) | Value::Array(_) => add_untold(value, text, untold),
                    _ => untold.push(name.clone()),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| add_untold(value, text, untold)),
        _ => {}
    }
}

#[test]
fn every_field_of_an_export_is_carried_over_or_told() {
    let mut export: Value = serde_json::from_str(&file("bookshop.json").text).expect("it is JSON");
    // Instances lend their addresses alone.
    export.as_object_mut().expect("it is a map").remove("instances");
    let (imported, _) = imported(&[file("bookshop.json")], &ON_THE_LINK);
    let mut untold = Vec::new();
    add_untold(&export, &imported.text, &mut untold);
    // An instance is its endpoint's name; an empty host is none; one port or one range may be written as a list.
    let elsewhere = ["instance", "host", "portRange", "address"];
    untold.retain(|name| !elsewhere.contains(&name.as_str()));
    assert!(untold.is_empty(), "{untold:?}");
}

#[test]
fn a_range_of_ipv6_addresses_is_carried_over() {
    let rule = json!([{ "name": "v6", "IPAddress": "2001:db8:1:2:0:1::/96", "IPProtocol": "TCP", "ports": ["80"],
        "backendService": "regions/r/backendServices/web" }]);
    let endpoints = json!([{ "name": "neg", "endpoints": [{ "instance": "vm", "ipAddress": "10.0.0.1" }] }]);
    let (imported, config) = imported(&[export(&service_and(json!([rule, endpoints])))], &IN_TUNNELS);
    assert_eq!(config.rules.len(), 1, "{}", imported.text);
    assert_eq!(config.rules[0].vip.to_string(), "2001:db8:1:2:0:1::/96");
    assert_eq!(imported.remarks, [""; 0]);
    assert!(imported.text.contains("ipv4_address = \"192.0.2.5\""));
}

#[test]
fn a_route_leads_to_the_rule_whose_range_its_next_hop_is_in() {
    let service = json!([{ "name": "fw", "protocol": "UNSPECIFIED", "loadBalancingScheme": "INTERNAL",
        "healthChecks": ["hc"], "backends": [{ "group": "projects/p/zones/a/networkEndpointGroups/neg" }] }]);
    let rule = |name: &str, range: &str| {
        json!({ "name": name, "IPAddress": range, "IPProtocol": "L3_DEFAULT", "allPorts": true,
            "loadBalancingScheme": "INTERNAL", "backendService": "regions/r/backendServices/fw" })
    };
    let rules = json!([rule("wide", "2001:db8:1:2::/80"), rule("narrow", "2001:db8:1:2:0:1::/96")]);
    let routes = ["2001:db8:1:2:0:1:0:7", "2001:db8:1:2:0:1::/96", "2001:db8:1:2:0:2::"];
    let route = |(number, hop): (usize, &str)| json!({ "name": format!("r{number}"), "destRange": format!("2001:db8:{number}::/48"), "nextHopIlb": hop });
    let routes: Vec<Value> = routes.into_iter().zip(11..).map(|(hop, number)| route((number, hop))).collect();
    let endpoints = json!([{ "name": "neg", "endpoints": [{ "instance": "vm", "ipAddress": "10.0.0.1" }] }]);
    let whole = service_and(json!([service, rules, routes, endpoints]));
    let (imported, config) = imported(&[export(&whole)], &IN_TUNNELS);
    let hops: Vec<_> = config.routes.iter().map(|route| &*config.rules[route.next_hop_rule].name).collect();
    assert_eq!(hops, ["narrow", "narrow", "wide"], "{}", imported.text);
}

#[test]
fn a_tunnel_takes_endpoints_of_the_families_that_it_has_a_source_of() {
    let endpoints = json!([{ "name": "neg", "endpoints": [
        { "instance": "four", "ipAddress": "10.0.0.1" }, { "instance": "six", "ipAddress": "2001:db8::6" },
    ] }]);
    let (imported, config) = imported(&[export(&service_and(endpoints))], &IN_TUNNELS);
    assert_eq!(config.groups[0].endpoints.len(), 1);
    assert!(imported.remarks[0].contains("instance `six` at `2001:db8::6`"), "{:?}", imported.remarks);
}

#[test]
fn a_group_that_is_not_exported_is_empty_and_keeps_its_zone_apart() {
    let other = json!([{ "name": "neg", "selfLink": "projects/p/zones/b/networkEndpointGroups/neg",
        "endpoints": [{ "instance": "vm", "ipAddress": "10.0.0.1" }] }]);
    let (imported, config) = imported(&[export(&service_and(other))], &ON_THE_LINK);
    let service = &config.services[0];
    let group = &config.groups[service.members[0].group];
    assert_eq!((&*group.name, group.endpoints.len()), ("neg-a", 0));
    assert!(imported.remarks.iter().any(|remark| remark.contains("its endpoints are not among the files")));
}

#[test]
fn a_list_of_endpoints_goes_to_the_group_that_its_file_is_named_after() {
    let list = |name: &str, address: &str| ExportFile {
        name: format!("exports/{name}.json"),
        text: json!([{ "networkEndpoint": { "ipAddress": address } }]).to_string(),
    };
    let zones = json!(
        ["a", "b"].map(|zone| json!({ "name": "neg", "zone": zone, "kind": "compute#networkEndpointGroup" }))
    );
    let files = [export(&service_and(zones)), list("neg-b", "10.0.0.2"), list("neg", "10.0.0.3")];
    let (imported, config) = imported(&files, &ON_THE_LINK);
    let groups: Vec<_> = config.groups.iter().map(|group| (&*group.name, group.endpoints.len())).collect();
    assert_eq!(groups, [("neg-a", 0), ("neg-b", 1), ("neg", 1)]);
    assert!(imported.remarks.iter().any(|remark| remark.contains("`neg`: no service refers")));
}

#[test]
fn a_resource_in_two_files_is_imported_once() {
    let twice = [file("bookshop.json"), ExportFile { name: "copy.json".to_owned(), ..file("bookshop.json") }];
    let once = import(&twice[..1], &ON_THE_LINK).expect("it is readable");
    let both = import(&twice, &ON_THE_LINK).expect("it is readable");
    assert_eq!(once.tables, both.tables);
}

#[test]
fn what_is_beyond_a_limit_is_left_out() {
    let endpoints: Vec<_> =
        (0..1_100).map(|i| json!({ "ipAddress": format!("10.0.{}.{}", i / 200, i % 200 + 1) })).collect();
    let rules: Vec<_> = (0..16_400)
        .map(|i| {
            json!({ "name": format!("r{i}"), "IPAddress": format!("203.{}.{}.1", i / 200, i % 200),
                "IPProtocol": "TCP", "ports": ["80"], "backendService": "web" })
        })
        .collect();
    let group = json!({ "name": "neg", "endpoints": endpoints });
    let (imported, config) = imported(&[export(&service_and(json!([rules, group])))], &ON_THE_LINK);
    assert_eq!((config.rules.len(), config.groups[0].endpoints.len()), (16_384, 1_000));
    assert!(imported.remarks.iter().any(|remark| remark.contains("16400 forwarding rules")));
    assert!(imported.remarks.iter().any(|remark| remark.contains("1100 endpoints")));
}

#[test]
fn nothing_of_a_load_balancer_is_an_error() {
    for value in [
        json!([]),
        json!({ "kind": "compute#address", "name": "a" }),
        json!({ "kind": "compute#instance" }),
        json!("text"),
        json!(null),
    ] {
        assert_eq!(import(&[export(&value)], &ON_THE_LINK).err(), Some(ImportError::Empty), "{value}");
    }
}
