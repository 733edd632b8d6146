//! First words of what is read alone: on a scrape page, in a list of reasons, in an editor's tooltip. Help lines of verbs
//! and options have the same test beside the command line.

use std::fs;
use std::path::{Path, PathBuf};

use guideway::api::view::{Drops, Stats};

use crate::metrics::scraped;

/// Words that point at a subject instead of naming it.
const BANNED: &str = include_str!("banned_first_words.txt");

/// Rooms of the source whose item docs are looked through.
const ROOMS: [&str; 10] = [
    "announce",
    "announce.rs",
    "api",
    "api.rs",
    "cli",
    "cli.rs",
    "config_file.rs",
    "log.rs",
    "offline",
    "offline.rs",
];

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

fn sources(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            sources(&entry.unwrap().path(), found);
        }
    } else {
        assert_eq!(path.extension().unwrap(), "rs");
        found.push(path.to_owned());
    }
}

/// First lines of the item docs of a source, each with its number.
fn first_lines(source: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = || source.lines().map(str::trim_start);
    let before = std::iter::once("").chain(lines());
    let firsts = before.zip(lines()).enumerate().filter(|(_, (before, _))| !before.starts_with("///"));
    firsts.filter_map(|(index, (_, line))| Some((index + 1, line.strip_prefix("///")?)))
}

#[test]
fn every_item_doc_stands_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    for room in ROOMS {
        sources(&root.join(room), &mut files);
    }
    let mut fragments = Vec::new();
    let mut docs = 0;
    for file in files {
        for (line, text) in first_lines(&fs::read_to_string(&file).unwrap()) {
            docs += 1;
            if !stands_alone(text) {
                fragments.push(format!("{}:{line}:{text}", file.display()));
            }
        }
    }
    assert!(docs > 500, "{docs}");
    assert!(fragments.is_empty(), "name the subject first:\n{}", fragments.join("\n"));
}
