//! A directory for an appliance without a network: configuration, admin socket, log.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::appliance::GUIDEWAY;
use super::namespace::prefix;
use super::patience::PATIENCE;
use super::process::{Ended, Process};

/// A directory of one test's own; it is removed with the value.
#[derive(Debug)]
pub(crate) struct Scratch {
    directory: TempDir,
}

impl Scratch {
    /// Makes a directory with a configuration file; `DIRECTORY` in its text becomes the directory's path.
    pub(crate) fn new(config: &str) -> Self {
        let directory = TempDir::with_prefix(prefix()).expect("there is a directory for such");
        let scratch = Self { directory };
        let text = config.replace("DIRECTORY", &scratch.path().to_string_lossy());
        fs::write(scratch.config(), text).expect("the directory can be written");
        scratch
    }

    /// Path of the directory.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Path of the configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.path().join("guideway.toml")
    }

    /// Path of the admin socket, which configurations have at `DIRECTORY/admin.sock`.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path().join("admin.sock")
    }

    /// Command that runs an appliance under the configuration.
    pub(crate) fn run(&self) -> Command {
        let mut command = Command::new(GUIDEWAY);
        command.args(["run", "--config"]).arg(self.config());
        command
    }

    /// Starts an appliance whose log goes into the directory.
    pub(crate) fn start(&self, command: Command) -> Process {
        Process::start(self.path(), "guideway", command)
    }

    /// Starts an appliance whose log goes into a pipe.
    pub(crate) fn start_with_log(&self, command: Command, log: io::PipeWriter) -> Process {
        Process::start_with_stderr(self.path(), "guideway", command, Stdio::from(log))
    }

    /// Runs a verb to its end.
    pub(crate) fn verb(&self, words: &[&str]) -> Ended {
        let mut command = Command::new(GUIDEWAY);
        command.args(words);
        Process::run(self.path(), &format!("guideway-{}", words[0]), command, PATIENCE)
    }

    /// Runs a verb that talks to the appliance.
    pub(crate) fn ask(&self, words: &[&str]) -> Ended {
        let socket = self.socket();
        self.verb(&[words, &["--socket", &socket.to_string_lossy()]].concat())
    }
}

/// Finds a TCP port of the loopback that is free.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
    listener.local_addr().expect("a listener has an address").port()
}
