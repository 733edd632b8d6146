//! The honest ones on the appliance's link: backends, clients behind a router, and a neighbour that asks now and then.

use std::collections::BTreeMap;
use std::net::IpAddr;

use pcap_fixtures::packet::Packet;
use pcap_fixtures::packet::tcp::{ACK, FIN, RST, SYN};

pub(crate) const OWN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const ROUTER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];
pub(crate) const NEIGHBOUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x50];
pub(crate) const OWN: [&str; 2] = ["192.0.2.1", "2001:db8::1"];
pub(crate) const VIP: [&str; 2] = ["192.0.2.100", "2001:db8::100"];
pub(crate) const NEIGHBOUR: [&str; 2] = ["192.0.2.50", "2001:db8::50"];
/// Backends, each with its service and the last byte of its MAC and IP addresses.
pub(crate) const BACKENDS: [(&str, &str, u8); 4] =
    [("web", "a", 0x0b), ("web", "b", 0x0c), ("web6", "c", 0x0d), ("web6", "d", 0x0e)];

/// Clients with a connection each, one in two over IPv6.
pub(crate) const CLIENTS: u16 = 400;

/// Addresses of the router, which is the gateway of backends that are not on the link.
pub(crate) const GATEWAY: [&str; 2] = ["192.0.2.254", "2001:db8::fe"];
/// Machine that claims the gateway's addresses.
const CLAIMANT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x77];

/// Way from the appliance to its backends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Layout {
    /// On the link; a neighbour there asks the questions.
    #[default]
    OnLink,
    /// Behind the router by which clients come, by IPIP; the router asks the questions.
    BehindRouter,
}

impl Layout {
    /// MAC and IP addresses of the machine that asks.
    fn asker(self) -> ([u8; 6], [&'static str; 2]) {
        match self {
            Self::OnLink => (NEIGHBOUR_MAC, NEIGHBOUR),
            Self::BehindRouter => (ROUTER_MAC, GATEWAY),
        }
    }
}

/// Everybody honest, and what they have heard of the appliance.
#[derive(Default)]
pub(crate) struct Lan {
    pub(crate) layout: Layout,
    /// Backend of each client, by the last byte of its MAC address.
    backends: BTreeMap<u16, u8>,
    /// Packets of clients that came to the backend that had the first one.
    pub(crate) delivered: u64,
    /// Clients a packet of whom has come to another backend.
    pub(crate) moved: std::collections::BTreeSet<u16>,
    /// Answers to the neighbour's questions.
    pub(crate) answers: u64,
}

/// Address of a client.
fn client(number: u16) -> String {
    let [high, low] = number.to_be_bytes();
    if number.is_multiple_of(2) { format!("10.1.{high}.{low}") } else { format!("2001:db8:1::{number:x}") }
}

fn is(address: &str, bytes: &[u8]) -> bool {
    match address.parse::<IpAddr>().unwrap() {
        IpAddr::V4(address) => address.octets() == bytes,
        IpAddr::V6(address) => address.octets() == bytes,
    }
}

/// Frame of a segment of a client's connection.
pub(crate) fn segment(number: u16, flags: u8) -> Vec<u8> {
    let vip = VIP[usize::from(number % 2)];
    let packet = Packet::between(&client(number), vip).tcp(40_000, 80, flags);
    packet.payload_len(20).macs(ROUTER_MAC, OWN_MAC).build()
}

/// Frame of an ARP question or answer; one that asks goes to all.
pub(crate) fn arp(operation: u8, mac: [u8; 6], [from, to]: [[u8; 4]; 2]) -> Vec<u8> {
    let to_mac = if operation == 1 { [0xff; 6] } else { OWN_MAC };
    // The MAC address that is asked for is not known; an answer tells its receiver's.
    let target = if operation == 1 { [0; 6] } else { OWN_MAC };
    let head = [&to_mac[..], &mac, &[8, 6, 0, 1, 8, 0, 6, 4, 0, operation]].concat();
    [&head[..], &mac, &from, &target, &to, &[0; 18]].concat()
}

/// Packet of neighbour discovery about an address, with an option that tells a MAC address.
pub(crate) fn discovery(
    kind: u8,
    flags: u32,
    [from, to]: [&str; 2],
    target: &str,
    mac: [u8; 6],
    option: u8,
) -> Vec<u8> {
    let IpAddr::V6(target) = target.parse::<IpAddr>().unwrap() else { panic!("{target} is no IPv6") };
    let body = [&target.octets()[..], &[option, 1], &mac].concat();
    Packet::between(from, to).ttl(255).icmp(kind, 0, flags).payload(&body).macs(mac, OWN_MAC).build()
}

/// Questions of the one that asks: for the VIPs' MAC addresses, and whether they are there.
pub(crate) fn questions(layout: Layout) -> [Vec<u8>; 4] {
    let (mac, addresses) = layout.asker();
    let echo = |family: usize| {
        let packet = Packet::between(addresses[family], VIP[family]).echo_request(7, 1).payload_len(24);
        packet.macs(mac, OWN_MAC).build()
    };
    let asked = discovery(135, 0, [addresses[1], VIP[1]], VIP[1], mac, 1);
    [arp(1, mac, [v4(addresses[0]), v4(VIP[0])]), asked, echo(0), echo(1)]
}

/// Claims of a stranger to the gateway's addresses, about which the appliance asks the router.
pub(crate) fn claims_to_gateway() -> [Vec<u8>; 2] {
    let [gateway, gateway6] = GATEWAY;
    let unasked = discovery(136, 0x2000_0000, [gateway6, OWN[1]], gateway6, CLAIMANT_MAC, 2);
    [arp(1, CLAIMANT_MAC, [v4(gateway); 2]), unasked]
}

fn v4(address: &str) -> [u8; 4] {
    address.parse::<std::net::Ipv4Addr>().unwrap().octets()
}

impl Lan {
    pub(crate) fn new(layout: Layout) -> Self {
        Self { layout, ..Self::default() }
    }

