//! Lines over a number, over time, or over a few words.

use std::fmt::Write;

use super::scale::{Scale, Steps};
use super::words::{text_width, wrapped};
use super::{
    Description, LINE, Size, axis_name, color, dash, for_all_sizes, legend, lines, marker, rule, text,
};
use crate::markup::{Escaped, short};

/// Lines over one axis, which share a scale of values.
pub struct LineChart<'a> {
    /// Description of the chart.
    pub description: Description<'a>,
    /// Axis that the points stand over.
    pub x: XAxis<'a>,
    /// Name of the values, with their unit.
    pub y_label: &'a str,
    /// Spacing of the values.
    pub y_steps: Steps,
    /// Lines.
    pub series: Vec<Series>,
    /// Marks across the chart, in their order on the axis.
    pub marks: Vec<Mark>,
}

/// Axis that the points stand over.
pub enum XAxis<'a> {
    /// Axis of numbers, with their name.
    Numbers {
        /// Name of the numbers, with their unit.
        label: &'a str,
        /// Spacing of the numbers.
        steps: Steps,
    },
    /// Axis of numbers from zero to an end.
    Until {
        /// Name of the numbers, with their unit.
        label: &'a str,
        /// End of the axis.
        end: f64,
    },
    /// Axis of words, whose points are at the indices of the words.
    Words {
        /// Name of the words.
        label: &'a str,
        /// Words, from the left.
        words: &'a [&'a str],
    },
}

/// Line with its name.
pub struct Series {
    /// Name of the line.
    pub name: String,
    /// Points: position on the axis, and value.
    pub points: Vec<(f64, f64)>,
}

/// Mark across a chart, numbered as it is in a table beside the chart.
pub struct Mark {
    /// Position on the axis.
    pub at: f64,
    /// Number of the mark; marks that lie close together share a sign: `3-5`.
    pub number: usize,
    /// Words for the mark, shown where a pointer rests on it.
    pub words: String,
}

const HEIGHT: f64 = 260.0;
const BELOW: f64 = 38.0;
/// Points of a line beyond which they have no signs of their own: they would hide the line.
const MOST_SIGNS: usize = 24;
/// Height of the signs of marks.
const SIGN: f64 = 20.0;

impl LineChart<'_> {
    /// Draws the chart for wide and for narrow pages, as two `svg` elements.
    pub fn html(&self) -> String {
        for_all_sizes(|size| self.svg(size))
    }

    fn svg(&self, size: Size) -> String {
        let points = self.series.iter().flat_map(|series| series.points.iter().copied());
        let y = Scale::over(self.y_steps, points.clone().map(|(_, value)| value), HEIGHT * 1.5);
        let labels: Vec<String> = y.marks.iter().map(|mark| short(*mark)).collect();
        let left = labels.iter().map(|label| text_width(label)).fold(0.0, f64::max) + 14.0;
        let axis = Axis::new(&self.x, points.map(|(number, _)| number), size.width() - 24.0 - left);
        let right =
            size.width() - axis.labels.last().map_or(0.0, |(_, label)| text_width(label) / 2.0).max(14.0);
        let width = right - left;
        let names: Vec<&str> = self.series.iter().map(|series| series.name.as_str()).collect();
        let has_signs = self.series.iter().all(|series| series.points.len() <= MOST_SIGNS);
        let mut inner = String::new();
        let head = legend(&mut inner, size, &names, 0.0, |svg, series, x, y| {
            if has_signs { marker(svg, series, x, y) } else { dash(svg, series, x, y) }
        });
        let head = head + lines(&mut inner, "start", 0.0, head + 13.0, &wrapped(self.y_label, size.width()));
        let top = head + if self.marks.is_empty() { 13.0 } else { 22.0 + SIGN };
        let bottom = top + HEIGHT;
        let y_at = |value: f64| top + HEIGHT * (1.0 - y.position(value));
        for (mark, label) in y.marks.iter().zip(&labels) {
            rule(&mut inner, "grid", [left, y_at(*mark), right, y_at(*mark)]);
            text(&mut inner, "end", left - 8.0, y_at(*mark) + 4.5, label);
        }
        rule(&mut inner, "axis", [left, bottom, right, bottom]);
        for (position, label) in &axis.labels {
            let x = left + width * position;
            rule(&mut inner, "axis", [x, bottom, x, bottom + 5.0]);
            text(&mut inner, "middle", x.max(text_width(label) / 2.0), bottom + 20.0, label);
        }
        let below =
            BELOW + axis_name(&mut inner, size, left + width / 2.0, bottom + 40.0, axis.name) - LINE + 10.0;
        self.draw_marks(&mut inner, top, |at| left + width * axis.position(at), right);
        for (number, series) in self.series.iter().enumerate() {
            let position = |(at, value): &(f64, f64)| (left + width * axis.position(*at), y_at(*value));
            let positions: Vec<(f64, f64)> = series.points.iter().map(position).collect();
            let line: Vec<String> = positions.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let _ = writeln!(inner, "<polyline class=\"{}\" points=\"{}\"/>", color(number), line.join(" "));
            if has_signs || positions.len() == 1 {
                positions.iter().for_each(|(x, y)| marker(&mut inner, number, *x, *y));
            }
        }
        let mut svg = String::new();
        self.description.open(&mut svg, size, bottom + below);
        svg + &inner + "</svg>\n"
    }

    /// Draws the marks, with the signs of those together that would hide each other.
    fn draw_marks(&self, svg: &mut String, top: f64, x_at: impl Fn(f64) -> f64, right: f64) {
        // Center of a sign, and the numbers that it stands for.
        let mut signs: Vec<(f64, usize, usize)> = Vec::new();
        for mark in &self.marks {
            let x = x_at(mark.at);
            let _ = writeln!(
                svg,
                "<g><title>{}</title><line class=\"mark\" x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{:.1}\"/></g>",
                Escaped(&mark.words),
                top - 8.0,
                top + HEIGHT
            );
            match signs.last_mut() {
                Some((center, first, last)) if x - *center < sign_width(*first, mark.number) + 2.0 => {
                    *last = mark.number;
                }
                _ => signs.push((x, mark.number, mark.number)),
            }
        }
        for (x, first, last) in signs {
            let width = sign_width(first, last);
            let x = x.min(right + 12.0 - width / 2.0).max(width / 2.0);
            let _ = writeln!(
                svg,
                "<rect class=\"sign\" x=\"{:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{SIGN}\" rx=\"4\"/>",
                x - width / 2.0,
                top - SIGN - 8.0
            );
            text(svg, "middle", x, top - SIGN / 2.0 - 3.5, &sign_text(first, last));
        }
    }
}

