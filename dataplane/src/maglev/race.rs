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
//! Were there no limit on room, this would be rendezvous hashing: who gets a slot would depend on the tries at that slot
//! alone, and removing a backend would move its own slots and no others. The room is what makes the shares exact. What
//! it costs is that a backend which wins one slot more than before gives up its last one to another backend.
//!
//! In a larger table the race is the same, over 65,537 cells, each of which is a stretch of slots that a backend
//! tries one after the other. So a table that grows keeps most of what it had.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use super::quota::{Quotas, SIZES};
use crate::seed::Seed;

/// Number of cells on the course: as many as the smallest table has slots.
const CELLS: u32 = SIZES[0];

/// Two to the power of this, divided by the weight, is the time between two tries of a backend.
///
/// A backend of weight 1 then ends its last try before 2^47; a [`Claim`] has room for twice as much.
const PACE_BITS: u32 = 30;

/// A moment, and the racer that arrives at it: `time << 16 | racer`.
///
/// Comparing two claims compares the times, and where those are equal lets the racer that is first by name win.
type Claim = u64;

/// Number of bits below the time in a claim.
const TIME_SHIFT: u32 = 16;

/// Claim on a slot that nobody has tried yet.
const FREE: Claim = Claim::MAX;

/// Number of times that it pays to race without looking at who is full.
const SPRINTS: usize = 2;

/// Number of free slots at which it becomes cheaper to work out who arrives at them than to go on trying.
const FEW: usize = 64;

/// A backend on its way through the slots.
struct Racer {
    /// Cell that the racer is at.
    cell: u32,
    /// Distance to the next cell.
    skip: u32,
    /// Claim on the slots of this cell.
    claim: Claim,
    /// Difference between the claims on the next cell and on this one.
    step: u64,
    /// Number of slots that the racer holds.
    held: u32,
    /// Number of slots that the racer may hold.
    room: u32,
    /// Claim on the slot that the racer took last.
    last_taken: Claim,
}

impl Racer {
    fn new(seed: &Seed, index: usize, name: &str, weight: u16, room: u32) -> Self {
        let step = (1 << PACE_BITS) / u64::from(weight);
        let phase = u64::from(scale(seed.hash_name("phase", name), step as u32));
        Self {
            cell: scale(seed.hash_name("offset", name), CELLS),
            // Maglev (NSDI 2016) 3.4: the skip is in 1..size, so where the size is prime every cell gets its turn.
            skip: 1 + scale(seed.hash_name("skip", name), CELLS - 1),
            claim: phase << TIME_SHIFT | index as u64,
            step: step << TIME_SHIFT,
            held: 0,
            room,
            last_taken: 0,
        }
    }

    fn is_full(&self) -> bool {
        self.held == self.room
    }
}

/// Maps a hash evenly to `0..range`, by its most significant bits.
pub(super) fn scale(hash: u64, range: u32) -> u32 {
    ((u128::from(hash) * u128::from(range)) >> 64) as u32
}

/// Races these backends, which must be ordered by name, and returns the winner of each slot.
///
/// The race takes two heats. In the first every backend has room for its floor, until it is known who are the first to fill
/// theirs, as many as there are extras. These get room for the extra slot, and the race is settled again with that, to
/// the end.
pub(super) fn run(seed: &Seed, backends: &[(&str, u16)], quotas: &Quotas) -> Vec<u16> {
    let racers = backends
        .iter()
        .zip(&quotas.floors)
        .enumerate()
        .map(|(index, (&(name, weight), floor))| Racer::new(seed, index, name, weight, floor.slots))
        .collect();
    // Each kind of layout has its own machine code: the smallest table, which is nearly every one, needs least of it.
    if quotas.slots == CELLS {
        run_on(OneToOne, racers, quotas)
    } else {
        run_on(Stretched::to(quotas.slots), racers, quotas)
    }
}

