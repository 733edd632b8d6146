//! The race for the slots: which backend gets which.
//!
//! Every backend goes through the slots in an order of its own, at a pace that is proportional to its weight, so each
//! pair (backend, slot) has a moment at which the backend tries the slot. The pairs are then settled from the earliest
//! to the latest: a backend keeps the slot that it tries where the slot is free and the backend has room left.
//!
//! ```text
//! time           0    1    2    3    4    5    6     slot        0 1 2 3 4 5 6
//! a, weight 2    4    1    5    2    6    3    0     heat one    . a b a a a b    b had filled its room first,
//! b, weight 1      6         2         5             heat two    b a b a a a b    so it gets the extra slot
//! ```
//!
//! Were there no limit on room, this would be rendezvous hashing: who gets a slot would depend on the tries at that slot alone,
//! and removing a backend would move its own slots and no others. The room is what makes the shares exact. What it
//! costs is that a backend which wins one slot more than before gives up its last one to another backend.
//!
//! In a larger table the race is the same, over 65,537 places, each of which is a stretch of slots that a backend
//! tries one after the other. So a table that grows keeps most of what it had.

use super::quota::{Quotas, SIZES};
use crate::seed::Seed;

/// How many places the course has: as many as the smallest table has slots.
const PLACES: u32 = SIZES[0];

/// Two to the power of this, divided by the weight, is the time between two tries of a backend.
///
/// A backend of weight 1 then ends its last try before 2^47; a [`Claim`] has room for twice as much.
const PACE_BITS: u32 = 30;

/// A moment, and the racer that arrives at it: `time << 16 | racer`.
///
/// Comparing two claims compares the times, and where those are equal lets the racer that is first by name win.
type Claim = u64;

/// The claim on a slot that nobody has tried yet.
const FREE: Claim = Claim::MAX;

/// A backend on its way through the slots.
struct Racer {
    /// The place that it is at.
    place: u32,
    /// How far the next place is from this one.
    skip: u32,
    /// The slot of this place that it tries next.
    slot: u32,
    /// When it tries next.
    time: u64,
    /// The time between two tries.
    step: u64,
    /// How many slots it holds.
    held: u32,
    /// How many slots it may hold.
    room: u32,
    /// When it took the slot that it took last.
    last_taken: u64,
}

impl Racer {
    fn new(seed: &Seed, name: &str, weight: u16, stretch: Stretch, room: u32) -> Self {
        let step = (1 << PACE_BITS) / u64::from(weight);
        let place = scale(seed.hash_name("offset", name), PLACES);
        Self {
            place,
            // Maglev (NSDI 2016) 3.4: the skip is in 1..size, so where the size is prime every place gets its turn.
            skip: 1 + scale(seed.hash_name("skip", name), PLACES - 1),
            slot: stretch.first_slot(place),
            time: u64::from(scale(seed.hash_name("phase", name), step as u32)),
            step,
            held: 0,
            room,
            last_taken: 0,
        }
    }
}

/// Maps a hash evenly to `0..range`, by its most significant bits.
pub(super) fn scale(hash: u64, range: u32) -> u32 {
    ((u128::from(hash) * u128::from(range)) >> 64) as u32
}

/// Races these backends, which must be ordered by name, and returns the winner of each slot.
///
/// It takes two heats. In the first every backend has room for its floor. Then those that were the first to fill
/// their floor get room for the extra slot, as many as there are extras, and the race is settled again with that.
pub(super) fn run(seed: &Seed, backends: &[(&str, u16)], quotas: &Quotas) -> Vec<u16> {
    let stretch = Stretch::new(quotas.slots);
    let racers = backends
        .iter()
        .zip(&quotas.floors)
        .map(|(&(name, weight), floor)| Racer::new(seed, name, weight, stretch, floor.slots))
        .collect();
    let mut race = Race::new(racers, quotas.slots, stretch);
    race.settle();

    let mut early: Vec<(u64, usize)> = (0..backends.len())
        .filter(|&racer| quotas.floors[racer].may_have_extra)
        .map(|racer| (race.racers[racer].last_taken, racer))
        .collect();
    early.sort_unstable();
    for &(_, racer) in &early[..quotas.extras as usize] {
        race.racers[racer].room += 1;
    }
    race.settle();

    race.claims.into_iter().map(|claim| claim as u16).collect()
}

