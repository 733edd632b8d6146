//! Data of the page: the JSON that the other subcommands print, as far as the page shows it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

/// Measurements that a page may show.
#[derive(Default)]
pub(super) struct Data {
    pub(super) pipeline: Option<Pipeline>,
    pub(super) table: Option<Table>,
    pub(super) replay: Option<Replay>,
    pub(super) conntrack: Option<Conntrack>,
    /// Origins of the measurements, in the order in which they were taken in.
    pub(super) origins: Vec<Origin>,
}

/// Origin of a measurement: the command or file, and the environment.
pub(super) struct Origin {
    /// Command that printed the measurement, or file that holds it.
    pub(super) name: String,
    pub(super) environment: Environment,
}

#[derive(Deserialize)]
pub(super) struct Pipeline {
    pub(super) measured: Vec<Measured>,
}

#[derive(Deserialize)]
pub(super) struct Measured {
    pub(super) scenario: Scenario,
    pub(super) net_ns: f64,
    pub(super) net_median_ns: f64,
    pub(super) mpps: f64,
    pub(super) hit_share: f64,
    pub(super) burst_ns: Percentiles,
}

#[derive(Clone, Deserialize, PartialEq, Eq)]
pub(super) struct Scenario {
    pub(super) flows: u64,
    pub(super) frame_len: u64,
    pub(super) family: String,
    pub(super) delivery: String,
    pub(super) affinity: String,
    pub(super) per_session: bool,
    pub(super) packets: String,
    pub(super) workers: u64,
    pub(super) backends: u64,
    pub(super) rules: u64,
}

#[derive(Deserialize)]
pub(super) struct Percentiles {
    pub(super) p50: u64,
    pub(super) p99: u64,
    pub(super) p99_9: u64,
    pub(super) max: u64,
}

#[derive(Deserialize)]
pub(super) struct Table {
    pub(super) balance: Vec<Balance>,
    pub(super) disruption: Vec<Disruption>,
}

#[derive(Deserialize)]
pub(super) struct Balance {
    pub(super) set: String,
    pub(super) method: String,
    pub(super) slots: u64,
    pub(super) smallest_share_slots: u64,
    pub(super) worst_error_slots: f64,
    pub(super) build_min_us: f64,
    pub(super) build_median_us: f64,
}

#[derive(Deserialize)]
pub(super) struct Disruption {
    pub(super) change: String,
    pub(super) ideal_percent: f64,
    pub(super) race_percent: Option<f64>,
    pub(super) turn_based_percent: Option<f64>,
    pub(super) maglev_crate_percent: Option<f64>,
}

#[derive(Deserialize)]
pub(super) struct Replay {
    pub(super) capture: String,
    pub(super) driver: String,
    pub(super) frames: u64,
    pub(super) clones: u64,
    pub(super) flows: u64,
    pub(super) workers: u64,
    pub(super) speed: String,
    pub(super) packets_per_sec: f64,
    pub(super) ns_per_packet: f64,
    pub(super) median_ns_per_packet: Option<f64>,
    #[serde(rename = "ledger")]
    pub(super) frame_counts: FrameCounts,
    pub(super) passed: BTreeMap<String, u64>,
    pub(super) dropped: BTreeMap<String, u64>,
    pub(super) backends: Vec<BackendShare>,
    pub(super) burst_ns: Percentiles,
}

#[derive(Deserialize)]
pub(super) struct FrameCounts {
    pub(super) put_in: u64,
    pub(super) refused: u64,
    pub(super) offered: u64,
    pub(super) forwarded: u64,
    pub(super) passed: u64,
    pub(super) dropped: u64,
    pub(super) answered: u64,
    pub(super) sent: u64,
    pub(super) tx_full: u64,
    pub(super) unknown_egress_port: u64,
    pub(super) came_out: u64,
}

#[derive(Deserialize)]
pub(super) struct BackendShare {
    pub(super) backend_service: String,
    pub(super) backend: String,
    pub(super) weight: u64,
    pub(super) expected_share: f64,
    pub(super) packets: u64,
    pub(super) share: f64,
}

#[derive(Deserialize)]
pub(super) struct Conntrack {
    pub(super) lookups: Vec<Lookups>,
}

#[derive(Deserialize)]
pub(super) struct Lookups {
    pub(super) entries: u64,
    pub(super) threads: u64,
    pub(super) table: String,
    pub(super) bytes_per_entry: f64,
    pub(super) hit_ns: Sample,
    pub(super) miss_ns: Sample,
}

#[derive(Deserialize)]
pub(super) struct Sample {
    pub(super) min: f64,
    pub(super) median: f64,
}

#[derive(Deserialize)]
pub(super) struct Environment {
    pub(super) machine: Machine,
    pub(super) build: Build,
    pub(super) load_before: f64,
    pub(super) seconds: f64,
    pub(super) others_percent: Option<f64>,
    pub(super) stolen_percent: Option<f64>,
    pub(super) warnings: Vec<String>,
}

#[derive(Deserialize, PartialEq)]
pub(super) struct Machine {
    pub(super) cpu: String,
    pub(super) cores: u64,
    pub(super) caches: Vec<String>,
    pub(super) features: Vec<String>,
    pub(super) kernel: String,
    pub(super) transparent_huge_pages: String,
    pub(super) free_huge_pages: Vec<String>,
}

#[derive(Deserialize, PartialEq)]
pub(super) struct Build {
    pub(super) rustc: String,
    pub(super) optimized: bool,
    pub(super) target_features: Vec<String>,
}

impl FrameCounts {
    /// True if every frame is accounted for.
    pub(super) fn is_balanced(&self) -> bool {
        self.put_in == self.offered + self.refused
            && self.offered == self.forwarded + self.passed + self.dropped
            && self.sent + self.tx_full + self.unknown_egress_port == self.forwarded + self.answered
            && self.sent == self.came_out
    }
}

impl Data {
    /// Takes in the output of a subcommand; `name` is the command or file that it came from.
    ///
    /// # Errors
    /// If the output is not JSON, or of no subcommand that the page has a figure of, or the second of its kind.
    pub(super) fn take(&mut self, name: String, printed: &str) -> Result<(), String> {
        // Libraries may have had something to say before.
        let start = printed.find('{').unwrap_or(0);
        let explain = |error: serde_json::Error| format!("{name}: {error}");
        let mut report: Map<String, Value> = serde_json::from_str(&printed[start..]).map_err(explain)?;
        let environment = report.remove("environment").unwrap_or_default();
        let environment = serde_json::from_value(environment).map_err(explain)?;
        let second = if report.contains_key("measured") {
            self.pipeline.replace(serde_json::from_value(report.into()).map_err(explain)?).is_some()
        } else if report.contains_key("balance") {
            self.table.replace(serde_json::from_value(report.into()).map_err(explain)?).is_some()
        } else if let Some(replay) = report.remove("replay") {
            self.replay.replace(serde_json::from_value(replay).map_err(explain)?).is_some()
        } else if report.contains_key("lookups") {
            self.conntrack.replace(serde_json::from_value(report.into()).map_err(explain)?).is_some()
        } else {
            return Err(format!("{name} is not what pipeline, table, replay or conntrack print"));
        };
        if second {
            return Err(format!("{name} is the second of its kind"));
        }
        self.origins.push(Origin { name, environment });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_subcommand_printed_is_refused_by_name() {
        let mut data = Data::default();
        for text in ["", "{", "[]", "{\"environment\": {}}", "{\"measured\": []}"] {
            assert!(data.take("a.json".to_owned(), text).expect_err(text).starts_with("a.json"), "{text}");
        }
        assert!(data.origins.is_empty());
    }
}
