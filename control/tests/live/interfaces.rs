//! The kernel's interface below a virtual device: its link goes down, and it is deleted and made anew, or moved to another namespace and
//! back, under a running appliance.

use std::net::UdpSocket;

use guideway::api::view::{AnnouncementReason, EventKind};
use rustix::process::Signal;

use crate::lab::Lab;
use crate::lab::address::{Family, Vip};
use crate::lab::appliance::Appliance;
use crate::lab::backend::Backend;
use crate::lab::bird::{Birds, next_hops};
use crate::lab::conversation::{Conversation, go_on};
use crate::lab::patience::{PATIENCE, within};
use crate::lab::setup::{Device, Setup};

/// Datagrams of a flood, which are more than any ring here holds.
const FLOOD: usize = 20_000;
/// Connections that are kept while an interface is away.
const CONVERSATIONS: usize = 4;

/// Waits until the router has these of the appliances as next hops.
fn wait_for_hops(lab: &Lab, expected: &[usize]) {
    let mut hops = Vec::new();
    let found = within(PATIENCE, || {
        hops = next_hops(lab, 1);
        (hops == expected).then_some(())
    });
    found.unwrap_or_else(|| panic!("the router has the next hops {hops:?} and not {expected:?}"));
}

fn count(appliance: &Appliance<'_>, kind: EventKind) -> usize {
    appliance.events().iter().filter(|event| event.kind == kind).count()
}

/// Counters of the only port: received, sent, missed, errors of both directions, and without a buffer.
fn counters(appliance: &Appliance<'_>) -> [u64; 6] {
    let port = &appliance.stats().ports[0];
    [port.received, port.sent, port.missed, port.rx_errors, port.tx_errors, port.no_mbuf]
}

/// Has the kernel drop frames below the device of an appliance, which stands still meanwhile; returns the counters then.
fn miss(lab: &Lab, appliance: &Appliance<'_>) -> [u64; 6] {
    let socket = lab.client().inside(|| UdpSocket::bind("0.0.0.0:0")).expect("a port is free");
    appliance.signal(Signal::STOP);
    for _ in 0..FLOOD {
        // The queue of the client's device may be full.
        let _ = socket.send_to(b"who?", Vip::OnLink.echo(Family::V4));
    }
    appliance.signal(Signal::CONT);
    let missed = within(PATIENCE, || Some(counters(appliance)).filter(|counters| counters[2] > 0));
    missed.unwrap_or_else(|| panic!("the rings hold {FLOOD} datagrams"))
}

/// Checks that no counter of the port has gone backwards.
fn assert_monotone(appliance: &Appliance<'_>, before: [u64; 6]) {
    let now = counters(appliance);
    assert!(before.iter().zip(&now).all(|(before, now)| before <= now), "{before:?} became {now:?}");
}

#[test]
fn a_deleted_interface_withdraws_announcements_and_is_taken_again_with_its_connections() {
    for device in [Device::AfPacket, Device::AfXdp] {
        let lab = Lab::new(1, 2);
        let _backends = Backend::all(&lab, 2);
        let _birds = Birds::start(&lab, 1);
        let further = Birds::announcement(&lab, 0);
        let setup = Setup { device, further, neighbor_replies: "ALWAYS", ..Setup::routed(2) };
        let appliance = Appliance::start(&lab, 0, &setup);
        wait_for_hops(&lab, &[0]);
        let mut kept = Conversation::several(&lab, Vip::OnLink.web(Family::V4), CONVERSATIONS);
        let before = miss(&lab, &appliance);

        lab.appliance(0).ip("link delete eth0\n");
        wait_for_hops(&lab, &[]);
        assert_monotone(&appliance, before);
        let reason = appliance.status().announcements[0].reason;
        assert!(
            matches!(reason, AnnouncementReason::LinkDown | AnnouncementReason::TooFewHealthy),
            "{reason}"
        );
        let ports = appliance.status().ports;
        assert!(!ports[0].link_up, "{ports:?}");

        lab.connect_again(0);
        wait_for_hops(&lab, &[0]);
        assert_monotone(&appliance, before);
        appliance.wait_for_health();
        go_on(&mut kept, "the interface was deleted and made anew");
        assert_eq!(lab.curl(Vip::Routed.web(Family::V4), 5).len(), 5);
        let ports = appliance.status().ports;
        assert!(ports[0].link_up && ports[0].resets == 1, "{ports:?}");
        let told = [EventKind::LinkDown, EventKind::PortReset, EventKind::LinkUp];
        assert_eq!(told.map(|kind| count(&appliance, kind)), [1, 1, 1]);
    }
}

