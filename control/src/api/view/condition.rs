//! Condition of the appliance in one line: `OK`, or `DEGRADED` with every reason.

use serde::{Deserialize, Serialize};

/// Reasons that the first line of people shows; JSON has all.
const SHOWN: usize = 4;

/// Condition of the appliance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// True if something keeps the appliance from serving as it is configured to.
    pub degraded: bool,
    /// Reasons, the worst first; empty where there are none.
    pub reasons: Vec<String>,
}

impl Condition {
    /// Line for people: `OK`, or `DEGRADED: ` and the worst reasons.
    pub fn line(&self) -> String {
        if !self.degraded {
            return "OK".to_owned();
        }
        let shown = &self.reasons[..self.reasons.len().min(SHOWN)];
        let more = match self.reasons.len() - shown.len() {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        format!("DEGRADED: {}{more}", shown.join("; "))
    }
}
