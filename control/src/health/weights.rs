//! The weights that backends report, which count for a whole service or not at all.

use std::collections::BTreeMap;

use super::probe::WeightReport;

/// The state of a backend's reported weight, in Google Cloud's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightStatus {
    /// The backend has reported a weight with its latest probe.
    Valid,
    /// The backend's answers pass the check without a weight.
    MissingWeight,
    /// The backend answers its probes with something that is no weight.
    InvalidWeight,
    /// The backend cannot be reached, or its answers fail the check without a weight: it keeps the one that it had.
    UnavailableWeight,
}

impl WeightStatus {
    /// Google Cloud's name of the state.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "VALID_WEIGHT",
            Self::MissingWeight => "MISSING_WEIGHT",
            Self::InvalidWeight => "INVALID_WEIGHT",
            Self::UnavailableWeight => "UNAVAILABLE_WEIGHT",
        }
    }
}

/// The basis of a weight that health checks come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightBasis {
    /// The latest report of the backend.
    Reported,
    /// The configuration, as the backend has not reported yet.
    Configured,
    /// Nothing: a backend of the service reports no usable weight, so all weights are equal.
    Equal,
}

/// The reports of one service's backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weights {
    backends: BTreeMap<String, Backend>,
    /// Number of backends whose answers count: both numbers are needed with every probe of every backend, so not counted
    /// anew.
    heard: usize,
    /// Number of those that answer without a usable weight.
    without: usize,
    /// True if weights count, or did when the last backend fell silent.
    are_valid: bool,
}