#[test]
fn an_interface_that_is_moved_to_another_namespace_and_back_is_taken_again_with_its_connections() {
    for device in [Device::AfPacket, Device::AfXdp, Device::Pcap] {
        let lab = Lab::new(1, 2);
        let _backends = Backend::all(&lab, 2);
        let setup = Setup { device, neighbor_replies: "ALWAYS", ..Setup::of(2) };
        let appliance = Appliance::start(&lab, 0, &setup);
        let mut kept = Conversation::several(&lab, Vip::OnLink.web(Family::V4), CONVERSATIONS);
        // For longer than a look at the interface takes to come, and for less.
        for (resets, is_seen_away) in [(1, true), (2, false)] {
            lab.move_away_and_back(0, "eth0", || {
                let told = || (count(&appliance, EventKind::LinkDown) >= resets).then_some(());
                if is_seen_away {
                    within(PATIENCE, told).expect("the link is down");
                }
            });
            let told = [EventKind::LinkDown, EventKind::PortReset, EventKind::LinkUp];
            let counts = || told.map(|kind| count(&appliance, kind));
            let all = within(PATIENCE, || (counts() == [resets; 3]).then_some(()));
            all.unwrap_or_else(|| panic!("{device:?}: {resets} of each, and not {:?}", counts()));
            appliance.wait_for_health();
            go_on(&mut kept, "the interface was moved away and back");
            assert_eq!(lab.curl(Vip::Routed.web(Family::V4), 5).len(), 5);
        }
    }
}

#[test]
fn a_port_of_two_interfaces_is_up_with_both_and_taken_again_when_one_of_them_was_away() {
    let lab = Lab::new(1, 2);
    lab.connect_pair(0);
    let _backends = Backend::all(&lab, 2);
    let setup = Setup { device: Device::PcapPair, neighbor_replies: "ALWAYS", ..Setup::of(2) };
    let appliance = Appliance::start(&lab, 0, &setup);
    appliance.wait_for_health();
    let mut kept = Conversation::several(&lab, Vip::OnLink.web(Family::V4), CONVERSATIONS);
    let told =
        || [EventKind::LinkDown, EventKind::PortReset, EventKind::LinkUp].map(|kind| count(&appliance, kind));
    let wait = |expected: [usize; 3], why: &str| {
        let seen = within(PATIENCE, || (told() == expected).then_some(()));
        seen.unwrap_or_else(|| panic!("{why}: {:?} and not {expected:?}", told()));
    };
    let mut goes_on = |why: &str| {
        appliance.wait_for_health();
        go_on(&mut kept, why);
        assert_eq!(lab.curl(Vip::Routed.web(Family::V4), 5).len(), 5, "{why}");
    };

    lab.unplug("sender0");
    wait([1, 0, 0], "the interface that sends has no carrier");
    lab.plug_in("sender0");
    wait([1, 0, 1], "it has one");
    goes_on("no carrier for a while");

    lab.appliance(0).ip("link delete eth1\n");
    wait([2, 0, 1], "the interface that sends was deleted");
    assert!(!appliance.status().ports[0].link_up);
    lab.connect_pair(0);
    wait([2, 1, 2], "it was made anew");
    goes_on("the interface that sends was deleted and made anew");

    lab.appliance(0).ip("link delete eth0\n");
    wait([3, 1, 2], "the interface that receives was deleted");
    lab.connect_again(0);
    wait([3, 2, 3], "it was made anew");
    goes_on("the interface that receives was deleted and made anew");

    for (device, resets) in [("eth0", 3), ("eth1", 4)] {
        lab.move_away_and_back(0, device, || ());
        wait([resets + 1, resets, resets + 1], device);
        goes_on("an interface was moved away and back");
    }
}

#[test]
fn a_link_that_goes_down_withdraws_announcements_until_it_is_up_again() {
    let lab = Lab::new(1, 1);
    let _backends = Backend::all(&lab, 1);
    let _birds = Birds::start(&lab, 1);
    // The health of backends takes a minute to fall: what is withdrawn before is for the link.
    let slow = format!("{}\nunhealthy_threshold = 10", Setup::of(1).health_check);
    let setup = Setup { further: Birds::announcement(&lab, 0), health_check: slow, ..Setup::routed(1) };
    let appliance = Appliance::start(&lab, 0, &setup);
    wait_for_hops(&lab, &[0]);
    lab.unplug("appliance0");
    wait_for_hops(&lab, &[]);
    assert_eq!(appliance.status().announcements[0].reason, AnnouncementReason::LinkDown);
    lab.plug_in("appliance0");
    wait_for_hops(&lab, &[0]);
    let told = [EventKind::LinkDown, EventKind::LinkUp, EventKind::PortReset];
    assert_eq!(told.map(|kind| count(&appliance, kind)), [1, 1, 0]);
}
