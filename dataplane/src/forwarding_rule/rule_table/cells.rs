//! Cells by destination, protocol and port: open addressing at half load with one multiplication for a hash.
//
// As in `AddressMap`: whoever sends packets chooses what is looked up, not what is held, so the hash need not be keyed.

use std::fmt::Debug;

use super::Answer;
use super::ranges::Number;
use crate::address::Address;
use crate::wire::protocol;

/// Destination, protocol and port of one family, as one number or two.
//
// Destination and port have the order of a packet's bytes, and the protocol has the place of the source port, so that a
// key is a masked piece of the packet.
pub(super) trait Key: Copy + Debug + Eq {
    /// Address as a number.
    type Word: Number + Debug + std::hash::Hash;

    /// True for IPv4.
    const IS_IPV4: bool;

    /// Key of no packet.
    const NONE: Self;

    /// Key of the packets to `destination` and one port.
    fn new(destination: Address, protocol: u8, port: u16) -> Self;

    /// Key of the packets whose port has no cell of its own.
    fn of_other_ports(self) -> Self;

    /// Key of the range of destinations with this number, in place of the destination.
    fn in_range(self, number: u32) -> Self;

    /// Destination that the key was made with.
    fn destination(self) -> Self::Word;

    /// Port that the key was made with.
    fn port(self) -> u16;

    /// True if the protocol that the key was made with is UDP.
    fn is_udp(self) -> bool;

    /// Address as a number.
    fn word(address: Address) -> Self::Word;

    /// Address of a number.
    fn address(word: Self::Word) -> Address;

    /// Number that follows, if there is one.
    fn successor(word: Self::Word) -> Option<Self::Word>;

    /// Bits of which the lowest choose a cell.
    fn hash(self) -> u64;
}

/// Marks beside the protocol's number.
const OTHER_PORTS: u16 = 1 << 8;
const RANGE: u16 = 1 << 9;

/// Spreads every bit over the lowest ones: the upper half of the product has what the lower one lacks.
#[inline(always)]
fn spread(bits: u64) -> u64 {
    // The golden ratio's bits, as in Fibonacci hashing: neighbouring numbers end far apart.
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let product = u128::from(bits) * u128::from(GOLDEN);
    product as u64 ^ (product >> 64) as u64
}

/// Key of IPv4: bytes 0 to 3 are the destination, 4 and 5 the protocol with marks, 6 and 7 the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ipv4Key(u64);

impl Ipv4Key {
    /// Key of a packet; `end` has the last four bytes of its IP header and the ports, little-endian.
    #[inline(always)]
    pub(super) fn of_packet(end: u64, protocol: u8) -> Self {
        Self(end & 0xffff_0000_ffff_ffff | u64::from(protocol) << 32)
    }
}

impl Key for Ipv4Key {
    type Word = u32;

    const IS_IPV4: bool = true;
    const NONE: Self = Self(0);

    #[inline(always)]
    fn new(destination: Address, protocol: u8, port: u16) -> Self {
        let port = u64::from(port.swap_bytes()) << 48;
        Self::of_packet(u64::from(u32::from_le_bytes(destination.v4_bytes())) | port, protocol)
    }

    #[inline(always)]
    fn of_other_ports(self) -> Self {
        Self(self.0 & 0xffff_ffff_ffff | u64::from(OTHER_PORTS) << 32)
    }

    #[inline(always)]
    fn in_range(self, number: u32) -> Self {
        Self(self.0 >> 32 << 32 | u64::from(RANGE) << 32 | u64::from(number.swap_bytes()))
    }

    #[inline(always)]
    fn destination(self) -> u32 {
        (self.0 as u32).swap_bytes()
    }

    #[inline(always)]
    fn port(self) -> u16 {
        ((self.0 >> 48) as u16).swap_bytes()
    }

    #[inline(always)]
    fn is_udp(self) -> bool {
        (self.0 >> 32) as u8 == protocol::UDP
    }

    #[inline(always)]
    fn word(address: Address) -> u32 {
        address.0 as u32
    }

    fn address(word: u32) -> Address {
        Address::v4(word.to_be_bytes())
    }

    fn successor(word: u32) -> Option<u32> {
        word.checked_add(1)
    }

    #[inline(always)]
    fn hash(self) -> u64 {
        spread(self.0)
    }
}

/// Key of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ipv6Key {
    /// Bytes of the address, little-endian.
    destination: u128,
    /// Protocol with marks in the lower half, bytes of the port in the upper one.
    rest: u32,
}

impl Ipv6Key {
    /// Key of a packet, of little-endian words of its bytes.
    #[inline(always)]
    pub(super) fn of_packet(destination: u128, ports: u32, protocol: u8) -> Self {
        Self { destination, rest: ports & 0xffff_0000 | u32::from(protocol) }
    }
}

impl Key for Ipv6Key {
    type Word = u128;

    const IS_IPV4: bool = false;
    const NONE: Self = Self { destination: 0, rest: 0 };

    #[inline(always)]
    fn new(destination: Address, protocol: u8, port: u16) -> Self {
        Self::of_packet(destination.0.swap_bytes(), u32::from(port.swap_bytes()) << 16, protocol)
    }

    #[inline(always)]
    fn of_other_ports(self) -> Self {
        Self { rest: self.rest & 0xffff | u32::from(OTHER_PORTS), ..self }
    }

    #[inline(always)]
    fn in_range(self, number: u32) -> Self {
        Self { destination: u128::from(number).swap_bytes(), rest: self.rest | u32::from(RANGE) }
    }

    #[inline(always)]
    fn destination(self) -> u128 {
        self.destination.swap_bytes()
    }

