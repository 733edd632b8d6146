//! The binary as it is typed, and what it prints.

use std::fmt::Write;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::supervisor::PATIENCE;

pub(crate) fn guideway(arguments: &[&str], socket: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_guideway"));
    command.args(arguments).arg("--socket").arg(socket).env("NO_COLOR", "1");
    command
}

pub(crate) fn run(arguments: &[&str], socket: &Path) -> Output {
    let mut command = guideway(arguments, socket);
    ended(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

/// Output of a process, which is not much, once it has ended; one that does not end fails the test.
pub(crate) fn ended(mut child: Child) -> Output {
    let end = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > end {
            child.kill().unwrap();
            panic!("it does not end: {:?}", child.wait_with_output().unwrap());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

/// Runs verb after verb; each with its exit status, where that is not 0, and all that it prints.
pub(crate) fn transcript(verbs: &[&[&str]], socket: &Path) -> String {
    let mut text = String::new();
    for arguments in verbs {
        let output = run(arguments, socket);
        let _ = writeln!(text, "$ guideway {}", arguments.join(" "));
        if let Some(status) = output.status.code().filter(|status| *status != 0) {
            let _ = writeln!(text, "? {status}");
        }
        text += &String::from_utf8_lossy(&output.stdout);
        text += &String::from_utf8_lossy(&output.stderr);
        text.push('\n');
    }
    text.replace(&*socket.to_string_lossy(), "[SOCKET]")
}
