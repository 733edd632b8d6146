//! The weighted Maglev lookup table: which of the eligible backends a selection hash leads to.
//!
//! A table is a pure function of the seed and the set of (backend name, weight), so every worker, every restart and
//! every appliance of a fleet arrives at the same one. Maglev (Eisenbud et al., NSDI 2016) fills its table in turns;
//! this one runs a race instead (`maglev/race.rs`), which keeps every share exact to one slot and moves fewer slots when
//! the set changes. docs/lookup-table.md specifies both, with measurements.

mod quota;
mod race;

use std::hash::Hasher;
use std::sync::{Arc, OnceLock};

use siphasher::sip::SipHasher13;

use crate::seed::Seed;
use quota::Quotas;

/// Eligible backend as the lookup table sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weighted<'a> {
    /// Name, which alone decides the slots that the backend prefers; no two backends of a table share one.
    pub name: &'a str,
    /// Weight, 0 to 1000; larger ones work, but the shares of small ones may then need a larger table.
    pub weight: u16,
}

/// Slots, each of which holds a backend; a selection hash leads to a slot.
///
/// Backends go by their index in the list that the table was built from.
#[derive(Clone, Debug)]
pub struct LookupTable {
    slots: Arc<[u16]>,
    backends: usize,
    roster: Roster,
    /// Digest, made when it is first asked for: between a probe and the first packet that goes by it nobody asks.
    digest: OnceLock<u64>,
}

impl LookupTable {
    /// Largest number of backends that a table can be built from.
    pub const MAX_BACKENDS: usize = 65_535;

    /// Builds the table of these backends; their order does not matter.
    ///
    /// A backend of weight zero gets no slot, unless all weights are zero: then all are served evenly. Without backends
    /// there are no slots.
    ///
    /// # Panics
    ///
    /// If there are more than [`LookupTable::MAX_BACKENDS`].
    #[must_use]
    pub fn build(seed: &Seed, backends: &[Weighted<'_>]) -> Self {
        assert!(backends.len() <= Self::MAX_BACKENDS, "{} backends are too many", backends.len());
        let all_zero = backends.iter().all(|backend| backend.weight == 0);
        let mut order: Vec<u16> = (0..backends.len())
            .filter(|&index| all_zero || backends[index].weight > 0)
            .map(|index| index as u16)
            .collect();
        order.sort_unstable_by_key(|&index| backends[usize::from(index)].name);
        if order.is_empty() {
            return Self {
                slots: Arc::default(),
                backends: 0,
                roster: Roster::of(&[], &[], 0),
                digest: OnceLock::new(),
            };
        }

        let ordered: Vec<(&str, u16)> = order
            .iter()
            .map(|&index| backends[usize::from(index)])
            .map(|backend| (backend.name, backend.weight.max(1)))
            .collect();
        let weights: Vec<u16> = ordered.iter().map(|&(_, weight)| weight).collect();
        let winners = race::run(seed, &ordered, &Quotas::of(&weights));
        Self {
            slots: winners.into_iter().map(|winner| order[usize::from(winner)]).collect(),
            backends: backends.len(),
            roster: Roster::of(&ordered, &order, backends.len()),
            digest: OnceLock::new(),
        }
    }

    /// Number of slots: a prime, or zero if there is no backend.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// True if there is no backend to select.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Slot that a selection hash leads to: the hash, as a fraction of 2^64, of the way through the table.
    #[inline]
    #[must_use]
    pub fn slot_of(&self, hash: u64) -> usize {
        // A multiplication where Maglev has a division: it costs a tenth, and takes the hash's best bits.
        ((u128::from(hash) * self.slots.len() as u128) >> 64) as usize
    }

    /// Backend in a slot.
    ///
    /// # Panics
    ///
    /// If there is no such slot.
    #[inline]
    #[must_use]
    pub fn at(&self, slot: usize) -> u16 {
        self.slots[slot]
    }

    /// Backend that a selection hash leads to; `None` if the table is empty.
    #[inline]
    #[must_use]
    pub fn select(&self, hash: u64) -> Option<u16> {
        self.slots.get(self.slot_of(hash)).copied()
    }

    /// Backends of all slots.
    pub(crate) fn slots(&self) -> &Arc<[u16]> {
        &self.slots
    }

    /// Number of slots of each backend, in the order that the table was built from.
    #[must_use]
    pub fn shares(&self) -> Vec<u32> {
        let mut shares = vec![0; self.backends];
        for &backend in self.slots.iter() {
            shares[usize::from(backend)] += 1;
        }
        shares
    }

    /// Digest that tells tables apart: equal if every slot holds the backend of the same name.
    ///
    /// The digest is not keyed and does not depend on the order that the table was built from, so that appliances can
    /// compare theirs.
    #[must_use]
    pub fn digest(&self) -> u64 {
        *self.digest.get_or_init(|| self.roster.digest(&self.slots))
    }
}

/// Backends with slots as the digest names them: by their position in the order of names.
#[derive(Clone, Debug)]
struct Roster {
    /// Number of backends, and each one's name after its length in bytes.
    names: Box<[u8]>,
    /// Position of each backend of the list that the table was built from.
    positions: Box<[u16]>,
}

impl Roster {
    /// The roster of these backends, which are those at the indices `order` of a list of so many.
    fn of(ordered: &[(&str, u16)], order: &[u16], backends: usize) -> Self {
        let mut names = (ordered.len() as u32).to_le_bytes().to_vec();
        for (name, _) in ordered {
            names.extend_from_slice(&(name.len() as u32).to_le_bytes());
            names.extend_from_slice(name.as_bytes());
        }
        let mut positions = vec![0; backends].into_boxed_slice();
        for (position, &index) in order.iter().enumerate() {
            positions[usize::from(index)] = position as u16;
        }
        Self { names: names.into(), positions }
    }

