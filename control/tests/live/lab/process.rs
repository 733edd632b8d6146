//! A program that a test runs; its output is shown if the test fails.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::patience::within;

/// One running program; it is killed with the value.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    ended: Option<ExitStatus>,
}

/// Exit status and output of a program that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Process {
    /// Starts a program whose output goes to files of a directory.
    pub(crate) fn start(directory: &Path, name: &str, command: Command) -> Self {
        Self::spawn(directory, name, command, None)
    }

    /// Starts a program whose standard error goes elsewhere and cannot be shown.
    pub(crate) fn start_with_stderr(directory: &Path, name: &str, command: Command, stderr: Stdio) -> Self {
        Self::spawn(directory, name, command, Some(stderr))
    }

    fn spawn(directory: &Path, name: &str, mut command: Command, stderr_elsewhere: Option<Stdio>) -> Self {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let file = |stream| directory.join(format!("{name}-{number}.{stream}"));
        let (stdout, stderr) = (file("stdout"), file("stderr"));
        let open = |path| Stdio::from(File::create(path).expect("the directory can be written"));
        command.stdin(Stdio::null()).stdout(open(&stdout));
        command.stderr(stderr_elsewhere.unwrap_or_else(|| open(&stderr)));
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        Self { name: name.to_owned(), child, stdout, stderr, ended: None }
    }

    /// Runs a program to its end.
    pub(crate) fn run(directory: &Path, name: &str, command: Command, patience: Duration) -> Ended {
        Self::start(directory, name, command).finish(patience)
    }

    /// Exit status of the program, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("a child can be waited for");
        }
        self.ended
    }

    /// Waits for the end of the program.
    pub(crate) fn finish(&mut self, patience: Duration) -> Ended {
        let status = within(patience, || self.ended());
        let status = status.unwrap_or_else(|| panic!("{} has not ended in {patience:?}", self.name));
        Ended { status, stdout: read(&self.stdout), stderr: read(&self.stderr) }
    }

    /// Standard error of the program so far.
    pub(crate) fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// Number that the kernel gave the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // A child that nobody has waited for keeps its process id, dead or alive.
        if self.ended.is_none() {
            let _ = kill_process(Pid::from_child(&self.child), signal);
        }
    }

    /// Kills the program, unless it has ended.
    pub(crate) fn kill(&mut self) {
        if self.ended().is_none() {
            self.signal(Signal::KILL);
            self.ended = self.child.wait().ok();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let status = self.ended.map_or_else(|| "?".to_owned(), described);
            eprintln!("---- {} ({status})", self.name);
            eprint!("{}{}", read(&self.stdout), read(&self.stderr));
        }
    }
}

fn described(status: ExitStatus) -> String {
    match status.signal() {
        Some(9) => "killed by the test".to_owned(),
        _ => status.to_string(),
    }
}

fn read(path: &PathBuf) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
