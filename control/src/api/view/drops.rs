//! Lost packets: how many, why, and what to do.

use serde::{Deserialize, Serialize};

/// All reasons for which a packet is lost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drops {
    /// In the order of a packet's way: device, worker, data plane.
    pub drops: Vec<DropRow>,
}

/// One reason for which packets are lost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DropRow {
    /// Where they end.
    #[serde(rename = "place")]
    pub counted_by: CountedBy,
    /// The stable word.
    pub reason: String,
    /// How many.
    pub packets: u64,
    /// What happened to them.
    pub meaning: String,
    /// What to do.
    pub help: String,
}

/// Where packets are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CountedBy {
    /// The device or its driver loses them; no worker sees them.
    Device,
    /// A worker has them, and no verdict or no way out.
    Worker,
    /// A verdict ends them.
    DataPlane,
}

impl CountedBy {
    /// The word that JSON and tables show.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Worker => "worker",
            Self::DataPlane => "data_plane",
        }
    }
}
