//! Rows of `docs/failure-modes.md`: each is what its test has found, or the test fails.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::toll::Toll;

/// Environment variable by which tests write their rows in place of comparing them.
const RENEW: &str = "GUIDEWAY_RENEW_FLOODS";

/// Tests that write run one at a time here.
static WRITERS: Mutex<()> = Mutex::new(());

/// Compares a flood's row of the document with its toll; `test` is the file and the function that the row names.
pub(crate) fn assert_row(done: &str, toll: &Toll, test: (&str, &str)) {
    toll.assert_bounded();
    let (file, function) = test;
    let named = format!("`{function}` in `control/tests/floods/{file}.rs`");
    let row = format!("| {done} | {} | {} | {} | {named} |", Toll::amount(), toll.lost(), toll.became());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/failure-modes.md");
    let _alone = WRITERS.lock().unwrap_or_else(PoisonError::into_inner);
    let document = fs::read_to_string(&path).unwrap();
    let start = format!("| {done} |");
    let known = document.lines().find(|line| line.starts_with(&start));
    if std::env::var_os(RENEW).is_none() {
        assert_eq!(known, Some(&*row), "{RENEW}=1 renews the row");
        return;
    }
    let (head, rest) = document.split_once(ROWS_BEGIN).expect("the table of floods in memory");
    let (rows, tail) = rest.split_once(ROWS_END).expect("the end of that table");
    let mut rows: Vec<&str> = rows.lines().filter(|known| !known.starts_with(&start)).collect();
    rows.push(&row);
    // Rows of a file stand together.
    rows.sort_by_key(|row| {
        let words: Vec<&str> = row.split('`').rev().collect();
        (words[1], words[3])
    });
    let renewed = format!("{head}{ROWS_BEGIN}{}\n{ROWS_END}{tail}", rows.join("\n"));
    fs::write(&path, renewed).unwrap();
}

/// Lines before the rows of floods in memory; tables of floods elsewhere come later.
const ROWS_BEGIN: &str =
    "\n| done | how much | lost to others | became of it | test |\n|---|---|---|---|---|\n";

/// Line behind the rows of floods in memory.
const ROWS_END: &str = "<!-- floods in memory end here -->";
