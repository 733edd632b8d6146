//! Virtual IP addresses that are prefixes: the longest that takes a packet wins, and each address is one of its own.

use crate::configuration::Configuration;
use crate::delivery_mode::Mode;
use crate::fixture::{Fixture, Outcome, hit, new, off};
use crate::packet::Packet;
use crate::packet::tcp::{ACK, SYN};

pub(super) fn fixtures() -> Vec<Fixture> {
    vec![longest(), longest_v6(), connections(), fragments(), errors(), routes(), taken_out()]
}

const NO_RULE: Outcome = Outcome::Pass("no_forwarding_rule");

/// Configures a /24 for everything, a /28 in it for the web, and an address in that for TLS, a backend behind each.
fn ipv4() -> Configuration {
    Configuration::new()
        .external("all", "protocol = 'UNSPECIFIED'")
        .rule("wide", "ip_address = '203.0.113.0/24'\nip_protocol = 'L3_DEFAULT'\nall_ports = true")
        .group("g-wide", Mode::L2, &[("b-wide", "192.0.2.11")])
        .external("web", "")
        .rule("narrow", "ip_address = '203.0.113.0/28'\nports = [80]")
        .group("g-narrow", Mode::L2, &[("b-narrow", "192.0.2.12")])
        .external("tls", "")
        .rule("one", "ip_address = '203.0.113.7'\nports = [443]\nprobe_address = '203.0.113.7'")
        .group("g-one", Mode::Ipip, &[("b-one", "192.0.2.13")])
}

/// Configures two backends behind every port of a /96, as Google Cloud's IPv6 rules are.
fn ipv6(lines: &'static str) -> Configuration {
    Configuration::new()
        .external("web", lines)
        .rule(
            "web",
            "ip_address = '2001:db8:1234::/96'\nall_ports = true\nprobe_address = '2001:db8:1234::80'",
        )
        .group("near", Mode::L2, &[("b1", "2001:db8:1::11"), ("b2", "2001:db8:1::12")])
}

/// Starts a packet of client 7 to an address.
fn to(address: &str) -> Packet {
    Packet::between(if address.contains(':') { "2001:db8:c::7" } else { "198.51.100.7" }, address)
}

fn longest() -> Fixture {
    Fixture::new(
        "prefixes/the-longest-prefix-that-takes-a-packet-wins",
        "Of the rules that take a packet, that of the longest prefix wins, an address being the longest; what it does not \
         take goes on to the shorter ones.",
        ipv4(),
    )
    .frame(&to("203.0.113.7").tcp(40_000, 443, SYN), new("one", "b-one"))
    .frame(&to("203.0.113.7").tcp(40_000, 80, SYN), new("narrow", "b-narrow"))
    .frame(&to("203.0.113.7").tcp(40_000, 22, SYN), new("wide", "b-wide"))
    .frame(&to("203.0.113.7").udp(40_000, 443), off("wide", "b-wide"))
    .frame(&to("203.0.113.0").tcp(40_000, 80, SYN), new("narrow", "b-narrow"))
    .frame(&to("203.0.113.15").tcp(40_000, 80, SYN), new("narrow", "b-narrow"))
    .frame(&to("203.0.113.16").tcp(40_000, 80, SYN), new("wide", "b-wide"))
    .frame(&to("203.0.113.255").echo_request(1, 1), off("wide", "b-wide"))
    .frame(&to("203.0.114.0").tcp(40_000, 80, SYN), NO_RULE)
    .frame(&to("203.0.112.255").tcp(40_000, 80, SYN), NO_RULE)
    // Options and tags hide nothing.
    .frame(&to("203.0.113.15").options(&[1; 4]).tcp(40_000, 80, ACK), hit("narrow", "b-narrow"))
    .frame(&to("203.0.113.15").vlan(100).tcp(40_000, 80, ACK), hit("narrow", "b-narrow"))
}

fn longest_v6() -> Fixture {
    let config = Configuration::new()
        .external("all", "protocol = 'UNSPECIFIED'")
        .rule("site", "ip_address = '2001:db8:1234::/48'\nip_protocol = 'L3_DEFAULT'\nall_ports = true")
        .group("g-site", Mode::L2, &[("b-site", "2001:db8:1::11")])
        .external("web", "")
        .rule("cloud", "ip_address = '2001:db8:1234::/96'\nports = [80, 443]")
        .group("g-cloud", Mode::L2, &[("b-cloud", "2001:db8:1::12")])
        .external("one", "")
        .rule("one", "ip_address = '2001:db8:1234::7'\nports = [443]")
        .group("g-one", Mode::L2, &[("b-one", "2001:db8:1::13")]);
    Fixture::new(
        "prefixes/the-longest-ipv6-prefix-wins-too",
        "IPv6: an address before the /96 that holds it, and that before its /48.",
        config,
    )
    .frame(&to("2001:db8:1234::7").tcp(40_000, 443, SYN), new("one", "b-one"))
    .frame(&to("2001:db8:1234::7").tcp(40_000, 80, SYN), new("cloud", "b-cloud"))
    .frame(&to("2001:db8:1234::7").tcp(40_000, 22, SYN), new("site", "b-site"))
    .frame(&to("2001:db8:1234::ffff:ffff").tcp(40_000, 443, SYN), new("cloud", "b-cloud"))
    .frame(&to("2001:db8:1234::1:0:0").tcp(40_000, 443, SYN), new("site", "b-site"))
    .frame(&to("2001:db8:1234:ffff::9").udp(40_000, 53), off("site", "b-site"))
    .frame(&to("2001:db8:1235::9").tcp(40_000, 443, SYN), NO_RULE)
    .frame(&to("2001:db8:1234::9").hop_by_hop(&[5, 2, 0, 0]).tcp(40_000, 443, SYN), new("cloud", "b-cloud"))
}

