//! Agreement of everything that describes the command line: help, manual pages, completions, documents, exit statuses.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::help::{self, Help};
use crate::source::read;

/// Documents that may describe an option.
const DOCUMENTS: [&str; 8] = [
    "README.md",
    "docs/admin.md",
    "docs/announcement.md",
    "docs/configuration.md",
    "docs/google-cloud.md",
    "docs/operation.md",
    "docs/replay.md",
    "docs/tutorial.md",
];

/// Verbs without a result that JSON could have: processes, screens, and texts for other programs.
const WITHOUT_JSON: [&str; 5] = ["completions", "man", "run", "schema", "top"];

/// Verb that the program calls itself by, and nobody else does.
const HIDDEN: &str = "guard";

/// Differences between the descriptions of the command line.
pub(crate) fn disagreements() -> Vec<String> {
    let verbs = help::all();
    let mut wrong = manual_pages(&verbs);
    wrong.extend(completions(&verbs));
    wrong.extend(documents(&verbs));
    wrong.extend(statuses(&verbs[0]));
    wrong
}

/// Verbs that show something, and not as JSON.
pub(crate) fn without_json() -> Vec<String> {
    let shows = |help: &Help| !help.is_group() && !WITHOUT_JSON.contains(&&*help.verb);
    let lacks = |help: &Help| {
        let (_, output) = help.text.split_once("--output <").unwrap_or_default();
        let entry = output.split("\n      --").next().unwrap_or_default();
        !(entry.contains("- table:") && entry.contains("- json:"))
    };
    help::all().iter().filter(|help| shows(help) && lacks(help)).map(|help| help.verb.clone()).collect()
}

fn guideway(arguments: &[&str]) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_guideway")).args(arguments).output().expect("the binary runs");
    assert!(output.status.success(), "guideway {arguments:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// Verbs without a page, pages without a verb, and options and exit statuses that a page lacks.
fn manual_pages(verbs: &[Help]) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    guideway(&["man", "--out", folder.path().to_str().expect("a path in UTF-8")]);
    let mut wrong = Vec::new();
    let name = |help: &Help| format!("guideway {}", help.verb).trim().replace(' ', "-") + ".8";
    let expected: BTreeSet<String> = verbs.iter().map(name).collect();
    let entries = fs::read_dir(folder.path()).expect("pages");
    let pages: BTreeSet<String> =
        entries.map(|entry| entry.expect("a page").file_name().into_string().expect("UTF-8")).collect();
    wrong.extend(
        expected.symmetric_difference(&pages).map(|page| format!("{page}: a page or a verb too few")),
    );
    for help in verbs.iter().filter(|help| pages.contains(&name(help))) {
        let page = fs::read_to_string(folder.path().join(name(help))).expect("a page");
        let lacks = |option: &&str| !page.contains(&option.replace('-', "\\-"));
        wrong.extend(
            help.options().into_iter().filter(lacks).map(|option| format!("{}: no {option}", name(help))),
        );
        let (_, statuses) = page.split_once(".SH \"EXIT STATUS\"\n").unwrap_or_default();
        let statuses: Vec<&str> = statuses.split(".TP\n").filter_map(|entry| entry.lines().next()).collect();
        let has_config = help.options().contains(&"--config");
        if !statuses.starts_with(&["", "0", "1", "2"]) && !statuses.starts_with(&["0", "1", "2"]) {
            wrong.push(format!("{}: exit statuses {statuses:?}", name(help)));
        }
        if has_config && !statuses.contains(&"3") {
            wrong.push(format!("{}: status 3 is not told", name(help)));
        }
        if help.options().contains(&"--socket") && !statuses.contains(&"4") {
            wrong.push(format!("{}: status 4 is not told", name(help)));
        }
        if page.contains(".SH EXTRA") {
            wrong.push(format!("{}: a section EXTRA", name(help)));
        }
    }
    wrong
}

