//! Intervals around measured values, beside the values that were to be expected.

use std::fmt::Write;

use super::scale::Scale;
use super::words::{text_width, wrapped};
use super::{Description, LINE, NAMES, Size, axis_name, for_all_sizes, legend, lines, rule, text};
use crate::markup::{Escaped, short};

/// Rows of one value each: a dot at the measured value, a line over its interval, a tick at the expected value.
pub struct IntervalChart<'a> {
    /// Description of the chart.
    pub description: Description<'a>,
    /// Name of the values, with their unit.
    pub label: &'a str,
    /// Names of the expected value, of the measured one and of its interval.
    pub names: [&'a str; 3],
    /// Rows, from the top.
    pub rows: Vec<Interval>,
}

/// Value with its interval.
pub struct Interval {
    /// Name of the row.
    pub name: String,
    /// Expected value.
    pub expected: f64,
    /// Measured value.
    pub measured: f64,
    /// Interval around the measured value; none where nothing can be said.
    pub bounds: Option<(f64, f64)>,
}

const ROW: f64 = 30.0;
const MARKS_BELOW: f64 = 17.0;

impl IntervalChart<'_> {
    /// Draws the chart for wide and for narrow pages, as two `svg` elements.
    pub fn html(&self) -> String {
        for_all_sizes(|size| self.svg(size))
    }

    fn svg(&self, size: Size) -> String {
        let widest = self.rows.iter().map(|row| text_width(&row.name)).fold(40.0, f64::max);
        let are_beside = widest <= size.width() * NAMES;
        let left = if are_beside { widest + 16.0 } else { 8.0 };
        let right = self.rows.iter().map(|row| text_width(&row.said())).fold(30.0, f64::max) + 16.0;
        let width = size.width() - left - right;
        let ends = self
            .rows
            .iter()
            .flat_map(|row| [row.expected, row.measured, row.bounds.map_or(0.0, |(_, high)| high)]);
        let scale = Scale::until(ends.fold(0.0, f64::max), width);
        let x_at = |value: f64| left + width * scale.position(value);
        let mut inner = String::new();
        let sign = |svg: &mut String, part: usize, x: f64, y: f64| match part {
            0 => expected(svg, x, y),
            1 => measured(svg, x, y),
            _ => interval(svg, x - 9.0, x + 9.0, y),
        };
        let top = legend(&mut inner, size, &self.names, if are_beside { left } else { 0.0 }, sign) + 4.0;
        let names = |row: &Interval| if are_beside { Vec::new() } else { wrapped(&row.name, size.width()) };
        let bottom =
            top + self.rows.iter().map(|row| ROW + names(row).len() as f64 * LINE).sum::<f64>() + 4.0;
        for mark in &scale.marks {
            let said = short(*mark);
            rule(&mut inner, "grid", [x_at(*mark), top, x_at(*mark), bottom]);
            text(&mut inner, "middle", x_at(*mark).max(text_width(&said) / 2.0), bottom + MARKS_BELOW, &said);
        }
        rule(&mut inner, "axis", [left, bottom, left + width, bottom]);
        let below = 40.0 + axis_name(&mut inner, size, left + width / 2.0, bottom + 38.0, self.label) - LINE;
        let mut y = top;
        for row in &self.rows {
            y += lines(&mut inner, "start", 0.0, y + 15.0, &names(row));
            let middle = y + ROW / 2.0;
            let _ = writeln!(inner, "<g><title>{}</title>", Escaped(row.words(self.names)));
            if let Some((low, high)) = row.bounds {
                interval(&mut inner, x_at(low), x_at(high), middle);
            }
            expected(&mut inner, x_at(row.expected), middle);
            measured(&mut inner, x_at(row.measured), middle);
            inner += "</g>\n";
            if are_beside {
                text(&mut inner, "end", left - 12.0, middle + 4.5, &row.name);
            }
            text(&mut inner, "end", size.width() - 1.0, middle + 4.5, &row.said());
            y += ROW;
        }
        let mut svg = String::new();
        self.description.open(&mut svg, size, bottom + below + 6.0);
        svg + &inner + "</svg>\n"
    }
}

impl Interval {
    fn said(&self) -> String {
        format!("{:.1} %", self.measured)
    }

    fn words(&self, [expected, measured, interval]: [&str; 3]) -> String {
        let mut words =
            format!("{}: {measured} {:.2} %, {expected} {:.2} %", self.name, self.measured, self.expected);
        if let Some((low, high)) = self.bounds {
            let _ = write!(words, ", {interval} {low:.2} to {high:.2} %");
        }
        words
    }
}

fn expected(svg: &mut String, x: f64, y: f64) {
    rule(svg, "expected s1", [x, y - 10.0, x, y + 10.0]);
}

fn measured(svg: &mut String, x: f64, y: f64) {
    let _ = writeln!(svg, "<circle class=\"s0\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\"/>");
}

fn interval(svg: &mut String, from: f64, to: f64, y: f64) {
    rule(svg, "interval s0", [from, y, to, y]);
    for end in [from, to] {
        rule(svg, "interval s0", [end, y - 5.0, end, y + 5.0]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::assert_nothing_is_clipped;
    use super::*;

    fn chart(name: &str) -> IntervalChart<'static> {
        let row =
            |name: &str, bounds| Interval { name: name.to_owned(), expected: 50.0, measured: 45.83, bounds };
        IntervalChart {
            description: Description { id: "t", title: "t", text: "d" },
            label: "% of the service's connections",
            names: ["by weight", "measured", "95 % interval"],
            rows: vec![row(name, Some((37.9, 54.0))), row("b", None)],
        }
    }

    #[test]
    fn a_row_has_its_dot_between_the_ends_of_its_interval() {
        let svg = chart("a").svg(Size::Wide);
        assert_eq!(svg.matches("<circle").count(), 3, "one in the legend");
        // The line, and its two ends, in the legend too.
        assert_eq!(svg.matches("\"interval s0\"").count(), 6);
        assert!(svg.contains(
            "<title>a: measured 45.83 %, by weight 50.00 %, 95 % interval 37.90 to 54.00 %</title>"
        ));
    }

    #[test]
    fn long_names_are_not_clipped() {
        assert_nothing_is_clipped(&chart("a").html());
        assert_nothing_is_clipped(
            &chart("a service of a long name: a backend of a name that is longer still").html(),
        );
    }
}
