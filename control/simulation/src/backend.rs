//! Backend: a machine that answers for its addresses, takes packets for VIPs as its own, and serves health checks.

use std::net::IpAddr;
use std::time::Duration;

use pcap_fixtures::packet::{Packet, tcp};

use crate::frame::{self, Mac, Tcp};

/// Backend on the network.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Number, which its addresses hold.
    pub number: usize,
    /// Link-layer address.
    pub mac: Mac,
    /// Link-layer addresses of before, each with the time until it was in use.
    pub former_macs: Vec<(Mac, Duration)>,
    /// True while the machine runs.
    pub is_up: bool,
    /// True while its server listens.
    pub serves: bool,
    /// Time that its server takes to answer.
    pub slowness: Duration,
    /// Time since which the machine and its server are as they are.
    pub since: Duration,
    /// Weight that its server reports.
    pub weight: u16,
    /// Weights that it has reported before.
    pub former_weights: Vec<u16>,
    /// Text in the place of the weight, which is none; an empty one leaves out the header.
    pub garble: Option<&'static str>,
    /// Frames for clients that it has received, for the report.
    pub received: u64,
}

/// Frame that a backend sends, after a time.
pub type Sent = (Vec<u8>, Duration);

/// IPv4 address of a backend.
pub fn v4(number: usize) -> IpAddr {
    IpAddr::from([192, 0, 2, 11 + number as u8])
}

/// IPv6 address of a backend.
pub fn v6(number: usize) -> IpAddr {
    IpAddr::from([0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x11 + number as u16])
}

impl Backend {
    /// Backend of this number, which runs and serves.
    pub fn new(number: usize) -> Self {
        Self {
            number,
            mac: [2, 0, 0, 0, 1, number as u8],
            former_macs: Vec::new(),
            is_up: true,
            serves: true,
            slowness: Duration::ZERO,
            since: Duration::ZERO,
            weight: 3,
            former_weights: Vec::new(),
            garble: None,
            received: 0,
        }
    }

    /// True if probes succeed, the network apart.
    pub fn is_well(&self) -> bool {
        self.is_up && self.serves && self.slowness < Duration::from_millis(500)
    }

    /// True if no probe of it can succeed.
    pub fn is_surely_dead(&self) -> bool {
        !self.is_up || !self.serves || self.slowness > Duration::from_secs(1)
    }

    /// True if an address is the machine's own.
    pub fn has(&self, address: IpAddr) -> bool {
        address == v4(self.number) || address == v6(self.number)
    }

    /// Gives the machine another link-layer address, of which it tells everybody.
    pub fn change_mac(&mut self, mac: Mac, now: Duration) -> Vec<Vec<u8>> {
        self.former_macs.push((self.mac, now));
        self.mac = mac;
        [v4(self.number), v6(self.number)].map(|address| frame::announcement(address, mac)).into()
    }

    /// Has the server report another weight.
    pub fn change_weight(&mut self, weight: u16) {
        self.former_weights.push(self.weight);
        self.weight = weight;
    }

    /// True if the server has ever reported a weight.
    pub fn has_reported(&self, weight: u16) -> bool {
        self.weight == weight || self.former_weights.contains(&weight)
    }

    /// Answers a frame of the appliance on its own behalf; a client's packet is answered by the client's simulation.
    pub fn answer(&self, received: &[u8], listens_at: &[u16]) -> Vec<Sent> {
        if !self.is_up {
            return Vec::new();
        }
        let Some(from) = frame::source(received) else { return Vec::new() };
        if let Some(asked) = frame::resolution(received) {
            let answered =
                (asked.asks && self.has(asked.target)).then(|| frame::answer(&asked, from, self.mac));
            return answered.flatten().into_iter().map(|frame| (frame, Duration::ZERO)).collect();
        }
        let Some(ip) = frame::ip(received) else { return Vec::new() };
        let Some(segment) = frame::tcp(&ip) else { return Vec::new() };
        let (vip, client) = (ip.destination.to_string(), ip.source.to_string());
        let reply = |flags: u8, seq: u32, ack: u32| {
            let packet = Packet::between(&vip, &client).macs(self.mac, from);
            packet.tcp(segment.destination, segment.source, flags).seq(seq).ack(ack)
        };
        let refuses = !self.serves || !listens_at.contains(&segment.destination);
        self.serve(&segment, refuses, reply)
            .map(|packet| (packet.build(), self.slowness))
            .into_iter()
            .collect()
    }

    /// Server without a state: what it says follows from the segment alone, so that a repeated one has the same answer.
    fn serve(
        &self,
        segment: &Tcp<'_>,
        refuses: bool,
        reply: impl Fn(u8, u32, u32) -> Packet,
    ) -> Option<Packet> {
        let has = |flag: u8| segment.flags & flag != 0;
        if has(tcp::RST) {
            return None;
        }
        if refuses {
            let after = segment.seq.wrapping_add(segment.data.len() as u32 + u32::from(has(tcp::SYN)));
            return Some(if has(tcp::ACK) {
                reply(tcp::RST, segment.ack, 0)
            } else {
                reply(tcp::RST | tcp::ACK, 0, after)
            });
        }
        if has(tcp::SYN) {
            return Some(reply(tcp::SYN | tcp::ACK, segment.seq ^ 0x5eed, segment.seq.wrapping_add(1)));
        }
        if !segment.data.is_empty() {
            let after = segment.seq.wrapping_add(segment.data.len() as u32 + u32::from(has(tcp::FIN)));
            let report = match self.garble {
                Some("") => String::new(),
                Some(garble) => format!("X-Load-Balancing-Endpoint-Weight: {garble}\r\n"),
                None => format!("X-Load-Balancing-Endpoint-Weight: {}\r\n", self.weight),
            };
            let text = format!("HTTP/1.1 200 OK\r\n{report}Content-Length: 2\r\nConnection: close\r\n\r\nok");
            return Some(reply(tcp::ACK | tcp::PSH | tcp::FIN, segment.ack, after).payload(text.as_bytes()));
        }
        // An end is answered by an end; to a client that has closed after the server, nothing is left to say but this.
        has(tcp::FIN).then(|| reply(tcp::ACK | tcp::FIN, segment.ack, segment.seq.wrapping_add(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(flags: u8) -> Vec<u8> {
        Packet::between("192.0.2.1", "203.0.113.10").tcp(1_000, 80, flags).seq(7).build()
    }

    fn flags_of(sent: &[Sent]) -> Vec<u8> {
        let flags = |(frame, _): &Sent| frame::ip(frame).and_then(|ip| Some(frame::tcp(&ip)?.flags));
        sent.iter().filter_map(flags).collect()
    }

    #[test]
    fn a_server_accepts_or_refuses_and_a_dead_machine_says_nothing() {
        let mut backend = Backend::new(1);
        assert_eq!(flags_of(&backend.answer(&segment(tcp::SYN), &[80])), [tcp::SYN | tcp::ACK]);
        assert_eq!(flags_of(&backend.answer(&segment(tcp::SYN), &[81])), [tcp::RST | tcp::ACK]);
        backend.serves = false;
        assert_eq!(flags_of(&backend.answer(&segment(tcp::SYN), &[80])), [tcp::RST | tcp::ACK]);
        backend.is_up = false;
        assert!(backend.answer(&segment(tcp::SYN), &[80]).is_empty());
    }
}
