//! Plain tables: no lines, numbers to the right.

use std::ops::Range;

use comfy_table::{CellAlignment, Table, presets};

/// Creates an empty table; with a header where there are titles.
pub(super) fn new(titles: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if !titles.is_empty() {
        table.set_header(titles.iter().copied());
    }
    table
}

/// Writes the table's lines, with these columns of numbers.
pub(super) fn text(mut table: Table, numbers: Range<usize>) -> String {
    for column in numbers {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(&line).trim_end())).collect()
}