    /// SipHash-1-3 under a key of zeros of: the number of backends, each one's name after its length in bytes, and each
    /// slot's backend; backends count from zero by name, and numbers are little-endian, of 32 bits before the slots and
    /// of 16 in them.
    fn digest(&self, slots: &[u16]) -> u64 {
        let mut hasher = SipHasher13::new();
        hasher.write(&self.names);
        // One call for all of it is several times faster than one for each slot.
        let slots: Vec<u8> =
            slots.iter().flat_map(|&index| self.positions[usize::from(index)].to_le_bytes()).collect();
        hasher.write(&slots);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SEED: Seed = Seed::DEFAULT;

    /// Backends `web-0`, `web-1`, ... of these weights.
    fn named(weights: &[u16]) -> Vec<(String, u16)> {
        weights.iter().enumerate().map(|(index, &weight)| (format!("web-{index}"), weight)).collect()
    }

    fn build(backends: &[(String, u16)]) -> LookupTable {
        let backends: Vec<Weighted<'_>> =
            backends.iter().map(|(name, weight)| Weighted { name, weight: *weight }).collect();
        LookupTable::build(&SEED, &backends)
    }

    /// The share of slots, in percent, whose backend is another after `change`.
    fn moved(before: &[(String, u16)], change: impl FnOnce(&mut Vec<(String, u16)>)) -> f64 {
        let mut after = before.to_vec();
        change(&mut after);
        let (old, new) = (build(before), build(&after));
        assert_eq!(old.len(), new.len());
        let differ =
            |&slot: &usize| before[usize::from(old.at(slot))].0 != after[usize::from(new.at(slot))].0;
        let count = (0..old.len()).filter(differ).count();
        count as f64 / old.len() as f64 * 100.0
    }

    fn assert_exact(weights: &[u16], table: &LookupTable) {
        let total: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
        for (&weight, share) in weights.iter().zip(table.shares()) {
            let parts = table.len() as u64 * u64::from(weight);
            let (floor, ceil) = (parts / total, parts.div_ceil(total));
            let exact = if weight == 0 {
                share == 0
            } else {
                u64::from(share) == ceil || u64::from(share) == floor.max(1)
            };
            assert!(exact, "weight {weight} has {share} slots instead of {parts} / {total}");
        }
    }

    #[test]
    fn tables_are_frozen() {
        let cases: [(&str, Vec<u16>, u64); 7] = [
            ("none", vec![], 0xcc22_47b7_9ac4_8af0),
            ("one", vec![1], 0xd7b4_1268_7ad8_2fa6),
            ("three alike", vec![1; 3], 0xb8be_3f02_b2de_ffc3),
            ("a hundred alike", vec![1; 100], 0x4e97_a793_d707_0c03),
            ("a thousand, 1 to 1000", (1..=1000).collect(), 0x4087_a25b_0882_a62b),
            ("a larger table", [vec![1; 20], vec![1000; 80]].concat(), 0x71cf_1596_9c07_1165),
            ("all zero", vec![0; 3], 0xb8be_3f02_b2de_ffc3),
        ];
        let digests = cases.each_ref().map(|(_, weights, _)| build(&named(weights)).digest());
        for ((claim, _, frozen), digest) in cases.iter().zip(digests) {
            assert_eq!(digest, *frozen, "{claim}; all are {digests:#x?}");
        }
    }

    #[test]
    fn thousand_backends_with_weights_1_to_1000_get_exact_shares() {
        let weights: Vec<u16> = (1..=1000).collect();
        let table = build(&named(&weights));
        assert_eq!(table.len(), 65_537);
        assert_exact(&weights, &table);
    }

    #[test]
    fn another_size_moves_at_most_eight_percent() {
        let before = named(&[vec![1; 20], vec![1000; 80]].concat());
        let after = named(&[vec![1; 20], vec![1000; 80], vec![1]].concat());
        let (old, new) = (build(&before), build(&after));
        assert_eq!((old.len(), new.len()), (262_147, 65_537));
        let differs = |&hash: &u64| {
            before[usize::from(old.select(hash).unwrap())].0
                != after[usize::from(new.select(hash).unwrap())].0
        };
        let moved = (0..1_000_000).map(|step| step * (u64::MAX / 1_000_000)).filter(differs).count();
        assert!(moved < 80_000, "{moved} in a million");
    }

    #[test]
    fn small_weights_beside_large_ones_get_exact_shares_in_a_larger_table() {
        let weights = [vec![1; 800], vec![1000; 200]].concat();
        let table = build(&named(&weights));
        assert_eq!(table.len(), 262_147);
        assert_exact(&weights, &table);
    }

    #[test]
    fn as_many_backends_as_can_be_get_a_slot_each() {
        let shares = build(&named(&vec![7; LookupTable::MAX_BACKENDS])).shares();
        assert!(shares.iter().all(|&share| share == 1 || share == 2));
    }

    #[test]
    fn removing_one_of_three_moves_at_most_a_tenth_of_a_percent_too_many() {
        let backends = named(&[1; 3]);
        for index in 0..3 {
            let moved = moved(&backends, |backends| drop(backends.remove(index)));
            assert!(moved < 33.33 + 0.1, "{moved} %");
        }
    }

    #[test]
    fn removing_one_of_a_hundred_moves_at_most_1_4_percent() {
        let backends = named(&[1; 100]);
        for index in (0..100).step_by(20) {
            let moved = moved(&backends, |backends| drop(backends.remove(index)));
            assert!(moved < 1.4, "{moved} %");
        }
    }

    #[test]
    fn removing_ten_of_a_thousand_moves_at_most_2_2_percent() {
        let moved = moved(&named(&[1; 1000]), |backends| drop(backends.drain(500..510)));
        assert!(moved < 2.2, "{moved} %");
    }

    #[test]
    fn halving_the_largest_of_a_thousand_weights_moves_at_most_half_a_percent() {
        let moved = moved(&named(&(1..=1000).collect::<Vec<_>>()), |backends| backends[999].1 = 500);
        assert!(moved < 0.5, "{moved} %");
    }

    #[test]
    fn weight_of_zero_is_as_good_as_absence() {
        let with = build(&named(&[5, 3, 0]));
        let without = build(&named(&[5, 3]));
        assert_eq!(with.digest(), without.digest());
        assert_eq!(with.shares()[2], 0);
    }

    #[test]
    fn backends_of_no_weight_are_served_evenly() {
        assert_eq!(build(&named(&[0; 7])).digest(), build(&named(&[1; 7])).digest());
    }

    #[test]
    fn empty_table_selects_nobody() {
        let table = LookupTable::build(&SEED, &[]);
        assert!(table.is_empty());
        assert_eq!(table.shares(), []);
        assert_eq!(table.select(0), None);
        assert_eq!(table.select(u64::MAX), None);
    }

    #[test]
    fn hash_of_zero_leads_to_the_first_slot_and_the_largest_to_the_last() {
        let table = build(&named(&[1; 3]));
        assert_eq!(table.slot_of(0), 0);
        assert_eq!(table.slot_of(u64::MAX), table.len() - 1);
        assert_eq!(table.select(u64::MAX), Some(table.at(65_536)));
    }

    #[test]
    fn another_seed_gives_another_table() {
        let backends = [Weighted { name: "a", weight: 1 }, Weighted { name: "b", weight: 1 }];
        let other = Seed::new([7; 16]);
        assert_ne!(
            LookupTable::build(&SEED, &backends).digest(),
            LookupTable::build(&other, &backends).digest()
        );
    }

    #[test]
    #[should_panic(expected = "65536 backends are too many")]
    fn more_backends_than_an_index_can_name_are_refused() {
        let _ = LookupTable::build(&SEED, &[Weighted { name: "a", weight: 1 }; 65_536]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn shares_are_exact_to_one_slot(weights in prop::collection::vec(1..=1000u16, 1..300)) {
            assert_exact(&weights, &build(&named(&weights)));
        }

        #[test]
        fn shares_of_extreme_weights_are_exact_to_one_slot(small in 1..300usize, large in 1..300usize) {
            let weights = [vec![1; small], vec![1000; large]].concat();
            assert_exact(&weights, &build(&named(&weights)));
        }

        #[test]
        fn order_of_the_backends_does_not_matter(
            (sorted, shuffled) in prop::collection::vec(0..=1000u16, 1..50)
                .prop_map(|weights| named(&weights))
                .prop_flat_map(|backends| (Just(backends.clone()), Just(backends).prop_shuffle())),
        ) {
            let (one, other) = (build(&sorted), build(&shuffled));
            prop_assert_eq!(one.digest(), other.digest());
            for slot in 0..one.len() {
                prop_assert_eq!(&sorted[usize::from(one.at(slot))], &shuffled[usize::from(other.at(slot))]);
            }
        }
    }
}
