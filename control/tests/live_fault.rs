//! What becomes of the appliance when a worker fails, on two workers that share one device.

#![allow(clippy::unwrap_used)] // A test that cannot set its scene fails there.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const GUIDEWAY: &str = env!("CARGO_BIN_EXE_guideway");

/// Two workers, if there are two cores, on a device that receives without end.
fn config(directory: &str, metrics_port: u16) -> String {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let workers = if cores > 1 { "[0, 1]" } else { "[0]" };
    format!(
        "[engine]\nworker_cores = {workers}\ncontrol_core = 0\nno_huge = true\nmemory_mib = 128\n\
         [conntrack]\nmax_entries = 1024\n\
         [[port]]\nname = \"lan\"\ndevice = \"net_null0\"\n\
         [admin]\nsocket = \"{directory}/admin.sock\"\n[metrics]\nlisten = \"127.0.0.1:{metrics_port}\"\n"
    )
}

/// An appliance with a fault, ended with its directory where the test does not come to its end.
struct Faulty {
    child: Child,
    directory: PathBuf,
}

impl Faulty {
    fn start(fault: &str) -> Self {
        let name = format!("guideway-live-fault-{}-{}", fault.replace(':', "-"), std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).unwrap();
        let free_port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let path = directory.join("guideway.toml");
        fs::write(&path, config(&directory.to_string_lossy(), free_port)).unwrap();
        let log = fs::File::create(directory.join("log")).unwrap();
        let mut command = Command::new(GUIDEWAY);
        command.args(["run", "--config"]).arg(&path).env("GUIDEWAY_FAULT", fault).env("RUST_BACKTRACE", "0");
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Self { child, directory }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap()
    }

    fn wait_for<T>(&mut self, mut look: impl FnMut(&mut Self) -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            assert!(Instant::now() < deadline, "{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

#[test]
fn a_worker_that_panics_takes_the_process_down_and_its_socket_with_it() {
    let mut faulty = Faulty::start("panic:0:100000");
    let status = faulty.wait_for(|faulty| faulty.child.try_wait().unwrap());
    let log = faulty.log();
    assert_eq!(status.code(), Some(1), "{log}");
    let last = log.lines().last().unwrap_or_default();
    assert!(
        last.starts_with(
            "error: worker 0 on core 0 has failed (injected by GUIDEWAY_FAULT): the appliance stops"
        ),
        "{log}"
    );
    assert!(!faulty.directory.join("admin.sock").exists(), "nobody answers on it");
}

#[test]
fn a_worker_that_stalls_is_named_and_so_is_its_return() {
    let mut faulty = Faulty::start("stall:0:100000");
    faulty.wait_for(|faulty| {
        faulty
            .log()
            .contains("worker 0 has not polled for 1s: see what else runs on its core, 0")
            .then_some(())
    });
    faulty.wait_for(|faulty| faulty.log().contains("worker 0 polls again").then_some(()));
}
