//! Document of the status page: HTML from a look, in which nothing from outside is markup.

use std::fmt::Write;
use std::time::SystemTime;

use guideway_report::markup::{Escaped, Prose};

use super::board::Picture;
use super::trends::Trend;
use crate::api::amount::{duration, rate};
use crate::api::overview::{Cell, Column, Grid, Row, Tone, alarms, drops, machine, services};
use crate::api::visible::plain;

/// Rows of a table; of more, those that are well are left out.
const MAX_ROWS: usize = 300;

/// Words from which on a cell is given room.
const LONG: usize = 24;

/// Title of the page, which a browser shows in its tab: the condition first.
pub(super) fn title(picture: &Picture<'_>) -> String {
    let word = if picture.look.status.condition.degraded { "DEGRADED" } else { "OK" };
    format!("{word} · Guideway")
}

/// Whole page.
pub(super) fn page(picture: &Picture<'_>, now: SystemTime) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n\
         <link rel=\"icon\" href=\"status.svg\">\n<link rel=\"stylesheet\" href=\"status.css\">\n\
         <script src=\"status.js\" defer></script>\n</head>\n<body>\n\
         <p class=\"stale\" id=\"stale\" role=\"alert\" hidden></p>\n<main id=\"state\">{}</main>\n\
         <footer>\n<noscript><p>Without JavaScript the page is as of its time: load it again for newer values.</p></noscript>\n\
         <p><a href=\"/metrics\">Metrics</a> for Prometheus, <a href=\"/status.json\">status.json</a>; \
         <code>guideway top</code> shows the same in a terminal, and drains backends.</p>\n</footer>\n</body>\n</html>\n",
        Escaped(title(picture)),
        state(picture, now)
    )
}

/// Part of the page that changes.
pub(super) fn state(picture: &Picture<'_>, now: SystemTime) -> String {
    let mut html = String::new();
    head(picture, now, &mut html);
    sums(picture, &mut html);
    let Picture { look, history, .. } = picture;
    let drops = drops::grid(look, history).sorted("rate", false);
    let [workers, ports] = machine::grids(look, history);
    for (id, title, grid, empty) in [
        ("services", "Services", services::grid(look), "No services are configured."),
        ("drops", "Drops", drops, "No packet was lost."),
        ("workers", "Workers", workers, "There are no workers."),
        ("ports", "Ports", ports, "There are no ports."),
    ] {
        Section { id, title, empty, picture }.write(&grid, &mut html);
    }
    html
}

/// Writes the condition, and what it is made of.
fn head(picture: &Picture<'_>, now: SystemTime, html: &mut String) {
    let status = &picture.look.status;
    let condition = &status.condition;
    let tone = if condition.degraded { "bad" } else { "good" };
    let line = condition.line();
    let _ = writeln!(html, "<div role=\"status\"><h1 class=\"{tone}\">{}</h1></div>", Escaped(plain(&line)));
    let time = humantime::format_rfc3339_seconds(now);
    let _ = writeln!(html, "<p class=\"fresh\">as of <time>{time}</time></p>");
    for (heading, sentence) in alarms(status) {
        let (key, sentence) = (Escaped(plain(&format!("{heading} {sentence}"))), plain(&sentence));
        let _ = writeln!(
            html,
            "<p class=\"alarm\" data-key=\"{key}\"><strong>{heading}</strong> {}</p>",
            Prose(sentence)
        );
    }
    if condition.reasons.iter().any(|reason| !line.contains(&**reason)) {
        let count = condition.reasons.len();
        let _ = writeln!(html, "<details class=\"reasons\"><summary>All {count} reasons</summary>\n<ul>");
        for reason in &condition.reasons {
            let _ = writeln!(html, "<li>{}</li>", Escaped(plain(reason)));
        }
        *html += "</ul></details>\n";
    }
    *html += "<nav aria-label=\"Tables\"><ul><li><a href=\"#services\">Services</a></li><li><a href=\"#drops\">Drops</a></li>\
              <li><a href=\"#workers\">Workers</a></li><li><a href=\"#ports\">Ports</a></li></ul></nav>\n";
}

