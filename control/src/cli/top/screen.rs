//! Screen: draws a model and a session on a terminal's frame.

use guideway::api::overview::{Cell, Column, Grid, Row, Tone};
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell as TableCell, Clear, Paragraph, Row as TableRow, StatefulWidget, Table};
use ratatui::widgets::{TableState, Widget, Wrap};

use super::keys::{Focus, HELP};
use super::model::{Model, View};
use super::session::Session;

/// Lines that the condition may take; and those of a note.
const MAX_LINES: u16 = 3;

/// Lines about the selected row.
const DETAIL_LINES: u16 = 3;

/// Height from which on there is room for lines about the selected row.
const DETAIL_FROM_HEIGHT: u16 = 16;

/// Fewest columns that the first column of a table is squeezed to.
const MIN_NAME: u16 = 12;

/// Mark of the selected row, which is not by colour alone.
const MARK: &str = ">";

const KEYS: &str = "? help  q quit  s sort  r reverse  / filter  d drain  u undrain";

/// Styles of tones, with colours or without.
#[derive(Clone, Copy)]
pub(super) struct Palette {
    pub(super) has_colors: bool,
}

impl Palette {
    fn style(self, tone: Tone) -> Style {
        let (color, modifier) = match tone {
            Tone::Plain => return Style::new(),
            Tone::Strong => (None, Modifier::BOLD),
            Tone::Good => (Some(Color::Green), Modifier::empty()),
            Tone::Warning => (Some(Color::Yellow), Modifier::empty()),
            Tone::Bad => (Some(Color::Red), Modifier::BOLD),
        };
        let style = Style::new().add_modifier(modifier);
        match color.filter(|_| self.has_colors) {
            Some(color) => style.fg(color),
            None => style,
        }
    }
}

/// Draws all: the condition, sums, the view's table, lines about the selected row, and keys or a question.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, session: &Session, palette: Palette) {
    let area = frame.area();
    let (condition, tone) = &model.condition;
    let condition = wrapped(condition, palette.style(*tone));
    let (note, tone) = foot(session);
    let note = wrapped(&note, palette.style(tone));
    let detail = if area.height >= DETAIL_FROM_HEIGHT { DETAIL_LINES } else { 0 };
    let [top, sums, views, tables, about, bottom] = Layout::vertical([
        Constraint::Length(lines_of(&condition, area.width)),
        Constraint::Length(2),
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(detail),
        Constraint::Length(lines_of(&note, area.width)),
    ])
    .areas(area);
    let buffer = frame.buffer_mut();
    condition.render(top, buffer);
    Paragraph::new(model.totals.iter().map(|line| Line::raw(&**line)).collect::<Vec<_>>())
        .render(sums, buffer);
    draw_views(session, views, buffer);
    let rows: Vec<&Row> = model.grids.iter().flat_map(Grid::lines).map(|(_, row)| row).collect();
    let selected = session.selected(&rows);
    draw_grids(&model.grids, selected, palette, tables, buffer);
    if let Some(index) = selected {
        wrapped(&rows[index].detail, Style::new()).render(about, buffer);
    } else {
        let what =
            if session.filter().is_empty() { empty(session.view()) } else { "nothing passes the filter" };
        Line::raw(what).render(about, buffer);
    }
    note.render(bottom, buffer);
    if session.focus() == Focus::Help {
        draw_help(area, buffer);
    }
}

fn wrapped(text: &str, style: Style) -> Paragraph<'_> {
    Paragraph::new(text).style(style).wrap(Wrap { trim: true })
}

/// Lines that a text takes, within bounds.
fn lines_of(paragraph: &Paragraph<'_>, width: u16) -> u16 {
    // Not `Paragraph::line_count`, which is unstable: a text of this few lines is drawn instead.
    let area = Rect::new(0, 0, width.max(1), MAX_LINES);
    let mut buffer = Buffer::empty(area);
    paragraph.render(area, &mut buffer);
    let is_used = |line: &u16| (0..area.width).any(|column| buffer[(column, *line)].symbol() != " ");
    (0..MAX_LINES).rev().find(is_used).map_or(1, |last| last + 1)
}

/// Words of a view that has no rows.
const fn empty(view: View) -> &'static str {
    match view {
        View::Services => "no services are configured",
        View::Drops => "no packet was lost",
        View::Machine => "there are neither workers nor ports",
    }
}

/// Text of the last line: the filter while it is written, a note or question, or the keys.
fn foot(session: &Session) -> (String, Tone) {
    match (session.focus(), session.note()) {
        (Focus::Filter, _) => {
            (format!("filter: {}_   Enter keeps it, Esc clears it", session.filter()), Tone::Strong)
        }
        (_, Some((note, tone))) => (note.to_owned(), tone),
        _ => (KEYS.to_owned(), Tone::Plain),
    }
}

/// Writes the views, the one that is shown in brackets, and its order and filter.
fn draw_views(session: &Session, area: Rect, buffer: &mut Buffer) {
    let mut spans = Vec::new();
    for (index, view) in View::ALL.into_iter().enumerate() {
        let (number, title) = (index + 1, view.title());
        if view == session.view() {
            spans.push(Span::styled(format!("[{number} {title}]"), Modifier::BOLD));
        } else {
            spans.push(Span::raw(format!(" {number} {title} ")));
        }
    }
    spans.push(Span::raw(format!("  sorted {}", session.order())));
    if !session.filter().is_empty() {
        spans.push(Span::styled(format!("  filter: {}", session.filter()), Modifier::BOLD));
    }
    Line::from(spans).render(area, buffer);
}

