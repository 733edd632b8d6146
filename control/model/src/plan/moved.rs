//! Share of the hash space that leads to another backend under another lookup table.

use std::collections::BTreeMap;

use guideway_dataplane::subsets::Subsets;

use crate::lookup_table_view::NamedTable;

/// Clients, each with one of its hashes, that are looked at where slots cannot be compared one by one.
const SAMPLES: u64 = 1 << 16;

/// Number of slots that lead elsewhere, where slots can be compared, and the share of the hash space that does; `hash_stays`
/// if a flow keeps its selection hash.
pub(super) fn moved_share(
    before: NamedTable<'_>,
    after: NamedTable<'_>,
    hash_stays: bool,
) -> (Option<usize>, f64) {
    if before.table().is_empty() || after.table().is_empty() {
        let is_same = before.table().is_empty() && after.table().is_empty();
        return if is_same { (Some(0), 0.0) } else { (Some(before.table().len()), 1.0) };
    }
    if !hash_stays {
        return (None, moved_by_another_hash(before, after));
    }
    let slots = before.table().len();
    if slots != after.table().len() || before.subsets().is_some() || after.subsets().is_some() {
        return (None, sampled(before, after));
    }
    let moved = (0..slots).filter(|slot| before.backend_at(*slot) != after.backend_at(*slot)).count();
    (Some(moved), moved as f64 / slots as f64)
}

/// Chance that two independent hashes, one in each table, lead to different backends.
fn moved_by_another_hash(before: NamedTable<'_>, after: NamedTable<'_>) -> f64 {
    let share = |table: NamedTable<'_>, slots: u32| f64::from(slots) / table.table().len() as f64;
    let shares: BTreeMap<_, _> =
        before.shares().map(|of| (of.backend.to_owned(), share(before, of.slots))).collect();
    let same = |of: crate::lookup_table_view::Share<'_>| {
        shares.get(of.backend).map_or(0.0, |before| before * share(after, of.slots))
    };
    (1.0 - after.shares().map(same).sum::<f64>()).max(0.0)
}

/// Share of evenly spread clients and hashes whose backend is another.
fn sampled(before: NamedTable<'_>, after: NamedTable<'_>) -> f64 {
    // The golden ratio spreads consecutive numbers evenly over the hash space, and another odd number the clients' hashes.
    let moved = (0..SAMPLES).filter(|number| {
        let hash = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let client = number.wrapping_mul(0xd1b5_4a32_d192_ed03).rotate_left(32);
        chosen(before, client, hash) != chosen(after, client, hash)
    });
    moved.count() as f64 / SAMPLES as f64
}

/// Backend that a client's hash and a selection hash lead to.
fn chosen<'a>(table: NamedTable<'a>, client: u64, hash: u64) -> &'a str {
    match table.subsets() {
        None => table.backend_at(table.table().slot_of(hash)),
        Some(subsets) => of_subset(table, subsets, client, hash),
    }
}

fn of_subset<'a>(table: NamedTable<'a>, subsets: &Subsets, client: u64, hash: u64) -> &'a str {
    let class = subsets.class_of(client);
    let seat = subsets.seat_of(class, hash) % subsets.size();
    table.subset(class).nth(seat).expect("a seat is one of its class")
}
