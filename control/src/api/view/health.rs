//! Health checks: what they have found, backend by backend, and how well they keep up.

use serde::{Deserialize, Serialize};

use crate::health::weights;

/// What the health checks of a backend have found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// Since when the backend is healthy or unhealthy, in seconds since 1970.
    pub since_unix_sec: u64,
    /// How long that is, in seconds.
    pub for_sec: u64,
    /// How often it has turned.
    pub turns: u64,
    /// Whether its reported weight counts; `null` where its service does not choose by weight.
    pub weight_status: Option<WeightStatus>,
    /// Its checks, by forwarding rule: it is healthy while all of them say so.
    pub rules: Vec<RuleCheck>,
}

/// What the probes of a backend through one forwarding rule have found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleCheck {
    /// The forwarding rule.
    pub forwarding_rule: String,
    /// Whether they say that the backend may serve.
    pub healthy: bool,
    /// How many have succeeded.
    pub passed: u64,
    /// How many have failed.
    pub failed: u64,
    /// How long the latest took; `null` before the first.
    pub last_latency_ms: Option<f64>,
    /// Why the latest has failed; `null` where it has not.
    pub last_error: Option<String>,
}

/// Whether a backend's weight counts, in Google Cloud's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WeightStatus {
    /// It has reported a weight with its latest probe.
    ValidWeight,
    /// It answers its probes without a weight.
    MissingWeight,
    /// It answers its probes with what is no weight.
    InvalidWeight,
    /// It does not answer, and keeps the weight that it had.
    UnavailableWeight,
}

impl From<weights::WeightStatus> for WeightStatus {
    fn from(status: weights::WeightStatus) -> Self {
        match status {
            weights::WeightStatus::Valid => Self::ValidWeight,
            weights::WeightStatus::MissingWeight => Self::MissingWeight,
            weights::WeightStatus::InvalidWeight => Self::InvalidWeight,
            weights::WeightStatus::UnavailableWeight => Self::UnavailableWeight,
        }
    }
}

impl WeightStatus {
    /// Google Cloud's name of it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ValidWeight => weights::WeightStatus::Valid.as_str(),
            Self::MissingWeight => weights::WeightStatus::MissingWeight.as_str(),
            Self::InvalidWeight => weights::WeightStatus::InvalidWeight.as_str(),
            Self::UnavailableWeight => weights::WeightStatus::UnavailableWeight.as_str(),
        }
    }
}

/// How well the health checks keep up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthChecks {
    /// How many probes have begun.
    pub probes_begun: u64,
    /// How many intervals of a check went by without its probe: more than none means that the control thread cannot keep up.
    pub intervals_missed: u64,
    /// How late they began; the sign of a control thread that has too much to do.
    pub start_lag: Quantiles,
    /// How often a probe's outcome has come to all workers.
    #[serde(rename = "reactions")]
    pub publications_measured: u64,
    /// How long that took, from the end of the probe to the last worker's first poll that goes by it.
    pub probe_to_packet: Quantiles,
}

/// A distribution of times, 0 where there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// Half are no longer.
    pub median_ms: f64,
    /// 99 of 100 are no longer.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Quantiles {
    /// Those of a distribution that tells the time which a share of all do not exceed.
    pub(crate) fn of(at_quantile: impl Fn(f64) -> std::time::Duration) -> Self {
        let millis = |share| at_quantile(share).as_micros() as f64 / 1e3;
        Self { median_ms: millis(0.5), p99_ms: millis(0.99), max_ms: millis(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_status_has_google_clouds_word_everywhere() {
        use weights::WeightStatus as Known;
        for known in [Known::Valid, Known::MissingWeight, Known::InvalidWeight, Known::UnavailableWeight] {
            let status = WeightStatus::from(known);
            assert_eq!(serde_json::json!(status), serde_json::json!(known.as_str()));
            assert_eq!(status.as_str(), known.as_str());
        }
    }
}
