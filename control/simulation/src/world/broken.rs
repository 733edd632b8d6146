//! Worlds that are broken on purpose, after three seconds without a fault: the invariant that no longer holds is named.

use std::time::Duration;

use super::World;
use crate::fault::Fault;
use crate::frame::Mac;
use crate::invariant::{CONVERGENCE, Invariant};
use crate::operator::Act;
use crate::scenario::{Scenario, Service};
use crate::virtual_time;

/// Runs a world without faults that is broken in each step from the fourth second on; returns the invariant that breaks.
fn broken(break_it: impl Fn(&mut World)) -> Option<Invariant> {
    within(Duration::from_secs(12), break_it)
}

fn within(time: Duration, break_it: impl Fn(&mut World)) -> Option<Invariant> {
    fastrand::seed(5);
    virtual_time::run(async {
        let mut world = World::new(5);
        world.faults.clear();
        world.scenario.chaos = Duration::from_secs(8);
        world.begin();
        while world.violation.is_none() && world.now < time {
            world.advance().await;
            if world.now >= Duration::from_secs(4) {
                break_it(&mut world);
            }
        }
        world.end().await.violation.map(|violation| violation.invariant)
    })
}

/// Frame of the latest packet that went to a backend.
fn forwarded(world: &World, to: Mac) -> Vec<u8> {
    let packet =
        world.clients.offered.values().rfind(|offered| offered.forwarded > 0).expect("some were forwarded");
    let ether_type = if packet.packet[0] >> 4 == 4 { [8, 0] } else { [0x86, 0xdd] };
    [&to[..], &Scenario::mac(0), &ether_type, &packet.packet].concat()
}

#[test]
fn nothing_breaks_by_itself() {
    assert_eq!(broken(|_| ()), None);
}

#[test]
fn a_packet_that_comes_out_twice_is_seen() {
    let twice = |world: &mut World| {
        let frame = forwarded(world, world.backends[0].mac);
        (0..3).for_each(|_| world.judge(0, &frame));
    };
    assert_eq!(broken(twice), Some(Invariant::Delivery));
}

#[test]
fn a_packet_to_nobody_is_seen() {
    let astray = |world: &mut World| {
        let frame = forwarded(world, [2, 9, 9, 9, 9, 9]);
        world.clients.offered.values_mut().for_each(|offered| offered.received += 1);
        world.judge(0, &frame);
    };
    assert_eq!(broken(astray), Some(Invariant::NextHop));
}

#[test]
fn a_packet_to_a_stranger_is_seen_once_all_has_been_calm_for_long() {
    let astray = |world: &mut World| {
        if world.now > Duration::from_secs(30) {
            let frame = forwarded(world, super::faults::STRANGER);
            world.clients.offered.values_mut().for_each(|offered| offered.received += 1);
            world.judge(0, &frame);
        }
    };
    assert_eq!(within(Duration::from_secs(31), astray), Some(Invariant::NextHop));
}

#[test]
fn a_frame_that_no_counter_knows_is_seen() {
    let stolen = |world: &mut World| {
        let frame = forwarded(world, Scenario::mac(0));
        if let Some(running) = &mut world.sites[0].running {
            running.receive(&frame);
            running.step(&mut world.dice, world.now);
            running.lose_sent();
        }
    };
    assert_eq!(broken(stolen), Some(Invariant::Conservation));
}

#[test]
fn a_dead_backend_that_stays_healthy_is_seen() {
    let dead = |world: &mut World| {
        let mut backends = world.backends.clone();
        (backends[0].is_up, backends[0].since) = (false, Duration::ZERO);
        if let Some((invariant, text)) = world.sites[0].compare_health(&backends, world.now) {
            world.break_off(0, invariant, text);
        }
    };
    assert_eq!(broken(dead), Some(Invariant::Health));
}

#[test]
fn snapshots_that_leak_are_seen() {
    let leak = |world: &mut World| {
        if let Some(status) = &mut world.sites[0].status {
            status.unreclaimed_snapshots = 600;
        }
        if let Some((invariant, text)) = world.sites[0].compare_status() {
            world.break_off(0, invariant, text);
        }
    };
    assert_eq!(broken(leak), Some(Invariant::Snapshots));
}

#[test]
fn an_address_that_stays_announced_by_an_appliance_that_does_not_serve_is_seen() {
    let lie = |world: &mut World| {
        let now = world.now;
        world.backends.iter_mut().for_each(|backend| (backend.is_up, backend.since) = (false, now));
        world.routes.set(0, Service::Web.vip(), true, now);
    };
    assert_eq!(within(Duration::from_secs(20), lie), Some(Invariant::Announcement));
}

#[test]
fn a_drain_that_is_lost_is_seen() {
    let lose = |world: &mut World| {
        if world.sites[0].knowledge.drained.is_empty() {
            world.act(&Act::Drain(Service::Web, 0), 0);
            world.sites[0].knowledge.drained.insert((Service::Web, 1), Some(true));
        }
    };
    assert_eq!(broken(lose), Some(Invariant::OperatorState));
}

#[test]
fn a_drain_that_a_restart_loses_is_seen() {
    let lose = |world: &mut World| {
        let site = &mut world.sites[0];
        if site.knowledge.drained.get(&(Service::Web, 0)) == Some(&Some(true)) {
            let _ = std::fs::remove_file(&site.files.state);
            world.faults.push_back((world.now, Fault::Kill(0, Duration::from_millis(5))));
            world.sites[0].knowledge.drained.insert((Service::Web, 0), Some(true));
        } else if site.pending.is_empty() {
            world.act(&Act::Drain(Service::Web, 0), 0);
        }
    };
    assert_eq!(broken(lose), Some(Invariant::OperatorState));
}

#[test]
fn a_backend_that_a_reload_has_lost_is_seen() {
    let lose = |world: &mut World| {
        if let Some(setting) = &mut world.sites[0].in_force {
            setting.has[1] = false;
        }
        if world.sites[0].pending.is_empty() {
            world.act(&Act::Drain(Service::Web, 0), 0);
        }
    };
    assert_eq!(broken(lose), Some(Invariant::Reload));
}

#[test]
fn an_appliance_that_ends_by_itself_is_seen() {
    let end = |world: &mut World| world.sites[0].running.iter().for_each(crate::appliance::Appliance::fail);
    assert_eq!(broken(end), Some(Invariant::Alive));
}

#[test]
fn a_backend_that_never_comes_back_is_seen() {
    let dead = |world: &mut World| (world.backends[0].serves, world.backends[0].since) = (false, world.now);
    let time = Duration::from_secs(9) + CONVERGENCE;
    assert_eq!(within(time, dead), Some(Invariant::Convergence));
}
