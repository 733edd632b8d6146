//! Documents: the files that they name are there, their links lead somewhere, and each command is run or says why not.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::source::{Source, documents, exists, read};
use crate::unsafe_code::expand;

/// Documents whose `console` blocks the test `cli` runs.
const CONSOLES: [&str; 1] = ["docs/tutorial.md"];

/// First words of commands, by which an indented block of them is found.
const PROGRAMS: [&str; 24] = [
    "apt-get",
    "callgrind_annotate",
    "cargo",
    "curl",
    "docker",
    "dpdk-devbind.py",
    "dpdk-testpmd",
    "echo",
    "ethtool",
    "gcloud",
    "guideway",
    "ip",
    "journalctl",
    "kubectl",
    "ls",
    "mdbook",
    "modprobe",
    "nft",
    "ssh",
    "sudo",
    "sysctl",
    "systemctl",
    "target/release/guideway",
    "uname",
];

/// Names of files and folders in documents that do not exist.
pub(crate) fn lost_paths() -> Vec<String> {
    let tops = ["bench/", "control/", "dataplane/", "docker/", "docs/", "engine/", "pcap-fixtures/", ".ci/"];
    let mut lost = Vec::new();
    for document in documents() {
        // Quoted code, a word at a time: commands name files too.
        let quoted = document.text.split('`').skip(1).step_by(2).flat_map(str::split_whitespace);
        for path in quoted.filter(|word| tops.iter().any(|top| word.starts_with(top))).flat_map(expand) {
            let path = path.trim_end_matches([',', '.', ':', ';', '/']);
            let is_pattern = path.contains(['*', '<', '…']);
            if !is_pattern && !exists(path) {
                lost.push(format!("{}: {path}", document.path));
            }
        }
    }
    lost
}

/// Fenced blocks of commands without a word that says who runs them, and commands without a fence.
pub(crate) fn unmarked_commands() -> Vec<String> {
    let steps = read(".ci/run");
    documents().iter().flat_map(|document| unmarked_in(document, &steps)).collect()
}

fn unmarked_in(document: &Source, ci: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut lines = document.text.lines().enumerate();
    let mut before = "";
    while let Some((index, line)) = lines.next() {
        let fault = if let Some(info) = line.trim_start().strip_prefix("```") {
            let _ = lines.by_ref().find(|(_, line)| line.trim() == "```");
            fault_of(info, &document.path, ci)
        } else {
            let first = line.strip_prefix("    ").and_then(|text| text.split(' ').next()).unwrap_or_default();
            let is_block = before.is_empty() || before.starts_with("    ");
            (is_block && PROGRAMS.contains(&first)).then(|| "a command without a fence".to_owned())
        };
        wrong.extend(fault.map(|fault| format!("{}:{}: {fault}", document.path, index + 1)));
        before = line;
    }
    wrong
}

/// Fault of the words behind a fence, if there is one.
fn fault_of(info: &str, path: &str, ci: &str) -> Option<String> {
    let mut words = info.split_whitespace();
    let language = words.next().unwrap_or_default();
    let marks: Vec<(&str, &str)> = words.filter_map(|word| word.split_once('=')).collect();
    for (key, value) in &marks {
        let known = match *key {
            "backend" | "client" | "appliance" | "booted" | "host" | "bird" | "check" | "file" | "script"
            | "step" => true,
            "not-run" => value.contains('-'),
            "ci" => value.split(',').all(|step| ci.contains(&format!("\nrun_{step}() {{"))),
            _ => false,
        };
        if !known {
            return Some(format!("nobody knows `{key}={value}`"));
        }
    }
    let is_marked = marks.iter().any(|(key, _)| *key != "step" && *key != "file");
    match language {
        "console" if CONSOLES.contains(&path) => None,
        "sh" if is_marked => None,
        "sh" | "bash" | "shell" | "console" | "shell-session" => {
            Some(format!("nobody runs the block `{info}`, and it does not say why not"))
        }
        _ => None,
    }
}

