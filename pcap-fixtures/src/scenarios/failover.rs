//! Failover groups: when they take over, when they give back, and what becomes of the connections.

use super::client;
use crate::configuration::Configuration;
use crate::delivery_mode::Mode;
use crate::fixture::{Fixture, Outcome, hit, new};
use crate::packet::tcp::{ACK, SYN};

pub(super) fn fixtures() -> Vec<Fixture> {
    vec![
        keeps(),
        voids(),
        voids_draining(),
        one_instant("failover/pools-that-change-within-an-instant-void-nothing", ["p1", "f1"]),
        one_instant("failover/pools-that-change-within-an-instant-void-nothing-in-any-order", ["f1", "p1"]),
        ratio_reached(),
        ratio_missed(),
        drops(),
        all_primaries(),
        no_primaries(),
    ]
}

/// Configures the primaries `p1` and so on, and one failover backend, `f1`.
fn with_failover(lines: &'static str, primaries: &[(&'static str, &str)]) -> Configuration {
    Configuration::new()
        .external("web", lines)
        .rule("web", "ip_address = '203.0.113.10'\nports = [80, 443]")
        .group("primary", Mode::L2, primaries)
        .failover_group("failover", Mode::L2, &[("f1", "192.0.2.21")])
}

const ONE: &[(&str, &str)] = &[("p1", "192.0.2.11")];
const TWO: &[(&str, &str)] = &[("p1", "192.0.2.11"), ("p2", "192.0.2.12")];

fn flow(port: u16, flags: u8) -> crate::packet::Packet {
    client(7).tcp(port, 443, flags)
}

fn keeps() -> Fixture {
    Fixture::new(
        "failover/connections-stay-where-they-are",
        "New connections go to the failover pool and later back; those that are tracked stay, both ways.",
        with_failover("", ONE),
    )
    .frame(&flow(40_000, SYN), new("web", "p1"))
    .wait(1000)
    .unhealthy("p1")
    .frame(&flow(40_001, SYN), new("web", "f1"))
    .frame(&flow(40_000, ACK), hit("web", "p1"))
    .wait(1000)
    .healthy("p1")
    .frame(&flow(40_002, SYN), new("web", "p1"))
    .frame(&flow(40_001, ACK), hit("web", "f1"))
    .frame(&flow(40_000, ACK), hit("web", "p1"))
}

fn voids() -> Fixture {
    Fixture::new(
        "failover/without-draining-a-switch-moves-every-connection",
        "With disable_connection_drain_on_failover a switch of pools, either way, voids every entry of the \
         service.",
        with_failover("failover_policy = { disable_connection_drain_on_failover = true }", TWO),
    )
    .unhealthy("p2")
    .frame(&flow(40_000, SYN), new("web", "p1"))
    .wait(1000)
    // No switch yet: the other primary serves, and the connection persists.
    .healthy("p2")
    .unhealthy("p1")
    .frame(&flow(40_000, ACK), hit("web", "p1"))
    .wait(1000)
    .unhealthy("p2")
    .frame(&flow(40_000, ACK), new("web", "f1"))
    .frame(&flow(40_001, SYN), new("web", "f1"))
    .frame(&flow(40_001, ACK), hit("web", "f1"))
    .wait(1000)
    .healthy("p1")
    .frame(&flow(40_001, ACK), new("web", "p1"))
    .frame(&flow(40_000, ACK), new("web", "p1"))
}

fn voids_draining() -> Fixture {
    const LINES: &str = "connection_draining = { draining_timeout_sec = 300 }\n\
        failover_policy = { disable_connection_drain_on_failover = true }";
    Fixture::new(
        "failover/without-draining-a-switch-ends-draining-too",
        "A switch of pools without draining voids the entries of backends that a reload removed, before \
         their timeout.",
        with_failover(LINES, TWO),
    )
    .unhealthy("p2")
    .frame(&flow(40_000, SYN), new("web", "p1"))
    .healthy("p2")
    .wait(1000)
    .reload(with_failover(LINES, &TWO[1..]))
    .frame(&flow(40_000, ACK), hit("web", "p1"))
    .unhealthy("p2")
    .frame(&flow(40_000, ACK), new("web", "f1"))
}

