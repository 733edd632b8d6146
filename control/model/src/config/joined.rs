//! Joins the files of a configuration: their tables together are one document, whose spans tell the file.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::nesting;
use super::report::Report;
use super::source::{Bases, Text};

/// Key of the main file that names the others.
const INCLUDE: &str = "include";

/// Parses the texts of all files, the main one first, and joins them; [`None`] if one is not TOML, which is reported.
pub(super) fn parse<'t>(texts: &[Text<'t>], report: &mut Report) -> Option<Spanned<DeTable<'t>>> {
    let bases = Bases::of(texts);
    let parsed: Vec<_> =
        texts.iter().enumerate().map(|(i, text)| parse_one(text.text, bases.base(i), report)).collect();
    let mut parsed = parsed.into_iter().collect::<Option<Vec<_>>>()?.into_iter();
    let mut joined = parsed.next().expect("there is a main file");
    for (document, index) in parsed.zip(1..) {
        for (key, value) in shifted_table(document.into_inner(), bases.base(index)) {
            if key.get_ref() == INCLUDE {
                let help = "name these files in the `include` of the main file";
                report.error(&key.span(), "an included file includes others", help);
            } else {
                add(joined.get_mut(), key, value, report);
            }
        }
    }
    Some(joined)
}

fn parse_one<'t>(text: &'t str, base: usize, report: &mut Report) -> Option<Spanned<DeTable<'t>>> {
    if let Some(excess) = nesting::excess(text) {
        let (message, help) = excess.message();
        report.error(&moved(excess.at()..excess.at() + 1, base), message, help);
        return None;
    }
    DeTable::parse(text)
        .map_err(|error| {
            let span = moved(error.span().unwrap_or(0..0), base);
            report.error(
                &span,
                format!("not TOML: {}", error.message()),
                "see https://toml.io for the syntax",
            );
        })
        .ok()
}

/// Adds what an included file says under a key: more elements of a list, or a table that stands nowhere else.
fn add<'t>(
    joined: &mut DeTable<'t>,
    key: Spanned<Cow<'t, str>>,
    value: Spanned<DeValue<'t>>,
    report: &mut Report,
) {
    let name: &str = key.get_ref();
    let Some(first) = joined.get_key_value(name).map(|(first, _)| first.span()) else {
        joined.insert(key, value);
        return;
    };
    let known = joined.get_mut(name).map(Spanned::get_mut);
    let (message, help) = match (known, value.into_inner()) {
        (Some(DeValue::Array(known)), DeValue::Array(more)) => {
            more.into_iter().for_each(|element| known.push(element));
            return;
        }
        (Some(DeValue::Array(_)), DeValue::Table(_)) | (Some(DeValue::Table(_)), DeValue::Array(_)) => (
            format!("`{name}` is a list in one file and a table in another"),
            format!("write `[[{name}]]` in both"),
        ),
        (_, DeValue::Table(_)) => {
            (format!("`[{name}]` stands in two files"), "write all of its keys in one of them".to_owned())
        }
        _ => (format!("`{name}` stands in two files"), "leave it out of one of them".to_owned()),
    };
    report.error_beside(&key.span(), message, help, [(&first, "the first".to_owned())]);
}

fn moved(span: Range<usize>, by: usize) -> Range<usize> {
    span.start + by..span.end + by
}

fn shifted_table<'t>(
    table: DeTable<'t>,
    by: usize,
) -> impl Iterator<Item = (Spanned<Cow<'t, str>>, Spanned<DeValue<'t>>)> {
    table.into_iter().map(move |(key, value)| {
        let span = moved(key.span(), by);
        (Spanned::new(span, key.into_inner()), shifted(value, by))
    })
}

/// A value whose spans begin so many bytes later.
fn shifted(value: Spanned<DeValue<'_>>, by: usize) -> Spanned<DeValue<'_>> {
    let span = moved(value.span(), by);
    let value = match value.into_inner() {
        DeValue::Array(array) => {
            DeValue::Array(array.into_iter().map(|element| shifted(element, by)).collect())
        }
        DeValue::Table(table) => DeValue::Table(shifted_table(table, by).collect()),
        other => other,
    };
    Spanned::new(span, value)
}