fn sign_text(first: usize, last: usize) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

fn sign_width(first: usize, last: usize) -> f64 {
    text_width(&sign_text(first, last)) + 12.0
}

/// Axis of one drawing: its name, its labels with their positions, and the positions of numbers.
struct Axis<'a> {
    name: &'a str,
    labels: Vec<(f64, String)>,
    scale: Option<Scale>,
    words: usize,
}

impl<'a> Axis<'a> {
    fn new(x: &XAxis<'a>, numbers: impl Iterator<Item = f64> + Clone, length: f64) -> Self {
        let of_scale = |name, scale: Scale| {
            let labels = scale.marks.iter().map(|mark| (scale.position(*mark), short(*mark))).collect();
            Self { name, labels, scale: Some(scale), words: 0 }
        };
        match x {
            XAxis::Numbers { label, steps } => of_scale(label, Scale::over(*steps, numbers, length)),
            XAxis::Until { label, end } => of_scale(label, Scale::until(*end, length)),
            XAxis::Words { label, words } => {
                let position = |number| word_position(number as f64, words.len());
                let labels =
                    words.iter().enumerate().map(|(n, word)| (position(n), (*word).to_owned())).collect();
                Self { name: label, labels, scale: None, words: words.len() }
            }
        }
    }

    fn position(&self, at: f64) -> f64 {
        self.scale.as_ref().map_or_else(|| word_position(at, self.words), |scale| scale.position(at))
    }
}

/// Position of the middle of a word's part of the axis.
fn word_position(number: f64, words: usize) -> f64 {
    (number + 0.5) / words as f64
}

#[cfg(test)]
mod tests {
    use super::super::tests::assert_nothing_is_clipped;
    use super::*;

    fn series(name: &str, points: &[(f64, f64)]) -> Series {
        Series { name: name.to_owned(), points: points.to_vec() }
    }

    fn chart<'a>(x: XAxis<'a>, series: Vec<Series>, marks: &[f64]) -> LineChart<'a> {
        let mark =
            |(index, at): (usize, &f64)| Mark { at: *at, number: index + 1, words: format!("at {at}") };
        LineChart {
            description: Description { id: "t", title: "a < b", text: "c & d" },
            x,
            y_label: "packets a second that were forwarded, passed or dropped, and a few words more",
            y_steps: Steps::Linear,
            series,
            marks: marks.iter().enumerate().map(mark).collect(),
        }
    }

    #[test]
    fn every_point_and_every_mark_is_drawn_inside_of_the_chart() {
        let lines = || {
            vec![
                series("one", &[(1e3, 3.0), (1e6, 12.0)]),
                series("two", &[(1e3, 1.0), (1e5, 2.0), (1e6, 4.0)]),
            ]
        };
        let chart = chart(XAxis::Numbers { label: "flows", steps: Steps::Logarithmic }, lines(), &[]);
        assert_nothing_is_clipped(&chart.html());
        for size in Size::ALL {
            let svg = chart.svg(size);
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
                    assert!((0.0..=size.width()).contains(&x) && (0.0..=420.0).contains(&y), "{x} {y}");
                }
            }
        }
    }

    #[test]
    fn marks_that_lie_close_together_share_a_sign() {
        let points: Vec<(f64, f64)> = (0..=60).map(|second| (f64::from(second), 1_234_567.0)).collect();
        let lines = vec![series("forwarded", &points), series("dropped", &points)];
        let x = XAxis::Until { label: "seconds since the first frame", end: 60.0 };
        let chart = chart(x, lines, &[0.0, 10.0, 10.1, 10.2, 30.0, 60.0]);
        assert_nothing_is_clipped(&chart.html());
        let svg = chart.svg(Size::Wide);
        for sign in [">1<", ">2-4<", ">5<", ">6<"] {
            assert!(svg.contains(sign), "{sign}");
        }
        assert_eq!(svg.matches("class=\"mark\"").count(), 6, "each has its line");
        assert!(!svg.contains("<circle"), "many points have no signs");
    }
}
