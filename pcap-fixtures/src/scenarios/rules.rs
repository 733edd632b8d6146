//! Forwarding rules and routes: which rule a packet belongs to, and what belongs to none.

use super::{NEAR, client};
use crate::configuration::Configuration;
use crate::delivery_mode::Mode;
use crate::fixture::{Fixture, Outcome, hit, new, off};
use crate::packet::Packet;
use crate::packet::tcp::{ACK, SYN};

pub(super) fn fixtures() -> Vec<Fixture> {
    vec![precedence(), port_range(), source_ranges(), routes(), region(), reload()]
}

const NO_RULE: Outcome = Outcome::Pass("no_forwarding_rule");

/// Starts a packet of client 7 to any address.
fn to(dst: &str) -> Packet {
    Packet::between("198.51.100.7", dst)
}

fn precedence() -> Fixture {
    let config = Configuration::new()
        .external("ports", "")
        .rule("ports", "ip_address = '203.0.113.10'\nports = [80, 443]")
        .group("g1", Mode::L2, &NEAR[..1])
        .external("tcp", "")
        .rule("tcp", "ip_address = '203.0.113.10'\nall_ports = true")
        .group("g2", Mode::L2, &NEAR[1..])
        .external("rest", "protocol = 'UNSPECIFIED'")
        .rule("rest", "ip_address = '203.0.113.10'\nip_protocol = 'L3_DEFAULT'\nall_ports = true")
        .group("g3", Mode::L2, &[("b3", "192.0.2.13")]);
    Fixture::new(
        "rules/the-most-specific-rule-wins",
        "Listed ports before all ports, a packet's own protocol before L3_DEFAULT, and no rule for other \
         addresses.",
        config,
    )
    .frame(&client(7).tcp(40_000, 443, SYN), new("ports", "b1"))
    .frame(&client(7).tcp(40_000, 80, SYN), new("ports", "b1"))
    .frame(&client(7).tcp(40_000, 22, SYN), new("tcp", "b2"))
    .frame(&client(7).udp(40_000, 443), off("rest", "b3"))
    .frame(&client(7).echo_request(1, 1), off("rest", "b3"))
    .frame(&client(7).sctp(1, 443, 1), off("rest", "b3"))
    .frame(&to("203.0.113.11").tcp(40_000, 443, SYN), NO_RULE)
    .frame(&Packet::between("2001:db8:c::7", "2001:db8::10").tcp(40_000, 443, SYN), NO_RULE)
}

fn port_range() -> Fixture {
    let config = Configuration::new()
        .external("game", "protocol = 'UDP'")
        .rule("game", "ip_address = '203.0.113.10'\nip_protocol = 'UDP'\nport_range = '5000-5002'")
        .group("near", Mode::L2, &NEAR[..1]);
    Fixture::new(
        "rules/a-port-range-includes-both-ends",
        "A port_range takes its first port, its last and those between.",
        config,
    )
    .frame(&client(7).udp(40_000, 4999), NO_RULE)
    .frame(&client(7).udp(40_000, 5000), off("game", "b1"))
    .frame(&client(7).udp(40_000, 5001), off("game", "b1"))
    .frame(&client(7).udp(40_000, 5002), off("game", "b1"))
    .frame(&client(7).udp(40_000, 5003), NO_RULE)
    .frame(&client(7).tcp(40_000, 5001, SYN), NO_RULE)
    .frame(&client(7).echo_request(1, 1), NO_RULE)
}

fn source_ranges() -> Fixture {
    let config = Configuration::new()
        .external("web", "")
        .rule("everyone", "ip_address = '203.0.113.10'\nports = [443]")
        .group("g1", Mode::L2, &NEAR[..1])
        .external("partner", "")
        .rule(
            "partner",
            "ip_address = '203.0.113.10'\n\
            ports = [443]\n\
            source_ip_ranges = ['198.51.100.0/25', '198.51.100.200/32']",
        )
        .group("g2", Mode::L2, &NEAR[1..])
        .external("lab", "")
        .rule("lab", "ip_address = '203.0.113.10'\nports = [443]\nsource_ip_ranges = ['198.51.100.64/26']")
        .group("g3", Mode::L2, &[("b3", "192.0.2.13")]);
    let syn = |number| client(number).tcp(40_000, 443, SYN);
    Fixture::new(
        "rules/source-ranges-steer-clients",
        "A rule whose source_ip_ranges hold the client goes before one without; of several, the longest \
         prefix wins.",
        config,
    )
    .frame(&syn(1), new("partner", "b2"))
    .frame(&syn(63), new("partner", "b2"))
    .frame(&syn(64), new("lab", "b3"))
    .frame(&syn(127), new("lab", "b3"))
    .frame(&syn(128), new("everyone", "b1"))
    .frame(&syn(200), new("partner", "b2"))
    .frame(&syn(201), new("everyone", "b1"))
}

