//! Networks that have the same addresses: VLANs of one port.

use super::client;
use crate::configuration::Configuration;
use crate::delivery_mode::Mode;
use crate::fixture::{Fixture, Outcome, hit, new, off};
use crate::packet::Packet;
use crate::packet::tcp::{ACK, SYN};

pub(super) fn fixtures() -> Vec<Fixture> {
    vec![same_addresses(), fragments_and_errors(), routes()]
}

/// VLANs of the networks.
const BLUE: u16 = 100;
const RED: u16 = 200;
const GREEN: u16 = 300;

const VIP: &str = "ip_address = '203.0.113.10'\nports = [80, 443]";
const NO_NETWORK: Outcome = Outcome::Drop("no_network");

/// Adds a network with the service that all of them have: the same VIP before one backend in a tunnel.
fn network(
    config: Configuration,
    (name, vlan): (&'static str, u16),
    service: &'static str,
    rule: &'static str,
    backend: (&'static str, &str),
) -> Configuration {
    config.vlan_network(name, vlan).external(service, "").rule(rule, VIP).group(
        service,
        Mode::Ipip,
        &[backend],
    )
}

fn blue(config: Configuration, backend: (&'static str, &str)) -> Configuration {
    network(config, ("blue", BLUE), "blue-web", "blue-web", backend)
}

fn red(config: Configuration) -> Configuration {
    network(config, ("red", RED), "red-web", "red-web", ("r1", "10.0.0.11"))
}

fn green(config: Configuration) -> Configuration {
    network(config, ("green", GREEN), "green-web", "green-web", ("g1", "10.0.0.11"))
}

fn flow(flags: u8) -> Packet {
    client(7).tcp(40_000, 443, flags)
}

fn same_addresses() -> Fixture {
    let before = red(blue(Configuration::new(), ("b1", "10.0.0.11")));
    // Other numbers for the networks, another backend in one, and a third network.
    let after = green(blue(red(Configuration::new()), ("b2", "10.0.0.12")));
    let in_vlan = |vlan, flags| {
        let packet = client(7).vlan(vlan);
        packet.tcp(40_000, 443, flags)
    };
    Fixture::new(
        "networks/one-vip-and-one-client-in-two-vlans",
        "The same VIP, clients, ports and backend addresses in two VLANs are two services with connections of their own, \
         which leave with the tag that they came with; a reload of one leaves the other's alone.",
        before,
    )
    .frame(&in_vlan(BLUE, SYN), new("blue-web", "b1"))
    .frame(&in_vlan(RED, SYN), new("red-web", "r1"))
    .frame(&in_vlan(BLUE, ACK), hit("blue-web", "b1"))
    .frame(&in_vlan(0x6000 | RED, ACK), hit("red-web", "r1"))
    .raw(&flow(ACK).build(), NO_NETWORK)
    .raw(&in_vlan(GREEN, SYN).build(), NO_NETWORK)
    .raw(&client(7).vlan(BLUE).vlan(RED).tcp(40_000, 443, ACK).build(), NO_NETWORK)
    .wait(1000)
    .reload(after)
    .frame(&in_vlan(RED, ACK), hit("red-web", "r1"))
    .frame(&in_vlan(BLUE, ACK), new("blue-web", "b2"))
    .frame(&in_vlan(GREEN, ACK), new("green-web", "g1"))
    .frame(&in_vlan(RED, ACK), hit("red-web", "r1"))
    .frame(&in_vlan(BLUE, ACK), hit("blue-web", "b2"))
    .raw(&flow(ACK).build(), NO_NETWORK)
}

fn fragments_and_errors() -> Fixture {
    const DNS: &str = "ip_address = '203.0.113.10'\nip_protocol = 'UDP'\nports = [53]";
    let dns = |config: Configuration, name, vlan, service, rule, backend| {
        let config = config.vlan_network(name, vlan).external(service, "protocol = 'UDP'");
        config.rule(rule, DNS).group(service, Mode::Ipip, &[(backend, "10.0.0.11")])
    };
    let config = dns(Configuration::new(), "blue", BLUE, "blue-dns", "blue-dns", "b1");
    let config = dns(config, "red", RED, "red-dns", "red-dns", "r1");
    let question = |vlan| client(7).vlan(vlan).identification(9).udp(40_000, 53);
    let first = |vlan| question(vlan).fragment(0, true);
    let later = |vlan| question(vlan).fragment(1_480, false);
    let answer = Packet::between("203.0.113.10", "198.51.100.7").udp(53, 40_000).payload_len(1_400);
    let error = |vlan| {
        Packet::between("198.51.100.1", "203.0.113.10")
            .vlan(vlan)
            .dont_fragment()
            .packet_too_big(1_280, &answer, 28)
    };
    Fixture::new(
        "networks/fragments-and-icmp-errors-stay-in-their-vlan",
        "Later fragments follow the first of their own network, and an ICMP error goes where the packet goes that it quotes in \
         its own.",
        config,
    )
    .frame(&first(BLUE), off("blue-dns", "b1"))
    .raw(&later(RED).build(), Outcome::Pass("no_forwarding_rule"))
    .frame(&later(BLUE), off("blue-dns", "b1"))
    .frame(&first(RED), off("red-dns", "r1"))
    .frame(&later(RED), off("red-dns", "r1"))
    .frame(&later(BLUE), off("blue-dns", "b1"))
    .frame(&error(BLUE), off("blue-dns", "b1"))
    .frame(&error(RED), off("red-dns", "r1"))
}

fn routes() -> Fixture {
    const FIREWALL: &str = "ip_address = '10.0.0.10'\nip_protocol = 'L3_DEFAULT'\nall_ports = true";
    let firewall = |config: Configuration, name, vlan, service, rule, backend| {
        let config = config.vlan_network(name, vlan).internal(service, "protocol = 'UNSPECIFIED'");
        config.rule(rule, FIREWALL).group(service, Mode::L2, &[backend])
    };
    let config = firewall(Configuration::new(), "blue", BLUE, "blue-fw", "blue-fw", ("b1", "10.0.0.11"));
    let config = firewall(config, "red", RED, "red-fw", "red-fw", ("r1", "10.0.0.12"));
    let config =
        config.route("blue-branch", "10.9.0.0/16", "blue-fw").route("red-branch", "10.9.0.0/16", "red-fw");
    let to_branch =
        |vlan, flags| Packet::between("198.51.100.7", "10.9.0.1").vlan(vlan).tcp(40_000, 22, flags);
    Fixture::new(
        "networks/one-route-in-two-vlans",
        "The same prefix is a route of each of two VLANs, to a next hop of its own.",
        config,
    )
    .frame(&to_branch(BLUE, SYN), new("blue-fw", "b1"))
    .frame(&to_branch(RED, SYN), new("red-fw", "r1"))
    .frame(&to_branch(RED, ACK), hit("red-fw", "r1"))
    .frame(&to_branch(BLUE, ACK), hit("blue-fw", "b1"))
}
