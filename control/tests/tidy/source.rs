//! The files of the repository that the rules are about.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders with Rust code of the project.
const FOLDERS: [&str; 5] = ["dataplane", "engine", "control", "bench", "pcap-fixtures"];

/// A file and its text.
#[derive(Debug)]
pub(crate) struct Source {
    /// Path from the top of the repository.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// Text without its unit tests and without comments.
    pub(crate) fn code(&self) -> String {
        // Unit tests that have a file of their own are no code of the product.
        let is_tests = self.path.ends_with("/tests.rs");
        let product = if is_tests { String::new() } else { without_tests(&self.text) };
        let lines = product.lines().filter(|line| !line.trim_start().starts_with("//"));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// True for the code of a crate itself, and not of its tests, examples and benchmarks.
    pub(crate) fn is_product(&self) -> bool {
        self.path.contains("/src/") && !self.path.ends_with("/tests.rs")
    }
}

/// Text without the module of unit tests written in it; `mod name;` of a test's own file cuts nothing.
fn without_tests(text: &str) -> String {
    let Some((before, rest)) = text.split_once("#[cfg(test)]\nmod tests {\n") else { return text.to_owned() };
    let after = rest.split_once("\n}\n").map_or("", |(_, after)| after);
    format!("{before}{after}")
}

/// Top of the repository.
fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Text of a file of the repository.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(top().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// True where the repository has such a file or folder.
pub(crate) fn exists(path: &str) -> bool {
    top().join(path).exists()
}

/// Every Rust file, in order of path.
pub(crate) fn sources() -> Vec<Source> {
    files(|name| name.ends_with(".rs"))
}

/// Every `Cargo.toml` below the top.
pub(crate) fn manifests() -> Vec<Source> {
    files(|name| name == "Cargo.toml")
}

/// Documents at the top and in `docs/`.
pub(crate) fn documents() -> Vec<Source> {
    let mut found = Vec::new();
    for folder in ["", "docs"] {
        let entries = fs::read_dir(top().join(folder)).expect("the repository can be read");
        for entry in entries {
            let name =
                entry.expect("the repository can be read").file_name().into_string().expect("a plain name");
            if name.ends_with(".md") {
                let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                found.push(Source { text: read(&path), path });
            }
        }
    }
    found
}

fn files(is_wanted: impl Fn(&str) -> bool) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = FOLDERS.iter().map(PathBuf::from).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(top().join(&folder)).expect("the repository can be read") {
            let entry = entry.expect("the repository can be read");
            let name = entry.file_name().into_string().expect("a plain name");
            let path = folder.join(&name);
            if entry.file_type().expect("the repository can be read").is_dir() {
                if name != "target" {
                    folders.push(path);
                }
            } else if is_wanted(&name) {
                let path = path.to_str().expect("a plain name").to_owned();
                found.push(Source { text: read(&path), path });
            }
        }
    }
    found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    found
}

#[test]
fn only_unit_tests_and_comments_are_no_code() {
    let text = "use a::B;\n#[cfg(test)]\nmod peer;\n// Why.\nfn f() {}\n#[cfg(test)]\nmod tests {\n    use c::D;\n}\nfn g() {}\n";
    let source = Source { path: String::new(), text: text.to_owned() };
    assert_eq!(source.code(), "use a::B;\n#[cfg(test)]\nmod peer;\nfn f() {}\nfn g() {}");
}