/// Writes the sums, with their trends.
fn sums(picture: &Picture<'_>, html: &mut String) {
    let Picture { look, history, trends } = picture;
    let rates = &look.stats.rates;
    let lost = drops::lost_per_sec(look, history);
    *html += "<dl class=\"sums\">\n";
    for (of, now, trend) in [
        ("packets/s", Some(rates.packets_per_sec), &trends.packets),
        ("bit/s", Some(rates.bytes_per_sec * 8.0), &trends.bits),
        ("new connections/s", Some(rates.new_connections_per_sec), &trends.new_connections),
        ("packets lost/s", lost, &trends.lost),
    ] {
        let most = trend.most().max(now.unwrap_or_default());
        let now = now.map_or_else(|| "-".to_owned(), rate);
        let _ = writeln!(
            html,
            "<div><dt>{of}</dt><dd>{now}</dd><dd>{}</dd><dd class=\"note\">10 min, at most {}</dd></div>",
            trend.svg(of),
            rate(most)
        );
    }
    let conntrack = &look.stats.conntrack;
    let used = match conntrack.capacity {
        0 => 0.0,
        capacity => conntrack.entries as f64 / capacity as f64,
    };
    let tone = match used {
        _ if used >= 0.95 => Tone::Bad,
        _ if used >= 0.8 => Tone::Warning,
        _ => Tone::Plain,
    };
    let _ = writeln!(
        html,
        "<div><dt>conntrack entries</dt><dd>{}</dd><dd>{}</dd><dd class=\"note\">of {}, {:.1} %</dd></div>",
        conntrack.entries,
        bar(used, tone),
        conntrack.capacity,
        used * 100.0
    );
    let status = &look.status;
    let _ = writeln!(
        html,
        "<div><dt>up</dt><dd>{}</dd><dd class=\"note\">version {}, configuration {}</dd></div>\n</dl>",
        duration(status.uptime_sec),
        Escaped(plain(&status.version)),
        status.configuration_generation
    );
}

/// Draws a share as a bar; the number stands beside it.
fn bar(share: f64, tone: Tone) -> String {
    let percent = share.clamp(0.0, 1.0) * 100.0;
    format!(
        "<svg class=\"bar {}\" viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
         <rect class=\"track\" width=\"100\" height=\"10\"/><rect class=\"part\" width=\"{percent:.1}\" height=\"10\"/></svg>",
        class(tone)
    )
}

const fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Plain => "plain",
        Tone::Strong => "strong",
        Tone::Good => "good",
        Tone::Warning => "warning",
        Tone::Bad => "bad",
    }
}

/// Section of the page with one table.
struct Section<'a> {
    id: &'static str,
    title: &'static str,
    empty: &'static str,
    picture: &'a Picture<'a>,
}

impl Section<'_> {
    fn write(&self, grid: &Grid, html: &mut String) {
        let Self { id, title, empty, .. } = self;
        let _ = writeln!(html, "<section aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">{title}</h2>");
        let (lines, more) = shown(grid);
        if lines.is_empty() {
            let _ = writeln!(html, "<p>{empty}</p>\n</section>");
            return;
        }
        // A region that scrolls must be reached by the keyboard. Cells that are stacked would lose what they are in a table.
        let _ = write!(
            html,
            "<div class=\"scroll\" role=\"region\" aria-labelledby=\"{id}\" tabindex=\"0\">\n\
             <table role=\"table\" aria-labelledby=\"{id}\">\n<thead role=\"rowgroup\"><tr role=\"row\">"
        );
        for (index, column) in grid.columns.iter().enumerate() {
            self.header(column, html);
            if index == 1 && self.has_trends() {
                self.header(&TREND, html);
            }
        }
        *html += "</tr></thead>\n<tbody role=\"rowgroup\">\n";
        for (depth, row) in lines {
            self.row(grid, depth, row, html);
        }
        *html += "</tbody>\n</table>\n</div>\n";
        if more > 0 {
            let _ = writeln!(
                html,
                "<p class=\"more\">{more} more rows, all of them well, are left out: <code>guideway top</code> has all.</p>"
            );
        }
        *html += "</section>\n";
    }

    fn has_trends(&self) -> bool {
        self.id == "services"
    }

    fn header(&self, column: &Column, html: &mut String) {
        let class = if column.is_number { " class=\"number\"" } else { "" };
        let _ = write!(html, "<th scope=\"col\" role=\"columnheader\"{class}>{}</th>", Escaped(column.title));
    }

    fn row(&self, grid: &Grid, depth: usize, row: &Row, html: &mut String) {
        let kind = match depth {
            0 if row.children.is_empty() && !self.has_trends() => "single",
            0 => "parent",
            _ => "child",
        };
        let _ = write!(html, "<tr role=\"row\" class=\"{kind}\" data-key=\"{}\">", Escaped(plain(&row.key)));
        for (index, (column, cell)) in grid.columns.iter().zip(&row.cells).enumerate() {
            match index {
                0 => heading(cell, row, html),
                _ => data(column, cell, index == 1 && self.id != "drops", html),
            }
            if index == 1 && self.has_trends() {
                let trend =
                    row.key.strip_prefix("service ").and_then(|name| self.picture.trends.service(name));
                trend_cell(trend, html);
            }
        }
        *html += "</tr>\n";
    }
}

