//! Fragments: all but the first have no ports, and follow it where it was seen.

use super::{NEAR, client, client_v6, everything, everything_v6, web};
use crate::configuration::Configuration;
use crate::delivery_mode::Mode;
use crate::fixture::{Fixture, Outcome, hit, new, off};
use crate::packet::tcp::{ACK, PSH, SYN};

pub(super) fn fixtures() -> Vec<Fixture> {
    vec![
        listed_ports(),
        radius(),
        connection(),
        time(),
        reload(),
        all_ports(),
        together(),
        together_v6(),
        out_of_order(),
        atomic(),
        atomic_listed(),
    ]
}

const NO_RULE: Outcome = Outcome::Pass("no_forwarding_rule");

fn listed_ports() -> Fixture {
    let fragments = client(7).identification(77).tcp(40_000, 443, ACK | PSH).payload_len(1400).fragments(512);
    Fixture::new(
        "fragments/later-fragments-follow-their-first-to-listed-ports",
        "A first fragment matches a rule that lists its port; the later ones, which have none, follow it; others \
         match no rule and are passed.",
        web(""),
    )
    .unhealthy("b2")
    .frame(&fragments[1], NO_RULE)
    .frame(&fragments[0], new("web", "b1"))
    .frame(&fragments[1], off("web", "b1"))
    .frame(&fragments[2], off("web", "b1"))
    // The first fragment has ports, and its connection's entry.
    .frame(&client(7).tcp(40_000, 443, ACK), hit("web", "b1"))
    .frame(&client(7).identification(78).tcp(40_000, 443, ACK).payload_len(700).fragments(512)[1], NO_RULE)
    .frame(&client(8).identification(77).tcp(40_000, 443, ACK).payload_len(700).fragments(512)[1], NO_RULE)
    .frame(&client(7).identification(77).udp(40_000, 443).payload_len(700).fragments(512)[1], NO_RULE)
    .frame(&client(7).identification(79).tcp(40_000, 8080, ACK).payload_len(700).fragments(512)[0], NO_RULE)
    .frame(&client(7).identification(79).tcp(40_000, 8080, ACK).payload_len(700).fragments(512)[1], NO_RULE)
}

fn radius() -> Fixture {
    let config = Configuration::new()
        .external("aaa", "protocol = 'UDP'\nsession_affinity = 'CLIENT_IP'")
        .rule("radius", "ip_address = '203.0.113.10'\nip_protocol = 'UDP'\nports = [1812]")
        .group("near", Mode::L2, NEAR);
    let request = |id| client(7).identification(id).udp(40_000, 1812).payload_len(3000).fragments(1480);
    let (first, second) = (request(77), request(78));
    Fixture::new(
        "fragments/udp-in-fragments-works-with-listed-ports",
        "RADIUS, IKE and SIP in fragments: the later ones go where the first went, and make and refresh no entry.",
        config,
    )
    .unhealthy("b2")
    .frame(&first[0], new("radius", "b1"))
    .healthy("b2")
    .unhealthy("b1")
    .frame(&first[1], off("radius", "b1"))
    .frame(&second[0], new("radius", "b2"))
    .frame(&second[2], off("radius", "b2"))
    .frame(&first[2], off("radius", "b1"))
}

fn connection() -> Fixture {
    let parts = client(7).identification(77).tcp(40_000, 443, ACK).payload_len(1000).fragments(512);
    Fixture::new(
        "fragments/a-segment-in-fragments-goes-with-its-connection",
        "A first fragment of TCP counts as ported: it hits its connection's entry, and the later ones follow.",
        everything("protocol = 'UNSPECIFIED'"),
    )
    .unhealthy("b2")
    .frame(&client(7).tcp(40_000, 443, SYN), new("all", "b1"))
    .healthy("b2")
    .unhealthy("b1")
    .frame(&parts[0], hit("all", "b1"))
    .frame(&parts[1], off("all", "b1"))
    .frame(&client(7).tcp(40_000, 443, ACK), hit("all", "b1"))
    .frame(&client(7).tcp(40_001, 443, ACK), new("all", "b2"))
}

fn time() -> Fixture {
    let datagram = |id| client(7).identification(id).tcp(40_000, 443, ACK).payload_len(1000).fragments(512);
    let (early, late) = (datagram(77), datagram(78));
    Fixture::new(
        "fragments/a-first-is-followed-for-half-a-minute",
        "Later fragments follow their first for 30 seconds; nothing that follows prolongs it.",
        web(""),
    )
    .unhealthy("b2")
    .frame(&early[0], new("web", "b1"))
    .wait(28_000)
    .frame(&early[1], off("web", "b1"))
    .frame(&late[0], hit("web", "b1"))
    .wait(4_000)
    .frame(&early[1], NO_RULE)
    .frame(&late[1], off("web", "b1"))
}

