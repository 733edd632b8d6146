//! Rows of `docs/failure-modes.md`: each names a test that exists.

use crate::source::{exists, read};

/// Document whose tables have a test in the last column.
const DOCUMENT: &str = "docs/failure-modes.md";

/// Rows of tables that name no test, or one that is not there.
pub(crate) fn rows_without_a_test() -> Vec<String> {
    let text = read(DOCUMENT);
    let rows: Vec<&str> = rows(&text);
    assert!(!rows.is_empty(), "{DOCUMENT} has rows");
    let fault = |row: &&str| fault_of(row, &|path| exists(path).then(|| read(path)));
    rows.iter().filter_map(fault).collect()
}

/// Rows of all tables, without heads and rules.
fn rows(text: &str) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().collect();
    let is_head = |index: usize| lines.get(index + 1).is_some_and(|next| next.starts_with("|---"));
    let is_row = |index: &usize| lines[*index].starts_with("| ") && !is_head(*index);
    (0..lines.len()).filter(is_row).map(|index| lines[index]).collect()
}

/// Fault of a row, whose last cell is to be a function and its file.
fn fault_of(row: &str, text_of: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let cell = row.trim_end_matches(['|', ' ']).rsplit("| ").next().unwrap_or_default();
    let words: Vec<&str> = cell.split('`').collect();
    let ["", function, " in ", path, ""] = words[..] else {
        return Some(format!("{DOCUMENT}: `function` in `file` is the last cell of every row, not: {cell}"));
    };
    let Some(text) = text_of(path) else { return Some(format!("{DOCUMENT}: {path} is not there")) };
    let declared = format!("fn {function}(");
    let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
    let Some(at) = lines.iter().position(|line| line.contains(&declared)) else {
        return Some(format!("{DOCUMENT}: {path} has no {function}"));
    };
    let mut attributes = lines[..at].iter().rev().take_while(|line| line.starts_with("#["));
    (!attributes.any(|line| line.contains("test")))
        .then(|| format!("{DOCUMENT}: {function} in {path} is no test"))
}

#[test]
fn rows_are_told_from_heads_and_tests_from_functions() {
    let text = "| done | test |\n|---|---|\n| this | `a` in `x.rs` |\n\n| that |\n";
    assert_eq!(rows(text), ["| this | `a` in `x.rs` |", "| that |"]);
    let file = |path: &str| (path == "x.rs").then(|| "#[test]\nfn a() {}\nfn b() {}\n".to_owned());
    assert_eq!(fault_of("| this | `a` in `x.rs` |", &file), None);
    for wrong in [
        "| this |",
        "| this | `a` |",
        "| this | `b` in `x.rs` |",
        "| this | `c` in `x.rs` |",
        "| `a` in `y.rs` |",
    ] {
        assert!(fault_of(wrong, &file).is_some(), "{wrong}");
    }
}