const TREND: Column = Column::text("10 MINUTES");

/// Lines that are shown, and the number of those that are left out: of more than are shown, only children that are well.
fn shown(grid: &Grid) -> (Vec<(usize, &Row)>, usize) {
    let mut lines = grid.lines();
    let all = lines.len();
    if all > MAX_ROWS {
        let is_well = |row: &Row| row.cells.iter().all(|cell| matches!(cell.tone, Tone::Good | Tone::Plain));
        lines.retain(|(depth, row)| *depth == 0 || !is_well(row));
        // The rest may be too many too.
        lines.truncate(MAX_ROWS);
    }
    let more = all - lines.len();
    (lines, more)
}

/// Writes the name of a row; behind it, when it is opened, sentences about it.
fn heading(cell: &Cell, row: &Row, html: &mut String) {
    let _ = write!(
        html,
        "<th scope=\"row\" role=\"rowheader\"><details><summary>{}</summary><p>{}</p></details></th>",
        Escaped(&cell.text),
        Prose(&row.detail)
    );
}

fn data(column: &Column, cell: &Cell, is_state: bool, html: &mut String) {
    let mut classes = String::from(class(cell.tone));
    for (is, class) in [
        (is_state, " state"),
        (column.is_number, " number"),
        (column.is_bar, " drawn"),
        (cell.text.is_empty(), " none"),
        (!column.is_number && cell.text.chars().count() > LONG, " words"),
    ] {
        classes += if is { class } else { "" };
    }
    let name = Escaped(column.title);
    let _ = write!(html, "<td role=\"cell\" data-column=\"{name}\" class=\"{classes}\">");
    match cell.value {
        Some(share) if column.is_bar => *html += &bar(share, cell.tone),
        _ => {
            let _ = write!(html, "{}", Escaped(&cell.text));
        }
    }
    *html += "</td>";
}