impl Default for Weights {
    fn default() -> Self {
        Self { backends: BTreeMap::new(), heard: 0, without: 0, are_valid: true }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Backend {
    /// The last weight that was reported.
    last: Option<u16>,
    /// The report of the latest probe through each rule; none where that could not tell: what one rule's probes find must
    /// not be undone by those of another that nobody answers.
    latest: BTreeMap<String, WeightReport>,
}

impl Backend {
    fn status(&self) -> WeightStatus {
        let any = |wanted: fn(&WeightReport) -> bool| self.latest.values().any(wanted);
        if any(|report| matches!(report, WeightReport::Invalid)) {
            WeightStatus::InvalidWeight
        } else if any(|report| matches!(report, WeightReport::Missing)) {
            WeightStatus::MissingWeight
        } else if self.latest.is_empty() {
            WeightStatus::UnavailableWeight
        } else {
            WeightStatus::Valid
        }
    }
}

impl Weights {
    /// Takes in the report of a probe of a backend through a rule: `None` where the backend could not be reached, or its
    /// answer fails without a weight.
    pub fn observe(&mut self, backend: &str, rule: &str, report: Option<WeightReport>) {
        if !self.backends.contains_key(backend) {
            self.backends.insert(backend.to_owned(), Backend::default());
        }
        self.change(backend, |state| {
            match (report, state.latest.get_mut(rule)) {
                (Some(report), Some(latest)) => *latest = report,
                (Some(report), None) => drop(state.latest.insert(rule.to_owned(), report)),
                (None, _) => drop(state.latest.remove(rule)),
            }
            if let Some(WeightReport::Weight(weight)) = report {
                state.last = Some(weight);
            }
        });
    }

    /// Forgets the backends and rules that are no longer configured.
    pub fn retain(&mut self, is_configured: impl Fn(&str) -> bool, rules: &[&str]) {
        let known: Vec<_> = self.backends.keys().cloned().collect();
        for backend in known {
            let stays = is_configured(&backend);
            self.change(&backend, |state| state.latest.retain(|rule, _| stays && rules.contains(&&**rule)));
            if !stays {
                self.backends.remove(&backend);
            }
        }
    }

    /// Forgets the last weight of a backend, whose configured one counts again until its next report.
    pub fn forget_weight(&mut self, backend: &str) {
        if let Some(state) = self.backends.get_mut(backend) {
            state.last = None;
        }
    }

    /// True if every backend whose answers count sends a weight; else the service runs with equal weights. While nobody
    /// can be reached, this stays as it was.
    pub fn are_valid(&self) -> bool {
        self.are_valid
    }

    /// The weight that counts for a backend whose configured weight is `configured`, and its basis.
    pub fn weight(&self, backend: &str, configured: u16) -> (u16, WeightBasis) {
        if !self.are_valid {
            return (1, WeightBasis::Equal);
        }
        let last = self.backends.get(backend).and_then(|state| state.last);
        last.map_or((configured, WeightBasis::Configured), |weight| (weight, WeightBasis::Reported))
    }

    /// The state of a backend's reported weight.
    pub fn status(&self, backend: &str) -> WeightStatus {
        self.backends.get(backend).map_or(WeightStatus::UnavailableWeight, Backend::status)
    }

    /// Changes what is known of a backend, and what that comes to for the service.
    fn change(&mut self, backend: &str, change: impl FnOnce(&mut Backend)) {
        let Some(state) = self.backends.get_mut(backend) else { return };
        let counts = |state: &Backend| {
            let status = state.status();
            let is_without = matches!(status, WeightStatus::MissingWeight | WeightStatus::InvalidWeight);
            (usize::from(status != WeightStatus::UnavailableWeight), usize::from(is_without))
        };
        let (was_heard, was_without) = counts(state);
        change(state);
        let (is_heard, is_without) = counts(state);
        self.heard = self.heard - was_heard + is_heard;
        self.without = self.without - was_without + is_without;
        if self.heard > 0 {
            self.are_valid = self.without == 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEIGHT: fn(u16) -> Option<WeightReport> = |weight| Some(WeightReport::Weight(weight));
    const MISSING: Option<WeightReport> = Some(WeightReport::Missing);

    /// The weights of `a` and `b`, whose configured ones are 9.
    fn of_both(weights: &Weights) -> [u16; 2] {
        ["a", "b"].map(|name| weights.weight(name, 9).0)
    }

    #[test]
    fn a_backend_has_its_configured_weight_until_it_reports_one() {
        let mut weights = Weights::default();
        assert_eq!(weights.weight("a", 7), (7, WeightBasis::Configured));
        weights.observe("a", "rule", WEIGHT(0));
        assert_eq!(weights.weight("a", 7), (0, WeightBasis::Reported));
        assert_eq!(weights.status("a"), WeightStatus::Valid);
        weights.forget_weight("a");
        assert_eq!(weights.weight("a", 8), (8, WeightBasis::Configured));
    }

    #[test]
    fn one_that_answers_without_a_weight_makes_all_equal_until_it_sends_one() {
        let mut weights = Weights::default();
        weights.observe("a", "rule", WEIGHT(300));
        for report in [WeightReport::Missing, WeightReport::Invalid] {
            weights.observe("b", "rule", Some(report));
            assert!(!weights.are_valid());
            assert_eq!(of_both(&weights), [1, 1]);
            assert_eq!(weights.weight("a", 9).1, WeightBasis::Equal);
        }
        weights.observe("b", "rule", WEIGHT(20));
        assert_eq!(of_both(&weights), [300, 20]);
    }

    #[test]
    fn one_that_does_not_answer_keeps_its_weight_and_does_not_count() {
        let mut weights = Weights::default();
        weights.observe("a", "rule", WEIGHT(300));
        weights.observe("b", "rule", WEIGHT(20));
        weights.observe("b", "rule", None);
        assert_eq!((of_both(&weights)[1], weights.status("b")), (20, WeightStatus::UnavailableWeight));
        weights.observe("b", "rule", MISSING);
        weights.observe("b", "rule", None);
        assert!(weights.are_valid(), "who sent none and went silent no longer counts");
    }

    #[test]
    fn a_service_that_nobody_answers_for_stays_as_it_was() {
        for (report, valid) in [(MISSING, false), (WEIGHT(7), true)] {
            let mut weights = Weights::default();
            weights.observe("a", "rule", report);
            weights.observe("b", "rule", report);
            for silent in ["a", "b"] {
                weights.observe(silent, "rule", None);
                assert_eq!(weights.are_valid(), valid);
            }
            weights.retain(|_| false, &["rule"]);
            assert_eq!(weights.are_valid(), valid, "nor does a reload say anything of their weights");
            for back in ["a", "b"] {
                weights.observe(back, "rule", report);
                assert_eq!(weights.are_valid(), valid);
            }
        }
    }

    #[test]
    fn a_rule_that_nobody_answers_on_does_not_undo_what_another_one_says() {
        let mut weights = Weights::default();
        weights.observe("a", "rule", WEIGHT(300));
        weights.observe("b", "rule", MISSING);
        weights.observe("b", "other", None);
        assert_eq!((weights.are_valid(), weights.status("b")), (false, WeightStatus::MissingWeight));
        weights.observe("b", "other", WEIGHT(5));
        assert!(!weights.are_valid());
        weights.retain(|_| true, &["other"]);
        assert_eq!((weights.are_valid(), of_both(&weights)), (true, [300, 5]), "the rule is gone");
        weights.observe("a", "other", WEIGHT(300));
        weights.observe("b", "other", MISSING);
        assert!(!weights.are_valid());
        weights.retain(|name| name == "a", &["rule", "other"]);
        assert!(weights.are_valid(), "the backend is gone");
    }
}
