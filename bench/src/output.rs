//! Formats that a report is printed in.

use clap::ValueEnum;
use comfy_table::{CellAlignment, Table, presets};

/// Format that a report is printed in
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Prints tables in Markdown, with the environment below them
    #[default]
    Table,
    /// Prints one JSON object
    Json,
}

/// Formats a table that the documentation can take as it is; numbers, from that column on, are aligned to the right.
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
