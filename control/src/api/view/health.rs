//! Health checks: what they have found, backend by backend, and how well they keep up.

use serde::{Deserialize, Serialize};

use crate::health::weights;

/// Results of a backend's health checks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// Time since which the backend is healthy or unhealthy, in seconds since 1970.
    pub since_unix_sec: u64,
    /// Seconds for which the backend has been healthy or unhealthy.
    pub for_sec: u64,
    /// Changes of the backend between healthy and unhealthy.
    pub turns: u64,
    /// Status of the reported weight; `null` where the service does not choose by reported weights.
    pub weight_status: Option<WeightStatus>,
    /// Checks by forwarding rule: the backend is healthy while all of them say so.
    pub rules: Vec<RuleCheck>,
}

/// Results of a backend's probes through one forwarding rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleCheck {
    /// Name of the forwarding rule.
    pub forwarding_rule: String,
    /// True if the probes say that the backend may serve.
    pub healthy: bool,
    /// Probes that have succeeded.
    pub passed: u64,
    /// Probes that have failed.
    pub failed: u64,
    /// Duration of the latest probe; `null` before the first.
    pub last_latency_ms: Option<f64>,
    /// Error of the latest probe; `null` where it succeeded.
    pub last_error: Option<String>,
}

/// Status of a backend's reported weight, in Google Cloud's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WeightStatus {
    /// The latest probe has reported a weight.
    ValidWeight,
    /// The backend's answers pass the check without a weight.
    MissingWeight,
    /// The backend answers its probes with something that is no weight.
    InvalidWeight,
    /// The backend cannot be reached, or its answers fail the check without a weight: it keeps the one that it had.
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
    /// Google Cloud's name of the status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ValidWeight => weights::WeightStatus::Valid.as_str(),
            Self::MissingWeight => weights::WeightStatus::MissingWeight.as_str(),
            Self::InvalidWeight => weights::WeightStatus::InvalidWeight.as_str(),
            Self::UnavailableWeight => weights::WeightStatus::UnavailableWeight.as_str(),
        }
    }
}

/// Timeliness of the health checks: probes, missed intervals and delays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthChecks {
    /// Probes that have begun.
    pub probes_begun: u64,
    /// Intervals of a check that went by without its probe; more than 0 means that the control thread cannot keep up.
    pub intervals_missed: u64,
    /// Failures of probes that count for nothing, as they fell in a stall of a worker or of the control thread.
    pub failures_discarded: u64,
    /// Delay of probes behind their schedule; it grows when the control thread has too much to do.
    pub start_lag: Quantiles,
    /// Snapshots that carried the outcome of a probe and have come to all workers.
    #[serde(rename = "reactions")]
    pub publications_measured: u64,
    /// Time from the end of a probe to the last worker's first poll that goes by its outcome.
    pub probe_to_packet: Quantiles,
}

/// Distribution of times, 0 where there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// Time that half of them do not exceed.
    pub median_ms: f64,
    /// Time that 99 of 100 do not exceed.
    pub p99_ms: f64,
    /// Longest time.
    pub max_ms: f64,
}

impl Quantiles {
    /// Reads the quantiles of a distribution, which tells the time that a share of all do not exceed.
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