fn run_on(layout: impl Layout, racers: Vec<Racer>, quotas: &Quotas) -> Vec<u16> {
    let mut race = Race::new(layout, racers, quotas.slots);
    for _ in 0..SPRINTS {
        race.sprint();
    }
    race.find_open_cells();

    let extras = quotas.extras as usize;
    let mut early = Vec::new();
    while early.len() < extras {
        race.stride();
        let full = race.racers.iter().zip(&quotas.floors).filter(|(racer, _)| racer.is_full());
        early = full.filter(|(_, floor)| floor.may_have_extra).map(|(racer, _)| racer.last_taken).collect();
    }
    early.sort_unstable();
    race.give_room(early[..extras].iter().map(|&claim| claim as u16));
    while race.free > FEW {
        race.stride();
    }
    race.finish();

    race.claims.into_iter().map(|claim| claim as u16).collect()
}

/// A race, settled up to some moment.
///
/// The outcome is that of trying in order of time, and is reached without sorting the tries: a racer runs
/// ahead, and one that arrives at the same slot at an earlier time takes it over, upon which the displaced racer
/// goes on trying. That is the deferred acceptance of Gale and Shapley (1962), whose outcome does not depend on
/// who proposes when. Going in strides keeps such takeovers few, and lets racers pass by what was taken before.
struct Race<L> {
    layout: L,
    racers: Vec<Racer>,
    /// Earliest claim on each slot by a racer that had room for it.
    claims: Vec<Claim>,
    /// Number of slots that nobody has tried yet.
    free: usize,
    /// Cells with a slot that was not claimed before `now`; in all others later tries are in vain.
    open: Cells,
    /// Cells of which a slot has got its first claim since `now`.
    newly_claimed: Vec<u32>,
    /// Racers that have lost a slot to an earlier claim and must go on.
    displaced: Vec<u16>,
    /// Everything before this moment, the claims below this, is settled.
    now: Claim,
}

impl<L: Layout> Race<L> {
    fn new(layout: L, racers: Vec<Racer>, slots: u32) -> Self {
        Self {
            layout,
            racers,
            claims: vec![FREE; slots as usize],
            free: slots as usize,
            open: Cells::all(),
            newly_claimed: Vec::new(),
            displaced: Vec::new(),
            now: 0,
        }
    }

    /// The racers that have room.
    fn open_racers(&self) -> Vec<u16> {
        self.racers.iter().zip(0..).filter(|(racer, _)| !racer.is_full()).map(|(_, index)| index).collect()
    }

    /// Lets time pass in which these racers together visit about so many cells.
    fn pass_time(&mut self, racers: &[u16], visits: u32) {
        let pace: f64 = racers.iter().map(|&racer| 1.0 / self.racers[usize::from(racer)].step as f64).sum();
        let time = (f64::from(visits) / pace) as u64 >> TIME_SHIFT;
        self.now += (time + 1) << TIME_SHIFT;
    }

    /// Settles a time in which racers hardly fill their room, with less work for each try than in a stride.
    ///
    /// A racer that makes no more tries than it has room for has room at each of them, whatever becomes of the others. So
    /// the earliest claim on a slot is all that matters, and who holds how many can be counted afterwards.
    fn sprint(&mut self) {
        let open = self.open_racers();
        let room: u32 = self.racers.iter().map(|racer| racer.room - racer.held).sum();
        self.pass_time(&open, room / self.layout.most_slots());
        for index in open {
            let racer = &mut self.racers[usize::from(index)];
            let Racer { mut cell, skip, mut claim, step, held, room, mut last_taken } = *racer;
            let mut visits = (room - held) / self.layout.most_slots();
            while visits > 0 && claim < self.now {
                for slot in self.layout.slots(cell) {
                    let holder = &mut self.claims[slot as usize];
                    *holder = claim.min(*holder);
                }
                // That matters if it is full in the end, and then it has taken all that it tried.
                last_taken = claim;
                (cell, claim) = (after(cell, skip), claim + step);
                visits -= 1;
            }
            (racer.cell, racer.claim, racer.last_taken) = (cell, claim, last_taken);
        }
        self.count();
        // Those with more time than room, and those that were full before they were displaced.
        self.advance_all(self.open_racers());
    }

    /// Counts who holds how many slots.
    fn count(&mut self) {
        // Neighbours are counted apart, so that none waits for the other. Free slots go behind the last racer.
        let racers = self.racers.len();
        let mut counts = vec![[0; 4]; racers + 1];
        for claims in self.claims.chunks(4) {
            for (lane, &claim) in claims.iter().enumerate() {
                counts[usize::from(claim as u16).min(racers)][lane] += 1;
            }
        }
        let mut counts = counts.into_iter().map(|lanes| lanes.into_iter().sum::<u32>());
        for (racer, held) in self.racers.iter_mut().zip(&mut counts) {
            racer.held = held;
        }
        self.free = counts.map(|free| free as usize).sum();
    }

