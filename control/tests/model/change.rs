//! Changes while packets come: of health, of weights, and of the whole configuration.

use std::time::Duration;

use crate::dice::Dice;
use crate::setup::{DRAINING, Setup, VLANS, WEIGHTS};

/// A change, with the time at which it happens.
#[derive(Clone, Debug)]
pub(crate) struct Timed {
    pub(crate) at: Duration,
    pub(crate) change: Change,
}

/// Change of a backend's health or weight, or of the whole configuration.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Health { service: String, backend: String, healthy: bool },
    Weight { service: String, backend: String, weight: u16 },
    Reload(Box<Setup>),
}

/// Random changes of `setup` within `horizon`, in order.
pub(crate) fn changes(dice: &mut Dice, setup: &Setup, horizon: Duration) -> Vec<Timed> {
    let mut times: Vec<Duration> = (0..2 + dice.below(30)).map(|_| moment(dice, horizon)).collect();
    times.sort_unstable();
    // Events of the very same instant are one change.
    for index in 1..times.len() {
        if dice.chance(20) {
            times[index] = times[index - 1];
        }
    }
    let mut current = setup.clone();
    let mut found = Vec::new();
    for at in times {
        if dice.chance(25) {
            for _ in 0..1 + dice.below(3) {
                edit(dice, &mut current, setup);
            }
            found.push(Timed { at, change: Change::Reload(Box::new(current.clone())) });
            continue;
        }
        // Now and then a name from the first setup, whose bearer may be draining or gone by now.
        let source = if dice.chance(80) { &current } else { setup };
        let Some(service) = source.services.get(dice.below(source.services.len().max(1))) else { continue };
        let backends: Vec<_> = source.endpoints(service).map(|(endpoint, _)| endpoint.name.clone()).collect();
        if backends.is_empty() {
            continue;
        }
        let (service, backend) = (service.name.clone(), dice.pick(&backends));
        let change = if dice.chance(75) {
            Change::Health { service, backend, healthy: dice.chance(35) }
        } else {
            Change::Weight { service, backend, weight: dice.pick(&WEIGHTS) }
        };
        found.push(Timed { at, change });
    }
    found
}

/// Any moment within `horizon`, to the microsecond.
pub(crate) fn moment(dice: &mut Dice, horizon: Duration) -> Duration {
    Duration::from_micros(dice.below(horizon.as_micros() as usize) as u64)
}

/// Changes one thing in `current`, or restores it as it was `at_first`.
fn edit(dice: &mut Dice, current: &mut Setup, at_first: &Setup) {
    // Networks come, go and change where there were several at first; a sole one may be renamed.
    let kinds = if at_first.has_several_networks() { 13 } else { 9 };
    match dice.below(kinds) {
        0 | 1 => remove_or_restore_endpoint(dice, current, at_first),
        2 => move_endpoint(dice, current),
        3 => {
            for endpoint in current.groups.iter_mut().flat_map(|group| &mut group.endpoints) {
                if dice.chance(20) {
                    endpoint.weight = dice.pick(&WEIGHTS);
                }
            }
        }
        4 => {
            for service in &mut current.services {
                if dice.chance(50) {
                    service.draining_timeout = dice.pick(&DRAINING);
                }
            }
        }
        5 => {
            for service in &mut current.services {
                service.failover.ratio = dice.pick(&[0.0, 0.5, 1.0]);
                // The first group stays primary: a service needs a primary group.
                for (_, failover) in &mut service.members[1..] {
                    *failover ^= dice.chance(30);
                }
            }
        }
        6 => {
            let before = dice.pick(&at_first.services);
            if current.services.iter().any(|service| service.name == before.name) {
                current.remove_service(&before.name);
            } else if current.has_network(before.network) {
                let rules = at_first.rules.iter().filter(|rule| rule.service == before.name);
                current.rules.extend(rules.cloned());
                current.services.push(before);
                remove_baseless_rules(current);
            }
        }
        8 => rename_network(dice, current, at_first),
        9 => {
            let by = dice.below(current.networks.len());
            current.networks.rotate_left(by);
        }
        10 => {
            let vlan = dice.pick(&VLANS);
            let index = dice.below(current.networks.len());
            if current.networks.iter().all(|network| network.vlan != vlan) {
                current.networks[index].vlan = vlan;
            }
        }
        11 | 12 => {
            let key = dice.pick(&at_first.networks).key;
            if !current.has_network(key) {
                current.restore_network(key, at_first);
            } else if current.has_several_networks() {
                current.remove_network(key);
            }
        }
        _ => {
            if current.rules.is_empty() {
                return;
            }
            let rule = current.rules.swap_remove(dice.below(current.rules.len()));
            current.rules.retain(|other| other.source_ranges.is_empty() || !is_base(&rule, other));
        }
    }
    remove_baseless_rules(current);
    current.remove_stranded_routes();
}

/// True if `base` is the rule without source ranges that `steering` needs.
fn is_base(base: &crate::setup::Rule, steering: &crate::setup::Rule) -> bool {
    let ports = |rule: &crate::setup::Rule| format!("{:?}", rule.ports);
    base.source_ranges.is_empty()
        && base.network == steering.network
        && (base.vip, base.protocol) == (steering.vip, steering.protocol)
        && ports(base) == ports(steering)
}

/// Gives a network the name of another one, which gets its own, or a name that it had at first or never.
fn rename_network(dice: &mut Dice, current: &mut Setup, at_first: &Setup) {
    let (index, other) = (dice.below(current.networks.len()), dice.below(current.networks.len()));
    if index != other {
        let name = current.networks[index].name.clone();
        current.networks[index].name = std::mem::replace(&mut current.networks[other].name, name);
        return;
    }
    let first = at_first.networks.iter().find(|network| network.key == current.networks[index].key);
    let first = first.map(|network| network.name.clone()).unwrap_or_default();
    let name = if current.networks[index].name == first { format!("{first}-renamed") } else { first };
    if current.networks.iter().all(|network| network.name != name) {
        current.networks[index].name = name;
    }
}

fn remove_baseless_rules(setup: &mut Setup) {
    let rules = setup.rules.clone();
    setup.rules.retain(|rule| rule.source_ranges.is_empty() || rules.iter().any(|base| is_base(base, rule)));
}

fn remove_or_restore_endpoint(dice: &mut Dice, current: &mut Setup, at_first: &Setup) {
    let all: Vec<_> = at_first
        .groups
        .iter()
        .flat_map(|group| group.endpoints.iter().map(move |endpoint| (group.clone(), endpoint.clone())))
        .collect();
    if all.is_empty() {
        return;
    }
    let (home, endpoint) = dice.pick(&all);
    let mut was_there = false;
    // Endpoints of one name are others in another network.
    for group in current.groups.iter_mut().filter(|group| group.network == home.network) {
        let before = group.endpoints.len();
        group.endpoints.retain(|other| other.name != endpoint.name);
        was_there |= group.endpoints.len() < before;
    }
    if !was_there && let Some(group) = current.groups.iter_mut().find(|group| group.name == home.name) {
        group.endpoints.push(endpoint);
    }
}

fn move_endpoint(dice: &mut Dice, current: &mut Setup) {
    let from = dice.below(current.groups.len());
    let Some(endpoint) = current.groups[from].endpoints.pop() else { return };
    let network = current.groups[from].network;
    let of_network: Vec<usize> =
        (0..current.groups.len()).filter(|index| current.groups[*index].network == network).collect();
    current.groups[dice.pick(&of_network)].endpoints.push(endpoint);
}
