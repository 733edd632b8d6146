//! Pictures of the screen for the documents: SVG of what is drawn, so that they show what `top` shows.

use std::fmt::Write;
use std::path::Path;

use guideway_report::markup::Escaped;
use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

/// Width of a letter and height of a line.
const LETTER: (f32, f32) = (8.0, 18.0);

/// Margin around the letters.
const MARGIN: f32 = 10.0;

/// Checks a picture of the documents; with `INSTA_UPDATE=always` it is made anew, as snapshots are.
pub(super) fn assert_picture(name: &str, buffer: &Buffer) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/pictures").join(name);
    let svg = svg(buffer);
    if std::env::var("INSTA_UPDATE").as_deref() == Ok("always") {
        std::fs::write(&path, &svg).expect("the documents can be written");
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        known == svg,
        "{} is not what `top` draws: look at it, and use INSTA_UPDATE=always",
        path.display()
    );
}

fn svg(buffer: &Buffer) -> String {
    let (letter, line) = LETTER;
    let size = |count: u16, of: f32| f32::from(count) * of + 2.0 * MARGIN;
    let (width, height) = (size(buffer.area.width, letter), size(buffer.area.height, line));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" font-size=\"13\">\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"6\" fill=\"{GROUND}\"/>\n"
    );
    for row in 0..buffer.area.height {
        let mut column = 0;
        while column < buffer.area.width {
            let first = &buffer[(column, row)];
            let is_alike = |at: &u16| style(&buffer[(*at, row)]) == style(first);
            let end =
                (column..buffer.area.width).take_while(is_alike).last().map_or(column + 1, |last| last + 1);
            let text: String = (column..end).map(|at| buffer[(at, row)].symbol()).collect();
            write_run(&mut svg, &text, (column, row), first);
            column = end;
        }
    }
    svg + "</svg>\n"
}

const GROUND: &str = "#14181d";
const INK: &str = "#d8dee6";

fn style(cell: &Cell) -> (Color, Modifier) {
    (cell.fg, cell.modifier)
}

/// Writes letters of one style.
fn write_run(svg: &mut String, text: &str, (column, row): (u16, u16), cell: &Cell) {
    let (letter, line) = LETTER;
    let is = |modifier| cell.modifier.contains(modifier);
    let width = text.chars().count() as f32 * letter;
    let (x, y) = (f32::from(column) * letter + MARGIN, f32::from(row) * line + MARGIN);
    let color = match cell.fg {
        Color::Green => "#5fcf93",
        Color::Yellow => "#e3b341",
        Color::Red => "#ff8078",
        _ => INK,
    };
    let (ink, ground) = if is(Modifier::REVERSED) { (GROUND, Some(color)) } else { (color, None) };
    if let Some(ground) = ground {
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{line}\" fill=\"{ground}\"/>"
        );
    }
    if text.trim().is_empty() && !is(Modifier::UNDERLINED) {
        return;
    }
    let weight = if is(Modifier::BOLD) { " font-weight=\"bold\"" } else { "" };
    if is(Modifier::UNDERLINED) {
        let below = y + line - 2.5;
        let _ =
            writeln!(svg, "<rect x=\"{x}\" y=\"{below}\" width=\"{width}\" height=\"1\" fill=\"{ink}\"/>");
    }
    let base = y + 13.0;
    // Spaces at the ends would move the letters, as viewers drop them.
    let lead = text.chars().take_while(|letter| *letter == ' ').count();
    let (x, shown) = (x + lead as f32 * letter, text.trim());
    let width = shown.chars().count() as f32 * letter;
    if !shown.is_empty() {
        let _ = writeln!(
            svg,
            "<text x=\"{x}\" y=\"{base}\" fill=\"{ink}\"{weight} textLength=\"{width}\" xml:space=\"preserve\">{}</text>",
            Escaped(shown)
        );
    }
}
