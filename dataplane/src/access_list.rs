//! Access lists: which sources a forwarding rule admits, by the longest of many prefixes that holds them.
//!
//! A list is asked for every packet of its rules, and may have a hundred thousand prefixes. Longest prefixes come to ranges
//! of addresses that are admitted or denied by turns, so a list is the sorted starts of these ranges, and an address is
//! admitted or denied as the number of starts up to it is even or odd. That number is found by branches that each divide
//! their part of the address space evenly, into about as many children as it has starts:
//!
//! ```text
//! root, of each family ─▶ child ─▶ up to eight starts, side by side
//!                           └─▶ child, where many starts lie close together ─▶ …
//! ```
//!
//! So an address mostly costs a child and the starts beneath it, two reads of memory, however many prefixes there are; one or two
//! more where they lie in a corner of the address space, as prefixes of one IPv6 block do beside a shorter one.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::address::{Address, Prefix};

/// Index of an access list in the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccessListId(pub u16);

/// Sources that are admitted, and those that are denied. A clone shares all of it.
#[derive(Clone, Debug)]
pub struct AccessList {
    ipv4: Node,
    ipv6: Node,
    nodes: Arc<[Node]>,
    /// Addresses at which admitted and denied ones take turns: those of IPv4 behind those of IPv6.
    starts: Arc<[u128]>,
}

/// Largest number of starts that are compared one by one.
const LEAF: usize = 8;

/// Part of the address space.
#[derive(Clone, Copy, Debug)]
struct Node {
    /// First start of the part.
    low: u128,
    /// Index of the first child, or of the first start where there are no children.
    first: u32,
    /// Number of the children.
    children: u32,
    /// Binary logarithm of the number of addresses of a child.
    shift: u8,
    /// Number of the starts, where there are no children.
    len: u8,
    /// True if addresses before the first start are admitted, and those from the last one on.
    admits: [bool; 2],
}

const _: () = assert!(size_of::<Node>() == 32, "two nodes fill a cache line");

impl AccessList {
    /// List of these prefixes, each with true if its sources are admitted; of one prefix the last entry counts. Sources in none
    /// are admitted `by_default`, or denied.
    pub fn new(entries: impl IntoIterator<Item = (Prefix, bool)>, by_default: bool) -> Self {
        let entries: BTreeMap<Prefix, bool> = entries.into_iter().collect();
        let (mut nodes, mut starts) = (Vec::new(), Vec::new());
        let [ipv6, ipv4] = [false, true].map(|is_ipv4| {
            let of_family = entries.iter().filter(|(prefix, _)| prefix.is_ipv4() == is_ipv4);
            let (admits_first, turns) =
                turns(of_family.map(|(prefix, admits)| (*prefix, *admits)), by_default);
            let first = starts.len();
            starts.extend(turns);
            Node::over(&starts, first..starts.len(), admits_first, &mut nodes)
        });
        Self { ipv4, ipv6, nodes: nodes.into(), starts: starts.into() }
    }

    /// True if packets from `source` are admitted.
    #[inline]
    pub fn admits(&self, source: Address) -> bool {
        let mut node = if source.is_ipv4() { &self.ipv4 } else { &self.ipv6 };
        while node.children > 0 {
            let Some(offset) = source.0.checked_sub(node.low) else { return node.admits[0] };
            let child = offset >> node.shift;
            if child >= node.children.into() {
                return node.admits[1];
            }
            node = &self.nodes[node.first as usize + child as usize];
        }
        let starts = &self.starts[node.first as usize..][..node.len.into()];
        let before = starts.iter().filter(|start| **start <= source.0).count();
        node.admits[0] ^ (before % 2 == 1)
    }

    /// Bytes that the list takes.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.nodes) + size_of_val(&*self.starts)
    }
}

