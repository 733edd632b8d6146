//! Chaos: all faults one after the other, in an order drawn from a seed, while real connections run; what had to be kept is kept,
//! every packet is counted, and all is as it was in the end.
//!
//! `GUIDEWAY_CHAOS_SEED=N` repeats the order of a run, which says its seed. `GUIDEWAY_SOAK_MINUTES=N` goes on with new seeds for
//! that time, says a line a round, and watches the process for growth; `.ci/soak.sh` does that. Without it there are as many rounds as
//! begin in [`SHORT`], and two at least: the process lives through the second.

mod fault;
mod ledger;
mod scene;
mod traffic;

use std::time::{Duration, Instant, SystemTime};

use fault::Fault;
use ledger::{Arrivals, Footprint, assert_counted_once, assert_counts_on};
use scene::Scene;
use traffic::Traffic;

use crate::lab::Lab;
use crate::lab::backend::Backend;
use crate::lab::bird::Birds;

/// Time in which rounds begin, unless another was asked for: the chaos takes a minute.
const SHORT: Duration = Duration::from_secs(35);
/// Rounds at least: the process of the first is looked at for growth in the second.
const ROUNDS: usize = 2;
/// Seeds of which one has the process killed: growth is seen in the rounds between.
const SEEDS_OF_A_PROCESS: u64 = 64;

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

    /// Order of all faults, without the kill but for every 64th seed: a seed has one order, whichever round it comes in.
    fn order(seed: u64) -> Vec<Fault> {
        let mut faults = Fault::ALL.to_vec();
        if !kills(seed) {
            faults.retain(|fault| *fault != Fault::Kill);
        }
        let mut draw = Self(seed);
        for left in (1..faults.len()).rev() {
            faults.swap(left, draw.below(left + 1));
        }
        faults
    }
}

/// True if the process is killed in the round of a seed.
fn kills(seed: u64) -> bool {
    seed.is_multiple_of(SEEDS_OF_A_PROCESS)
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

/// Seed that was asked for, or one that no run before has had, by which the process is killed in the first round.
fn seed() -> u64 {
    let drawn = || {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
    };
    number("GUIDEWAY_CHAOS_SEED").unwrap_or_else(|| drawn() / SEEDS_OF_A_PROCESS * SEEDS_OF_A_PROCESS)
}

#[test]
fn chaos_loses_no_connection_that_had_to_be_kept_and_counts_every_packet() {
    let time = number("GUIDEWAY_SOAK_MINUTES").map_or(SHORT, |minutes| Duration::from_secs(60 * minutes));
    let (began, first) = (Instant::now(), seed());
    let lab = Lab::new(1, scene::NAMESPACES);
    let _backends = Backend::all(&lab, scene::BACKENDS);
    let mut scene = Scene::new(&lab, Birds::start(&lab, 1));
    let traffic = Traffic::start(&lab);
    let mut first_footprint = None;
    for round in 0.. {
        let seed = first.wrapping_add(round as u64);
        // On standard output, which is shown if the test fails.
        println!("round {round}: GUIDEWAY_CHAOS_SEED={seed}");
        if kills(seed) {
            first_footprint = None;
        }
        for fault in Draw::order(seed) {
            println!("round {round}: {fault:?}");
            let before = scene.appliance().stats();
            scene.strike(fault);
            traffic.assert_unhurt(fault);
            let after = scene.appliance().stats();
            assert_counted_once(&after);
            // A new process has begun to count anew.
            if fault != Fault::Kill {
                assert_counts_on(&before, &after);
            }
        }
        scene.converge();
        let before = traffic.at_rest(|| Arrivals::now(scene.appliance()));
        let served = traffic.goes_on();
        traffic.at_rest(|| Arrivals::assert_all_since(scene.appliance(), before));
        assert_counted_once(&scene.appliance().stats());
        let footprint = Footprint::of(scene.appliance());
        println!("round {round}: seed {seed}, {served}, {footprint}");
        footprint.assert_no_more_than(first_footprint.get_or_insert(footprint));
        if round + 1 >= ROUNDS && began.elapsed() >= time {
            break;
        }
    }
    traffic.finish();
}

#[test]
fn a_seed_repeats_an_order_of_all_faults_whichever_round_it_comes_in() {
    let order = Draw::order(7);
    assert_eq!(order, Draw::order(7));
    assert_ne!(order, Draw::order(8));
    assert!(Fault::ALL.iter().all(|fault| order.contains(fault) == (*fault != Fault::Kill)));
    assert!(Fault::ALL.iter().all(|fault| Draw::order(64).contains(fault)));
}
