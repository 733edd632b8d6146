//! Charts in SVG: horizontal bars, intervals, and lines. Colours come from the page's style sheet; shapes tell the series too.
//!
//! A chart is drawn for each `Size`: text that is scaled down with a wide chart could not be read on a phone, and names
//! that have their own column there would leave no room for the bars.

mod bars;
mod intervals;
mod line;
mod scale;
mod words;

use std::fmt::Write;

use crate::markup::Escaped;

pub use bars::{BarChart, Group};
pub use intervals::{Interval, IntervalChart};
pub use line::{LineChart, Mark, Series, XAxis};
pub use scale::Steps;

use words::text_width;

/// Height of a row of the legend.
const LEGEND_ROW: f64 = 22.0;

/// Height of a line of text.
const LINE: f64 = 17.0;

/// Share of a chart's width that the column of names may take; longer names stand above what they name.
const NAMES: f64 = 0.36;

/// Page that a chart is drawn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    Wide,
    Narrow,
}

impl Size {
    pub(crate) const ALL: [Self; 2] = [Self::Wide, Self::Narrow];

    /// Width of a chart in its own units, about those of the screen.
    pub(crate) fn width(self) -> f64 {
        match self {
            Self::Wide => 900.0,
            Self::Narrow => 360.0,
        }
    }

    /// Class by which the style sheet picks one of the drawings.
    fn class(self) -> &'static str {
        match self {
            Self::Wide => "wide",
            Self::Narrow => "narrow",
        }
    }
}

/// Description of a chart for those who don't see it.
#[derive(Clone, Copy)]
pub struct Description<'a> {
    /// Identifier of the chart, unique on the page.
    pub id: &'a str,
    /// Title of the chart.
    pub title: &'a str,
    /// Sentence that says what is drawn.
    pub text: &'a str,
}

impl Description<'_> {
    fn open(&self, svg: &mut String, size: Size, height: f64) {
        let Self { id, title, text } = self;
        let (id, title, text) = (Escaped(id), Escaped(title), Escaped(text));
        let (width, class) = (size.width(), size.class());
        let _ = write!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"{class}\" viewBox=\"0 0 {width} {height:.0}\" role=\"img\" \
             aria-labelledby=\"{id}-{class}-title {id}-{class}-desc\">\n\
             <title id=\"{id}-{class}-title\">{title}</title>\n<desc id=\"{id}-{class}-desc\">{text}</desc>\n"
        );
    }
}

/// Draws a chart for every size.
fn for_all_sizes(draw: impl Fn(Size) -> String) -> String {
    Size::ALL.map(draw).concat()
}

/// Draws the names of the series above a chart, each by its `sign`, and returns their height; a single series needs
/// no name.
fn legend(
    svg: &mut String,
    size: Size,
    names: &[&str],
    left: f64,
    sign: impl Fn(&mut String, usize, f64, f64),
) -> f64 {
    if names.len() < 2 {
        return 0.0;
    }
    let (mut x, mut y) = (left, 12.0);
    for (series, name) in names.iter().enumerate() {
        let width = 28.0 + text_width(name);
        if x + width > size.width() && x > left {
            x = left;
            y += LEGEND_ROW;
        }
        sign(svg, series, x + 8.0, y);
        let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>", x + 24.0, y + 4.5, Escaped(name));
        x += width + 14.0;
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

/// Draws a piece of a series' line.
fn dash(svg: &mut String, series: usize, x: f64, y: f64) {
    let (class, from, to) = (color(series), x - 10.0, x + 10.0);
    let _ = writeln!(svg, "<polyline class=\"{class}\" points=\"{from:.1},{y:.1} {to:.1},{y:.1}\"/>");
}

/// Name of the style class of a series' colour.
fn color(series: usize) -> String {
    format!("s{}", series % 5)
}

fn text(svg: &mut String, anchor: &str, x: f64, y: f64, content: &str) {
    let content = Escaped(content);
    let _ = writeln!(svg, "<text text-anchor=\"{anchor}\" x=\"{x:.1}\" y=\"{y:.1}\">{content}</text>");
}

/// Draws lines of text below each other, and returns their height.
fn lines(svg: &mut String, anchor: &str, x: f64, y: f64, content: &[String]) -> f64 {
    for (index, line) in content.iter().enumerate() {
        text(svg, anchor, x, y + index as f64 * LINE, line);
    }
    content.len() as f64 * LINE
}

/// Draws the name of an axis below it, around `center` as far as the chart has room, and returns its height.
fn axis_name(svg: &mut String, size: Size, center: f64, y: f64, name: &str) -> f64 {
    let content = words::wrapped(name, size.width() - 4.0);
    let half = content.iter().map(|line| text_width(line)).fold(0.0, f64::max) / 2.0;
    let center = center.min(size.width() - half).max(half);
    lines(svg, "middle", center, y, &content)
}

fn rule(svg: &mut String, class: &str, [x1, y1, x2, y2]: [f64; 4]) {
    let _ = writeln!(
        svg,
        "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
    );
}

#[cfg(test)]
mod tests {
    use super::words::text_width;

    /// Asserts that every text of a drawing, as wide as it is taken to be, ends inside of it.
    pub(super) fn assert_nothing_is_clipped(html: &str) {
        let document = roxmltree::Document::parse(&format!("<figure>{html}</figure>")).map(|parsed| {
            let drawings = parsed.root_element().children().filter(roxmltree::Node::is_element);
            let mut count = 0;
            for svg in drawings {
                count += 1;
                let view: Vec<f64> =
                    svg.attribute("viewBox").expect("a view").split(' ').map(number).collect();
                for text in svg.descendants().filter(|node| node.tag_name().name() == "text") {
                    let content = text.text().unwrap_or_default();
                    let (width, x) = (text_width(content), number(text.attribute("x").expect("x")));
                    let start = match text.attribute("text-anchor") {
                        Some("middle") => x - width / 2.0,
                        Some("end") => x - width,
                        _ => x,
                    };
                    let y = number(text.attribute("y").expect("y"));
                    let inside =
                        start >= -0.1 && start + width <= view[2] + 0.1 && (9.0..=view[3]).contains(&y);
                    assert!(inside, "`{content}` from {start} to {} of {view:?}, at {y}", start + width);
                }
            }
            count
        });
        assert_eq!(document.expect("a chart is XML"), 2);
    }

    fn number(text: &str) -> f64 {
        text.parse().expect("a number")
    }
}
