//! Backends that a reload removes: how long their connections stay, and what coming back does.

use super::{NEAR, client};
use crate::configuration::Configuration;
use crate::delivery_mode::Mode;
use crate::fixture::{Fixture, hit, new};
use crate::packet::Packet;
use crate::packet::tcp::{ACK, SYN};

pub(super) fn fixtures() -> Vec<Fixture> {
    vec![
        until_the_timeout(),
        at_once(),
        back_in_time(),
        back_too_late(),
        unhealthy(),
        last_resort(),
        same_health(),
        added(),
    ]
}

const DRAINING: &str = "connection_draining = { draining_timeout_sec = 30 }";

fn serving(lines: &'static str, endpoints: &[(&'static str, &str)]) -> Configuration {
    Configuration::new()
        .external("web", lines)
        .rule("web", "ip_address = '203.0.113.10'\nports = [80, 443]")
        .group("near", Mode::L2, endpoints)
}

fn flow(port: u16, flags: u8) -> Packet {
    client(7).tcp(port, 443, flags)
}

/// Starts a fixture with a connection on `b1`, which a reload then removes.
fn removed(name: &'static str, claim: &'static str, lines: &'static str) -> Fixture {
    Fixture::new(name, claim, serving(lines, NEAR))
        .unhealthy("b2")
        .frame(&flow(40_000, SYN), new("web", "b1"))
        .healthy("b2")
        .wait(1000)
        .reload(serving(lines, &NEAR[1..]))
}

fn until_the_timeout() -> Fixture {
    removed(
        "draining/removed-backend-keeps-its-connections-until-the-timeout",
        "A backend that a reload removed keeps its connections for draining_timeout_sec and gets no new \
         ones.",
        DRAINING,
    )
    .frame(&flow(40_001, SYN), new("web", "b2"))
    .frame(&flow(40_000, ACK), hit("web", "b1"))
    .wait(28_000)
    .frame(&flow(40_000, ACK), hit("web", "b1"))
    .wait(3_000)
    .frame(&flow(40_000, ACK), new("web", "b2"))
}

fn at_once() -> Fixture {
    removed(
        "draining/without-draining-connections-move-at-once",
        "With a draining_timeout_sec of 0, the default, the connections of a removed backend move with the \
         reload.",
        "",
    )
    .frame(&flow(40_000, ACK), new("web", "b2"))
    .frame(&flow(40_000, ACK), hit("web", "b2"))
}

fn back_in_time() -> Fixture {
    removed(
        "draining/backend-that-comes-back-in-time-keeps-its-connections",
        "A backend that comes back while it drains keeps its connections, beyond the time that it had left.",
        DRAINING,
    )
    .wait(20_000)
    .reload(serving(DRAINING, NEAR))
    .frame(&flow(40_000, ACK), hit("web", "b1"))
    .wait(40_000)
    .frame(&flow(40_000, ACK), hit("web", "b1"))
}

fn back_too_late() -> Fixture {
    removed(
        "draining/backend-that-comes-back-late-finds-no-connections",
        "A backend that comes back after its draining finds none of its entries.",
        DRAINING,
    )
    .wait(35_000)
    .reload(serving(DRAINING, NEAR))
    .unhealthy("b2")
    .frame(&flow(40_000, ACK), new("web", "b1"))
    .frame(&flow(40_000, ACK), hit("web", "b1"))
}

fn unhealthy() -> Fixture {
    const NEVER: &str = "connection_draining = { draining_timeout_sec = 30 }\n\
        connection_tracking_policy = { connection_persistence_on_unhealthy_backends = 'NEVER_PERSIST' }";
    removed(
        "draining/draining-backend-that-turns-unhealthy-keeps-its-connections",
        "Health has no say over the entries of a removed backend: they hold until it has drained, with \
         NEVER_PERSIST too.",
        NEVER,
    )
    .frame(&flow(40_000, ACK), hit("web", "b1"))
    .unhealthy("b1")
    .frame(&flow(40_000, ACK), hit("web", "b1"))
    .healthy("b1")
    .frame(&flow(40_000, ACK), hit("web", "b1"))
}

fn last_resort() -> Fixture {
    removed(
        "draining/a-last-resort-backend-that-is-removed-keeps-its-connections",
        "A backend that is unhealthy, as all are, keeps its connections when it is removed: health has no say over \
         them, and nobody who is healthy could take them.",
        "connection_draining = { draining_timeout_sec = 30 }\n\
         connection_tracking_policy = { connection_persistence_on_unhealthy_backends = 'NEVER_PERSIST' }",
    )
    .unhealthy("b2")
    .frame(&flow(40_000, ACK), hit("web", "b1"))
    .healthy("b2")
    .frame(&flow(40_000, ACK), hit("web", "b1"))
    .frame(&flow(40_001, SYN), new("web", "b2"))
}

fn same_health() -> Fixture {
    removed(
        "draining/a-backend-that-comes-back-in-time-has-the-health-that-it-had",
        "A backend that comes back while it drains is as unhealthy as it was: it gets no new connections.",
        DRAINING,
    )
    .unhealthy("b1")
    .wait(10_000)
    .reload(serving(DRAINING, NEAR))
    .frame(&flow(40_000, ACK), hit("web", "b1"))
    .frame(&flow(40_001, SYN), new("web", "b2"))
    .unhealthy("b2")
    .healthy("b1")
    .frame(&flow(40_002, SYN), new("web", "b1"))
}

fn added() -> Fixture {
    Fixture::new(
        "draining/a-backend-that-is-added-takes-no-connections",
        "A backend that a reload adds takes over no connection; with the old one unhealthy, all new ones \
         are its own.",
        serving("", &NEAR[..1]),
    )
    .frame(&flow(40_000, SYN), new("web", "b1"))
    .frame(&flow(40_001, SYN), new("web", "b1"))
    .frame(&flow(40_002, SYN), new("web", "b1"))
    .wait(1000)
    .reload(serving("", NEAR))
    .frame(&flow(40_000, ACK), hit("web", "b1"))
    .frame(&flow(40_001, ACK), hit("web", "b1"))
    .frame(&flow(40_002, ACK), hit("web", "b1"))
    .unhealthy("b1")
    .frame(&flow(40_003, SYN), new("web", "b2"))
    .frame(&flow(40_002, ACK), hit("web", "b1"))
}