fn connections() -> Fixture {
    Fixture::new(
        "prefixes/each-address-has-connections-of-its-own",
        "The address that a client goes to is part of its connection: the same ports of another address of the prefix are \
         another.",
        ipv6(""),
    )
    .unhealthy("b2")
    .frame(&to("2001:db8:1234::1").tcp(40_000, 443, SYN), new("web", "b1"))
    .healthy("b2")
    .unhealthy("b1")
    .frame(&to("2001:db8:1234::2").tcp(40_000, 443, ACK), new("web", "b2"))
    .frame(&to("2001:db8:1234::1").tcp(40_000, 443, ACK), hit("web", "b1"))
    .healthy("b1")
    .frame(&to("2001:db8:1234::2").tcp(40_000, 443, ACK), hit("web", "b2"))
}

fn fragments() -> Fixture {
    let config = Configuration::new()
        .external("dns", "protocol = 'UDP'\nsession_affinity = 'CLIENT_IP'")
        .rule("dns", "ip_address = '203.0.113.0/28'\nip_protocol = 'UDP'\nports = [53]")
        .group("near", Mode::L2, &[("b1", "192.0.2.11"), ("b2", "192.0.2.12")]);
    let query = to("203.0.113.5").identification(7).udp(40_000, 53).payload_len(1000).fragments(512);
    Fixture::new(
        "prefixes/later-fragments-follow-their-first",
        "A later fragment to an address of a prefix follows its first, though the rule lists ports; one to its neighbour \
         does not.",
        config,
    )
    .unhealthy("b2")
    .frame(&query[0], new("dns", "b1"))
    .healthy("b2")
    .unhealthy("b1")
    .frame(&query[1], off("dns", "b1"))
    .frame(
        &to("203.0.113.6").identification(7).udp(40_000, 53).payload_len(1000).fragments(512)[1],
        NO_RULE,
    )
}

fn errors() -> Fixture {
    let error = |vip| Packet::between("2001:db8:ff::1", vip);
    let reply = |vip| Packet::between(vip, "2001:db8:c::7").tcp(443, 40_000, ACK).payload_len(1400);
    Fixture::new(
        "prefixes/errors-quote-addresses-of-the-prefix",
        "An ICMP error goes to the backend of the connection that it quotes, whichever address of the prefix that has.",
        ipv6(""),
    )
    .unhealthy("b2")
    .frame(&to("2001:db8:1234::1").tcp(40_000, 443, SYN), new("web", "b1"))
    .healthy("b2")
    .unhealthy("b1")
    .frame(&to("2001:db8:1234::2").tcp(40_000, 443, SYN), new("web", "b2"))
    .frame(
        &error("2001:db8:1234::1").packet_too_big(1400, &reply("2001:db8:1234::1"), 1232),
        hit("web", "b1"),
    )
    .frame(&error("2001:db8:1234::2").packet_too_big(1400, &reply("2001:db8:1234::2"), 48), hit("web", "b2"))
    // A quote is of its receiver's packet.
    .frame(&error("2001:db8:1234::1").packet_too_big(1400, &reply("2001:db8:1234::2"), 48), NO_RULE)
}

fn routes() -> Fixture {
    let config = Configuration::new()
        .internal("firewalls", "protocol = 'UNSPECIFIED'")
        .rule("firewall", "ip_address = '192.0.2.10'\nip_protocol = 'L3_DEFAULT'\nall_ports = true")
        .group("g-fw", Mode::L2, &[("b-fw", "192.0.2.11")])
        .internal("web", "")
        .rule("web", "ip_address = '203.0.113.0/24'\nports = [80]")
        .group("g-web", Mode::L2, &[("b-web", "192.0.2.12")])
        .route("narrow", "203.0.113.128/25", "firewall");
    Fixture::new(
        "prefixes/a-prefix-comes-before-every-route",
        "A rule that takes a packet comes before a route, however long its prefix is; what no rule takes goes by it.",
        config,
    )
    .frame(&to("203.0.113.200").tcp(40_000, 80, SYN), new("web", "b-web"))
    .frame(&to("203.0.113.200").tcp(40_000, 443, SYN), new("firewall", "b-fw"))
    .frame(&to("203.0.113.7").tcp(40_000, 443, SYN), NO_RULE)
}

fn taken_out() -> Fixture {
    let before = Configuration::new()
        .external("web", "")
        .rule("web", "ip_address = '203.0.113.0/28'\nports = [80]")
        .group("g-web", Mode::L2, &[("b-web", "192.0.2.11")]);
    let after = before
        .clone()
        .external("mail", "")
        .rule("mail", "ip_address = '203.0.113.9'\nports = [80]")
        .group("g-mail", Mode::L2, &[("b-mail", "192.0.2.12")]);
    Fixture::new(
        "prefixes/a-reload-takes-an-address-out",
        "A rule of one address, added while the appliance runs, takes that address out of its prefix and no other.",
        before,
    )
    .frame(&to("203.0.113.8").tcp(40_000, 80, SYN), new("web", "b-web"))
    .frame(&to("203.0.113.9").tcp(40_000, 80, SYN), new("web", "b-web"))
    .reload(after)
    .healthy("b-mail")
    .frame(&to("203.0.113.8").tcp(40_000, 80, ACK), hit("web", "b-web"))
    .frame(&to("203.0.113.9").tcp(40_000, 80, ACK), new("mail", "b-mail"))
}
