//! What becomes of clients when the primaries fail, and when they are back.

use super::address::{Family, Vip};
use super::appliance::Appliance;
use super::backend::Backend;
use super::client::names;
use super::conversation::Conversation;
use super::health::{checked_by, http, new_connections_go_to};
use super::lab::Lab;
use super::patience::{PATIENCE, within};
use super::setup::Setup;

const BACKENDS: usize = 3;
const PRIMARIES: [&str; 2] = ["b0", "b1"];
const FAILOVER: [&str; 1] = ["b2"];
const CONVERSATIONS: usize = 12;
const PORTS: std::ops::Range<u16> = 20_000..20_030;

fn setup(disable_connection_drain_on_failover: bool) -> Setup {
    Setup {
        backends: vec![0, 1],
        failover: vec![2],
        disable_connection_drain_on_failover,
        ..checked_by(http())
    }
}

/// Connections of clients in both families, and who serves each.
fn conversations(lab: &Lab, expected: &[&str]) -> Vec<(Conversation, String)> {
    let of = |family: Family| Conversation::several(lab, Vip::OnLink.web(family), CONVERSATIONS);
    let all: Vec<_> = Family::BOTH.into_iter().flat_map(of).collect();
    assert!(all.iter().all(|(_, who)| expected.contains(&who.as_str())), "{expected:?} serve");
    all
}

/// Has the primaries pass or fail their checks, and waits until those expected serve new clients. Pages are
/// served whatever the checks say.
fn primaries_are(well: bool, lab: &Lab, backends: &[Backend], appliance: &Appliance<'_>, expected: &[&str]) {
    for primary in &backends[..PRIMARIES.len()] {
        primary.web.is_unavailable(!well);
    }
    let switched = || {
        let backends = appliance.backends();
        let serve = |name: &str| expected.contains(&name);
        backends.iter().all(|backend| backend.eligible == serve(&backend.name)).then_some(())
    };
    within(PATIENCE, switched).unwrap_or_else(|| panic!("{expected:?} do not take over"));
    for family in Family::BOTH {
        new_connections_go_to(lab, family, expected);
    }
}

fn go_on(conversations: &mut [(Conversation, String)], when: &str) {
    for (conversation, who) in conversations {
        let now = conversation.who();
        assert_eq!(
            &now.unwrap_or_else(|error| panic!("{when}, a connection to {who}: {error}")),
            who,
            "{when}"
        );
    }
}

fn break_off(conversations: Vec<(Conversation, String)>, when: &str) {
    for (mut conversation, who) in conversations {
        // Whoever gets its packets now knows nothing of it, and resets it.
        assert!(conversation.who().is_err(), "{when}, a connection to {who} goes on");
    }
}

#[test]
fn connections_stay_where_they_are_when_the_failover_group_takes_over_and_when_it_gives_back() {
    let lab = Lab::new(1, BACKENDS);
    let backends = Backend::all(&lab, BACKENDS);
    let appliance = Appliance::start(&lab, 0, &setup(false));
    let mut before = conversations(&lab, &PRIMARIES);
    primaries_are(false, &lab, &backends, &appliance, &FAILOVER);
    go_on(&mut before, "after the failover");
    let mut meanwhile = conversations(&lab, &FAILOVER);
    primaries_are(true, &lab, &backends, &appliance, &PRIMARIES);
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
    primaries_are(false, &lab, &backends, &appliance, &FAILOVER);
    served_by(&FAILOVER);
    primaries_are(true, &lab, &backends, &appliance, &PRIMARIES);
    // Their backend has not failed.
    served_by(&FAILOVER);
}

#[test]
fn connections_break_off_when_the_pool_switches_if_they_are_not_to_drain() {
    let lab = Lab::new(1, BACKENDS);
    let backends = Backend::all(&lab, BACKENDS);
    let appliance = Appliance::start(&lab, 0, &setup(true));
    let before = conversations(&lab, &PRIMARIES);
    primaries_are(false, &lab, &backends, &appliance, &FAILOVER);
    break_off(before, "after the failover");
    let meanwhile = conversations(&lab, &FAILOVER);
    primaries_are(true, &lab, &backends, &appliance, &PRIMARIES);
    break_off(meanwhile, "after the way back");
}