/// Links of documents to files and headings that are not there.
pub(crate) fn lost_links() -> Vec<String> {
    let documents = documents();
    let mut lost = Vec::new();
    for document in &documents {
        let folder = document.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for link in links(&document.text).filter(|link| !link.contains("://")) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { document.path.clone() } else { joined(folder, file) };
            let is_there =
                exists(&target) && (heading.is_empty() || headings(&read(&target)).contains(heading));
            if !is_there {
                lost.push(format!("{}: {link}", document.path));
            }
        }
    }
    lost
}

/// Targets of `[text](target)`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

/// Path from the top of the repository of a file that a document of a folder names.
fn joined(folder: &str, file: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in file.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Names by which links reach the headings of a document, as GitHub and mdBook make them.
fn headings(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter_map(|line| line.strip_prefix('#'));
    let titles = lines.map(|rest| rest.trim_start_matches('#').trim().to_lowercase());
    let kept = |letter: char| letter.is_alphanumeric() || letter == '-' || letter == '_' || letter == ' ';
    titles
        .map(|title| title.chars().filter(|letter| kept(*letter)).collect::<String>().replace(' ', "-"))
        .collect()
}

/// Documents that the index or the book leaves out.
pub(crate) fn left_out_of_the_book() -> Vec<String> {
    assert!(read("book.toml").contains("src = \"docs\""), "the book is made of docs/");
    let mut left_out = Vec::new();
    for contents in ["docs/README.md", "docs/SUMMARY.md"] {
        let text = read(contents);
        let named: BTreeSet<&str> =
            links(&text).map(|link| link.split('#').next().unwrap_or_default()).collect();
        for document in documents() {
            let Some(name) = document.path.strip_prefix("docs/") else { continue };
            if !["README.md", "SUMMARY.md"].contains(&name) && !named.contains(name) {
                left_out.push(format!("{contents}: {name}"));
            }
        }
    }
    left_out
}

/// Settings whose correspondence docs/google-cloud.md does not tell.
pub(crate) fn settings_without_correspondence() -> Vec<String> {
    let schema: Value = serde_json::from_str(&read("control/guideway.schema.json")).expect("it is JSON");
    let tables = schema["definitions"].as_object().or(schema["$defs"].as_object()).expect("it has tables");
    let settings =
        tables.values().filter_map(|table| table["properties"].as_object()).flat_map(|all| all.keys());
    let text = read("docs/google-cloud.md");
    let told: BTreeSet<&str> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .flat_map(|quoted| quoted.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_'))
        .collect();
    settings.filter(|setting| !told.contains(setting.as_str())).cloned().collect()
}

#[test]
fn marks_are_read_as_they_are_meant() {
    let ci = "\nrun_demo() {\n";
    assert_eq!(fault_of("sh backend=l2,gre step=check", "docs/backends.md", ci), None);
    assert_eq!(fault_of("sh ci=demo", "README.md", ci), None);
    assert_eq!(fault_of("toml", "README.md", ci), None);
    assert_eq!(fault_of("console", "docs/tutorial.md", ci), None);
    for wrong in ["sh", "sh step=check", "sh ci=nothing", "sh not-run=later", "sh nobody=knows", "console"] {
        assert!(fault_of(wrong, "README.md", ci).is_some(), "{wrong}");
    }
    let indented = Source { path: "a.md".to_owned(), text: "Text:\n\n    guideway check\n".to_owned() };
    assert_eq!(unmarked_in(&indented, ci), ["a.md:3: a command without a fence"]);
    assert_eq!(joined("docs", "../CHANGELOG.md"), "CHANGELOG.md");
    assert!(
        headings("## `[[route]]`\n### A, b\n").is_superset(&BTreeSet::from(["route".into(), "a-b".into()]))
    );
}
