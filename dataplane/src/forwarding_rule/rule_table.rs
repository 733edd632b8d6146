//! The rules and routes spelled out for plain packets: by destination, protocol and port, and where it has a say by client,
//! so that a packet costs a cell of a table, or two, and a binary search where ranges of ports or clients decide.
//!
//! The answers are those of the lists, which are asked once for every case that they tell apart. A destination is a VIP, or
//! a range of addresses which prefixes, routes and the appliance's own addresses treat alike:
//!
//! ```text
//! (destination, protocol, port) ────────────▶ answer
//! (destination, protocol), no such port ────▶ answer, or by port ▶ answer      answer: or by client ▶ answer
//! no such destination ─▶ its range ─▶ (range, protocol, port), if it has listed ports ─▶ answer
//!                                  ─▶ protocol ─▶ answer, or by port ▶ answer
//! ```

mod budget;
mod cells;
mod ranges;
mod spelling;

use super::{RuleId, ServiceId};
use crate::affinity::KeyParts;
use crate::flow::Flow;
use cells::{Cells, Ipv4Key, Ipv6Key, Key};
use ranges::Ranges;

pub(super) use budget::Budget;

/// Answer for a plain packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    /// A rule takes the packet, or the rule behind a route does.
    Rule(PlainRule),
    /// The port decides: number of its ranges.
    ByPort(u32),
    /// The client decides: number of the answers.
    ByClient(u32),
    /// The rules take clients of the region alone, and the client is outside of it.
    OutsideRegion,
    /// No rule.
    None,
    /// The lists have to be asked.
    NotSpelledOut,
}

/// Rule for a plain packet, with what nearly all of them need to know of its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PlainRule {
    pub(crate) rule: RuleId,
    pub(crate) service: ServiceId,
    /// Parts that name the packet's connection.
    pub(crate) key: KeyParts,
    /// True if connections are tracked.
    pub(crate) tracked: bool,
    pub(crate) came: Came,
    /// True if the rule has an access list.
    pub(crate) is_guarded: bool,
    /// True if connections are tracked, packets are sent to their VIP, and all are admitted: one look tells nearly all.
    pub(crate) is_ordinary: bool,
}

/// Way by which a plain packet came to its rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Came {
    /// Sent to its VIP.
    Directly,
    /// By a route, with hashes that are those of both directions.
    ByRoute,
    /// By a route to a service whose hashes have the client's address alone, and no other direction.
    ByRouteOneWay,
}

impl Came {
    /// True unless the packet was sent to its VIP.
    pub(crate) fn is_routed(self) -> bool {
        self != Self::Directly
    }
}

/// Rules and routes, spelled out for plain packets.
#[derive(Debug, Default)]
pub(crate) struct RuleTable {
    ipv4: FamilyTable<Ipv4Key>,
    ipv6: FamilyTable<Ipv6Key>,
}

/// Rules and routes of one family.
#[derive(Debug)]
struct FamilyTable<K: Key> {
    cells: Cells<K>,
    /// Answers for destinations without cells of their own.
    destinations: Ranges<K::Word, InRange>,
    ports: Vec<Ranges<u16, Answer>>,
    clients: Vec<ByClient>,
    /// Classes of clients that rules tell apart, which many rules share: those of the region to begin with.
    classes: Vec<Ranges<K::Word, u32>>,
}

/// Answers for a range of destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct InRange {
    /// True if some of them may have cells of their own.
    has_exceptions: bool,
    listed: Listed,
    /// Answers for ports without cells, of TCP and of UDP.
    others: [Answer; 2],
}

/// Listed ports of a range of destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listed {
    None,
    /// Port, with true if it is of UDP, and its answer.
    One(u16, bool, Answer),
    /// Ports with cells, in which this number stands for the destinations.
    InCells(u32),
}

impl InRange {
    /// Range of destinations that have one answer, but for those with cells of their own.
    const fn all(answer: Answer) -> Self {
        Self { has_exceptions: true, listed: Listed::None, others: [answer; 2] }
    }
}

/// Answers by the class that the client is of.
#[derive(Debug)]
struct ByClient {
    /// Number of the classes.
    classes: u32,
    answers: Box<[Answer]>,
}

