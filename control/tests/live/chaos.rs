//! Chaos: all faults one after the other, in an order drawn from a seed, while real connections run; what had to be kept is kept,
//! every packet is counted, and all is as it was in the end.
//!
//! `GUIDEWAY_CHAOS_SEED=N` repeats the order of a run, which says its seed. `GUIDEWAY_SOAK_MINUTES=N` goes on with new seeds for
//! that time, says a line a round, and watches the process for growth; `.ci/soak.sh` does that. Without it there are as many rounds as
//! begin in [`SHORT`], two or three.

mod fault;
mod ledger;
mod scene;
mod traffic;

use std::time::{Duration, Instant, SystemTime};

use fault::Fault;
use ledger::{Arrivals, Footprint, assert_counted_once};
use scene::Scene;
use traffic::Traffic;

use crate::lab::Lab;
use crate::lab::backend::Backend;
use crate::lab::bird::Birds;

/// Time in which rounds begin, unless another was asked for: the chaos takes a minute.
const SHORT: Duration = Duration::from_secs(35);
/// Rounds of a soak between two in which the process is killed: growth is seen in those between.
const ROUNDS_OF_A_PROCESS: usize = 64;

/// Numbers drawn from a seed: splitmix64.
#[derive(Debug)]
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) % bound as u64) as usize
    }

    /// Order of all faults.
    fn order(&mut self) -> Vec<Fault> {
        let mut faults = Fault::ALL.to_vec();
        for left in (1..faults.len()).rev() {
            faults.swap(left, self.below(left + 1));
        }
        faults
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

/// Seed that was asked for, or one that no run before has had.
fn seed() -> u64 {
    let drawn = || {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
    };
    number("GUIDEWAY_CHAOS_SEED").unwrap_or_else(drawn)
}

#[test]
fn chaos_loses_no_connection_that_had_to_be_kept_and_counts_every_packet() {
    let time = number("GUIDEWAY_SOAK_MINUTES").map_or(SHORT, |minutes| Duration::from_secs(60 * minutes));
    let (began, first) = (Instant::now(), seed());
    let lab = Lab::new(1, scene::NAMESPACES);
    let _backends = Backend::all(&lab, scene::BACKENDS);
    let mut scene = Scene::new(&lab, Birds::start(&lab, 1));
    let traffic = Traffic::start(&lab);
    let mut lightest = None;
    for round in 0.. {
        let seed = first.wrapping_add(round as u64);
        // On standard output, which is shown if the test fails.
        println!("round {round}: GUIDEWAY_CHAOS_SEED={seed}");
        let mut order = Draw(seed).order();
        if round % ROUNDS_OF_A_PROCESS != 0 {
            order.retain(|fault| *fault != Fault::Kill);
        } else {
            lightest = None;
        }
        for fault in order {
            println!("round {round}: {fault:?}");
            scene.strike(fault);
            traffic.assert_unhurt(fault);
        }
        scene.converge();
        let before = traffic.at_rest(|| Arrivals::now(scene.appliance()));
        let served = traffic.goes_on();
        traffic.at_rest(|| Arrivals::assert_all_since(scene.appliance(), before));
        assert_counted_once(&scene.appliance().stats());
        let footprint = Footprint::of(scene.appliance());
        println!("round {round}: seed {seed}, {served}, {footprint}");
        footprint.assert_no_more_than(lightest.get_or_insert(footprint));
        if began.elapsed() >= time {
            break;
        }
    }
    traffic.finish();
}

#[test]
fn a_seed_repeats_an_order_of_all_faults() {
    let order = Draw(7).order();
    assert_eq!(order, Draw(7).order());
    assert_ne!(order, Draw(8).order());
    assert!(Fault::ALL.iter().all(|fault| order.contains(fault)));
}
