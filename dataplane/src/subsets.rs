//! Subsets: the few backends that the clients of one class meet, chosen from the lookup table for all classes at once.
//!
//! A client's class is a keyed hash of its address alone, so every appliance of a fleet finds the same subset for it,
//! whichever of them a packet comes to. A class has a fixed number of seats, and each seat a slot of the lookup table at
//! which its search begins: the slots of all seats are spread evenly over the table, in an order that no client knows.
//!
//! ```text
//! lookup table   … a c b b d a c d b …      seat of a class   begins at   backend
//!                      ▲ ▲   ▲                    0             b            b
//!                      0 1   2                    1             b            d, as b has a seat: two slots on
//!                                                 2             c            c
//! ```
//!
//! In each round every seat that is still empty takes the backend of its slot, unless that has a seat in the class
//! already; then the seat's slot moves on by a stride of its own. So a backend that goes leaves its own seats, and whoever
//! gets its slots sits there: nearly all other seats keep their backends, and with them the selection hashes that lead to
//! the seat. docs/lookup-table.md specifies it, with measurements.

use std::num::NonZeroU16;
use std::sync::Arc;

use crate::maglev::LookupTable;
use crate::seed::Seed;

/// Subsets of the backends of a lookup table, one for each class of clients.
///
/// Backends go by their index in the list that the lookup table was built from.
#[derive(Clone, Debug)]
pub struct Subsets {
    /// Backends of the seats of class 0, of class 1, and so on.
    members: Arc<[u16]>,
    size: u16,
    classes: u32,
}

impl Subsets {
    /// Largest number of seats of all classes together, of two bytes each: about four to a slot of the smallest table, so
    /// that backends with equal shares of the table have the beginnings of equally many seats, whatever the size.
    pub const MAX_SEATS: usize = 1 << 18;

    /// Number of classes where subsets are of this size.
    #[must_use]
    pub const fn classes(size: NonZeroU16) -> usize {
        Self::MAX_SEATS / size.get() as usize
    }

    /// Chooses subsets of `size` backends of the table; none if it has no more backends than that, and every client meets
    /// all of them.
    ///
    /// Like the table, they are a pure function of the seed, the size and the set of (backend name, weight).
    #[must_use]
    pub fn build(seed: &Seed, table: &LookupTable, size: NonZeroU16) -> Option<Self> {
        let shares = table.shares();
        let backends = shares.iter().filter(|&&share| share > 0).count();
        if usize::from(size.get()) >= backends {
            return None;
        }
        let (size, classes) = (size.get(), Self::classes(size));
        let seats = usize::from(size);
        let first_slots = first_slots(seed, table.len(), seats, classes);
        let mut members = vec![0; first_slots.len()];
        let mut class = Class { number: 0, latest_of: vec![0; shares.len()], empty: Vec::new() };
        for (members, first_slots) in members.chunks_exact_mut(seats).zip(first_slots.chunks_exact(seats)) {
            class.fill(table, first_slots, members);
        }
        Some(Self { members: members.into(), size, classes: classes as u32 })
    }

    /// Number of backends in each subset.
    #[must_use]
    pub fn size(&self) -> usize {
        usize::from(self.size)
    }

    /// Class of the clients whose address has this hash.
    //
    // By the hash's least significant bits, as a seat is chosen by the most significant ones of what may be the same hash.
    #[inline]
    #[must_use]
    pub fn class_of(&self, client_hash: u64) -> usize {
        let low = u64::from(client_hash as u32);
        ((low * u64::from(self.classes)) >> u32::BITS) as usize
    }

