//! Launch of an operator's program by way of this one, so that a start that hangs holds nothing of the appliance.
//!
//! ```text
//!  appliance ── fork, exec ──▶ /proc/self/exe, which does not hang ── exec ──▶ the program, on a file system that may
//!              a copy, for     own memory, no files but 0, 1 and 2,
//!              microseconds    ends with the appliance
//! ```
//!
//! A process that has been forked and waits in exec for a file system is a copy of its parent until that answers: files are closed on
//! exec by a successful exec alone. Such a copy outlives the appliance, and with it listeners, locks, claims on interfaces and devices
//! would. To close files in the copy would not do: its memory maps rings of packet sockets, devices and huge pages, and holds them as
//! long. Exec of the program that runs already gives up memory and files together, and opens nothing that has to come from a disk.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{self, ExitCode, Stdio};
use std::time::Duration;

use nix::unistd::close;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use tokio::process::{Child, Command};

/// Hidden verb of `guideway` that launches a program: the number of the process that asks for it, the program and its arguments.
const VERB: &str = "launch";

/// Status of a launch that has come to no program; its cause is on standard output.
const FAILED: u8 = 127;

/// Bytes that are read of the cause of a failure.
const MAX_CAUSE: u64 = 1_024;

/// Time for which threads that launch programs last without work. A program ends with the thread that has launched it: this is
/// longer than any program may run.
pub(super) const THREADS_LAST: Duration = Duration::from_secs(60);

/// Way to start the programs of hooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Launch {
    /// By way of this program, which is `guideway`.
    ByItself,
    /// Directly, by processes that know no verb, such as tests.
    #[default]
    Directly,
}

impl Launch {
    /// Starts a program whose standard output nobody reads; `set` sets all else. Returns once the program itself has been started,
    /// for which a file system may let the caller wait.
    ///
    /// # Errors
    /// Cause for which the program could not be started.
    pub(super) fn start(self, words: &[String], set: impl FnOnce(&mut Command)) -> io::Result<Child> {
        let Some((program, arguments)) = words.split_first() else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        if self == Self::Directly {
            let mut command = Command::new(program);
            command.args(arguments).stdout(Stdio::null());
            set(&mut command);
            return command.spawn();
        }
        // The file that runs, though a newer one may have its path by now.
        let mut command = Command::new("/proc/self/exe");
        command.arg0("guideway").arg(VERB).arg(process::id().to_string()).args(words);
        let (reports, report) = io::pipe()?;
        command.stdout(report);
        set(&mut command);
        let child = command.spawn()?;
        // The end of the pipe that is written to is the child's alone, so that it closes with the start of the program.
        drop(command);
        let mut cause = String::new();
        let _ = reports.take(MAX_CAUSE).read_to_string(&mut cause);
        if cause.is_empty() { Ok(child) } else { Err(io::Error::other(cause)) }
    }
}

/// Becomes the program that the arguments of this process name, if they are those of a launch; returns where they are not, or where
/// the program cannot be started, which the pipe at standard output is told.
pub fn launch() -> Option<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    if words.next()? != VERB {
        return None;
    }
    close_all_files();
    // Closed by the program's start, which whoever reads hears. Standard output itself is the program's, which nobody reads, by the
    // time that its start fails.
    let Ok(report) = io::stdout().as_fd().try_clone_to_owned() else { return Some(FAILED.into()) };
    let error = become_program(&words.collect::<Vec<_>>());
    let _ = write!(File::from(report), "{error}");
    Some(FAILED.into())
}

/// Becomes the program of these words, which ends with the process that has this number; returns why not.
fn become_program(words: &[OsString]) -> io::Error {
    let [parent, program, arguments @ ..] = words else {
        return io::Error::other("a launch has a number and a program");
    };
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return error.into();
    }
    // A parent that had ended before sends no signal any more.
    let asked_by = parent.to_str().and_then(|number| number.parse().ok()).and_then(Pid::from_raw);
    if asked_by.is_none() || getppid() != asked_by {
        return io::Error::other("whoever has asked for it has ended");
    }
    process::Command::new(program).args(arguments).stdout(Stdio::null()).exec()
}

/// Closes all files but standard input, output and error: one that was just opened may be here without its flag to close on exec.
fn close_all_files() {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return };
    let number = |entry: fs::DirEntry| entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
    let numbers: Vec<_> = entries.flatten().filter_map(number).collect();
    for number in numbers.into_iter().filter(|number| *number > 2) {
        // The directory's own is closed by now.
        let _ = close(number);
    }
}
