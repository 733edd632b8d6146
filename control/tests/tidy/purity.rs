//! Purity: the packet path and the model take time, randomness and packets as arguments.

use crate::source::Source;

/// Paths that bring a lock, a thread, a clock or I/O.
const IMPURE: [&str; 18] = [
    "std::fs",
    "std::io",
    "std::env",
    "std::process",
    "std::thread",
    "Instant",
    "SystemTime",
    "Mutex",
    "RwLock",
    "Condvar",
    "mpsc",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "tokio",
    "println!",
    "eprintln!",
];

/// Exceptions, each with its reason.
const ALLOWED: [(&str, &str, &str); 3] = [
    ("dataplane/src/conntrack/memory.rs", "std::io", "the error with which the system refuses memory"),
    ("dataplane/src/conntrack/table.rs", "std::io", "the same error, handed on"),
    (
        "control/model/src/decision_line.rs",
        "std::io",
        "writes to whatever it is given; the error of that is the trait's",
    ),
];

/// Lines of the pure crates that are not.
pub(crate) fn impurities(sources: &[Source]) -> Vec<String> {
    let pure = ["dataplane/src/", "control/model/src/"];
    let mut wrong = Vec::new();
    for source in sources.iter().filter(|source| pure.iter().any(|folder| source.path.starts_with(folder))) {
        for line in source.code().lines() {
            let impure = IMPURE.iter().filter(|path| line.contains(**path));
            let is_allowed =
                |path: &str| ALLOWED.iter().any(|(file, what, _)| *file == source.path && *what == path);
            wrong.extend(
                impure
                    .filter(|path| !is_allowed(path))
                    .map(|path| format!("{}: {path}: {}", source.path, line.trim())),
            );
        }
    }
    wrong
}
