//! Worlds that are broken on purpose, after three seconds without a fault: the invariant that no longer holds is named.

use std::time::Duration;

use pcap_fixtures::packet::Packet;

use super::World;
use crate::fault::Fault;
use crate::frame::{self, Mac};
use crate::invariant::{CONVERGENCE, Invariant};
use crate::operator::Act;
use crate::scenario::{Delivery, Scenario, Service, Weighting};
use crate::virtual_time;

/// Runs a world without faults that is broken in each step from the fourth second on; returns the invariant that breaks.
fn broken(break_it: impl Fn(&mut World)) -> Option<Invariant> {
    within(Duration::from_secs(12), break_it)
}

fn within(time: Duration, break_it: impl Fn(&mut World)) -> Option<Invariant> {
    prepared(time, |_| (), break_it)
}

/// Runs a world of a scenario that is changed before it begins.
fn prepared(
    time: Duration,
    prepare: impl Fn(&mut Scenario),
    break_it: impl Fn(&mut World),
) -> Option<Invariant> {
    fastrand::seed(5);
    virtual_time::run(async {
        let mut world = World::new(5);
        world.faults.clear();
        world.scenario.chaos = Duration::from_secs(8);
        prepare(&mut world.scenario);
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
    [&to[..], &Scenario::mac(0), &ether_type, &super::packets::after_a_hop(&packet.packet)].concat()
}

#[test]
fn nothing_breaks_by_itself() {
    assert_eq!(broken(|_| ()), None);
}

/// Runs a world with weights of this source.
fn weighted(weighting: Weighting, break_it: impl Fn(&mut World)) -> Option<Invariant> {
    let prepare = |scenario: &mut Scenario| (scenario.weighting, scenario.check) = (weighting, "HTTP");
    prepared(Duration::from_secs(12), prepare, break_it)
}

/// Runs a world with tunnels of this kind.
fn tunnelled(delivery: Delivery, crosses: bool, break_it: impl Fn(&mut World)) -> Option<Invariant> {
    let prepare = |scenario: &mut Scenario| (scenario.delivery, scenario.crosses) = (delivery, crosses);
    prepared(Duration::from_secs(12), prepare, break_it)
}

#[test]
fn a_weight_that_no_backend_has_reported_is_seen() {
    assert_eq!(weighted(Weighting::Reported, |_| ()), None);
    let deny = |world: &mut World| world.backends[0].weight = 4;
    assert_eq!(weighted(Weighting::Reported, deny), Some(Invariant::Weights));
}

#[test]
fn a_weight_that_an_operator_has_not_set_is_seen() {
    assert_eq!(weighted(Weighting::Configured, |_| ()), None);
    let deny = |world: &mut World| {
        world.sites[0].knowledge.weights.insert((Service::Web, 1), Some(4));
    };
    assert_eq!(weighted(Weighting::Configured, deny), Some(Invariant::Weights));
}

#[test]
fn a_report_that_stays_garbled_is_seen() {
    let garble = |world: &mut World| world.backends[0].garble = Some("many");
    let prepare = |scenario: &mut Scenario| {
        (scenario.weighting, scenario.check) = (Weighting::Reported, "HTTP");
    };
    let time = Duration::from_secs(9) + CONVERGENCE;
    assert_eq!(prepared(time, prepare, garble), Some(Invariant::Convergence));
}

#[test]
fn a_packet_that_leaves_its_tunnel_out_is_seen() {
    for crosses in [false, true] {
        assert_eq!(tunnelled(Delivery::Gue, crosses, |_| ()), None);
    }
    let bare = |world: &mut World| {
        let frame = forwarded(world, world.backends[0].mac);
        world.clients.offered.values_mut().for_each(|offered| offered.received += 1);
        world.judge_sent(0, &frame);
    };
    assert_eq!(tunnelled(Delivery::Gue, false, bare), Some(Invariant::Tunnel));
}

/// Sends the latest packet by IPIP to the first backend, with `destination` in the outer header and one byte changed.
fn send_by_ipip(world: &mut World, destination: &str, changed: Option<usize>) {
    let mut inner = forwarded(world, world.backends[0].mac).split_off(14);
    if let Some(at) = changed {
        inner[at] ^= 1;
    }
    world.clients.offered.values_mut().for_each(|offered| offered.received += 1);
    let outer = Packet::between("192.0.2.1", destination).macs(Scenario::mac(0), world.backends[0].mac);
    let protocol = if inner[0] >> 4 == 4 { 4 } else { 41 };
    world.judge_sent(0, &outer.protocol(protocol).payload(&inner).build());
}

#[test]
fn a_tunnel_to_another_machine_is_seen_and_a_packet_that_is_changed_in_it() {
    let astray = |world: &mut World| send_by_ipip(world, "192.0.2.12", None);
    assert_eq!(tunnelled(Delivery::Ipip, false, astray), Some(Invariant::Tunnel));
    let other_kind = |world: &mut World| send_by_ipip(world, "192.0.2.11", None);
    assert_eq!(tunnelled(Delivery::Gre, false, other_kind), Some(Invariant::Tunnel));
    let changed = |world: &mut World| send_by_ipip(world, "192.0.2.11", Some(6));
    assert_eq!(tunnelled(Delivery::Ipip, false, changed), Some(Invariant::Delivery));
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

/// Sends a packet to the stranger who claims the first backend's address.
fn lead_astray(world: &mut World) {
    let frame = forwarded(world, super::faults::stranger(0));
    world.clients.offered.values_mut().for_each(|offered| offered.received += 1);
    world.judge(0, &frame);
}

#[test]
fn a_packet_to_a_stranger_is_seen_while_the_backend_answers() {
    assert_eq!(broken(lead_astray), Some(Invariant::NextHop));
}

#[test]
fn a_packet_to_a_stranger_is_excused_while_answers_are_lost_and_shortly_after() {
    let amid_losses = |world: &mut World| {
        if world.now < Duration::from_secs(6) {
            world.sites[0].sights[0].forget(world.now);
            lead_astray(world);
        }
    };
    assert_eq!(broken(amid_losses), None);
    // Another backend's losses excuse nothing.
    let elsewhere = |world: &mut World| {
        world.sites[0].sights[1].forget(world.now);
        lead_astray(world);
    };
    assert_eq!(broken(elsewhere), Some(Invariant::NextHop));
}

#[test]
fn a_claim_that_an_appliance_believes_is_seen_by_the_packets_that_follow_it() {
    // The appliance is deaf for the backend's answers, and the network has lost none of them.
    let deafen = |world: &mut World| {
        let mac = world.backends[0].mac;
        world.network.steal(|frame| frame::source(frame) == Some(mac) && frame::resolution(frame).is_some());
        if world.report.counts.faults == 0 {
            world.faults.push_back((world.now, Fault::Claim(0)));
        }
    };
    assert_eq!(broken(deafen), Some(Invariant::NextHop));
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
fn a_packet_whose_ttl_or_checksum_is_wrong_is_seen() {
    for (at, by) in [(14 + 8, 1_u8), (14 + 10, 0xff)] {
        let change = |world: &mut World| {
            world.clients.offered.values_mut().for_each(|offered| offered.received += 1);
            let mut frame = forwarded(world, world.backends[0].mac);
            frame[at] = frame[at].wrapping_add(by);
            world.judge(0, &frame);
        };
        assert_eq!(broken(change), Some(Invariant::Delivery), "{at}");
    }
}

#[test]
fn a_frame_that_stays_in_the_queue_of_a_worker_that_polls_is_seen() {
    let keep = |world: &mut World| {
        if let Some(running) = &mut world.sites[0].running {
            running.hide_given();
        }
    };
    assert_eq!(broken(keep), Some(Invariant::Conservation));
}

#[test]
fn a_backend_that_one_of_the_appliances_never_chooses_is_seen() {
    // Connections of before, and by another appliance, do not count.
    let forget = |world: &mut World| world.reached.retain(|(site, _, backend)| (*site, *backend) != (0, 1));
    assert_eq!(within(Duration::from_secs(20), forget), Some(Invariant::Convergence));
}

#[test]
fn a_backend_that_never_comes_back_is_seen() {
    let dead = |world: &mut World| (world.backends[0].serves, world.backends[0].since) = (false, world.now);
    let time = Duration::from_secs(9) + CONVERGENCE;
    assert_eq!(within(time, dead), Some(Invariant::Convergence));
}
