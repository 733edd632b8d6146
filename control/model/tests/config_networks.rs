//! Several networks: what may be the same in two of them, and what is refused.

use std::fmt::Write;

use guideway_model::config::Config;

/// Two networks on VLANs of one port, with one VIP, one route and one endpoint each, all of the same addresses.
const TWO: &str = r#"
[[port]]
name = "trunk"
device = "net_pcap0,iface=eth0"

[[network]]
name = "blue"
vlan = 100
ip_addresses = ["10.0.0.1/24"]
gateways = ["10.0.0.254"]
ipv4_address = "10.0.0.1"
mtu = 1400

[[network]]
name = "red"
vlan = 200
ip_addresses = ["10.0.0.1/24"]
gateways = ["10.0.0.254"]
ipv4_address = "10.0.0.1"

[[health_check]]
name = "alive"
type = "TCP"

[[forwarding_rule]]
name = "blue-web"
load_balancing_scheme = "INTERNAL"
ip_address = "10.0.0.10"
ports = [80]
backend_service = "blue-web"

[[backend_service]]
name = "blue-web"
load_balancing_scheme = "INTERNAL"
health_checks = ["alive"]
backends = [{ group = "blue-web" }]

[[backend_group]]
name = "blue-web"
delivery = "ipip"
endpoints = [{ name = "web-1", ip_address = "10.0.1.11" }]

[[route]]
name = "blue-route"
dest_range = "10.9.0.0/16"
next_hop_ilb = "blue-web"

[[forwarding_rule]]
name = "red-web"
network = "red"
load_balancing_scheme = "INTERNAL"
ip_address = "10.0.0.10"
ports = [80]
neighbor_replies = "NEVER"
backend_service = "red-web"

[[backend_service]]
name = "red-web"
network = "red"
load_balancing_scheme = "INTERNAL"
health_checks = ["alive"]
backends = [{ group = "red-web" }]

[[backend_group]]
name = "red-web"
network = "red"
delivery = "ipip"
endpoints = [{ name = "web-1", ip_address = "10.0.1.11" }]

[[route]]
name = "red-route"
network = "red"
dest_range = "10.9.0.0/16"
next_hop_ilb = "red-web"
"#;

