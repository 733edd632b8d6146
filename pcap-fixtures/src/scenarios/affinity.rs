//! Session affinity: which packets of a client choose alike. Both backends are healthy, so the frozen hash decides.

use super::NEAR;
use crate::configuration::Configuration;
use crate::delivery_mode::Mode;
use crate::fixture::{Fixture, new, off};
use crate::packet::Packet;
use crate::packet::tcp::SYN;

pub(super) fn fixtures() -> Vec<Fixture> {
    vec![five_tuple(), three_tuple(), two_tuple(), one_tuple(), restart()]
}

/// Configures two VIPs, inside the network, before one service, with all that an affinity may tell apart.
fn inside(lines: &'static str) -> Configuration {
    Configuration::new()
        .internal("all", lines)
        .rule("a", "ip_address = '203.0.113.10'\nip_protocol = 'L3_DEFAULT'\nall_ports = true")
        .rule("b", "ip_address = '203.0.113.11'\nip_protocol = 'L3_DEFAULT'\nall_ports = true")
        .group("near", Mode::L2, NEAR)
}

/// Adds five TCP connections, two UDP ones and an echo request of client 7 to the first VIP, then a TCP connection
/// and an echo request to the second; `backends` are those that they must choose.
fn client(fixture: Fixture, backends: [&'static str; 10]) -> Fixture {
    let [a, b] = ["203.0.113.10", "203.0.113.11"].map(|vip| Packet::between("198.51.100.7", vip));
    let [t1, t2, t3, t4, t5, u1, u2, echo, other, other_echo] = backends;
    fixture
        .frame(&a.clone().tcp(40_000, 443, SYN), new("a", t1))
        .frame(&a.clone().tcp(40_001, 443, SYN), new("a", t2))
        .frame(&a.clone().tcp(40_002, 443, SYN), new("a", t3))
        .frame(&a.clone().tcp(40_003, 80, SYN), new("a", t4))
        .frame(&a.clone().tcp(40_004, 80, SYN), new("a", t5))
        .frame(&a.clone().udp(40_000, 443), new("a", u1))
        .frame(&a.clone().udp(40_001, 53), new("a", u2))
        .frame(&a.echo_request(1, 1), off("a", echo))
        .frame(&b.clone().tcp(40_000, 443, SYN), new("b", other))
        .frame(&b.echo_request(1, 1), off("b", other_echo))
}

fn five_tuple() -> Fixture {
    let fixture = Fixture::new(
        "affinity/five-tuples-choose-by-themselves",
        "NONE: every connection of a client chooses by itself, and packets without ports by 3-tuple.",
        inside("protocol = 'UNSPECIFIED'\nsession_affinity = 'NONE'"),
    );
    client(fixture, ["b2", "b1", "b1", "b1", "b2", "b2", "b1", "b1", "b1", "b2"])
}

fn three_tuple() -> Fixture {
    let fixture = Fixture::new(
        "affinity/three-tuples-choose-alike",
        "CLIENT_IP_PROTO: what a client sends to a VIP over one protocol chooses alike.",
        inside("protocol = 'UNSPECIFIED'\nsession_affinity = 'CLIENT_IP_PROTO'"),
    );
    const TCP: &str = "b1";
    const UDP: &str = "b2";
    client(fixture, [TCP, TCP, TCP, TCP, TCP, UDP, UDP, "b1", "b1", "b2"])
}

fn two_tuple() -> Fixture {
    let fixture = Fixture::new(
        "affinity/two-tuples-choose-alike",
        "CLIENT_IP: all that a client sends to a VIP chooses alike, whatever the protocol.",
        inside("protocol = 'UNSPECIFIED'\nsession_affinity = 'CLIENT_IP'"),
    );
    const A: &str = "b2";
    const B: &str = "b2";
    client(fixture, [A, A, A, A, A, A, A, A, B, B])
}

fn one_tuple() -> Fixture {
    let fixture = Fixture::new(
        "affinity/clients-choose-alike-everywhere",
        "CLIENT_IP_NO_DESTINATION: all that a client sends chooses alike, whatever the VIP.",
        inside("protocol = 'UNSPECIFIED'\nsession_affinity = 'CLIENT_IP_NO_DESTINATION'"),
    );
    client(fixture, ["b1"; 10])
}

fn restart() -> Fixture {
    let to = |src_port| Packet::between("198.51.100.7", "203.0.113.10").tcp(src_port, 443, SYN);
    Fixture::new(
        "affinity/the-same-eligible-backends-are-the-same-choice",
        "The same characteristics and eligible backends are the same choice, before and after a backend was away.",
        inside("protocol = 'UNSPECIFIED'"),
    )
    .frame(&to(40_000), new("a", "b2"))
    .frame(&to(40_001), new("a", "b1"))
    .frame(&to(40_002), new("a", "b1"))
    .unhealthy("b1")
    .frame(&to(40_000), new("a", "b2"))
    .frame(&to(40_001), new("a", "b2"))
    .frame(&to(40_002), new("a", "b2"))
    .healthy("b1")
    .frame(&to(40_000), new("a", "b2"))
    .frame(&to(40_001), new("a", "b1"))
    .frame(&to(40_002), new("a", "b1"))
}
