//! Routes there and back: both directions of a connection reach one next hop. Both backends are healthy, so the frozen
//! hash decides.

use super::NEAR;
use crate::configuration::Configuration;
use crate::delivery_mode::Mode;
use crate::fixture::{Fixture, hit, new, off};
use crate::packet::Packet;
use crate::packet::tcp::{ACK, SYN};

pub(super) fn fixtures() -> Vec<Fixture> {
    vec![connections(), clients(), one_direction(), errors()]
}

/// Configures firewalls that are the next hop of a network's routes, there and back; `lines` are the service's.
fn firewalls(lines: &'static str) -> Configuration {
    Configuration::new()
        .internal("firewalls", lines)
        .rule("firewall", "ip_address = '203.0.113.10'\nip_protocol = 'L3_DEFAULT'\nall_ports = true")
        .group("near", Mode::L2, NEAR)
        .route("inside", "10.1.0.0/16", "firewall")
        .route("outside", "0.0.0.0/0", "firewall")
}

/// Starts a packet of an outer client to an inner server.
fn there() -> Packet {
    Packet::between("198.51.100.7", "10.1.0.5")
}

/// Starts a packet of the server to the client.
fn back() -> Packet {
    Packet::between("10.1.0.5", "198.51.100.7")
}

/// Adds a connection in both directions, all of which goes to `backend`.
fn connection(fixture: Fixture, port: u16, backend: &'static str) -> Fixture {
    fixture
        .frame(&there().tcp(port, 443, SYN), new("firewall", backend))
        .frame(&back().tcp(443, port, SYN | ACK), new("firewall", backend))
        .frame(&there().tcp(port, 443, ACK), hit("firewall", backend))
        .frame(&back().tcp(443, port, ACK), hit("firewall", backend))
}

fn connections() -> Fixture {
    let mut fixture = Fixture::new(
        "routes/both-directions-of-a-connection-reach-one-next-hop",
        "Behind two routes, there and back, each connection has one next hop, of several, in both directions.",
        firewalls("protocol = 'UNSPECIFIED'"),
    );
    for (port, backend) in [(40_000, "b1"), (40_001, "b1"), (40_002, "b2"), (40_003, "b1")] {
        fixture = connection(fixture, port, backend);
    }
    let query = there().identification(77).udp(40_000, 53).payload_len(1000).fragments(512);
    let answer = back().identification(78).udp(53, 40_000).payload_len(1000).fragments(512);
    fixture
        .frame(&there().udp(40_000, 53), new("firewall", "b1"))
        .frame(&back().udp(53, 40_000), hit("firewall", "b1"))
        .frame(&there().esp(1), off("firewall", "b2"))
        .frame(&back().esp(2), off("firewall", "b2"))
        .frame(&query[0], new("firewall", "b1"))
        .frame(&answer[0], hit("firewall", "b1"))
        .frame(&query[1], off("firewall", "b1"))
        .frame(&answer[1], off("firewall", "b1"))
}

fn clients() -> Fixture {
    let mut fixture = Fixture::new(
        "routes/both-directions-between-two-ends-reach-one-next-hop",
        "CLIENT_IP: whatever two ends send to each other has one next hop.",
        firewalls("protocol = 'UNSPECIFIED'\nsession_affinity = 'CLIENT_IP'"),
    );
    for port in [40_000, 40_001, 40_002] {
        fixture = connection(fixture, port, "b2");
    }
    fixture.frame(&there().esp(1), off("firewall", "b2")).frame(&back().esp(2), off("firewall", "b2"))
}

fn one_direction() -> Fixture {
    Fixture::new(
        "routes/a-clients-address-alone-has-one-direction",
        "CLIENT_IP_NO_DESTINATION: the source's address alone chooses, so an answer may have another next hop.",
        firewalls("protocol = 'UNSPECIFIED'\nsession_affinity = 'CLIENT_IP_NO_DESTINATION'"),
    )
    .frame(&there().tcp(40_000, 443, SYN), new("firewall", "b1"))
    .frame(&there().tcp(40_001, 443, SYN), new("firewall", "b1"))
    .frame(&back().tcp(443, 40_000, SYN | ACK), new("firewall", "b2"))
    .frame(&back().tcp(443, 40_001, SYN | ACK), new("firewall", "b2"))
}

fn errors() -> Fixture {
    let router = Packet::between("10.1.9.9", "198.51.100.7");
    let sent = there().ttl(3).tcp(40_000, 443, ACK).payload_len(1000);
    Fixture::new(
        "routes/errors-go-with-the-routed-packet-that-they-quote",
        "An error about a routed packet, on its way back to the sender, has the packet's own next hop.",
        firewalls("protocol = 'UNSPECIFIED'"),
    )
    .unhealthy("b2")
    .frame(&there().tcp(40_000, 443, SYN), new("firewall", "b1"))
    .healthy("b2")
    .unhealthy("b1")
    .frame(&router.clone().packet_too_big(1400, &sent, 28), hit("firewall", "b1"))
    .frame(
        &router.packet_too_big(1400, &there().tcp(40_001, 443, ACK).payload_len(1000), 28),
        off("firewall", "b2"),
    )
}