    #[inline(always)]
    fn port(self) -> u16 {
        ((self.rest >> 16) as u16).swap_bytes()
    }

    #[inline(always)]
    fn is_udp(self) -> bool {
        self.rest as u8 == protocol::UDP
    }

    #[inline(always)]
    fn word(address: Address) -> u128 {
        address.0
    }

    fn address(word: u128) -> Address {
        Address(word)
    }

    fn successor(word: u128) -> Option<u128> {
        word.checked_add(1)
    }

    #[inline(always)]
    fn hash(self) -> u64 {
        let (high, low) = (self.destination as u64, (self.destination >> 64) as u64);
        spread(low ^ spread(high ^ u64::from(self.rest)))
    }
}

/// Answers by key, built once.
#[derive(Debug)]
pub(super) struct Cells<K> {
    /// Cells, a power of two in number, at most half of them taken.
    cells: Box<[Cell<K>]>,
}

#[derive(Clone, Copy, Debug)]
struct Cell<K> {
    key: K,
    answer: Answer,
}

const _: () = assert!(
    size_of::<Cell<Ipv4Key>>() == 32 && size_of::<Cell<Ipv6Key>>() == 64,
    "no cell lies in two lines"
);

impl<K: Key> Cells<K> {
    /// Cells of these answers, whose keys are distinct.
    pub(super) fn new(held: Vec<(K, Answer)>) -> Self {
        let count = (2 * held.len()).next_power_of_two().max(2);
        let empty = Cell { key: K::NONE, answer: Answer::None };
        let mut cells = vec![empty; count].into_boxed_slice();
        for (key, answer) in held {
            let mut index = key.hash() as usize & (count - 1);
            while cells[index].key != K::NONE {
                index = (index + 1) & (count - 1);
            }
            cells[index] = Cell { key, answer };
        }
        Self { cells }
    }

    /// Answer of `key`.
    #[inline(always)]
    pub(super) fn get(&self, key: K) -> Option<&Answer> {
        let mut index = key.hash() as usize & (self.cells.len() - 1);
        loop {
            let cell = self.cells.get(index)?;
            if cell.key == key {
                return Some(&cell.answer);
            }
            if cell.key == K::NONE {
                return None;
            }
            index = (index + 1) & (self.cells.len() - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ports_of_one_address_and_neighbouring_addresses_have_homes_of_their_own() {
        let address = |n: u32| Address::v4((0xcb00_7100 + n).to_be_bytes());
        let v6 = |n: u128| Address(0x2001_0db8 << 96 | n);
        for bits in [4, 8, 12] {
            let count = 1u16 << (bits - 1);
            let homes = |key: &dyn Fn(u16) -> u64| {
                (0..count).map(|n| key(n) & ((1 << bits) - 1)).collect::<BTreeSet<u64>>().len()
            };
            // Chance alone leaves five in eight.
            let least = usize::from(count) / 2;
            assert!(homes(&|n| Ipv4Key::new(address(1), protocol::TCP, 8_000 + n).hash()) >= least, "{bits}");
            assert!(
                homes(&|n| Ipv4Key::new(address(n.into()), protocol::TCP, 443).hash()) >= least,
                "{bits}"
            );
            assert!(homes(&|n| Ipv4Key::new(address(u32::from(n) << 16), 6, 443).hash()) >= least, "{bits}");
            assert!(homes(&|n| Ipv6Key::new(v6(1), protocol::TCP, 8_000 + n).hash()) >= least, "{bits}");
            assert!(homes(&|n| Ipv6Key::new(v6(n.into()), protocol::TCP, 443).hash()) >= least, "{bits}");
            let of_subnet = |n: u16| Address(0x2001_0db8 << 96 | u128::from(n % 64) << 64 | 1);
            let subnets = homes(&|n| Ipv6Key::new(of_subnet(n), protocol::TCP, 8_064 + n / 64).hash());
            assert!(subnets >= least, "{bits}: {subnets}");
        }
    }

    #[test]
    fn every_key_leads_to_its_own_answer_and_no_other_to_any() {
        let vip = Address::v4([203, 0, 113, 10]);
        let key = |n: u32| Ipv4Key::new(vip, protocol::TCP, n as u16);
        for count in [0u32, 1, 2, 3, 100, 1000] {
            let cells = Cells::new((0..count).map(|n| (key(n), Answer::ByPort(n))).collect());
            for n in 0..2 * count + 2 {
                let expected = (n < count).then_some(Answer::ByPort(n));
                assert_eq!(cells.get(key(n)).copied(), expected);
            }
            assert_eq!(cells.get(key(0).of_other_ports()), None);
            assert_eq!(cells.get(key(0).in_range(0)), None);
        }
    }

    #[test]
    fn keys_give_back_what_they_were_made_of() {
        let v4 = Ipv4Key::new(Address::v4([203, 0, 113, 10]), protocol::UDP, 0x1234);
        assert_eq!((v4.destination(), v4.port(), v4.of_other_ports().port()), (0xcb00_710a, 0x1234, 0));
        let v6 = Ipv6Key::new(Address(0x2001_0db8 << 96 | 7), protocol::UDP, 0x1234);
        assert_eq!((v6.destination(), v6.port()), (0x2001_0db8 << 96 | 7, 0x1234));
        assert_eq!((v4.in_range(5).port(), v6.in_range(5).port()), (0x1234, 0x1234));
        assert!(v4.is_udp() && v6.is_udp() && v4.in_range(5).is_udp() && v6.of_other_ports().is_udp());
        assert!(!Ipv4Key::new(Address::v4([17; 4]), protocol::TCP, 17).is_udp());
        assert!(!Ipv6Key::new(Address(17), protocol::TCP, 17).is_udp());
    }
}
