//! Access lists: the sources that a rule admits, by the longest prefix that holds them.

use super::{NEAR, NEAR_V6, client};
use crate::configuration::Configuration;
use crate::delivery_mode::Mode;
use crate::fixture::{Fixture, Outcome, hit, new, off};
use crate::packet::Packet;
use crate::packet::tcp::{ACK, SYN};

pub(super) fn fixtures() -> Vec<Fixture> {
    vec![longest_prefix(), reload(), quotes()]
}

const DENIED: Outcome = Outcome::Refuse("web", "access_denied");

/// Service whose IPv4 and IPv6 rules name this list, and another whose rule names none.
fn guarded(list: &str) -> Configuration {
    Configuration::new()
        .access_list("clients", list)
        .external("web", "protocol = 'UNSPECIFIED'")
        .rule(
            "web",
            "ip_address = '203.0.113.10'\nip_protocol = 'L3_DEFAULT'\nall_ports = true\naccess_list = 'clients'",
        )
        .group("near", Mode::L2, &NEAR[..1])
        .external("v6", "")
        .rule("v6", "ip_address = '2001:db8::10'\nall_ports = true\naccess_list = 'clients'")
        .group("near-v6", Mode::L2, &NEAR_V6[1..])
        .external("open", "")
        .rule("open", "ip_address = '203.0.113.11'\nall_ports = true")
        .group("other", Mode::L2, &[("b3", "192.0.2.13")])
}

/// Starts a packet of a client to the VIP with a list.
fn from(client: &str) -> Packet {
    Packet::between(client, if client.contains(':') { "2001:db8::10" } else { "203.0.113.10" })
}

fn longest_prefix() -> Fixture {
    let list = "default_action = 'ALLOW'\ndeny = ['198.51.100.0/24', '2001:db8:c::/48']\n\
                allow = ['198.51.100.64/26', '2001:db8:c:1::/64', '198.51.100.7']";
    Fixture::new(
        "access-lists/the-longest-prefix-admits-or-denies",
        "The longest prefix of a rule's access list that holds the source decides, and the default where none does; a \
         rule without a list admits all.",
        guarded(list),
    )
    .frame(&from("198.51.100.8").tcp(40_000, 443, SYN), DENIED)
    .frame(&from("198.51.100.8").tcp(40_000, 443, ACK), DENIED)
    .frame(&from("198.51.100.8").udp(40_000, 443), DENIED)
    .frame(&from("198.51.100.8").echo_request(1, 1), DENIED)
    .frame(&from("198.51.100.8").udp(40_000, 443).fragment(1480, false), DENIED)
    .frame(&from("198.51.100.7").tcp(40_000, 443, SYN), new("web", "b1"))
    .frame(&from("198.51.100.70").tcp(40_000, 443, SYN), new("web", "b1"))
    .frame(&from("192.0.2.77").udp(40_000, 443), off("web", "b1"))
    .frame(&from("2001:db8:c::7").tcp(40_000, 443, SYN), Outcome::Refuse("v6", "access_denied"))
    .frame(&from("2001:db8:c:1::7").tcp(40_000, 443, SYN), new("v6", "b2"))
    .frame(&Packet::between("198.51.100.8", "203.0.113.11").tcp(40_000, 443, SYN), new("open", "b3"))
}

fn reload() -> Fixture {
    let list = |denied| format!("default_action = 'ALLOW'\ndeny = ['{denied}']");
    Fixture::new(
        "access-lists/a-reload-that-denies-a-client-ends-its-connections",
        "An established connection of a source that a reload denies is dropped from then on, and found again once it is \
         admitted.",
        guarded(&list("192.0.2.0/24")),
    )
    .frame(&client(7).tcp(40_000, 443, SYN), new("web", "b1"))
    .frame(&client(7).tcp(40_000, 443, ACK), hit("web", "b1"))
    .wait(1000)
    .reload(guarded(&list("198.51.100.0/24")))
    .frame(&client(7).tcp(40_000, 443, ACK), DENIED)
    .wait(1000)
    .reload(guarded(&list("192.0.2.0/24")))
    .frame(&client(7).tcp(40_000, 443, ACK), hit("web", "b1"))
}

fn quotes() -> Fixture {
    let error = |router: &str, client: &str| {
        let quoted = Packet::between("203.0.113.10", client).tcp(443, 40_000, ACK);
        from(router).packet_too_big(1_400, &quoted, 28)
    };
    Fixture::new(
        "access-lists/an-icmp-error-is-judged-by-the-client-it-is-about",
        "An ICMP error comes from any router; the list judges the client whose packet it quotes.",
        guarded("default_action = 'DENY'\nallow = ['198.51.100.0/24']"),
    )
    .frame(&client(7).tcp(40_000, 443, SYN), new("web", "b1"))
    .frame(&error("192.0.2.99", "198.51.100.7"), hit("web", "b1"))
    .frame(&error("198.51.100.7", "192.0.2.99"), DENIED)
}
