//! Packets of a number of flows, as a NIC would bring them: each made from a template by its flow's number.

use super::scenario::{Family, PORT, PacketForm, Scenario, vip, vlan};
use super::slot::{HEAD, Slot};

/// Offset at which an Ethernet header ends.
const L3: usize = 14;

/// Offset of a VLAN tag.
const TAG: usize = 12;

const ACK: u8 = 0x10;
const SYN: u8 = 0x02;

/// Packets of one flow that are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// Plain, whatever the form of the others: they establish the connection.
    Plain,
    /// Opening the connection.
    Opening,
    /// In the form of the scenario.
    InForm,
}

/// Maker of the frames of a scenario's flows.
pub(super) struct Traffic {
    plain: Template,
    in_form: Template,
    rules: u32,
    networks: u32,
}

/// Frame but for what tells flows apart.
struct Template {
    head: [u8; HEAD],
    frame_len: usize,
    /// Offset of the lower half of the client's address.
    client: usize,
    /// Offset of the client's port.
    port: usize,
    /// Offset of the TCP flags, where the packet has a whole TCP header.
    flags: Option<usize>,
    /// Offset of the VIP's last two bytes, which tell the rules apart.
    vip: usize,
}

impl Template {
    /// Acknowledgement without data, in a frame of so many bytes.
    fn plain(family: Family, frame_len: usize) -> Self {
        let mut head = [0; HEAD];
        head[..12].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 9, 0, 0, 0, 9]);
        let l3_len = (frame_len - L3) as u16;
        let (client, vip_at, l4) = match family {
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
                head[L3 + 24..L3 + 40].copy_from_slice(&vip(Family::Ipv6, 0).v6_bytes());
                (L3 + 20, L3 + 38, L3 + 40)
            }
        };
        head[l4 + 2..l4 + 4].copy_from_slice(&PORT.to_be_bytes());
        head[l4 + 12..l4 + 14].copy_from_slice(&[0x50, ACK]);
        Self { head, frame_len, client, port: l4, flags: Some(l4 + 13), vip: vip_at }
    }

    /// Packet of the same connections in another form.
    fn in_form(family: Family, frame_len: usize, form: PacketForm) -> Self {
        let mut template = Self::plain(family, frame_len);
        match (form, family) {
            (PacketForm::Plain, _) => {}
            (PacketForm::MayFragment, _) => template.head[L3 + 6] = 0,
            (PacketForm::Fragment, _) => template.head[L3 + 6] = 0x20,
            (PacketForm::Vlan, _) => template.insert(TAG, &[0x81, 0x00, 0x00, 0x07]),
            (PacketForm::Options, Family::Ipv4) => {
                template.head[L3] = 0x46;
                template.lengthen(L3 + 2, 4);
                template.insert(L3 + 20, &[1; 4]);
            }
            (PacketForm::Options, Family::Ipv6) => {
                const DESTINATION_OPTIONS: u8 = 60;
                template.head[L3 + 6] = DESTINATION_OPTIONS;
                template.lengthen(L3 + 4, 8);
                template.insert(L3 + 40, &[6, 0, 1, 4, 0, 0, 0, 0]);
            }
            (PacketForm::IcmpError, _) => template.quote(),
        }
        template
    }

    /// Makes the packet longer by so many bytes, by its length field.
    fn lengthen(&mut self, field: usize, by: u16) {
        let len = u16::from_be_bytes([self.head[field], self.head[field + 1]]) + by;
        self.head[field..field + 2].copy_from_slice(&len.to_be_bytes());
    }

    /// Puts bytes into the frame.
    fn insert(&mut self, at: usize, bytes: &[u8]) {
        self.head.copy_within(at..HEAD - bytes.len(), at + bytes.len());
        self.head[at..at + bytes.len()].copy_from_slice(bytes);
        self.frame_len += bytes.len();
        let moved = |offset: usize| if offset >= at { offset + bytes.len() } else { offset };
        (self.client, self.port, self.vip) = (moved(self.client), moved(self.port), moved(self.vip));
        self.flags = self.flags.map(moved);
    }

    /// Makes the packet an ICMP error of a router on the way about an answer of the VIP.
    fn quote(&mut self) {
        const OUTER: usize = 28;
        let mut inner = [0; 28];
        inner.copy_from_slice(&self.head[L3..L3 + 28]);
        // The quoted packet went the other way.
        inner[12..16].copy_from_slice(&self.head[L3 + 16..L3 + 20]);
        inner[16..20].copy_from_slice(&[10, 0, 0, 0]);
        inner[20..22].copy_from_slice(&PORT.to_be_bytes());
        let mut outer =
            [0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 1, 0, 0, 198, 51, 100, 1, 0, 0, 0, 0, 3, 1, 0, 0, 0, 0, 0, 0];
        outer[2..4].copy_from_slice(&56u16.to_be_bytes());
        outer[16..20].copy_from_slice(&inner[12..16]);
        self.head[L3..L3 + OUTER].copy_from_slice(&outer);
        self.head[L3 + OUTER..L3 + OUTER + 28].copy_from_slice(&inner);
        self.frame_len = L3 + OUTER + 28;
        (self.client, self.port, self.flags) = (L3 + OUTER + 16, L3 + OUTER + 22, None);
    }
}

impl Traffic {
    /// Makes the traffic of a scenario's flows: each frame is an acknowledgement without data.
    pub(super) fn new(scenario: &Scenario) -> Self {
        let template = |form| {
            let mut template = Template::in_form(scenario.family, scenario.frame_len, form);
            if scenario.networks > 1 && form != PacketForm::Vlan {
                template.insert(TAG, &[0x81, 0x00, 0x00, 0x00]);
            }
            template
        };
        Self {
            plain: template(PacketForm::Plain),
            in_form: template(scenario.form),
            rules: scenario.rules as u32,
            networks: scenario.networks as u32,
        }
    }

    /// Puts a packet of flow `flow` into `slot`.
    #[inline]
    pub(super) fn receive(&self, slot: &mut Slot, flow: u32, sent: Sent) {
        let template = if sent == Sent::InForm { &self.in_form } else { &self.plain };
        let head = slot.receive(&template.head, template.frame_len);
        // Multiplied by an odd number, so that neighbours in number are none in address.
        let spread = flow.wrapping_mul(0x9e37_79b1);
        head[template.client..template.client + 4].copy_from_slice(&client(spread));
        head[template.port..template.port + 2].copy_from_slice(&(1024 | spread as u16).to_be_bytes());
        if self.rules > 1 {
            let vip = &mut head[template.vip..template.vip + 2];
            let first = u16::from_be_bytes([vip[0], vip[1]]);
            vip.copy_from_slice(&(first + (flow % self.rules) as u16).to_be_bytes());
        }
        if self.networks > 1 {
            let network = (flow % self.networks) as usize;
            head[TAG + 2..TAG + 4].copy_from_slice(&vlan(network).to_be_bytes());
        }
        if sent == Sent::Opening
            && let Some(flags) = template.flags
        {
            head[flags] = SYN;
        }
    }
}

/// Makes the client's address, never one that no packet may come from: 32.0.0.0 to 95.255.255.255 has 30 bits.
fn client(spread: u32) -> [u8; 4] {
    (0x2000_0000 + (spread >> 2)).to_be_bytes()
}
