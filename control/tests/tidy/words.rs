//! First words of what is read alone: item docs in an editor's tooltip, HELP on a scrape page, lines of help, reasons in a
//! list. They must name their subject.

use guideway::api::view::{Drops, Stats};

use crate::source::{Source, read};

/// Words that point at a subject instead of naming it.
const BANNED: [&str; 21] = [
    "How", "It", "Its", "Of", "Since", "That", "Their", "Them", "These", "They", "This", "Those", "What",
    "When", "Where", "Whether", "Which", "Who", "Whom", "Whose", "Why",
];

/// A scrape of an appliance that has everything, as the test of the exporter holds it.
const SCRAPE: &str =
    "control/tests/admin/snapshots/admin__metrics__a_scrape_shows_every_counter_and_state.snap";

/// First lines of files and of item docs whose first word points at something, or that are empty.
pub(crate) fn fragments(source: &Source) -> Vec<String> {
    let lines = || source.text.lines().map(str::trim_start);
    let before = std::iter::once("").chain(lines());
    let starts = ["//!", "///"].into_iter().flat_map(|mark| {
        let firsts = before.clone().zip(lines()).enumerate();
        let firsts = firsts.filter(move |(_, (before, _))| !before.starts_with(mark));
        firsts.filter_map(move |(index, (_, line))| Some((index + 1, line.strip_prefix(mark)?)))
    });
    let fragments = starts.filter(|(_, text)| !stands_alone(text));
    fragments.map(|(line, text)| format!("{}:{line}:{text}", source.path)).collect()
}

/// HELP of metrics that points at something, or is no sentence.
pub(crate) fn fragments_of_metrics() -> Vec<String> {
    let scrape = read(SCRAPE);
    let helps: Vec<&str> = scrape.lines().filter_map(|line| line.strip_prefix("# HELP ")).collect();
    let families = scrape.lines().filter(|line| line.starts_with("# TYPE ")).count();
    assert!(families > 80 && helps.len() == families, "{} of {families}", helps.len());
    let wrong = helps.into_iter().filter(|line| {
        let help = line.split_once(' ').map_or("", |(_, help)| help);
        !(stands_alone(help) && help.ends_with('.'))
    });
    wrong.map(str::to_owned).collect()
}

/// Meanings and remedies of dropped packets that point at something.
pub(crate) fn fragments_of_drops() -> Vec<String> {
    let rows = Drops::new(&Stats::default()).drops;
    let texts =
        rows.into_iter().flat_map(|row| [row.meaning, row.help].map(|text| (row.reason.clone(), text)));
    let wrong = texts.filter(|(_, text)| !stands_alone(text));
    wrong.map(|(reason, text)| format!("{reason}: {text}")).collect()
}

/// True if a text is not empty, and its first word may begin a sentence that is read alone.
pub(crate) fn stands_alone(text: &str) -> bool {
    let first = text.split(|letter: char| !letter.is_alphanumeric()).find(|word| !word.is_empty());
    first.is_some_and(|first| !BANNED.contains(&first))
}

#[test]
fn a_pronoun_or_nothing_does_not_stand_alone() {
    assert!(stands_alone("Seconds since the appliance started."));
    assert!(stands_alone("1 if the port's link is up."));
    assert!(stands_alone("`yes` or `no`."));
    for text in ["How long ago that was.", "Its name.", "\"Whether it is.\"", "", " ", "."] {
        assert!(!stands_alone(text), "{text}");
    }
}

#[test]
fn files_items_and_fields_are_looked_at() {
    let text =
        "//! What it is.\n\n/// A thing.\n/// It is.\nstruct S {\n    /// Its name.\n    name: u8,\n}\n";
    let source = Source { path: "a.rs".to_owned(), text: text.to_owned() };
    assert_eq!(fragments(&source), ["a.rs:1: What it is.", "a.rs:6: Its name."]);
}
