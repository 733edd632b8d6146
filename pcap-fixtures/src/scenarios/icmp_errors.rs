//! ICMP errors: they go where the packet goes that they quote, and keep nothing alive.

use super::{VIP, VIP_V6, client, client_v6, everything, everything_v6, web};
use crate::fixture::{Fixture, Outcome, hit, new, off};
use crate::packet::Packet;
use crate::packet::tcp::{ACK, SYN};

pub(super) fn fixtures() -> Vec<Fixture> {
    vec![
        quote(),
        quote_v6(),
        of_every_kind(),
        unrelated(),
        unrelated_for_all(),
        fragment(),
        idle(),
        untracked(),
    ]
}

/// Starts an error of some router on the way to client 7.
fn error() -> Packet {
    Packet::between("192.0.2.254", VIP)
}

/// Makes a packet that a backend sent to client 7, for an error to quote.
fn reply(port: u16) -> Packet {
    Packet::between(VIP, "198.51.100.7").ttl(3).tcp(443, port, ACK).payload_len(1000)
}

fn quote() -> Fixture {
    Fixture::new(
        "icmp-errors/errors-follow-the-packet-that-they-quote",
        "An error goes to the backend of the connection that it quotes, even if the quote is 8 bytes of its \
         header long.",
        web(""),
    )
    .unhealthy("b2")
    .frame(&client(7).tcp(40_000, 443, SYN), new("web", "b1"))
    .healthy("b2")
    .unhealthy("b1")
    .frame(&client(7).tcp(40_001, 443, SYN), new("web", "b2"))
    .frame(&error().packet_too_big(1400, &reply(40_000), 28), hit("web", "b1"))
    .frame(&error().packet_too_big(1400, &reply(40_000), 548), hit("web", "b1"))
    .frame(&error().packet_too_big(1400, &reply(40_001), 28), hit("web", "b2"))
    .frame(&error().packet_too_big(1400, &reply(40_000).options(&[148, 4, 0, 0]), 32), hit("web", "b1"))
}

fn quote_v6() -> Fixture {
    let error = Packet::between("2001:db8:ff::1", VIP_V6);
    let reply = |port| Packet::between(VIP_V6, "2001:db8:c::7").tcp(443, port, ACK).payload_len(1400);
    Fixture::new(
        "icmp-errors/icmpv6-errors-follow-the-packet-that-they-quote",
        "ICMPv6: the same, with extension headers in the quote or before the error.",
        everything_v6("protocol = 'UNSPECIFIED'"),
    )
    .unhealthy("b2")
    .frame(&client_v6(7).tcp(40_000, 443, SYN), new("all", "b1"))
    .healthy("b2")
    .unhealthy("b1")
    .frame(&error.clone().packet_too_big(1400, &reply(40_000), 1232), hit("all", "b1"))
    .frame(&error.clone().packet_too_big(1400, &reply(40_000), 48), hit("all", "b1"))
    .frame(
        &error.clone().packet_too_big(1400, &reply(40_000).hop_by_hop(&[5, 2, 0, 0]), 100),
        hit("all", "b1"),
    )
    .frame(
        &error.clone().hop_by_hop(&[5, 2, 0, 0]).icmp(3, 0, 0).quoting(&reply(40_000), 60),
        hit("all", "b1"),
    )
    // A connection that nobody knows is where its hash says.
    .frame(&error.packet_too_big(1400, &reply(40_009), 1232), off("all", "b2"))
}

fn of_every_kind() -> Fixture {
    let mut fixture = Fixture::new(
        "icmp-errors/errors-of-every-kind-are-steered",
        "Unreachable, time exceeded and parameter problem are steered by their quote; source quench, which is no \
         more, and redirects, which stay on their link, are not.",
        web(""),
    )
    .unhealthy("b2")
    .frame(&client(7).tcp(40_000, 443, SYN), new("web", "b1"))
    .healthy("b2")
    .unhealthy("b1");
    for kind in [3, 11, 12] {
        fixture = fixture.frame(&error().icmp(kind, 0, 0).quoting(&reply(40_000), 28), hit("web", "b1"));
    }
    // An echo request quotes nothing, whatever it holds. No rule takes these.
    for kind in [4, 5, 8] {
        let message = error().icmp(kind, 0, 0).quoting(&reply(40_000), 28);
        fixture = fixture.frame(&message, Outcome::Pass("no_forwarding_rule"));
    }
    fixture
}