fn parse(text: &str) -> Config {
    Config::parse("networks.toml", text).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn two_networks_may_have_the_same_addresses() {
    let config = parse(TWO);
    let networks = config.rules.iter().map(|rule| rule.network);
    assert_eq!(networks.collect::<Vec<_>>(), [0, 1]);
    assert_eq!(
        config.groups.iter().map(|group| (group.network, group.mtu)).collect::<Vec<_>>(),
        [(0, 1400), (1, 1500)]
    );
    let links = config.links().map(|link| (link.network, link.port, link.vlan, link.addresses.len()));
    assert_eq!(links.collect::<Vec<_>>(), [(0, 0, Some(100), 1), (1, 0, Some(200), 1)]);
}

#[test]
fn one_network_is_on_all_ports_and_may_go_by_the_name_of_default() {
    let ports = "[[port]]\nname = \"a\"\ndevice = \"net_pcap0,iface=a\"\nip_addresses = [\"10.0.0.1/24\"]\n\
                 [[port]]\nname = \"b\"\ndevice = \"net_pcap1,iface=b\"\n";
    let group = "[[backend_group]]\nname = \"g\"\nnetwork = \"default\"\nendpoints = []\n";
    for network in ["", "[network]\n", "[[network]]\n", "[[network]]\nname = \"default\"\n"] {
        let config = parse(&format!("{ports}{network}{group}"));
        let links: Vec<_> = config.links().map(|link| (link.port, link.vlan, link.addresses.len())).collect();
        assert_eq!(links, [(0, None, 1), (1, None, 0)], "{network}");
        assert_eq!(config.networks[0].name, "default", "{network}");
    }
}

#[test]
fn what_two_networks_cannot_share_is_refused() {
    let cases = [
        ("a network among several has a name", "name = \"red\"\n", ""),
        ("networks have names of their own", "name = \"red\"", "name = \"blue\""),
        ("a VLAN of a port is one network's", "vlan = 200", "vlan = 100"),
        ("a VLAN has a number", "vlan = 200", "vlan = 4095"),
        ("a network's port is one", "vlan = 200", "vlan = 200\nport = \"trunks\""),
        (
            "a port has one MAC address",
            "mtu = 1400\n\n[[network]]\nname = \"red\"",
            "mtu = 1400\nmac_address = \"02:00:00:00:00:01\"\n\n[[network]]\nname = \"red\"\n\
             mac_address = \"02:00:00:00:00:02\"",
        ),
        ("an untagged network has its port's addresses", "vlan = 200\n", ""),
        ("a port of VLANs has no addresses", "eth0\"\n", "eth0\"\nip_addresses = [\"10.0.0.1/24\"]\n"),
        (
            "every port has a network",
            "eth0\"\n",
            "eth0\"\n[[port]]\nname = \"spare\"\ndevice = \"net_pcap1,iface=eth1\"\n",
        ),
        (
            "an address is written once in a network",
            "[\"10.0.0.1/24\"]\ngateways = [\"10.0.0.254\"]\nipv4_address = \"10.0.0.1\"\nmtu",
            "[\"10.0.0.1/24\", \"10.0.0.1/25\"]\nipv4_address = \"10.0.0.1\"\nmtu",
        ),
        (
            "a gateway is on the network's link",
            "[\"10.0.0.254\"]\nipv4_address = \"10.0.0.1\"\nmtu",
            "[\"10.0.3.254\"]\nipv4_address = \"10.0.0.1\"\nmtu",
        ),
        (
            "a rule names a network",
            "name = \"red-web\"\nnetwork = \"red\"\nload_balancing_scheme = \"INTERNAL\"\nip",
            "name = \"red-web\"\nnetwork = \"rad\"\nload_balancing_scheme = \"INTERNAL\"\nip",
        ),
        (
            "a rule is in its service's network",
            "backend_service = \"red-web\"",
            "backend_service = \"blue-web\"",
        ),
        (
            "a service is in its groups' network",
            "backends = [{ group = \"red-web\" }]",
            "backends = [{ group = \"blue-web\" }]",
        ),
        ("a route is in its next hop's network", "next_hop_ilb = \"red-web\"", "next_hop_ilb = \"blue-web\""),
        (
            "a virtual IP address is none of its network's own",
            "ipv4_address = \"10.0.0.1\"\n\n[[health",
            "ipv4_address = \"10.0.0.10\"\n\n[[health",
        ),
        ("a tunnel has a source in its network", "ipv4_address = \"10.0.0.1\"\n\n[[health", "\n[[health"),
    ];
    let mut shown = String::new();
    for (claim, from, to) in cases {
        assert_eq!(TWO.matches(from).count(), 1, "{claim}: {from:?} must occur once");
        let errors = Config::parse("networks.toml", &TWO.replace(from, to)).expect_err(claim);
        writeln!(shown, "## {claim}\n{}", errors.render(false)).expect("a string takes it");
    }
    let many =
        (0..65).map(|i| format!("[[network]]\nname = \"n{i}\"\nvlan = {}\n", i + 1)).collect::<String>();
    let errors = Config::parse("networks.toml", &many).expect_err("it is too much");
    writeln!(shown, "## there are 64 networks at most\n{}", errors.render(false)).expect("a string takes it");
    insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!(shown) });
}

#[test]
fn a_vip_of_two_networks_is_told_of_in_words_of_each() {
    let announcement = |name: &str, rule: &str, command: &str| {
        format!("[[announcement]]\nname = \"{name}\"\n{rule}command = [{command}]\n")
    };
    let (blue, red) = ("forwarding_rules = [\"blue-web\"]\n", "forwarding_rules = [\"red-web\"]\n");
    let apart = announcement("blue", blue, "\"/bin/vrf\", \"blue\"")
        + &announcement("red", red, "\"/bin/vrf\", \"red\"");
    assert_eq!(parse(&format!("{TWO}{apart}")).announcements.len(), 2);
    let error = |announcements: &str| {
        let errors =
            Config::parse("networks.toml", &format!("{TWO}{announcements}")).expect_err("it is ambiguous");
        errors.errors().iter().map(|error| error.message.clone()).collect::<Vec<_>>()
    };
    let together = announcement("all", "", "\"/bin/vrf\"");
    assert_eq!(error(&together), ["`10.0.0.10` is told of for the networks `blue` and `red` alike"]);
    let alike = announcement("blue", blue, "\"/bin/vrf\"") + &announcement("red", red, "\"/bin/vrf\"");
    assert_eq!(error(&alike), ["two announcements tell the same in the same way"]);
}

#[test]
fn the_manuals_example_is_right_and_the_one_that_the_verbs_are_shown_with() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |path: &str| std::fs::read_to_string(root.join(path)).expect("it is there");
    let manual = read("docs/networks.md");
    let example = manual.split("```").find_map(|block| block.strip_prefix("toml\n")).expect("an example");
    assert!(parse(example).has_several_networks());
    assert!(read("control/tests/cli/networks.toml").ends_with(example));
}