fn reload() -> Fixture {
    let two = |endpoints: &'static [(&'static str, &'static str)]| {
        Configuration::new()
            .external("web", "connection_draining = { draining_timeout_sec = 5 }")
            .rule("web", "ip_address = '203.0.113.10'\nports = [80, 443]")
            .group("near", Mode::L2, endpoints)
    };
    let renumbered = Configuration::new()
        .external("dns", "protocol = 'UDP'")
        .rule("dns", "ip_address = '203.0.113.9'\nip_protocol = 'UDP'\nports = [53]")
        .group("far", Mode::L2, &[("d1", "192.0.2.21"), ("d2", "192.0.2.22")])
        .external("web", "connection_draining = { draining_timeout_sec = 5 }")
        .rule("web", "ip_address = '203.0.113.10'\nports = [80, 443]")
        .group("near", Mode::L2, &NEAR[1..]);
    let parts = client(7).identification(77).tcp(40_000, 443, ACK).payload_len(1400).fragments(512);
    Fixture::new(
        "fragments/a-reload-matters-to-no-datagram-whose-backend-stays",
        "Rules get other numbers and the backend drains: later fragments follow until it has drained, and again \
         once it is back.",
        two(NEAR),
    )
    .unhealthy("b2")
    .frame(&parts[0], new("web", "b1"))
    .reload(renumbered)
    .frame(&parts[1], off("web", "b1"))
    .wait(6_000)
    .frame(&parts[1], NO_RULE)
    .reload(two(NEAR))
    .frame(&parts[2], off("web", "b1"))
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
    let alone = |id| client(7).identification(id).tcp(40_000, 443, ACK).payload_len(1000).fragments(512);
    Fixture::new(
        "fragments/fragments-without-a-first-share-one-entry",
        "L3_DEFAULT: fragments follow their first; a client's fragments of TCP whose first was unseen, and its first \
         ones of UDP where that is tracked, share a 3-tuple entry.",
        everything("protocol = 'UNSPECIFIED'\nsession_affinity = 'CLIENT_IP_PORT_PROTO'"),
    )
    .unhealthy("b2")
    .frame(&tcp[0], new("all", "b1"))
    .healthy("b2")
    .unhealthy("b1")
    .frame(&tcp[1], off("all", "b1"))
    .frame(&udp[0], new("all", "b2"))
    .frame(&udp[1], off("all", "b2"))
    .frame(&alone(80)[1], new("all", "b2"))
    .frame(&alone(81)[1], hit("all", "b2"))
    .frame(&client(7).identification(82).udp(41_000, 53).payload_len(1000).fragments(512)[0], hit("all", "b2"))
    .frame(&client(7).tcp(40_000, 443, ACK), hit("all", "b1"))
}

fn together_v6() -> Fixture {
    let packet = client_v6(7).hop_by_hop(&[5, 2, 0, 0]).identification(0x1234_5678);
    let fragments = packet.tcp(40_000, 443, ACK).payload_len(1000).fragments(504);
    let other =
        client_v6(7).identification(0x0234_5678).tcp(40_000, 443, ACK).payload_len(1000).fragments(504);
    Fixture::new(
        "fragments/ipv6-fragments-follow-their-first",
        "IPv6: the fragment header says it, behind other extension headers too; its identification has 32 bits.",
        everything_v6("protocol = 'UNSPECIFIED'"),
    )
    .unhealthy("b2")
    .frame(&fragments[0], new("all", "b1"))
    .healthy("b2")
    .unhealthy("b1")
    .frame(&fragments[1], off("all", "b1"))
    .frame(&fragments[2], off("all", "b1"))
    .frame(&other[1], new("all", "b2"))
    .frame(&client_v6(7).tcp(40_000, 443, ACK), hit("all", "b1"))
}

fn out_of_order() -> Fixture {
    let fragments = client(7).identification(77).tcp(40_000, 443, SYN).payload_len(1500).fragments(512);
    Fixture::new(
        "fragments/fragments-before-their-first-decide-for-themselves",
        "Fragments that arrive before their first decide for themselves: nothing waits for it, and nothing is \
         reassembled.",
        everything("protocol = 'UNSPECIFIED'"),
    )
    .unhealthy("b2")
    .frame(&fragments[2], new("all", "b1"))
    .frame(&fragments[1], hit("all", "b1"))
    // A first fragment with SYN starts its connection, and from now on the others follow.
    .healthy("b2")
    .unhealthy("b1")
    .frame(&fragments[0], new("all", "b2"))
    .frame(&fragments[2], off("all", "b2"))
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
        "IPv6: a rule that lists ports takes whole packets, atomic and first fragments, and the later ones that \
         follow.",
        config,
    )
    .unhealthy("b2")
    .frame(&packet.clone().fragment(0, false).tcp(40_000, 443, SYN), new("web", "b1"))
    .frame(&packet.clone().fragment(0, true).tcp(40_000, 443, ACK).payload_len(12), hit("web", "b1"))
    .frame(&packet.fragment(32, false).protocol(6).payload_len(12), off("web", "b1"))
    .frame(&client_v6(7).identification(8).fragment(32, false).protocol(6).payload_len(12), NO_RULE)
}
