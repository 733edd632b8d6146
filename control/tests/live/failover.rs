//! Failover: connections and datagram flows when the primary backends fail, and when they recover.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::Duration;

use guideway::api::view::Health;

use crate::lab::Lab;
use crate::lab::address::{Family, Vip};
use crate::lab::appliance::Appliance;
use crate::lab::backend::Backend;
use crate::lab::client::names;
use crate::lab::conversation::{Conversation, go_on};
use crate::lab::patience::{PATIENCE, within};
use crate::lab::setup::{Setup, http_check};

/// Number of backends in tests without a failover ratio: b0 and b1 are primary, b2 is the failover group.
const BACKENDS: usize = 3;
const PRIMARIES: [&str; 2] = ["b0", "b1"];
const FAILOVER: [&str; 1] = ["b2"];
/// Number of connections in each family.
const CONVERSATIONS: usize = 12;
/// Source ports of the datagram flows.
const PORTS: std::ops::Range<u16> = 20_000..20_030;

fn setup(disable_connection_drain_on_failover: bool) -> Setup {
    with_policy(
        2,
        1,
        format!("disable_connection_drain_on_failover = {disable_connection_drain_on_failover}"),
    )
}

/// Setup in which the first backends are primary and the next ones are the failover group.
fn with_policy(primary: usize, failover: usize, failover_policy: String) -> Setup {
    let failover = (primary..primary + failover).collect();
    Setup {
        backends: (0..primary).collect(),
        failover,
        failover_policy,
        ..Setup::checked_by(BACKENDS, http_check())
    }
}

/// Opens connections in both families, which these backends must serve; returns each with its backend's name.
fn conversations(lab: &Lab, expected: &[&str]) -> Vec<(Conversation, String)> {
    let of = |family: Family| Conversation::several(lab, Vip::OnLink.web(family), CONVERSATIONS);
    let all: Vec<_> = Family::BOTH.into_iter().flat_map(of).collect();
    assert!(all.iter().all(|(_, who)| expected.contains(&who.as_str())), "{expected:?} serve");
    all
}

/// Makes these backends fail their checks and all others pass them, and waits until the expected backends serve new
/// clients. Backends that fail their checks go on serving pages.
fn while_failing(
    failing: &[&str],
    lab: &Lab,
    backends: &[Backend],
    appliance: &Appliance<'_>,
    expected: &[&str],
) {
    for (number, backend) in backends.iter().enumerate() {
        backend.web.set_unavailable(failing.contains(&Backend::name(number).as_str()));
    }
    let mut seen = Vec::new();
    let settled = within(PATIENCE, || {
        seen = appliance.backends();
        let as_expected = seen.iter().all(|backend| {
            let name = backend.name.as_str();
            (backend.health == Health::Unhealthy) == failing.contains(&name)
                && backend.eligible == expected.contains(&name)
        });
        as_expected.then_some(())
    });
    settled.unwrap_or_else(|| panic!("while {failing:?} fail, {expected:?} do not serve alone: {seen:#?}"));
    for family in Family::BOTH {
        match expected {
            [] => new_connections_are_dropped(lab, family, appliance),
            expected => lab.new_connections_go_to(family, expected),
        }
    }
}

/// Checks that a new client gets no answer, and that its packets are counted as dropped.
fn new_connections_are_dropped(lab: &Lab, family: Family, appliance: &Appliance<'_>) {
    let dropped = || appliance.stats().total.dropped["no_eligible_backend"];
    let before = dropped();
    let vip = Vip::OnLink.web(family);
    let connected =
        lab.client().inside(|| TcpStream::connect_timeout(&vip, Duration::from_millis(300)).map(drop));
    let error = connected.expect_err("nobody serves");
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{vip}: {error}");
    within(PATIENCE, || (dropped() > before).then_some(())).expect("what is dropped is counted");
}

/// Checks that each connection is reset.
fn break_off(conversations: Vec<(Conversation, String)>, when: &str) {
    for (mut conversation, who) in conversations {
        // Another backend gets the packets now; it does not know the connection, and resets it.
        assert!(conversation.who().is_err(), "{when}, a connection to {who} goes on");
    }
}

#[test]
fn connections_stay_where_they_are_when_the_failover_group_takes_over_and_when_it_gives_back() {
    let lab = Lab::new(1, BACKENDS);
    let backends = Backend::all(&lab, BACKENDS);
    let appliance = Appliance::start(&lab, 0, &setup(false));
    let mut before = conversations(&lab, &PRIMARIES);
    while_failing(&PRIMARIES, &lab, &backends, &appliance, &FAILOVER);
    go_on(&mut before, "after the failover");
    let mut meanwhile = conversations(&lab, &FAILOVER);
    while_failing(&[], &lab, &backends, &appliance, &PRIMARIES);
    go_on(&mut before, "after the way back");
    go_on(&mut meanwhile, "after the way back");
}

