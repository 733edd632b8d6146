//! The decision for a frame, as a line of JSON.

use std::io::{self, Write};

use guideway_dataplane::pipeline::Decision;
use guideway_dataplane::verdict::Verdict;
use serde::Serialize;

use crate::names::Names;

/// Line of the decisions; its keys and words are a stable interface.
#[derive(Debug, Serialize)]
pub struct DecisionLine<'a> {
    frame: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<&'a str>,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    forwarding_rule: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend_service: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracking: Option<&'static str>,
}

impl<'a> DecisionLine<'a> {
    /// Line for the decision on the frame of this number, the first being 1, under the snapshot that `names` belongs to.
    pub fn new(frame: u64, decision: &Decision, names: &'a Names) -> Self {
        let (verdict, reason) = match decision.verdict {
            Verdict::Forward => ("forward", None),
            Verdict::Pass(reason) => ("pass", Some(reason.as_str())),
            Verdict::Drop(reason) => ("drop", Some(reason.as_str())),
        };
        Self {
            frame,
            network: decision.rule.and_then(|(_, service)| names.network(service)).map(|name| &**name),
            verdict,
            reason,
            forwarding_rule: decision.rule.map(|(rule, _)| names.rule(rule)),
            backend_service: decision.rule.map(|(_, service)| &**names.service(service)),
            backend: decision.backend.and_then(|backend| names.backend(backend)).map(|name| &**name),
            tracking: decision.backend.map(|_| decision.tracking.as_str()),
        }
    }

    /// Line that names the network of its frame, whatever was decided; the packets of rules have theirs without.
    #[must_use]
    pub fn in_network(self, network: Option<&'a str>) -> Self {
        Self { network: network.or(self.network), ..self }
    }

    /// Writes the line and its end.
    ///
    /// # Errors
    /// Errors of `out`.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, self)?;
        out.write_all(b"\n")
    }
}
