//! Explanation of a flow by the running appliance.

use guideway_model::explain::Explanation;
use serde::{Deserialize, Serialize};

/// Explanation of a flow, and the configuration that it was made under.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explained {
    /// Path of the configuration file.
    pub config_path: String,
    /// Number of configurations that the appliance has accepted.
    pub configuration_generation: u64,
    /// Steps of the flow's first packet, and the verdict.
    pub explanation: Explanation,
}
