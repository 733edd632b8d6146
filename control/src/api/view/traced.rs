//! Traces of live packets.

use guideway_model::trace::PacketTrace;
use serde::{Deserialize, Serialize};

/// Packet of the running appliance, traced through every stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TracedPacket {
    /// Packets of the choice that workers had no room to record, since the trace began.
    pub missed_packets: u64,
    /// Way of the packet.
    pub packet: PacketTrace,
}
