//! The weights that backends report, which count for a whole service or not at all.

use std::collections::BTreeMap;

use super::probe::WeightReport;

/// The state of a backend's reported weight, in Google Cloud's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightStatus {
    /// The backend has reported a weight with its latest probe.
    Valid,
    /// The backend answers its probes without a weight.
    MissingWeight,
    /// The backend answers its probes with something that is no weight.
    InvalidWeight,
    /// The backend does not answer, and keeps the weight that it had.
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

/// The reports of one service's backends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weights {
    backends: BTreeMap<String, Backend>,
    /// Number of backends that answer without a weight: needed with every probe of every backend, so not counted anew.
    without: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Backend {
    /// The last weight that was reported.
    last: Option<u16>,
    /// The report of the latest probe; `None` where that failed.
    latest: Option<WeightReport>,
}

impl Backend {
    /// True if the backend answers, and without a weight.
    fn is_without(self) -> bool {
        matches!(self.latest, Some(WeightReport::Missing | WeightReport::Invalid))
    }
}

impl Weights {
    /// Takes in the report of a probe of a backend: `None` where the probe failed.
    pub fn observe(&mut self, backend: &str, report: Option<WeightReport>) {
        let state = self.backends.entry(backend.to_owned()).or_default();
        self.without -= usize::from(state.is_without());
        state.latest = report;
        self.without += usize::from(state.is_without());
        if let Some(WeightReport::Weight(weight)) = report {
            state.last = Some(weight);
        }
    }

    /// Forgets a backend that is no longer configured, or begins anew.
    pub fn forget(&mut self, backend: &str) {
        if let Some(gone) = self.backends.remove(backend) {
            self.without -= usize::from(gone.is_without());
        }
    }

    /// True if every backend that answers sends a weight; else the service runs with equal weights.
    pub fn are_valid(&self) -> bool {
        self.without == 0
    }

    /// The weight that counts for a backend whose configured weight is `configured`.
    pub fn weight(&self, backend: &str, configured: u16) -> u16 {
        if !self.are_valid() {
            return 1;
        }
        self.backends.get(backend).and_then(|state| state.last).unwrap_or(configured)
    }

    /// The state of a backend's reported weight.
    pub fn status(&self, backend: &str) -> WeightStatus {
        match self.backends.get(backend).and_then(|state| state.latest) {
            Some(WeightReport::Weight(_)) => WeightStatus::Valid,
            Some(WeightReport::Missing) => WeightStatus::MissingWeight,
            Some(WeightReport::Invalid) => WeightStatus::InvalidWeight,
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
        weights.observe("a", Some(WeightReport::Weight(0)));
        assert_eq!((weights.weight("a", 7), weights.status("a")), (0, WeightStatus::Valid));
    }

    #[test]
    fn one_that_answers_without_a_weight_makes_all_equal_until_it_sends_one() {
        let mut weights = Weights::default();
        weights.observe("a", Some(WeightReport::Weight(300)));
        for report in [WeightReport::Missing, WeightReport::Invalid] {
            weights.observe("b", Some(report));
            assert!(!weights.are_valid());
            assert_eq!(["a", "b"].map(|name| weights.weight(name, 9)), [1, 1]);
        }
        weights.observe("b", Some(WeightReport::Weight(20)));
        assert_eq!(["a", "b"].map(|name| weights.weight(name, 9)), [300, 20]);
    }

    #[test]
    fn one_that_does_not_answer_keeps_its_weight_and_does_not_count() {
        let mut weights = Weights::default();
        weights.observe("a", Some(WeightReport::Weight(300)));
        weights.observe("b", Some(WeightReport::Weight(20)));
        weights.observe("b", None);
        assert_eq!((weights.weight("b", 9), weights.status("b")), (20, WeightStatus::UnavailableWeight));
        weights.observe("a", Some(WeightReport::Missing));
        weights.observe("a", None);
        assert!(weights.are_valid(), "who sent none and went silent no longer counts");
    }
}