impl Node {
    /// Node over these of the starts, before which addresses are admitted or not; its children go to `nodes`.
    fn over(
        starts: &[u128],
        range: std::ops::Range<usize>,
        admits_first: bool,
        nodes: &mut Vec<Self>,
    ) -> Self {
        let own = &starts[range.clone()];
        let admits = [admits_first, admits_first ^ (own.len() % 2 == 1)];
        let (low, first) = (own.first().copied().unwrap_or(0), range.start as u32);
        let leaf = Self { low, first, children: 0, shift: 0, len: own.len() as u8, admits };
        let Some(span) = own.last().map(|last| last - low).filter(|_| own.len() > LEAF) else { return leaf };
        // A quarter to half as many children as starts: few of them have more than a leaf holds.
        let wanted = own.len().ilog2() - 1;
        let shift = (u128::BITS - span.leading_zeros()).saturating_sub(wanted);
        let children = (span >> shift) as usize + 1;
        let first = nodes.len();
        nodes.resize(first + children, leaf);
        let mut start = range.start;
        for child in 0..children {
            let is_inside = |start: &u128| (*start - low) >> shift == child as u128;
            let end = start + starts[start..range.end].partition_point(is_inside);
            let admits_first = admits_first ^ ((start - range.start) % 2 == 1);
            // The first start and the last are in different children, so that each has fewer than all.
            nodes[first + child] = Self::over(starts, start..end, admits_first, nodes);
            start = end;
        }
        Self { first: first as u32, children: children as u32, shift: shift as u8, len: 0, ..leaf }
    }
}

