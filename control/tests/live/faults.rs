//! Failures inside an appliance of two workers: one of them panics or stalls, or nobody reads the log.

#![allow(clippy::unwrap_used)] // A test that cannot set its scene fails there.

use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::lab::patience::{PATIENCE, within};
use crate::lab::process::{Ended, Process};
use crate::lab::scratch::{Scratch, free_port};

/// A configuration of two workers, if there are two cores, on a device that receives without end.
fn config() -> String {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let workers = if cores > 1 { "[0, 1]" } else { "[0]" };
    let metrics_port = free_port();
    format!(
        "[engine]\nworker_cores = {workers}\ncontrol_core = 0\nno_huge = true\nmemory_mib = 128\n\
         [conntrack]\nmax_entries = 1024\n\
         [[port]]\nname = \"lan\"\ndevice = \"net_null0\"\n\
         [admin]\nsocket = \"DIRECTORY/admin.sock\"\n[metrics]\nlisten = \"127.0.0.1:{metrics_port}\"\n"
    )
}

/// An appliance in which a fault is injected.
struct Faulty {
    // Dropped first: the process ends before its directory is removed.
    process: Process,
    scratch: Scratch,
}

/// Makes a pipe that stays full until somebody reads from it.
fn full_pipe() -> (io::PipeReader, io::PipeWriter) {
    let (reader, writer) = io::pipe().unwrap();
    let (mut filling, written) = (writer.try_clone().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&written);
    // Waits for room in the pipe until the reader is gone.
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
        Self::start_by(fault, Scratch::start)
    }

    /// Starts an appliance whose log goes into a pipe.
    fn start_with_log(fault: &str, log: io::PipeWriter) -> Self {
        Self::start_by(fault, |scratch, command| scratch.start_with_log(command, log))
    }

    fn start_by(fault: &str, start: impl FnOnce(&Scratch, Command) -> Process) -> Self {
        let scratch = Scratch::new(&config());
        let mut command = scratch.run();
        command.env("GUIDEWAY_FAULT", fault).env("RUST_BACKTRACE", "0");
        Self { process: start(&scratch, command), scratch }
    }

    /// Runs a verb that talks to the appliance, once its socket is there.
    fn ask(&mut self, verb: &[&str]) -> Ended {
        self.wait_for(|faulty| faulty.scratch.socket().exists().then_some(()));
        self.scratch.ask(verb)
    }

    fn log(&self) -> String {
        self.process.stderr()
    }

    fn wait_for<T>(&mut self, mut look: impl FnMut(&mut Self) -> Option<T>) -> T {
        let found = within(PATIENCE * 2, || look(self));
        found.unwrap_or_else(|| panic!("{}", self.log()))
    }

    fn wait_for_its_end(&mut self) -> ExitStatus {
        self.wait_for(|faulty| faulty.process.ended())
    }
}

#[test]
fn a_worker_that_panics_takes_the_process_down_and_its_socket_with_it() {
    let mut faulty = Faulty::start("panic:0:100000");
    let status = faulty.wait_for_its_end();
    let log = faulty.log();
    assert_eq!(status.code(), Some(1), "{log}");
    let last = log.lines().last().unwrap_or_default();
    assert!(
        last.starts_with(
            "error: worker 0 on core 0 has failed (injected by GUIDEWAY_FAULT): the appliance stops"
        ),
        "{log}"
    );
    assert!(!faulty.scratch.socket().exists(), "nobody answers on it");
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
    let (_unread, pipe) = full_pipe();
    let mut appliance = Faulty::start_with_log("none:0:0", pipe);
    let status = appliance.ask(&["status"]);
    assert_eq!(status.status.code(), Some(0), "{}", status.stderr);
    let stop = appliance.ask(&["stop"]);
    assert_eq!(stop.status.code(), Some(0), "{}", stop.stderr);
    let ended = appliance.wait_for_its_end();
    assert_eq!(ended.code(), Some(0));
}

#[test]
fn the_verbs_that_stop_return_when_the_process_has_ended() {
    for verb in [&["stop"][..], &["drain", "--appliance", "--deadline", "0", "--stop"]] {
        let mut appliance = Faulty::start("none:0:0");
        let said = appliance.ask(verb);
        let ended = appliance.process.ended().expect("its end was waited for");
        assert_eq!((said.status.code(), ended.code()), (Some(0), Some(0)), "{}", appliance.log());
    }
}

#[test]
fn a_worker_that_panics_takes_the_process_down_though_nobody_reads_its_last_words() {
    let (_unread, pipe) = full_pipe();
    let mut faulty = Faulty::start_with_log("panic:0:100000", pipe);
    let ended = faulty.wait_for_its_end();
    assert_eq!(ended.code(), Some(1));
}

#[test]
fn a_pipe_in_the_place_of_the_configuration_hangs_neither_reload_nor_stop() {
    let mut appliance = Faulty::start("none:0:0");
    appliance.wait_for(|appliance| appliance.scratch.socket().exists().then_some(()));
    let config = appliance.scratch.config();
    std::fs::remove_file(&config).unwrap();
    assert!(Command::new("mkfifo").arg(&config).status().unwrap().success());
    appliance.process.signal(Signal::HUP);
    appliance.wait_for(|appliance| {
        appliance.log().contains("it is a named pipe, and only regular files are read").then_some(())
    });
    assert_eq!(appliance.ask(&["status"]).status.code(), Some(0));
    let reload = appliance.ask(&["reload"]);
    assert!(reload.status.code() != Some(0) && reload.stderr.contains("a named pipe"), "{}", reload.stderr);
    appliance.process.signal(Signal::TERM);
    assert_eq!(appliance.wait_for_its_end().code(), Some(0), "{}", appliance.log());
}

#[test]
fn twenty_thousand_signals_to_reload_are_a_few_reloads_and_the_last_one_counts() {
    let mut appliance = Faulty::start("none:0:0");
    appliance.wait_for(|appliance| appliance.scratch.socket().exists().then_some(()));
    let config = appliance.scratch.config();
    let text = std::fs::read_to_string(&config).unwrap();
    for number in 0..20_000 {
        if number == 10_000 {
            std::fs::write(
                &config,
                format!("{text}[[health_check]]\nname = \"new\"\ntype = \"TCP\"\nport = 80\n"),
            )
            .unwrap();
        }
        appliance.process.signal(Signal::HUP);
    }
    appliance.wait_for(|appliance| {
        let status = appliance.ask(&["status"]);
        assert_eq!(status.status.code(), Some(0), "{}", status.stderr);
        status.stdout.contains("configuration  2, of").then_some(())
    });
    let reloads = appliance.log().matches("stays in force").count();
    assert!(reloads < 10_000, "{reloads} reloads of 20,000 signals");
    appliance.process.signal(Signal::TERM);
    assert_eq!(appliance.wait_for_its_end().code(), Some(0), "{}", appliance.log());
}

#[test]
fn a_stop_has_an_end_though_a_worker_never_polls_again() {
    let mut appliance = Faulty::start("freeze:0:100000");
    appliance.wait_for(|appliance| appliance.log().contains("worker 0 has not polled").then_some(()));
    appliance.process.signal(Signal::TERM);
    let ended = appliance.wait_for_its_end();
    let log = appliance.log();
    assert_eq!(ended.signal(), Some(Signal::KILL.as_raw()), "{log}");
    assert!(
        log.contains("the appliance has not stopped within 25 s, as something hangs: it is killed"),
        "{log}"
    );
}
