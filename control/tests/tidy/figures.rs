//! Figures of `docs/failure-modes.md`: one with the name of a constant behind it, as in ``24 connections (`CONVERSATIONS`)``, is
//! that constant of the test in its row.

use crate::source::{Source, read};

const DOCUMENT: &str = "docs/failure-modes.md";

/// Figures that are not their constant's, and constants that their test does not have.
pub(crate) fn wrong(sources: &[Source]) -> Vec<String> {
    let text = read(DOCUMENT);
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| ")).collect();
    let figures: Vec<_> =
        rows.iter().flat_map(|row| figures(row).map(move |figure| (*row, figure))).collect();
    assert!(figures.len() > 20, "{DOCUMENT} has figures: {}", figures.len());
    figures.into_iter().filter_map(|(row, figure)| fault(sources, row, figure)).collect()
}

/// Rows whose second cell, which says how much was done, has a number in words: these are compared with nothing.
pub(crate) fn in_words() -> Vec<String> {
    let text = read(DOCUMENT);
    let rows = text.lines().filter(|line| line.starts_with("| "));
    rows.filter_map(number_in_words).map(|cell| format!("{DOCUMENT}: \"{}\"", cell.trim())).collect()
}

/// Second cell of a row with four or more, where it has a number in words.
fn number_in_words(row: &str) -> Option<&str> {
    const WORDS: &str =
        "one two three four five six seven eight nine ten eleven twelve twenty hundred thousand";
    let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
    let [_, cell, _, _, ..] = cells[..] else { return None };
    let mut words = cell.split(|letter: char| !letter.is_ascii_alphabetic());
    words.any(|word| WORDS.split(' ').any(|number| number == word)).then_some(cell)
}

/// Figures of a row: the number, and the name of its constant.
fn figures(row: &str) -> impl Iterator<Item = (&str, &str)> {
    row.match_indices("(`").filter_map(|(at, opening)| {
        let name = row[at + opening.len()..].split_once("`)")?.0;
        let is_constant = name.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_');
        let mut numbers = row[..at].split(|letter: char| !(letter.is_ascii_digit() || letter == ','));
        let number = numbers.rfind(|word| word.starts_with(|first: char| first.is_ascii_digit()));
        is_constant.then(|| (number.unwrap_or_default(), name))
    })
}

fn fault(sources: &[Source], row: &str, (number, name): (&str, &str)) -> Option<String> {
    // The last cell names the test's file; parts of it are in a folder of its name.
    let file = row.rsplit('`').nth(1)?;
    let folder = format!("{}/", file.trim_end_matches(".rs"));
    let of_test = sources.iter().filter(|source| source.path == file || source.path.starts_with(&folder));
    let declared = format!("const {name}: ");
    let values: Vec<String> = of_test
        .flat_map(|source| source.text.lines())
        .filter_map(|line| line.trim_start().strip_prefix(&declared)?.split_once(" = "))
        .map(|(_, value)| value.trim_end_matches(';').replace('_', ""))
        .collect();
    (!values.contains(&number.replace(',', "")))
        .then(|| format!("{DOCUMENT}: {number} ({name}) is {values:?} in {file}"))
}

#[test]
fn a_number_in_words_is_found_where_a_row_says_how_much() {
    assert_eq!(
        number_in_words("| it is killed | after two kills | nothing | `t` in `x.rs` |"),
        Some("after two kills")
    );
    for right in [
        "| two are killed | 5 kills | one connection | `t` in `x.rs` |",
        "| it stood | someone's frames | nothing | `t` in `x.rs` |",
        "| of two starts | one did | `t` in `x.rs` |",
    ] {
        assert_eq!(number_in_words(right), None, "{right}");
    }
}

#[test]
fn a_figure_is_compared_with_the_constant_of_its_test() {
    let source = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    let sources =
        [source("a/x.rs", "const SIGNALS: usize = 20_000;\n"), source("a/x/y.rs", "const KEPT: u64 = 3;\n")];
    let of = |row: &str| figures(row).filter_map(|figure| fault(&sources, row, figure)).count();
    assert_eq!(of("| 20,000 signals (`SIGNALS`), 3 kept (`KEPT`) | `t` in `a/x.rs` |"), 0);
    assert_eq!(
        of("| 2,000 signals (`SIGNALS`), 4 kept (`KEPT`), 5 of a word (`lost`) | `t` in `a/x.rs` |"),
        2
    );
    assert_eq!(of("| 3 kept (`GONE`) | `t` in `a/x.rs` |"), 1);
}
