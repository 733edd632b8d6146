//! Receive-side scaling: how a device spreads flows over its receive queues by a hash.

/// Key by which a device hashes both directions of a flow alike, and so puts them into one queue; empty for a device that
/// states no length of its key, and keeps the driver's own.
//
// Woo and Park, "Scalable TCP session monitoring with symmetric receive-side scaling" (2012): Toeplitz hashing is
// symmetric under a key that repeats every 16 bits, the length of a port and half that of an address.
pub(super) fn symmetric_key(len: u8) -> Vec<u8> {
    [0x6d, 0x5a].into_iter().cycle().take(len.into()).collect()
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
}
