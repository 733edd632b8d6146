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

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

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

/// How far the time is from a claim's lowest bit.
const TIME_SHIFT: u32 = 16;

/// The claim on a slot that nobody has tried yet.
const FREE: Claim = Claim::MAX;

/// How often it pays to race without looking at who is full.
const SPRINTS: usize = 2;

/// How few free slots make it cheaper to work out who arrives at them than to go on trying.
const FEW: usize = 64;

/// A backend on its way through the slots.
struct Racer {
    /// The place that it is at.
    place: u32,
    /// How far the next place is from this one.
    skip: u32,
    /// Its claim on the slots of this place.
    claim: Claim,
    /// How much larger its claim on the next place is.
    step: u64,
    /// How many slots it holds.
    held: u32,
    /// How many slots it may hold.
    room: u32,
    /// Its claim on the slot that it took last.
    last_taken: Claim,
}

impl Racer {
    fn new(seed: &Seed, index: usize, name: &str, weight: u16, room: u32) -> Self {
        let step = (1 << PACE_BITS) / u64::from(weight);
        let phase = u64::from(scale(seed.hash_name("phase", name), step as u32));
        Self {
            place: scale(seed.hash_name("offset", name), PLACES),
            // Maglev (NSDI 2016) 3.4: the skip is in 1..size, so where the size is prime every place gets its turn.
            skip: 1 + scale(seed.hash_name("skip", name), PLACES - 1),
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
/// It takes two heats. In the first every backend has room for its floor, until it is known who are the first to fill theirs,
/// as many as there are extras. These get room for the extra slot, and the race is settled again with that, to the end.
pub(super) fn run(seed: &Seed, backends: &[(&str, u16)], quotas: &Quotas) -> Vec<u16> {
    let racers = backends
        .iter()
        .zip(&quotas.floors)
        .enumerate()
        .map(|(index, (&(name, weight), floor))| Racer::new(seed, index, name, weight, floor.slots))
        .collect();
    // Each kind of layout has its own machine code: the smallest table, which is nearly every one, needs least of it.
    if quotas.slots == PLACES {
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
    race.find_open_places();

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
    /// The earliest claim on each slot by a racer that had room for it.
    claims: Vec<Claim>,
    /// How many slots nobody has tried yet.
    free: usize,
    /// All places but those whose slots have all been claimed before `now`, where later tries are in vain.
    open: Places,
    /// Places of which a slot has got its first claim since `now`.
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
            open: Places::all(),
            newly_claimed: Vec::new(),
            displaced: Vec::new(),
            now: 0,
        }
    }

    /// The racers that have room.
    fn open_racers(&self) -> Vec<u16> {
        self.racers.iter().zip(0..).filter(|(racer, _)| !racer.is_full()).map(|(_, index)| index).collect()
    }

    /// Lets time pass in which these racers together visit about so many places.
    fn pass_time(&mut self, racers: &[u16], visits: u32) {
        let pace: f64 = racers.iter().map(|&racer| 1.0 / self.racers[usize::from(racer)].step as f64).sum();
        let time = (f64::from(visits) / pace) as u64 >> TIME_SHIFT;
        self.now += (time + 1) << TIME_SHIFT;
    }

    /// Settles a time in which racers hardly fill their room, with less work for each try than in a stride.
    ///
    /// A racer that makes no more tries than it has room for has room at each of them, whatever becomes of the others. So the
    /// earliest claim on a slot is all that matters, and who holds how many can be counted afterwards.
    fn sprint(&mut self) {
        let open = self.open_racers();
        let room: u32 = self.racers.iter().map(|racer| racer.room - racer.held).sum();
        self.pass_time(&open, room / self.layout.most_slots());
        for index in open {
            let racer = &mut self.racers[usize::from(index)];
            let Racer { mut place, skip, mut claim, step, held, room, mut last_taken } = *racer;
            let mut visits = (room - held) / self.layout.most_slots();
            while visits > 0 && claim < self.now {
                for slot in self.layout.slots(place) {
                    let holder = &mut self.claims[slot as usize];
                    *holder = claim.min(*holder);
                }
                // That matters if it is full in the end, and then it has taken all that it tried.
                last_taken = claim;
                (place, claim) = (after(place, skip), claim + step);
                visits -= 1;
            }
            (racer.place, racer.claim, racer.last_taken) = (place, claim, last_taken);
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
        self.pass_time(&open, PLACES / 2);
        self.advance_all(open);
        self.close_places();
    }

    /// Gives these racers room for one more slot each and lets them go on to the present.
    fn give_room(&mut self, racers: impl Iterator<Item = u16> + Clone) {
        for racer in racers.clone() {
            self.racers[usize::from(racer)].room += 1;
        }
        // They come from the past, where the places were not closed yet.
        let open = std::mem::replace(&mut self.open, Places::all());
        self.advance_all(racers);
        self.open = open;
        self.close_places();
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
    /// If it is full before the last slot of a place, it stays there. Should it have to go on, it tries in vain what it has
    /// tried before, as that only ever gets earlier claims.
    fn advance(&mut self, index: u16) {
        let now = self.now;
        let Racer { mut place, skip, mut claim, step, mut held, room, mut last_taken } =
            self.racers[usize::from(index)];
        'places: while held < room && claim < now {
            for slot in self.layout.slots(place) {
                if held == room {
                    break 'places;
                }
                let holder = &mut self.claims[slot as usize];
                if claim < *holder {
                    let displaced = std::mem::replace(holder, claim);
                    held += 1;
                    last_taken = claim;
                    if displaced == FREE {
                        self.free -= 1;
                        self.newly_claimed.push(place);
                    } else {
                        let displaced = displaced as u16;
                        self.racers[usize::from(displaced)].held -= 1;
                        self.displaced.push(displaced);
                    }
                }
            }
            (place, claim) = (after(place, skip), claim + step);
            while claim < now && !self.open.contains(place) {
                (place, claim) = (after(place, skip), claim + step);
            }
        }
        let racer = &mut self.racers[usize::from(index)];
        (racer.place, racer.claim) = (place, claim);
        (racer.held, racer.last_taken) = (held, last_taken);
    }

    /// Closes the places that have no free slot.
    fn find_open_places(&mut self) {
        let Self { claims, layout, .. } = self;
        self.open = Places::those(|place| layout.slots(place).any(|slot| claims[slot as usize] == FREE));
        self.newly_claimed.clear();
    }

    /// Closes the places whose last free slot has been claimed.
    fn close_places(&mut self) {
        for place in self.newly_claimed.drain(..) {
            if self.layout.slots(place).all(|slot| self.claims[slot as usize] != FREE) {
                self.open.remove(place);
            }
        }
    }

    /// Runs to the end, by way of the free slots alone.
    ///
    /// A racer would visit thousands of places to find one of the last few free slots. But when it will be at a place can be
    /// worked out. So each racer heads for the free slot that it comes to first, and the earliest of all gets its slot.
    fn finish(&mut self) {
        let mut free: Vec<(u32, u32)> = self
            .open
            .iter()
            .flat_map(|place| self.layout.slots(place).map(move |slot| (place, slot)))
            .filter(|&(_, slot)| self.claims[slot as usize] == FREE)
            .collect();
        let next = |course: &Course, free: &[(u32, u32)]| {
            free.iter().map(|&(place, slot)| (course.claim_on(place), slot)).min()
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

/// When a racer comes to which place.
struct Course {
    /// The place that it is at.
    place: u32,
    /// Its claim there.
    claim: Claim,
    /// How much larger its claim on the next place is.
    step: u64,
    /// The inverse of its skip: what to multiply a distance by to have the number of steps, modulo the number of places.
    inverse: u32,
}

impl Course {
    fn of(racer: &Racer) -> Self {
        let &Racer { place, skip, claim, step, .. } = racer;
        Self { place, claim, step, inverse: inverse(skip) }
    }

    /// The racer's claim on the slots of a place.
    fn claim_on(&self, place: u32) -> Claim {
        let distance = u64::from(place + PLACES - self.place);
        self.claim + distance * u64::from(self.inverse) % u64::from(PLACES) * self.step
    }
}

/// The number that times `skip` is one, modulo the number of places.
fn inverse(skip: u32) -> u32 {
    // Fermat's little theorem: skip^(PLACES - 1) is one. PLACES - 2 is 2^16 - 1, so the powers are squared sixteen times.
    const { assert!(PLACES - 2 == u16::MAX as u32) };
    let places = u64::from(PLACES);
    let (mut power, mut inverse) = (u64::from(skip), 1);
    for _ in 0..16 {
        inverse = inverse * power % places;
        power = power * power % places;
    }
    inverse as u32
}

/// The place that is so many places further, where the first comes after the last.
fn after(place: u32, distance: u32) -> u32 {
    let place = place + distance;
    // What is below PLACES wraps around to something large.
    place.min(place.wrapping_sub(PLACES))
}

/// A set of places, one bit each.
struct Places(Box<[u64]>);

impl Places {
    fn all() -> Self {
        Self::those(|_| true)
    }

    /// The places that are in it by what `is_in` says.
    fn those(is_in: impl Fn(u32) -> bool) -> Self {
        let word = |first| {
            let places = first..PLACES.min(first + 64);
            places.fold(0, |word, place| word | u64::from(is_in(place)) << (place - first))
        };
        Self((0..PLACES).step_by(64).map(word).collect())
    }

    fn contains(&self, place: u32) -> bool {
        self.0[place as usize / 64] >> (place % 64) & 1 != 0
    }

    fn iter(&self) -> impl Iterator<Item = u32> {
        let words = (0..).step_by(64).zip(&self.0).filter(|&(_, &word)| word != 0);
        words.flat_map(|(first, word)| {
            (0..64).filter(move |bit| word >> bit & 1 != 0).map(move |bit| first + bit)
        })
    }

    fn remove(&mut self, place: u32) {
        self.0[place as usize / 64] &= !(1 << (place % 64));
    }
}

/// How the places of the course lie on the slots of a table.
trait Layout: Copy {
    /// The slots of a place.
    fn slots(self, place: u32) -> Range<u32>;

    /// How many slots a place has at most.
    fn most_slots(self) -> u32;
}

/// The layout of the smallest table: each place is a slot.
#[derive(Clone, Copy)]
struct OneToOne;

impl Layout for OneToOne {
    fn slots(self, place: u32) -> Range<u32> {
        place..place + 1
    }

    fn most_slots(self) -> u32 {
        1
    }
}

/// The layout of a larger table: each place is a stretch of slots, all about equally long.
#[derive(Clone, Copy)]
struct Stretched {
    /// Slots for each place, in units of 2^-32, rounded up.
    slots_per_place: u64,
}

impl Stretched {
    fn to(slots: u32) -> Self {
        Self { slots_per_place: (u64::from(slots) << 32).div_ceil(u64::from(PLACES)) }
    }

    /// The first slot of a place, rounded to the nearest; that of the place after the last is the number of slots.
    fn first_slot(self, place: u32) -> u32 {
        ((u64::from(place) * self.slots_per_place + (1 << 31)) >> 32) as u32
    }
}

impl Layout for Stretched {
    fn slots(self, place: u32) -> Range<u32> {
        self.first_slot(place)..self.first_slot(place + 1)
    }

    fn most_slots(self) -> u32 {
        self.slots_per_place.div_ceil(1 << 32) as u32
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
                racers.map(|racer| Reverse((racer.claim, racer.place, racer.skip, racer.step))).collect();
            let mut full = Vec::new();
            while !ends(&full, free) {
                let Reverse((claim, place, skip, step)) = tries.pop().expect("somebody has room");
                let racer = usize::from(claim as u16);
                for slot in layout.slots(place) {
                    if held[racer] < rooms[racer] && winners[slot as usize].is_none() {
                        winners[slot as usize] = Some(racer as u16);
                        (held[racer], last_taken[racer]) = (held[racer] + 1, claim);
                        free -= 1;
                    }
                }
                if held[racer] < rooms[racer] {
                    tries.push(Reverse((claim + step, (place + skip) % PLACES, skip, step)));
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
            assert_eq!(u64::from(inverse(skip)) * u64::from(skip) % u64::from(PLACES), 1, "{skip}");
        }
    }
}
