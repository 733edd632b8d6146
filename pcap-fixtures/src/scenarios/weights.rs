//! Weighted selection: shares by weight, and what a change of weight moves.

use super::{NEAR, client, web};
use crate::configuration::Configuration;
use crate::delivery_mode::Mode;
use crate::fixture::{Fixture, hit, new};
use crate::packet::tcp::{ACK, SYN};

pub(super) fn fixtures() -> Vec<Fixture> {
    vec![shares(), even_shares(), zero(), zeros()]
}

fn weighted(weights: &[u16]) -> Configuration {
    Configuration::new()
        .external("web", "locality_lb_policy = 'WEIGHTED_MAGLEV'")
        .rule("web", "ip_address = '203.0.113.10'\nports = [80, 443]")
        .group("near", Mode::L2, NEAR)
        .weights(weights)
}

/// Adds forty connections; `backends` names the backend of each by its last character.
fn connections(mut fixture: Fixture, backends: &str) -> Fixture {
    for (index, backend) in backends.chars().enumerate() {
        let backend = if backend == '1' { "b1" } else { "b2" };
        let syn = client(index as u8 + 1).tcp(40_000 + index as u16, 443, SYN);
        fixture = fixture.frame(&syn, new("web", backend));
    }
    fixture
}

fn shares() -> Fixture {
    let fixture = Fixture::new(
        "weights/connections-follow-the-weights",
        "With WEIGHTED_MAGLEV and weights of 3 and 1, a quarter of the hash space is the second backend's.",
        weighted(&[3, 1]),
    );
    connections(fixture, "1111111111211112111121112121211111112111")
}

fn even_shares() -> Fixture {
    let fixture = Fixture::new(
        "weights/without-weighting-shares-are-even",
        "With MAGLEV every backend has the same share of the hash space.",
        web(""),
    );
    connections(fixture, "1111212111211211111121122222212111111221")
}

fn zero() -> Fixture {
    let flow = |port, flags| client(7).tcp(port, 443, flags);
    Fixture::new(
        "weights/weight-zero-takes-no-new-connections",
        "A backend whose weight falls to 0 keeps its connections and gets no new ones.",
        weighted(&[1, 0]),
    )
    .frame(&flow(40_000, SYN), new("web", "b1"))
    .frame(&flow(40_001, SYN), new("web", "b1"))
    .wait(1000)
    .weight("b2", 1000)
    .weight("b1", 0)
    .frame(&flow(40_000, ACK), hit("web", "b1"))
    .frame(&flow(40_002, SYN), new("web", "b2"))
    .frame(&flow(40_001, SYN), new("web", "b2"))
    .unhealthy("b2")
    // Of nonzero and unhealthy or zero and healthy, the weight counts first.
    .frame(&flow(40_003, SYN), new("web", "b2"))
}

fn zeros() -> Fixture {
    let flow = |port| client(7).tcp(port, 443, SYN);
    Fixture::new(
        "weights/weights-of-zero-alone-are-served-evenly",
        "Where all weights are 0 the healthy backends share evenly, and one that is unhealthy gets nothing.",
        weighted(&[0, 0]),
    )
    .frame(&flow(40_000), new("web", "b2"))
    .frame(&flow(40_001), new("web", "b1"))
    .frame(&flow(40_002), new("web", "b1"))
    .frame(&flow(40_003), new("web", "b2"))
    .unhealthy("b1")
    .frame(&flow(40_004), new("web", "b2"))
    .frame(&flow(40_005), new("web", "b2"))
}