/// A race, settled up to some moment.
struct Race {
    racers: Vec<Racer>,
    stretch: Stretch,
    /// The earliest claim on each slot by a racer that had room for it.
    claims: Vec<Claim>,
    /// Racers that have lost a slot to an earlier claim and must go on.
    displaced: Vec<u16>,
    /// Everything before this moment is settled.
    now: u64,
}

impl Race {
    fn new(racers: Vec<Racer>, slots: u32, stretch: Stretch) -> Self {
        Self { racers, stretch, claims: vec![FREE; slots as usize], displaced: Vec::new(), now: 0 }
    }

    /// Runs until every racer has filled its room.
    ///
    /// The outcome is that of trying in order of time, and is reached without sorting the tries: a racer runs
    /// ahead, and one that arrives at the same slot at an earlier time takes it over, upon which the displaced racer
    /// goes on trying. That is the deferred acceptance of Gale and Shapley (1962), whose outcome does not depend on
    /// who proposes when. Going in strides only keeps such takeovers few.
    fn settle(&mut self) {
        loop {
            let open: Vec<u16> = (0..self.racers.len())
                .filter(|&racer| self.racers[racer].held < self.racers[racer].room)
                .map(|racer| racer as u16)
                .collect();
            if open.is_empty() {
                return;
            }
            self.now += self.stride(&open);
            for racer in open {
                self.advance(usize::from(racer));
                while let Some(displaced) = self.displaced.pop() {
                    self.advance(usize::from(displaced));
                }
            }
        }
    }

    /// A time in which these racers together try about an eighth as many slots as there are.
    fn stride(&self, open: &[u16]) -> u64 {
        let pace: f64 = open.iter().map(|&racer| 1.0 / self.racers[usize::from(racer)].step as f64).sum();
        (f64::from(PLACES) / pace / 8.0) as u64 + 1
    }

    /// Lets one racer try until it has filled its room or reached the present.
    fn advance(&mut self, index: usize) {
        let stretch = self.stretch;
        let Racer { mut place, skip, mut slot, mut time, step, mut held, room, mut last_taken } =
            self.racers[index];
        let mut end = stretch.first_slot(place + 1);
        while held < room && time < self.now {
            let claim = time << 16 | index as u64;
            let holder = &mut self.claims[slot as usize];
            if claim < *holder {
                let displaced = std::mem::replace(holder, claim);
                held += 1;
                last_taken = time;
                if displaced != FREE {
                    let displaced = displaced as u16;
                    self.racers[usize::from(displaced)].held -= 1;
                    self.displaced.push(displaced);
                }
            }
            slot += 1;
            if slot == end {
                time += step;
                place += skip;
                if place >= PLACES {
                    place -= PLACES;
                }
                slot = stretch.first_slot(place);
                end = stretch.first_slot(place + 1);
            }
        }
        let racer = &mut self.racers[index];
        (racer.place, racer.slot, racer.time) = (place, slot, time);
        (racer.held, racer.last_taken) = (held, last_taken);
    }
}

/// How the places of the course lie on the slots of a table: evenly, and one on one in the smallest table.
#[derive(Clone, Copy)]
struct Stretch {
    /// Slots for each place, in units of 2^-32, rounded up.
    slots_per_place: u64,
}

impl Stretch {
    fn new(slots: u32) -> Self {
        Self { slots_per_place: (u64::from(slots) << 32).div_ceil(u64::from(PLACES)) }
    }

    /// The first slot of a place, rounded to the nearest; that of the place after the last is the number of slots.
    fn first_slot(self, place: u32) -> u32 {
        ((u64::from(place) * self.slots_per_place + (1 << 31)) >> 32) as u32
    }
}
