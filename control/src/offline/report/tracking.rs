//! The conntrack table over time.

use guideway_report::chart::{Description, LineChart, Series, Steps, XAxis};
use guideway_report::markup::count;
use guideway_report::page::{DataTable, Figure, Layout};

use super::traffic::{marks, rates};
use super::{counted, time_unit};
use crate::offline::replay::Summary;
use crate::offline::replay::chronicle::Chronicle;

/// Sentences for the head of the page.
pub(super) fn findings(summary: &Summary) -> Vec<String> {
    let conntrack = &summary.conntrack;
    let mut findings = Vec::new();
    if conntrack.full > 0 {
        findings.push(format!(
            "{} found no room in the conntrack table and went by their hash alone: raise `[conntrack] max_entries`.",
            counted(conntrack.full, "packet")
        ));
    }
    let hasty = conntrack.evicted_half_open + conntrack.evicted_unconfirmed;
    if hasty > 0 {
        findings.push(format!(
            "{} pushed connections out of the conntrack table that had hardly begun: raise `[conntrack] max_entries`, or \
             look for a flood.",
            counted(hasty, "new connection")
        ));
    }
    findings
}

pub(super) fn figure(summary: &Summary, chronicle: &Chronicle) -> Figure {
    let (label, unit) = time_unit(summary);
    let end = summary.seconds / unit;
    let points = chronicle.entries.points();
    let valid: Vec<(f64, f64)> =
        points.iter().map(|(at, entries)| (at.as_secs_f64() / unit, *entries as f64)).collect();
    let valid: Vec<(f64, f64)> = valid.into_iter().filter(|(at, _)| *at <= end).collect();
    let title = "Conntrack table over time";
    let chart = |id, title, text, y_label, name: &str, points| LineChart {
        description: Description { id, title, text },
        x: XAxis::Until { label, end },
        y_label,
        y_steps: Steps::Linear,
        series: vec![Series { name: name.to_owned(), points }],
        marks: marks(chronicle, unit, end),
    };
    let entries = chart(
        "entries-chart",
        title,
        "A line: valid entries over the time of the capture. Numbered marks are events.",
        "valid entries",
        "valid entries",
        valid,
    );
    let made = chart(
        "made-chart",
        "Conntrack entries made over time",
        "A line: entries made a second over the time of the capture. Numbered marks are events.",
        "entries made a second",
        "entries made",
        rates(&chronicle.packets.pieces(), 3, unit, end),
    );
    let conntrack = &summary.conntrack;
    let counters = [
        ("packets that a valid entry decided", conntrack.hits),
        ("entries made", conntrack.new),
        ("entries made in a void one's slot", conntrack.evicted_void),
        ("entries made in a half-open one's slot", conntrack.evicted_half_open),
        ("entries made in a closed one's slot", conntrack.evicted_closed),
        ("entries made in an unconfirmed one's slot", conntrack.evicted_unconfirmed),
        ("packets that found no room", conntrack.full),
        ("packets beyond the limit of new connections", conntrack.limited),
        ("SYNs that went to an established connection's backend", conntrack.protected),
        ("packets that are not tracked", conntrack.untracked),
    ];
    let over_time =
        points.iter().map(|(at, entries)| vec![format!("{:.3}", at.as_secs_f64()), count(*entries as u64)]);
    Figure {
        id: "conntrack",
        title,
        reading: "A valid entry holds a connection on its backend. The line falls where entries time out, and where an \
                  event ends them."
            .to_owned(),
        chart: if summary.packets == 0 { String::new() } else { entries.html() + &made.html() },
        findings: Vec::new(),
        tables: vec![
            DataTable {
                caption: "Counters of the conntrack table".to_owned(),
                header: vec!["what", "number"],
                rows: counters.into_iter().map(|(what, number)| vec![what.to_owned(), count(number)]).collect(),
                numbers: 1..2,
                layout: Layout::Plain,
            },
            DataTable {
                caption: "Valid entries over time".to_owned(),
                header: vec!["second", "valid entries"],
                rows: over_time.collect(),
                numbers: 0..2,
                layout: Layout::Folded,
            },
        ],
    }
}
