//! Purity: the packet path, the model and the pages of reports take time, randomness and packets as arguments.

use std::collections::BTreeSet;

use crate::source::Source;

/// Names that bring a lock, a thread, a clock, randomness or I/O; paths of the standard library as they are written out in
/// full.
const IMPURE: [&str; 27] = [
    "std::fs",
    "std::io",
    "std::env",
    "std::process",
    "std::thread",
    "thread::",
    "thread_local!",
    "Instant",
    "SystemTime",
    "Mutex",
    "RwLock",
    "Condvar",
    "OnceLock",
    "LazyLock",
    "mpsc",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "tokio",
    "fastrand",
    "getrandom",
    "rustix",
    "libc",
    "println!",
    "eprintln!",
    "dbg!",
];

/// Exceptions, each with its reason.
const ALLOWED: [(&str, &str, &str); 4] = [
    ("dataplane/src/conntrack/memory.rs", "std::io", "the error with which the system refuses memory"),
    ("dataplane/src/conntrack/table.rs", "std::io", "the same error, handed on"),
    (
        "dataplane/src/maglev.rs",
        "OnceLock",
        "the digest of a table, computed where it is asked for, off the packet path",
    ),
    (
        "control/model/src/decision_line.rs",
        "std::io",
        "writes to whatever it is given; the error of that is the trait's",
    ),
];

/// Lines of the pure crates that are not.
pub(crate) fn impurities(sources: &[Source]) -> Vec<String> {
    let pure = ["dataplane/src/", "control/model/src/", "control/report/src/"];
    let mut wrong = Vec::new();
    for source in sources.iter().filter(|source| pure.iter().any(|folder| source.path.starts_with(folder))) {
        let code = ungrouped(&source.code());
        for line in code.lines() {
            let impure = IMPURE.iter().filter(|name| line.contains(**name));
            let is_allowed =
                |name: &str| ALLOWED.iter().any(|(file, what, _)| *file == source.path && *what == name);
            wrong.extend(
                impure
                    .filter(|name| !is_allowed(name))
                    .map(|name| format!("{}: {name}: {}", source.path, line.trim())),
            );
        }
    }
    wrong
}

/// Files that read the date, each with its use. Nothing is decided by it: it may be set at any time, forwards and backwards.
const DATED: [(&str, &str); 13] = [
    ("control/src/announce/hook_task.rs", "since when an address is announced"),
    ("control/src/api/status_page.rs", "date of the page"),
    ("control/src/log/format.rs", "date of a line"),
    ("control/src/run/supervisor.rs", "start of the process"),
    ("control/src/run/supervisor/capture.rs", "date of a notice in a capture"),
    ("control/src/run/supervisor/config_source.rs", "date of the configuration in force"),
    ("control/src/run/supervisor/endpoints_files.rs", "date of the endpoints in force"),
    (
        "control/src/run/supervisor/endpoints_files/watch.rs",
        "age of a file, below which it is read once more",
    ),
    ("control/src/run/supervisor/event_log.rs", "date of an event"),
    ("control/src/run/supervisor/flow_watch.rs", "date of a list of flows"),
    ("control/src/run/supervisor/requests.rs", "date of a setting by hand"),
    ("control/src/run/supervisor/views/backends.rs", "since when a backend is as it is"),
    ("engine/src/tap.rs", "date of a captured packet"),
];

/// Files of the product that read the date and are not listed, and listed ones that do not.
pub(crate) fn readers_of_the_date(sources: &[Source]) -> Vec<String> {
    let is_running =
        |path: &str| ["control/src/", "engine/src/"].iter().any(|folder| path.starts_with(folder));
    let read = sources.iter().filter(|source| is_running(&source.path) && source.is_product());
    let read = read.filter(|source| source.code().contains("SystemTime::now()")).map(|source| &*source.path);
    let read: BTreeSet<&str> = read.collect();
    let listed = DATED.iter().map(|(path, _)| *path).collect();
    let unlisted = read.difference(&listed).map(|path| format!("{path}: reads the date, and is not listed"));
    let idle = listed.difference(&read).map(|path| format!("{path}: is listed, and does not read the date"));
    unlisted.chain(idle).collect()
}

/// Code in which each group `std::{fs, io}` is written as one path a line besides.
fn ungrouped(code: &str) -> String {
    let groups = code.split("use std::{").skip(1).filter_map(|rest| rest.split(';').next());
    let names = groups.flat_map(|group| group.split([',', '{', '}'])).map(str::trim);
    let paths = names.filter(|name| !name.is_empty()).map(|name| format!("use std::{name};\n"));
    format!("{code}\n{}", paths.collect::<String>())
}

#[test]
fn names_in_a_group_are_as_impure_as_by_themselves() {
    let source = |text: &str| Source { path: "dataplane/src/a.rs".to_owned(), text: text.to_owned() };
    let sources =
        [source("use std::{\n    fmt,\n    fs,\n    io::{self, Write},\n};\n"), source("use std::fmt;\n")];
    let found = impurities(&sources);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(impurities(&[source("let drawn = fastrand::u32(..);\n")]).len(), 1);
}
