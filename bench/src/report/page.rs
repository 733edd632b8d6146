//! Page of the report: one HTML file that is XML too, with its style in it and without scripts.

use std::fmt::Write;

use super::markup::Escaped;

const STYLE: &str = include_str!("style.css");

/// Figure of the page: a chart, how to read it, and its data.
pub(super) struct Figure {
    /// Identifier of the figure, unique on the page.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// Sentences that say how to read the figure.
    pub(super) reading: String,
    /// Chart as an `svg` element.
    pub(super) chart: String,
    pub(super) table: DataTable,
}

/// Table whose first columns are words and whose other columns are numbers.
pub(super) struct DataTable {
    pub(super) caption: &'static str,
    pub(super) header: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
    /// Index of the first column of numbers.
    pub(super) numbers_from: usize,
}

/// Highlight: a figure in words at the head of the page.
pub(super) struct Highlight {
    pub(super) value: String,
    pub(super) unit: &'static str,
    pub(super) of: String,
}

/// Contents of the page.
pub(super) struct Page {
    pub(super) highlights: Vec<Highlight>,
    pub(super) warnings: Vec<String>,
    pub(super) figures: Vec<Figure>,
    /// Tables of what was measured, and on which machine.
    pub(super) environment: Vec<DataTable>,
}

impl Page {
    pub(super) fn html(&self) -> String {
        let mut html = String::from(
            "<!DOCTYPE html>\n<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n",
        );
        let _ = write!(
            html,
            "<meta charset=\"utf-8\"/>\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
             <meta name=\"color-scheme\" content=\"light dark\"/>\n<title>Guideway: measurements</title>\n\
             <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>Guideway: measurements</h1>\n"
        );
        self.head(&mut html);
        for figure in &self.figures {
            figure.html(&mut html);
        }
        html += "<section aria-labelledby=\"environment\">\n<h2 id=\"environment\">Environment</h2>\n";
        self.environment.iter().for_each(|table| table.html(&mut html));
        html += "</section>\n</main>\n</body>\n</html>\n";
        html
    }

    fn head(&self, html: &mut String) {
        if !self.warnings.is_empty() {
            *html += "<div class=\"warnings\" role=\"note\">\n<p>Read these figures with care:</p>\n<ul>\n";
            for warning in &self.warnings {
                let _ = writeln!(html, "<li>{}</li>", Escaped(warning));
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
        *html += "<li><a href=\"#environment\">Environment</a></li>\n</ol>\n</nav>\n";
    }
}

impl Figure {
    fn html(&self, html: &mut String) {
        let Self { id, title, reading, chart, table } = self;
        let _ = write!(
            html,
            "<section aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">{}</h2>\n<p class=\"reading\">{}</p>\n\
             <figure>\n{chart}</figure>\n",
            Escaped(title),
            Escaped(reading)
        );
        table.html(html);
        *html += "</section>\n";
    }
}

impl DataTable {
    fn html(&self, html: &mut String) {
        let class = |column| if column >= self.numbers_from { " class=\"number\"" } else { "" };
        let caption = Escaped(self.caption);
        // A region that scrolls must be reached by the keyboard.
        let _ = write!(
            html,
            "<div class=\"scroll\" role=\"region\" aria-label=\"{caption}\" tabindex=\"0\">\n<table>\n\
             <caption>{caption}</caption>\n<thead><tr>"
        );
        for (column, name) in self.header.iter().enumerate() {
            let _ = write!(html, "<th scope=\"col\"{}>{}</th>", class(column), Escaped(name));
        }
        *html += "</tr></thead>\n<tbody>\n";
        for row in &self.rows {
            *html += "<tr>";
            for (column, cell) in row.iter().enumerate() {
                let cell = Escaped(cell);
                let _ = if column == 0 {
                    write!(html, "<th scope=\"row\"{}>{cell}</th>", class(column))
                } else {
                    write!(html, "<td{}>{cell}</td>", class(column))
                };
            }
            *html += "</tr>\n";
        }
        *html += "</tbody>\n</table>\n</div>\n";
    }
}
