//! Fragments: they have no ports in their hashes, and all but the first have none for rules either.

use super::{NEAR, client, client_v6, everything, everything_v6, web};
use crate::configuration::Configuration;
use crate::delivery_mode::Mode;
use crate::fixture::{Fixture, Outcome, hit, new, off};
use crate::packet::tcp::{ACK, PSH, SYN};

pub(super) fn fixtures() -> Vec<Fixture> {
    vec![listed_ports(), all_ports(), together(), together_v6(), out_of_order(), atomic(), atomic_listed()]
}

const NO_RULE: Outcome = Outcome::Pass("no_forwarding_rule");

fn listed_ports() -> Fixture {
    let fragments = client(7).identification(77).tcp(40_000, 443, ACK | PSH).payload_len(1000).fragments(512);
    Fixture::new(
        "fragments/later-fragments-pass-by-rules-with-ports",
        "A first fragment matches a rule that lists its port; the later ones have no port, match none and \
         are passed.",
        web(""),
    )
    .unhealthy("b2")
    .frame(&fragments[0], new("web", "b1"))
    .frame(&fragments[1], NO_RULE)
    .frame(
        &client(7).identification(78).tcp(40_000, 80, ACK).payload_len(700).fragments(512)[0],
        hit("web", "b1"),
    )
    // The first fragment's entry is of addresses and protocol: the whole packet's is another.
    .frame(&client(7).tcp(40_000, 443, ACK), new("web", "b1"))
    .frame(&client(7).identification(79).tcp(40_000, 8080, ACK).payload_len(700).fragments(512)[0], NO_RULE)
}

fn all_ports() -> Fixture {
    let config = Configuration::new()
        .external("dns", "protocol = 'UDP'")
        .rule("dns", "ip_address = '203.0.113.10'\nip_protocol = 'UDP'\nall_ports = true")
        .group("near", Mode::L2, NEAR);
    let fragments = client(7).identification(77).udp(40_000, 53).payload_len(3000).fragments(1480);
    let mut fixture = Fixture::new(
        "fragments/rules-for-all-ports-take-later-fragments",
        "A rule for all ports takes every fragment, and all go to one backend: their hash has no ports.",
        config,
    );
    for fragment in &fragments {
        fixture = fixture.frame(fragment, off("dns", "b2"));
    }
    let others = client(7).identification(78).udp(41_000, 5353).payload_len(3000).fragments(1480);
    for fragment in &others {
        fixture = fixture.frame(fragment, off("dns", "b2"));
    }
    fixture
}

fn together() -> Fixture {
    let tcp = client(7).identification(77).tcp(40_000, 443, ACK).payload_len(1000).fragments(512);
    let udp = client(7).identification(78).udp(40_000, 53).payload_len(1000).fragments(512);
    Fixture::new(
        "fragments/fragments-share-one-entry",
        "L3_DEFAULT: the fragments of a client's TCP, and of its UDP where that is tracked, share a 3-tuple \
         entry.",
        everything("protocol = 'UNSPECIFIED'\nsession_affinity = 'CLIENT_IP_PORT_PROTO'"),
    )
    .unhealthy("b2")
    .frame(&tcp[0], new("all", "b1"))
    .healthy("b2")
    .unhealthy("b1")
    .frame(&tcp[1], hit("all", "b1"))
    .frame(&udp[0], new("all", "b2"))
    .frame(&udp[1], hit("all", "b2"))
    .frame(&client(7).tcp(40_000, 443, ACK), new("all", "b2"))
}

fn together_v6() -> Fixture {
    let packet = client_v6(7).hop_by_hop(&[5, 2, 0, 0]).identification(0x1234_5678);
    let fragments = packet.tcp(40_000, 443, ACK).payload_len(1000).fragments(504);
    Fixture::new(
        "fragments/ipv6-fragments-share-one-entry",
        "IPv6: the fragment header says it, behind other extension headers too.",
        everything_v6("protocol = 'UNSPECIFIED'"),
    )
    .unhealthy("b2")
    .frame(&fragments[0], new("all", "b1"))
    .healthy("b2")
    .unhealthy("b1")
    .frame(&fragments[1], hit("all", "b1"))
    .frame(&fragments[2], hit("all", "b1"))
    .frame(&client_v6(7).tcp(40_000, 443, ACK), new("all", "b2"))
}

fn out_of_order() -> Fixture {
    let fragments = client(7).identification(77).tcp(40_000, 443, SYN).payload_len(1500).fragments(512);
    Fixture::new(
        "fragments/order-does-not-matter",
        "Fragments that arrive out of order are delivered alike: nothing waits for the first, and nothing \
         is reassembled.",
        everything("protocol = 'UNSPECIFIED'"),
    )
    .unhealthy("b2")
    .frame(&fragments[2], new("all", "b1"))
    .frame(&fragments[1], hit("all", "b1"))
    // A first fragment with SYN starts the connection of its 3-tuple.
    .frame(&fragments[0], new("all", "b1"))
}

fn atomic() -> Fixture {
    let packet = client_v6(7).identification(7);
    Fixture::new(
        "fragments/atomic-fragments-are-whole-packets",
        "An IPv6 packet whose fragment header says that it is whole has ports and shares its connection's \
         entry (RFC 6946).",
        everything_v6("protocol = 'UNSPECIFIED'"),
    )
    .unhealthy("b2")
    .frame(&packet.clone().tcp(40_000, 443, SYN), new("all", "b1"))
    .healthy("b2")
    .frame(&packet.clone().fragment(0, false).tcp(40_000, 443, ACK), hit("all", "b1"))
    .frame(&packet.fragment(0, false).tcp(40_000, 443, SYN), new("all", "b2"))
}

fn atomic_listed() -> Fixture {
    let config = Configuration::new()
        .external("web", "")
        .rule("web", "ip_address = '2001:db8::10'\nports = [443]")
        .group("near", Mode::L2, super::NEAR_V6);
    let packet = client_v6(7).identification(7);
    Fixture::new(
        "fragments/ipv6-fragments-and-rules-with-ports",
        "IPv6: a rule that lists ports takes whole packets, atomic and first fragments, and passes later \
         ones.",
        config,
    )
    .unhealthy("b2")
    .frame(&packet.clone().fragment(0, false).tcp(40_000, 443, SYN), new("web", "b1"))
    .frame(&packet.clone().fragment(0, true).tcp(40_000, 443, ACK).payload_len(12), new("web", "b1"))
    .frame(&packet.fragment(32, false).protocol(6).payload_len(12), NO_RULE)
}
