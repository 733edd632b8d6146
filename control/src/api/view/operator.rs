//! Settings of operators: what they have set by hand, and where it is kept.

use serde::{Deserialize, Serialize};

/// Settings that operators have made by hand, and the file that keeps them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OperatorSettings {
    /// Path of the file that keeps the settings over a restart; `null` where a restart forgets them.
    pub state_path: Option<String>,
    /// Error of the latest write to the file; `null` where the file has all settings.
    pub last_error: Option<String>,
    /// Backends with settings, by service and name.
    pub backends: Vec<OperatorSetting>,
}

/// Settings of one backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorSetting {
    /// Service of the backend.
    pub service: String,
    /// Name of the backend.
    pub backend: String,
    /// Time of the drain, in seconds since 1970; `null` where the backend is not drained.
    pub drained_at_unix_sec: Option<u64>,
    /// Weight that the operator has set; `null` where there is none.
    pub weight: Option<u16>,
    /// Time at which the weight was set, in seconds since 1970; `null` where there is none.
    pub weight_set_at_unix_sec: Option<u64>,
}