fn trend_cell(trend: Option<&Trend>, html: &mut String) {
    let (class, svg) = match trend {
        Some(trend) => ("drawn", trend.svg("packets/s")),
        None => ("none", String::new()),
    };
    let _ = write!(html, "<td role=\"cell\" data-column=\"{}\" class=\"{class}\">{svg}</td>", TREND.title);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::api::overview::{History, Look, sample};
    use crate::api::status_page::trends::Trends;
    use crate::api::view::{Condition, Rates};

    /// Draws a look, after ten minutes in which the traffic has risen and fallen.
    fn drawn(look: &Look, history: &History) -> String {
        let mut trends = Trends::default();
        let mut before = look.clone();
        for step in 0..120_u32 {
            // Without sines, whose last digits are a matter of the machine.
            let left = f64::from(119 - step);
            let noise = f64::from(step * 7 % 5) * f64::from(step * 3 % 7) / 240.0;
            let share = 1.0 - left * (130.0 - left) / 6_000.0 - if left > 3.0 { noise } else { 0.0 };
            let of = |rates: &mut Rates, now: &Rates| {
                rates.packets_per_sec = now.packets_per_sec * share;
                rates.bytes_per_sec = now.bytes_per_sec * share;
                rates.new_connections_per_sec = now.new_connections_per_sec * (share + 0.1);
            };
            of(&mut before.stats.rates, &look.stats.rates);
            for (service, now) in before.stats.services.iter_mut().zip(&look.stats.services) {
                of(&mut service.arrivals.rates, &now.arrivals.rates);
            }
            trends.add(&before, history);
        }
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_273_900);
        page(&Picture { look, history, trends: &trends }, now)
    }

    #[test]
    fn a_page_of_services_that_fail_and_serve() {
        let (look, history) = sample::followed();
        insta::assert_snapshot!(drawn(&look, &history));
    }

    #[test]
    fn the_condition_comes_first_in_the_words_of_status() {
        let (mut look, history) = sample::followed();
        let line = look.status.condition.line();
        assert!(line.starts_with("DEGRADED: "), "{line}");
        let html = drawn(&look, &history);
        assert!(html.contains(&format!("<h1 class=\"bad\">{line}</h1>")), "{html}");
        assert!(html.contains("<title>DEGRADED · Guideway</title>"), "{html}");
        let never = "<strong>NEVER HEALTHY</strong> firewall: none of 1 backend has passed";
        assert!(html.contains(never), "{html}");
        look.status.condition = Condition::default();
        let html = drawn(&look, &history);
        assert!(html.contains("<h1 class=\"good\">OK</h1>") && html.contains("<title>OK · "), "{html}");
    }

    #[test]
    fn nothing_from_outside_is_markup_or_turns_the_writing() {
        let evil = "\"'><script>alert(1)</script>\u{202e}\x1b[2J&amp;\n";
        let (mut look, history) = sample::followed();
        look.status.condition.degraded = true;
        look.status.condition.reasons = vec![evil.to_owned(); 6];
        look.status.version = evil.to_owned();
        look.status.services[1].name = evil.to_owned();
        look.status.services[1].eligible = 0;
        look.stats.services[0].name = evil.to_owned();
        for backend in look.backends.iter_mut().skip(1) {
            (backend.service, backend.name) = (evil.to_owned(), format!("{evil}{}", backend.address));
            backend.warning = Some(evil.to_owned());
        }
        for rule in look.backends[0].health_check.iter_mut().flat_map(|check| &mut check.rules) {
            rule.last_error = Some(evil.to_owned());
        }
        for port in &mut look.status.ports {
            (port.name, port.device, port.driver) = (evil.to_owned(), evil.to_owned(), evil.to_owned());
        }
        for row in &mut look.drops.drops {
            (row.reason, row.meaning, row.help) = (evil.to_owned(), evil.to_owned(), evil.to_owned());
        }
        let html = drawn(&look, &history);
        assert_eq!(html.matches("<script").count(), 1, "{html}");
        assert!(!html.contains('\u{202e}') && !html.contains('\x1b'), "{html}");
        assert!(html.contains("&quot;&#39;&gt;&lt;script&gt;alert(1)&lt;/script&gt;\\u{202e}"), "{html}");
    }

    #[test]
    fn nothing_is_styled_or_done_inline_which_the_policy_forbids() {
        let (look, history) = sample::followed();
        let html = drawn(&look, &history);
        for forbidden in [" style=", "<style", " onclick", "http://", "https://", "javascript:"] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn of_very_many_backends_those_that_fail_are_shown() {
        let (mut look, history) = sample::followed();
        let (well, failing) = (look.backends[1].clone(), look.backends[0].clone());
        for number in 0..5_000 {
            let mut more = if number % 1_000 == 7 { failing.clone() } else { well.clone() };
            (more.service, more.name) = ("web".to_owned(), format!("more-{number:04}"));
            look.backends.push(more);
        }
        let html = drawn(&look, &history);
        assert!(html.len() < 100_000, "{}", html.len());
        assert_eq!(html.matches("<summary>more-").count(), 5);
        assert!(html.contains("4996 more rows, all of them well, are left out"), "{html}");
        for number in 0..1_000 {
            let mut more = failing.clone();
            (more.service, more.name) = ("web".to_owned(), format!("bad-{number:04}"));
            look.backends.push(more);
        }
        assert!(drawn(&look, &history).matches("<tr ").count() < MAX_ROWS + 30);
    }
}