    /// Backends of each class, by seat.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u16]> {
        self.members.chunks_exact(self.size())
    }

    /// Backends of a class, by seat.
    ///
    /// # Panics
    /// If there is no such class.
    #[must_use]
    pub fn of_class(&self, class: usize) -> &[u16] {
        &self.members[class * self.size()..][..self.size()]
    }

    /// Digest that tells subsets apart, given that of their lookup table: SipHash-1-3 under a key of zeros of that (64 bits)
    /// and the size (16 bits), little-endian.
    #[must_use]
    pub fn digest(&self, of_table: u64) -> u64 {
        let mut bytes = of_table.to_le_bytes().to_vec();
        bytes.extend_from_slice(&self.size.to_le_bytes());
        Seed::new([0; 16]).hash_apart(&bytes)
    }

    /// Seat that a selection hash leads to in a class, among the seats of all classes: the hash, as a fraction of 2^64, of
    /// the way through those of the class.
    #[inline]
    #[must_use]
    pub fn seat_of(&self, class: usize, hash: u64) -> usize {
        class * self.size() + ((u128::from(hash) * u128::from(self.size)) >> 64) as usize
    }

    /// Backends of all seats.
    pub(crate) fn seats(&self) -> &Arc<[u16]> {
        &self.members
    }
}

/// Slots at which the seats of all classes begin.
///
/// The class that comes `r`-th in the order of a seat begins as far through the table with it as `r × size + seat` is
/// through all seats.
fn first_slots(seed: &Seed, slots: usize, size: usize, classes: usize) -> Vec<u32> {
    let mut first_slots = vec![0; size * classes];
    let mut order = Vec::new();
    for seat in 0..size {
        shuffle(seed, seat, classes, &mut order);
        for (class, &rank) in order.iter().enumerate() {
            let position = rank as usize * size + seat;
            first_slots[class * size + seat] = (position * slots / (size * classes)) as u32;
        }
    }
    first_slots
}

/// Writes the order of the classes of one seat: a shuffle by Fisher and Yates, whose random numbers are those of SplitMix64
/// from a keyed hash of the seat's number on.
fn shuffle(seed: &Seed, seat: usize, classes: usize, order: &mut Vec<u32>) {
    let mut state = seed.hash_name("seat", &seat.to_string());
    order.clear();
    order.extend(0..classes as u32);
    for last in (1..classes).rev() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        order.swap(last, scale(mix(state), last + 1));
    }
}

