//! Disks that are full: the state file's, the log's, a capture's; and a directory of the admin socket that is gone.

use std::fs;

use guideway::api::view::EventKind;
use rustix::process::Signal;

use crate::lab::Lab;
use crate::lab::address::{Family, Vip};
use crate::lab::appliance::{Appliance, config, socket};
use crate::lab::backend::Backend;
use crate::lab::conversation::{Conversation, go_on};
use crate::lab::patience::{PATIENCE, within};
use crate::lab::process::Process;
use crate::lab::setup::Setup;
use crate::lab::small_disk::SmallDisk;

/// Connections that are open meanwhile.
const CONVERSATIONS: usize = 24;
/// Words of the operating system for a disk that is full.
const FULL: &str = "No space left on device";
/// Requests to reload that are refused, each of which is a line of the log and more.
const REFUSED_RELOADS: usize = 24;

fn has(appliance: &Appliance<'_>, kind: EventKind) -> bool {
    appliance.events().iter().any(|event| event.kind == kind)
}

#[test]
fn a_full_disk_keeps_a_drain_from_its_file_until_there_is_room() {
    let lab = Lab::new(1, 3);
    let _backends = Backend::all(&lab, 3);
    let disk = SmallDisk::new(&lab.directory().join("small"));
    let (toml, state) =
        (Setup { keeps_state: true, ..Setup::of(3) }.toml(0, &socket(&lab, 0)), "admin-0.state.toml");
    let mut appliance =
        Appliance::start_by(&lab, 0, &toml.replace(state, "small/state.toml"), disk.words(false));
    let kept = |appliance: &Appliance<'_>| {
        fs::read_to_string(disk.path(appliance.id(), "state.toml")).unwrap_or_default()
    };
    appliance.must(&["backend", "drain", "v4", "b0"]);
    let before = kept(&appliance);
    assert!(before.contains("drained_at_unix_sec"), "{before}");

    disk.fill(appliance.id());
    let told = appliance.verb(&["backend", "drain", "v4", "b1"]);
    assert!(told.status.success() && told.stdout.contains("the change is lost with a restart"), "{told:?}");
    assert!(told.stdout.contains(FULL), "{told:?}");
    lab.new_connections_go_to(Family::V4, &["b2"]);
    assert!(has(&appliance, EventKind::OperatorStateFailed));
    assert!(appliance.must(&["status"]).contains(FULL));
    assert_eq!(kept(&appliance), before, "the file is the old one, whole");

    disk.free(appliance.id());
    appliance.must(&["backend", "undrain", "v4", "b0"]);
    within(PATIENCE, || has(&appliance, EventKind::OperatorStateKept).then_some(()))
        .expect("it is kept again");
    let after = kept(&appliance);
    assert_ne!(after, before);
    assert_eq!(after.matches("drained_at_unix_sec").count(), 1, "{after}");
    appliance.signal(Signal::TERM);
    assert!(appliance.finish().status.success());
}

#[test]
fn a_full_disk_of_the_log_loses_lines_which_are_counted_and_nothing_else() {
    let lab = Lab::new(1, 2);
    let _backends = Backend::all(&lab, 2);
    let disk = SmallDisk::new(&lab.directory().join("small"));
    let toml = Setup::of(2).toml(0, &socket(&lab, 0));
    let mut appliance = Appliance::start_by(&lab, 0, &toml, disk.words(true));
    let mut conversations = Conversation::several(&lab, Vip::OnLink.web(Family::V4), CONVERSATIONS);
    disk.fill(appliance.id());
    appliance.spoil();
    for _ in 0..REFUSED_RELOADS {
        assert!(appliance.verb(&["reload"]).stderr.contains("no_such_key"));
    }
    let lost = within(PATIENCE, || Some(appliance.status().log_lines_lost).filter(|lost| *lost > 0));
    let lost = lost.expect("the page that the file has is soon full");
    assert!(appliance.must(&["status"]).contains(" lost: "));
    go_on(&mut conversations, "with a log that is full");
    disk.free(appliance.id());
    let log = disk.path(appliance.id(), "log");
    appliance.must(&["backend", "drain", "v6", "b1"]);
    let written = || fs::read_to_string(&log).unwrap_or_default().contains("backend_drained").then_some(());
    within(PATIENCE, written).unwrap_or_else(|| panic!("{}", fs::read_to_string(&log).unwrap_or_default()));
    assert_eq!(appliance.status().log_lines_lost, lost, "no further line is lost");
    appliance.signal(Signal::TERM);
    assert!(appliance.finish().status.success());
}

