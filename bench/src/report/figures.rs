//! The figures of the page, each from the data that it shows.

use std::collections::BTreeSet;

use super::chart::{BarChart, Description, Group, LineChart, Series, Steps, XAxis};
use super::data::{
    Balance, Conntrack, Data, Disruption, Lookups, Measured, Pipeline, Replay, Scenario, Table,
};
use super::markup::{count, short};
use super::page::{DataTable, Figure, Highlight};

/// All figures that there is data for.
pub(super) fn all(data: &Data) -> Vec<Figure> {
    let mut figures = Vec::new();
    if let Some(pipeline) = &data.pipeline {
        figures.extend(by_flows(pipeline));
        figures.extend(by_workers(pipeline));
        figures.extend(burst_latency(pipeline));
    }
    if let Some(table) = &data.table {
        figures.extend([balance(table), disruption(table)]);
    }
    if let Some(replay) = &data.replay {
        figures.extend([ends(replay), shares(replay), ledger(replay)]);
    }
    if let Some(conntrack) = &data.conntrack {
        figures.extend(lookups(conntrack));
    }
    figures
}

/// What is told at the head of the page.
pub(super) fn highlights(data: &Data) -> Vec<Highlight> {
    let mut highlights = Vec::new();
    if let Some(pipeline) = &data.pipeline
        && let Some(most) = flows_of(pipeline, "ipv4").last()
    {
        let of = format!("A worker's packet, {} flows over IPv4", short(most.scenario.flows as f64));
        highlights.push(Highlight { value: format!("{:.1}", most.net_ns), unit: "ns", of });
        let of = "Packets a second by one worker then".to_owned();
        highlights.push(Highlight { value: format!("{:.1}", most.mpps), unit: "million", of });
        let of = "A burst of 32 packets then, 99th percentile".to_owned();
        highlights.push(Highlight { value: micros(most.burst_ns.p99), unit: "µs", of });
    }
    if let Some(table) = &data.table {
        let ours = table.balance.iter().filter(|row| row.method == "race");
        let worst = ours.map(|row| row.worst_error_slots.abs()).fold(0.0, f64::max);
        let of = "The lookup table's farthest from a backend's weight".to_owned();
        highlights.push(Highlight { value: format!("{worst:.3}"), unit: "slots", of });
    }
    if let Some(replay) = &data.replay {
        let of = if replay.ledger.is_balanced() {
            "Frames replayed, each accounted for"
        } else {
            "Frames replayed, NOT all accounted for"
        };
        let of = of.to_owned();
        highlights.push(Highlight { value: count(replay.ledger.put_in), unit: "frames", of });
        let of = "A frame of that capture in the poll loop, median burst".to_owned();
        let value = replay.median_ns_per_packet.unwrap_or(replay.ns_per_packet);
        highlights.push(Highlight { value: format!("{value:.1}"), unit: "ns", of });
    }
    highlights
}

fn micros(nanos: u64) -> String {
    short(nanos as f64 / 1e3)
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

fn family_name(family: &str) -> &str {
    match family {
        "ipv4" => "IPv4",
        "ipv6" => "IPv6",
        other => other,
    }
}

/// The measurements of one worker that differ from the first one in their flows and their family alone.
fn flows_of<'p>(pipeline: &'p Pipeline, family: &str) -> Vec<&'p Measured> {
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

fn by_flows(pipeline: &Pipeline) -> Option<Figure> {
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
    };
    let rows = shown.into_iter().map(pipeline_row).collect();
    Some(Figure {
        id: "throughput-by-flows",
        title,
        reading,
        chart: chart.svg(),
        table: DataTable {
            caption: "Throughput of one worker by flows",
            header: PIPELINE_HEADER.to_vec(),
            rows,
            numbers_from: 2,
        },
    })
}

fn by_workers(pipeline: &Pipeline) -> Option<Figure> {
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
        chart: chart.svg(),
        table: DataTable {
            caption: "Throughput by workers",
            header: PIPELINE_HEADER.to_vec(),
            rows: shown.into_iter().map(pipeline_row).collect(),
            numbers_from: 2,
        },
    })
}

fn burst_latency(pipeline: &Pipeline) -> Option<Figure> {
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
        chart: chart.svg(),
        table: DataTable {
            caption: "Nanoseconds a burst of 32 packets, by percentile",
            header: vec!["flows", "p50", "p99", "p99.9", "max"],
            rows,
            numbers_from: 0,
        },
    })
}