    /// Settles what happens in a time in which the racers together try about half as many slots as there are.
    fn stride(&mut self) {
        let open = self.open_racers();
        self.pass_time(&open, CELLS / 2);
        self.advance_all(open);
        self.close_cells();
    }

    /// Gives these racers room for one more slot each and lets them go on to the present.
    fn give_room(&mut self, racers: impl Iterator<Item = u16> + Clone) {
        for racer in racers.clone() {
            self.racers[usize::from(racer)].room += 1;
        }
        // They come from the past, where the cells were not closed yet.
        let open = std::mem::replace(&mut self.open, Cells::all());
        self.advance_all(racers);
        self.open = open;
        self.close_cells();
    }

    /// Lets these racers, and those whom they displace, try until they are full or have reached the present.
    fn advance_all(&mut self, racers: impl IntoIterator<Item = u16>) {
        for racer in racers {
            self.advance(racer);
            while let Some(displaced) = self.displaced.pop() {
                self.advance(displaced);
            }
        }
    }

    /// Lets one racer try until it is full or has reached the present.
    ///
    /// If it is full before the last slot of a cell, it stays there. Should it have to go on, it tries in vain what it
    /// has tried before, as that only ever gets earlier claims.
    fn advance(&mut self, index: u16) {
        let now = self.now;
        let Racer { mut cell, skip, mut claim, step, mut held, room, mut last_taken } =
            self.racers[usize::from(index)];
        'cells: while held < room && claim < now {
            for slot in self.layout.slots(cell) {
                if held == room {
                    break 'cells;
                }
                let holder = &mut self.claims[slot as usize];
                if claim < *holder {
                    let displaced = std::mem::replace(holder, claim);
                    held += 1;
                    last_taken = claim;
                    if displaced == FREE {
                        self.free -= 1;
                        self.newly_claimed.push(cell);
                    } else {
                        let displaced = displaced as u16;
                        self.racers[usize::from(displaced)].held -= 1;
                        self.displaced.push(displaced);
                    }
                }
            }
            (cell, claim) = (after(cell, skip), claim + step);
            while claim < now && !self.open.contains(cell) {
                (cell, claim) = (after(cell, skip), claim + step);
            }
        }
        let racer = &mut self.racers[usize::from(index)];
        (racer.cell, racer.claim) = (cell, claim);
        (racer.held, racer.last_taken) = (held, last_taken);
    }

    /// Closes the cells that have no free slot.
    fn find_open_cells(&mut self) {
        let Self { claims, layout, .. } = self;
        self.open = Cells::those(|cell| layout.slots(cell).any(|slot| claims[slot as usize] == FREE));
        self.newly_claimed.clear();
    }

    /// Closes the cells whose last free slot has been claimed.
    fn close_cells(&mut self) {
        for cell in self.newly_claimed.drain(..) {
            if self.layout.slots(cell).all(|slot| self.claims[slot as usize] != FREE) {
                self.open.remove(cell);
            }
        }
    }

    /// Runs to the end, by way of the free slots alone.
    ///
    /// A racer would visit thousands of cells to find one of the last few free slots. But the time at which it comes to a
    /// cell can be worked out. So each racer heads for the free slot that it comes to first, and the earliest of all gets
    /// its slot.
    fn finish(&mut self) {
        let mut free: Vec<(u32, u32)> = self
            .open
            .iter()
            .flat_map(|cell| self.layout.slots(cell).map(move |slot| (cell, slot)))
            .filter(|&(_, slot)| self.claims[slot as usize] == FREE)
            .collect();
        let next = |course: &Course, free: &[(u32, u32)]| {
            free.iter().map(|&(cell, slot)| (course.claim_on(cell), slot)).min()
        };
        let courses: Vec<Course> =
            self.racers.iter().filter(|racer| !racer.is_full()).map(Course::of).collect();
        let mut heads: BinaryHeap<_> = (0..)
            .zip(&courses)
            .filter_map(|(course, of)| Some(Reverse((next(of, &free)?, course))))
            .collect();
        while let Some(Reverse(((claim, slot), course))) = heads.pop() {
            let racer = &mut self.racers[usize::from(claim as u16)];
            if let Some(found) = free.iter().position(|&(_, other)| other == slot) {
                free.swap_remove(found);
                self.claims[slot as usize] = claim;
                racer.held += 1;
            }
            if !racer.is_full() {
                heads.extend(next(&courses[course], &free).map(|head| Reverse((head, course))));
            }
        }
    }
}

