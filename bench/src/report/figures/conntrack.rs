//! Figures of connection lookups beside other tables.

use std::collections::BTreeSet;

use crate::report::data::{Conntrack, Lookups};
use guideway_report::chart::{BarChart, Description, Group};
use guideway_report::markup::count;
use guideway_report::page::{DataTable, Figure, Layout};

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

pub(super) fn lookups(conntrack: &Conntrack) -> Option<Figure> {
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
        chart: chart.html(),
        findings: Vec::new(),
        tables: vec![DataTable {
            caption: "Lookups and memory of connection tables".to_owned(),
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
            numbers: 1..8,
            layout: Layout::Plain,
        }],
    })
}
