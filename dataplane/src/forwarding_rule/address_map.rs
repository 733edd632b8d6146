//! A map from addresses, built once and read for every packet.
//!
//! Open addressing at half load with one multiplication for a hash: whoever sends packets chooses what is looked up,
//! not what is held, so nobody can pile keys up and the hash need not be keyed. The addresses that are held lie next to
//! each other in memory, apart from what they lead to.

use std::collections::BTreeMap;

use crate::address::Address;

/// Cell of the table, in which a lookup starts and goes on to the next while it finds another address.
#[derive(Clone, Copy, Debug)]
struct Cell {
    address: Address,
    /// Index of the address's value; [`Cell::EMPTY`] if the cell holds no address.
    value: u32,
}

impl Cell {
    const EMPTY: u32 = u32::MAX;
}

/// Map from addresses, built once.
#[derive(Debug)]
pub(super) struct AddressMap<T> {
    /// A power of two of them, at most half of them taken.
    cells: Box<[Cell]>,
    values: Box<[T]>,
}

impl<T> AddressMap<T> {
    /// Value of `address`.
    #[inline]
    pub(super) fn get(&self, address: Address) -> Option<&T> {
        let mut index = home(address, self.cells.len());
        loop {
            let cell = self.cells.get(index)?;
            if cell.value == Cell::EMPTY {
                return None;
            }
            if cell.address == address {
                return self.values.get(cell.value as usize);
            }
            index = (index + 1) & (self.cells.len() - 1);
        }
    }
}

impl<T> AddressMap<T> {
    /// Addresses that are held, in no order.
    pub(super) fn keys(&self) -> impl Iterator<Item = Address> {
        self.cells.iter().filter(|cell| cell.value != Cell::EMPTY).map(|cell| cell.address)
    }

    /// Values of all addresses, in no order.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.values.iter()
    }
}

impl<T> From<BTreeMap<Address, T>> for AddressMap<T> {
    fn from(values: BTreeMap<Address, T>) -> Self {
        let empty = Cell { address: Address(0), value: Cell::EMPTY };
        let mut cells = vec![empty; (2 * values.len()).next_power_of_two()].into_boxed_slice();
        for (value, address) in values.keys().enumerate() {
            let mut index = home(*address, cells.len());
            while cells[index].value != Cell::EMPTY {
                index = (index + 1) & (cells.len() - 1);
            }
            cells[index] = Cell { address: *address, value: value as u32 };
        }
        Self { cells, values: values.into_values().collect() }
    }
}

impl<T> Default for AddressMap<T> {
    fn default() -> Self {
        BTreeMap::new().into()
    }
}

/// Index of the cell that an address belongs in, of a power of two of them.
#[inline]
fn home(address: Address, cells: usize) -> usize {
    // The golden ratio's bits, as in Fibonacci hashing: neighbouring addresses end far apart.
    let words = (address.0 as u64) ^ ((address.0 >> 64) as u64).rotate_left(32);
    (words.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize & (cells - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_leads_to_its_own_value_and_no_other_to_any() {
        for count in [0, 1, 2, 3, 100, 1000] {
            let v4 = |n: u128| Address::v4((0xcb00_7100 + n as u32).to_be_bytes());
            let v6 = |n: u128| Address(0x2001_0db8 << 96 | n << 16);
            let held: BTreeMap<Address, u128> =
                (0..count).flat_map(|n| [(v4(n), n), (v6(n), n + 10_000)]).collect();
            let map = AddressMap::from(held.clone());
            for n in 0..2 * count + 2 {
                assert_eq!(map.get(v4(n)), held.get(&v4(n)));
                assert_eq!(map.get(v6(n)), held.get(&v6(n)));
            }
        }
    }

    /// Found by trying: addresses that all belong in the last cell and so go round to the first ones.
    #[test]
    fn addresses_that_share_a_cell_are_told_apart() {
        let cells = 16;
        let last: Vec<Address> =
            (0..4096).map(Address).filter(|address| home(*address, cells) == cells - 1).take(8).collect();
        let (held, others) = last.split_at(6);
        let map =
            AddressMap::from(held.iter().map(|address| (*address, *address)).collect::<BTreeMap<_, _>>());
        assert_eq!(map.cells.len(), cells);
        assert!(held.iter().all(|address| map.get(*address) == Some(address)));
        assert!(others.iter().all(|address| map.get(*address).is_none()));
    }
}