/// Addresses at which admitted and denied ones take turns, and true if those before the first are admitted; of prefixes of
/// one family, in order.
fn turns(entries: impl Iterator<Item = (Prefix, bool)>, by_default: bool) -> (bool, Vec<u128>) {
    let mut changes: Vec<(u128, bool)> = vec![(0, by_default)];
    // Prefixes that hold the present one, each within the one before it, with their last addresses.
    let mut open: Vec<(u128, bool)> = Vec::new();
    let close = |open: &mut Vec<(u128, bool)>, changes: &mut Vec<(u128, bool)>, next: Option<u128>| {
        while let Some((last, _)) =
            open.last().copied().filter(|(last, _)| next.is_none_or(|next| *last < next))
        {
            open.pop();
            let around = open.last().map_or(by_default, |(_, admits)| *admits);
            changes.extend(last.checked_add(1).map(|after| (after, around)));
        }
    };
    for (prefix, admits) in entries {
        close(&mut open, &mut changes, Some(prefix.network().0));
        changes.push((prefix.network().0, admits));
        open.push((prefix.with_host(u128::MAX).0, admits));
    }
    close(&mut open, &mut changes, None);
    let mut turns: Vec<(u128, bool)> = Vec::new();
    for (start, admits) in changes {
        // The last of several changes at one address counts.
        while turns.last().is_some_and(|(last, _)| *last == start) {
            turns.pop();
        }
        if turns.last().is_none_or(|(_, before)| *before != admits) {
            turns.push((start, admits));
        }
    }
    let admits_first = turns.first().is_some_and(|(_, admits)| *admits);
    (admits_first, turns.into_iter().skip(1).map(|(start, _)| start).collect())
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn address(text: &str) -> Address {
        text.parse::<IpAddr>().expect("an address").into()
    }

    fn prefix(text: &str) -> Prefix {
        let (network, length) = text.split_once('/').expect("a prefix");
        Prefix::new(address(network), length.parse().expect("a length"))
    }

    /// True if a source is admitted, by a look at every prefix.
    fn expected(entries: &[(Prefix, bool)], by_default: bool, source: Address) -> bool {
        let holding = entries.iter().filter(|(prefix, _)| prefix.contains(source));
        holding.max_by_key(|(prefix, _)| prefix.bits()).map_or(by_default, |(_, admits)| *admits)
    }

    #[test]
    fn the_longest_prefix_decides() {
        let entries = [
            ("10.0.0.0/8", false),
            ("10.1.0.0/16", true),
            ("10.1.2.0/24", false),
            ("10.1.2.3/32", true),
            ("0.0.0.0/1", true),
            ("255.255.255.255/32", false),
            ("::/0", false),
            ("2001:db8::/32", true),
            ("2001:db8:0:1::/64", false),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128", true),
        ]
        .map(|(text, admits)| (prefix(text), admits));
        for by_default in [false, true] {
            let list = AccessList::new(entries, by_default);
            for (prefix, _) in entries {
                let (first, last) = (prefix.network().0, prefix.with_host(u128::MAX).0);
                for word in
                    [first.wrapping_sub(1), first, first + (last - first) / 2, last, last.wrapping_add(1)]
                {
                    let source = Address(word);
                    assert_eq!(list.admits(source), expected(&entries, by_default, source), "{source}");
                }
            }
        }
    }

    #[test]
    fn an_empty_list_does_as_it_does_by_default() {
        for by_default in [false, true] {
            let list = AccessList::new([], by_default);
            let sources = ["0.0.0.0", "192.0.2.1", "255.255.255.255", "::", "2001:db8::1"];
            assert!(sources.iter().all(|source| list.admits(address(source)) == by_default));
        }
    }

    /// Random prefixes of one family, many of them within each other, whose networks lie all over it or in a corner.
    fn random(count: usize, is_ipv4: bool, spread: u32, seed: u64) -> Vec<(Prefix, bool)> {
        let mut random = Random(seed);
        let prefix = |random: &mut Random| {
            let word = u128::from(random.next()) << 64 | u128::from(random.next());
            let network = if is_ipv4 {
                Address::v4((0xc000_0000 | (word as u32) >> (32 - spread.min(30))).to_be_bytes())
            } else {
                Address(0x2001_0db8 << 96 | word >> (128 - spread))
            };
            let lengths = if is_ipv4 { 8..33 } else { 20..129 };
            Prefix::new(network, (lengths.start + random.next() % (lengths.end - lengths.start)) as u8)
        };
        (0..count).map(|_| (prefix(&mut random), random.next().is_multiple_of(2))).collect()
    }

    /// SplitMix64.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }
    }

    #[test]
    fn many_prefixes_of_all_lengths_decide_as_a_look_at_each_does() {
        for (seed, (is_ipv4, spread)) in
            (1..).zip([(true, 30), (true, 12), (false, 90), (false, 20), (false, 60)])
        {
            // Of one prefix the last entry counts, in the list and in what is expected.
            let unique: BTreeMap<Prefix, bool> = random(400, is_ipv4, spread, seed).into_iter().collect();
            let entries: Vec<(Prefix, bool)> = unique.into_iter().collect();
            let list = AccessList::new(entries.iter().copied(), seed % 2 == 0);
            for (prefix, _) in &entries {
                let (first, last) = (prefix.network().0, prefix.with_host(u128::MAX).0);
                for word in [first - 1, first, last, last.wrapping_add(1)] {
                    let source = Address(word);
                    if source.is_ipv4() == is_ipv4 {
                        assert_eq!(
                            list.admits(source),
                            expected(&entries, seed % 2 == 0, source),
                            "{source}"
                        );
                    }
                }
            }
        }
    }

    /// Nodes on the way to a source, behind the root.
    fn depth(list: &AccessList, source: Address) -> usize {
        let mut node = if source.is_ipv4() { &list.ipv4 } else { &list.ipv6 };
        let mut depth = 0;
        while node.children > 0 {
            let child = source.0.wrapping_sub(node.low) >> node.shift;
            if child >= node.children.into() {
                break;
            }
            node = &list.nodes[node.first as usize + child as usize];
            depth += 1;
        }
        depth
    }

    #[test]
    fn a_hundred_thousand_prefixes_cost_a_child_or_two_and_few_megabytes() {
        for (is_ipv4, spread, most) in [(true, 30, 1.3), (false, 90, 2.5), (false, 40, 3.0)] {
            let entries = random(100_000, is_ipv4, spread, 5);
            let list = AccessList::new(entries.iter().copied(), false);
            let depths: usize = entries.iter().map(|(prefix, _)| depth(&list, prefix.network())).sum();
            let mean = depths as f64 / entries.len() as f64;
            assert!(mean < most, "{mean} nodes a packet, IPv4 {is_ipv4}, {spread} bits");
            assert!(list.bytes() < 12 << 20, "{} bytes", list.bytes());
        }
    }
}
