//! Random packets, each as the reference sees it and as a frame.

use std::net::IpAddr;
use std::time::Duration;

use pcap_fixtures::packet::{Packet as Frame, tcp};

use crate::change::moment;
use crate::dice::Dice;
use crate::setup::{Setup, client, routed, vip};

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
    /// True for every fragment, also the first.
    pub(crate) is_fragment: bool,
}

/// A packet on its way to the appliance.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) at: Duration,
    pub(crate) flow: Flow,
    pub(crate) syn: bool,
    /// Client's flow to which the packet in an ICMP error's quote belongs; none in other packets.
    pub(crate) quoted: Option<Flow>,
    pub(crate) frame: Vec<u8>,
}

/// Flow that a client repeats.
#[derive(Clone, Debug)]
struct Habit {
    client: IpAddr,
    server: IpAddr,
    protocol: u8,
    ports: (u16, u16),
}

/// Random packets within `horizon`, in order; the first at zero.
pub(crate) fn packets(dice: &mut Dice, setup: &Setup, count: usize, horizon: Duration) -> Vec<Packet> {
    let has = |is_ipv4: bool| setup.rules.iter().any(|rule| rule.address.is_ipv4() == is_ipv4);
    let families: Vec<bool> = [true, false].into_iter().filter(|is_ipv4| has(*is_ipv4)).collect();
    let families = if families.is_empty() { vec![true] } else { families };
    let clients = dice.pick(&[4, 12, 60]);
    let habits: Vec<Habit> =
        (0..8 + dice.below(60)).map(|number| habit(dice, &families, clients, number)).collect();
    let mut times: Vec<Duration> = (1..count).map(|_| moment(dice, horizon)).collect();
    times.push(Duration::ZERO);
    times.sort_unstable();
    times.into_iter().map(|at| packet(dice, at, &habits)).collect()
}

fn habit(dice: &mut Dice, families: &[bool], clients: usize, number: usize) -> Habit {
    let is_ipv4 = dice.pick(families);
    let server = match dice.below(10) {
        0 => routed(is_ipv4, true),
        1 => routed(is_ipv4, false),
        // Nobody has the fourth VIP.
        _ => vip(is_ipv4, dice.pick(&[0, 0, 1, 1, 1, 2, 2, 3])),
    };
    let icmp = if is_ipv4 { ICMP } else { ICMPV6 };
    Habit {
        client: client(is_ipv4, dice.below(clients)),
        server,
        protocol: dice.pick(&[TCP, TCP, TCP, TCP, UDP, UDP, UDP, ESP, GRE, SCTP, icmp]),
        ports: (dice.pick(&[1024, 5000 + number as u16]), dice.pick(&[80, 80, 443, 442, 8081])),
    }
}

fn packet(dice: &mut Dice, at: Duration, habits: &[Habit]) -> Packet {
    let habit = dice.pick(habits);
    let is_quoted = dice.chance(8);
    let fragment = match habit.protocol {
        TCP | UDP if dice.chance(12) => Some(dice.pick(&[(0, true), (1480, true), (2960, false)])),
        _ => None,
    };
    let flags = dice.pick(&[tcp::SYN, tcp::ACK, tcp::ACK, tcp::ACK, tcp::FIN | tcp::ACK, tcp::RST]);
    let is_later = fragment.is_some_and(|(offset, _)| offset > 0);
    let flow = Flow {
        src: habit.client,
        dst: habit.server,
        protocol: habit.protocol,
        ports: (matches!(habit.protocol, TCP | UDP) && !is_later).then_some(habit.ports),
        is_fragment: fragment.is_some(),
    };
    if is_quoted {
        return icmp_error(dice, at, &habit, flow, fragment);
    }
    let mut frame = carrying(between(habit.client, habit.server), &habit, habit.ports, flags);
    if dice.chance(5) {
        frame = frame.vlan(100);
    }
    if dice.chance(10) {
        frame = if habit.client.is_ipv4() { frame.options(&[1; 4]) } else { frame.hop_by_hop(&[1, 4]) };
    }
    if let Some((offset, more)) = fragment {
        frame = frame.fragment(offset, more);
    }
    let syn = habit.protocol == TCP && flags & tcp::SYN != 0 && !is_later;
    Packet { at, flow, syn, quoted: None, frame: frame.build() }
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
    let frame = between(sender, receiver).icmp(kind, code, 1280).quoting(&answer, quote_len).build();
    let protocol = if is_ipv4 { ICMP } else { ICMPV6 };
    let flow = Flow { src: sender, dst: receiver, protocol, ports: None, is_fragment: false };
    Packet { at, flow, syn: false, quoted: is_usable.then_some(quoted), frame }
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