const METHODS: [(&str, &str); 3] =
    [("race", "Guideway"), ("turn_based", "turn-based (Katran, Envoy)"), ("maglev_crate", "maglev crate")];

fn balance(table: &Table) -> Figure {
    let mut sets: Vec<&str> = table.balance.iter().map(|row| row.set.as_str()).collect();
    sets.dedup();
    let error = |set: &str, method: &str| {
        let of = |row: &&Balance| row.set == set && row.method == method;
        table.balance.iter().find(of).map(|row| row.worst_error_slots.abs())
    };
    let groups = sets
        .iter()
        .map(|set| Group {
            name: (*set).to_owned(),
            values: METHODS.iter().map(|(method, _)| error(set, method)).collect(),
        })
        .collect();
    let title = "Balance of the lookup table against weights";
    let chart = BarChart {
        description: Description {
            id: "balance-chart",
            title,
            text: "Bars by set of backends and table: how many slots the backend farthest from its weight is off.",
        },
        label: "slots that the worst backend is off its weight",
        series: METHODS.iter().map(|(_, name)| *name).collect(),
        groups,
    };
    let name =
        |word: &str| METHODS.iter().find(|(method, _)| *method == word).map_or("unknown", |(_, name)| name);
    let row = |row: &Balance| {
        vec![
            row.set.clone(),
            name(&row.method).to_owned(),
            count(row.slots),
            count(row.smallest_share_slots),
            format!("{:+.3}", row.worst_error_slots),
            format!("{:.2}", row.build_min_us / 1e3),
            format!("{:.2}", row.build_median_us / 1e3),
        ]
    };
    Figure {
        id: "balance",
        title,
        reading: "For each set the backend whose share is farthest from what its weight asks; shorter is better, less \
                  than one slot is as near as whole slots come, and none means that the table knows no weights."
            .to_owned(),
        chart: chart.svg(),
        table: DataTable {
            caption: "Balance and build time of lookup tables",
            header: vec![
                "backends",
                "table",
                "slots",
                "smallest share, slots",
                "worst error, slots",
                "build ms, best",
                "median",
            ],
            rows: table.balance.iter().map(row).collect(),
            numbers_from: 2,
        },
    }
}

fn disruption(table: &Table) -> Figure {
    let moved = |row: &Disruption| [row.race_percent, row.turn_based_percent, row.maglev_crate_percent];
    let times_ideal = |row: &Disruption| {
        moved(row).map(|percent| percent.map(|percent| percent / row.ideal_percent.max(f64::MIN_POSITIVE)))
    };
    let title = "Disruption by a change of backends";
    let chart = BarChart {
        description: Description {
            id: "disruption-chart",
            title,
            text: "Bars by change and table: how many times the slots that must change their backend do change it.",
        },
        label: "slots that change their backend, times those that must",
        series: METHODS.iter().map(|(_, name)| *name).collect(),
        groups: table
            .disruption
            .iter()
            .map(|row| Group { name: row.change.clone(), values: times_ideal(row).to_vec() })
            .collect(),
    };
    let or_none = |value: Option<f64>| value.map_or_else(|| "none".to_owned(), |value| format!("{value:.2}"));
    let row = |row: &Disruption| {
        let mut cells = vec![row.change.clone(), format!("{:.2}", row.ideal_percent)];
        cells.extend(
            moved(row)
                .into_iter()
                .zip(times_ideal(row))
                .flat_map(|(percent, times)| [or_none(percent), or_none(times)]),
        );
        cells
    };
    Figure {
        id: "disruption",
        title,
        reading: "Some slots must change their backend with any change; 1 is ideal, and the shorter a bar the fewer \
                  untracked flows are moved for nothing."
            .to_owned(),
        chart: chart.svg(),
        table: DataTable {
            caption: "Percent of slots that change their backend, and how many times the ideal that is",
            header: vec![
                "change",
                "ideal, %",
                "Guideway, %",
                "times",
                "turn-based, %",
                "times",
                "maglev crate, %",
                "times",
            ],
            rows: table.disruption.iter().map(row).collect(),
            numbers_from: 1,
        },
    }
}

