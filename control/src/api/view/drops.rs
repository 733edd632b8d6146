//! Lost packets: how many, why, and what to do.

use serde::{Deserialize, Serialize};

/// List of all reasons for which a packet is lost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drops {
    /// Reasons in the order of a packet's way: device, worker, data plane.
    pub drops: Vec<DropRow>,
}

/// Reason for which packets are lost, with its count and its remedy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DropRow {
    /// Part of the appliance that counts these packets.
    #[serde(rename = "place")]
    pub counted_by: CountedBy,
    /// Stable word for the reason.
    pub reason: String,
    /// Number of packets lost.
    pub packets: u64,
    /// Sentence that tells what happened to the packets.
    pub meaning: String,
    /// Sentence that tells what to do.
    pub help: String,
}

/// Part of the appliance that loses packets and counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CountedBy {
    /// The device or its driver loses the packets; no worker sees them.
    Device,
    /// A worker has the packets, and no verdict or no way out.
    Worker,
    /// A verdict drops the packets.
    DataPlane,
}

impl CountedBy {
    /// Word that JSON and tables show.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Worker => "worker",
            Self::DataPlane => "data_plane",
        }
    }
}
