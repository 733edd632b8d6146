//! Receive-side scaling: how a device spreads flows over its receive queues by a hash.
//!
//! ```text
//! frame ─▶ fields by its type (addresses, ports, SPI) ─▶ hash under a key ─▶ entry of the table ─▶ receive queue
//! ```
//!
//! The types are asked for by what the device states; key and types are read back, and so is the table, which is filled evenly
//! where the driver has not done so. What a device does not tell is unknown, and no error.
#![allow(unsafe_code)]

use guideway_dpdk_sys as sys;
use rustix::io::Errno;

use super::dpdk_log;

/// Entries of a table that DPDK reads and writes at once.
const GROUP: usize = 64;

/// Types of frames that a device may hash, with the fields that tell their flows apart. GRE is one of the others: by its
/// addresses.
///
/// Fragments go by their addresses, where the device knows them for such, so that a datagram stays together. An SPI or a
/// session keeps the packets of one direction in order, and lets the tunnels between two gateways go apart; both directions of
/// ESP then come by two queues. VLAN tags are looked past, and not hashed.
const TYPES: [(u64, &str); 18] = [
    (sys::guideway_rss_ipv4, "ipv4"),
    (sys::guideway_rss_ipv4_frag, "ipv4-frag"),
    (sys::guideway_rss_ipv4_tcp, "ipv4-tcp"),
    (sys::guideway_rss_ipv4_udp, "ipv4-udp"),
    (sys::guideway_rss_ipv4_sctp, "ipv4-sctp"),
    (sys::guideway_rss_ipv4_other, "ipv4-other"),
    (sys::guideway_rss_ipv6, "ipv6"),
    (sys::guideway_rss_ipv6_frag, "ipv6-frag"),
    (sys::guideway_rss_ipv6_tcp, "ipv6-tcp"),
    (sys::guideway_rss_ipv6_udp, "ipv6-udp"),
    (sys::guideway_rss_ipv6_sctp, "ipv6-sctp"),
    (sys::guideway_rss_ipv6_other, "ipv6-other"),
    (sys::guideway_rss_ipv6_ex, "ipv6-ex"),
    (sys::guideway_rss_ipv6_tcp_ex, "ipv6-tcp-ex"),
    (sys::guideway_rss_ipv6_udp_ex, "ipv6-udp-ex"),
    (sys::guideway_rss_esp, "esp"),
    (sys::guideway_rss_ah, "ah"),
    (sys::guideway_rss_l2tpv3, "l2tpv3"),
];

/// Receive-side scaling as a started port has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rss {
    /// Types of frames that are hashed, in DPDK's words.
    pub types: Vec<&'static str>,
    /// True if both directions of a flow have one hash; None if the device does not tell its key.
    pub symmetric: Option<bool>,
    /// Table that leads from a hash to a receive queue; None if the device does not tell it.
    pub table: Option<Vec<u16>>,
    /// Cause for which the device has not taken an even table, and keeps its own.
    pub table_refusal: Option<String>,
}

impl Rss {
    /// Number of the table's entries that lead to each of so many receive queues; None if the device does not tell.
    pub fn entries(&self, queues: u16) -> Option<Vec<u16>> {
        self.table.as_ref().map(|table| entries_of(table, queues))
    }
}

/// Types of frames to be hashed, out of those that a device offers.
pub(super) fn types(offered: u64) -> u64 {
    TYPES.iter().fold(0, |all, (bit, _)| all | bit) & offered
}

fn names(types: u64) -> Vec<&'static str> {
    TYPES.iter().filter(|(bit, _)| types & bit != 0).map(|(_, name)| *name).collect()
}

/// Key by which a device hashes both directions of a flow alike, and so puts them into one queue; empty for a device that
/// states no length of its key, and keeps the driver's own.
//
// Woo and Park, "Scalable TCP session monitoring with symmetric receive-side scaling" (2012): Toeplitz hashing is
// symmetric under a key that repeats every 16 bits, the length of a port and half that of an address.
pub(super) fn symmetric_key(len: u8) -> Vec<u8> {
    [0x6d, 0x5a].into_iter().cycle().take(len.into()).collect()
}

