//! Users of the admin socket: what members of each group may do, as the kernel tells who they are.

#![allow(clippy::unwrap_used)] // A test that cannot set its scene fails there.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::lab::appliance::GUIDEWAY;
use crate::lab::patience::{PATIENCE, within};
use crate::lab::process::{Ended, Process};
use crate::lab::scratch::{Scratch, free_port};

/// Numbers of a user and of groups that no machine has.
const USER: u32 = 61_000;
const WRITERS: u32 = 61_001;
const READERS: u32 = 61_002;

fn config(groups: &str) -> String {
    let metrics_port = free_port();
    format!(
        "[engine]\nworker_cores = [0]\ncontrol_core = 0\nno_huge = true\nmemory_mib = 128\n\
         [conntrack]\nmax_entries = 1024\n\
         [[port]]\nname = \"lan\"\ndevice = \"net_null0\"\n\
         [admin]\nsocket = \"DIRECTORY/admin.sock\"\n{groups}\
         [metrics]\nlisten = \"127.0.0.1:{metrics_port}\"\n"
    )
}

/// Starts an appliance whose folder everybody may enter.
fn start(groups: &str) -> (Process, Scratch) {
    let scratch = Scratch::new(&config(groups));
    fs::set_permissions(scratch.path(), Permissions::from_mode(0o755)).unwrap();
    let process = scratch.start(scratch.run());
    within(PATIENCE, || scratch.socket().exists().then_some(()))
        .unwrap_or_else(|| panic!("{}", process.stderr()));
    (process, scratch)
}

/// Runs a verb as a user of these further groups.
fn ask_as(scratch: &Scratch, groups: &str, words: &[&str]) -> Ended {
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={USER}"), &format!("--regid={USER}"), groups, GUIDEWAY]);
    command.args(words).arg("--socket").arg(scratch.socket());
    Process::run(scratch.path(), "setpriv", command, PATIENCE)
}

#[test]
fn members_of_groups_may_change_or_look_and_others_nothing() {
    let (process, scratch) = start(&format!("write_group = {WRITERS}\nread_group = {READERS}\n"));
    let (writer, reader) = (format!("--groups={WRITERS}"), format!("--groups=7,{READERS}"));
    for (who, verb, refusal) in [
        (&*writer, "status", None),
        (&*writer, "undrain", None),
        (&*reader, "status", None),
        (&*reader, "events", None),
        (&*reader, "undrain", Some("user 61000 may look at the appliance, and change or capture nothing")),
        (&*reader, "reload", Some("be root, or a member of `[admin] write_group`")),
        ("--clear-groups", "status", Some("user 61000 may not ask the appliance")),
        ("--clear-groups", "stop", Some("user 61000 may not ask the appliance")),
    ] {
        let words: &[&str] = if verb == "undrain" { &["undrain", "--appliance"] } else { &[verb] };
        let ended = ask_as(&scratch, who, words);
        assert_eq!(ended.status.success(), refusal.is_none(), "{who} {verb}: {}", ended.stderr);
        assert!(ended.stderr.contains(refusal.unwrap_or_default()), "{who} {verb}: {}", ended.stderr);
    }
    let plan = ask_as(&scratch, &reader, &["reload", "--dry-run"]);
    assert!(plan.stderr.is_empty(), "a plan is a question: {}", plan.stderr);
    assert!(scratch.ask(&["undrain", "--appliance"]).status.success(), "root may");

    let log = process.stderr();
    let audited = |uid: u32, status: u16| {
        let line = |line: &&str| {
            line.contains("kind=\"admin_change\"")
                && line.contains(&format!("uid={uid} "))
                && line.contains("verb=POST object=\"/v1/undrain")
                && line.contains(&format!("status={status}"))
        };
        log.lines().filter(line).count()
    };
    assert_eq!((audited(USER, 200), audited(USER, 403), audited(0, 200)), (1, 1, 1), "{log}");
    assert!(!log.contains("object=\"/v1/status"), "questions are not of the audit: {log}");
}

#[test]
fn without_groups_the_sockets_mode_decides() {
    let (_process, scratch) = start("");
    let refused = ask_as(&scratch, "--clear-groups", &["status"]);
    assert!(!refused.status.success() && refused.stderr.contains("is not for you"), "{}", refused.stderr);
    assert!(ask_as(&scratch, "--groups=0", &["undrain", "--appliance"]).status.success(), "root's group may");
}

#[test]
fn a_group_that_is_not_there_is_named_at_the_start() {
    let scratch = Scratch::new(&config("write_group = \"no-such-group\"\n"));
    let ended = scratch.start(scratch.run()).finish(PATIENCE);
    assert!(!ended.status.success());
    assert!(
        ended.stderr.contains("there is no group `no-such-group`: see `[admin] write_group`"),
        "{}",
        ended.stderr
    );
}

/// Connects as often as it may, asks nothing, and tells again and again how many connections were closed.
const IDLE_CLIENTS: &str = "import select, socket, sys, time\n\
    held = []\n\
    for _ in range(200):\n\
    \x20   one = socket.socket(socket.AF_UNIX)\n\
    \x20   one.connect(sys.argv[1])\n\
    \x20   held.append(one)\n\
    for _ in range(6000):\n\
    \x20   print(len(select.select(held, [], [], 0)[0]), file=sys.stderr, flush=True)\n\
    \x20   time.sleep(0.1)\n";

#[test]
fn idle_clients_keep_out_only_their_like() {
    let (_process, scratch) = start(&format!("write_group = {WRITERS}\nread_group = {READERS}\n"));
    let (writer, reader) = (format!("--groups={WRITERS}"), format!("--groups={READERS}"));
    // Strangers are closed at once, all but a few; others beyond the slots and the queue.
    for (idle, closed) in [("--clear-groups", 196), (&*reader, 200 - (40 + 8 + 40))] {
        let mut command = Command::new("setpriv");
        command.args([&format!("--reuid={USER}"), &format!("--regid={USER}"), idle]);
        command.args(["/usr/bin/python3", "-c", IDLE_CLIENTS]).arg(scratch.socket());
        let clients = scratch.start(command);
        let told = || clients.stderr().lines().last().and_then(|line| line.parse::<usize>().ok());
        let reached = within(PATIENCE, || (told() == Some(closed)).then_some(()));
        assert!(reached.is_some(), "{:?} were closed, and not {closed}", told());
        for who in [&*writer, &*reader].into_iter().filter(|who| *who != idle) {
            let ended = ask_as(&scratch, who, &["status"]);
            assert!(ended.status.success(), "{who} beside {idle}: {}", ended.stderr);
        }
        assert!(scratch.ask(&["status"]).status.success(), "root beside {idle}");
        assert_eq!(told(), Some(closed), "no more are closed for others");
    }
}
