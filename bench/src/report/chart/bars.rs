//! Horizontal bars in groups, so that long names have room.

use std::fmt::Write;

use super::scale::{Scale, Steps};
use super::{Description, WIDTH, color, legend, rule, swatch, text, text_width};
use crate::report::markup::short;

/// Groups of bars, each with one bar a series.
pub(in crate::report) struct BarChart<'a> {
    pub(in crate::report) description: Description<'a>,
    /// Name of the values, with their unit.
    pub(in crate::report) label: &'a str,
    pub(in crate::report) series: Vec<&'a str>,
    pub(in crate::report) groups: Vec<Group>,
}

/// Group of bars with its name.
pub(in crate::report) struct Group {
    pub(in crate::report) name: String,
    /// Values by series; `None` if there is nothing to measure.
    pub(in crate::report) values: Vec<Option<f64>>,
}

const BAR: f64 = 15.0;
const BETWEEN_BARS: f64 = 2.0;
const BETWEEN_GROUPS: f64 = 14.0;
/// Width of a value's text after its bar.
const VALUE: f64 = 56.0;
const BELOW: f64 = 44.0;

impl BarChart<'_> {
    /// Draws the chart as an `svg` element.
    pub(in crate::report) fn svg(&self) -> String {
        let values = self.groups.iter().flat_map(|group| group.values.iter().copied().flatten());
        let scale = Scale::over(Steps::Linear, values);
        let names = self.groups.iter().map(|group| text_width(&group.name));
        let left = names.fold(40.0, f64::max).min(WIDTH / 2.0) + 12.0;
        let width = WIDTH - VALUE - left;
        let mut inner = String::new();
        let top = legend(&mut inner, &self.series, left, swatch) + 4.0;
        let group_height = self.series.len() as f64 * (BAR + BETWEEN_BARS) - BETWEEN_BARS;
        let bottom = top + self.groups.len() as f64 * (group_height + BETWEEN_GROUPS);
        for mark in &scale.marks {
            let x = left + width * scale.position(*mark);
            rule(&mut inner, "grid", [x, top, x, bottom]);
            text(&mut inner, "middle", x, bottom + 17.0, &short(*mark));
        }
        text(&mut inner, "middle", left + width / 2.0, bottom + 38.0, self.label);
        let mut y = top + BETWEEN_GROUPS / 2.0;
        for group in &self.groups {
            text(&mut inner, "end", left - 8.0, y + group_height / 2.0 + 4.5, &group.name);
            for (series, value) in group.values.iter().enumerate() {
                let at = y + series as f64 * (BAR + BETWEEN_BARS);
                let length = value.map_or(0.0, |value| width * scale.position(value));
                if length > 0.0 {
                    let class = color(series);
                    let _ = writeln!(
                        inner,
                        "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{at:.1}\" width=\"{length:.1}\" \
                         height=\"{BAR}\"/>"
                    );
                }
                let said = value.map_or_else(|| "none".to_owned(), short);
                text(&mut inner, "start", left + length + 5.0, at + 12.0, &said);
            }
            y += group_height + BETWEEN_GROUPS;
        }
        rule(&mut inner, "axis", [left, top, left, bottom]);
        let mut svg = String::new();
        self.description.open(&mut svg, bottom + BELOW);
        svg + &inner + "</svg>\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_values_and_say_them() {
        let group =
            |name: &str, values: &[Option<f64>]| Group { name: name.to_owned(), values: values.to_vec() };
        let chart = BarChart {
            description: Description { id: "t", title: "t", text: "d" },
            label: "ns",
            series: vec!["one", "two"],
            groups: vec![group("<a>", &[Some(50.0), Some(100.0)]), group("b", &[Some(0.0), None])],
        };
        let svg = chart.svg();
        assert!(svg.contains("&lt;a&gt;") && svg.contains(">50<") && svg.contains(">none<"));
        let bars = svg.lines().filter(|line| line.contains("height=\"15\""));
        let lengths: Vec<f64> = bars
            .map(|bar| bar.split("width=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a width"))
            .map(|width| width.parse().expect("a number"))
            .collect();
        assert_eq!(lengths.len(), 2);
        assert!((lengths[1] - 2.0 * lengths[0]).abs() < 0.2, "{lengths:?}");
    }
}