fn unrelated() -> Fixture {
    const NO_RULE: Outcome = Outcome::Pass("no_forwarding_rule");
    let from_elsewhere = Packet::between("203.0.113.99", "198.51.100.7").tcp(443, 40_000, ACK);
    Fixture::new(
        "icmp-errors/unrelated-errors-are-passed",
        "An error whose quote is not of a rule's packet, is not from its receiver or cannot be read is \
         passed.",
        web(""),
    )
    .frame(&error().packet_too_big(1400, &from_elsewhere, 28), NO_RULE)
    .frame(
        &error().packet_too_big(1400, &Packet::between(VIP, "198.51.100.7").tcp(22, 40_000, ACK), 28),
        NO_RULE,
    )
    .frame(&error().packet_too_big(1400, &Packet::between(VIP, "198.51.100.7").udp(443, 40_000), 28), NO_RULE)
    .frame(&error().packet_too_big(1400, &client(7).tcp(40_000, 443, ACK), 28), NO_RULE)
    .frame(&error().packet_too_big(1400, &reply(40_000), 20), NO_RULE)
    .frame(&error().packet_too_big(1400, &reply(40_000), 12), NO_RULE)
    .frame(&error().packet_too_big(1400, &reply(40_000), 0), NO_RULE)
    .frame(&error().icmp(3, 1, 0).payload(&[0x60; 28]), NO_RULE)
    .frame(&Packet::between("192.0.2.254", "192.0.2.1").packet_too_big(1400, &reply(40_000), 28), NO_RULE)
}

fn unrelated_for_all() -> Fixture {
    let elsewhere = Packet::between("203.0.113.99", "198.51.100.7").tcp(443, 40_000, ACK);
    Fixture::new(
        "icmp-errors/unrelated-errors-are-packets-of-their-own",
        "Where L3_DEFAULT takes ICMP itself, an error that quotes no packet of ours goes by its own \
         addresses.",
        everything("protocol = 'UNSPECIFIED'"),
    )
    .unhealthy("b2")
    .frame(&client(7).tcp(40_000, 443, SYN), new("all", "b1"))
    .healthy("b2")
    .unhealthy("b1")
    .frame(&error().packet_too_big(1400, &elsewhere, 28), off("all", "b2"))
    .frame(&error().packet_too_big(1400, &reply(40_000), 28), hit("all", "b1"))
    .frame(&error().icmp(3, 1, 0).payload(&[]), off("all", "b2"))
}

fn fragment() -> Fixture {
    let fragments = reply(40_000).identification(5).fragments(512);
    Fixture::new(
        "icmp-errors/a-quoted-later-fragment-belongs-to-the-fragments-entry",
        "A quote of a first fragment of TCP names its connection; that of a later one names addresses and protocol, \
         the entry of a client's fragments without a first.",
        everything("protocol = 'UNSPECIFIED'"),
    )
    .unhealthy("b2")
    .frame(&client(7).tcp(40_000, 443, ACK).payload_len(600).fragments(512)[1], new("all", "b1"))
    .healthy("b2")
    .unhealthy("b1")
    .frame(&client(7).tcp(40_000, 443, ACK), new("all", "b2"))
    .frame(&error().packet_too_big(400, &fragments[0], 28), hit("all", "b2"))
    .frame(&error().packet_too_big(400, &fragments[1], 28), hit("all", "b1"))
    .frame(&error().packet_too_big(400, &reply(40_000), 28), hit("all", "b2"))
}

fn idle() -> Fixture {
    Fixture::new(
        "icmp-errors/errors-keep-no-entry-alive",
        "An error, which anyone may forge, finds the entry and does not refresh it.",
        web(""),
    )
    .unhealthy("b2")
    .frame(&client(7).tcp(40_000, 443, SYN), new("web", "b1"))
    .healthy("b2")
    .unhealthy("b1")
    .wait(40_000)
    .frame(&error().packet_too_big(1400, &reply(40_000), 28), hit("web", "b1"))
    .wait(22_000)
    .frame(&error().packet_too_big(1400, &reply(40_000), 28), off("web", "b2"))
    .frame(&client(7).tcp(40_000, 443, ACK), new("web", "b2"))
}

fn untracked() -> Fixture {
    let datagram = client(7).udp(40_000, 53);
    let reply = Packet::between(VIP, "198.51.100.7").udp(53, 40_000).payload_len(100);
    let echo = Packet::between(VIP, "198.51.100.7").echo_reply(7, 1);
    Fixture::new(
        "icmp-errors/errors-make-no-entry",
        "An error for a connection without an entry goes where its hash says and makes none.",
        everything("protocol = 'UNSPECIFIED'\nsession_affinity = 'CLIENT_IP_PORT_PROTO'"),
    )
    .unhealthy("b2")
    .frame(&error().icmp(3, 3, 0).quoting(&reply, 28), off("all", "b1"))
    .frame(&error().icmp(11, 0, 0).quoting(&echo, 28), off("all", "b1"))
    .frame(&datagram, new("all", "b1"))
    .frame(&error().icmp(3, 3, 0).quoting(&reply, 28), hit("all", "b1"))
}
