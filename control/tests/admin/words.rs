//! First words of what is read alone: on a scrape page, in a list of reasons. Help lines of verbs and options have the same
//! test beside the command line, and item docs in the test `tidy`.

use guideway::api::view::{Drops, Stats};

use crate::metrics::scraped;

/// Words that point at a subject instead of naming it.
const BANNED: &str = include_str!("../banned_first_words.txt");

/// True if a text is not empty, and its first word may begin a sentence that is read alone.
fn stands_alone(text: &str) -> bool {
    let first = text.split(|c: char| !c.is_alphanumeric()).find(|word| !word.is_empty());
    first.is_some_and(|first| BANNED.lines().all(|banned| banned != first))
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
fn every_help_of_a_metric_stands_alone() {
    let text = scraped();
    let helps: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# HELP ")).collect();
    let families = text.lines().filter(|line| line.starts_with("# TYPE ")).count();
    assert!(families > 80 && helps.len() == families, "{} of {families}", helps.len());
    for line in helps {
        let (name, help) = line.split_once(' ').unwrap_or((line, ""));
        assert!(stands_alone(help) && help.ends_with('.'), "{name}: {help}");
    }
}

#[test]
fn every_reason_of_a_drop_is_explained_in_sentences_that_stand_alone() {
    for row in Drops::new(&Stats::default()).drops {
        assert!(stands_alone(&row.meaning), "{}: {}", row.reason, row.meaning);
        assert!(stands_alone(&row.help), "{}: {}", row.reason, row.help);
    }
}
