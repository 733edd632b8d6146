//! Charts in SVG: horizontal bars, and lines. Colours come from the page's style sheet; shapes tell the series too.

mod bars;
mod line;
mod scale;

use std::fmt::Write;

use super::markup::Escaped;

pub(super) use bars::{BarChart, Group};
pub(super) use line::{LineChart, Series, XAxis};
pub(super) use scale::Steps;

/// Width of every chart, in its own units; the page scales it.
const WIDTH: f64 = 760.0;

/// Width of a character, about, in the page's font of 13 units.
const CHARACTER: f64 = 7.0;

/// Height of a row of the legend.
const LEGEND_ROW: f64 = 22.0;

/// Width of a text.
fn text_width(text: &str) -> f64 {
    text.chars().count() as f64 * CHARACTER
}

/// Description of a chart for those who don't see it.
pub(super) struct Description<'a> {
    /// Identifier of the chart, unique on the page.
    pub(super) id: &'a str,
    pub(super) title: &'a str,
    pub(super) text: &'a str,
}

impl Description<'_> {
    fn open(&self, svg: &mut String, height: f64) {
        let Self { id, title, text } = self;
        let (id, title, text) = (Escaped(id), Escaped(title), Escaped(text));
        let _ = write!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" \
             aria-labelledby=\"{id}-title {id}-desc\">\n<title id=\"{id}-title\">{title}</title>\n\
             <desc id=\"{id}-desc\">{text}</desc>\n"
        );
    }
}

/// Draws the names of the series above a chart, each by its `sign`, and returns their height; a single series needs
/// no name.
fn legend(svg: &mut String, names: &[&str], left: f64, sign: fn(&mut String, usize, f64, f64)) -> f64 {
    if names.len() < 2 {
        return 0.0;
    }
    let (mut x, mut y) = (left, 12.0);
    for (series, name) in names.iter().enumerate() {
        let width = 28.0 + text_width(name) + 14.0;
        if x + width > WIDTH && x > left {
            x = left;
            y += LEGEND_ROW;
        }
        sign(svg, series, x + 8.0, y);
        let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>", x + 22.0, y + 4.5, Escaped(name));
        x += width;
    }
    y + LEGEND_ROW
}

/// Draws a point of a series, in its colour and shape.
fn marker(svg: &mut String, series: usize, x: f64, y: f64) {
    let class = color(series);
    let _ = match series % 5 {
        0 => writeln!(svg, "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\"/>"),
        1 => writeln!(
            svg,
            "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"9\" height=\"9\"/>",
            x - 4.5,
            y - 4.5
        ),
        2 => writeln!(svg, "<path class=\"{class}\" d=\"M{x:.1} {:.1}l6 10h-12z\"/>", y - 6.0),
        3 => writeln!(svg, "<path class=\"{class}\" d=\"M{x:.1} {:.1}l6 6l-6 6l-6 -6z\"/>", y - 6.0),
        _ => writeln!(svg, "<path class=\"{class}\" d=\"M{x:.1} {:.1}l6 -10h-12z\"/>", y + 6.0),
    };
}

/// Draws a piece of a series' bar.
fn swatch(svg: &mut String, series: usize, x: f64, y: f64) {
    let (class, x, y) = (color(series), x - 8.0, y - 5.0);
    let _ = writeln!(svg, "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"16\" height=\"10\"/>");
}

/// Name of the style class of a series' colour.
fn color(series: usize) -> String {
    format!("s{}", series % 5)
}

fn text(svg: &mut String, anchor: &str, x: f64, y: f64, content: &str) {
    let content = Escaped(content);
    let _ = writeln!(svg, "<text text-anchor=\"{anchor}\" x=\"{x:.1}\" y=\"{y:.1}\">{content}</text>");
}

fn rule(svg: &mut String, class: &str, [x1, y1, x2, y2]: [f64; 4]) {
    let _ = writeln!(
        svg,
        "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
    );
}
