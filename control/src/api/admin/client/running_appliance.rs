//! The running appliance as a process that may end: the file of its socket, and its process where it can be seen.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep};

/// Pause between two looks for the appliance's end.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Running appliance, found by its socket before it is told to stop.
pub(super) struct RunningAppliance {
    socket: PathBuf,
    /// File of the socket, which tells it from a later one of the same name.
    file: Option<(u64, u64)>,
    process: Option<Process>,
}

/// Process of the appliance.
struct Process {
    pid: u32,
    /// Readable once the process has ended: pidfd_open(2).
    end: OwnedFd,
}

impl RunningAppliance {
    /// Finds the appliance that listens on `socket`, and its process where that can be waited for.
    pub(super) async fn find(socket: &Path) -> Self {
        let file = file(socket);
        Self { socket: socket.to_owned(), file, process: process(socket).await }
    }

    /// True if the process can be waited for.
    pub(super) fn has_process(&self) -> bool {
        self.process.is_some()
    }

    /// Forgets a process that is not `pid`: another program has the other end of the socket.
    pub(super) fn confirm_pid(&mut self, pid: u32) {
        self.process = self.process.take().filter(|process| process.pid == pid);
    }

    /// Waits until nobody listens any more on the socket that was found, and the process has ended, for no longer
    /// than until `end`; true if that has come.
    pub(super) async fn has_ended_by(&self, end: Instant) -> bool {
        loop {
            let connected = UnixStream::connect(&self.socket).await;
            let gone = connected.is_err_and(|error| {
                matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
            });
            // Another appliance may have started in its place already.
            let gone = gone || file(&self.socket) != self.file;
            if gone && self.process.as_ref().is_none_or(Process::has_ended) {
                return true;
            }
            if Instant::now() >= end {
                return false;
            }
            sleep(LOOK_INTERVAL).await;
        }
    }
}

impl Process {
    fn has_ended(&self) -> bool {
        let mut end = [PollFd::new(&self.end, PollFlags::IN)];
        poll(&mut end, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }
}

/// Device and inode of the socket's file.
fn file(socket: &Path) -> Option<(u64, u64)> {
    let file = std::fs::metadata(socket).ok()?;
    Some((file.dev(), file.ino()))
}

/// Process that listens on the socket, where it can be waited for.
async fn process(socket: &Path) -> Option<Process> {
    let stream = UnixStream::connect(socket).await.ok()?;
    // One of another namespace of processes has no number here.
    let pid = stream.peer_cred().ok()?.pid().filter(|pid| *pid > 0)?;
    let end = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::NONBLOCK).ok()?;
    Some(Process { pid: pid as u32, end })
}
