//! Packets over time, and the events among them.

use guideway_report::chart::{Description, LineChart, Mark, Series, Steps, XAxis};
use guideway_report::markup::count;
use guideway_report::page::{DataTable, Figure, Layout};

use super::{counted, sampled, seconds, time_unit};
use crate::offline::replay::Summary;
use crate::offline::replay::chronicle::{Chronicle, Event};

/// Names of the packets' ends, in the chronicle's order.
const ENDS: [&str; 3] = ["forwarded", "passed", "dropped"];

/// Marks of the events on an axis of time in this unit, in seconds.
pub(super) fn marks(chronicle: &Chronicle, unit: f64, end: f64) -> Vec<Mark> {
    let mark = |(index, event): (usize, &Event)| Mark {
        at: event.at.as_secs_f64() / unit,
        number: index + 1,
        words: format!("{}: {}", seconds(event.at.as_secs_f64()), event.words.join("; ")),
    };
    // Events after the last frame have nothing to show.
    chronicle.events.iter().enumerate().map(mark).filter(|mark| mark.at <= end).collect()
}

/// Rates of the pieces of a series, at their middles, in this unit.
pub(super) fn rates<const N: usize>(
    (step, pieces): &(std::time::Duration, Vec<[u64; N]>),
    index: usize,
    unit: f64,
    end: f64,
) -> Vec<(f64, f64)> {
    let step = step.as_secs_f64();
    let piece = |(number, counts): (usize, &[u64; N])| {
        let at = (number as f64 + 0.5) * step / unit;
        (at.min(end), counts[index] as f64 / step)
    };
    pieces.iter().enumerate().map(piece).collect()
}

pub(super) fn figure(summary: &Summary, chronicle: &Chronicle) -> Figure {
    let pieces = chronicle.packets.pieces();
    let (label, unit) = time_unit(summary);
    let end = summary.seconds / unit;
    let series = |(index, name): (usize, &&str)| Series {
        name: (*name).to_owned(),
        points: rates(&pieces, index, unit, end),
    };
    let title = "Packets over time";
    let chart = LineChart {
        description: Description {
            id: "traffic-chart",
            title,
            text: "Lines by end of the packets: packets a second over the time of the capture. Numbered marks are events.",
        },
        x: XAxis::Until { label, end },
        y_label: "packets a second",
        y_steps: Steps::Linear,
        series: ENDS.iter().enumerate().map(series).collect(),
        marks: marks(chronicle, unit, end),
    };
    let step = pieces.0.as_secs_f64();
    let row = |(number, counts): (usize, &[u64; 4])| {
        let mut row = vec![format!("{:.3}", number as f64 * step)];
        row.extend(counts.iter().map(|number| count(*number)));
        row
    };
    let marked = if chronicle.events.is_empty() { "" } else { " The numbered marks are the events below." };
    Figure {
        id: "traffic",
        title,
        reading: format!(
            "Forwarded packets went to a backend, passed ones were for no forwarding rule, dropped ones ended here; \
             each point is {} of the capture.{marked}",
            seconds(step)
        ),
        chart: if pieces.1.is_empty() { String::new() } else { chart.html() },
        findings: Vec::new(),
        tables: vec![DataTable {
            caption: "Packets over time".to_owned(),
            header: vec!["from second", "forwarded", "passed", "dropped", "entries made"],
            rows: pieces.1.iter().enumerate().map(row).collect(),
            numbers: 0..5,
            layout: Layout::Folded,
        }],
    }
}

/// Sentences for the head of the page.
pub(super) fn findings(chronicle: &Chronicle) -> Vec<String> {
    let mut findings = Vec::new();
    let disturbed = chronicle.events.iter().enumerate().filter(|(_, event)| event.crossings.disturbed() > 0);
    if let Some((index, worst)) = disturbed.max_by_key(|(_, event)| event.crossings.disturbed()) {
        let all: u64 = chronicle.events.iter().map(|event| event.crossings.disturbed()).sum();
        let disturbed = worst.crossings.disturbed();
        let of_all =
            if all > disturbed { format!(", and all events together {}", count(all)) } else { String::new() };
        findings.push(format!(
            "Event {} ({}) disturbed {}{of_all}.",
            index + 1,
            worst.words.join("; "),
            counted(disturbed, "connection")
        ));
    } else if !chronicle.events.is_empty() {
        findings.push("No event disturbed a connection that had packets after it.".to_owned());
    }
    if chronicle.unreached > 0 {
        findings.push(format!(
            "{} after the last frame changed nothing: `at` is in seconds after the first frame.",
            counted(chronicle.unreached as u64, "event")
        ));
    }
    findings
}

pub(super) fn events(chronicle: &Chronicle) -> Figure {
    let row = |(index, event): (usize, &Event)| {
        let crossings = &event.crossings;
        vec![
            (index + 1).to_string(),
            format!("{:.3}", event.at.as_secs_f64()),
            event.words.join("; "),
            format!("{} of {}", count(event.ended as u64), count(event.entries as u64)),
            count(crossings.all()),
            count(crossings.kept),
            count(crossings.moved),
            count(crossings.disturbed()),
        ]
    };
    let mut findings = Vec::new();
    if chronicle.moved_without_event > 0 {
        findings.push(format!(
            "{} moved between two packets, and by no event: the conntrack entry had timed out, had found no room or had \
             given way to another.",
            counted(chronicle.moved_without_event, "connection")
        ));
    }
    Figure {
        id: "events",
        title: "Events, and the connections that they met",
        reading: format!(
            "Entries ended are those of the conntrack table that an event made void: connections on their way lose their \
             backend's entry and are chosen anew. Connections that went on are those with packets before an event and \
             after it, by where the first packet after it went: to the backend as before (kept), to another one (moved). \
             Disturbed are those of TCP that were moved in mid-connection, and those whose packet found no eligible \
             backend. A connection that was silent over several events counts at the last of them.{}",
            sampled(chronicle)
        ),
        chart: String::new(),
        findings,
        tables: vec![DataTable {
            caption: "Events".to_owned(),
            header: vec![
                "event",
                "second",
                "what happened",
                "entries ended",
                "went on",
                "kept",
                "moved",
                "disturbed",
            ],
            rows: chronicle.events.iter().enumerate().map(row).collect(),
            numbers: 3..8,
            layout: Layout::Stacked,
        }],
    }
}
