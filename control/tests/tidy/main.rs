//! The rules of the house, held by a test: where imports point, what is pure, where unsafe code is, how files and
//! words look. `CONTRIBUTING.md` says why each rule is there.

mod agreement;
mod documents;
mod failure_modes;
mod figures;
mod help;
mod imports;
mod modules;
mod purity;
mod source;
mod unsafe_code;
mod words;

use source::{Source, manifests, sources};

/// Lines after which a file has most likely outgrown its noun.
const MAX_LINES: usize = 600;

/// Words that mark work left undone. Put together here, so that this file is not among those that have them.
const OWED: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("#[ig", "nore"),
    concat!("#[pa", "th"),
];

/// Fails with all that is wrong, a line each.
fn assert_none(rule: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{rule}:\n{}", wrong.join("\n"));
}

fn lines_with(source: &Source, words: &[&str]) -> Vec<String> {
    let lines = source.text.lines().enumerate();
    let wrong = lines.filter(|(_, line)| words.iter().any(|word| line.contains(word)));
    wrong.map(|(index, line)| format!("{}:{}: {}", source.path, index + 1, line.trim())).collect()
}

#[test]
fn a_file_is_no_longer_than_its_noun() {
    let long = sources().into_iter().filter_map(|source| {
        let lines = source.text.lines().count();
        (lines > MAX_LINES).then(|| format!("{}: {lines} lines", source.path))
    });
    assert_none("Files past 600 lines hold more than one noun: split them", &long.collect::<Vec<_>>());
}

#[test]
fn the_first_line_of_a_file_says_what_it_is() {
    let silent = sources().into_iter().filter(|source| !source.text.starts_with("//! "));
    let silent: Vec<String> = silent.map(|source| source.path).collect();
    assert_none("A file begins with `//! ` and what it is", &silent);
}

#[test]
fn nothing_is_left_undone_skipped_or_included_by_path() {
    let wrong: Vec<String> = sources().iter().flat_map(|source| lines_with(source, &OWED)).collect();
    assert_none("Finish it, or leave it out; modules of a test lie in its folder", &wrong);
}

#[test]
fn dependencies_of_crates_point_one_way() {
    assert_none("A crate below must not know the crates above", &imports::wrong_dependencies(&manifests()));
}

#[test]
fn crates_below_the_control_thread_compile_without_its_dependencies() {
    assert_none("The web and TLS belong to the control thread alone", &imports::heavy_dependencies());
}

#[test]
fn rooms_of_control_import_only_what_is_below_them() {
    assert_none("A room imports what the table in imports.rs allows", &imports::wrong_rooms(&sources()));
}

#[test]
fn the_model_takes_no_more_of_the_engine_than_how_devices_are_written() {
    assert_none("The model uses `driver::device` alone", &imports::engine_in_model(&sources()));
}

#[test]
fn modules_do_not_import_each_other_in_circles() {
    assert_none("Modules side by side import each other one way", &modules::circles(&sources()));
}

#[test]
fn the_packet_path_and_the_model_are_pure() {
    assert_none("No lock, thread, clock or I/O here: they are arguments", &purity::impurities(&sources()));
}

#[test]
fn nothing_is_decided_by_the_date() {
    assert_none(
        "A date can be set: durations are of the clock that cannot, and who reads the date is listed",
        &purity::readers_of_the_date(&sources()),
    );
}

#[test]
fn the_readme_lists_the_modules_with_unsafe_code() {
    let readme = source::read("README.md");
    let (allowed, listed) = (unsafe_code::allowed(&sources(), &manifests()), unsafe_code::listed(&readme));
    assert_eq!(allowed, listed, "modules that allow unsafe code, and those that the README lists");
}

#[test]
fn the_first_words_of_documentation_stand_alone() {
    let wrong: Vec<String> = sources().iter().flat_map(words::fragments).collect();
    assert_none("A file's first line and an item's documentation name their subject", &wrong);
}

#[test]
fn the_help_of_metrics_stands_alone() {
    assert_none("The HELP of a metric is a sentence that names its subject", &words::fragments_of_metrics());
}

#[test]
fn the_reasons_of_drops_stand_alone() {
    assert_none("The meaning and the remedy of a drop name their subject", &words::fragments_of_drops());
}

#[test]
fn lines_of_help_stand_alone() {
    assert_none("A line of help begins with its subject or its verb", &help::fragments());
}

#[test]
fn every_verb_is_in_a_manual() {
    assert_none("A manual describes each verb", &help::undocumented());
}

#[test]
fn manual_pages_completions_documents_and_help_agree() {
    assert_none(
        "Whatever describes a verb knows it, its options and its statuses",
        &agreement::disagreements(),
    );
}

#[test]
fn every_verb_that_shows_something_shows_it_as_json_too() {
    assert_none("A verb takes `--output`, or has nothing to show", &agreement::without_json());
}

#[test]
fn paths_in_documents_exist() {
    assert_none("A document names a file that is not there", &documents::lost_paths());
}

#[test]
fn every_command_in_a_document_is_run_or_says_why_not() {
    assert_none("CONTRIBUTING.md has the words for a block of commands", &documents::unmarked_commands());
}

#[test]
fn every_failure_mode_has_its_test() {
    assert_none("A row names a test that is there", &failure_modes::rows_without_a_test());
}

#[test]
fn figures_of_faults_are_those_of_their_tests() {
    assert_none("A figure of docs/failure-modes.md is its test's constant", &figures::wrong(&sources()));
    assert_none("A row of docs/failure-modes.md says how much in digits", &figures::in_words());
}

#[test]
fn links_in_documents_lead_somewhere() {
    assert_none("A document links to what is not there", &documents::lost_links());
}

#[test]
fn the_index_and_the_book_have_every_document() {
    assert_none("A document is in the index and in the book", &documents::left_out_of_the_book());
}

#[test]
fn every_setting_has_its_correspondence_to_google_cloud() {
    assert_none(
        "docs/google-cloud.md names each setting, with its field or as ours",
        &documents::settings_without_correspondence(),
    );
}