/// Output function of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
fn mix(state: u64) -> u64 {
    let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// Maps a hash evenly to `0..range`, by its most significant bits.
fn scale(hash: u64, range: usize) -> usize {
    ((u128::from(hash) * range as u128) >> 64) as usize
}

/// The class whose seats are being filled.
struct Class {
    /// Number of the class, counted from one.
    number: u32,
    /// Latest class that each backend has a seat in; zero for none.
    latest_of: Vec<u32>,
    /// Seats that have no backend yet.
    empty: Vec<Seat>,
}

/// A seat in search of a backend.
struct Seat {
    index: usize,
    slot: usize,
    stride: usize,
}

impl Class {
    /// Goes on to the next class, and fills its seats with backends of the table, which has more of them than there are
    /// seats.
    fn fill(&mut self, table: &LookupTable, first_slots: &[u32], members: &mut [u16]) {
        self.number += 1;
        let mut empty = std::mem::take(&mut self.empty);
        for (index, (member, &slot)) in members.iter_mut().zip(first_slots).enumerate() {
            *member = table.at(slot as usize);
            if !self.take(*member) {
                // The number of slots is prime, so any stride comes to every slot.
                let stride = 1 + scale(mix((index as u64) << 32 | u64::from(slot)), table.len() - 1);
                empty.push(Seat { index, slot: slot as usize, stride });
            }
        }
        while !empty.is_empty() {
            empty.retain_mut(|seat| {
                seat.slot += seat.stride;
                seat.slot -= if seat.slot < table.len() { 0 } else { table.len() };
                let backend = table.at(seat.slot);
                let is_taken = self.take(backend);
                if is_taken {
                    members[seat.index] = backend;
                }
                !is_taken
            });
        }
        self.empty = empty;
    }

    /// Takes a backend into the class; false if it is there already.
    fn take(&mut self, backend: u16) -> bool {
        std::mem::replace(&mut self.latest_of[usize::from(backend)], self.number) != self.number
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::maglev::Weighted;

    const OTHER: Seed = Seed::new([7; 16]);

    /// Lookup table and subsets of the backends `web-0`, `web-1`, ... of which one may be missing, each by the number in its
    /// name.
    struct Choice {
        numbers: Vec<u16>,
        table: LookupTable,
        subsets: Option<Subsets>,
    }

    impl Choice {
        fn new(seed: &Seed, backends: u16, size: u16, missing: Option<u16>) -> Self {
            let numbers: Vec<u16> = (0..backends).filter(|number| Some(*number) != missing).collect();
            let names: Vec<String> = numbers.iter().map(|number| format!("web-{number}")).collect();
            let weighted: Vec<Weighted<'_>> = names.iter().map(|name| Weighted { name, weight: 1 }).collect();
            let table = LookupTable::build(seed, &weighted);
            let subsets = Subsets::build(seed, &table, NonZeroU16::new(size).expect("a size"));
            Self { numbers, table, subsets }
        }

        /// Numbers of the backends of each class, by seat.
        fn classes(&self) -> Vec<Vec<u16>> {
            let subsets = self.subsets.as_ref().expect("there are more backends than seats");
            let number = |backend: &u16| self.numbers[usize::from(*backend)];
            subsets.iter().map(|members| members.iter().map(number).collect()).collect()
        }

        /// Numbers of the backends of all slots.
        fn slots(&self) -> Vec<u16> {
            (0..self.table.len()).map(|slot| self.numbers[usize::from(self.table.at(slot))]).collect()
        }
    }

    /// Share of the pairs whose halves differ.
    fn share_of_differing<T: PartialEq>(one: &[T], other: &[T]) -> f64 {
        assert_eq!(one.len(), other.len());
        one.iter().zip(other).filter(|(one, other)| one != other).count() as f64 / one.len() as f64
    }

    /// Factor by which more of the selection hashes of all classes move than were the backend's, when a backend goes; and
    /// the same of the slots of the lookup table.
    fn disruption(backends: u16, size: u16, missing: u16) -> (f64, f64) {
        let before = Choice::new(&Seed::DEFAULT, backends, size, None);
        let after = Choice::new(&Seed::DEFAULT, backends, size, Some(missing));
        let seats = before.classes().concat();
        let own = seats.iter().filter(|number| **number == missing).count() as f64 / seats.len() as f64;
        let of_subsets = share_of_differing(&seats, &after.classes().concat()) / own;
        (of_subsets, share_of_differing(&before.slots(), &after.slots()) * f64::from(backends))
    }

    #[test]
    fn subsets_are_frozen() {
        let first = Choice::new(&Seed::DEFAULT, 6, 2, None).classes();
        assert_eq!(first[..6], [[4u16, 3], [4, 3], [0, 1], [3, 2], [0, 3], [1, 0]].map(Vec::from));
        for (backends, size, frozen) in [
            (6, 2, 0xcad8_3187_e2c8_61f0),
            (100, 33, 0xeb87_bb59_c055_bc99),
            (300, 290, 0xdc85_e617_f094_f3c9),
        ] {
            let seats = Choice::new(&Seed::DEFAULT, backends, size, None).classes().concat();
            let bytes: Vec<u8> = seats.into_iter().flat_map(u16::to_le_bytes).collect();
            let digest = Seed::new([0; 16]).hash(&bytes);
            assert_eq!(digest, frozen, "{size} of {backends} give {digest:#018x}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn every_class_has_as_many_distinct_backends_as_it_has_seats(backends in 2..300u16, share in 1..100u32) {
            let size = (u32::from(backends - 1) * share / 100).max(1) as u16;
            let choice = Choice::new(&Seed::DEFAULT, backends, size, None);
            let classes = choice.classes();
            prop_assert_eq!(classes.len(), Subsets::MAX_SEATS / usize::from(size));
            for members in classes {
                prop_assert_eq!(members.len(), usize::from(size));
                prop_assert_eq!(members.iter().collect::<BTreeSet<_>>().len(), usize::from(size));
            }
        }
    }

    #[test]
    fn as_many_backends_as_seats_or_fewer_have_no_subsets() {
        for (backends, size) in [(0, 1), (1, 1), (3, 3), (3, 1000)] {
            assert!(
                Choice::new(&Seed::DEFAULT, backends, size, None).subsets.is_none(),
                "{size} of {backends}"
            );
        }
    }

    #[test]
    fn every_backend_is_in_about_as_many_subsets() {
        for (backends, size, percent) in
            [(3, 1, 0.01), (3, 2, 0.5), (6, 2, 0.5), (10, 8, 0.5), (100, 10, 3.0), (1_000, 20, 8.0)]
        {
            let mut memberships = vec![0; usize::from(backends)];
            for number in Choice::new(&Seed::DEFAULT, backends, size, None).classes().into_iter().flatten() {
                memberships[usize::from(number)] += 1;
            }
            let mean = f64::from(memberships.iter().sum::<u32>()) / f64::from(backends);
            let off = memberships
                .iter()
                .map(|&number| (f64::from(number) / mean - 1.0).abs() * 100.0)
                .fold(0.0, f64::max);
            assert!(
                off < percent,
                "{size} of {backends}: a backend is in {off} % more or fewer subsets than the mean"
            );
        }
    }

    #[test]
    fn a_backend_that_goes_or_comes_moves_little_more_than_its_own_hashes() {
        for (backends, size, limit) in
            [(3, 1, 1.01), (6, 2, 1.2), (10, 3, 1.3), (20, 5, 1.3), (100, 10, 1.5), (100, 50, 2.3)]
        {
            let (of_subsets, of_table) = disruption(backends, size, backends / 2);
            assert!(
                of_subsets < limit,
                "{size} of {backends}: {of_subsets} times its own, and {of_table} of the table's"
            );
        }
        // The table itself moves four times a backend's share where there are a thousand.
        let (of_subsets, of_table) = disruption(1_000, 20, 500);
        assert!(of_subsets < 1.2 * of_table, "{of_subsets} times its own, and {of_table} of the table's");
    }

    #[test]
    fn a_class_that_changes_keeps_its_other_seats() {
        let before = Choice::new(&Seed::DEFAULT, 20, 4, None).classes();
        let after = Choice::new(&Seed::DEFAULT, 20, 4, Some(7)).classes();
        let had = before.iter().zip(&after).filter(|(before, _)| before.contains(&7));
        let changed =
            had.map(|(before, after)| before.iter().zip(after).filter(|(one, other)| one != other).count());
        let changed: Vec<usize> = changed.collect();
        let alone = changed.iter().filter(|&&seats| seats == 1).count();
        assert!(
            alone * 10 > changed.len() * 8,
            "{alone} of {} classes changed one seat alone",
            changed.len()
        );
    }

    #[test]
    fn another_seed_gives_other_subsets_and_the_same_seed_the_same() {
        let classes = |seed| Choice::new(seed, 20, 4, None).classes();
        assert_eq!(classes(&Seed::DEFAULT), classes(&Seed::DEFAULT));
        let differing = share_of_differing(&classes(&Seed::DEFAULT), &classes(&OTHER));
        assert!(differing > 0.99, "{differing}");
    }

    #[test]
    fn classes_and_seats_are_chosen_by_bits_of_a_hash_that_have_nothing_in_common() {
        let subsets = Choice::new(&Seed::DEFAULT, 6, 2, None).subsets.expect("2 of 6");
        assert_eq!(Subsets::classes(NonZeroU16::new(2).expect("2")), 131_072);
        assert_eq!((subsets.class_of(0), subsets.class_of(u64::MAX)), (0, 131_071));
        assert_eq!((subsets.class_of(u64::MAX << 32), subsets.class_of(u64::from(u32::MAX))), (0, 131_071));
        assert_eq!((subsets.seat_of(3, u64::from(u32::MAX)), subsets.seat_of(3, u64::MAX)), (6, 7));
        assert_eq!(subsets.seats()[7], subsets.of_class(3)[1]);
    }
}
