//! Programs that announcements are told by, while an appliance dies.

use std::fs;
use std::process::Command;

use crate::lab::Lab;
use crate::lab::address::{Family, Vip};
use crate::lab::appliance::Appliance;
use crate::lab::backend::Backend;
use crate::lab::patience::{PATIENCE, within};
use crate::lab::process::Process;
use crate::lab::setup::Setup;

/// Holds up whoever opens a file, as a file system without its server does, until it is killed.
const LEASE: &str = "import fcntl, os, signal, sys\n\
    signal.signal(signal.SIGIO, signal.SIG_IGN)\n\
    file = os.open(sys.argv[1], os.O_RDONLY)\n\
    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)\n\
    print('held', file=sys.stderr, flush=True)\n\
    while True: signal.pause()\n";

/// Requests after the start of the next appliance.
const REQUESTS: usize = 20;

/// Numbers of the processes that a process has started and not yet waited for.
fn children(parent: u32) -> Vec<u32> {
    let of_parent = |number: &u32| {
        let stat = fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
        let after_name = stat.rsplit(") ").next().unwrap_or_default();
        after_name.split(' ').nth(1) == Some(&parent.to_string())
    };
    let entries = fs::read_dir("/proc").expect("there is /proc").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(of_parent).collect()
}

/// Sockets that a process has open.
fn sockets(process: u32) -> Vec<String> {
    let files = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    let links = files.filter_map(|file| Some(fs::read_link(file.path()).ok()?.display().to_string()));
    links.filter(|link| link.starts_with("socket:")).collect()
}

#[test]
fn a_program_whose_start_hangs_holds_nothing_of_an_appliance_that_is_killed() {
    let lab = Lab::new(1, 2);
    let _backends = Backend::all(&lab, 2);
    let program = lab.directory().join("hangs");
    fs::copy("/bin/true", &program).expect("it can be copied");
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", LEASE]).arg(&program);
    let lease = Process::start(lab.directory(), "lease", command);
    within(PATIENCE, || lease.stderr().contains("held").then_some(())).expect("it holds the file");
    let further = format!(
        "[[announcement]]\nname = \"program\"\nforwarding_rules = [\"web-routed-v4\"]\npolicy = \"ALWAYS\"\n\
         command = [\"{}\"]\n",
        program.display()
    );
    let mut appliance = Appliance::start(&lab, 0, &Setup { further, ..Setup::of(2) });
    let guard = appliance.guard().expect("a guard stands").as_raw_nonzero().get().cast_unsigned();
    let hanging = within(PATIENCE, || children(appliance.id()).into_iter().find(|child| *child != guard));
    let hanging = hanging.expect("the program is being started");
    within(PATIENCE, || sockets(hanging).is_empty().then_some(()))
        .unwrap_or_else(|| panic!("process {hanging} holds {:?}", sockets(hanging)));
    assert!(children(appliance.id()).contains(&hanging), "it hangs nevertheless");

    appliance.kill();
    // The same interface and the same socket, at once.
    appliance.restart();
    within(PATIENCE, || (!fs::exists(format!("/proc/{hanging}")).unwrap_or(true)).then_some(()))
        .expect("what hung has ended with its appliance");
    assert_eq!(lab.curl(Vip::OnLink.web(Family::V4), REQUESTS).len(), REQUESTS);
}