#[test]
fn a_capture_on_a_full_disk_ends_in_a_whole_packet_and_says_so() {
    let lab = Lab::new(1, 2);
    let _backends = Backend::all(&lab, 2);
    let disk = SmallDisk::new(&lab.directory().join("small"));
    let appliance = Appliance::start(&lab, 0, &Setup::of(2));
    // The disk lives as long as the shell, which keeps what was written for the test.
    let kept = lab.directory().join("kept.pcapng");
    let mut words = disk.words(false);
    let script = format!(
        "\"$@\"; status=$?; cp {0}/a.pcapng {1}; exit $status",
        lab.directory().join("small").display(),
        kept.display()
    );
    words.extend(["sh", "-c", &script, "sh", crate::lab::appliance::GUIDEWAY].map(str::to_owned));
    let mut command = lab.appliance(0).command(&words[0]);
    command.args(&words[1..]).args(["capture", "--reason", "forward", "--socket"]).arg(appliance.socket());
    command.arg("--write").arg(lab.directory().join("small/a.pcapng"));
    let mut capture = Process::start(lab.directory(), "capture", command);
    let mut conversations = Conversation::several(&lab, Vip::OnLink.web(Family::V4), CONVERSATIONS);
    let ended = within(PATIENCE, || {
        go_on(&mut conversations, "while a capture goes on");
        capture.ended()
    });
    let said = capture.finish(PATIENCE);
    assert_eq!(ended.and_then(|status| status.code()), Some(1), "{said:?}");
    assert!(said.stderr.contains("cannot write to ") && said.stderr.contains(FULL), "{said:?}");
    let mut reader = guideway_engine::capture::CaptureReader::open(&kept).expect("it has a header");
    let mut packets = 0;
    while reader.next_record().expect("each packet is whole").is_some() {
        packets += 1;
    }
    assert!(packets >= CONVERSATIONS, "{packets}");
    go_on(&mut conversations, "after the capture");
}

#[test]
fn an_appliance_whose_socket_is_gone_serves_reloads_by_its_signal_and_stops() {
    let lab = Lab::new(1, 2);
    let _backends = Backend::all(&lab, 2);
    let run = lab.directory().join("run");
    let toml = Setup::of(2).toml(0, &run.join("guideway/admin.sock"));
    let mut appliance = Appliance::start_at(&lab, 0, &toml, run.join("guideway/admin.sock"));
    let mut conversations = Conversation::several(&lab, Vip::OnLink.web(Family::V4), CONVERSATIONS);
    fs::remove_dir_all(&run).expect("the appliance has made it");
    let unheard = appliance.verb(&["status"]);
    assert_eq!(unheard.status.code(), Some(4), "{unheard:?}");
    assert!(unheard.stderr.contains("there is no socket "), "{}", unheard.stderr);
    let wrong = fs::read_to_string(config(&lab, 0)).expect("it was written") + "no_such_key = 1\n";
    fs::write(config(&lab, 0), wrong).expect("the lab's directory can be written");
    appliance.signal(Signal::HUP);
    let heard = || appliance.log().contains("no_such_key").then_some(());
    within(PATIENCE, heard).expect("the signal reloads");
    go_on(&mut conversations, "without a socket");
    appliance.signal(Signal::TERM);
    assert!(appliance.finish().status.success());
}
