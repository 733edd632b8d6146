//! An appliance of a lab: `guideway run` in its namespace, and the verbs by which an operator talks to it.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use guideway::api::view::{Backend, BackendList, Event, EventList, Stats, Status};
use rustix::process::{Pid, Signal};
use serde::de::DeserializeOwned;

use super::Lab;
use super::patience::{PATIENCE, within};
use super::process::{Ended, Process};
use super::setup::Setup;

/// Path of the `guideway` binary.
pub(crate) const GUIDEWAY: &str = env!("CARGO_BIN_EXE_guideway");

/// One appliance of a lab; the process is killed with the value.
#[derive(Debug)]
pub(crate) struct Appliance<'l> {
    lab: &'l Lab,
    number: usize,
    /// Words of the command line before the program's own.
    before: Vec<String>,
    socket: PathBuf,
    process: Process,
}

impl<'l> Appliance<'l> {
    /// Starts an appliance, and waits until every backend is healthy.
    pub(crate) fn start(lab: &'l Lab, number: usize, setup: &Setup) -> Self {
        let started = Self::try_start(lab, number, setup);
        started.unwrap_or_else(|ended| panic!("guideway ended ({}): {}", ended.status, ended.stderr))
    }

    /// Starts an appliance like [`Appliance::start`]; fails if the process ends first.
    pub(crate) fn try_start(lab: &'l Lab, number: usize, setup: &Setup) -> Result<Self, Ended> {
        Self::try_start_with(lab, number, &setup.toml(number, &socket(lab, number)))
    }

    /// Starts an appliance of this configuration, and waits until every backend is healthy.
    pub(crate) fn start_with(lab: &'l Lab, number: usize, toml: &str) -> Self {
        let started = Self::try_start_with(lab, number, toml);
        started.unwrap_or_else(|ended| panic!("guideway ended ({}): {}", ended.status, ended.stderr))
    }

    /// Starts an appliance of this configuration by a command whose last words are those of the program, as `env` is one.
    pub(crate) fn start_by(lab: &'l Lab, number: usize, toml: &str, before: Vec<String>) -> Self {
        let started = Self::try_start_by(lab, number, toml, before);
        started.unwrap_or_else(|ended| panic!("guideway ended ({}): {}", ended.status, ended.stderr))
    }

    fn try_start_with(lab: &'l Lab, number: usize, toml: &str) -> Result<Self, Ended> {
        Self::try_start_by(lab, number, toml, Vec::new())
    }

    fn try_start_by(lab: &'l Lab, number: usize, toml: &str, before: Vec<String>) -> Result<Self, Ended> {
        Self::try_start_at(lab, number, toml, before, socket(lab, number))
    }

    /// Starts an appliance of this configuration, whose admin socket is elsewhere than the others'.
    pub(crate) fn start_at(lab: &'l Lab, number: usize, toml: &str, socket: PathBuf) -> Self {
        let started = Self::try_start_at(lab, number, toml, Vec::new(), socket);
        started.unwrap_or_else(|ended| panic!("guideway ended ({}): {}", ended.status, ended.stderr))
    }

    fn try_start_at(
        lab: &'l Lab,
        number: usize,
        toml: &str,
        before: Vec<String>,
        socket: PathBuf,
    ) -> Result<Self, Ended> {
        fs::write(config(lab, number), toml).expect("the lab's directory can be written");
        let process = run(lab, number, &before);
        let mut appliance = Self { lab, number, before, socket, process };
        if appliance.is_ready() { Ok(appliance) } else { Err(appliance.process.finish(Duration::ZERO)) }
    }

    /// Waits until every backend is healthy; false if the process ends first.
    fn is_ready(&mut self) -> bool {
        let ready = within(PATIENCE, || {
            if self.process.ended().is_some() {
                return Some(false);
            }
            let status = self.verb(&["status", "--output", "json"]);
            (status.status.success() && all_healthy(&json(&status.stdout))).then_some(true)
        });
        ready.expect("the appliance answers, and so do its backends to it")
    }

    /// True if every backend is healthy.
    pub(crate) fn is_healthy(&self) -> bool {
        all_healthy(&self.status())
    }

    /// Waits until every backend is healthy.
    pub(crate) fn wait_for_health(&self) {
        within(PATIENCE, || self.is_healthy().then_some(())).expect("every backend answers its probes");
    }

