//! Lines over a number or over a few words.

use std::fmt::Write;

use super::scale::{Scale, Steps};
use super::{Description, WIDTH, color, legend, marker, rule, text, text_width};
use crate::report::markup::short;

/// Lines over one axis, which share a scale of values.
pub(in crate::report) struct LineChart<'a> {
    pub(in crate::report) description: Description<'a>,
    pub(in crate::report) x: XAxis<'a>,
    /// Name of the values, with their unit.
    pub(in crate::report) y_label: &'a str,
    pub(in crate::report) y_steps: Steps,
    pub(in crate::report) series: Vec<Series>,
}

/// Axis that the points stand over.
pub(in crate::report) enum XAxis<'a> {
    /// Axis of numbers, with their name.
    Numbers { label: &'a str, steps: Steps },
    /// Axis of words, whose points are at the indices of the words.
    Words { label: &'a str, words: &'a [&'a str] },
}

/// Line with its name.
pub(in crate::report) struct Series {
    pub(in crate::report) name: String,
    /// Points: position on the axis, and value.
    pub(in crate::report) points: Vec<(f64, f64)>,
}

const HEIGHT: f64 = 260.0;
const BELOW: f64 = 48.0;
const MARGIN: f64 = 28.0;

impl LineChart<'_> {
    /// Draws the chart as an `svg` element.
    pub(in crate::report) fn svg(&self) -> String {
        let points = self.series.iter().flat_map(|series| series.points.iter().copied());
        let y = Scale::over(self.y_steps, points.clone().map(|(_, value)| value));
        let labels: Vec<String> = y.marks.iter().map(|mark| short(*mark)).collect();
        let left = labels.iter().map(|label| text_width(label)).fold(0.0, f64::max) + 14.0;
        let names: Vec<&str> = self.series.iter().map(|series| series.name.as_str()).collect();
        let mut inner = String::new();
        let head = legend(&mut inner, &names, left, marker);
        text(&mut inner, "start", 0.0, head + 13.0, self.y_label);
        let top = head + 30.0;
        let y_at = |value: f64| top + HEIGHT * (1.0 - y.position(value));
        for (mark, label) in y.marks.iter().zip(&labels) {
            rule(&mut inner, "grid", [left, y_at(*mark), WIDTH - MARGIN, y_at(*mark)]);
            text(&mut inner, "end", left - 8.0, y_at(*mark) + 4.5, label);
        }
        let width = WIDTH - MARGIN - left;
        let (x_label, marks): (&str, Vec<(f64, String)>) = match &self.x {
            XAxis::Numbers { label, steps } => {
                let x = Scale::over(*steps, points.map(|(number, _)| number));
                (label, x.marks.iter().map(|mark| (x.position(*mark), short(*mark))).collect())
            }
            XAxis::Words { label, words } => {
                let position = |number| word_position(number as f64, words.len());
                (label, words.iter().enumerate().map(|(n, word)| (position(n), (*word).to_owned())).collect())
            }
        };
        let bottom = top + HEIGHT;
        rule(&mut inner, "axis", [left, bottom, WIDTH - MARGIN, bottom]);
        for (position, label) in &marks {
            let x = left + width * position;
            rule(&mut inner, "axis", [x, bottom, x, bottom + 5.0]);
            text(&mut inner, "middle", x, bottom + 20.0, label);
        }
        text(&mut inner, "middle", left + width / 2.0, bottom + 42.0, x_label);
        for (number, series) in self.series.iter().enumerate() {
            let positions: Vec<(f64, f64)> = series
                .points
                .iter()
                .map(|(at, value)| (left + width * self.x_place(*at), y_at(*value)))
                .collect();
            let line: Vec<String> = positions.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let _ = writeln!(inner, "<polyline class=\"{}\" points=\"{}\"/>", color(number), line.join(" "));
            positions.iter().for_each(|(x, y)| marker(&mut inner, number, *x, *y));
        }
        let mut svg = String::new();
        self.description.open(&mut svg, bottom + BELOW);
        svg + &inner + "</svg>\n"
    }

    fn x_place(&self, at: f64) -> f64 {
        match &self.x {
            XAxis::Numbers { steps, .. } => {
                let numbers = self.series.iter().flat_map(|series| series.points.iter().map(|(x, _)| *x));
                Scale::over(*steps, numbers).position(at)
            }
            XAxis::Words { words, .. } => word_position(at, words.len()),
        }
    }
}

/// Position of the middle of a word's part of the axis.
fn word_position(number: f64, words: usize) -> f64 {
    (number + 0.5) / words as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_and_every_mark_is_drawn_inside_of_the_chart() {
        let series =
            |name: &str, points: &[(f64, f64)]| Series { name: name.to_owned(), points: points.to_vec() };
        let chart = LineChart {
            description: Description { id: "t", title: "a < b", text: "c & d" },
            x: XAxis::Numbers { label: "flows", steps: Steps::Logarithmic },
            y_label: "packets",
            y_steps: Steps::Linear,
            series: vec![
                series("one", &[(1e3, 3.0), (1e6, 12.0)]),
                series("two", &[(1e3, 1.0), (1e5, 2.0), (1e6, 4.0)]),
            ],
        };
        let svg = chart.svg();
        assert!(svg.contains("a &lt; b") && svg.contains("c &amp; d"));
        assert_eq!(svg.matches("<polyline").count(), 2);
        // Points, and one each in the legend.
        assert_eq!((svg.matches("<circle").count(), svg.matches("<rect").count()), (3, 4));
        for label in [">1,000<", ">10k<", ">100k<", ">1M<", ">12<"] {
            assert!(svg.contains(label), "{label} in {svg}");
        }
        for points in svg.lines().filter_map(|line| line.split_once("points=\"")) {
            for pair in points.1.trim_end_matches("\"/>").split(' ') {
                let (x, y) = pair.split_once(',').expect("a pair");
                let (x, y): (f64, f64) = (x.parse().expect("a number"), y.parse().expect("a number"));
                assert!((0.0..=WIDTH).contains(&x) && (0.0..=400.0).contains(&y), "{x} {y}");
            }
        }
    }
}
