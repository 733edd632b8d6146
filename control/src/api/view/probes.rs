//! Probes that an operator has asked for, beside those of the schedule.

use std::net::IpAddr;

use guideway_model::config::Transport;
use serde::{Deserialize, Serialize};

use crate::health::by_hand::HandProbe;
use crate::health::probe::ProbeResult;

/// Results of one probe of a backend through each rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendProbes {
    /// Service of the backend.
    pub service: String,
    /// Name of the backend.
    pub backend: String,
    /// Probes, one through each forwarding rule, of at most 64 rules.
    pub probes: Vec<RuleProbe>,
}

/// Result of one probe through one forwarding rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleProbe {
    /// Name of the forwarding rule.
    pub forwarding_rule: String,
    /// Name of the health check.
    pub health_check: String,
    /// True if the probe went in the path of traffic; false if the kernel sent it.
    pub in_path: bool,
    /// Address that was probed: the VIP in the path of traffic, else the backend's own.
    pub address: IpAddr,
    /// Port that was probed.
    pub port: u16,
    /// Milliseconds that the probe took.
    pub latency_ms: f64,
    /// Answer of the backend.
    pub answer: ProbeAnswer,
    /// Answer of the VIP on TCP port 1, on which nobody listens as a rule: a reset shows that packets arrive. `null` where
    /// the probe succeeded, or was the kernel's.
    pub closed_port: Option<ProbeAnswer>,
}

/// Answer of a backend to a probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeAnswer {
    /// True if the backend is well, false if it is not; `null` where it could not be asked.
    pub well: Option<bool>,
    /// Cause for which it is not well or was not asked; `null` where it is well.
    pub reason: Option<String>,
}

impl From<ProbeResult> for ProbeAnswer {
    fn from(result: ProbeResult) -> Self {
        match result {
            ProbeResult::Well(_) => Self { well: Some(true), reason: None },
            ProbeResult::Unwell { reason, .. } => Self { well: Some(false), reason: Some(reason) },
            ProbeResult::NotAsked(reason) => Self { well: None, reason: Some(reason) },
        }
    }
}

impl From<HandProbe> for RuleProbe {
    fn from(probe: HandProbe) -> Self {
        Self {
            forwarding_rule: probe.rule,
            in_path: probe.check.transport == Transport::InPath,
            address: probe.address,
            port: probe.check.port,
            health_check: probe.check.name,
            latency_ms: probe.latency.as_micros() as f64 / 1e3,
            answer: probe.result.into(),
            closed_port: probe.closed_port.map(ProbeAnswer::from),
        }
    }
}
