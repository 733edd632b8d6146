//! Demonstration: a minute of traffic for the appliance of `control/default.toml`, as its port would see it.
//!
//! Some 200 clients open TCP connections to the VIPs of both families, send requests and leave; a branch office's
//! packets take the route to the firewalls; there are ICMP errors, packets too big for the tunnel, a few malformed
//! and a few that are for others. The capture was "taken" with a snapshot length of 128 bytes.

use std::net::Ipv6Addr;

use crate::capture::{Record, capture_of};
use crate::fixture::START;
use crate::packet::Packet;
use crate::packet::tcp::{ACK, FIN, PSH, SYN};

const VIP: &str = "203.0.113.10";
const VIP_V6: &str = "2001:db8::10";
const SNAP_LEN: usize = 128;
const MICROSECOND: u64 = 1_000;
const MINUTE: u64 = 60_000_000;

/// Makes the demonstration's capture.
pub fn demo() -> Vec<u8> {
    let mut traffic = Traffic { frames: Vec::new(), random: Random(2_026) };
    for client in 0..200_u16 {
        traffic.connection(client);
    }
    (0..140).for_each(|client| traffic.branch_office(client));
    traffic.errors();
    traffic.malformed();
    traffic.others();
    traffic.frames.sort_by_key(|(micros, _)| *micros);
    capture_of(traffic.frames.iter().map(|(micros, frame)| Record {
        nanos: START + micros * MICROSECOND,
        bytes: &frame[..frame.len().min(SNAP_LEN)],
        wire_len: frame.len(),
    }))
}

/// Frames with their time in microseconds.
struct Traffic {
    frames: Vec<(u64, Vec<u8>)>,
    random: Random,
}

impl Traffic {
    fn push(&mut self, micros: u64, packet: &Packet) {
        self.frames.push((micros, packet.build()));
    }

    /// Adds a client's connection as the appliance sees it: what the backend answers goes to the client directly.
    fn connection(&mut self, client: u16) {
        let packet = Self::client(client);
        let src_port = 32_768 + self.random.below(28_000) as u16;
        let dst_port = if self.random.below(4) == 0 { 80 } else { 443 };
        let segment = |flags| packet.clone().dont_fragment().tcp(src_port, dst_port, flags);
        let mut now = self.random.below(MINUTE - 8_000_000);
        let round_trip = 8_000 + self.random.below(90_000);
        let (mut seq, mut ack) = (self.random.below(1 << 31) as u32, self.random.below(1 << 31) as u32);
        self.push(now, &segment(SYN).seq(seq));
        seq += 1;
        now += round_trip;
        self.push(now, &segment(ACK).seq(seq).ack(ack));
        for _ in 0..1 + self.random.below(2) {
            let request = 80 + self.random.below(600) as usize;
            self.push(now + 150, &segment(ACK | PSH).seq(seq).ack(ack).payload_len(request));
            seq += request as u32;
            now += round_trip;
            for _ in 0..1 + self.random.below(2) {
                ack += 2_896;
                now += 200 + self.random.below(2_000);
                self.push(now, &segment(ACK).seq(seq).ack(ack));
            }
            now += 100_000 + self.random.below(2_000_000);
        }
        self.push(now, &segment(FIN | ACK).seq(seq).ack(ack));
        self.push(now + round_trip, &segment(ACK).seq(seq + 1).ack(ack + 1));
    }

    /// Starts a packet of a client to the VIP; every fifth client has IPv6.
    fn client(number: u16) -> Packet {
        let ttl = 44 + (number % 16) as u8;
        if number.is_multiple_of(5) {
            let address = Ipv6Addr::new(0x2001, 0xdb8, 0xc, number, 0, 0, 0, 7);
            return Packet::between(&address.to_string(), VIP_V6)
                .ttl(ttl)
                .flow_label(0x1000 + u32::from(number));
        }
        Packet::between(&format!("198.51.100.{}", 20 + number), VIP)
            .ttl(ttl)
            .identification(u32::from(number))
    }

    /// Adds DNS, a web connection and an IPsec tunnel through the firewalls, to a route's destinations.
    fn branch_office(&mut self, client: u16) {
        let dst = format!("203.0.113.{}", 130 + self.random.below(100));
        let packet = Packet::between(&format!("192.0.2.{}", 100 + client), &dst).ttl(63);
        let start = self.random.below(MINUTE - 20_000_000);
        let src_port = 40_000 + client;
        let port = 50_000 + self.random.below(10_000) as u16;
        self.push(start, &packet.clone().udp(port, 53).payload_len(33));
        self.push(start + 2_000_000, &packet.clone().tcp(src_port, 22, SYN));
        self.push(start + 2_040_000, &packet.clone().tcp(src_port, 22, ACK).seq(1).ack(1));
        self.push(
            start + 2_041_000,
            &packet.clone().tcp(src_port, 22, ACK | PSH).seq(1).ack(1).payload_len(41),
        );
        // One of them is an IPsec gateway.
        if client == 70 {
            for seq in 1..=4 {
                let esp = packet.clone().esp(0x0bad_cafe).seq(seq).payload_len(120);
                self.push(start + 4_000_000 + u64::from(seq) * 900_000, &esp);
            }
        }
    }

