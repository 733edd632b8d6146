//! The verdict on a backend, which a number of successes or failures in a row turns.

/// The verdict of one check: healthy or not, through one forwarding rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Threshold {
    healthy: bool,
    /// Probes in a row that speak against the verdict.
    contrary: u32,
}

/// The number of probes in a row that turn a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Thresholds {
    /// Successes that make a backend healthy.
    pub(super) healthy: u32,
    /// Failures that make a backend unhealthy.
    pub(super) unhealthy: u32,
}

impl Threshold {
    /// A verdict that holds until the probes turn it.
    pub(super) const fn new(healthy: bool) -> Self {
        Self { healthy, contrary: 0 }
    }

    /// True if the verdict is that the backend is healthy.
    pub(super) const fn is_healthy(self) -> bool {
        self.healthy
    }

    /// Takes in whether a probe succeeded; true where that turned the verdict.
    pub(super) fn observe(&mut self, success: bool, thresholds: Thresholds) -> bool {
        if success == self.healthy {
            self.contrary = 0;
            return false;
        }
        self.contrary += 1;
        let needed = if success { thresholds.healthy } else { thresholds.unhealthy };
        let turned = self.contrary >= needed;
        if turned {
            *self = Self::new(success);
        }
        turned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLDS: Thresholds = Thresholds { healthy: 2, unhealthy: 3 };

    /// The verdict after each of these results, `+` and `-`.
    fn verdicts(outcomes: &str) -> String {
        let mut threshold = Threshold::new(false);
        let verdict = |outcome| {
            threshold.observe(outcome == '+', THRESHOLDS);
            if threshold.is_healthy() { 'h' } else { 'u' }
        };
        outcomes.chars().map(verdict).collect()
    }

    #[test]
    fn only_outcomes_in_a_row_turn_a_verdict() {
        assert_eq!(verdicts("++---"), "uhhhu");
        assert_eq!(verdicts("+-+-++"), "uuuuuh");
        assert_eq!(verdicts("++--+--+---"), "uhhhhhhhhhu");
    }

    #[test]
    fn one_is_enough_where_the_threshold_is_one() {
        let mut threshold = Threshold::new(false);
        let one = Thresholds { healthy: 1, unhealthy: 1 };
        assert!(threshold.observe(true, one) && threshold.is_healthy());
        assert!(threshold.observe(false, one) && !threshold.is_healthy());
    }
}