/// True for a key that repeats every 16 bits; None for one of zeros, as a device that does not tell its key leaves it.
fn is_symmetric(key: &[u8]) -> Option<bool> {
    let is_told = key.iter().any(|byte| *byte != 0);
    is_told.then(|| key.windows(3).all(|bytes| bytes[0] == bytes[2]))
}

/// Spreads a table of so many entries evenly over the receive queues.
fn even_table(entries: usize, queues: u16) -> Vec<u16> {
    (0..queues).cycle().take(entries).collect()
}

/// Number of the entries of each receive queue.
fn entries_of(table: &[u16], queues: u16) -> Vec<u16> {
    (0..queues).map(|queue| table.iter().filter(|entry| **entry == queue).count() as u16).collect()
}

/// True if the entries are of queues that there are, each of which has as many as any other, but for one.
fn is_even(table: &[u16], queues: u16) -> bool {
    let entries = entries_of(table, queues);
    let (least, most) = (entries.iter().min(), entries.iter().max());
    table.iter().all(|queue| *queue < queues)
        && most.zip(least).is_some_and(|(most, least)| most - least <= 1)
}

/// Fills the table of a started port evenly, unless it is so, and reads everything back. `asked` are the types that the port was
/// configured with, and `info` is what the device states since.
pub(super) fn settle(port: u16, asked: u64, info: &sys::rte_eth_dev_info, queues: u16) -> Rss {
    let entries = usize::from(info.reta_size);
    let mut table = read_table(port, entries);
    let mut table_refusal = None;
    if entries > 0 && !table.as_ref().is_some_and(|table| is_even(table, queues)) {
        table_refusal = write_table(port, &even_table(entries, queues)).err();
        table = read_table(port, entries);
    }
    let (types, key) = read_hash(port, info.hash_key_size).unwrap_or((asked, Vec::new()));
    let symmetric = is_symmetric(&key);
    Rss { types: names(types), symmetric, table, table_refusal }
}

/// Types that a port hashes, and its key; None if its driver does not tell.
fn read_hash(port: u16, key_len: u8) -> Option<(u64, Vec<u8>)> {
    // As long as any key, whatever the driver writes.
    let mut key = [0; u8::MAX as usize + 1];
    let mut conf =
        sys::rte_eth_rss_conf { rss_key: key.as_mut_ptr(), rss_key_len: key_len, ..Default::default() };
    // SAFETY: the port is open; the key has room for the longest that its length can say, and outlives the call.
    let result = unsafe { sys::rte_eth_dev_rss_hash_conf_get(port, &raw mut conf) };
    let len = usize::from(if key_len > 0 { key_len } else { conf.rss_key_len });
    (result >= 0).then(|| (conf.rss_hf, key[..len].to_vec()))
}

fn read_table(port: u16, entries: usize) -> Option<Vec<u16>> {
    let mut groups = groups_of(&vec![0; entries]);
    // SAFETY: the port is open; there are groups for `entries`, which are written to before the call returns.
    let result = unsafe { sys::rte_eth_dev_rss_reta_query(port, groups.as_mut_ptr(), entries as u16) };
    let table = groups.iter().flat_map(|group| group.reta).take(entries);
    (result >= 0 && entries > 0).then(|| table.collect())
}

fn write_table(port: u16, table: &[u16]) -> Result<(), String> {
    let mut groups = groups_of(table);
    dpdk_log::forget();
    // SAFETY: the port is open; there are groups for as many entries, which are read before the call returns.
    let result = unsafe { sys::rte_eth_dev_rss_reta_update(port, groups.as_mut_ptr(), table.len() as u16) };
    match result {
        0.. => Ok(()),
        _ if result == -Errno::NOTSUP.raw_os_error() => Err("its driver has no function for it".to_owned()),
        _ => Err(dpdk_log::message(result)),
    }
}

