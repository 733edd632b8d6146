//! `guideway top` in a pseudo terminal, before the appliance that plays a script; the terminal is script(1)'s.

use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::supervisor::{Appliance, Directory, PATIENCE, block_on};
use crate::transcript::{guideway, run};

/// Sequences that bring up the other screen and give the first back.
const ENTERED: &str = "\x1b[?1049h";
const LEFT: &str = "\x1b[?1049l";

/// Sequence that makes letters red.
const RED: &str = "\x1b[38;5;1";

/// Verb in a terminal of 80 columns and 24 lines. Once it has ended, the terminal's settings are printed.
struct Session {
    script: Child,
    keys: ChildStdin,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Session {
    fn start(socket: &Path, no_color: &str) -> Self {
        let (program, socket) = (env!("CARGO_BIN_EXE_guideway"), socket.display());
        let top = format!("echo pid $$ is it; exec {program} top --socket {socket}");
        let all = format!("stty cols 80 rows 24; sh -c '{top}'; ended=$?; stty -a; exit $ended");
        let mut command = Command::new("script");
        command.args(["--quiet", "--flush", "--return", "--command", &all, "/dev/null"]);
        command.env("TERM", "xterm-256color").env("SHELL", "/bin/sh").env("NO_COLOR", no_color);
        let mut script = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (keys, mut output) = (script.stdin.take().unwrap(), script.stdout.take().unwrap());
        let shown = Arc::new(Mutex::new(Vec::new()));
        let reads = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(len @ 1..) = output.read(&mut bytes) {
                reads.lock().unwrap().extend_from_slice(&bytes[..len]);
            }
        });
        Self { script, keys, shown }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    /// Waits until these words were drawn; of a line that was there before, the letters that differ are drawn alone.
    fn wait_for(&self, words: &str) {
        self.wait_until(words, || self.text().contains(words));
    }

    fn wait_until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < end, "{what}: {:?}", self.text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for the end, and checks that the terminal is as it was.
    fn ends_well(mut self) {
        let end = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.script.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < end, "it does not end: {:?}", self.text());
            std::thread::sleep(Duration::from_millis(20));
        };
        self.wait_for("min = 1");
        let text = self.text();
        assert!(status.success(), "{status}: {text:?}");
        let (_, after) = text.split_once(ENTERED).unwrap().1.split_once(LEFT).unwrap();
        assert!(after.contains(" icanon ") && after.contains(" echo "), "{after:?}");
        assert!(text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l"), "{text:?}");
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The terminal goes, and the program in it is told to end.
        let _ = self.script.kill();
    }
}

#[test]
fn a_screen_follows_the_appliance_drains_a_backend_and_gives_the_terminal_back() {
    let appliance = Appliance::start();
    let mut session = Session::start(&appliance.socket(), "");
    session.wait_for("NEVER HEALTHY");
    session.press("3");
    session.wait_for("STALLED");
    session.press("1jjjd");
    session.wait_for("y/n");
    let is_drained = || block_on(appliance.client().backend_get("web", "web-1")).unwrap().operator_drained;
    assert!(!is_drained());
    session.press("y");
    session.wait_until("drained", is_drained);
    session.wait_for("remain");
    assert!(session.text().contains(RED));
    session.press("q");
    session.ends_well();
}

#[test]
fn a_lost_appliance_is_said_and_found_again_and_a_signal_gives_the_terminal_back() {
    let directory = Directory::new();
    let socket = directory.path().join("link");
    let first = Appliance::start();
    symlink(first.socket(), &socket).unwrap();
    let session = Session::start(&socket, "1");
    session.wait_for("DEGRADED");
    drop(first);
    session.wait_for("NO ANSWER");
    let before = session.text().len();
    let second = Appliance::start();
    std::fs::remove_file(&socket).unwrap();
    symlink(second.socket(), &socket).unwrap();
    session.wait_until("found again", || session.text()[before..].contains("DEGRADED"));
    let text = session.text();
    assert!(!text.contains(RED), "{text:?}");
    let pid = text.split_once("pid ").unwrap().1.split(' ').next().unwrap();
    assert!(Command::new("kill").args(["-TERM", pid]).status().unwrap().success());
    session.ends_well();
}

#[test]
fn without_a_terminal_another_way_is_named() {
    let directory = Directory::new();
    let output = run(&["top"], &directory.path().join("admin.sock"));
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("standard output is no terminal") && said.contains("--watch SECONDS"), "{said}");
    // The interval has bounds.
    let output = guideway(&["top", "--interval", "0"], directory.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
