//! Page of a report: one HTML file that is XML too, with its style in it and without scripts.

use std::fmt::Write;
use std::ops::Range;

use crate::markup::{Escaped, Prose};

const STYLE: &str = include_str!("style.css");

/// Characters from which on a cell of words is given room.
const LONG: usize = 30;

/// Figure of the page: how to read it, a chart, and the data behind it.
pub struct Figure {
    /// Identifier of the figure, unique on the page.
    pub id: &'static str,
    /// Title of the figure.
    pub title: &'static str,
    /// Sentences that say how to read the figure.
    pub reading: String,
    /// Chart as `svg` elements; empty where words and a table say it all.
    pub chart: String,
    /// Sentences that say what is seen, below the chart.
    pub findings: Vec<String>,
    /// Data of the chart.
    pub tables: Vec<DataTable>,
}

/// Table of words and numbers.
pub struct DataTable {
    /// Caption of the table.
    pub caption: String,
    /// Names of the columns.
    pub header: Vec<&'static str>,
    /// Rows of cells, one for each column.
    pub rows: Vec<Vec<String>>,
    /// Columns of numbers, by index.
    pub numbers: Range<usize>,
    /// Form of the table.
    pub layout: Layout,
}

/// Form of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Rows and columns; where they are wider than the page, the table scrolls.
    Plain,
    /// Rows and columns of a long table, shown when its caption is asked to open it.
    Folded,
    /// Rows and columns; on a narrow page the cells of a row below each other, each with its column's name.
    Stacked,
}

/// Highlight: a figure in words at the head of the page.
pub struct Highlight {
    /// Number.
    pub value: String,
    /// Unit of the number.
    pub unit: &'static str,
    /// Name of what the number is of.
    pub of: String,
}

/// Contents of the page.
pub struct Page {
    /// Title of the page.
    pub title: String,
    /// Sentences that say what the page is of.
    pub lead: Vec<String>,
    /// Numbers at the head of the page.
    pub highlights: Vec<Highlight>,
    /// Introduction to the notes.
    pub notes_of: &'static str,
    /// Notes that are to be read first.
    pub notes: Vec<String>,
    /// Figures, in their order.
    pub figures: Vec<Figure>,
}

impl Page {
    /// Writes the page as HTML.
    pub fn html(&self) -> String {
        let mut html = String::from(
            "<!DOCTYPE html>\n<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n",
        );
        let title = Escaped(&self.title);
        let _ = write!(
            html,
            "<meta charset=\"utf-8\"/>\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
             <meta name=\"color-scheme\" content=\"light dark\"/>\n<title>{title}</title>\n\
             <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
        );
        for sentence in &self.lead {
            let _ = writeln!(html, "<p class=\"lead\">{}</p>", Prose(sentence));
        }
        self.head(&mut html);
        for figure in &self.figures {
            figure.html(&mut html);
        }
        html += "</main>\n</body>\n</html>\n";
        html
    }

    fn head(&self, html: &mut String) {
        if !self.notes.is_empty() {
            let _ = write!(
                html,
                "<div class=\"notes\" role=\"note\">\n<p>{}</p>\n<ul>\n",
                Escaped(self.notes_of)
            );
            for note in &self.notes {
                let _ = writeln!(html, "<li>{}</li>", Prose(note));
            }
            *html += "</ul>\n</div>\n";
        }
        *html += "<dl class=\"highlights\">\n";
        for Highlight { value, unit, of } in &self.highlights {
            let (value, of) = (Escaped(value), Escaped(of));
            let _ = writeln!(
                html,
                "<div><dt>{of}</dt><dd>{value} <span class=\"unit\">{}</span></dd></div>",
                Escaped(unit)
            );
        }
        *html += "</dl>\n<nav aria-label=\"Figures\">\n<ol>\n";
        for Figure { id, title, .. } in &self.figures {
            let _ = writeln!(html, "<li><a href=\"#{id}\">{}</a></li>", Escaped(title));
        }
        *html += "</ol>\n</nav>\n";
    }
}

