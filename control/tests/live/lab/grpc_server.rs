//! A backend's gRPC server: Google's gRPC for Python, which answers `grpc.health.v1.Health/Check`.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;

use super::Lab;
use super::address::{self, Family, GRPC};
use super::backend::Backend;
use super::patience::{PATIENCE, within};
use super::process::Process;

/// Debian's Python, as Debian's packages are for it; PATH may name another one first.
const PYTHON: &str = "/usr/bin/python3";
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/live/lab/grpc_server.py");

/// Name of a service that the server knows.
pub(crate) const SERVICE: &str = "lab.Web";

/// One gRPC server; it ends with the value.
#[derive(Debug)]
pub(crate) struct GrpcServer {
    state: PathBuf,
    _python: Process,
}

impl GrpcServer {
    pub(crate) fn start(lab: &Lab, number: usize) -> Self {
        Self::start_with(lab, number, &[])
    }

    /// A server that speaks TLS alone, with the web servers' certificate.
    pub(crate) fn start_with_tls(lab: &Lab, number: usize) -> Self {
        Self::start_with(lab, number, &["certificate.pem", "key.pem"].map(|file| lab.directory().join(file)))
    }

    fn start_with(lab: &Lab, number: usize, certificate: &[PathBuf]) -> Self {
        let name = format!("grpc-{}", Backend::name(number));
        let state = lab.directory().join(format!("{name}.state"));
        write_state(&state, "SERVING");
        let mut command = lab.backend(number).command(PYTHON);
        command.arg(PROGRAM).arg(GRPC.to_string()).arg(&state).args(certificate);
        let mut python = Process::start(lab.directory(), &name, command);
        let own = SocketAddr::new(address::backend(number, Family::V4), GRPC);
        let up = || match python.ended() {
            Some(status) => panic!("python3 ended ({status}) before it served"),
            None => lab.backend(number).inside(|| TcpStream::connect(own)).ok(),
        };
        within(PATIENCE, up).expect("the gRPC server serves");
        Self { state, _python: python }
    }

    /// Sets the state that the server reports: `SERVING`, `NOT_SERVING` or `UNKNOWN`.
    pub(crate) fn set_state(&self, state: &str) {
        write_state(&self.state, state);
    }
}

/// Replaces the file with the state at once, so that no call reads half of it.
fn write_state(file: &PathBuf, state: &str) {
    let draft = file.with_extension("draft");
    fs::write(&draft, state).expect("the lab's directory can be written");
    fs::rename(&draft, file).expect("the lab's directory can be written");
}
