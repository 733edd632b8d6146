//! Clients: connections of TCP, datagrams, fragments, ICMP errors and damaged packets, each packet marked with its number.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use pcap_fixtures::packet::{Packet, tcp};

use crate::dice::Dice;
use crate::frame::{self, Mac};
use crate::scenario::Service;

/// Mark at the end of each packet of a client; its number follows.
const MARK: &[u8; 4] = b"GWAY";

/// Connection, or exchange of datagrams.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Service that it is for.
    pub service: Service,
    /// Address of the client.
    pub client: IpAddr,
    /// Port of the client.
    pub port: u16,
    /// Packets that are still to be sent.
    left: u32,
    /// True once a backend has answered.
    is_open: bool,
}

/// Kind of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Start of a connection of TCP.
    Syn,
    /// Packet of a connection that has begun.
    Segment,
    /// Datagram of UDP.
    Datagram,
    /// First fragment of a datagram.
    First,
    /// Fragment after the first.
    Later,
    /// ICMP error about a packet of a backend to the client.
    Error,
}

/// Packet of a client as it was sent.
#[derive(Clone, Debug)]
pub struct Offered {
    /// Number of the flow.
    pub flow: u64,
    /// Number of the datagram that it is of; fragments share it.
    pub datagram: u64,
    /// Service, client and port of the flow.
    pub ends: (Service, IpAddr, u16),
    /// Kind of the packet.
    pub kind: Kind,
    /// IP packet.
    pub packet: Vec<u8>,
    /// Frames with it that an appliance has received.
    pub received: u32,
    /// Frames with it that were sent to backends.
    pub forwarded: u32,
    /// True if any of those frames was damaged.
    pub damaged: bool,
}

/// Clients and what they have sent of late.
#[derive(Debug)]
pub struct Clients {
    dice: Dice,
    flows: BTreeMap<u64, Flow>,
    next_flow: u64,
    next_packet: u64,
    /// Packets by their numbers.
    pub offered: BTreeMap<u64, Offered>,
    /// Time of the next packet.
    due: Duration,
    pause: Duration,
}

/// Packets that are remembered; those before are answered or lost.
const REMEMBERED: usize = 20_000;

/// Number in the mark of a frame's packet, which is its last bytes.
pub fn number(frame: &[u8]) -> Option<u64> {
    let mark = frame.len().checked_sub(12)?;
    let bytes = frame[mark..].strip_prefix(MARK)?;
    Some(u64::from_be_bytes(*bytes.first_chunk()?))
}

fn marked(number: u64) -> Vec<u8> {
    [&MARK[..], &number.to_be_bytes()].concat()
}

/// Frame of a packet, with its mark at the end.
fn mark(kind: Kind, packet: Packet, number: u64) -> Vec<u8> {
    match kind {
        Kind::First | Kind::Later => {
            // In the place of the last bytes: a datagram's checksum is no business of the appliance.
            let mut frame = packet.build();
            let mark = frame.len() - 12;
            frame[mark..].copy_from_slice(&marked(number));
            frame
        }
        Kind::Error => {
            let frame = packet.build();
            let quote = &frame[14 + if frame[12] == 8 { 28 } else { 48 }..];
            packet.payload(&[quote, &marked(number)].concat()).build()
        }
        _ => packet.payload(&marked(number)).build(),
    }
}

impl Clients {
    /// Clients that send with these pauses.
    pub fn new(dice: Dice, pause: Duration) -> Self {
        Self {
            dice,
            flows: BTreeMap::new(),
            next_flow: 0,
            next_packet: 0,
            offered: BTreeMap::new(),
            due: Duration::from_millis(100),
            pause,
        }
    }

    /// Packets that are due by now, for the router: the flow's number, and the frame without its link-layer addresses.
    pub fn due(&mut self, now: Duration) -> Vec<(u64, Vec<u8>)> {
        let mut sent = Vec::new();
        while self.due <= now {
            self.due += self.pause.mul_f64(0.1 + 1.8 * (self.dice.below(1_000) as f64 / 1_000.0));
            let is_new = self.flows.len() < 8 || self.dice.chance(0.2);
            let flow = if is_new {
                let service = Service::ALL[self.dice.below(3)];
                self.open(service)
            } else {
                let known: Vec<u64> = self.flows.keys().copied().collect();
                known[self.dice.below(known.len())]
            };
            sent.extend(self.send(flow));
        }
        sent
    }

    /// Number of the latest flow.
    pub fn last_flow(&self) -> u64 {
        self.next_flow
    }

