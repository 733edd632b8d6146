//! Random packets, each as the reference sees it and as a frame.

use std::net::IpAddr;
use std::time::Duration;

use pcap_fixtures::packet::{Packet as Frame, tcp};

use crate::change::moment;
use crate::dice::Dice;
use crate::setup::{Setup, VLANS, client, own, routed, vip};

pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const GRE: u8 = 47;
pub(crate) const ESP: u8 = 50;
pub(crate) const ICMPV6: u8 = 58;
const SCTP: u8 = 132;

/// Fields by which rules and hashes know a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flow {
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    pub(crate) protocol: u8,
    /// Source and destination port of TCP and UDP; none in later fragments.
    pub(crate) ports: Option<(u16, u16)>,
    pub(crate) part: Part,
}

/// Part of a datagram that a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    First,
    Later,
}

impl Flow {
    /// Ports that count for hashes: those of whole packets, and of first fragments of TCP.
    pub(crate) fn hashed_ports(&self) -> Option<(u16, u16)> {
        let counts = self.part == Part::Whole || self.part == Part::First && self.protocol == TCP;
        self.ports.filter(|_| counts)
    }

    /// Flow of the opposite direction.
    pub(crate) fn reversed(&self) -> Self {
        let ports = self.ports.map(|(src_port, dst_port)| (dst_port, src_port));
        Self { src: self.dst, dst: self.src, ports, ..self.clone() }
    }
}

/// A packet on its way to the appliance.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) at: Duration,
    /// VLAN in the packet's tag; 0 of a tag of priority alone.
    pub(crate) vlan: Option<u16>,
    pub(crate) flow: Flow,
    pub(crate) syn: bool,
    /// Number that the fragments of a datagram share.
    pub(crate) identification: u32,
    /// Client's flow to which the packet in an ICMP error's quote belongs; none in other packets.
    pub(crate) quoted: Option<Flow>,
    pub(crate) frame: Vec<u8>,
}

/// Flow that a client repeats.
#[derive(Clone, Debug)]
struct Habit {
    vlan: Option<u16>,
    client: IpAddr,
    server: IpAddr,
    protocol: u8,
    ports: (u16, u16),
}

/// Random packets within `horizon`, in order; the first at zero.
pub(crate) fn packets(dice: &mut Dice, setup: &Setup, count: usize, horizon: Duration) -> Vec<Packet> {
    let has = |is_ipv4: bool| setup.rules.iter().any(|rule| rule.vip.addr().is_ipv4() == is_ipv4);
    let families: Vec<bool> = [true, false].into_iter().filter(|is_ipv4| has(*is_ipv4)).collect();
    let families = if families.is_empty() { vec![true] } else { families };
    let clients = dice.pick(&[4, 12, 60]);
    let mut habits: Vec<Habit> =
        (0..8 + dice.below(60)).map(|number| habit(dice, setup, &families, clients, number)).collect();
    if setup.has_several_networks() {
        // The same packets in another network, or in none.
        let again: Vec<Habit> = habits.iter().filter(|_| dice.chance(50)).cloned().collect();
        habits.extend(again.into_iter().map(|habit| Habit { vlan: vlan(dice, setup), ..habit }));
    }
    // What goes by a route has another direction, which may go by a route too.
    let answers: Vec<Habit> = habits.iter().filter(|habit| habit.is_routed()).map(Habit::answers).collect();
    habits.extend(answers);
    let mut times: Vec<Duration> = (1..count).map(|_| moment(dice, horizon)).collect();
    times.push(Duration::ZERO);
    times.sort_unstable();
    let mut found: Vec<Packet> = times.into_iter().flat_map(|at| datagram(dice, at, &habits)).collect();
    found.sort_by_key(|packet| packet.at);
    found.truncate(count);
    found
}

/// VLAN of a network at first, or now and then any.
fn vlan(dice: &mut Dice, setup: &Setup) -> Option<u16> {
    if dice.chance(85) { dice.pick(&setup.networks).vlan } else { dice.pick(&VLANS) }
}

fn habit(dice: &mut Dice, setup: &Setup, families: &[bool], clients: usize, number: usize) -> Habit {
    let is_ipv4 = dice.pick(families);
    let server = match dice.below(10) {
        0 => routed(is_ipv4, true),
        1 => routed(is_ipv4, false),
        // Nobody has the fourth VIP.
        _ => vip(is_ipv4, dice.pick(&[0, 0, 1, 1, 1, 2, 2, 3])),
    };
    let icmp = if is_ipv4 { ICMP } else { ICMPV6 };
    Habit {
        vlan: if setup.has_several_networks() { vlan(dice, setup) } else { None },
        client: if dice.chance(4) { own(is_ipv4) } else { client(is_ipv4, dice.below(clients)) },
        server,
        protocol: dice.pick(&[TCP, TCP, TCP, TCP, UDP, UDP, UDP, ESP, GRE, SCTP, icmp]),
        ports: (dice.pick(&[1024, 5000 + number as u16]), dice.pick(&[80, 80, 443, 442, 8081])),
    }
}

impl Habit {
    fn is_routed(&self) -> bool {
        let is_ipv4 = self.server.is_ipv4();
        [true, false].iter().any(|near| self.server == routed(is_ipv4, *near))
    }

    /// Packets of the opposite direction.
    fn answers(&self) -> Self {
        let (src_port, dst_port) = self.ports;
        Self { client: self.server, server: self.client, ports: (dst_port, src_port), ..self.clone() }
    }
}

