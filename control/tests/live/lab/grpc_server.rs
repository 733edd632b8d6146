//! A backend's gRPC server: Google's gRPC, by Python, which answers `grpc.health.v1.Health/Check`.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;

use super::Lab;
use super::address::{self, Family, GRPC};
use super::backend::Backend;
use super::patience::{PATIENCE, within};
use super::process::Process;

/// Debian's own, whatever else the path holds: its packages are for this one.
const PYTHON: &str = "/usr/bin/python3";
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/live/lab/grpc_server.py");

/// The service that it knows by name.
pub(crate) const SERVICE: &str = "lab.Web";

#[derive(Debug)]
pub(crate) struct GrpcServer {
    state: PathBuf,
    _python: Process,
}

impl GrpcServer {
    pub(crate) fn start(lab: &Lab, number: usize) -> Self {
        let name = format!("grpc-{}", Backend::name(number));
        let state = lab.directory().join(format!("{name}.state"));
        say(&state, "SERVING");
        let mut command = lab.backend(number).command(PYTHON);
        command.arg(PROGRAM).arg(GRPC.to_string()).arg(&state);
        let mut python = Process::start(lab.directory(), &name, command);
        let own = SocketAddr::new(address::backend(number, Family::V4), GRPC);
        let up = || match python.ended() {
            Some(status) => panic!("python3 ended ({status}) before it served"),
            None => lab.backend(number).inside(|| TcpStream::connect(own)).ok(),
        };
        within(PATIENCE, up).expect("the gRPC server serves");
        Self { state, _python: python }
    }

    /// Has it report a state: `SERVING`, `NOT_SERVING` or `UNKNOWN`.
    pub(crate) fn says(&self, state: &str) {
        say(&self.state, state);
    }
}

/// All at once: no call finds half of it.
fn say(file: &PathBuf, state: &str) {
    let draft = file.with_extension("draft");
    fs::write(&draft, state).expect("the lab's directory can be written");
    fs::rename(&draft, file).expect("the lab's directory can be written");
}