    /// Kills the process, as a power cut would: nothing is withdrawn, nothing is saved.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts the process again, after killing it if it runs.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.process = run(self.lab, self.number, &self.before);
        assert!(self.is_ready(), "guideway ended: {}", self.process.stderr());
    }

    /// Writes another configuration file, which takes effect at the next reload.
    pub(crate) fn configure(&self, setup: &Setup) {
        let toml = setup.toml(self.number, &self.socket());
        fs::write(config(self.lab, self.number), toml).expect("the lab's directory can be written");
    }

    /// Adds a line with an unknown key to the configuration file.
    pub(crate) fn spoil(&self) {
        let path = config(self.lab, self.number);
        let toml = fs::read_to_string(&path).expect("the configuration has been written");
        fs::write(path, toml + "no_such_key = 1\n").expect("the lab's directory can be written");
    }

    /// Writes another configuration file and reloads it.
    pub(crate) fn reload(&self, setup: &Setup) {
        self.configure(setup);
        self.must(&["reload"]);
    }

    /// Sends a signal to the process, as a service manager does.
    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Number that the kernel gave the process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Number of the process that stands guard; none while none stands.
    pub(crate) fn guard(&self) -> Option<Pid> {
        Pid::from_raw(self.status().guard?.pid?.cast_signed())
    }

    /// Waits for the end of the process.
    pub(crate) fn finish(&mut self) -> Ended {
        self.process.finish(PATIENCE)
    }

    /// Log of the process so far.
    pub(crate) fn log(&self) -> String {
        self.process.stderr()
    }

    /// Runs a verb that talks to the appliance.
    pub(crate) fn verb(&self, words: &[&str]) -> Ended {
        let mut command = self.lab.appliance(self.number).command(GUIDEWAY);
        command.args(words).arg("--socket").arg(self.socket());
        Process::run(self.lab.directory(), &format!("guideway-{}", words[0]), command, PATIENCE)
    }

    /// Runs a verb that must succeed; returns its output.
    pub(crate) fn must(&self, words: &[&str]) -> String {
        let Ended { status, stdout, stderr } = self.verb(words);
        assert!(status.success(), "guideway {}: {status}: {stderr}", words.join(" "));
        stdout
    }

    /// Path of the admin socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.socket.clone()
    }

    /// Result of `guideway status`.
    pub(crate) fn status(&self) -> Status {
        json(&self.must(&["status", "--output", "json"]))
    }

    /// Result of `guideway stats`.
    pub(crate) fn stats(&self) -> Stats {
        json(&self.must(&["stats", "--output", "json"]))
    }

    /// All events so far.
    pub(crate) fn events(&self) -> Vec<Event> {
        json::<EventList>(&self.must(&["events", "--limit", "1000", "--output", "json"])).events
    }

    /// Backends of all services.
    pub(crate) fn backends(&self) -> Vec<Backend> {
        json::<BackendList>(&self.must(&["backend", "list", "--output", "json"])).backends
    }
}

impl Drop for Appliance<'_> {
    fn drop(&mut self) {
        if thread::panicking() && self.process.ended().is_none() {
            for verb in ["drops", "stats"] {
                let Ended { stdout, stderr, .. } = self.verb(&[verb]);
                eprintln!("---- guideway {verb} of appliance {}\n{stdout}{stderr}", self.number);
            }
        }
    }
}

fn all_healthy(status: &Status) -> bool {
    status.services.iter().all(|service| service.healthy == service.backends)
}

/// Parses the JSON that a verb prints.
fn json<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn run(lab: &Lab, number: usize, before: &[String]) -> Process {
    let words: Vec<&str> = before.iter().map(String::as_str).chain([GUIDEWAY]).collect();
    let mut command = lab.appliance(number).command(words[0]);
    command.args(&words[1..]).args(["run", "--config"]).arg(config(lab, number));
    Process::start(lab.directory(), &format!("guideway-{number}"), command)
}

/// Path of the configuration of an appliance.
pub(crate) fn config(lab: &Lab, number: usize) -> PathBuf {
    lab.directory().join(format!("guideway-{number}.toml"))
}

/// Path of the admin socket of an appliance.
pub(crate) fn socket(lab: &Lab, number: usize) -> PathBuf {
    lab.directory().join(format!("admin-{number}.sock"))
}