fn ratio_reached() -> Fixture {
    Fixture::new(
        "failover/primaries-serve-while-the-ratio-is-reached",
        "Half of the primaries are enough for a failover_ratio of 0.5.",
        with_failover("failover_policy = { failover_ratio = 0.5 }", TWO),
    )
    .unhealthy("p1")
    .frame(&flow(40_000, SYN), new("web", "p2"))
    .unhealthy("p2")
    .frame(&flow(40_001, SYN), new("web", "f1"))
}

fn ratio_missed() -> Fixture {
    Fixture::new(
        "failover/failover-backends-serve-below-the-ratio",
        "Half of the primaries are too few for a failover_ratio of 0.75, unless no failover backend is \
         usable.",
        with_failover("failover_policy = { failover_ratio = 0.75 }", TWO),
    )
    .unhealthy("p1")
    .frame(&flow(40_000, SYN), new("web", "f1"))
    .unhealthy("f1")
    .frame(&flow(40_001, SYN), new("web", "p2"))
    .frame(&flow(40_000, ACK), hit("web", "f1"))
}

fn drops() -> Fixture {
    Fixture::new(
        "failover/new-connections-are-dropped-when-nobody-is-usable",
        "With drop_traffic_if_unhealthy and nobody usable, new connections are dropped and valid entries \
         hold.",
        with_failover("failover_policy = { drop_traffic_if_unhealthy = true }", ONE),
    )
    .frame(&flow(40_000, SYN), new("web", "p1"))
    .wait(1000)
    .unhealthy("f1")
    .unhealthy("p1")
    .frame(&flow(40_001, SYN), Outcome::Refuse("web", "no_eligible_backend"))
    .frame(&flow(40_001, ACK), Outcome::Refuse("web", "no_eligible_backend"))
    .frame(&flow(40_000, ACK), hit("web", "p1"))
    // A SYN is a new connection on a tracked flow too; it found no backend, so the entry is still there.
    .frame(&flow(40_000, SYN), Outcome::Refuse("web", "no_eligible_backend"))
    .frame(&flow(40_000, ACK), hit("web", "p1"))
    .healthy("f1")
    .frame(&flow(40_001, SYN), new("web", "f1"))
}

fn all_primaries() -> Fixture {
    Fixture::new(
        "failover/primaries-are-the-last-resort",
        "Without drop_traffic_if_unhealthy and nobody usable, all primaries are eligible.",
        with_failover("", ONE),
    )
    .unhealthy("f1")
    .unhealthy("p1")
    .frame(&flow(40_000, SYN), new("web", "p1"))
    .frame(&flow(40_000, ACK), hit("web", "p1"))
    .healthy("f1")
    .frame(&flow(40_001, SYN), new("web", "f1"))
    .frame(&flow(40_000, ACK), hit("web", "p1"))
}

fn one_instant(name: &'static str, [first, second]: [&'static str; 2]) -> Fixture {
    Fixture::new(
        name,
        "With all backends unhealthy in one instant the primaries serve as before, as the last resort: no \
         connection moves, although one event by itself would switch to the failover pool.",
        with_failover("failover_policy = { disable_connection_drain_on_failover = true }", ONE),
    )
    .frame(&flow(40_000, SYN), new("web", "p1"))
    .wait(1000)
    .unhealthy(first)
    .unhealthy(second)
    .frame(&flow(40_000, ACK), hit("web", "p1"))
}

fn no_primaries() -> Fixture {
    Fixture::new(
        "failover/without-primaries-there-is-no-last-resort",
        "Failover backends serve where no primary is configured; while they are unhealthy nobody does, as the \
         last resort is all primaries.",
        with_failover("", &[]),
    )
    .frame(&flow(40_000, SYN), new("web", "f1"))
    .wait(1000)
    .unhealthy("f1")
    .frame(&flow(40_001, SYN), Outcome::Refuse("web", "no_eligible_backend"))
    .frame(&flow(40_000, ACK), hit("web", "f1"))
}
