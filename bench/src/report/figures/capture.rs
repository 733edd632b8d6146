//! Figures of a capture's replay.

use super::percent;
use crate::report::data::{BackendShare, Replay};
use guideway_report::chart::{BarChart, Description, Group, LineChart, Series, Steps, XAxis};
use guideway_report::markup::count;
use guideway_report::page::{DataTable, Figure, Layout};

pub(super) fn ends(replay: &Replay) -> Figure {
    let Replay { capture, frames, clones, flows, workers, driver, speed, .. } = replay;
    let of = |count: u64| count as f64 / replay.frame_counts.offered.max(1) as f64;
    let dropped = replay.dropped.iter().map(|(reason, count)| (format!("dropped: {reason}"), *count));
    let passed = replay.passed.iter().map(|(reason, count)| (format!("passed: {reason}"), *count));
    let mut ends: Vec<(String, u64)> = dropped.chain(passed).collect();
    ends.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let group =
        |(name, count): &(String, u64)| Group { name: name.clone(), values: vec![Some(of(*count) * 100.0)] };
    let title = "Packets of a capture that were not forwarded, by reason";
    let chart = BarChart {
        description: Description {
            id: "reasons",
            title,
            text: "Bars by reason: percent of the replayed packets that ended so.",
        },
        label: "% of all packets",
        series: vec!["packets"],
        groups: ends.iter().map(group).collect(),
    };
    let mut rows: Vec<Vec<String>> = vec![("forwarded".to_owned(), replay.frame_counts.forwarded)]
        .into_iter()
        .chain(ends)
        .map(|(name, number)| vec![name, count(number), percent(of(number))])
        .collect();
    rows.push(vec![
        "all".to_owned(),
        count(replay.frame_counts.offered),
        percent(of(replay.frame_counts.offered)),
    ]);
    Figure {
        id: "drops",
        title,
        reading: format!(
            "Replayed was {capture}: {} frames, {} clones, {} flows, {workers} worker(s), {driver}, speed {speed}; \
             dropped packets ended here, passed ones were not the load balancer's.",
            count(*frames),
            count(*clones),
            count(*flows)
        ),
        chart: chart.html(),
        findings: Vec::new(),
        tables: vec![DataTable {
            caption: "What became of the replayed packets".to_owned(),
            header: vec!["end", "packets", "share"],
            rows,
            numbers: 1..3,
            layout: Layout::Plain,
        }],
    }
}

pub(super) fn shares(replay: &Replay) -> Figure {
    let group = |share: &BackendShare| Group {
        name: format!("{}: {}", share.backend_service, share.backend),
        values: vec![Some(share.expected_share * 100.0), Some(share.share * 100.0)],
    };
    let title = "Backends' shares of a capture against their weights";
    let chart = BarChart {
        description: Description {
            id: "shares",
            title,
            text: "Pairs of bars by backend: percent of its service by weight, and percent of its service's packets.",
        },
        label: "% of the service",
        series: vec!["by weight", "packets"],
        groups: replay.backends.iter().map(group).collect(),
    };
    let row = |share: &BackendShare| {
        vec![
            share.backend_service.clone(),
            share.backend.clone(),
            count(share.weight),
            percent(share.expected_share),
            percent(share.share),
            count(share.packets),
        ]
    };
    Figure {
        id: "backend-shares",
        title,
        reading: "The two bars of a backend should be alike; packets follow their connections, so a few long ones, or \
                  few clients under an affinity, move them apart."
            .to_owned(),
        chart: chart.html(),
        findings: Vec::new(),
        tables: vec![DataTable {
            caption: "Backends' shares of the replayed packets".to_owned(),
            header: vec!["service", "backend", "weight", "by weight", "packets' share", "packets"],
            rows: replay.backends.iter().map(row).collect(),
            numbers: 2..6,
            layout: Layout::Plain,
        }],
    }
}

pub(super) fn turns(replay: &Replay) -> Figure {
    let frame_counts = &replay.frame_counts;
    let bursts = &replay.burst_ns;
    let points = [bursts.p50, bursts.p99, bursts.p99_9, bursts.max];
    let title = "Turns of the poll loop with a capture, by percentile";
    let chart = LineChart {
        description: Description {
            id: "turns",
            title,
            text: "A line: microseconds that a turn of the poll loop takes that found packets, by percentile.",
        },
        x: XAxis::Words {
            label: "percentile of turns that found packets",
            words: &["p50", "p99", "p99.9", "max"],
        },
        y_label: "µs a turn (logarithmic)",
        y_steps: Steps::Logarithmic,
        series: vec![Series {
            name: "turns".to_owned(),
            points: (0..).map(f64::from).zip(points.map(|nanos| nanos as f64 / 1e3)).collect(),
        }],
        marks: Vec::new(),
    };
    let median = replay.median_ns_per_packet.map_or_else(|| "none".to_owned(), |ns| format!("{ns:.1}"));
    let rows = [
        ("turn p50, ns", count(bursts.p50)),
        ("turn p99, ns", count(bursts.p99)),
        ("turn p99.9, ns", count(bursts.p99_9)),
        ("turn max, ns", count(bursts.max)),
        ("ns/packet in the poll loop, on the wall", format!("{:.1}", replay.ns_per_packet)),
        ("ns/packet, median of full bursts", median),
        ("packets/s, with the making of frames", count(replay.packets_per_sec.round() as u64)),
        ("put in", count(frame_counts.put_in)),
        ("refused by the port", count(frame_counts.refused)),
        ("offered", count(frame_counts.offered)),
        ("forwarded", count(frame_counts.forwarded)),
        ("passed", count(frame_counts.passed)),
        ("dropped", count(frame_counts.dropped)),
        ("dropped and answered by an ICMP error", count(frame_counts.answered)),
        ("sent", count(frame_counts.sent)),
        ("lost to a full queue", count(frame_counts.tx_full)),
        ("lost for an unknown port", count(frame_counts.unknown_egress_port)),
        ("came out at the other end", count(frame_counts.came_out)),
    ];
    Figure {
        id: "replay-turns",
        title,
        reading: "A turn receives, decides and sends up to 32 packets; lower is better. The table also accounts for \
                  every frame: put in = refused + offered, offered = forwarded + passed + dropped, sent = came out."
            .to_owned(),
        chart: chart.html(),
        findings: Vec::new(),
        tables: vec![DataTable {
            caption: "Turns of the poll loop, and where every frame went".to_owned(),
            header: vec!["what", "number"],
            rows: rows.into_iter().map(|(what, number)| vec![what.to_owned(), number]).collect(),
            numbers: 1..2,
            layout: Layout::Plain,
        }],
    }
}
