//! Figures of a worker's throughput and latency, from memory to memory.

use super::percent;
use crate::report::data::{Measured, Pipeline, Scenario};
use guideway_report::chart::{BarChart, Description, Group, LineChart, Series, Steps, XAxis};
use guideway_report::markup::{count, short};
use guideway_report::page::{DataTable, Figure, Layout};

fn family_name(family: &str) -> &str {
    match family {
        "ipv4" => "IPv4",
        "ipv6" => "IPv6",
        other => other,
    }
}

/// Finds the measurements of one worker that differ from the first one in their flows and their family alone.
pub(super) fn flows_of<'p>(pipeline: &'p Pipeline, family: &str) -> Vec<&'p Measured> {
    let Some(first) = pipeline.measured.first().map(|measured| &measured.scenario) else { return Vec::new() };
    let mut points: Vec<&Measured> = pipeline
        .measured
        .iter()
        .filter(|Measured { scenario, .. }| {
            let alike = Scenario {
                flows: scenario.flows,
                // An IPv6 header is longer, so its shortest frame is.
                frame_len: scenario.frame_len,
                family: family.to_owned(),
                ..first.clone()
            };
            *scenario == alike && scenario.frame_len <= first.frame_len.max(74)
        })
        .collect();
    points.sort_by_key(|measured| measured.scenario.flows);
    points.dedup_by_key(|measured| measured.scenario.flows);
    points
}

fn pipeline_row(measured: &Measured) -> Vec<String> {
    let Measured { scenario, net_ns, net_median_ns, mpps, hit_share, .. } = measured;
    vec![
        family_name(&scenario.family).to_owned(),
        if scenario.per_session { "session" } else { "connection" }.to_owned(),
        count(scenario.flows),
        count(scenario.workers),
        count(scenario.frame_len),
        format!("{net_ns:.1}"),
        format!("{net_median_ns:.1}"),
        format!("{mpps:.2}"),
        percent(*hit_share),
    ]
}

const PIPELINE_HEADER: [&str; 9] = [
    "family",
    "tracked per",
    "flows",
    "workers",
    "frame, bytes",
    "ns/packet, best run",
    "median run",
    "million packets/s",
    "tracked packets",
];

pub(super) fn by_flows(pipeline: &Pipeline) -> Option<Figure> {
    let families = ["ipv4", "ipv6"].map(|family| (family, flows_of(pipeline, family)));
    let shown: Vec<&Measured> = families.iter().flat_map(|(_, points)| points.iter().copied()).collect();
    let first = &shown.first()?.scenario;
    let title = "Throughput of one worker by flows";
    let reading = format!(
        "Each point is one worker that has so many connections tracked, hit in random order ({}, affinity {}); higher \
         is better, and a line that falls shows the processor's caches running out.",
        first.delivery, first.affinity
    );
    let series = families
        .iter()
        .filter(|(_, points)| !points.is_empty())
        .map(|(family, points)| Series {
            name: family_name(family).to_owned(),
            points: points.iter().map(|one| (one.scenario.flows as f64, one.mpps)).collect(),
        })
        .collect();
    let chart = LineChart {
        description: Description {
            id: "flows",
            title,
            text: "Lines, one for each IP family: million packets a second over the number of flows.",
        },
        x: XAxis::Numbers { label: "flows (logarithmic)", steps: Steps::Logarithmic },
        y_label: "million packets/s",
        y_steps: Steps::Linear,
        series,
        marks: Vec::new(),
    };
    let rows = shown.into_iter().map(pipeline_row).collect();
    Some(Figure {
        id: "throughput-by-flows",
        title,
        reading,
        chart: chart.html(),
        findings: Vec::new(),
        tables: vec![DataTable {
            caption: "Throughput of one worker by flows".to_owned(),
            header: PIPELINE_HEADER.to_vec(),
            rows,
            numbers: 2..9,
            layout: Layout::Plain,
        }],
    })
}