impl Figure {
    fn html(&self, html: &mut String) {
        let Self { id, title, reading, chart, findings, tables } = self;
        let _ = write!(html, "<section aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">{}</h2>\n", Escaped(title));
        if !reading.is_empty() {
            let _ = writeln!(html, "<p class=\"reading\">{}</p>", Prose(reading));
        }
        if !chart.is_empty() {
            let _ = write!(html, "<figure>\n{chart}</figure>\n");
        }
        for finding in findings {
            let _ = writeln!(html, "<p class=\"finding\">{}</p>", Prose(finding));
        }
        for (index, table) in tables.iter().enumerate() {
            table.html(&format!("{id}-table-{}", index + 1), html);
        }
        *html += "</section>\n";
    }
}

impl DataTable {
    /// Writes the table of this identifier.
    fn html(&self, id: &str, html: &mut String) {
        let class = |column, cell: &str| match () {
            () if self.numbers.contains(&column) => " class=\"number\"",
            () if cell.chars().count() > LONG => " class=\"long\"",
            () => "",
        };
        let caption = Escaped(&self.caption);
        if self.layout == Layout::Folded {
            let _ = writeln!(html, "<details>\n<summary id=\"{id}\">{caption}, as a table</summary>");
        } else {
            // No `caption`: it would be as wide as its table, and scroll with it.
            let _ = writeln!(html, "<p class=\"caption\" id=\"{id}\">{caption}</p>");
        }
        let of = if self.layout == Layout::Stacked { " stacked" } else { "" };
        // A region that scrolls must be reached by the keyboard. Cells that are stacked would lose what they are in a table.
        let _ = write!(
            html,
            "<div class=\"scroll{of}\" role=\"region\" aria-labelledby=\"{id}\" tabindex=\"0\">\n\
             <table role=\"table\" aria-labelledby=\"{id}\">\n<thead role=\"rowgroup\"><tr role=\"row\">"
        );
        for (column, name) in self.header.iter().enumerate() {
            let class = class(column, "");
            let _ = write!(html, "<th scope=\"col\" role=\"columnheader\"{class}>{}</th>", Escaped(name));
        }
        *html += "</tr></thead>\n<tbody role=\"rowgroup\">\n";
        for row in &self.rows {
            *html += "<tr role=\"row\">";
            for (column, cell) in row.iter().enumerate() {
                let (class, words) = (class(column, cell), Prose(cell));
                let name = Escaped(self.header.get(column).copied().unwrap_or_default());
                let _ = if column == 0 {
                    write!(html, "<th scope=\"row\" role=\"rowheader\"{class}>{words}</th>")
                } else {
                    write!(html, "<td role=\"cell\" data-column=\"{name}\"{class}>{words}</td>")
                };
            }
            *html += "</tr>\n";
        }
        *html += "</tbody>\n</table>\n</div>\n";
        if self.layout == Layout::Folded {
            *html += "</details>\n";
        }
    }
}

#[cfg(test)]
mod tests {
    use roxmltree::{Document, ParsingOptions};

    use super::*;

    /// Relative luminance of a colour `#rrggbb` (WCAG 2.2).
    fn luminance(color: &str) -> f64 {
        let channel = |at: usize| {
            let value = f64::from(u8::from_str_radix(&color[at..at + 2], 16).expect("two digits")) / 255.0;
            if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
    }

    fn contrast(one: &str, other: &str) -> f64 {
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    #[test]
    fn texts_and_lines_stand_out_from_their_ground_in_the_light_and_in_the_dark() {
        assert!((contrast("#000000", "#ffffff") - 21.0).abs() < 1e-9);
        let themes = STYLE.split(":root {").skip(1).map(|rest| rest.split('}').next().unwrap_or(rest));
        let themes: Vec<&str> = themes.collect();
        assert_eq!(themes.len(), 2);
        for theme in themes {
            let color = |name: &str| {
                let found =
                    theme.split_once(&format!("--{name}: ")).unwrap_or_else(|| panic!("{name} in {theme}"));
                &found.1[..7]
            };
            // Text: 4.5 (WCAG 2.2, 1.4.3). The first colour of series is that of links too.
            for text in ["ink", "soft", "c0", "c1", "c2", "c3", "c4"] {
                for ground in ["ground", "tint"] {
                    let contrast = contrast(color(text), color(ground));
                    assert!(contrast >= 4.5, "{text} on {ground}: {contrast:.2} in {theme}");
                }
            }
            assert!(contrast(color("ink"), color("note")) >= 4.5);
        }
    }

    #[test]
    fn cells_of_a_table_are_named_and_its_markup_is_escaped() {
        let table = DataTable {
            caption: "a & b".to_owned(),
            header: vec!["name", "number"],
            rows: vec![vec!["<x>".to_owned(), "`7`".to_owned()]],
            numbers: 1..2,
            layout: Layout::Stacked,
        };
        let mut html = String::new();
        table.html("t", &mut html);
        let text = format!("<div>{html}</div>");
        let document = Document::parse_with_options(&text, ParsingOptions::default()).expect("it is XML");
        let cells = document.descendants().filter(|node| node.attribute("role") == Some("cell"));
        assert_eq!(cells.map(|cell| cell.attribute("data-column")).collect::<Vec<_>>(), [Some("number")]);
        assert!(html.contains("<code>7</code>") && html.contains("class=\"number\""), "{html}");
        assert!(html.contains(">&lt;x&gt;</th>") && html.contains(">a &amp; b</p>"), "{html}");
        assert!(!html.contains("<details"), "{html}");
    }
}
