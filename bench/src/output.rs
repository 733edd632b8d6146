//! What a report is printed as.

use clap::ValueEnum;
use comfy_table::{CellAlignment, Table, presets};

/// What a report is printed as
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Tables in Markdown, the environment below them
    #[default]
    Table,
    /// One JSON object
    Json,
}

/// A table that the documentation can take as it is, its numbers, from that column on, to the right.
pub(crate) fn markdown<'a>(
    header: impl IntoIterator<Item = &'a str>,
    rows: impl IntoIterator<Item = Vec<String>>,
    numbers_from: usize,
) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(header.into_iter().collect::<Vec<_>>());
    table.add_rows(rows);
    for column in table.column_iter_mut().skip(numbers_from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