    /// Adds ICMP errors: paths of a smaller MTU, hosts that are gone, and uploads that do not fit the tunnel.
    fn errors(&mut self) {
        let reply = Packet::between(VIP, "198.51.100.21").ttl(57).dont_fragment().tcp(443, 40_404, ACK);
        let router = Packet::between("192.0.2.254", VIP).ttl(250);
        self.push(20_000_000, &Packet::between("198.51.100.21", VIP).tcp(40_404, 443, SYN));
        self.push(20_100_000, &router.clone().packet_too_big(1400, &reply.clone().payload_len(1460), 28));
        self.push(31_000_000, &router.clone().icmp(3, 1, 0).quoting(&reply.clone().payload_len(20), 28));
        self.push(33_000_000, &router.icmp(11, 0, 0).quoting(&reply.payload_len(20), 60));
        let reply = Packet::between(VIP_V6, "2001:db8:c:5::7").tcp(443, 40_404, ACK).payload_len(1400);
        self.push(35_000_000, &Packet::between("2001:db8:ff::1", VIP_V6).packet_too_big(1280, &reply, 1232));
        let upload = Packet::between("198.51.100.22", VIP).dont_fragment();
        for seq in 0..4 {
            let segment = upload.clone().tcp(41_000, 443, ACK).seq(seq * 1460 + 1).payload_len(1460);
            self.push(40_000_000 + u64::from(seq) * 300, &segment);
        }
        for seq in 0..3 {
            let segment = upload.clone().tcp(41_000, 443, ACK).seq(seq * 1440 + 1).payload_len(1440);
            self.push(40_050_000 + u64::from(seq) * 300, &segment);
        }
    }

    /// Adds malformed packets, as they arrive at any public address.
    fn malformed(&mut self) {
        let packet = Packet::between("198.51.100.250", VIP);
        self.push(5_000_000, &packet.clone().tcp(666, 443, SYN).patch(14 + 20 + 12, &[0x10]));
        self.push(15_000_000, &packet.clone().tcp(666, 443, SYN).patch(14, &[0x4f]));
        self.push(25_000_000, &packet.clone().udp(666, 443).patch(14 + 20 + 4, &[0xff, 0xff]));
        self.push(35_500_000, &packet.clone().protocol(6).fragment(0, true).payload_len(8));
        self.push(36_000_000, &packet.clone().protocol(1).fragment(65_528, false).payload_len(80));
        self.push(45_000_000, &Packet::between("2001:db8:c::bad", VIP_V6).protocol(60).payload(&[6, 200]));
        self.push(50_000_000, &Packet::between("127.0.0.1", VIP).tcp(666, 443, SYN));
        for ttl in [1, 1, 1, 2, 2, 2] {
            let at = 52_000_000 + self.random.below(1_000_000);
            self.push(at, &packet.clone().ttl(ttl).tcp(33_434, 443, SYN));
        }
    }

    /// Adds ARP, a scan of the VIP's other ports, and a neighbour's traffic.
    fn others(&mut self) {
        for index in 0..12_u8 {
            let mut arp = vec![0xff; 6];
            arp.extend([
                2, 0, 0, 0, 0, 1, 0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 192, 0, 2, 254,
            ]);
            arp.extend([0, 0, 0, 0, 0, 0, 192, 0, 2, index]);
            arp.resize(60, 0);
            self.frames.push((u64::from(index) * 5_000_000 + 7, arp));
        }
        for port in [21, 22, 23, 25, 110, 139, 445, 1433, 3306, 3389, 5432, 5900, 6379, 8080, 8443, 27017] {
            let at = 10_000_000 + u64::from(port) * 40;
            self.push(at, &Packet::between("198.51.100.251", VIP).ttl(238).tcp(61_000, port, SYN));
        }
        for index in 0..20 {
            let neighbour =
                Packet::between("198.51.100.77", "203.0.113.20").udp(5_000, 4_500).payload_len(200);
            self.push(index * 2_900_000, &neighbour);
        }
        self.push(28_000_000, &Packet::between("198.51.100.30", VIP).echo_request(1, 1).payload_len(56));
    }
}

/// SplitMix64 (public domain, S. Vigna): the same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % limit
    }
}