/// Course of a racer: the times at which it comes to the cells.
struct Course {
    /// Cell that the racer is at.
    cell: u32,
    /// Claim on the slots of this cell.
    claim: Claim,
    /// Difference between the claims on the next cell and on this one.
    step: u64,
    /// Inverse of the skip: a distance times this is the number of steps, modulo the number of cells.
    inverse: u32,
}

impl Course {
    fn of(racer: &Racer) -> Self {
        let &Racer { cell, skip, claim, step, .. } = racer;
        Self { cell, claim, step, inverse: inverse(skip) }
    }

    /// Claim of the racer on the slots of a cell.
    fn claim_on(&self, cell: u32) -> Claim {
        let distance = u64::from(cell + CELLS - self.cell);
        self.claim + distance * u64::from(self.inverse) % u64::from(CELLS) * self.step
    }
}

/// Number that times `skip` is one, modulo the number of cells.
fn inverse(skip: u32) -> u32 {
    // Fermat's little theorem: skip^(CELLS - 1) is one. CELLS - 2 is 2^16 - 1, so the powers are squared sixteen times.
    const { assert!(CELLS - 2 == u16::MAX as u32) };
    let cells = u64::from(CELLS);
    let (mut power, mut inverse) = (u64::from(skip), 1);
    for _ in 0..16 {
        inverse = inverse * power % cells;
        power = power * power % cells;
    }
    inverse as u32
}

/// Cell that is so many cells further, where the first comes after the last.
fn after(cell: u32, distance: u32) -> u32 {
    let cell = cell + distance;
    // A number below CELLS wraps around to something large.
    cell.min(cell.wrapping_sub(CELLS))
}

/// A set of cells, one bit each.
struct Cells(Box<[u64]>);

impl Cells {
    fn all() -> Self {
        Self::those(|_| true)
    }

    /// Set of the cells for which `is_in` is true.
    fn those(is_in: impl Fn(u32) -> bool) -> Self {
        let word = |first| {
            let cells = first..CELLS.min(first + 64);
            cells.fold(0, |word, cell| word | u64::from(is_in(cell)) << (cell - first))
        };
        Self((0..CELLS).step_by(64).map(word).collect())
    }

    fn contains(&self, cell: u32) -> bool {
        self.0[cell as usize / 64] >> (cell % 64) & 1 != 0
    }

    fn iter(&self) -> impl Iterator<Item = u32> {
        let words = (0..).step_by(64).zip(&self.0).filter(|&(_, &word)| word != 0);
        words.flat_map(|(first, word)| {
            (0..64).filter(move |bit| word >> bit & 1 != 0).map(move |bit| first + bit)
        })
    }

    fn remove(&mut self, cell: u32) {
        self.0[cell as usize / 64] &= !(1 << (cell % 64));
    }
}

/// Layout of the course's cells on the slots of a table.
trait Layout: Copy {
    /// Slots of a cell.
    fn slots(self, cell: u32) -> Range<u32>;

    /// Largest number of slots that a cell has.
    fn most_slots(self) -> u32;
}

/// Layout of the smallest table: each cell is a slot.
#[derive(Clone, Copy)]
struct OneToOne;

impl Layout for OneToOne {
    fn slots(self, cell: u32) -> Range<u32> {
        cell..cell + 1
    }

    fn most_slots(self) -> u32 {
        1
    }
}

/// Layout of a larger table: each cell is a stretch of slots, all about equally long.
#[derive(Clone, Copy)]
struct Stretched {
    /// Number of slots for each cell, in units of 2^-32, rounded up.
    slots_per_cell: u64,
}

