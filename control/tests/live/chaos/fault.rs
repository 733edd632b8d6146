//! Faults of the chaos, and how each is done and undone.

use std::os::unix::net::UnixStream;
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, kill_process};

use super::scene::{BACKENDS, Scene};
use crate::lab::appliance::{GUIDEWAY, config};
use crate::lab::patience::PATIENCE;
use crate::lab::process::Process;

/// Time that a fault lasts which nothing else ends: retransmissions come and go meanwhile.
const FAULT_TIME: Duration = Duration::from_millis(1_500);
/// Time for which BIRD hangs: longer than anybody waits for its answer.
const HANG_TIME: Duration = Duration::from_secs(4);
/// Starts beside the appliance that runs.
const RIVALS: usize = 5;
/// Signals to reload.
const SIGNALS: usize = 2_000;
/// Clients that wait while the process may open no file.
const CLIENTS: usize = 16;
/// Seconds by which the wall clock jumps forwards, and back to before.
const JUMP_SEC: i64 = 86_400 * 400;

/// Fault of the chaos.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Kill,
    Stop,
    PullCable,
    ReplaceBackendInterface,
    LoseGateway,
    FillDisk,
    JumpClock,
    KillGuard,
    KillBird,
    HangBird,
    StartRivals,
    FloodWithReloads,
    ForbidFiles,
}

impl Fault {
    pub(super) const ALL: [Self; 13] = [
        Self::Kill,
        Self::Stop,
        Self::PullCable,
        Self::ReplaceBackendInterface,
        Self::LoseGateway,
        Self::FillDisk,
        Self::JumpClock,
        Self::KillGuard,
        Self::KillBird,
        Self::HangBird,
        Self::StartRivals,
        Self::FloodWithReloads,
        Self::ForbidFiles,
    ];
}

impl Scene<'_> {
    /// Does the fault, lets it last, and undoes it; its traces may last for longer.
    pub(super) fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::Kill => {
                // Connections of a backend that is down at a kill belong to another one afterwards.
                self.wait_for_health();
                self.kill();
            }
            Fault::Stop => {
                self.appliance().signal(Signal::STOP);
                thread::sleep(FAULT_TIME);
                self.appliance().signal(Signal::CONT);
            }
            Fault::PullCable => {
                self.lab.unplug("appliance0");
                thread::sleep(FAULT_TIME);
                self.lab.plug_in("appliance0");
            }
            Fault::ReplaceBackendInterface => self.lab.replace_backend_device(0),
            Fault::LoseGateway => {
                self.lab.lose_gateway(BACKENDS);
                thread::sleep(FAULT_TIME);
                self.lab.regain_gateway(BACKENDS - 1, BACKENDS);
            }
            Fault::FillDisk => self.fill_disk(),
            Fault::JumpClock => {
                self.clock.jump_to(JUMP_SEC);
                thread::sleep(FAULT_TIME);
                self.clock.jump_to(-JUMP_SEC);
            }
            Fault::KillGuard => {
                // None stands for a moment where the one before was killed just now.
                if let Some(guard) = self.appliance().guard() {
                    kill_process(guard, Signal::KILL).expect("it is there");
                }
            }
            Fault::KillBird => {
                self.birds.kill(0);
                thread::sleep(FAULT_TIME);
                self.birds.start_again(self.lab, 0);
            }
            Fault::HangBird => {
                self.birds.signal(0, Signal::STOP);
                thread::sleep(HANG_TIME);
                self.birds.signal(0, Signal::CONT);
            }
            Fault::StartRivals => self.start_rivals(),
            Fault::FloodWithReloads => {
                for number in 0..SIGNALS {
                    if number % (SIGNALS / 4) == 0 {
                        self.write_configuration();
                    }
                    self.appliance().signal(Signal::HUP);
                }
                self.wait_for_configuration();
            }
            Fault::ForbidFiles => self.forbid_files(),
        }
    }

    fn fill_disk(&self) {
        let id = self.appliance().id();
        self.disk.fill(id);
        let told = self.appliance().must(&["backend", "drain", "v6", "b1"]);
        assert!(told.contains("No space left on device"), "{told}");
        self.disk.free(id);
        self.appliance().must(&["backend", "undrain", "v6", "b1"]);
    }

    fn start_rivals(&self) {
        let start = |_| {
            let mut command = self.lab.appliance(0).command(GUIDEWAY);
            command.args(["run", "--config"]).arg(config(self.lab, 0));
            Process::start(self.lab.directory(), "guideway-rival", command)
        };
        let rivals: Vec<_> = (0..RIVALS).map(start).collect();
        for mut rival in rivals {
            let ended = rival.finish(PATIENCE);
            assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
        }
    }

    fn forbid_files(&self) {
        let limit = |files: usize| {
            let mut command = Command::new("prlimit");
            command.args([format!("--pid={}", self.appliance().id()), format!("--nofile={files}:")]);
            let set = Process::run(self.lab.directory(), "prlimit", command, PATIENCE);
            assert!(set.status.success(), "{}", set.stderr);
        };
        limit(0);
        let connect = |_| UnixStream::connect(self.appliance().socket()).expect("they wait");
        let clients: Vec<_> = (0..CLIENTS).map(connect).collect();
        thread::sleep(FAULT_TIME);
        limit(1_024);
        drop(clients);
    }
}
