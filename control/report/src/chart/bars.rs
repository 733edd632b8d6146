//! Horizontal bars in groups, so that long names have room.

use std::fmt::Write;

use super::scale::{Scale, Steps};
use super::words::{text_width, wrapped};
use super::{
    Description, LINE, NAMES, Size, axis_name, color, for_all_sizes, legend, lines, rule, swatch, text,
};
use crate::markup::{Escaped, short};

/// Groups of bars, each with one bar a series.
pub struct BarChart<'a> {
    /// Description of the chart.
    pub description: Description<'a>,
    /// Name of the values, with their unit.
    pub label: &'a str,
    /// Names of the series.
    pub series: Vec<&'a str>,
    /// Groups of bars, from the top.
    pub groups: Vec<Group>,
}

/// Group of bars with its name.
pub struct Group {
    /// Name of the group.
    pub name: String,
    /// Values by series; `None` if there is nothing to measure.
    pub values: Vec<Option<f64>>,
}

const BAR: f64 = 15.0;
const BETWEEN_BARS: f64 = 2.0;
const BETWEEN_GROUPS: f64 = 14.0;
/// Room between the axis and a name that stands above its bars.
const NAME: f64 = 5.0;
/// Room between a bar and the text of its value.
const GAP: f64 = 5.0;

impl BarChart<'_> {
    /// Draws the chart for wide and for narrow pages, as two `svg` elements.
    pub fn html(&self) -> String {
        for_all_sizes(|size| self.svg(size))
    }

    fn svg(&self, size: Size) -> String {
        let widest = self.groups.iter().map(|group| text_width(&group.name)).fold(40.0, f64::max);
        let are_beside = widest <= size.width() * NAMES;
        let left = if are_beside { widest + 12.0 } else { 1.0 };
        let values = self.groups.iter().flat_map(|group| group.values.iter().copied().flatten());
        let said = |value: Option<f64>| value.map_or_else(|| "none".to_owned(), short);
        let texts =
            self.groups.iter().flat_map(|group| group.values.iter().map(|value| text_width(&said(*value))));
        let right = texts.fold(24.0, f64::max) + GAP;
        let width = size.width() - right - left;
        let scale = Scale::over(Steps::Linear, values, width);
        let mut inner = String::new();
        let top = legend(&mut inner, size, &self.series, if are_beside { left } else { 0.0 }, swatch) + 4.0;
        let names = |group: &Group| {
            if are_beside { Vec::new() } else { wrapped(&group.name, size.width() - left - NAME) }
        };
        let bars_height = self.series.len() as f64 * (BAR + BETWEEN_BARS) - BETWEEN_BARS;
        let height = |group: &Group| names(group).len() as f64 * LINE + bars_height + BETWEEN_GROUPS;
        let bottom = top + self.groups.iter().map(height).sum::<f64>();
        for mark in &scale.marks {
            let x = left + width * scale.position(*mark);
            rule(&mut inner, "grid", [x, top, x, bottom]);
            let half = text_width(&short(*mark)) / 2.0;
            text(&mut inner, "middle", x.max(half), bottom + 17.0, &short(*mark));
        }
        let below = 40.0 + axis_name(&mut inner, size, left + width / 2.0, bottom + 38.0, self.label) - LINE;
        let mut y = top + BETWEEN_GROUPS / 2.0;
        for group in &self.groups {
            let end = y + height(group);
            if are_beside {
                text(&mut inner, "end", left - 8.0, y + bars_height / 2.0 + 4.5, &group.name);
            }
            y += lines(&mut inner, "start", left + NAME, y + 11.0, &names(group));
            for (series, value) in group.values.iter().enumerate() {
                let at = y + series as f64 * (BAR + BETWEEN_BARS);
                let length = value.map_or(0.0, |value| width * scale.position(value));
                if length > 0.0 {
                    let class = color(series);
                    let (name, of) =
                        (Escaped(&group.name), self.series.get(series).copied().unwrap_or_default());
                    let _ = writeln!(
                        inner,
                        "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{at:.1}\" width=\"{length:.1}\" \
                         height=\"{BAR}\"><title>{name}: {} ({})</title></rect>",
                        said(*value),
                        Escaped(of)
                    );
                }
                text(&mut inner, "start", left + length + GAP, at + 12.0, &said(*value));
            }
            y = end;
        }
        rule(&mut inner, "axis", [left, top, left, bottom]);
        let mut svg = String::new();
        self.description.open(&mut svg, size, bottom + below + 6.0);
        svg + &inner + "</svg>\n"
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::assert_nothing_is_clipped;
    use super::*;

    fn group(name: &str, values: &[Option<f64>]) -> Group {
        Group { name: name.to_owned(), values: values.to_vec() }
    }

    #[test]
    fn bars_are_as_long_as_their_values_and_say_them() {
        let chart = BarChart {
            description: Description { id: "t", title: "t", text: "d" },
            label: "ns",
            series: vec!["one", "two"],
            groups: vec![group("<a>", &[Some(50.0), Some(100.0)]), group("b", &[Some(0.0), None])],
        };
        for size in Size::ALL {
            let svg = chart.svg(size);
            assert!(svg.contains("&lt;a&gt;") && svg.contains(">50<") && svg.contains(">none<"));
            let bars = svg.lines().filter(|line| line.contains("height=\"15\""));
            let lengths: Vec<f64> = bars
                .map(|bar| {
                    bar.split("width=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a width")
                })
                .map(|width| width.parse().expect("a number"))
                .collect();
            assert_eq!(lengths.len(), 2);
            assert!((lengths[1] - 2.0 * lengths[0]).abs() < 0.2, "{lengths:?}");
        }
    }

    #[test]
    fn long_names_and_numbers_are_not_clipped() {
        let long =
            "1,000 backends of weights 1 to 1000, the largest halved, and another_long_name_without_a_space";
        for names in [vec!["short", "b"], vec![long, "b"]] {
            let groups = names.iter().map(|name| group(name, &[Some(1_234.0), Some(0.000_123), None]));
            assert_nothing_is_clipped(
                &BarChart {
                    description: Description { id: "t", title: "t", text: "d" },
                    label: "slots that change their backend, times those that must change it in the ideal case",
                    series: vec!["Guideway", "turn-based (Katran, Envoy)", "maglev crate"],
                    groups: groups.collect(),
                }
                .html(),
            );
        }
    }
}
