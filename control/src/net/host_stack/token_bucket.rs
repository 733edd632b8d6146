//! A token bucket: a bound on the frames of a second.

use std::time::Duration;

/// A bucket whose tokens come back at a steady rate, up to a tenth of a second's worth.
#[derive(Debug)]
pub(super) struct TokenBucket {
    per_sec: u32,
    /// Time at which all taken tokens have come back and the bucket is full.
    full_at: Duration,
}

impl TokenBucket {
    pub(super) fn new(per_sec: u32) -> Self {
        Self { per_sec, full_at: Duration::ZERO }
    }

    /// Takes a token; false where there is none at `now`.
    pub(super) fn take(&mut self, now: Duration) -> bool {
        let is_there = self.next().is_some_and(|next| next <= now);
        if is_there {
            self.full_at = self.full_at.max(now) + Duration::from_secs(1) / self.per_sec;
        }
        is_there
    }

    /// The time at which there is a token; `None` where there never is one.
    pub(super) fn next(&self) -> Option<Duration> {
        let token = Duration::from_secs(1).checked_div(self.per_sec)?;
        // At least one token, however slowly it comes.
        let depth = Duration::from_millis(100).max(token);
        Some((self.full_at + token).saturating_sub(depth))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_gives_its_rate_and_a_burst_a_tenth_of_it() {
        let mut bucket = TokenBucket::new(100);
        let mut taken = |ms| (0..1_000).filter(|_| bucket.take(Duration::from_millis(ms))).count();
        assert_eq!(taken(5_000), 10);
        assert_eq!(taken(5_000), 0);
        assert_eq!((5_001..=6_000).map(taken).sum::<usize>(), 100);
    }

    #[test]
    fn a_slow_bucket_gives_one_at_a_time_and_an_empty_one_none() {
        let mut slow = TokenBucket::new(2);
        let mut none = TokenBucket::new(0);
        let times = [0, 499, 500, 999, 1_000].map(Duration::from_millis);
        assert_eq!(times.map(|now| slow.take(now)), [true, false, true, false, true]);
        assert_eq!(times.map(|now| none.take(now)), [false; 5]);
    }
}