#[test]
fn datagram_flows_move_to_the_failover_group_and_stay_there() {
    let lab = Lab::new(1, BACKENDS);
    let backends = Backend::all(&lab, BACKENDS);
    let appliance = Appliance::start(&lab, 0, &setup(false));
    let served_by = |expected: &[&str]| {
        for family in Family::BOTH {
            let answers: Vec<_> = PORTS.map(|port| lab.ask(Vip::OnLink.echo(family), port)).collect();
            assert_eq!(names(&answers), expected.iter().copied().collect(), "{family:?}");
        }
    };
    served_by(&PRIMARIES);
    while_failing(&PRIMARIES, &lab, &backends, &appliance, &FAILOVER);
    served_by(&FAILOVER);
    while_failing(&[], &lab, &backends, &appliance, &PRIMARIES);
    // The failover backend has not failed, so it keeps its flows.
    served_by(&FAILOVER);
}

#[test]
fn connections_break_off_when_the_pool_switches_if_draining_on_failover_is_disabled() {
    let lab = Lab::new(1, BACKENDS);
    let backends = Backend::all(&lab, BACKENDS);
    let appliance = Appliance::start(&lab, 0, &setup(true));
    let before = conversations(&lab, &PRIMARIES);
    while_failing(&PRIMARIES, &lab, &backends, &appliance, &FAILOVER);
    break_off(before, "after the failover");
    let meanwhile = conversations(&lab, &FAILOVER);
    while_failing(&[], &lab, &backends, &appliance, &PRIMARIES);
    break_off(meanwhile, "after the way back");
}

#[test]
fn the_failover_group_serves_while_too_few_primaries_are_healthy() {
    let lab = Lab::new(1, 5);
    let backends = Backend::all(&lab, 5);
    let appliance = Appliance::start(&lab, 0, &with_policy(3, 2, "failover_ratio = 0.5".to_owned()));
    let steps: [(&[&str], &[&str]); 7] = [
        (&[], &["b0", "b1", "b2"]),
        // Two healthy primaries of three are enough for a ratio of 0.5.
        (&["b0"], &["b1", "b2"]),
        // One is too few.
        (&["b0", "b1"], &["b3", "b4"]),
        // One primary serves if the failover group has no healthy backend.
        (&["b0", "b1", "b3", "b4"], &["b2"]),
        (&["b0", "b1", "b3"], &["b4"]),
        (&["b0"], &["b1", "b2"]),
        (&[], &["b0", "b1", "b2"]),
    ];
    for (failing, expected) in steps {
        while_failing(failing, &lab, &backends, &appliance, expected);
    }
}

#[test]
fn the_primaries_serve_as_a_last_resort_when_nobody_is_healthy() {
    let lab = Lab::new(1, BACKENDS);
    let backends = Backend::all(&lab, BACKENDS);
    let setup = with_policy(2, 1, "drop_traffic_if_unhealthy = false".to_owned());
    let appliance = Appliance::start(&lab, 0, &setup);
    let mut before = conversations(&lab, &PRIMARIES);
    while_failing(&["b0", "b1", "b2"], &lab, &backends, &appliance, &PRIMARIES);
    go_on(&mut before, "while nobody is healthy");
    assert_eq!(appliance.stats().total.dropped["no_eligible_backend"], 0);
    while_failing(&[], &lab, &backends, &appliance, &PRIMARIES);
}

#[test]
fn new_connections_are_dropped_when_nobody_is_healthy_if_the_policy_drops_them() {
    let lab = Lab::new(1, BACKENDS);
    let backends = Backend::all(&lab, BACKENDS);
    let setup = with_policy(2, 1, "drop_traffic_if_unhealthy = true".to_owned());
    let appliance = Appliance::start(&lab, 0, &setup);
    let mut before = conversations(&lab, &PRIMARIES);
    while_failing(&["b0", "b1", "b2"], &lab, &backends, &appliance, &[]);
    go_on(&mut before, "while nobody is healthy");
    while_failing(&PRIMARIES, &lab, &backends, &appliance, &FAILOVER);
    while_failing(&[], &lab, &backends, &appliance, &PRIMARIES);
    go_on(&mut before, "after the way back");
}