impl RuleTable {
    /// Rule for an IPv4 packet of TCP or UDP; `end` has the last four bytes of its header and the ports, little-endian.
    ///
    /// # Errors
    /// The answer, where it is no rule.
    #[inline(always)]
    pub(crate) fn get_ipv4(
        &self,
        end: u64,
        protocol: u8,
        client: impl Fn() -> u32,
    ) -> Result<&PlainRule, &Answer> {
        self.ipv4.get(Ipv4Key::of_packet(end, protocol), client)
    }

    /// Rule for an IPv6 packet of TCP or UDP; destination and ports are little-endian words of the header's bytes.
    ///
    /// # Errors
    /// The answer, where it is no rule.
    #[inline(always)]
    pub(crate) fn get_ipv6(
        &self,
        destination: u128,
        ports: u32,
        protocol: u8,
        client: impl Fn() -> u128,
    ) -> Result<&PlainRule, &Answer> {
        self.ipv6.get(Ipv6Key::of_packet(destination, ports, protocol), client)
    }
}

impl RuleTable {
    /// Answer for any packet of TCP or UDP with ports.
    #[inline(never)]
    pub(crate) fn get(&self, flow: &Flow) -> Answer {
        if flow.src.is_ipv4() { self.ipv4.get_flow(flow) } else { self.ipv6.get_flow(flow) }
    }
}

impl<K: Key> FamilyTable<K> {
    #[inline(always)]
    fn get_flow(&self, flow: &Flow) -> Answer {
        let found = self.get(K::new(flow.dst, flow.protocol, flow.dst_port), || K::word(flow.src));
        found.copied().map_or_else(|other| *other, Answer::Rule)
    }

    #[inline(always)]
    fn get(&self, key: K, client: impl Fn() -> K::Word) -> Result<&PlainRule, &Answer> {
        // Calls, so that what they need takes no registers from the packets before.
        let answer = match self.cells.get(key) {
            Some(Answer::Rule(rule)) => return Ok(rule),
            Some(answer) => self.decide(answer, key, client()),
            None => self.decide_by_destination(key, client()),
        };
        match answer {
            Answer::Rule(rule) => Ok(rule),
            other => Err(other),
        }
    }

    /// Answer where the port's cell may leave it to the port or to the client.
    #[inline(never)]
    fn decide<'t>(&'t self, answer: &'t Answer, key: K, client: K::Word) -> &'t Answer {
        self.finish(answer, key, client)
    }

    /// Answer where the port has no cell of the destination's own.
    #[inline(never)]
    fn decide_by_destination(&self, key: K, client: K::Word) -> &Answer {
        let range = self.destinations.get(key.destination());
        let own = if range.has_exceptions { self.cells.get(key.of_other_ports()) } else { None };
        let found = own.or_else(|| match &range.listed {
            Listed::None => None,
            Listed::One(port, is_udp, answer) => {
                (key.port() == *port && key.is_udp() == *is_udp).then_some(answer)
            }
            Listed::InCells(number) => self.cells.get(key.in_range(*number)),
        });
        let answer = found.unwrap_or(&range.others[usize::from(key.is_udp())]);
        self.finish(answer, key, client)
    }

    /// Answer, where it may be left to the port or to the client.
    #[inline(always)]
    fn finish<'t>(&'t self, mut answer: &'t Answer, key: K, client: K::Word) -> &'t Answer {
        if let Answer::ByPort(number) = answer {
            answer = self.ports[*number as usize].get(key.port());
        }
        if let Answer::ByClient(number) = answer {
            let by_client = &self.clients[*number as usize];
            let class = self.classes[by_client.classes as usize].get(client);
            answer = &by_client.answers[*class as usize];
        }
        answer
    }
}

impl<K: Key> Default for FamilyTable<K> {
    /// Table in which nothing is spelled out.
    fn default() -> Self {
        Self {
            cells: Cells::new(Vec::new()),
            destinations: Ranges::all(InRange::all(Answer::NotSpelledOut)),
            ports: Vec::new(),
            clients: Vec::new(),
            classes: Vec::new(),
        }
    }
}