    /// Opens a flow to a service.
    pub fn open(&mut self, service: Service) -> u64 {
        let host = self.dice.below(200) as u8 + 1;
        let client = match service {
            Service::WebSix => IpAddr::from([0x2001, 0xdb8, 0xc, 0, 0, 0, 0, u16::from(host)]),
            _ => IpAddr::from([198, 51, 100, host]),
        };
        let (port, left) = (1_024 + self.dice.below(60_000) as u16, 2 + self.dice.below(40) as u32);
        self.next_flow += 1;
        self.flows.insert(self.next_flow, Flow { service, client, port, left, is_open: false });
        self.next_flow
    }

    /// Next frames of a flow.
    pub fn send(&mut self, number: u64) -> Vec<(u64, Vec<u8>)> {
        let Some(flow) = self.flows.get_mut(&number) else { return Vec::new() };
        let (vip, port) = (flow.service.vip().to_string(), flow.service.port());
        let packet = Packet::between(&flow.client.to_string(), &vip);
        let is_last = flow.left == 0;
        flow.left = flow.left.saturating_sub(1);
        let flow = flow.clone();
        let ends = (flow.service, flow.client, flow.port);
        let (kind, packets) = if !flow.service.is_tcp() {
            let datagram = packet.udp(flow.port, port).identification(self.dice.below(65_536) as u32);
            if self.dice.chance(0.05) {
                (Kind::Later, datagram.payload_len(1_200).fragments(400))
            } else {
                (Kind::Datagram, vec![datagram])
            }
        } else if !flow.is_open {
            (Kind::Syn, vec![packet.tcp(flow.port, port, tcp::SYN).seq(number as u32)])
        } else if self.dice.chance(0.03) {
            let reply = Packet::between(&vip, &flow.client.to_string())
                .tcp(port, flow.port, tcp::ACK)
                .payload_len(1_400);
            (Kind::Error, vec![packet.packet_too_big(1_300, &reply, 64)])
        } else {
            let flags = if is_last { tcp::FIN | tcp::ACK } else { tcp::ACK | tcp::PSH };
            (Kind::Segment, vec![packet.tcp(flow.port, port, flags).seq(number as u32 + 1).ack(1)])
        };
        if is_last {
            self.flows.remove(&number);
        }
        let datagram = self.next_packet + 1;
        let mut sent = Vec::new();
        for (index, packet) in packets.into_iter().enumerate() {
            let kind = if kind == Kind::Later && index == 0 { Kind::First } else { kind };
            self.next_packet += 1;
            let frame = mark(kind, packet, self.next_packet);
            let packet = frame[14..].to_vec();
            let offered = Offered {
                flow: number,
                datagram,
                ends,
                kind,
                packet,
                received: 0,
                forwarded: 0,
                damaged: false,
            };
            self.offered.insert(self.next_packet, offered);
            sent.push((number, frame));
        }
        while self.offered.len() > REMEMBERED {
            self.offered.pop_first();
        }
        sent
    }

    /// Takes in that a backend has answered a packet.
    pub fn answered(&mut self, number: u64) {
        let Some(offered) = self.offered.get(&number) else { return };
        if let Some(flow) = self.flows.get_mut(&offered.flow) {
            flow.is_open = true;
        }
    }
}

/// Frame with the addresses of a link.
pub fn addressed(frame: &[u8], from: Mac, to: Mac) -> Vec<u8> {
    [&to[..], &from, &frame[12..]].concat()
}

/// Hash of a flow, by which routers and NICs choose; fragments have no ports.
pub fn hash(frame: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    if let Some(ip) = frame::ip(frame) {
        match (ip.source, ip.destination) {
            (IpAddr::V4(source), IpAddr::V4(to)) => add(&[source.octets(), to.octets()].concat()),
            (IpAddr::V6(source), IpAddr::V6(to)) => add(&[source.octets(), to.octets()].concat()),
            _ => {}
        }
        let is_fragment = frame[12] == 8 && (frame[20] & 0x3f != 0 || frame[21] != 0);
        if matches!(ip.protocol, 6 | 17) && !is_fragment {
            add(ip.payload.get(..4).unwrap_or_default());
        }
    }
    // The low bits of such a hash are poor.
    hash ^ hash >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_packet_has_a_number_of_its_own_by_which_it_is_found() {
        let mut clients = Clients::new(Dice::new(3, "clients"), Duration::from_millis(1));
        let sent = clients.due(Duration::from_secs(3));
        for (_, frame) in &sent {
            let number = number(frame).expect("a mark");
            assert_eq!(clients.offered[&number].packet, frame[14..]);
            clients.answered(number);
        }
        let mut numbers: Vec<_> = sent.iter().filter_map(|(_, frame)| number(frame)).collect();
        numbers.dedup();
        assert!(numbers.len() == sent.len() && sent.len() > 1_000);
        let kinds: std::collections::BTreeSet<_> =
            clients.offered.values().map(|offered| offered.kind).collect();
        assert!(kinds.len() >= 3, "{kinds:?}");
    }
}