    /// Takes a frame that the appliance has sent; returns what is said to it.
    pub(crate) fn hear(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        if self.is_answer(frame) {
            self.answers += 1;
            return None;
        }
        match frame[12..14] {
            [8, 6] if frame[21] == 1 => self.tell_mac(&frame[38..42]),
            [0x86, 0xdd] if frame[20] == 58 && frame[54] == 135 => self.tell_mac(&frame[62..78]),
            [8, 0] if frame[23] == IPIP => self.take_packet(frame[33], &frame[34..]),
            [0x86, 0xdd] if frame[20] == IPV6_IN_IPV6 => self.take_packet(frame[53], &frame[54..]),
            [8, 0] | [0x86, 0xdd] => self.take_packet(frame[5], &frame[14..]),
            _ => None,
        }
    }

    /// True if a frame answers a question of the one that asks.
    fn is_answer(&self, frame: &[u8]) -> bool {
        let (mac, [asker, asker6]) = self.layout.asker();
        frame[..6] == mac
            && match frame[12..14] {
                [8, 6] => frame[21] == 2 && is(asker, &frame[38..42]),
                [8, 0] => frame[23] == 1 && frame[34] == 0 && is(asker, &frame[30..34]),
                [0x86, 0xdd] => {
                    frame[20] == 58 && [136, 129].contains(&frame[54]) && is(asker6, &frame[38..54])
                }
                _ => false,
            }
    }

    /// The answer of the backend, or of the gateway, that is asked for its MAC address.
    fn tell_mac(&self, asked: &[u8]) -> Option<Vec<u8>> {
        let last = asked[asked.len() - 1];
        let (mac, number) = match self.layout {
            Layout::BehindRouter => (ROUTER_MAC, 0xfe),
            Layout::OnLink => {
                let (_, _, number) = *BACKENDS.iter().find(|(_, _, number)| *number == last)?;
                ([2, 0, 0, 0, 0, number], number)
            }
        };
        if let Some(address) = asked.first_chunk::<4>().filter(|_| asked.len() == 4) {
            return (last == number).then(|| arp(2, mac, [*address, [192, 0, 2, 1]]));
        }
        let own = format!("2001:db8::{number:x}");
        is(&own, asked).then(|| discovery(136, 0x6000_0000, [&own, OWN[1]], &own, mac, 2))
    }

    /// Takes a packet that has come to the backend of this number.
    fn take_packet(&mut self, backend: u8, packet: &[u8]) -> Option<Vec<u8>> {
        let (family, from, segment) = match packet[0] >> 4 {
            4 => (0, &packet[12..16], &packet[20..]),
            _ => (1, &packet[8..24], &packet[40..]),
        };
        if is(OWN[family], from) {
            let mac = match self.layout {
                Layout::OnLink => [2, 0, 0, 0, 0, backend],
                Layout::BehindRouter => ROUTER_MAC,
            };
            return answer_of_probed(mac, family, segment);
        }
        let is_client = if family == 0 { from[..2] == [10, 1] } else { from[..14] == CLIENTS_6 };
        if is_client {
            let number = u16::from_be_bytes([from[from.len() - 2], from[from.len() - 1]]);
            let first = *self.backends.entry(number).or_insert(backend);
            if first == backend {
                self.delivered += 1;
            } else {
                self.moved.insert(number);
            }
        }
        None
    }
}

/// Prefix of clients over IPv6.
const CLIENTS_6: [u8; 14] = [0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];

/// Protocols of the packets that go to backends behind the router.
const IPIP: u8 = 4;
const IPV6_IN_IPV6: u8 = 41;

/// The segment that a backend answers a probe by, from a MAC address.
fn answer_of_probed(mac: [u8; 6], family: usize, segment: &[u8]) -> Option<Vec<u8>> {
    let [port, to_port] = [0, 2].map(|at| u16::from_be_bytes([segment[at], segment[at + 1]]));
    let number = |at: usize| u32::from_be_bytes(*segment[at..].first_chunk().unwrap());
    let flags = match segment[13] {
        flags if flags & RST != 0 => return None,
        flags if flags & SYN != 0 => SYN | ACK,
        flags if flags & FIN != 0 => RST | ACK,
        _ => return None,
    };
    let answer = Packet::between(VIP[family], OWN[family]).tcp(to_port, port, flags);
    let answer = answer.seq(if flags & SYN != 0 { 1_000 } else { number(8) }).ack(number(4).wrapping_add(1));
    Some(answer.macs(mac, OWN_MAC).build())
}
