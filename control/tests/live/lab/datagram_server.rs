//! A backend's server of datagrams: one that speaks DNS, and answers `PING` too.

use std::fs;
use std::path::PathBuf;

use super::Lab;
use super::address::{self, DATAGRAMS, Family, Vip};
use super::backend::Backend;
use super::patience::{PATIENCE, within};
use super::process::Process;

/// Debian's Python; PATH may name another one first.
const PYTHON: &str = "/usr/bin/python3";
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/live/lab/datagram_server.py");

/// Server in a namespace, which ends with the value.
#[derive(Debug)]
pub(crate) struct DatagramServer {
    state: PathBuf,
    _python: Process,
}

impl DatagramServer {
    pub(crate) fn start(lab: &Lab, number: usize) -> Self {
        let name = format!("datagrams-{}", Backend::name(number));
        let state = lab.directory().join(format!("{name}.state"));
        write_state(&state, "0");
        let mut command = lab.backend(number).command(PYTHON);
        command.arg(PROGRAM).arg(DATAGRAMS.to_string()).arg(&state);
        for family in Family::BOTH {
            command.arg(address::backend(number, family).to_string());
            command.args(Vip::BOTH.map(|vip| vip.address(family).to_string()));
        }
        let mut python = Process::start(lab.directory(), &name, command);
        let sign = lab.directory().join(format!("{name}.state.up"));
        let up = || match python.ended() {
            Some(status) => panic!("python3 ended ({status}) before it served"),
            None => sign.exists().then_some(()),
        };
        within(PATIENCE, up).expect("the server serves");
        Self { state, _python: python }
    }

    /// Sets the response code of DNS answers, of which 0 alone lets `PONG` answer `PING`; or `silent`.
    pub(crate) fn set_state(&self, state: &str) {
        write_state(&self.state, state);
    }
}

/// Replaces the file with the state at once, so that no answer goes by half of it.
fn write_state(file: &PathBuf, state: &str) {
    let draft = file.with_extension("draft");
    fs::write(&draft, state).expect("the lab's directory can be written");
    fs::rename(&draft, file).expect("the lab's directory can be written");
}