/// Draws tables one below another; the index is of the selected row among all of them.
fn draw_grids(grids: &[Grid], selected: Option<usize>, palette: Palette, area: Rect, buffer: &mut Buffer) {
    let mut rest = area;
    let mut first = 0;
    for (index, grid) in grids.iter().enumerate() {
        let lines = grid.lines();
        let is_last = index + 1 == grids.len();
        // A part of the screen takes the lines that it needs, and no more than its share of the room that is left.
        let needed = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX);
        let part = rest.height / u16::try_from(grids.len() - index).unwrap_or(1);
        let height = if is_last { rest.height } else { needed.min(part) };
        let here = Rect { height, ..rest };
        rest = Rect { y: rest.y + height, height: rest.height - height, ..rest };
        let mine = selected.and_then(|index| index.checked_sub(first)).filter(|index| *index < lines.len());
        first += lines.len();
        draw_grid(grid, &lines, mine, palette, here, buffer);
    }
}

fn draw_grid(
    grid: &Grid,
    lines: &[(usize, &Row)],
    selected: Option<usize>,
    palette: Palette,
    area: Rect,
    buffer: &mut Buffer,
) {
    let shown: Vec<(usize, &Column)> =
        grid.columns.iter().enumerate().filter(|(_, column)| column.from_width <= area.width).collect();
    let widths = widths(&shown, lines, area.width.saturating_sub(width(MARK)));
    let table_row = |(depth, row): &(usize, &Row)| {
        let cells = shown.iter().zip(&widths).map(|((index, column), width)| {
            let depth = if *index == 0 { *depth } else { 0 };
            table_cell(&row.cells[*index], column, depth, *width, palette)
        });
        TableRow::new(cells.collect::<Vec<_>>())
    };
    let header = shown.iter().map(|(_, column)| aligned(column.title.to_owned(), column));
    let header = TableRow::new(header.collect::<Vec<_>>()).style(Modifier::BOLD | Modifier::UNDERLINED);
    let table = Table::new(lines.iter().map(table_row), widths.iter().copied().map(Constraint::Length))
        .header(header)
        .column_spacing(1)
        .highlight_symbol(MARK)
        .highlight_spacing(ratatui::widgets::HighlightSpacing::Always)
        .row_highlight_style(Modifier::REVERSED);
    let mut state = TableState::new().with_selected(selected);
    StatefulWidget::render(table, area, buffer, &mut state);
}

fn table_cell(
    cell: &Cell,
    column: &Column,
    depth: usize,
    width: u16,
    palette: Palette,
) -> TableCell<'static> {
    aligned(cut(format!("{}{}", "  ".repeat(depth), cell.text), width), column)
        .style(palette.style(cell.tone))
}

/// Text that is no wider than this; `…` stands for what is left out.
fn cut(text: String, room: u16) -> String {
    if width(&text) <= room {
        return text;
    }
    let mut cut = String::new();
    for letter in text.chars() {
        if width(&cut) + width(letter.encode_utf8(&mut [0; 4])) >= room {
            break;
        }
        cut.push(letter);
    }
    cut + "…"
}

fn aligned(text: String, column: &Column) -> TableCell<'static> {
    let line = Line::raw(text);
    TableCell::from(if column.is_number { line.right_aligned() } else { line })
}

/// Widths of columns: what each needs; the first gives way where there is too little room.
fn widths(shown: &[(usize, &Column)], lines: &[(usize, &Row)], room: u16) -> Vec<u16> {
    let needed = |(index, column): &(usize, &Column)| {
        let cells = lines.iter().map(|(depth, row)| {
            let indent = if *index == 0 { 2 * *depth as u16 } else { 0 };
            indent + width(&row.cells[*index].text)
        });
        cells.chain([width(column.title)]).max().unwrap_or_default()
    };
    let mut widths: Vec<u16> = shown.iter().map(needed).collect();
    let gaps = u16::try_from(shown.len().saturating_sub(1)).unwrap_or_default();
    let sum = widths.iter().fold(gaps, |sum, width| sum.saturating_add(*width));
    let mut excess = sum.saturating_sub(room);
    // Words of the last column are in the lines below too: they are cut first.
    let last = widths.len().saturating_sub(1);
    for (index, least) in [(last, MIN_NAME), (0, MIN_NAME)] {
        let is_words = shown.get(index).is_some_and(|(_, column)| !column.is_number);
        if let Some(width) = widths.get_mut(index).filter(|_| is_words) {
            let given = excess.min(width.saturating_sub(least));
            *width -= given;
            excess -= given;
        }
    }
    widths
}

/// Columns of a terminal that a text takes.
fn width(text: &str) -> u16 {
    u16::try_from(Span::raw(text).width()).unwrap_or(u16::MAX)
}

fn draw_help(area: Rect, buffer: &mut Buffer) {
    let lines = HELP.iter().map(|(key, does)| Line::raw(format!(" {key:<11} {does}")));
    let lines: Vec<Line<'_>> = lines.collect();
    let (columns, rows) = (lines.iter().map(Line::width).max().unwrap_or_default() + 3, lines.len() + 2);
    let size = |wanted: usize, room: u16| u16::try_from(wanted).unwrap_or(room).min(room);
    let (columns, rows) = (size(columns, area.width), size(rows, area.height));
    let here = Rect::new((area.width - columns) / 2, (area.height - rows) / 2, columns, rows);
    Clear.render(here, buffer);
    Paragraph::new(lines).block(Block::bordered().title(" Keys ")).render(here, buffer);
}
