//! Announcements by BGP: routers have a route to a VIP while an appliance can serve it, and no longer.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use guideway::api::view::{AnnouncementReason, DrainEnd, EventKind};
use rustix::process::{Pid, Signal, kill_process};

use crate::lab::Lab;
use crate::lab::address::{Family, Vip};
use crate::lab::appliance::Appliance;
use crate::lab::backend::Backend;
use crate::lab::bird::{Birds, next_hops, socket, wait_for_hops};
use crate::lab::patience::{PATIENCE, within};
use crate::lab::setup::Setup;
use crate::lab::web_server::TlsPort;

/// Starts an appliance that announces the routed VIP of IPv4.
fn start(lab: &Lab, number: usize, backends: usize) -> Appliance<'_> {
    let further = Birds::announcement(lab, number);
    Appliance::start(lab, number, &Setup { further, ..Setup::routed(backends) })
}

#[test]
fn routers_have_a_route_while_a_backend_is_healthy() {
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
fn routers_do_not_follow_a_backend_that_flaps_while_its_address_is_held_down() {
    let lab = Lab::new(1, 1);
    let mut backends = Backend::all(&lab, 1);
    let web = &mut backends[0].web;
    let _birds = Birds::start(&lab, 1);
    // Longer than any test: only a reload ends it.
    let held_down_for = |seconds: u32| Setup {
        further: format!("{}hold_down_sec = {seconds}\n", Birds::announcement(&lab, 0)),
        ..Setup::routed(1)
    };
    let appliance = Appliance::start(&lab, 0, &held_down_for(3_600));
    wait_for_hops(&lab, 1, &[0]);
    let wait_for_reason = |expected: AnnouncementReason| {
        let reason = || appliance.status().announcements[0].reason;
        let found = within(PATIENCE, || (reason() == expected).then_some(()));
        found.unwrap_or_else(|| panic!("{:?} and not {expected:?}", reason()));
        assert_eq!(next_hops(&lab, 1), [0_usize; 0]);
        let left = appliance.status().announcements[0].hold_down_left_sec.expect("the hold-down goes on");
        assert!((1..=3_600).contains(&left), "{left}");
    };
    web.stop();
    wait_for_hops(&lab, 1, &[]);
    for _ in 0..2 {
        wait_for_reason(AnnouncementReason::TooFewHealthy);
        web.start_again(&lab, 0, TlsPort::Tls);
        wait_for_reason(AnnouncementReason::HeldDown);
        web.stop();
    }
    web.start_again(&lab, 0, TlsPort::Tls);
    wait_for_reason(AnnouncementReason::HeldDown);
    let announced = || {
        let events = appliance.events();
        events.iter().filter(|event| event.kind == EventKind::RouteAnnounced).count()
    };
    assert_eq!(announced(), 1);

    appliance.reload(&held_down_for(0));
    wait_for_hops(&lab, 1, &[0]);
    // BIRD tells the router before it has answered the appliance.
    assert_eq!(within(PATIENCE, || (announced() == 2).then_some(())), Some(()));
}

#[test]
fn routers_leave_out_an_appliance_that_is_drained_or_stops() {
    let lab = Lab::new(1, 1);
    let _backends = Backend::all(&lab, 1);
    let _birds = Birds::start(&lab, 1);
    let mut appliance = start(&lab, 0, 1);
    wait_for_hops(&lab, 1, &[0]);

    appliance.must(&["drain", "--appliance", "--deadline", "25"]);
    wait_for_hops(&lab, 1, &[]);
    let drain = appliance.status().drain.expect("the appliance is drained");
    assert_eq!((drain.withdrawn, drain.end), (true, Some(DrainEnd::Quiet)));
    appliance.must(&["undrain", "--appliance"]);
    wait_for_hops(&lab, 1, &[0]);

    appliance.must(&["stop"]);
    wait_for_hops(&lab, 1, &[]);
    let log = appliance.finish().stderr;
    assert!(!log.contains("guard:"), "the guard had nothing left to do: {log}");
}

#[test]
fn routers_leave_out_an_appliance_that_is_killed_or_stands_still() {
    let lab = Lab::new(1, 1);
    let _backends = Backend::all(&lab, 1);
    let _birds = Birds::start(&lab, 1);
    let mut appliance = start(&lab, 0, 1);
    wait_for_hops(&lab, 1, &[0]);

    appliance.signal(Signal::STOP);
    wait_for_hops(&lab, 1, &[]);
    appliance.signal(Signal::CONT);
    wait_for_hops(&lab, 1, &[0]);

    // BIRD and its session outlive the appliance: without the guard, the route would too.
    appliance.kill();
    wait_for_hops(&lab, 1, &[]);
    assert!(appliance.log().contains("guard: 203.0.113.10 is withdrawn"), "{}", appliance.log());

    appliance.restart();
    wait_for_hops(&lab, 1, &[0]);
    appliance.must(&["drain", "--appliance", "--deadline", "25", "--stop"]);
    wait_for_hops(&lab, 1, &[]);
    assert!(appliance.finish().status.success());
}

/// Targets of a process's open files.
fn open_files(pid: u32) -> BTreeSet<PathBuf> {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
    files.filter_map(|file| fs::read_link(file.ok()?.path()).ok()).collect()
}

#[test]
fn a_guard_that_is_killed_is_followed_by_one_that_withdraws_as_it_would_have() {
    let lab = Lab::new(1, 1);
    let _backends = Backend::all(&lab, 1);
    let _birds = Birds::start(&lab, 1);
    let mut appliance = start(&lab, 0, 1);
    wait_for_hops(&lab, 1, &[0]);
    let guard = || appliance.status().guard.expect("there is to be one");
    let first = guard().pid.expect("it stands");
    // The second follows less quickly, as the first has not lasted.
    let [second, third] = [first, 0].map(|last| {
        let last = if last == 0 { guard().pid.expect("it stands") } else { last };
        let pid = Pid::from_raw(last.cast_signed()).expect("a process has a number");
        kill_process(pid, Signal::KILL).expect("it runs");
        let follows = || guard().pid.filter(|pid| *pid != last);
        within(PATIENCE, follows).expect("another one follows")
    });
    assert!(first != second && second != third);
    assert_eq!(guard().restarts, 2);
    let cause = format!("the guard, process {second}, has ended with signal: 9 (SIGKILL)");
    assert_eq!(guard().last_error, Some(cause));
    let kinds: Vec<_> = appliance.events().into_iter().map(|event| event.kind).collect();
    for kind in [EventKind::GuardLost, EventKind::GuardRestored] {
        assert_eq!(kinds.iter().filter(|of| **of == kind).count(), 2, "{kinds:?}");
    }
    assert_eq!(next_hops(&lab, 1), [0], "what is announced stays so");
    let held = open_files(appliance.id());
    let is_shared = |file: &PathBuf| {
        let name = file.display().to_string();
        (name.starts_with("socket:") || name.starts_with("/memfd:")) && held.contains(file)
    };
    let shared: Vec<_> = open_files(third).into_iter().filter(is_shared).collect();
    assert!(shared.is_empty(), "it holds sockets and memory of the appliance: {shared:?}");

    appliance.kill();
    wait_for_hops(&lab, 1, &[]);
    assert!(appliance.log().contains("guard: 203.0.113.10 is withdrawn"), "{}", appliance.log());
}

#[test]
fn a_router_spreads_connections_over_two_appliances_and_goes_on_with_the_last_one() {
    let lab = Lab::new(2, 2);
    let _backends = Backend::all(&lab, 2);
    let _birds = Birds::start(&lab, 2);
    let mut appliances = [0, 1].map(|number| start(&lab, number, 2));
    wait_for_hops(&lab, 2, &[0, 1]);
    let vip = Vip::Routed.web(Family::V4);
    assert_eq!(lab.curl(vip, 40).len(), 40);
    for appliance in &appliances {
        assert!(appliance.stats().total.forwarded > 0, "each appliance has forwarded some");
    }
    appliances[1].must(&["stop"]);
    wait_for_hops(&lab, 2, &[0]);
    assert_eq!(lab.curl(vip, 20).len(), 20);
    appliances[0].kill();
    wait_for_hops(&lab, 2, &[]);
}

/// Waits until the first announcement's hook has failed, and its error has these words.
fn wait_for_failure(appliance: &Appliance<'_>, words: &str) {
    let failed = within(PATIENCE, || {
        let one = appliance.status().announcements.remove(0);
        one.last_error.filter(|error| error.contains(words))
    });
    failed.unwrap_or_else(|| panic!("{:?}", appliance.status().announcements));
}

#[test]
fn a_bird_that_is_killed_or_hangs_or_has_lost_its_socket_hears_again_once_it_is_back() {
    let lab = Lab::new(1, 1);
    let _backends = Backend::all(&lab, 1);
    let mut birds = Birds::start(&lab, 1);
    let appliance = start(&lab, 0, 1);
    wait_for_hops(&lab, 1, &[0]);
    let vip = Vip::Routed.web(Family::V4);

    let drain = || drop(appliance.verb(&["drain", "--appliance", "--deadline", "0"]));
    let undrain = || drop(appliance.must(&["undrain", "--appliance"]));

    birds.kill(0);
    wait_for_hops(&lab, 1, &[]);
    drain();
    wait_for_failure(&appliance, "is it running?");
    // The new one has the protocol disabled, as its file says, until it is told.
    birds.start_again(&lab, 0);
    undrain();
    wait_for_hops(&lab, 1, &[0]);
    assert_eq!(lab.curl(vip, 5), vec!["b0"; 5]);

    // Its session outlives a hang that is shorter than BGP's hold time, and so does the route.
    birds.signal(0, Signal::STOP);
    drain();
    wait_for_failure(&appliance, "no answer within 3 s");
    assert_eq!(appliance.status().announcements[0].announced, None, "nobody knows what it does");
    assert_eq!(next_hops(&lab, 1), [0]);
    birds.signal(0, Signal::CONT);
    wait_for_hops(&lab, 1, &[]);
    undrain();
    wait_for_hops(&lab, 1, &[0]);

    fs::remove_file(socket(&lab, 0)).expect("BIRD has made it");
    drain();
    wait_for_failure(&appliance, "there is no such socket: is it running?");
    assert_eq!(next_hops(&lab, 1), [0], "routers hear BIRD, which nobody can tell anything");
    assert_eq!(lab.curl(vip, 5), vec!["b0"; 5]);
    birds.start_again(&lab, 0);
    undrain();
    wait_for_hops(&lab, 1, &[0]);
    assert!(appliance.is_healthy());
}