/// Verbs and options that a shell does not complete, and hidden ones that it does.
fn completions(verbs: &[Help]) -> Vec<String> {
    let [bash, zsh, fish] = ["bash", "zsh", "fish"].map(|shell| guideway(&["completions", shell]));
    let mut wrong = Vec::new();
    for (shell, script) in [("bash", &bash), ("zsh", &zsh), ("fish", &fish)] {
        let is_word =
            |line: &str| line.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == HIDDEN);
        wrong.extend(
            script.lines().filter(|line| is_word(line)).map(|line| format!("{shell}: {}", line.trim())),
        );
    }
    for help in verbs {
        let words: Vec<&str> = help.verb.split(' ').filter(|word| !word.is_empty()).collect();
        let block = bash_block(&bash, &words);
        for option in help.options() {
            if !block.split([' ', '"']).any(|word| word == option) {
                wrong.push(format!("bash: {} {option}", help.verb));
            }
            if !["[", "=["].iter().any(|end| zsh.contains(&format!("{option}{end}"))) {
                wrong.push(format!("zsh: {} {option}", help.verb));
            }
            let long = format!("-l {}", option.trim_start_matches('-'));
            let is_of = |line: &&str| words.iter().all(|word| line.contains(word)) && line.contains(&long);
            if !fish.lines().any(|line| is_of(&line)) {
                wrong.push(format!("fish: {} {option}", help.verb));
            }
        }
        if let Some(last) = words.last() {
            if !zsh.contains(&format!("({last})")) {
                wrong.push(format!("zsh: {}", help.verb));
            }
            if !fish.contains(&format!("-a \"{last}\"")) {
                wrong.push(format!("fish: {}", help.verb));
            }
        }
    }
    wrong
}

/// List of options that bash offers after these words, of which the script makes one with a mark for each space or dash.
fn bash_block<'s>(script: &'s str, words: &[&str]) -> &'s str {
    let name = [&["guideway"], words].concat().join(" ").replace([' ', '-'], "__subcmd__");
    let (_, block) = script.split_once(&format!("        {name})\n")).unwrap_or_default();
    block.split("opts=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default()
}

/// Options that no document names.
fn documents(verbs: &[Help]) -> Vec<String> {
    let text = DOCUMENTS.map(read).concat();
    let is_named = |option: &str| {
        let ends = |rest: &str| !rest.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '-');
        text.match_indices(option).any(|(at, _)| ends(&text[at + option.len()..]))
    };
    let mut wrong = Vec::new();
    for help in verbs {
        let unnamed = help.options().into_iter().filter(|option| !is_named(option));
        wrong.extend(unnamed.map(|option| format!("no document names {} {option}", help.verb)));
    }
    wrong
}

/// Exit statuses that help, documents and the program do not agree on.
fn statuses(program: &Help) -> Vec<String> {
    let (_, list) = program.text.split_once("\nExit status:\n").unwrap_or_default();
    let told: BTreeSet<&str> = list
        .lines()
        .filter_map(|line| line.trim().split("  ").next())
        .filter(|word| word.len() == 1)
        .collect();
    let manual = read("docs/admin.md");
    let (_, table) = manual.split_once("| status | means |").unwrap_or_default();
    let table = table.split("\n\n").next().unwrap_or_default();
    let documented: BTreeSet<&str> = table
        .lines()
        .filter_map(|row| row.strip_prefix("| ")?.split(' ').next())
        .filter(|word| word.len() == 1)
        .collect();
    let source = read("control/src/cli/exit.rs");
    let (_, numbers) = source.split_once("Self::from(match exit {").unwrap_or_default();
    let numbers: BTreeSet<&str> = numbers
        .lines()
        .filter_map(|line| line.trim().strip_suffix(',')?.rsplit_once("=> "))
        .map(|(_, number)| number)
        .collect();
    let mut wrong = Vec::new();
    if told != numbers || told.is_empty() {
        wrong.push(format!("`--help` tells the statuses {told:?}, and there are {numbers:?}"));
    }
    if documented != numbers {
        wrong.push(format!("docs/admin.md tells the statuses {documented:?}, and there are {numbers:?}"));
    }
    wrong
}