fn ends(replay: &Replay) -> Figure {
    let Replay { capture, frames, clones, flows, workers, driver, speed, .. } = replay;
    let of = |count: u64| count as f64 / replay.ledger.offered.max(1) as f64;
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
    let mut rows: Vec<Vec<String>> = vec![("forwarded".to_owned(), replay.ledger.forwarded)]
        .into_iter()
        .chain(ends)
        .map(|(name, number)| vec![name, count(number), percent(of(number))])
        .collect();
    rows.push(vec!["all".to_owned(), count(replay.ledger.offered), percent(of(replay.ledger.offered))]);
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
        chart: chart.svg(),
        table: DataTable {
            caption: "What became of the replayed packets",
            header: vec!["end", "packets", "share"],
            rows,
            numbers_from: 1,
        },
    }
}

fn shares(replay: &Replay) -> Figure {
    let group = |share: &super::data::BackendShare| Group {
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
    let row = |share: &super::data::BackendShare| {
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
        chart: chart.svg(),
        table: DataTable {
            caption: "Backends' shares of the replayed packets",
            header: vec!["service", "backend", "weight", "by weight", "packets' share", "packets"],
            rows: replay.backends.iter().map(row).collect(),
            numbers_from: 2,
        },
    }
}

fn ledger(replay: &Replay) -> Figure {
    let ledger = &replay.ledger;
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
        ("put in", count(ledger.put_in)),
        ("refused by the port", count(ledger.refused)),
        ("offered", count(ledger.offered)),
        ("forwarded", count(ledger.forwarded)),
        ("passed", count(ledger.passed)),
        ("dropped", count(ledger.dropped)),
        ("dropped and answered by an ICMP error", count(ledger.answered)),
        ("sent", count(ledger.sent)),
        ("lost to a full queue", count(ledger.tx_full)),
        ("came out at the other end", count(ledger.came_out)),
    ];
    Figure {
        id: "replay-turns",
        title,
        reading: "A turn receives, decides and sends up to 32 packets; lower is better. The table also accounts for \
                  every frame: put in = refused + offered, offered = forwarded + passed + dropped, sent = came out."
            .to_owned(),
        chart: chart.svg(),
        table: DataTable {
            caption: "Turns of the poll loop, and where every frame went",
            header: vec!["what", "number"],
            rows: rows.into_iter().map(|(what, number)| vec![what.to_owned(), number]).collect(),
            numbers_from: 1,
        },
    }
}

fn table_name(kind: &str) -> &str {
    match kind {
        "guideway" => "Guideway",
        "guideway_full" => "Guideway, full",
        "scc_hash_map" => "scc HashMap",
        "scc_hash_index" => "scc HashIndex",
        "rte_hash" => "DPDK rte_hash",
        "floor_small_pages" => "bound: one line, 4 KiB pages",
        "floor_huge_pages" => "bound: one line, 2 MiB pages",
        other => other,
    }
}

fn lookups(conntrack: &Conntrack) -> Option<Figure> {
    let sizes: BTreeSet<u64> = conntrack.lookups.iter().map(|row| row.entries).collect();
    let largest = *sizes.last()?;
    let shown = conntrack.lookups.iter().filter(|row| row.entries == largest && row.threads == 1);
    let group = |row: &Lookups| Group {
        name: table_name(&row.table).to_owned(),
        values: vec![Some(row.hit_ns.min), Some(row.miss_ns.min)],
    };
    let title = "Lookups in the conntrack table beside others";
    let chart = BarChart {
        description: Description {
            id: "lookups",
            title,
            text: "Pairs of bars by table: nanoseconds for a lookup that hits and for one that misses.",
        },
        label: "ns a lookup, best round",
        series: vec!["hit", "miss"],
        groups: shown.map(group).collect(),
    };
    let row = |row: &Lookups| {
        vec![
            table_name(&row.table).to_owned(),
            count(row.entries),
            count(row.threads),
            format!("{:.0}", row.bytes_per_entry),
            format!("{:.1}", row.hit_ns.min),
            format!("{:.1}", row.hit_ns.median),
            format!("{:.1}", row.miss_ns.min),
            format!("{:.1}", row.miss_ns.median),
        ]
    };
    Some(Figure {
        id: "conntrack",
        title,
        reading: format!(
            "One thread in tables of {} entries; shorter is better, and a bound reads one random cache line and \
             remembers nothing.",
            count(largest)
        ),
        chart: chart.svg(),
        table: DataTable {
            caption: "Lookups and memory of connection tables",
            header: vec![
                "table",
                "entries",
                "threads",
                "bytes/entry",
                "hit ns, best",
                "median",
                "miss ns, best",
                "median",
            ],
            rows: conntrack.lookups.iter().map(row).collect(),
            numbers_from: 1,
        },
    })
}
