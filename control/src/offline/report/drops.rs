//! Packets that were not forwarded, by reason, with what they mean and what to do.

use guideway_dataplane::verdict::{DropReason, PassReason};
use guideway_report::chart::{BarChart, Description, Group};
use guideway_report::markup::count;
use guideway_report::page::{DataTable, Figure, Layout};

use super::{counted, percent};
use crate::drop_help::dropped;
use crate::offline::replay::Summary;
use crate::offline::replay::chronicle::Chronicle;

/// Meaning of a reason to pass a packet.
const fn passed(reason: PassReason) -> &'static str {
    match reason {
        PassReason::NotIp => "Neither IPv4 nor IPv6: ARP, LLDP, a third VLAN tag.",
        PassReason::NoForwardingRule => {
            "No forwarding rule and no route holds the destination: see `guideway explain` for such a packet if it should be \
             forwarded."
        }
        PassReason::NeighborDiscovery => "IPv6 neighbour discovery addressed to a VIP, from its own link.",
        PassReason::OutsideRegion => {
            "Only rules without `allow_global_access` hold the destination, and the client is outside of `region_ranges`."
        }
    }
}

/// Sentences for the head of the page.
pub(super) fn findings(summary: &Summary) -> Vec<String> {
    let all: u64 = summary.dropped.values().sum();
    let Some((reason, most)) = summary.dropped.iter().max_by_key(|(_, packets)| **packets) else {
        return Vec::new();
    };
    let reasons = summary.dropped.len();
    let share = percent(all as f64 / summary.packets.max(1) as f64);
    let most = match reasons {
        1 => format!("all for {reason}"),
        _ => format!("for {reasons} reasons, most for {reason} ({})", count(*most)),
    };
    vec![format!("{} of {} dropped ({share}), {most}.", count(all), counted(summary.packets, "packet"))]
}

pub(super) fn figure(summary: &Summary, chronicle: &Chronicle) -> Figure {
    let named = |kind: &str, reason: &str| format!("{kind}: {reason}");
    let drops = summary.dropped.iter().map(|(reason, packets)| (named("dropped", reason), *packets));
    let passes = summary.passed.iter().map(|(reason, packets)| (named("passed", reason), *packets));
    let mut ends: Vec<(String, u64)> = drops.chain(passes).collect();
    ends.sort_by_key(|(_, packets)| std::cmp::Reverse(*packets));
    let title = "Packets that were not forwarded, and why";
    let chart = BarChart {
        description: Description {
            id: "ends-chart",
            title,
            text: "Bars by reason: packets that were dropped or passed for it.",
        },
        label: "packets",
        series: vec!["packets"],
        groups: ends
            .iter()
            .map(|(name, packets)| Group { name: name.clone(), values: vec![Some(*packets as f64)] })
            .collect(),
    };
    let share = |packets: u64| percent(packets as f64 / summary.packets.max(1) as f64);
    let mut rows = vec![vec!["forwarded".to_owned(), count(summary.forwarded), share(summary.forwarded)]];
    rows.extend(ends.iter().map(|(name, packets)| vec![name.clone(), count(*packets), share(*packets)]));
    rows.push(vec!["all".to_owned(), count(summary.packets), share(summary.packets)]);
    let of_drop = |reason: &DropReason| {
        let packets = *summary.dropped.get(reason.as_str())?;
        let (meaning, remedy) = dropped(*reason);
        let first = chronicle.first_drops.get(reason.as_str());
        let first = first
            .map_or_else(String::new, |(frame, at)| format!("{} ({:.3} s)", count(*frame), at.as_secs_f64()));
        Some(vec![reason.as_str().to_owned(), count(packets), first, meaning.to_owned(), remedy.to_owned()])
    };
    let of_pass = |reason: &PassReason| {
        let packets = *summary.passed.get(reason.as_str())?;
        Some(vec![reason.as_str().to_owned(), count(packets), passed(*reason).to_owned()])
    };
    let explained: Vec<Vec<String>> = DropReason::ALL.iter().filter_map(of_drop).collect();
    let foreign: Vec<Vec<String>> = PassReason::ALL.iter().filter_map(of_pass).collect();
    let mut tables = vec![DataTable {
        caption: "Ends of all packets".to_owned(),
        header: vec!["end", "packets", "share"],
        rows,
        numbers: 1..3,
        layout: Layout::Plain,
    }];
    if !explained.is_empty() {
        tables.push(DataTable {
            caption: "Reasons to drop, and what to do".to_owned(),
            header: vec!["reason", "packets", "first frame", "what happened", "what to do"],
            rows: explained,
            numbers: 1..3,
            layout: Layout::Stacked,
        });
    }
    if !foreign.is_empty() {
        tables.push(DataTable {
            caption: "Reasons to pass".to_owned(),
            header: vec!["reason", "packets", "what it was"],
            rows: foreign,
            numbers: 1..2,
            layout: Layout::Stacked,
        });
    }
    Figure {
        id: "drops",
        title,
        reading: "Every packet ends once: offered = forwarded + passed + dropped. Frames are numbered from 1 in the \
                  capture's order, as packet analysers do."
            .to_owned(),
        chart: if ends.is_empty() { String::new() } else { chart.html() },
        findings: Vec::new(),
        tables,
    }
}