impl Stretched {
    fn to(slots: u32) -> Self {
        Self { slots_per_cell: (u64::from(slots) << 32).div_ceil(u64::from(CELLS)) }
    }

    /// First slot of a cell, rounded to the nearest; that of the cell after the last is the number of slots.
    fn first_slot(self, cell: u32) -> u32 {
        ((u64::from(cell) * self.slots_per_cell + (1 << 31)) >> 32) as u32
    }
}

impl Layout for Stretched {
    fn slots(self, cell: u32) -> Range<u32> {
        self.first_slot(cell)..self.first_slot(cell + 1)
    }

    fn most_slots(self) -> u32 {
        self.slots_per_cell.div_ceil(1 << 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The race as docs/lookup-table.md tells it: one try after another, in order of time.
    fn one_by_one(seed: &Seed, backends: &[(&str, u16)], quotas: &Quotas) -> Vec<u16> {
        let layout = Stretched::to(quotas.slots);
        let heat = |rooms: &[u32], ends: &dyn Fn(&[Claim], usize) -> bool| {
            let (mut winners, mut free) = (vec![None; quotas.slots as usize], quotas.slots as usize);
            let (mut held, mut last_taken) = (vec![0; rooms.len()], vec![0; rooms.len()]);
            let racers = backends.iter().zip(rooms).enumerate();
            let racers =
                racers.map(|(index, (&(name, weight), &room))| Racer::new(seed, index, name, weight, room));
            let mut tries: BinaryHeap<_> =
                racers.map(|racer| Reverse((racer.claim, racer.cell, racer.skip, racer.step))).collect();
            let mut full = Vec::new();
            while !ends(&full, free) {
                let Reverse((claim, cell, skip, step)) = tries.pop().expect("somebody has room");
                let racer = usize::from(claim as u16);
                for slot in layout.slots(cell) {
                    if held[racer] < rooms[racer] && winners[slot as usize].is_none() {
                        winners[slot as usize] = Some(racer as u16);
                        (held[racer], last_taken[racer]) = (held[racer] + 1, claim);
                        free -= 1;
                    }
                }
                if held[racer] < rooms[racer] {
                    tries.push(Reverse((claim + step, (cell + skip) % CELLS, skip, step)));
                } else {
                    full.push(last_taken[racer]);
                }
            }
            (winners, full)
        };
        let mut rooms: Vec<u32> = quotas.floors.iter().map(|floor| floor.slots).collect();
        let (_, full) = heat(&rooms, &|full, _| full.len() == backends.len());
        let early = full.into_iter().map(|claim| usize::from(claim as u16));
        for racer in early.filter(|&racer| quotas.floors[racer].may_have_extra).take(quotas.extras as usize) {
            rooms[racer] += 1;
        }
        let (winners, _) = heat(&rooms, &|_, free| free == 0);
        winners.into_iter().map(|winner| winner.expect("every slot is taken")).collect()
    }

    #[test]
    fn outcome_is_that_of_one_try_after_another() {
        let sets: [Vec<u16>; 8] = [
            vec![1],
            vec![1000, 1],
            vec![1; 3],
            vec![3, 5, 700, 2, 2],
            vec![1; 256],
            (1..=400).collect(),
            (0..500u32).map(|index| 1 + (index * 7919 % 1000) as u16).collect(),
            [vec![1; 20], vec![1000; 80]].concat(),
        ];
        for (weights, seed) in sets.iter().zip(1..) {
            let names: Vec<String> =
                (1000..).take(weights.len()).map(|number| format!("web-{number}")).collect();
            let backends: Vec<(&str, u16)> =
                names.iter().map(String::as_str).zip(weights.iter().copied()).collect();
            let (seed, quotas) = (Seed::new([seed; 16]), Quotas::of(weights));
            let same = run(&seed, &backends, &quotas) == one_by_one(&seed, &backends, &quotas);
            assert!(same, "{weights:?} in {} slots", quotas.slots);
        }
    }

    #[test]
    fn inverse_times_skip_is_one() {
        for skip in [1, 2, 3, 255, 256, 32_768, 65_535, 65_536] {
            assert_eq!(u64::from(inverse(skip)) * u64::from(skip) % u64::from(CELLS), 1, "{skip}");
        }
    }
}