/// A datagram, whole or in parts, some of which may be missing, early or late.
fn datagram(dice: &mut Dice, at: Duration, habits: &[Habit]) -> Vec<Packet> {
    let habit = dice.pick(habits);
    // Few numbers: now and then a datagram has that of another.
    let identification = dice.below(60) as u32;
    if !matches!(habit.protocol, TCP | UDP) || !dice.chance(15) {
        return vec![packet(dice, at, &habit, None, identification)];
    }
    let (first, middle, last) = ((0, true), (1480, true), (2960, false));
    let parts: &[(usize, bool)] = match dice.below(8) {
        0..=2 => &[first, middle, last],
        3 => &[first, last],
        4 => &[middle, first, last],
        5 => &[first],
        6 => &[middle],
        _ => &[last],
    };
    let mut at = at;
    let mut found = Vec::new();
    for part in parts {
        found.push(packet(dice, at, &habit, Some(*part), identification));
        at += Duration::from_millis(dice.pick(&[0, 1, 10, 10, 1_000, 5_000, 20_000, 40_000]));
    }
    found
}

fn packet(
    dice: &mut Dice,
    at: Duration,
    habit: &Habit,
    fragment: Option<(usize, bool)>,
    identification: u32,
) -> Packet {
    let is_quoted = dice.chance(8);
    let flags = dice.pick(&[tcp::SYN, tcp::ACK, tcp::ACK, tcp::ACK, tcp::FIN | tcp::ACK, tcp::RST]);
    let part = match fragment {
        None => Part::Whole,
        Some((0, _)) => Part::First,
        Some(_) => Part::Later,
    };
    let is_later = part == Part::Later;
    let flow = Flow {
        src: habit.client,
        dst: habit.server,
        protocol: habit.protocol,
        ports: (matches!(habit.protocol, TCP | UDP) && !is_later).then_some(habit.ports),
        part,
    };
    if is_quoted {
        return icmp_error(dice, at, habit, flow, fragment);
    }
    let frame = carrying(between(habit.client, habit.server), habit, habit.ports, flags);
    // A tag means nothing to the only network; VLAN 0 is none.
    let vlan = habit.vlan.or(dice.chance(5).then(|| dice.pick(&[0, 100])));
    let mut frame = tagged(frame, vlan);
    if dice.chance(10) {
        frame = if habit.client.is_ipv4() { frame.options(&[1; 4]) } else { frame.hop_by_hop(&[1, 4]) };
    }
    if let Some((offset, more)) = fragment {
        frame = frame.identification(identification).fragment(offset, more);
    }
    let syn = habit.protocol == TCP && flags & tcp::SYN != 0 && !is_later;
    Packet { at, vlan, flow, syn, identification, quoted: None, frame: frame.build() }
}

/// Makes an ICMP error of a router or of the client's own host, about a packet that a backend sent to the client.
fn icmp_error(
    dice: &mut Dice,
    at: Duration,
    habit: &Habit,
    quoted: Flow,
    fragment: Option<(usize, bool)>,
) -> Packet {
    let is_ipv4 = habit.client.is_ipv4();
    let (src_port, dst_port) = habit.ports;
    let mut answer =
        carrying(between(habit.server, habit.client), habit, (dst_port, src_port), tcp::SYN | tcp::ACK);
    if let Some((offset, more)) = fragment {
        answer = answer.fragment(offset, more);
    }
    let sender = if dice.chance(50) { habit.client } else { client(is_ipv4, 100) };
    // The shortest usable quote is the IP header and 8 bytes; IPv6 may have a fragment header between the two.
    let shortest = if is_ipv4 { 28 } else { 40 + 8 * usize::from(fragment.is_some()) + 8 };
    let (kind, code) =
        if is_ipv4 { dice.pick(&[(3, 4), (3, 1), (11, 0)]) } else { dice.pick(&[(2, 0), (1, 4), (3, 0)]) };
    // Now and then the quote is too short to name a flow, or quotes a packet that the receiver did not send.
    let (quote_len, receiver, is_usable) = match dice.below(8) {
        0 => (if is_ipv4 { 19 } else { 39 }, habit.server, false),
        1 => (shortest + 20, vip(is_ipv4, 2), habit.server == vip(is_ipv4, 2)),
        2 | 3 => (shortest + 20, habit.server, true),
        _ => (shortest, habit.server, true),
    };
    let frame = between(sender, receiver).icmp(kind, code, 1280).quoting(&answer, quote_len);
    let frame = tagged(frame, habit.vlan).build();
    let protocol = if is_ipv4 { ICMP } else { ICMPV6 };
    let flow = Flow { src: sender, dst: receiver, protocol, ports: None, part: Part::Whole };
    let quoted = is_usable.then_some(quoted);
    Packet { at, vlan: habit.vlan, flow, syn: false, identification: 0, quoted, frame }
}

fn tagged(frame: Frame, vlan: Option<u16>) -> Frame {
    match vlan {
        Some(vlan) => frame.vlan(vlan),
        None => frame,
    }
}

fn between(src: IpAddr, dst: IpAddr) -> Frame {
    Frame::between(&src.to_string(), &dst.to_string())
}

fn carrying(frame: Frame, habit: &Habit, (src_port, dst_port): (u16, u16), flags: u8) -> Frame {
    match habit.protocol {
        TCP => frame.tcp(src_port, dst_port, flags),
        UDP => frame.udp(src_port, dst_port),
        ESP => frame.esp(src_port.into()),
        GRE => frame.gre(0x0800),
        SCTP => frame.sctp(src_port, dst_port, 1),
        _ => frame.echo_request(src_port, 1),
    }
    .payload_len(16)
}
