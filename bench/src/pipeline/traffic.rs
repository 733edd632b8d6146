//! Packets of a number of flows, as a NIC would bring them: each made from a template by its flow's number.

use super::scenario::{Family, PORT, Scenario, vip};
use super::slot::Slot;

/// Offset at which an Ethernet header ends.
const L3: usize = 14;

/// Maker of the frames of a scenario's flows.
pub(super) struct Traffic {
    head: [u8; 64],
    frame_len: usize,
    /// Offset of the lower half of the client's address, with its port behind it.
    client: usize,
    port: usize,
    flags: usize,
    /// Offset of the VIP's last two bytes, which tell the rules apart.
    vip: usize,
    rules: u32,
}

const ACK: u8 = 0x10;
const SYN: u8 = 0x02;

impl Traffic {
    /// Makes the traffic of a scenario's flows: each frame is an acknowledgement without data.
    pub(super) fn new(scenario: &Scenario) -> Self {
        let mut head = [0; 64];
        head[..12].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 9, 0, 0, 0, 9]);
        let l3_len = (scenario.frame_len - L3) as u16;
        let (client, vip_at, l4) = match scenario.family {
            Family::Ipv4 => {
                head[12..14].copy_from_slice(&[0x08, 0x00]);
                head[L3..L3 + 12].copy_from_slice(&[0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 6, 0, 0]);
                head[L3 + 2..L3 + 4].copy_from_slice(&l3_len.to_be_bytes());
                head[L3 + 12..L3 + 16].copy_from_slice(&[10, 0, 0, 0]);
                head[L3 + 16..L3 + 20].copy_from_slice(&vip(Family::Ipv4, 0).v4_bytes());
                (L3 + 12, L3 + 18, L3 + 20)
            }
            Family::Ipv6 => {
                head[12..14].copy_from_slice(&[0x86, 0xdd]);
                head[L3..L3 + 8].copy_from_slice(&[0x60, 0, 0, 0, 0, 0, 6, 64]);
                head[L3 + 4..L3 + 6].copy_from_slice(&(l3_len - 40).to_be_bytes());
                head[L3 + 8..L3 + 12].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
                // The ports and what follows them lie at the very end of the 64 bytes: the flags are beyond.
                head[L3 + 24..L3 + 40].copy_from_slice(&vip(Family::Ipv6, 0).v6_bytes());
                (L3 + 20, L3 + 38, L3 + 40)
            }
        };
        head[l4 + 2..l4 + 4].copy_from_slice(&PORT.to_be_bytes());
        Self {
            head,
            frame_len: scenario.frame_len,
            client,
            port: l4,
            flags: l4 + 12,
            vip: vip_at,
            rules: scenario.rules as u32,
        }
    }

    /// Puts a packet of flow `flow` into `slot`.
    #[inline]
    pub(super) fn receive(&self, slot: &mut Slot, flow: u32, syn: bool) {
        let head = slot.receive(&self.head, self.frame_len);
        // Multiplied by an odd number, so that neighbours in number are none in address.
        let spread = flow.wrapping_mul(0x9e37_79b1);
        head[self.client..self.client + 4].copy_from_slice(&client(spread));
        head[self.port..self.port + 2].copy_from_slice(&(1024 | spread as u16).to_be_bytes());
        if self.rules > 1 {
            let first = u16::from_be_bytes([self.head[self.vip], self.head[self.vip + 1]]);
            head[self.vip..self.vip + 2].copy_from_slice(&(first + (flow % self.rules) as u16).to_be_bytes());
        }
        slot.set_tcp(self.flags, if syn { SYN } else { ACK });
    }
}

/// Makes the client's address, never one that no packet may come from: 32.0.0.0 to 95.255.255.255 has 30 bits.
fn client(spread: u32) -> [u8; 4] {
    (0x2000_0000 + (spread >> 2)).to_be_bytes()
}
