//! Builds turn-based Maglev tables, weighted as Katran and Envoy do it, to compare the lookup table with.
//!
//! Backends take turns, and in its turn a backend takes the next slot of its permutation that is still free (Maglev,
//! NSDI 2016, 3.4). Weights: in each round a backend's credit grows by its weight, and where it reaches the largest
//! weight the backend pays that and has a turn. Sources: Katran, `katran/lib/MaglevHashV2.cpp`; Envoy,
//! `source/extensions/load_balancing_policies/maglev`.

use guideway_dataplane::seed::Seed;

/// Default size of the lookup table.
const SLOTS: u32 = 65_537;

/// Fills a table of 65,537 slots with the indices of these backends.
pub(crate) fn build(seed: &Seed, backends: &[(String, u16)]) -> Vec<u16> {
    let mut turns: Vec<Turn> = backends
        .iter()
        .zip(0..)
        .map(|((name, weight), index)| Turn {
            index,
            slot: (seed.hash_name("offset", name) % u64::from(SLOTS)) as u32,
            skip: (seed.hash_name("skip", name) % u64::from(SLOTS - 1)) as u32 + 1,
            weight: u32::from(*weight),
            credit: 0,
        })
        .collect();
    // By name, so that the order of the input does not decide.
    turns.sort_by_key(|turn| &backends[usize::from(turn.index)].0);
    let largest = turns.iter().map(|turn| turn.weight).max().unwrap_or(0);

    let mut slots = vec![None; SLOTS as usize];
    let mut free = slots.len();
    loop {
        for turn in &mut turns {
            turn.credit += turn.weight;
            if turn.credit < largest {
                continue;
            }
            turn.credit -= largest;
            while slots[turn.slot as usize].is_some() {
                turn.pass();
            }
            slots[turn.slot as usize] = Some(turn.index);
            free -= 1;
            if free == 0 {
                return slots.into_iter().flatten().collect();
            }
        }
    }
}

/// Backend that takes turns.
struct Turn {
    index: u16,
    slot: u32,
    skip: u32,
    weight: u32,
    credit: u32,
}

impl Turn {
    /// Goes on to the next slot of the permutation.
    fn pass(&mut self) {
        self.slot += self.skip;
        if self.slot >= SLOTS {
            self.slot -= SLOTS;
        }
    }
}
