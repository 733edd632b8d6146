//! Routers learn the way to a VIP from BIRD, by BGP, while an appliance can serve it, and no longer.

use guideway::api::admin::view::{AnnouncementReason, DrainEnd, EventKind};
use rustix::process::Signal;

use crate::lab::Lab;
use crate::lab::address::{Family, Vip};
use crate::lab::appliance::Appliance;
use crate::lab::backend::Backend;
use crate::lab::bird::{Birds, next_hops};
use crate::lab::patience::{PATIENCE, within};
use crate::lab::setup::Setup;

/// An appliance that announces the routed VIP of IPv4.
fn start(lab: &Lab, number: usize, backends: usize) -> Appliance<'_> {
    let further = Birds::announcement(lab, number);
    Appliance::start(lab, number, &Setup { further, ..Setup::routed(backends) })
}

/// Waits until the router goes by these of so many appliances.
fn wait_for_hops(lab: &Lab, appliances: usize, expected: &[usize]) {
    let mut hops = Vec::new();
    let found = within(PATIENCE, || {
        hops = next_hops(lab, appliances);
        (hops == expected).then_some(())
    });
    found.unwrap_or_else(|| panic!("the router goes by {hops:?} and not by {expected:?}"));
}

#[test]
fn routers_learn_the_way_while_a_backend_is_healthy() {
    let lab = Lab::new(1, 1);
    let backends = Backend::all(&lab, 1);
    let _birds = Birds::start(&lab, 1);
    assert!(next_hops(&lab, 1).is_empty());
    let appliance = start(&lab, 0, 1);
    wait_for_hops(&lab, 1, &[0]);
    assert_eq!(lab.curl(Vip::Routed.web(Family::V4), 5), vec!["b0"; 5]);

    drop(backends);
    wait_for_hops(&lab, 1, &[]);
    let status = appliance.status();
    let one = &status.announcements[0];
    assert_eq!((one.wanted, one.announced), (false, Some(false)));
    assert_eq!(one.reason, AnnouncementReason::TooFewHealthy);
    let events = appliance.must(&["events"]);
    for kind in [EventKind::RouteAnnounced, EventKind::RouteWithdrawn] {
        assert!(events.contains(kind.as_str()), "{events}");
    }
}

#[test]
fn an_appliance_that_is_drained_or_stops_is_left_out() {
    let lab = Lab::new(1, 1);
    let _backends = Backend::all(&lab, 1);
    let _birds = Birds::start(&lab, 1);
    let mut appliance = start(&lab, 0, 1);
    wait_for_hops(&lab, 1, &[0]);

    appliance.must(&["drain", "--appliance", "--deadline", "25"]);
    wait_for_hops(&lab, 1, &[]);
    let drain = appliance.status().drain.expect("it is drained");
    assert_eq!((drain.withdrawn, drain.end), (true, Some(DrainEnd::Quiet)));
    appliance.must(&["undrain", "--appliance"]);
    wait_for_hops(&lab, 1, &[0]);

    appliance.must(&["stop"]);
    wait_for_hops(&lab, 1, &[]);
    let log = appliance.finish().stderr;
    assert!(!log.contains("guard:"), "there was nothing left for the guard to do: {log}");
}

#[test]
fn an_appliance_that_is_killed_or_stands_still_is_left_out() {
    let lab = Lab::new(1, 1);
    let _backends = Backend::all(&lab, 1);
    let _birds = Birds::start(&lab, 1);
    let mut appliance = start(&lab, 0, 1);
    wait_for_hops(&lab, 1, &[0]);

    appliance.signal(Signal::STOP);
    wait_for_hops(&lab, 1, &[]);
    appliance.signal(Signal::CONT);
    wait_for_hops(&lab, 1, &[0]);

    // BIRD and its session live on: without the guard, the route would too.
    appliance.kill();
    wait_for_hops(&lab, 1, &[]);
    assert!(appliance.log().contains("guard: 203.0.113.10 is withdrawn"), "{}", appliance.log());

    appliance.restart();
    wait_for_hops(&lab, 1, &[0]);
    appliance.must(&["drain", "--appliance", "--deadline", "25", "--stop"]);
    wait_for_hops(&lab, 1, &[]);
    assert!(appliance.finish().status.success());
}

#[test]
fn a_router_spreads_connections_over_two_appliances_and_goes_on_with_the_one_that_is_left() {
    let lab = Lab::new(2, 2);
    let _backends = Backend::all(&lab, 2);
    let _birds = Birds::start(&lab, 2);
    let mut appliances = [0, 1].map(|number| start(&lab, number, 2));
    wait_for_hops(&lab, 2, &[0, 1]);
    let vip = Vip::Routed.web(Family::V4);
    assert_eq!(lab.curl(vip, 40).len(), 40);
    for appliance in &appliances {
        assert!(appliance.stats().total.forwarded > 0, "each has had some");
    }
    appliances[1].must(&["stop"]);
    wait_for_hops(&lab, 2, &[0]);
    assert_eq!(lab.curl(vip, 20).len(), 20);
    appliances[0].kill();
    wait_for_hops(&lab, 2, &[]);
}
