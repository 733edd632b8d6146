//! Precedence among forwarding rules: whichever two a packet could match, one must be the more specific.
//!
//! A rule of a longer prefix, or of an address, precedes one of a shorter prefix that holds it. Among those of one VIP,
//! a rule of the packet's own protocol precedes an `L3_DEFAULT` one, listed ports precede all ports, and
//! longer source ranges precede shorter ones and none. Two rules of one VIP that are equal in all three and
//! share a port contradict each other.

use std::collections::{HashMap, HashSet};

use guideway_dataplane::affinity::LoadBalancingScheme;
use ipnet::IpNet;

use crate::config::forwarding_rule::{ForwardingRule, Ports};
use crate::config::report::Report;
use crate::config::written::choice::RuleProtocol;
use crate::config::written::file::ForwardingRuleFile;
use crate::config::written::vip_range::VipRange;

/// A rule as it is written, and the rule, if it could be parsed.
pub(super) type Written<'f> = (&'f ForwardingRuleFile, Option<&'f ForwardingRule>);

/// A rule that could be parsed.
type Parsed<'f> = (&'f ForwardingRuleFile, &'f ForwardingRule);

/// Reports rules that contradict each other, and rules with source ranges that have no base rule.
pub(super) fn check(rules: &[Written<'_>], report: &mut Report) {
    let parsed: Vec<_> = rules.iter().filter_map(|(file, rule)| Some((*file, (*rule)?))).collect();
    let unparsed = rules.iter().filter(|(_, rule)| rule.is_none()).map(|(file, _)| file.ip_address.copied());
    check_contradictions(&parsed, report);
    check_base_rules(&parsed, &unparsed.collect(), report);
}

/// Properties by which one rule precedes another: rules of different classes are always in order.
#[derive(PartialEq, Eq, Hash)]
struct Class {
    network: usize,
    vip: VipRange,
    protocol: RuleProtocol,
    all_ports: bool,
    source: Option<IpNet>,
}

/// Consecutive ports of one rule.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Run {
    first: u16,
    last: u16,
    rule: usize,
}

fn check_contradictions(rules: &[Parsed<'_>], report: &mut Report) {
    let mut classes: HashMap<Class, Vec<Run>> = HashMap::new();
    for (i, (_, rule)) in rules.iter().enumerate() {
        let sources = rule.source_ranges.iter().copied().map(Some);
        for source in sources.chain(rule.source_ranges.is_empty().then_some(None)) {
            let all_ports = rule.ports == Ports::All;
            let (network, vip, protocol) = (rule.network, rule.vip, rule.protocol);
            let class = Class { network, vip, protocol, all_ports, source };
            classes.entry(class).or_default().extend(runs(i, &rule.ports));
        }
    }

    let pairs: HashSet<_> = classes.into_values().flat_map(overlaps).collect();
    let mut pairs: Vec<_> = pairs.into_iter().collect();
    pairs.sort_unstable();
    for (first, second) in pairs {
        let ((first_file, first), (second_file, second)) = (rules[first], rules[second]);
        report.error_beside(
            second_file.name.span(),
            format!("forwarding rules `{}` and `{}` both take the same packets", first.name, second.name),
            "neither is the more specific: give them different ports, or leave one of them out",
            [(first_file.name.span(), "the other".to_owned())],
        );
    }
}

/// Finds pairs of different rules with runs that overlap: none if no runs do, else enough that every run that overlaps
/// an earlier one is in a pair.
fn overlaps(mut runs: Vec<Run>) -> Vec<(usize, usize)> {
    runs.sort_unstable();
    let mut pairs = Vec::new();
    // Sorted by their first port, runs that overlap any earlier one overlap the one that reaches furthest.
    let mut furthest: Option<Run> = None;
    for run in runs {
        if let Some(earlier) = furthest
            && run.first <= earlier.last
            && run.rule != earlier.rule
        {
            pairs.push((run.rule.min(earlier.rule), run.rule.max(earlier.rule)));
        }
        if furthest.is_none_or(|earlier| earlier.last < run.last) {
            furthest = Some(run);
        }
    }
    pairs
}

fn runs(rule: usize, ports: &Ports) -> Vec<Run> {
    match ports {
        Ports::List(ports) => ports.iter().map(|&port| Run { first: port, last: port, rule }).collect(),
        Ports::Range(first, last) => vec![Run { first: *first, last: *last, rule }],
        Ports::All => vec![Run { first: 0, last: u16::MAX, rule }],
    }
}

/// Reports rules with source ranges and no base rule. A rule that could not be parsed might be the base of any rule at
/// its VIP, if that much is known of it.
fn check_base_rules(rules: &[Parsed<'_>], unparsed: &HashSet<Option<VipRange>>, report: &mut Report) {
    let key = |rule: &ForwardingRule| (rule.network, rule.vip, rule.protocol, rule.ports.clone());
    let bases: HashSet<_> =
        rules.iter().filter(|(_, rule)| rule.source_ranges.is_empty()).map(|(_, rule)| key(rule)).collect();
    for (file, rule) in rules {
        if rule.source_ranges.is_empty()
            || rule.scheme == LoadBalancingScheme::Internal
            || bases.contains(&key(rule))
            || unparsed.contains(&Some(rule.vip))
            || unparsed.contains(&None)
        {
            continue;
        }
        let span = file.source_ip_ranges.as_ref().map_or(file.name.span(), |ranges| ranges.span());
        report.error(
            span,
            format!("forwarding rule `{}` has source ranges and no base rule", rule.name),
            "add a rule of the same address, protocol and ports without `source_ip_ranges`: it takes all other \
             clients",
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against every pair, looked at one by one.
        #[test]
        fn overlaps_are_found_where_there_are_any(
            ends in prop::collection::vec((0..60_u16, 0..8_u16), 0..12)
        ) {
            let runs: Vec<_> = ends
                .iter()
                .enumerate()
                .map(|(rule, &(first, length))| Run { first, last: first + length, rule })
                .collect();
            let overlap = |a: &Run, b: &Run| a.first <= b.last && b.first <= a.last;
            let overlapping =
                runs.iter().filter(|a| runs.iter().any(|b| b < *a && overlap(a, b))).map(|run| run.rule);

            let found = overlaps(runs.clone());
            for &(a, b) in &found {
                prop_assert!(a < b && overlap(&runs[a], &runs[b]));
            }
            for rule in overlapping {
                prop_assert!(found.iter().any(|&(a, b)| a == rule || b == rule));
            }
        }
    }
}
