//! Lines that a live appliance draws around itself: system calls of its workers, and its memory.

#![allow(clippy::unwrap_used)] // A test that cannot set its scene fails there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::lab::patience::{PATIENCE, within};
use crate::lab::process::Process;
use crate::lab::scratch::{Scratch, free_port};

/// Starts an appliance of one worker that receives without end, as root or as another user without capabilities, and
/// waits until it answers.
fn forwarding(engine: &str, user: Option<&str>) -> (Process, Scratch) {
    let scratch = Scratch::new(&format!(
        "[engine]\nworker_cores = [0]\ncontrol_core = 0\nno_huge = true\nmemory_mib = 128\n{engine}\
         [conntrack]\nmax_entries = 1024\n[[port]]\nname = \"lan\"\ndevice = \"net_null0\"\n\
         [admin]\nsocket = \"DIRECTORY/admin.sock\"\n[metrics]\nlisten = \"0.0.0.0:{}\"\n",
        free_port()
    ));
    let run = scratch.run();
    let command = match user {
        None => run,
        Some(user) => {
            // The build's own folder may be closed to others.
            let program = scratch.path().join("program");
            fs::copy(run.get_program(), &program).unwrap();
            Command::new("chown").args(["-R", user]).arg(scratch.path()).status().unwrap();
            let mut command = Command::new("setpriv");
            command.args([&format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups", "--"]);
            command.arg(program).args(run.get_args()).env("XDG_RUNTIME_DIR", scratch.path());
            command
        }
    };
    let mut appliance = scratch.start(command);
    let answers = || scratch.ask(&["status"]).status.success().then_some(());
    within(PATIENCE * 2, answers).unwrap_or_else(|| panic!("{}", appliance.stderr()));
    assert!(appliance.ended().is_none(), "{}", appliance.stderr());
    (appliance, scratch)
}

/// Names of a process's threads, each with the line of its status that begins with `key`.
fn threads(id: u32, key: &str) -> Vec<(String, String)> {
    let tasks = fs::read_dir(format!("/proc/{id}/task")).unwrap();
    let folders: Vec<PathBuf> = tasks.map(|task| task.unwrap().path()).collect();
    let read = |folder: &Path| {
        let name = fs::read_to_string(folder.join("comm")).ok()?;
        let status = fs::read_to_string(folder.join("status")).ok()?;
        let value = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        Some((name.trim().to_owned(), value.trim().to_owned()))
    };
    folders.iter().filter_map(|folder| read(folder)).collect()
}

#[test]
fn workers_and_listeners_alone_are_confined_unless_the_configuration_says_otherwise() {
    for (engine, of_both, promised) in
        [("", "2", "1"), ("confine_workers = false\nconfine_listeners = false\n", "0", "0")]
    {
        let (appliance, _scratch) = forwarding(engine, None);
        let filters = threads(appliance.id(), "Seccomp");
        assert!(filters.iter().any(|(name, _)| name == "worker-0"), "{filters:?}");
        assert!(filters.iter().any(|(name, _)| name == "listeners"), "{filters:?}");
        let is_confined = |name: &str| name == "listeners" || name.starts_with("worker-");
        for (name, filter) in filters {
            assert_eq!(filter, if is_confined(&name) { of_both } else { "0" }, "{name}");
        }
        for (name, capabilities) in threads(appliance.id(), "CapEff") {
            let has_none = u64::from_str_radix(&capabilities, 16).unwrap() == 0;
            assert_eq!(has_none, name == "listeners" && promised == "1", "{name}: {capabilities}");
        }
        // The kernel shows no domain of Landlock, but the promise that comes with one.
        let promises = threads(appliance.id(), "NoNewPrivs");
        for (name, promise) in promises {
            assert_eq!(promise, if is_confined(&name) { promised } else { "0" }, "{name}");
        }
        let log = appliance.stderr();
        assert!(!log.contains("listeners may") && !log.contains("listeners keep"), "{log}");
        assert!(log.contains("`[metrics] listen` is 0.0.0.0:"), "an exposure is told of at the start: {log}");
    }
}

#[test]
fn the_user_that_the_process_runs_as_reads_none_of_its_memory() {
    let user = "65534";
    let (appliance, scratch) = forwarding("", Some(user));
    let read = |id: u32| {
        let mut command = Command::new("setpriv");
        command.args([&format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups", "--"]);
        command.args(["head", "-c", "1", &format!("/proc/{id}/maps")]);
        Process::run(scratch.path(), "head", command, PATIENCE)
    };
    let refused = read(appliance.id());
    assert!(!refused.status.success() && refused.stderr.contains("Permission denied"), "{}", refused.stderr);

    let mut sleep = Command::new("setpriv");
    sleep.args([
        &format!("--reuid={user}"),
        &format!("--regid={user}"),
        "--clear-groups",
        "--",
        "sleep",
        "60",
    ]);
    let sleep = scratch.start(sleep);
    let shown = || read(sleep.id()).status.success().then_some(());
    assert!(within(PATIENCE, shown).is_some(), "a process that can be dumped shows its own user this file");
}
