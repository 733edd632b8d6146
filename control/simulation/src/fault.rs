//! Faults of a seed: what happens to machines, links and processes, and when.

use std::time::Duration;

use crate::dice::Dice;
use crate::network::Weather;
use crate::scenario::{Scenario, WEIGHTS, Weighting};

/// Fault, or an operator's act, which the world is to survive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// The network becomes so.
    Weather(Weather),
    /// A backend's machine dies.
    Death(usize),
    /// A backend's machine runs again.
    Revival(usize),
    /// A backend's server ends, while the machine runs.
    ServerEnds(usize),
    /// A backend's server listens again.
    ServerBegins(usize),
    /// A backend answers after this time.
    Slow(usize, Duration),
    /// A backend gets another link-layer address.
    AnotherMac(usize),
    /// A stranger claims a backend's address.
    Claim(usize),
    /// A stranger claims an appliance's address.
    ClaimOfAppliance(usize),
    /// The control thread of an appliance stands still for this time.
    ControlStall(usize, Duration),
    /// A worker of an appliance stands still for this time.
    WorkerStall(usize, usize, Duration),
    /// An appliance loses its link for this time.
    LinkLoss(usize, Duration),
    /// An appliance is killed, and starts anew after this time.
    Kill(usize, Duration),
    /// The router takes no announcements of an appliance for this time.
    DeafRouter(usize, Duration),
    /// The disk of all appliances takes up to this time for a read or a write.
    SlowDisk(Duration),
    /// An operator acts.
    Operator,
    /// A backend has another weight: it reports that, or an operator sets it.
    Weight(usize, u16),
    /// A backend reports what is no weight.
    GarbledReport(usize, &'static str),
    /// A backend's reports are weights again.
    RightReport(usize),
}

/// Reports that are no weights; an empty one is none at all.
const GARBLED: [&str; 5] = ["", "many", "1001", "-2", "0x4"];

/// Faults in the order of their times.
pub fn schedule(scenario: &Scenario) -> Vec<(Duration, Fault)> {
    let mut dice = Dice::new(scenario.seed, "faults");
    let mut faults = Vec::new();
    let mut at = dice.time(1_500, 3_000);
    while at < scenario.chaos {
        draw(scenario, &mut dice, at, &mut faults);
        at += dice.time(20, 700);
    }
    weigh(scenario, &mut faults);
    faults.sort_by_key(|(at, _)| *at);
    faults
}

/// Adds changes of weights, drawn apart: the other faults of a seed are the same with them and without.
fn weigh(scenario: &Scenario, faults: &mut Vec<(Duration, Fault)>) {
    if scenario.weighting == Weighting::Even {
        return;
    }
    let mut dice = Dice::new(scenario.seed, "weights");
    let mut at = dice.time(500, 2_000);
    while at < scenario.chaos {
        let backend = dice.below(scenario.backends);
        if scenario.weighting == Weighting::Reported && dice.chance(0.25) {
            let later = at + dice.time(500, 4_000);
            let garbled = GARBLED[dice.below(GARBLED.len())];
            faults.push((at, Fault::GarbledReport(backend, garbled)));
            faults.push((later, Fault::RightReport(backend)));
        } else {
            faults.push((at, Fault::Weight(backend, WEIGHTS[dice.below(WEIGHTS.len())])));
        }
        at += dice.time(200, 1_500);
    }
}

fn draw(scenario: &Scenario, dice: &mut Dice, at: Duration, faults: &mut Vec<(Duration, Fault)>) {
    let backend = dice.below(scenario.backends);
    let appliance = dice.below(scenario.appliances);
    let later = at + dice.time(100, 5_000);
    match dice.below(20) {
        0 | 1 => {
            let mut share =
                |most: f64| if dice.chance(0.5) { most * dice.below(100) as f64 / 100.0 } else { 0.0 };
            let weather =
                Weather { loss: share(0.3), duplicates: share(0.2), late: share(0.2), damage: share(0.05) };
            faults.push((at, Fault::Weather(weather)));
            faults.push((later, Fault::Weather(Weather::default())));
        }
        2 | 3 => faults.extend([(at, Fault::Death(backend)), (later, Fault::Revival(backend))]),
        4 | 5 => faults.extend([(at, Fault::ServerEnds(backend)), (later, Fault::ServerBegins(backend))]),
        6 => {
            let slowness = dice.time(1, 1_500);
            faults.extend([
                (at, Fault::Slow(backend, slowness)),
                (later, Fault::Slow(backend, Duration::ZERO)),
            ]);
        }
        7 => faults.push((at, Fault::AnotherMac(backend))),
        8 => faults.push((at, Fault::Claim(backend))),
        9 => faults.push((at, Fault::ClaimOfAppliance(appliance))),
        10 => faults.push((at, Fault::ControlStall(appliance, dice.time(10, 3_000)))),
        11 => {
            let worker = dice.below(scenario.workers);
            faults.push((at, Fault::WorkerStall(appliance, worker, dice.time(10, 3_000))));
        }
        12 => faults.push((at, Fault::LinkLoss(appliance, dice.time(10, 4_000)))),
        13 => faults.push((at, Fault::Kill(appliance, dice.time(10, 2_000)))),
        14 => faults.push((at, Fault::DeafRouter(appliance, dice.time(10, 3_000)))),
        15 => faults
            .extend([(at, Fault::SlowDisk(dice.time(100, 3_000))), (later, Fault::SlowDisk(Duration::ZERO))]),
        _ => faults.push((at, Fault::Operator)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_has_one_schedule_and_many_seeds_have_every_fault() {
        let words: std::collections::BTreeSet<String> = (0..60)
            .flat_map(|seed| schedule(&Scenario::new(seed)))
            .map(|(_, fault)| format!("{fault:?}").split(['(', ' ']).next().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(words.len(), 19, "{words:?}");
        let scenario = Scenario::new(7);
        assert_eq!(schedule(&scenario), schedule(&scenario));
    }
}
