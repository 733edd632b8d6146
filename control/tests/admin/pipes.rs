//! Verbs whose reader goes away, as `head` does: none panics, and none is killed.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use crate::supervisor::{Appliance, Directory};
use crate::transcript::ended;

/// Verbs that end by themselves, with what they print to standard output or standard error.
const VERBS: &[&[&str]] = &[
    &["--help"],
    &["--version"],
    &["nonsense"],
    &["check", "default.toml"],
    &["check", "tests/cli/bad.toml"],
    &["check", "nowhere.toml"],
    &["check", "--demo", "--output", "json"],
    &["explain", "--demo", "icmp 192.0.2.7 > 203.0.113.10"],
    &["explain", "--config", "nowhere.toml", "icmp 192.0.2.7 > 203.0.113.10"],
    &["ring", "--demo", "--slots"],
    &["ring", "--demo", "--service", "nobody"],
    &["plan", "default.toml", "tests/cli/plan-old.toml"],
    &["plan", "default.toml", "tests/cli/bad.toml"],
    &["replay", "--demo"],
    &["replay", "--demo", "--decisions", "/dev/stdout"],
    &["replay", "--demo", "--events", "tests/cli/wrong.events.toml"],
    &["replay", "--demo", "--pcap", "nowhere.pcap"],
    &["replay", "--demo", "--trace"],
    &["schema"],
    &["schema", "--example"],
    &["completions", "bash"],
    &["man"],
    &["doctor", "--config", "default.toml"],
    &["import", "gcloud", "tests/import/bookshop.json"],
    &["import", "gcloud", "nowhere.json"],
];

/// Verbs of a running appliance, which end by themselves.
const LIVE: &[&[&str]] = &[
    &["status"],
    &["status", "--watch", "1"],
    &["stats"],
    &["top"],
    &["drops", "--all"],
    &["conntrack", "list"],
    &["conntrack", "get", "icmp 192.0.2.7 > 203.0.113.10"],
    &["conntrack", "watch", "--client", "198.51.100.0/24", "--count", "2"],
    &["conntrack", "watch", "--count", "2", "--output", "json"],
    &["backend", "list"],
    &["backend", "list", "--watch", "1", "--output", "json"],
    &["backend", "get", "web", "nobody"],
    &["backend", "drain", "web", "web-2", "--wait", "0"],
    &["vip", "list"],
    &["events"],
    &["events", "--follow"],
    &["capture", "--reason", "drop", "-w", "-", "--count", "3"],
    &["capture", "--backend", "web-1", "--as", "both", "-w", "-", "--count", "3"],
    &["trace", "--count", "2"],
    &["trace", "--backend", "web-1", "--count", "2", "--output", "json"],
    &["explain", "--live", "icmp 192.0.2.7 > 203.0.113.10"],
    &["ring", "--live", "--slots"],
    &["plan", "default.toml"],
    &["reload", "--dry-run"],
    &["reload"],
    &["drain", "--appliance"],
    &["undrain", "--appliance"],
];

/// End of a pipe whose other end is gone.
fn nobody() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

fn check(verb: &[&str], more: &[&str]) {
    for closes_stderr in [false, true] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_guideway"));
        command.args(verb).args(more).stdin(Stdio::null()).stdout(nobody());
        command.stderr(if closes_stderr { nobody() } else { Stdio::piped() });
        let output = ended(command.spawn().unwrap());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("panicked"), "{verb:?}: {said}");
        // 101 is what a panic ends with.
        let code = output.status.code();
        assert!(code.is_some_and(|code| code <= 6), "{verb:?}: {code:?}, {:?}", output.status.signal());
    }
}

#[test]
fn a_reader_that_goes_away_makes_no_verb_panic() {
    VERBS.iter().for_each(|verb| check(verb, &[]));
}

#[test]
fn a_reader_that_goes_away_makes_no_verb_of_the_appliance_panic() {
    let appliance = Appliance::start();
    let socket = appliance.socket();
    let socket = ["--socket", socket.to_str().unwrap()];
    LIVE.iter().for_each(|verb| check(verb, &socket));
    let directory = Directory::new();
    let nobody = directory.path().join("admin.sock");
    for verb in [&["status"][..], &["plan", "default.toml"], &["capture", "--reason", "drop", "-w", "-"]] {
        check(verb, &["--socket", nobody.to_str().unwrap()]);
    }
}