pub(super) fn by_workers(pipeline: &Pipeline) -> Option<Figure> {
    let usable = |measured: &&Measured| {
        let Scenario { family, packets, .. } = &measured.scenario;
        family == "ipv4" && packets == "hit"
    };
    // Those that were measured with more than one number of workers, whatever else they are.
    let several = |measured: &&Measured| {
        pipeline.measured.iter().any(|other| {
            let alike = Scenario { workers: other.scenario.workers, ..measured.scenario.clone() };
            other.scenario == alike && other.scenario.workers != measured.scenario.workers
        })
    };
    let mut shown: Vec<&Measured> = pipeline.measured.iter().filter(usable).filter(several).collect();
    if shown.is_empty() {
        // A machine of one core.
        shown = flows_of(pipeline, "ipv4").last().copied().into_iter().collect();
    }
    shown.sort_by_key(|one| (one.scenario.per_session, one.scenario.flows, one.scenario.workers));
    let name = |one: &Measured| {
        let Scenario { workers, flows, per_session, affinity, .. } = &one.scenario;
        let tracked = if *per_session { format!(", sessions by {affinity}") } else { String::new() };
        let plural = if *workers == 1 { "worker" } else { "workers" };
        format!("{workers} {plural}, {} flows{tracked}", short(*flows as f64))
    };
    let groups: Vec<Group> =
        shown.iter().map(|one| Group { name: name(one), values: vec![Some(one.mpps)] }).collect();
    if groups.is_empty() {
        return None;
    }
    let title = "Throughput by workers";
    let chart = BarChart {
        description: Description {
            id: "workers",
            title,
            text: "Bars, one for each number of workers: million packets a second of all workers together.",
        },
        label: "million packets/s of all workers together",
        series: vec!["all workers"],
        groups,
    };
    Some(Figure {
        id: "throughput-by-workers",
        title,
        reading: "Workers share one conntrack table, each on a core of its own; twice the workers should give a bar \
                  twice as long."
            .to_owned(),
        chart: chart.html(),
        findings: Vec::new(),
        tables: vec![DataTable {
            caption: "Throughput by workers".to_owned(),
            header: PIPELINE_HEADER.to_vec(),
            rows: shown.into_iter().map(pipeline_row).collect(),
            numbers: 2..9,
            layout: Layout::Plain,
        }],
    })
}

pub(super) fn burst_latency(pipeline: &Pipeline) -> Option<Figure> {
    const WORDS: [&str; 4] = ["p50", "p99", "p99.9", "max"];
    let shown = flows_of(pipeline, "ipv4");
    if shown.is_empty() {
        return None;
    }
    let values = |one: &Measured| {
        let burst = &one.burst_ns;
        [burst.p50, burst.p99, burst.p99_9, burst.max]
    };
    let series = shown
        .iter()
        .map(|one| Series {
            name: format!("{} flows", short(one.scenario.flows as f64)),
            points: (0..).map(f64::from).zip(values(one).map(|nanos| nanos as f64 / 1e3)).collect(),
        })
        .collect();
    let title = "Burst latency by percentile";
    let chart = LineChart {
        description: Description {
            id: "latency",
            title,
            text: "Lines, one for each number of flows: microseconds that a burst of 32 packets takes, by percentile.",
        },
        x: XAxis::Words { label: "percentile of bursts", words: &WORDS },
        y_label: "µs a burst of 32 packets (logarithmic)",
        y_steps: Steps::Logarithmic,
        series,
        marks: Vec::new(),
    };
    let rows = shown
        .iter()
        .map(|one| {
            let mut row = vec![count(one.scenario.flows)];
            row.extend(values(one).map(count));
            row
        })
        .collect();
    Some(Figure {
        id: "burst-latency",
        title,
        reading:
            "How long a worker takes for a burst of 32 packets over IPv4; lower is better, and the maximum \
                  includes what the kernel and other processes took of the core."
                .to_owned(),
        chart: chart.html(),
        findings: Vec::new(),
        tables: vec![DataTable {
            caption: "Nanoseconds a burst of 32 packets, by percentile".to_owned(),
            header: vec!["flows", "p50", "p99", "p99.9", "max"],
            rows,
            numbers: 0..5,
            layout: Layout::Plain,
        }],
    })
}
