//! What becomes of the appliance when a worker fails, or when nobody reads its log: two workers that share
//! one device.

#![allow(clippy::unwrap_used)] // A test that cannot set its scene fails there.

use std::fs;
use std::io::{self, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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

/// A pipe that is full and stays so, for as long as its reader is not read.
fn full_pipe() -> (io::PipeReader, io::PipeWriter) {
    let (reader, writer) = io::pipe().unwrap();
    let (mut filling, written) = (writer.try_clone().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&written);
    // It waits for room until the reader is gone.
    thread::spawn(move || {
        while filling.write_all(&[b'.'; 1_024]).is_ok() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let mut before = 0;
    for _ in 0..1_000 {
        thread::sleep(Duration::from_millis(100));
        let now = written.load(Ordering::Relaxed);
        if now > 0 && now == before {
            return (reader, writer);
        }
        before = now;
    }
    panic!("the pipe takes everything");
}

impl Faulty {
    fn start(fault: &str) -> Self {
        Self::start_with(fault, None)
    }

    /// One whose standard error goes into its log, or into `stderr`.
    fn start_with(fault: &str, stderr: Option<Stdio>) -> Self {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("guideway-live-fault-{number}-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).unwrap();
        let free_port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let path = directory.join("guideway.toml");
        fs::write(&path, config(&directory.to_string_lossy(), free_port)).unwrap();
        let log = fs::File::create(directory.join("log")).unwrap();
        let mut command = Command::new(GUIDEWAY);
        command.args(["run", "--config"]).arg(&path).env("GUIDEWAY_FAULT", fault).env("RUST_BACKTRACE", "0");
        let child =
            command.stdout(Stdio::null()).stderr(stderr.unwrap_or_else(|| log.into())).spawn().unwrap();
        Self { child, directory }
    }

    /// Asks it something, once it answers at all.
    fn ask(&mut self, verb: &[&str]) -> Output {
        let socket = self.directory.join("admin.sock");
        self.wait_for(|_| socket.exists().then_some(()));
        Command::new(GUIDEWAY).args(verb).arg("--socket").arg(&socket).output().unwrap()
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

#[test]
fn an_appliance_whose_log_nobody_reads_answers_and_ends_in_good_order() {
    let (_unread, stderr) = full_pipe();
    let mut appliance = Faulty::start_with("none:0:0", Some(stderr.into()));
    let status = appliance.ask(&["status"]);
    assert_eq!(status.status.code(), Some(0), "{}", String::from_utf8_lossy(&status.stderr));
    let stop = appliance.ask(&["stop"]);
    assert_eq!(stop.status.code(), Some(0), "{}", String::from_utf8_lossy(&stop.stderr));
    let ended = appliance.wait_for(|appliance| appliance.child.try_wait().unwrap());
    assert_eq!(ended.code(), Some(0));
}

#[test]
fn the_verbs_that_stop_return_when_the_process_has_ended() {
    for verb in [&["stop"][..], &["drain", "--appliance", "--deadline", "0", "--stop"]] {
        let mut appliance = Faulty::start("none:0:0");
        let said = appliance.ask(verb);
        let ended = appliance.child.try_wait().unwrap().expect("its end was waited for");
        assert_eq!((said.status.code(), ended.code()), (Some(0), Some(0)), "{}", appliance.log());
    }
}

#[test]
fn a_worker_that_panics_takes_the_process_down_though_nobody_reads_its_last_words() {
    let (_unread, stderr) = full_pipe();
    let mut faulty = Faulty::start_with("panic:0:100000", Some(stderr.into()));
    let ended = faulty.wait_for(|faulty| faulty.child.try_wait().unwrap());
    assert_eq!(ended.code(), Some(1));
}
