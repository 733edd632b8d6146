//! Grid of cells with a tone each, which can be filtered and sorted: one table of a view.

use std::cmp::Ordering;

use crate::api::request::BackendName;
use crate::api::visible::plain;

/// Table of a view.
#[derive(Clone)]
pub struct Grid {
    /// Columns, in their order.
    pub columns: &'static [Column],
    /// Rows, each with its children.
    pub rows: Vec<Row>,
}

/// Column of a table.
pub struct Column {
    /// Title above the column.
    pub title: &'static str,
    /// Name of the order by this column; none where nobody would sort by it.
    pub order: Option<&'static str>,
    /// True for numbers, which are set to the right.
    pub is_number: bool,
    /// True for a share that is drawn as a bar.
    pub is_bar: bool,
    /// Columns of a terminal from which on there is room for this one.
    pub from_width: u16,
}

/// Row of a table, with the rows that belong to it: a service and its backends.
#[derive(Clone)]
pub struct Row {
    /// Name by which the row is found again in the next look.
    pub key: String,
    /// Cells, one for each column.
    pub cells: Vec<Cell>,
    /// Sentences about the row, for the lines below the table.
    pub detail: String,
    /// Backend of the row, which may be drained.
    pub backend: Option<Drainable>,
    /// Rows that belong to this one.
    pub children: Vec<Row>,
}

/// Backend that may be drained or undrained.
#[derive(Clone, Debug, PartialEq)]
pub struct Drainable {
    /// Name of the backend and its service.
    pub name: BackendName,
    /// Tracked connections of the backend.
    pub connections: u64,
    /// True if it is drained by hand already.
    pub is_drained: bool,
    /// True if the service has no other backend for new connections.
    pub is_last: bool,
}

/// Cell: its words, how good they are, and the number to sort by.
#[derive(Clone)]
pub struct Cell {
    /// Words of the cell.
    pub text: String,
    /// Emphasis of the words.
    pub tone: Tone,
    /// Number to sort by; none of words.
    pub value: Option<f64>,
}

/// Tone of a cell: an emphasis of what its words say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Text without emphasis.
    Plain,
    /// Heading of rows below.
    Strong,
    /// Works as it is configured to.
    Good,
    /// Deserves a look.
    Warning,
    /// Has failed.
    Bad,
}

impl Column {
    /// Column of words.
    pub const fn text(title: &'static str) -> Self {
        Self { title, order: None, is_number: false, is_bar: false, from_width: 0 }
    }

    /// Column of numbers.
    pub const fn number(title: &'static str) -> Self {
        Self { is_number: true, ..Self::text(title) }
    }

    /// Column of shares, which are drawn as bars.
    pub const fn bar(title: &'static str) -> Self {
        Self { is_bar: true, ..Self::text(title) }
    }

    /// Column that rows may be sorted by, and the name of that order.
    pub const fn sorts(self, order: &'static str) -> Self {
        Self { order: Some(order), ..self }
    }

    /// Column that is shown on terminals of this width and wider.
    pub const fn from(self, from_width: u16) -> Self {
        Self { from_width, ..self }
    }
}

impl Cell {
    /// Cell of words.
    pub fn text(text: impl AsRef<str>) -> Self {
        Self { text: plain(text.as_ref()), tone: Tone::Plain, value: None }
    }

    /// Cell of a number, in these words.
    pub fn number(value: f64, text: impl AsRef<str>) -> Self {
        Self { value: Some(value), ..Self::text(text) }
    }

    /// Number that may be unknown.
    pub fn known(value: Option<f64>, text: impl FnOnce(f64) -> String) -> Self {
        value.map_or_else(|| Self::text("-"), |value| Self::number(value, text(value)))
    }

    /// Cell of the same words with another emphasis.
    #[must_use]
    pub fn tone(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }

    /// Order of two cells: numbers before words, unknown ones first.
    fn compare(&self, other: &Self) -> Ordering {
        match (self.value, other.value) {
            (Some(one), Some(other)) => one.total_cmp(&other),
            (None, None) => self.text.cmp(&other.text),
            (one, other) => one.is_some().cmp(&other.is_some()),
        }
    }
}

