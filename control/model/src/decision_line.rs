//! What was decided for a frame, as a line of JSON.

use std::io::{self, Write};

use guideway_dataplane::pipeline::Decision;
use guideway_dataplane::verdict::Verdict;
use serde::Serialize;

use crate::names::Names;

/// A line of the decisions: its keys and words are a stable interface.
#[derive(Debug, Serialize)]
pub struct DecisionLine<'a> {
    frame: u64,
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
    /// What was decided for the frame of this number, the first being 1, under the snapshot that `names` names.
    pub fn new(frame: u64, decision: &Decision, names: &'a Names) -> Self {
        let (verdict, reason) = match decision.verdict {
            Verdict::Forward => ("forward", None),
            Verdict::Pass(reason) => ("pass", Some(reason.as_str())),
            Verdict::Drop(reason) => ("drop", Some(reason.as_str())),
        };
        Self {
            frame,
            verdict,
            reason,
            forwarding_rule: decision.rule.map(|(rule, _)| names.rule(rule)),
            backend_service: decision.rule.map(|(_, service)| &**names.service(service)),
            backend: decision.backend.and_then(|backend| names.backend(backend)).map(|name| &**name),
            tracking: decision.backend.map(|_| decision.tracking.as_str()),
        }
    }

    /// Writes the line and its end.
    ///
    /// # Errors
    /// What `out` says.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, self)?;
        out.write_all(b"\n")
    }
}
