//! A process that may open no file more: it forwards and probes, and answers again once it may.

use std::fs;
use std::os::unix::net::UnixStream;
use std::process::Command;

use rustix::process::Signal;

use crate::lab::Lab;
use crate::lab::address::{Family, Vip};
use crate::lab::appliance::Appliance;
use crate::lab::backend::Backend;
use crate::lab::conversation::{Conversation, go_on};
use crate::lab::patience::{PATIENCE, within};
use crate::lab::process::Process;
use crate::lab::setup::{PROBES, Setup, http_check};

/// Connections that are open meanwhile.
const CONVERSATIONS: usize = 24;
/// Clients of the admin socket that wait without an answer while no file can be opened.
const CLIENTS: usize = 32;

/// Sets the number of files that a process may have open.
fn limit(lab: &Lab, appliance: &Appliance<'_>, files: usize) {
    let mut command = Command::new("prlimit");
    command.args([format!("--pid={}", appliance.id()), format!("--nofile={files}:")]);
    let set = Process::run(lab.directory(), "prlimit", command, PATIENCE);
    assert!(set.status.success(), "{}", set.stderr);
}

fn open_files(appliance: &Appliance<'_>) -> usize {
    fs::read_dir(format!("/proc/{}/fd", appliance.id())).expect("it runs").count()
}

#[test]
fn an_appliance_without_a_file_descriptor_forwards_probes_and_answers_later() {
    let lab = Lab::new(1, 2);
    let backends = Backend::all(&lab, 2);
    let setup = Setup::checked_by(2, http_check());
    let appliance = Appliance::start(&lab, 0, &setup);
    let mut conversations = Conversation::several(&lab, Vip::OnLink.web(Family::V4), CONVERSATIONS);
    let before = within(PATIENCE, || {
        let files = open_files(&appliance);
        // A verb's connection that has just ended may be open yet.
        std::thread::sleep(std::time::Duration::from_millis(100));
        (files == open_files(&appliance)).then_some(files)
    });
    let before = before.expect("nobody asks");
    // The lowest free number is that which the next file would get.
    limit(&lab, &appliance, 0);
    let clients: Vec<_> =
        (0..CLIENTS).map(|_| UnixStream::connect(appliance.socket()).expect("they wait")).collect();
    appliance.configure(&Setup { draining_timeout_sec: 299, ..setup.clone() });
    appliance.signal(Signal::HUP);
    let told = || appliance.log().contains("Too many open files").then_some(());
    within(PATIENCE, told).unwrap_or_else(|| panic!("{}", appliance.log()));
    let probes = backends[0].web.probes().len();
    let more = || (backends[0].web.probes().len() >= probes + PROBES / 2).then_some(());
    within(PATIENCE, more).expect("probes in the path need no file");
    go_on(&mut conversations, "without a file descriptor");
    let kept = Conversation::several(&lab, Vip::OnLink.web(Family::V4), CONVERSATIONS);
    assert_eq!(open_files(&appliance), before);

    limit(&lab, &appliance, 1_024);
    drop(clients);
    assert!(appliance.is_healthy());
    appliance.must(&["reload"]);
    drop(kept);
    let as_before = || (open_files(&appliance) <= before).then_some(());
    within(PATIENCE, as_before)
        .unwrap_or_else(|| panic!("{} files and not {before}", open_files(&appliance)));
}
