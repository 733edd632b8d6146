//! The weights that backends report, which count for a whole service or not at all.

use std::collections::BTreeMap;

/// The latest that one backend said of its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// A weight.
    Weight(u16),
    /// It answered without a weight.
    Missing,
    /// It answered with something that is no weight.
    Invalid,
}

/// Whether a backend's weight counts, in Google Cloud's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightStatus {
    /// It has reported a weight with its latest probe.
    Valid,
    /// It answers its probes without a weight.
    MissingWeight,
    /// It answers its probes with what is no weight.
    InvalidWeight,
    /// It does not answer, and keeps the weight that it had.
    UnavailableWeight,
}

impl WeightStatus {
    /// Google Cloud's name of it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "VALID_WEIGHT",
            Self::MissingWeight => "MISSING_WEIGHT",
            Self::InvalidWeight => "INVALID_WEIGHT",
            Self::UnavailableWeight => "UNAVAILABLE_WEIGHT",
        }
    }
}

/// What the backends of one service have reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weights {
    backends: BTreeMap<String, Backend>,
    /// How many of them answer without a weight: asked with every probe of every backend, so it is not counted anew.
    without: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Backend {
    /// The last weight that it reported.
    last: Option<u16>,
    /// What came with its latest probe; none where that failed.
    latest: Option<Report>,
}

impl Backend {
    /// Whether it answers, and without a weight.
    fn is_without(self) -> bool {
        matches!(self.latest, Some(Report::Missing | Report::Invalid))
    }
}

impl Weights {
    /// Takes in what came with a probe of a backend: none where the probe failed.
    pub fn observe(&mut self, backend: &str, report: Option<Report>) {
        let state = self.backends.entry(backend.to_owned()).or_default();
        self.without -= usize::from(state.is_without());
        state.latest = report;
        self.without += usize::from(state.is_without());
        if let Some(Report::Weight(weight)) = report {
            state.last = Some(weight);
        }
    }

    /// Forgets a backend that is no longer configured, or begins anew.
    pub fn forget(&mut self, backend: &str) {
        if let Some(gone) = self.backends.remove(backend) {
            self.without -= usize::from(gone.is_without());
        }
    }

    /// Whether every backend that answers sends a weight; where not, the service runs with equal weights.
    pub fn are_valid(&self) -> bool {
        self.without == 0
    }

    /// The weight of a backend that is configured with `configured`.
    pub fn weight(&self, backend: &str, configured: u16) -> u16 {
        if !self.are_valid() {
            return 1;
        }
        self.backends.get(backend).and_then(|state| state.last).unwrap_or(configured)
    }

    /// Whether a backend's weight counts.
    pub fn status(&self, backend: &str) -> WeightStatus {
        match self.backends.get(backend).and_then(|state| state.latest) {
            Some(Report::Weight(_)) => WeightStatus::Valid,
            Some(Report::Missing) => WeightStatus::MissingWeight,
            Some(Report::Invalid) => WeightStatus::InvalidWeight,
            None => WeightStatus::UnavailableWeight,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_has_its_configured_weight_until_it_reports_one() {
        let mut weights = Weights::default();
        assert_eq!(weights.weight("a", 7), 7);
        weights.observe("a", Some(Report::Weight(0)));
        assert_eq!((weights.weight("a", 7), weights.status("a")), (0, WeightStatus::Valid));
    }

    #[test]
    fn one_that_answers_without_a_weight_makes_all_equal_until_it_sends_one() {
        let mut weights = Weights::default();
        weights.observe("a", Some(Report::Weight(300)));
        for report in [Report::Missing, Report::Invalid] {
            weights.observe("b", Some(report));
            assert!(!weights.are_valid());
            assert_eq!(["a", "b"].map(|name| weights.weight(name, 9)), [1, 1]);
        }
        weights.observe("b", Some(Report::Weight(20)));
        assert_eq!(["a", "b"].map(|name| weights.weight(name, 9)), [300, 20]);
    }

    #[test]
    fn one_that_does_not_answer_keeps_its_weight_and_does_not_count() {
        let mut weights = Weights::default();
        weights.observe("a", Some(Report::Weight(300)));
        weights.observe("b", Some(Report::Weight(20)));
        weights.observe("b", None);
        assert_eq!((weights.weight("b", 9), weights.status("b")), (20, WeightStatus::UnavailableWeight));
        weights.observe("a", Some(Report::Missing));
        weights.observe("a", None);
        assert!(weights.are_valid(), "who sent none and went silent no longer counts");
    }
}
