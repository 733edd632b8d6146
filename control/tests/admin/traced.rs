//! Packet that was traced, as documents show it.

use guideway::api::view::TracedPacket;

/// Traced packet of this number.
pub(crate) fn traced(number: u64) -> TracedPacket {
    let mut traced: TracedPacket = serde_json::from_str(include_str!("traced_packet.json")).unwrap();
    traced.packet.number = number;
    traced
}
