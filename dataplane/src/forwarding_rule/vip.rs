//! The rules of one VIP, sorted into the order in which the specification prefers them.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::{ForwardingRule, RuleId, RulePorts, RuleProtocol};
use crate::address::{Address, Prefix};
use crate::flow::Flow;
use crate::wire::protocol;

/// Rules of one VIP.
#[derive(Debug)]
pub(super) struct Vip {
    tcp: ProtocolRules,
    udp: ProtocolRules,
    l3_default: Candidates,
}

/// Rules of one protocol.
#[derive(Debug)]
struct ProtocolRules {
    /// Disjoint, by first port.
    listed: Box<[Segment]>,
    all: Candidates,
}

/// Ports that the same rules list, at least one rule.
#[derive(Debug)]
struct Segment {
    first: u16,
    last: u16,
    candidates: Candidates,
}

/// Rules among which the client's address decides: the longest source range first, the rule without one last.
#[derive(Debug)]
pub(super) struct Candidates {
    list: Box<[Candidate]>,
}

/// A rule, for the clients that it takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) source: Option<Prefix>,
    pub(super) rule: RuleId,
}

impl Vip {
    /// Sorts the rules of a VIP.
    pub(super) fn new(rules: &[(RuleId, &ForwardingRule)]) -> Self {
        let of = |protocol| rules.iter().copied().filter(move |(_, rule)| rule.protocol == protocol);
        let of_protocol = |protocol| ProtocolRules::new(&of(protocol).collect::<Vec<_>>());
        Self {
            tcp: of_protocol(RuleProtocol::Tcp),
            udp: of_protocol(RuleProtocol::Udp),
            l3_default: Candidates::new(of(RuleProtocol::L3Default)),
        }
    }

    /// Lists of candidates for `flow`, most specific first: its own protocol before `L3_DEFAULT`, listed ports
    /// before all ports, and within a list longer source ranges before shorter ones before none.
    pub(super) fn preference(&self, flow: &Flow) -> impl Iterator<Item = &Candidates> {
        let own = self.own(flow);
        let listed = own.zip(flow.rule_port()).and_then(|(own, port)| own.listed(port));
        [listed, own.map(|own| &own.all), Some(&self.l3_default)].into_iter().flatten()
    }

    /// Ports of TCP or UDP at which the rules change.
    pub(super) fn port_starts(&self, protocol: u8) -> impl Iterator<Item = u32> {
        let own = if protocol == protocol::UDP { &self.udp } else { &self.tcp };
        own.listed.iter().flat_map(|segment| [segment.first.into(), u32::from(segment.last) + 1])
    }

    /// Number of candidates in all lists.
    pub(super) fn size(&self) -> usize {
        self.tcp.size() + self.udp.size() + self.l3_default.list.len()
    }

    fn own(&self, flow: &Flow) -> Option<&ProtocolRules> {
        match flow.protocol {
            protocol::TCP => Some(&self.tcp),
            protocol::UDP => Some(&self.udp),
            _ => None,
        }
    }
}

impl ProtocolRules {
    fn new(rules: &[(RuleId, &ForwardingRule)]) -> Self {
        let ranges: Vec<(u16, u16, RuleId, &ForwardingRule)> = rules
            .iter()
            .flat_map(|(id, rule)| {
                rule.ports.ranges().into_iter().map(|(first, last)| (first, last, *id, *rule))
            })
            .collect();
        // Every port at which some rule starts or has just ended begins a segment.
        let starts: BTreeSet<u32> =
            ranges.iter().flat_map(|(first, last, ..)| [u32::from(*first), u32::from(*last) + 1]).collect();
        let ends = starts.iter().skip(1);
        let listed = starts.iter().zip(ends).filter_map(|(start, end)| {
            let (first, last) = (*start as u16, (*end - 1) as u16);
            let inside = ranges.iter().filter(|(from, to, ..)| *from <= first && last <= *to);
            let candidates = Candidates::new(inside.map(|(_, _, id, rule)| (*id, *rule)));
            (!candidates.list.is_empty()).then_some(Segment { first, last, candidates })
        });
        let all = rules.iter().copied().filter(|(_, rule)| rule.ports == RulePorts::All);
        Self { listed: listed.collect(), all: Candidates::new(all) }
    }

    fn size(&self) -> usize {
        let listed = self.listed.iter().map(|segment| segment.candidates.list.len());
        listed.sum::<usize>() + self.all.list.len()
    }

    fn listed(&self, port: u16) -> Option<&Candidates> {
        let index = self.listed.partition_point(|segment| segment.last < port);
        self.listed.get(index).filter(|segment| segment.first <= port).map(|segment| &segment.candidates)
    }
}

impl RulePorts {
    fn ranges(&self) -> Vec<(u16, u16)> {
        match self {
            Self::List(ports) => ports.iter().map(|port| (*port, *port)).collect(),
            Self::Range(first, last) => vec![(*first, *last)],
            Self::All => Vec::new(),
        }
    }
}

impl Candidates {
    /// One candidate per source range.
    fn new<'a>(rules: impl Iterator<Item = (RuleId, &'a ForwardingRule)>) -> Self {
        let mut found = Vec::new();
        for (rule, config) in rules {
            if config.source_ranges.is_empty() {
                found.push(Candidate { source: None, rule });
            }
            let ranges = config.source_ranges.iter();
            found.extend(ranges.map(|range| Candidate { source: Some(*range), rule }));
        }
        found.sort_by_key(|candidate| Reverse(candidate.source.map(Prefix::bits)));
        Self { list: found.into() }
    }

    /// Candidates for any client, in order.
    pub(super) fn all(&self) -> impl Iterator<Item = &Candidate> {
        self.list.iter()
    }

    /// Candidates that take `client`, in order.
    pub(super) fn of(&self, client: Address) -> impl Iterator<Item = &Candidate> {
        self.list.iter().filter(move |candidate| candidate.source.is_none_or(|range| range.contains(client)))
    }
}
