//! A table from (VIP, protocol, port) to the rule for it: a packet to a listed port costs a hash and a cell, one to a VIP
//! whose rule takes all ports two of each.
//!
//! Only what the client has no say in stands in it; for the rest a cell says that the client decides, and the VIP's own
//! lists are asked. Ranges of many ports are not spelled out: they too are left to the lists.

use std::collections::BTreeMap;

use super::vip::Vip;
use super::{RuleId, ServiceId};
use crate::address::Address;
use crate::wire::protocol;

/// Ports of a range that are spelled out at most; of a longer one, none.
const SPELLED_OUT: u16 = 64;

/// Rule for all packets of one VIP, protocol and port.
#[derive(Clone, Copy, Debug)]
struct Cell {
    address: Address,
    /// Port and protocol as one number; zero if the cell is empty.
    port: PortKey,
    /// Rule and its service; none if the client decides, or if the port is one of a long range.
    rule: Option<(RuleId, ServiceId)>,
}

/// Port and protocol as one number: never zero, and the same for no two pairs.
type PortKey = u32;

/// Key of a port; the other ports of the protocol have [`other_ports`].
#[inline(always)]
const fn port_key(protocol: u8, port: u16) -> PortKey {
    (port as u32) << 16 | protocol as u32
}

/// Key of all ports of a protocol that have no cell of their own.
#[inline(always)]
const fn other_ports(protocol: u8) -> PortKey {
    1 << 8 | protocol as u32
}

/// Rules by VIP, protocol and port.
#[derive(Debug)]
pub(super) struct PortTable {
    /// A power of two of them, at most half of them taken.
    cells: Box<[Cell]>,
}

impl PortTable {
    /// Spells out the rules of all VIPs.
    pub(super) fn new(vips: &BTreeMap<Address, Vip>) -> Self {
        let mut held = Vec::new();
        for (address, vip) in vips {
            for protocol in [protocol::TCP, protocol::UDP] {
                let mut others = vip.other_ports(protocol);
                for (first, last, rule) in vip.listed_ports(protocol) {
                    if last - first < SPELLED_OUT {
                        held.extend((first..=last).map(|port| (*address, port_key(protocol, port), rule)));
                    } else {
                        others = Some(None);
                    }
                }
                held.extend(others.map(|rule| (*address, other_ports(protocol), rule)));
            }
        }
        let empty = Cell { address: Address(0), port: 0, rule: None };
        let mut cells = vec![empty; (2 * held.len()).next_power_of_two()].into_boxed_slice();
        for (address, port, rule) in held {
            let mut index = home(address, port, cells.len());
            while cells[index].port != 0 {
                index = (index + 1) & (cells.len() - 1);
            }
            cells[index] = Cell { address, port, rule };
        }
        Self { cells }
    }

    /// Rule for every whole TCP or UDP packet to `address` and `port`, whoever its client is. None is no answer: the
    /// lists of the VIP and the routes may have one.
    #[inline(always)]
    pub(super) fn get(&self, address: Address, protocol: u8, port: u16) -> Option<(RuleId, ServiceId)> {
        let cell = match self.cell(address, port_key(protocol, port)) {
            Some(cell) => cell,
            None => self.cell(address, other_ports(protocol))?,
        };
        cell.rule
    }

    #[inline(always)]
    fn cell(&self, address: Address, port: PortKey) -> Option<&Cell> {
        let mut index = home(address, port, self.cells.len());
        loop {
            let cell = self.cells.get(index)?;
            if (cell.port == port) & (cell.address == address) {
                return Some(cell);
            }
            if cell.port == 0 {
                return None;
            }
            index = (index + 1) & (self.cells.len() - 1);
        }
    }
}

impl Default for PortTable {
    fn default() -> Self {
        Self::new(&BTreeMap::new())
    }
}

/// Index of the cell that a port belongs in, of a power of two of them.
//
// As in `AddressMap`: the operator chooses what is held, so the hash need not be keyed.
#[inline(always)]
fn home(address: Address, port: PortKey, cells: usize) -> usize {
    let words = (address.0 as u64) ^ ((address.0 >> 64) as u64).rotate_left(32) ^ u64::from(port) << 24;
    // The port's lowest bit is the 40th: all that is above depends on it.
    (words.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize & (cells - 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ports_of_one_address_have_homes_of_their_own() {
        let address = Address::v4([203, 0, 113, 10]);
        for (ports, cells) in [(5, 16), (64, 128), (640, 2_048)] {
            let of = |port| home(address, port_key(protocol::TCP, port), cells);
            let homes: BTreeSet<usize> = (8_000..8_000 + ports).map(of).collect();
            assert!(homes.len() * 4 > usize::from(ports) * 3, "{} of {ports}", homes.len());
        }
    }
}