fn routes() -> Fixture {
    let config = Configuration::new()
        .internal("far", "protocol = 'UNSPECIFIED'")
        .rule("far", "ip_address = '192.0.2.40'\nip_protocol = 'L3_DEFAULT'\nall_ports = true")
        .group("g1", Mode::L2, &NEAR[..1])
        .internal("near", "")
        .rule("near", "ip_address = '192.0.2.41'\nports = [80]")
        .group("g2", Mode::L2, &NEAR[1..])
        .route("wide", "203.0.113.0/24", "far")
        .route("narrow", "203.0.113.128/25", "near");
    Fixture::new(
        "rules/the-longest-route-leads-to-its-rule",
        "Without a rule of its own a packet takes the longest matching route, whatever its protocol and \
         port.",
        config,
    )
    .frame(&to("203.0.113.127").tcp(40_000, 443, SYN), new("far", "b1"))
    .frame(&to("203.0.113.128").tcp(40_000, 443, SYN), new("near", "b2"))
    .frame(&to("203.0.113.255").udp(40_000, 53), new("near", "b2"))
    .frame(&to("203.0.113.200").echo_request(1, 1), off("near", "b2"))
    .frame(&to("203.0.113.1").protocol(89), off("far", "b1"))
    .frame(&to("192.0.2.41").tcp(40_000, 80, SYN), new("near", "b2"))
    .frame(&to("192.0.2.41").tcp(40_000, 81, SYN), NO_RULE)
    .frame(&to("203.0.112.255").tcp(40_000, 443, SYN), NO_RULE)
}

fn region() -> Fixture {
    let config = Configuration::new()
        .network("region_ranges = ['198.51.100.0/25']")
        .internal("local", "protocol = 'UNSPECIFIED'")
        .rule("local", "ip_address = '203.0.113.10'\nip_protocol = 'L3_DEFAULT'\nall_ports = true")
        .rule(
            "global",
            "ip_address = '203.0.113.11'\n\
            ip_protocol = 'L3_DEFAULT'\n\
            all_ports = true\n\
            allow_global_access = true",
        )
        .group("g1", Mode::L2, &NEAR[..1])
        .external("public", "")
        .rule("public", "ip_address = '203.0.113.12'\nports = [80]")
        .group("g2", Mode::L2, &NEAR[1..]);
    let from = |src, dst| Packet::between(src, dst).tcp(40_000, 80, SYN);
    Fixture::new(
        "rules/clients-outside-the-region-need-global-access",
        "INTERNAL rules without allow_global_access take clients of the region alone; others are passed, \
         and counted so.",
        config,
    )
    .frame(&from("198.51.100.7", "203.0.113.10"), new("local", "b1"))
    .frame(&from("198.51.100.200", "203.0.113.10"), Outcome::Pass("outside_region"))
    .frame(&from("198.51.100.200", "203.0.113.11"), new("global", "b1"))
    .frame(&from("198.51.100.200", "203.0.113.12"), new("public", "b2"))
}

fn reload() -> Fixture {
    let serving =
        |rule| Configuration::new().external("web", "").rule("web", rule).group("near", Mode::L2, &NEAR[..1]);
    let packet = |dst_port, flags| client(7).tcp(40_000, dst_port, flags);
    Fixture::new(
        "rules/a-reload-moves-a-rule",
        "After a reload a rule takes what it says now and no more; its service's connections are still \
         there.",
        serving("ip_address = '203.0.113.10'\nports = [80, 443]"),
    )
    .frame(&packet(443, SYN), new("web", "b1"))
    .frame(&packet(80, SYN), new("web", "b1"))
    .wait(1000)
    .reload(serving("ip_address = '203.0.113.10'\nports = [443, 8443]"))
    .frame(&packet(443, ACK), hit("web", "b1"))
    .frame(&packet(80, ACK), NO_RULE)
    .frame(&packet(8443, SYN), new("web", "b1"))
}
