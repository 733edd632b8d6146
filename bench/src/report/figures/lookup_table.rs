//! Figures of the balance and the disruption of lookup tables.

use crate::report::data::{Balance, Disruption, Table};
use guideway_report::chart::{BarChart, Description, Group};
use guideway_report::markup::count;
use guideway_report::page::{DataTable, Figure, Layout};

const METHODS: [(&str, &str); 3] =
    [("race", "Guideway"), ("turn_based", "turn-based (Katran, Envoy)"), ("maglev_crate", "maglev crate")];

pub(super) fn balance(table: &Table) -> Figure {
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
        chart: chart.html(),
        findings: Vec::new(),
        tables: vec![DataTable {
            caption: "Balance and build time of lookup tables".to_owned(),
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
            numbers: 2..7,
            layout: Layout::Plain,
        }],
    }
}

pub(super) fn disruption(table: &Table) -> Figure {
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
        chart: chart.html(),
        findings: Vec::new(),
        tables: vec![DataTable {
            caption: "Percent of slots that change their backend, and how many times the ideal that is".to_owned(),
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
            numbers: 1..8,
            layout: Layout::Plain,
        }],
    }
}
