//! Quotas: the number of slots of a lookup table, and of those that each backend gets.

/// Sizes that a table can have: the first primes above 2^16, 2^18 and 2^20.
pub(super) const SIZES: [u32; 3] = [65_537, 262_147, 1_048_583];

/// Size of a table, and the slots that each backend may have of it.
pub(super) struct Quotas {
    /// Number of slots of the table.
    pub(super) slots: u32,
    /// Slots that each backend gets, in the order of the weights.
    pub(super) floors: Vec<Floor>,
    /// Number of slots that are left when each backend has its floor; one each for as many backends.
    pub(super) extras: u32,
}

/// Slots that one backend gets for certain.
pub(super) struct Floor {
    /// Ideal share rounded down, but at least one slot.
    pub(super) slots: u32,
    /// True if the ideal share is larger than that, so that one more slot is still exact.
    pub(super) may_have_extra: bool,
}

impl Quotas {
    /// Quotas of the smallest table in which every one of these nonzero weights gets its share, exact to one slot.
    ///
    /// Backends whose share is less than one slot get a whole one, which the others pay for with the fractions of
    /// their shares; where those do not suffice, the table must be larger. In a table of at least (sum of weights) /
    /// (smallest weight) slots nobody's share is less than one slot, so the largest size serves every set with at
    /// most 1,048,583 there, which any 1,000 backends with weights from 1 to 1000 have. Beyond it, shares above
    /// one slot shrink alike until the whole slots of the small ones are paid for.
    pub(super) fn of(weights: &[u16]) -> Self {
        let total: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
        let largest = SIZES[SIZES.len() - 1];
        let (slots, parts) = SIZES
            .into_iter()
            .find(|&size| floor_sum(weights, total, size) <= u64::from(size))
            .map_or_else(|| (largest, largest_fit(weights, total, largest)), |size| (size, size));
        let floors: Vec<Floor> = weights.iter().map(|&weight| floor(weight, total, parts)).collect();
        let settled: u32 = floors.iter().map(|floor| floor.slots).sum();
        Self { slots, floors, extras: slots - settled }
    }
}

/// The floor of one backend where `parts` slots are divided by weight.
fn floor(weight: u16, total: u64, parts: u32) -> Floor {
    let share = u64::from(parts) * u64::from(weight);
    let whole = u32::try_from(share / total).expect("a share is at most the table");
    Floor { slots: whole.max(1), may_have_extra: whole > 0 && !share.is_multiple_of(total) }
}

/// The sum of all floors where `parts` slots are divided by weight.
fn floor_sum(weights: &[u16], total: u64, parts: u32) -> u64 {
    weights.iter().map(|&weight| u64::from(floor(weight, total, parts).slots)).sum()
}

/// The largest number of parts whose floors still fit in `size` slots.
fn largest_fit(weights: &[u16], total: u64, size: u32) -> u32 {
    let (mut fits, mut exceeds) = (0, size);
    while exceeds - fits > 1 {
        let middle = fits + (exceeds - fits) / 2;
        if floor_sum(weights, total, middle) <= u64::from(size) {
            fits = middle;
        } else {
            exceeds = middle;
        }
    }
    fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_the_first_primes_above_powers_of_four() {
        let is_prime = |n: u32| (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d));
        for (size, power) in SIZES.into_iter().zip([16, 18, 20]) {
            assert_eq!((1u32 << power..).skip(1).find(|&n| is_prime(n)), Some(size));
        }
    }

    #[test]
    fn table_grows_only_where_fractions_cannot_pay_for_whole_slots() {
        let sizes_of =
            |small: usize, large: usize| Quotas::of(&[vec![1; small], vec![1000; large]].concat()).slots;
        assert_eq!(sizes_of(1000, 0), 65_537);
        assert_eq!(sizes_of(0, 1000), 65_537);
        assert_eq!(sizes_of(500, 500), 65_537);
        assert_eq!(sizes_of(800, 200), 262_147);
        assert_eq!(Quotas::of(&(1..=1000).collect::<Vec<_>>()).slots, 65_537);
    }

    #[test]
    fn no_thousand_backends_need_more_than_the_largest_table() {
        for small in 1..1000 {
            let weights = [vec![1; small], vec![1000; 1000 - small]].concat();
            let total = weights.iter().map(|&weight| u64::from(weight)).sum();
            assert!(floor_sum(&weights, total, SIZES[2]) <= u64::from(SIZES[2]));
        }
    }

    #[test]
    fn beyond_the_largest_table_everybody_still_gets_a_slot() {
        let quotas = Quotas::of(&[vec![1; 60_000], vec![1000; 5_535]].concat());
        assert_eq!(quotas.slots, 1_048_583);
        assert!(quotas.floors.iter().all(|floor| floor.slots >= 1));
        assert!(quotas.floors[60_000..].iter().all(|floor| floor.slots > 100));
        let takers = quotas.floors.iter().filter(|floor| floor.may_have_extra).count();
        assert!(quotas.extras as usize <= takers, "{} extras for {takers}", quotas.extras);
    }
}
