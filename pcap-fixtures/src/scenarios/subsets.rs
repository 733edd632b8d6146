//! Subsets: which of the backends the connections of one client meet, and which when one of them fails.

use crate::configuration::Configuration;
use crate::delivery_mode::Mode;
use crate::fixture::{Fixture, hit, new};
use crate::packet::Packet;
use crate::packet::tcp::{ACK, SYN};

pub(super) fn fixtures() -> Vec<Fixture> {
    vec![two_of_six(), no_more_than_two()]
}

const SIX: &[(&str, &str)] = &[
    ("b1", "192.0.2.11"),
    ("b2", "192.0.2.12"),
    ("b3", "192.0.2.13"),
    ("b4", "192.0.2.14"),
    ("b5", "192.0.2.15"),
    ("b6", "192.0.2.16"),
];

/// Configures one VIP before an internal service of six backends, of which each client meets two.
fn pairs(lines: &'static str) -> Configuration {
    Configuration::new().internal("all", lines).rule("a", "ip_address = '203.0.113.10'\nports = [443]").group(
        "near",
        Mode::L2,
        SIX,
    )
}

const SUBSETTING: &str = "subsetting = { policy = 'CONSISTENT_HASH_SUBSETTING', subset_size = 2 }";

fn client(number: u8, port: u16, flags: u8) -> Packet {
    Packet::between(&format!("198.51.100.{number}"), "203.0.113.10").tcp(port, 443, flags)
}

/// Adds six connections of client 7, and four of client 8, which must go to these.
fn connections(fixture: Fixture, seven: [&'static str; 6], eight: [&'static str; 4]) -> Fixture {
    let ports = || 40_000..;
    let fixture = ports()
        .zip(seven)
        .fold(fixture, |fixture, (port, backend)| fixture.frame(&client(7, port, SYN), new("a", backend)));
    ports()
        .zip(eight)
        .fold(fixture, |fixture, (port, backend)| fixture.frame(&client(8, port, SYN), new("a", backend)))
}

fn two_of_six() -> Fixture {
    let fixture = Fixture::new(
        "subsets/a-client-meets-two-of-six",
        "All connections of a client go to the two backends of its class, other clients' to others; when one fails, another \
         takes its seat: what went to the survivor goes there still, and tracked connections stay.",
        pairs(SUBSETTING),
    );
    let fixture = connections(fixture, ["b2", "b2", "b2", "b2", "b6", "b6"], ["b2", "b2", "b4", "b2"])
        .wait(1000)
        .unhealthy("b6")
        .frame(&client(7, 40_004, ACK), hit("a", "b6"));
    connections(fixture, ["b2", "b2", "b2", "b2", "b3", "b3"], ["b2", "b2", "b4", "b2"])
        .wait(1000)
        .healthy("b6")
        .frame(&client(7, 40_005, ACK), hit("a", "b3"))
        .frame(&client(7, 40_005, SYN), new("a", "b6"))
}

fn no_more_than_two() -> Fixture {
    let fixture = Fixture::new(
        "subsets/as-many-eligible-backends-as-a-subset-has-are-met-by-all",
        "While no more backends are eligible than a subset has, every client meets all of them.",
        pairs(SUBSETTING),
    );
    let fixture = fixture.unhealthy("b1").unhealthy("b3").unhealthy("b5").unhealthy("b6");
    connections(fixture, ["b2", "b4", "b4", "b2", "b4", "b4"], ["b2", "b2", "b4", "b4"])
}