/// Entries in groups, each with a mask of those that count.
fn groups_of(table: &[u16]) -> Vec<sys::rte_eth_rss_reta_entry64> {
    let group = |entries: &[u16]| {
        let mut group = sys::rte_eth_rss_reta_entry64 { mask: u64::MAX, ..Default::default() };
        group.mask >>= GROUP - entries.len();
        group.reta[..entries.len()].copy_from_slice(entries);
        group
    };
    table.chunks(GROUP).map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Toeplitz hash as devices compute it.
    fn toeplitz(key: &[u8], input: &[u8]) -> u32 {
        let bit = |bytes: &[u8], index: usize| bytes[index / 8] >> (7 - index % 8) & 1;
        let window = |start: usize| (0..32).fold(0, |word, n| word << 1 | u32::from(bit(key, start + n)));
        (0..input.len() * 8)
            .filter(|index| bit(input, *index) == 1)
            .fold(0, |hash, index| hash ^ window(index))
    }

    #[test]
    fn both_directions_of_a_flow_fall_into_one_queue_and_flows_into_several() {
        for (address_len, key_len) in [(4, 40), (16, 40), (16, 52)] {
            let key = symmetric_key(key_len);
            let mut hashes = std::collections::BTreeSet::new();
            for number in 0..64 {
                let (here, there) = (vec![number; address_len], vec![200 - number; address_len]);
                let there = [&there[1..], &[7 ^ number]].concat();
                let (own, other) = ([0x9c, number], [0, 80]);
                let hash = toeplitz(&key, &[&here[..], &there, &own, &other].concat());
                assert_eq!(hash, toeplitz(&key, &[&there[..], &here, &other, &own].concat()));
                let by_addresses = toeplitz(&key, &[&here[..], &there].concat());
                assert_eq!(by_addresses, toeplitz(&key, &[&there[..], &here].concat()), "fragments");
                hashes.insert(hash % 4);
            }
            assert_eq!(hashes.len(), 4);
        }
        assert!(symmetric_key(0).is_empty());
    }

    #[test]
    fn a_key_is_known_to_be_symmetric_or_not_or_is_not_told() {
        assert_eq!(is_symmetric(&symmetric_key(40)), Some(true));
        // The key of Microsoft's specification begins so, and most drivers' own is it.
        assert_eq!(is_symmetric(&[0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b]), Some(false));
        assert_eq!(is_symmetric(&[0; 52]), None);
        assert_eq!(is_symmetric(&[]), None);
    }

    #[test]
    fn a_table_is_even_whether_or_not_the_queues_divide_it() {
        for (entries, queues) in [(128, 1), (128, 4), (128, 7), (512, 12), (64, 64), (40, 3)] {
            let table = even_table(entries, queues);
            assert_eq!(table.len(), entries);
            assert!(is_even(&table, queues), "{:?}", entries_of(&table, queues));
        }
        assert_eq!(entries_of(&even_table(128, 3), 3), [43, 43, 42]);
        assert!(!is_even(&[0; 128], 2), "all in one queue");
        assert!(!is_even(&even_table(128, 4), 2), "queues that nobody polls");
        assert!(!is_even(&[], 0));
    }

    #[test]
    fn entries_are_grouped_with_masks_of_those_that_count() {
        let groups = groups_of(&even_table(72, 5));
        assert_eq!(groups.iter().map(|group| group.mask).collect::<Vec<_>>(), [u64::MAX, 0xff]);
        assert_eq!(groups[1].reta[..9], [4, 0, 1, 2, 3, 4, 0, 1, 0]);
        assert!(groups_of(&[]).is_empty());
    }

    #[test]
    fn types_are_those_offered_that_tell_flows_apart() {
        let vxlan = 1 << 19;
        let offered = sys::guideway_rss_ipv4 | sys::guideway_rss_ipv4_tcp | sys::guideway_rss_esp | vxlan;
        assert_eq!(names(types(offered)), ["ipv4", "ipv4-tcp", "esp"]);
        assert_eq!(types(0), 0);
        assert_eq!(names(types(u64::MAX)).len(), TYPES.len());
    }
}
