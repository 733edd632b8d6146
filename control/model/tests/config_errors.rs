//! Every error of a configuration: what is claimed, the change that breaks a right file, and what is shown
//! for it.

use std::fmt::Write;

use guideway_model::config::Config;
use insta::{Settings, assert_snapshot};

/// A right configuration, which each case breaks in one place.
const BASE: &str = include_str!("config_base.toml");

/// A claim, a text that occurs once in the base, and what it is replaced with.
type Case = (&'static str, &'static str, &'static str);

/// A snapshot without the expression that made it: the snapshot itself repeats each case.
macro_rules! snapshot {
    ($shown:expr $(,)?) => {{
        let mut settings = Settings::clone_current();
        settings.set_omit_expression(true);
        settings.bind(|| assert_snapshot!($shown));
    }};
}

/// Each case with what is shown for it.
fn shown(cases: &[Case]) -> String {
    let mut shown = String::new();
    for (claim, from, to) in cases {
        assert_eq!(BASE.matches(from).count(), 1, "{claim}: {from:?} must occur once in the base");
        let broken = BASE.replace(from, to);
        let rendered = match Config::parse("config.toml", &broken) {
            Ok(_) => panic!("{claim}: was accepted\n{broken}"),
            Err(errors) => errors.render(false),
        };
        writeln!(shown, "## {claim}").expect("a string takes it");
        for (sign, text) in [('-', from), ('+', to)] {
            for line in text.lines().filter(|line| line.len() < 200) {
                writeln!(shown, "{sign} {line}").expect("a string takes it");
            }
        }
        writeln!(shown, "\n{rendered}").expect("a string takes it");
    }
    shown
}

#[test]
fn the_base_is_right() {
    if let Err(errors) = Config::parse("config_base.toml", BASE) {
        panic!("{errors}");
    }
}

#[test]
fn engine_and_ports() {
    snapshot!(shown(&[
        ("a core has one worker", "worker_cores = [1, 2]", "worker_cores = [1, 2, 1]"),
        ("no workers, no work", "worker_cores = [1, 2]", "worker_cores = []"),
        ("a core is a number", "control_core = 0", "control_core = \"0-3\""),
        ("memory is counted without huge pages alone", "no_huge = true", "no_huge = false"),
        ("a device is a PCI address or DPDK's name", "0000:3b:02.0", "eth1"),
        ("a device is one port's", "0000:3b:02.0", "net_af_packet0,iface=eth1"),
        (
            "a ring holds frames of the MTU",
            "net_af_packet0,iface=eth0",
            "net_af_packet0,iface=eth0,framesz=1024"
        ),
        (
            "a ring's block holds whole frames",
            "net_af_packet0,iface=eth0",
            "net_af_packet0,iface=eth0,framesz=1600"
        ),
        ("ports have names of their own", "\"inner\"", "\"outside\""),
        ("an interface has an address, not a network", "\"198.51.100.1/24\"", "\"198.51.100.0/24\""),
        ("an interface's address has a length", "\"198.51.100.1/24\"", "\"198.51.100.1\""),
        ("an address is one port's", "\"198.51.100.1/24\"", "\"192.0.2.1/25\""),
        ("a gateway is on the link", "\"192.0.2.254\"", "\"192.0.3.254\""),
        ("a family has one gateway", "\"fe80::1\"", "\"192.0.2.253\""),
        ("a virtual IP address is no port's", "\"198.51.100.1/24\"", "\"203.0.113.10/24\""),
        ("an endpoint is no port of the appliance", "\"198.51.100.1/24\"", "\"198.51.100.11/24\""),
        ("a socket is a whole path", "/run/guideway/a.sock", "a.sock"),
        (
            "a state file is a whole path",
            "\"/run/guideway/a.sock\"",
            "\"/run/guideway/a.sock\"\nstate = \"state.toml\"",
        ),
        ("a listener has a port", "[::1]:9477", "::1"),
        (
            "rules of one address agree on who answers for it",
            "ports = [443, 80]",
            "ports = [443, 80]\nneighbor_replies = \"NEVER\"",
        ),
    ]));
}

#[test]
fn health_check_transports() {
    snapshot!(shown(&[
        (
            "only the kernel has interfaces",
            "check_interval_sec = 10",
            "check_interval_sec = 10\nbind_device = \"eth0\""
        ),
        (
            "an interface has a short name",
            "check_interval_sec = 10",
            "transport = \"kernel\"\nbind_device = \"a-very-long-name\""
        ),
        (
            "a transport is one of two",
            "check_interval_sec = 10",
            "check_interval_sec = 10\ntransport = \"inpath\"",
        ),
        (
            "a source is of the backends' family",
            "check_interval_sec = 10",
            "check_interval_sec = 10\ntransport = \"kernel\"\nsource_ip_address = \"2001:db8:1::9\"",
        ),
    ]));
}

#[test]
fn announcements() {
    snapshot!(shown(&[
        ("announcements have names of their own", "\"telephone\"", "\"routers\""),
        ("a rule must be there", "[\"web\", \"web-partner\"]", "[\"web\", \"web-parner\"]"),
        ("no rules are no announcement", "[\"web\", \"web-partner\"]", "[]"),
        ("a policy is one of two", "\"ALWAYS\"", "\"SOMETIMES\""),
        ("one healthy backend is the least", "min_healthy = 2", "min_healthy = 0"),
        ("always is whatever health says", "policy = \"ALWAYS\"", "policy = \"ALWAYS\"\nmin_healthy = 2"),
        (
            "always is whatever health says later",
            "policy = \"ALWAYS\"",
            "policy = \"ALWAYS\"\nmin_healthy_up = 2"
        ),
        ("what comes back needs no fewer", "min_healthy = 2", "min_healthy = 2\nmin_healthy_up = 1"),
        (
            "it goes one way alone",
            "bird_protocol = \"vip_web\"",
            "bird_protocol = \"vip_web\"\ncommand = [\"/bin/announce\"]",
        ),
        ("it goes one way at least", "command = [\"/usr/local/bin/announce\", \"--by-telephone\"]", ""),
        ("BIRD's socket is not enough", "bird_protocol = \"vip_web\"", ""),
        ("BIRD's protocol is not enough", "bird_socket = \"/run/bird/bird.ctl\"", ""),
        ("BIRD's protocol is no pattern", "\"vip_web\"", "\"vip_*\""),
        ("a program has a whole path", "\"/usr/local/bin/announce\"", "\"announce\""),
        ("a BIRD protocol stands for one address", "[\"web\", \"web-partner\"]", "[\"web\", \"web-v6\"]"),
        (
            "a BIRD protocol is one announcement's",
            "command = [\"/usr/local/bin/announce\", \"--by-telephone\"]",
            "forwarding_rules = [\"web-v6\"]\nbird_socket = \"/run/bird/bird.ctl\"\nbird_protocol = \"vip_web\"",
        ),
        (
            "a program is told of an address by one announcement",
            "bird_socket = \"/run/bird/bird.ctl\"\nbird_protocol = \"vip_web\"",
            "command = [\"/usr/local/bin/announce\", \"--by-telephone\"]",
        ),
    ]));
}

#[test]
fn tables_and_keys() {
    snapshot!(shown(&[
        ("TOML itself comes first, and alone", "ports = [80, 443]", "ports = [80, 443"),
        ("a key stands once", "mtu = 1500", "mtu = 1500\nmtu = 1400"),
        ("an unknown table is named", "[conntrack]", "[contrack]"),
        ("an unknown key is named", "max_entries", "max_entires"),
        ("the keys of a table are listed where none is close", "max_entries", "purple"),
        (
            "prefixes of sources are those of a limit",
            "max_entries = 1024",
            "max_entries = 1024\nsource_ipv4_prefix_length = 24\nsource_ipv6_prefix_length = 56"
        ),
        (
            "no source is shorter than a bit",
            "max_entries = 1024",
            "max_entries = 1024\nnew_connections_per_source_per_sec = 9\nsource_ipv4_prefix_length = 0"
        ),
        ("a key of Google Cloud is named in its own case", "max_entries", "maxEntries"),
        ("a key of Google Cloud alone is left out", "name = \"alive\"", "name = \"alive\"\nselfLink = \"x\""),
        ("a description is text", "name = \"alive\"", "name = \"alive\"\ndescription = 5"),
        (
            "a name is no URL",
            "health_checks = [\"alive\"]",
            "health_checks = [\"regions/r/healthChecks/alive\"]"
        ),
        ("a key that must be there is missing", "name = \"page\"\n", ""),
        ("an integer is no string", "mtu = 1500", "mtu = \"1500\""),
        ("a boolean is no string", "failover = true", "failover = \"true\""),
        ("a string is no integer", "seed = \"000102030405060708090a0b0c0d0e0f\"", "seed = 7"),
        ("a list is no string", "backends = [{ group = \"segment\" }]", "backends = \"segment\""),
        ("an element has the list's type", "ports = [80, 443]", "ports = [80, \"https\"]"),
        ("one table is no list of tables", "[[route]]", "[route]"),
        ("a list of tables is no table", "[fleet]", "[[fleet]]"),
        (
            "a nested table is a table",
            "connection_draining]\ndraining_timeout_sec = 30",
            "connection_draining.x]\n"
        ),
        ("a number stays in its bounds", "draining_timeout_sec = 30", "draining_timeout_sec = 3601"),
        (
            "a number may be too big for any type",
            "max_entries = 1024",
            "max_entries = 0xffff_ffff_ffff_ffff_ffff"
        ),
        ("a number may be negative", "mtu = 1500", "mtu = -1"),
        ("a choice is one of its values", "\"CLIENT_IP\"", "\"COOKIE\""),
        ("a choice is written in capitals", "type = \"TCP\"", "type = \"tcp\""),
        ("a name is an RFC 1035 label", "name = \"alive\"", "name = \"Alive_2\""),
        ("a name is not empty", "name = \"branch\"", "name = \"\""),
    ]));
}

#[test]
fn several_errors_come_at_once() {
    let broken = BASE
        .replace("mtu = 1500", "mtu = \"1500\"\nmru = 1500")
        .replace("ports = [80, 443]", "ports = [0, 443]\nprotocol = \"TCP\"")
        .replace("type = \"HTTP\"", "type = 5")
        .replace("next_hop_ilb = \"inside\"", "next_hop_ilb = \"outside\"");
    let errors = Config::parse("config.toml", &broken).expect_err("it is broken in six places");
    snapshot!(errors.render(false));
}

#[test]
fn network_and_fleet() {
    snapshot!(shown(&[
        ("an address is an address", "ipv4_address = \"192.0.2.1\"", "ipv4_address = \"192.0.2.1/24\""),
        (
            "an address is of its key's family",
            "ipv4_address = \"192.0.2.1\"",
            "ipv4_address = \"2001:db8:1::2\""
        ),
        (
            "an address is not IPv4-mapped",
            "ipv6_address = \"2001:db8:1::1\"",
            "ipv6_address = \"::ffff:192.0.2.1\""
        ),
        ("an MTU is that of IPv4 at least", "mtu = 1500", "mtu = 575"),
        ("an MTU is that of jumbo frames at most", "mtu = 1500", "mtu = 9217"),
        ("a MAC address is one", "mtu = 1500", "mac_address = \"02-00-00-00-00-01\""),
        ("a MAC address is an interface's", "mtu = 1500", "gateway_mac_address = \"01:00:5e:00:00:01\""),
        ("a prefix is one", "mtu = 1500", "region_ranges = [\"10.0.0.0\", \"ten\"]"),
        ("a prefix has no host bits", "10.64.0.0/16", "10.64.0.1/16"),
        ("a prefix is not IPv4-mapped", "2001:db8:64::/64", "::ffff:10.0.0.0/104"),
        ("tunnels have one source prefix a family", "2001:db8:64::/64", "10.65.0.0/16"),
        ("tunnels have unicast sources", "10.64.0.0/16", "239.0.0.0/8"),
        ("tunnel sources have room for entropy", "10.64.0.0/16", "10.64.0.0/25"),
        ("a seed has 32 digits", "000102030405060708090a0b0c0d0e0f", "0001"),
        ("a conntrack table has its least size", "max_entries = 1024", "max_entries = 1023"),
    ]));
}

#[test]
fn forwarding_rules() {
    snapshot!(shown(&[
        ("a rule has ports", "ports = [80, 443]\n", ""),
        ("`all_ports = false` is no ports", "ports = [80, 443]\n", "all_ports = false\n"),
        ("an L3_DEFAULT rule has ports too", "all_ports = true\n", ""),
        ("a rule has its ports in one way", "ports = [80, 443]\n", "ports = [80, 443]\nall_ports = true\n"),
        ("a rule lists a port at least", "ports = [80, 443]", "ports = []"),
        ("a rule lists five ports at most", "port_range = \"8000-8100\"", "ports = [1, 2, 3, 4, 5, 6]"),
        ("a rule lists a port once", "port_range = \"8000-8100\"", "ports = [80, 80]"),
        ("a port as text is not zero", "port_range = \"8000-8100\"", "ports = [\"0\"]"),
        ("a port as text has digits alone", "port_range = \"8000-8100\"", "ports = [\"+80\"]"),
        ("a range in a list goes up", "port_range = \"8000-8100\"", "ports = [\"8100-8000\"]"),
        (
            "ranges in a list count with all their ports",
            "port_range = \"8000-8100\"",
            "ports = [80, \"81-85\"]"
        ),
        ("a range in a list lists a port once", "port_range = \"8000-8100\"", "ports = [80, \"79-81\"]"),
        ("a range in a list is for EXTERNAL rules", "all_ports = true", "ports = [\"1-3\"]"),
        ("a client's address is unicast", "[\"198.51.100.0/24\"]", "[\"224.0.0.1\"]"),
        ("a client's prefix is one", "[\"198.51.100.0/24\"]", "[\"198.51.100\"]"),
        ("a port is not zero", "port_range = \"8000-8100\"", "ports = [0]"),
        ("a range of ports goes up", "8000-8100", "8100-8000"),
        ("a range of ports is for EXTERNAL rules", "all_ports = true", "port_range = \"1-65535\""),
        ("L3_DEFAULT takes all ports", "all_ports = true", "ports = [53]"),
        ("L3_DEFAULT needs an UNSPECIFIED service", "protocol = \"UNSPECIFIED\"", "protocol = \"UDP\""),
        ("a UDP rule needs a service for UDP", "port_range", "ip_protocol = \"UDP\"\nport_range"),
        (
            "a rule has its service's scheme",
            "name = \"web-v6\"\n",
            "name = \"web-v6\"\nload_balancing_scheme = \"INTERNAL\"\n"
        ),
        (
            "a rule's service is there",
            "all_ports = true\nbackend_service = \"inside\"",
            "all_ports = true\nbackend_service = \"insider\""
        ),
        ("a rule's name is its own", "name = \"web-v6\"", "name = \"web\""),
        (
            "a virtual IP address is unicast",
            "203.0.113.10\"\nports = [80, 443]",
            "224.0.0.10\"\nall_ports = true"
        ),
        ("a virtual IP address is specified", "2001:db8::10", "::"),
        (
            "a virtual IP address is not the appliance's",
            "ip_address = \"192.0.2.10\"",
            "ip_address = \"192.0.2.1\""
        ),
        (
            "source ranges are for EXTERNAL rules",
            "all_ports = true",
            "all_ports = true\nsource_ip_ranges = [\"10.0.0.0/8\"]"
        ),
        ("source ranges need a base rule", "ports = [443, 80]", "ports = [443]"),
        ("source ranges are not empty", "[\"198.51.100.0/24\"]", "[]"),
        ("source ranges are distinct", "[\"198.51.100.0/24\"]", "[\"198.51.100.0/24\", \"198.51.100.0/24\"]"),
        ("source ranges are of the rule's family", "[\"198.51.100.0/24\"]", "[\"2001:db8::/32\"]"),
        (
            "global access is for INTERNAL rules",
            "ports = [80, 443]",
            "ports = [80, 443]\nallow_global_access = true"
        ),
    ]));
}

#[test]
fn prefixes_of_virtual_ip_addresses() {
    let v6 = "ip_address = \"2001:db8::10\"";
    snapshot!(shown(&[
        ("a VIP is an address or a prefix", v6, "ip_address = \"2001:db8::10-20\""),
        ("a prefix has no host bits", v6, "ip_address = \"2001:db8::10/96\""),
        ("a prefix is no longer than an address", v6, "ip_address = \"2001:db8::/129\""),
        ("a prefix holds no multicast addresses", v6, "ip_address = \"fe00::/7\""),
        ("a prefix is not everything", v6, "ip_address = \"::/0\""),
        ("a prefix holds no address of the appliance", v6, "ip_address = \"2001:db8:1::/96\""),
        ("a prefix holds no router", "ip_address = \"192.0.2.10\"", "ip_address = \"192.0.2.248/29\"",),
        ("a prefix holds no endpoint of a tunnel", v6, "ip_address = \"2001:db8:2::/96\""),
        (
            "probes go to an address of the prefix",
            v6,
            "ip_address = \"2001:db8::/96\"\nprobe_address = \"2001:db8:0:1::\"",
        ),
        (
            "probes go to an address of the family",
            v6,
            "ip_address = \"2001:db8::/96\"\nprobe_address = \"192.0.2.7\"",
        ),
        (
            "probes go to the one address",
            v6,
            "ip_address = \"2001:db8::10\"\nprobe_address = \"2001:db8::11\"",
        ),
    ]));
}

#[test]
fn an_endpoint_on_the_link_is_not_asked_for_by_who_answers_for_it() {
    let prefix = BASE.replace("ip_address = \"192.0.2.10\"", "ip_address = \"192.0.2.16/28\"");
    let parsed = |text: &str| Config::parse("config.toml", text);
    assert!(parsed(&prefix).is_ok(), "its MAC address is written");
    let unnamed = prefix.replace(", mac_address = \"02:00:00:00:00:21\"", "");
    snapshot!(parsed(&unnamed).expect_err("the appliance would ask itself"));
    let silent = unnamed.replace("all_ports = true\n", "all_ports = true\nneighbor_replies = \"NEVER\"\n");
    assert!(parsed(&silent).is_ok(), "the endpoint answers for itself");
}

#[test]
fn rules_that_contradict_each_other() {
    let rule = |name: &str, more: &str| {
        format!(
            "[[forwarding_rule]]\nname = \"{name}\"\nip_address = \"203.0.113.10\"\nbackend_service = \"web\"\n{more}\n"
        )
    };
    let shown = |first: &str, second: &str| {
        let text = format!(
            "{}\n{}{}",
            BASE.replace("203.0.113.10", "203.0.113.11"),
            rule("a", first),
            rule("b", second)
        );
        Config::parse("config.toml", &text).err().map(|errors| errors.render(false))
    };
    let contradictions = [
        ("ports = [80]", "ports = [443, 80]"),
        ("ports = [80]", "port_range = \"1-100\""),
        ("port_range = \"50-60\"", "port_range = \"1-100\""),
        ("all_ports = true", "all_ports = true"),
    ];
    let shown_all: Vec<_> =
        contradictions.iter().map(|(a, b)| shown(a, b).expect("it is an error")).collect();
    snapshot!(shown_all.join("\n"));

    // The more specific of these is known.
    let of_vips = |first: &str, second: &str| {
        let of = |name: &str, vip: &str| {
            rule(name, "ports = [80]").replace("203.0.113.10", vip) + "neighbor_replies = \"NEVER\"\n"
        };
        let text = format!("{BASE}\n{}{}", of("a", first), of("b", second));
        Config::parse("config.toml", &text).err().map(|errors| errors.errors()[0].message.clone())
    };
    assert!(of_vips("203.0.113.16/28", "203.0.113.16/28").is_some_and(|text| text.contains("`a` and `b`")));
    assert_eq!(of_vips("203.0.113.16/28", "203.0.113.16/29"), None);
    assert_eq!(of_vips("203.0.113.16/28", "203.0.113.17"), None);
    assert!(of_vips("203.0.113.17/32", "203.0.113.17").is_some_and(|text| text.contains("`a` and `b`")));
    assert_eq!(shown("ports = [80]", "ports = [443]"), None);
    assert_eq!(shown("port_range = \"50-60\"", "port_range = \"61-100\""), None);
    assert_eq!(shown("ports = [80]", "all_ports = true"), None);
}

#[test]
fn equal_source_ranges_contradict_each_other_and_nested_ones_do_not() {
    let with = |range: &str| {
        let second = "[[forwarding_rule]]\nname = \"second\"\nip_address = \"203.0.113.10\"\nports = [80, 443]\n\
                      backend_service = \"web\"\nsource_ip_ranges = ";
        Config::parse("config.toml", &format!("{BASE}\n{second}[\"{range}\"]\n"))
    };
    snapshot!(with("198.51.100.0/24").expect_err("the prefix is another rule's"));
    assert!(with("198.51.100.0/25").is_ok());
}

#[test]
fn backend_services() {
    snapshot!(shown(&[
        (
            "a service's name is its own",
            "name = \"inside\"\nload_balancing_scheme = \"INTERNAL\"\nprotocol",
            "name = \"web\"\nload_balancing_scheme = \"INTERNAL\"\nprotocol"
        ),
        ("a service has groups", "backends = [{ group = \"segment\" }]", "backends = []"),
        ("a service's groups are there", "[{ group = \"segment\" }]", "[{ group = \"segments\" }]"),
        (
            "a group stands once in a service",
            "[{ group = \"segment\" }]",
            "[{ group = \"segment\" }, { group = \"segment\" }]"
        ),
        ("one group is a primary", "{ group = \"near\" },", "{ group = \"near\", failover = true },"),
        ("a failover policy needs a failover group", ", failover = true", ""),
        ("a failover ratio is a share", "failover_ratio = 0.5", "failover_ratio = 1.5"),
        ("a failover ratio is a number", "failover_ratio = 0.5", "failover_ratio = \"half\""),
        ("a failover ratio is not NaN", "failover_ratio = 0.5", "failover_ratio = nan"),
        ("a service has a health check", "health_checks = [\"alive\"]", "health_checks = []"),
        (
            "a service has one health check",
            "health_checks = [\"alive\"]",
            "health_checks = [\"alive\", \"page\"]"
        ),
        ("a service's health check is there", "health_checks = [\"alive\"]", "health_checks = [\"aliv\"]"),
        ("weights need HTTP", "health_checks = [\"page\"]", "health_checks = [\"alive\"]"),
        (
            "CLIENT_IP_NO_DESTINATION is for INTERNAL services",
            "\"CLIENT_IP\"",
            "\"CLIENT_IP_NO_DESTINATION\""
        ),
        ("ALWAYS_PERSIST is not for PER_SESSION", "\"NEVER_PERSIST\"", "\"ALWAYS_PERSIST\""),
        (
            "an EXTERNAL idle timeout is fixed",
            "\"NEVER_PERSIST\"\n",
            "\"NEVER_PERSIST\"\nidle_timeout_sec = 600\n"
        ),
        ("an INTERNAL idle timeout has a least value", "idle_timeout_sec = 900", "idle_timeout_sec = 599"),
        (
            "an INTERNAL idle timeout has a greatest value",
            "idle_timeout_sec = 900",
            "idle_timeout_sec = 57601"
        ),
        (
            "an idle timeout is raised per session only",
            "tracking_mode = \"PER_SESSION\"\nidle",
            "tracking_mode = \"PER_CONNECTION\"\nidle"
        ),
        (
            "an idle timeout is raised for some affinities only",
            "\"CLIENT_IP_NO_DESTINATION\"",
            "\"CLIENT_IP_PORT_PROTO\""
        ),
    ]));
}

#[test]
fn an_idle_timeout_at_its_fixed_value_is_right() {
    for (from, to) in [
        ("\"NEVER_PERSIST\"\n", "\"NEVER_PERSIST\"\nidle_timeout_sec = 60\n"),
        ("tracking_mode = \"PER_SESSION\"\nidle_timeout_sec = 900", "idle_timeout_sec = 600"),
        ("idle_timeout_sec = 900", "idle_timeout_sec = 57600"),
    ] {
        if let Err(errors) = Config::parse("config.toml", &BASE.replace(from, to)) {
            panic!("{errors}");
        }
    }
}

#[test]
fn backend_groups() {
    snapshot!(shown(&[
        ("a group's name is its own", "name = \"segment\"", "name = \"near\""),
        ("an endpoint's name is its own in its group", "name = \"n2\"", "name = \"n1\""),
        ("an endpoint's name is its own in its service", "name = \"f1\"", "name = \"n1\""),
        ("an endpoint's address is its own in its group", "198.51.100.12", "198.51.100.11"),
        ("an endpoint's address is its own in its service", "2001:db8:2::13", "198.51.100.12"),
        ("a weight is 1,000 at most", "weight = 2", "weight = 1001"),
        ("only gue has a port", "delivery = \"ipip\"", "delivery = \"ipip\"\ngue_port = 6080"),
        ("a tunnel has a source address", "ipv4_address = \"192.0.2.1\"\n", ""),
        ("IPv6 does not go to an IPv4 endpoint by l2", "delivery = \"ipip\"", "delivery = \"l2\""),
        ("IPv6 fits into a tunnel", "delivery = \"ipip\"", "delivery = \"ipip\"\nmtu = 1299"),
        ("IPv6 fits into a tunnel over IPv6", "mtu = 1500", "mtu = 1331"),
        ("an IPv6 path has its least MTU", "gue_port = 6081", "mtu = 1279"),
        ("an endpoint is not the appliance", "192.0.2.21", "192.0.2.1"),
        ("a tunnel does not end at a virtual IP address", "198.51.100.12", "203.0.113.10"),
    ]));
}

#[test]
fn one_endpoint_may_serve_two_services_by_two_groups() {
    let text = BASE.replace(
        "name = \"s1\", ip_address = \"192.0.2.21\"",
        "name = \"n1\", ip_address = \"198.51.100.11\"",
    );
    if let Err(errors) = Config::parse("config.toml", &text) {
        panic!("{errors}");
    }
}

#[test]
fn a_group_may_be_empty() {
    let text =
        BASE.replace("endpoints = [{ name = \"f1\", ip_address = \"2001:db8:2::13\" }]", "endpoints = []");
    assert!(Config::parse("config.toml", &text).expect("it is right").groups[1].endpoints.is_empty());
}

#[test]
fn health_checks() {
    let long = format!("request_path = \"/{}\"", "x".repeat(1024));
    let long: &'static str = long.leak();
    snapshot!(shown(&[
        ("a check's name is its own", "name = \"alive\"", "name = \"page\""),
        ("a check has a type", "type = \"TCP\"\n", ""),
        ("a timeout is at most the interval", "check_interval_sec = 10", "timeout_sec = 11"),
        ("a short interval needs a short timeout", "check_interval_sec = 10", "check_interval_sec = 4"),
        ("an interval is 300 seconds at most", "check_interval_sec = 10", "check_interval_sec = 301"),
        ("a threshold is 1 to 10", "port = 8080", "healthy_threshold = 0\nunhealthy_threshold = 11"),
        ("a TCP check requests no page", "check_interval_sec = 10", "host = \"a\"\nrequest_path = \"/\""),
        ("an HTTP check has no raw request", "port = 8080", "request = \"PING\""),
        ("a TCP check asks for no gRPC service", "check_interval_sec = 10", "grpc_service_name = \"a\""),
        (
            "a GRPC check has no response",
            "type = \"TCP\"",
            "type = \"GRPC\"\nport = 50051\nresponse = \"OK\"\nproxy_header = \"NONE\""
        ),
        ("a GRPC check has a port", "type = \"TCP\"", "type = \"GRPC\""),
        ("a UDP check has a port and a request", "type = \"TCP\"", "type = \"UDP\""),
        ("a UDP check asks something", "type = \"TCP\"", "type = \"UDP\"\nport = 7\nrequest = \"\""),
        ("a DNS check has a name", "type = \"TCP\"", "type = \"DNS\"\nrequest = \"a\""),
        (
            "a name has labels",
            "type = \"TCP\"",
            "type = \"DNS\"\nquery_name = \"www..example\"\nquery_type = \"ANY\""
        ),
        ("a TCP check asks for no name", "type = \"TCP\"", "type = \"TCP\"\nquery_name = \".\""),
        ("a path begins with a slash", "\"/healthz\"", "\"healthz\""),
        ("a path has no spaces", "\"/healthz\"", "\"/health z\""),
        ("a host is a word", "port = 8080", "host = \"a\\r\\nb\""),
        ("a response is ASCII", "port = 8080", "response = \"schön\""),
        ("a text has 1,024 bytes at most", "request_path = \"/healthz\"", long),
    ]));
}

#[test]
fn routes() {
    snapshot!(shown(&[
        ("a route's rule is there", "next_hop_ilb = \"inside\"", "next_hop_ilb = \"insides\""),
        ("a route's rule is INTERNAL", "next_hop_ilb = \"inside\"", "next_hop_ilb = \"web\""),
        ("a route is of its rule's family", "203.0.113.128/25", "2001:db8:99::/48"),
        (
            "a route's prefix is its own",
            "[[route]]\n",
            "[[route]]\nname = \"first\"\ndest_range = \"203.0.113.128/25\"\nnext_hop_ilb = \"inside\"\n\n[[route]]\n"
        ),
        (
            "a route's name is its own",
            "[[route]]\n",
            "[[route]]\nname = \"branch\"\ndest_range = \"203.0.113.0/25\"\nnext_hop_ilb = \"inside\"\n\n[[route]]\n"
        ),
    ]));
}
