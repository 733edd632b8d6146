//! A packet of a probe that is to be delivered to one backend.

use guideway_dataplane::backend::BackendHandle;

/// An IP packet to a VIP, for one backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingPacket {
    /// The backend that is to get the packet.
    pub backend: BackendHandle,
    /// The IP packet.
    pub packet: Vec<u8>,
}

impl OutgoingPacket {
    /// The packet in an Ethernet frame whose addresses are zero, with the tag of a VLAN if it is given one, as a packet of
    /// this family would have been received there: for `Packet::parse` and the backend's `Delivery`, which writes the addresses.
    ///
    /// A delivery whose egress names no source address would take it from the frame, so the egress must name
    /// one.
    pub fn into_frame(self, vlan: Option<u16>) -> Vec<u8> {
        let ethertype: u16 =
            if self.packet.first().is_some_and(|first| first >> 4 == 4) { 0x0800 } else { 0x86dd };
        let mut frame = Vec::with_capacity(18 + self.packet.len());
        frame.resize(12, 0);
        if let Some(vlan) = vlan {
            frame.extend([0x81, 0x00]);
            frame.extend(vlan.to_be_bytes());
        }
        frame.extend(ethertype.to_be_bytes());
        frame.extend(self.packet);
        frame
    }
}