impl Row {
    /// Row without children, which the key tells from others.
    pub fn new(key: impl Into<String>, cells: Vec<Cell>, detail: impl AsRef<str>) -> Self {
        Self { key: key.into(), cells, detail: plain(detail.as_ref()), backend: None, children: Vec::new() }
    }

    /// Row without what the filter rejects; none where it rejects all. A row that it takes keeps its children.
    fn filtered(mut self, filter: &str) -> Option<Self> {
        if self.cells.iter().any(|cell| cell.text.to_lowercase().contains(filter)) {
            return Some(self);
        }
        self.children = self.children.into_iter().filter_map(|child| child.filtered(filter)).collect();
        (!self.children.is_empty()).then_some(self)
    }
}

impl Grid {
    /// Table of the rows that contain the filter's text, in whatever case.
    #[must_use]
    pub fn filtered(self, filter: &str) -> Self {
        if filter.is_empty() {
            return self;
        }
        let filter = filter.to_lowercase();
        Self { rows: self.rows.into_iter().filter_map(|row| row.filtered(&filter)).collect(), ..self }
    }

    /// Table in the order named so, children too; in its own order where it has no such column. Numbers are sorted by size,
    /// the largest first, words by alphabet.
    #[must_use]
    pub fn sorted(mut self, order: &str, is_reversed: bool) -> Self {
        match self.columns.iter().position(|column| column.order == Some(order)) {
            Some(column) => sort(&mut self.rows, column, self.columns[column].is_number != is_reversed),
            None if is_reversed => self.rows.reverse(),
            None => {}
        }
        self
    }

    /// Rows one below another, children behind their parents; the number is how deep a row is.
    pub fn lines(&self) -> Vec<(usize, &Row)> {
        fn add<'a>(lines: &mut Vec<(usize, &'a Row)>, rows: &'a [Row], depth: usize) {
            for row in rows {
                lines.push((depth, row));
                add(lines, &row.children, depth + 1);
            }
        }
        let mut lines = Vec::new();
        add(&mut lines, &self.rows, 0);
        lines
    }
}

fn sort(rows: &mut [Row], column: usize, is_descending: bool) {
    rows.sort_by(|one, other| {
        let order = one.cells[column].compare(&other.cells[column]);
        if is_descending { order.reverse() } else { order }
    });
    rows.iter_mut().for_each(|row| sort(&mut row.children, column, is_descending));
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[Column::text("NAME").sorts("name"), Column::number("LOAD").sorts("load")];

    fn row(name: &str, load: Option<f64>) -> Row {
        Row::new(name, vec![Cell::text(name), Cell::known(load, |load| load.to_string())], "")
    }

    fn grid() -> Grid {
        let parent = |name: &str, load, children| Row { children, ..row(name, Some(load)) };
        let rows = vec![
            parent("mail", 2.0, vec![row("Mail-1", Some(2.0)), row("mail-2", None)]),
            parent("web", 30.0, vec![row("web-1", Some(9.0)), row("web-2", Some(10.0))]),
        ];
        Grid { columns: COLUMNS, rows }
    }

    fn names(grid: &Grid) -> String {
        grid.lines().iter().map(|(_, row)| &*row.key).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn rows_are_sorted_with_their_children() {
        for (order, is_reversed, expected) in [
            ("name", false, "mail Mail-1 mail-2 web web-1 web-2"),
            ("name", true, "web web-2 web-1 mail mail-2 Mail-1"),
            ("load", false, "web web-2 web-1 mail Mail-1 mail-2"),
            ("load", true, "mail mail-2 Mail-1 web web-1 web-2"),
            ("of the configuration", false, "mail Mail-1 mail-2 web web-1 web-2"),
            ("of the configuration", true, "web web-1 web-2 mail Mail-1 mail-2"),
        ] {
            assert_eq!(names(&grid().sorted(order, is_reversed)), expected, "{order}, {is_reversed}");
        }
    }

    #[test]
    fn a_filter_keeps_a_row_with_its_children_or_those_that_it_takes() {
        for (filter, expected) in [
            ("", "mail Mail-1 mail-2 web web-1 web-2"),
            ("WEB", "web web-1 web-2"),
            ("web-2", "web web-2"),
            ("mail-1", "mail Mail-1"),
            ("nobody", ""),
        ] {
            assert_eq!(names(&grid().filtered(filter)), expected, "{filter}");
        }
    }
}
