//! Token buckets of askers: a bound on the answers of a second to each, in a table of fixed size.
//!
//! With one bucket for all, whoever asks most gets all answers. Here each asker has a bucket, found by its MAC address, and
//! a few share one where there are many: an asker that floods takes the answers of these, and of nobody else. Who forges a
//! thousand MAC addresses empties all; the bound of all together then still holds.

use std::time::Duration;

use guideway_dataplane::wire::ethernet::MacAddress;

use super::token_bucket::TokenBucket;

/// Number of the buckets.
pub(super) const BUCKETS: usize = 64;

/// Token buckets of all askers.
#[derive(Debug)]
pub(super) struct AskerBuckets(Vec<TokenBucket>);

impl AskerBuckets {
    /// Buckets that give so many answers in a second each.
    pub(super) fn new(per_sec: u32) -> Self {
        Self((0..BUCKETS).map(|_| TokenBucket::new(per_sec)).collect())
    }

    /// Takes a token for an asker; false where there is none at `now`.
    pub(super) fn take(&mut self, asker: MacAddress, now: Duration) -> bool {
        self.0[bucket_of(asker)].take(now)
    }
}

/// Index of an asker's bucket.
fn bucket_of(MacAddress(mac): MacAddress) -> usize {
    let [a, b, c, d, e, f] = mac;
    // Fibonacci hashing: MAC addresses of one maker differ in their last bytes alone.
    let word = u64::from_be_bytes([0, 0, a, b, c, d, e, f]).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (word >> 32) as usize % BUCKETS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asker_that_floods_leaves_nearly_all_others_their_answers() {
        let mut buckets = AskerBuckets::new(10);
        let now = Duration::from_secs(1);
        let flooding = (0..1_000).filter(|_| buckets.take(MacAddress([2, 0, 0, 0, 0, 1]), now)).count();
        assert_eq!(flooding, 1, "a tenth of a second's");
        let answered = (2..=255).filter(|last| buckets.take(MacAddress([2, 0, 0, 0, 1, *last]), now)).count();
        assert!(answered > 50, "{answered} of 64 buckets are full");
    }

    #[test]
    fn neighbouring_addresses_have_buckets_of_their_own() {
        let used: std::collections::BTreeSet<usize> =
            (0..=255).map(|last| bucket_of(MacAddress([2, 0, 0, 0, 0, last]))).collect();
        assert!(used.len() > BUCKETS / 2, "{used:?}");
    }
}
