//! Drops by reason: how many a second, how many since the start, and what happened.

use super::grid::{Cell, Column, Grid, Row, Tone};
use super::history::History;
use super::look::{Counter, Look};
use crate::api::amount::rate;
use crate::api::view::{CountedBy, DropRow};

/// Orders of the rows; the first is how they begin.
pub const ORDERS: &[&str] = &["rate", "packets", "reason", "way"];

const COLUMNS: &[Column] = &[
    Column::text("REASON").sorts("reason"),
    Column::text("PLACE"),
    Column::number("LOST/S").sorts("rate"),
    Column::number("PACKETS").sorts("packets"),
    Column::text("MEANING"),
];

/// Table of the reasons for which packets were lost.
pub fn grid(look: &Look, history: &History) -> Grid {
    let rows = look.drops.drops.iter().filter(|row| row.packets > 0).map(|row| {
        let rate_now = history.rate(&counter(row));
        let tone = if rate_now.is_some_and(|rate| rate > 0.0) { Tone::Warning } else { Tone::Plain };
        let cells = vec![
            Cell::text(&*row.reason).tone(tone),
            Cell::text(match row.counted_by {
                CountedBy::Device => "device",
                CountedBy::Worker => "worker",
                CountedBy::DataPlane => "data plane",
            }),
            Cell::known(rate_now, rate).tone(tone),
            Cell::number(row.packets as f64, row.packets.to_string()),
            Cell::text(&*row.meaning),
        ];
        let detail = format!("{} {}", row.meaning, row.help);
        Row::new(format!("{} {}", row.counted_by.as_str(), row.reason), cells, detail)
    });
    Grid { columns: COLUMNS, rows: rows.collect() }
}

/// Packets lost a second, for whatever reason; none before the second look.
pub fn lost_per_sec(look: &Look, history: &History) -> Option<f64> {
    look.drops.drops.iter().map(|row| history.rate(&counter(row))).sum()
}

fn counter(row: &DropRow) -> Counter {
    Counter::Lost(row.counted_by.as_str(), row.reason.clone())
}
