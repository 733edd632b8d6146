//! Appliances that are started beside one that runs: with its configuration, or with another one on the same interface.

use std::fs;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::lab::Lab;
use crate::lab::address::{self, Family, Vip};
use crate::lab::appliance::{Appliance, GUIDEWAY, config, socket};
use crate::lab::backend::Backend;
use crate::lab::client::counted;
use crate::lab::conversation::{Conversation, go_on};
use crate::lab::patience::{PATIENCE, within};
use crate::lab::process::Process;
use crate::lab::scratch::free_port;
use crate::lab::setup::Setup;

/// Connections that are open meanwhile.
const CONVERSATIONS: usize = 24;
/// Appliances of one configuration that are started at once.
const STARTS: usize = 6;
/// Starts beside an appliance that runs.
const RIVALS: usize = 5;

/// Pause between two datagrams, of which many come while another start polls.
const BETWEEN_DATAGRAMS: Duration = Duration::from_micros(200);

/// Starts an appliance of a configuration in a file, in the namespace of the lab's first one.
fn start(lab: &Lab, path: &std::path::Path) -> Process {
    let mut command = lab.appliance(0).command(GUIDEWAY);
    command.args(["run", "--config"]).arg(path);
    Process::start(lab.directory(), "guideway-rival", command)
}

/// Takes the number of datagrams that the servers of a backend have got.
fn datagrams(lab: &Lab, backend: usize) -> u64 {
    counted(lab.backend(backend), "Udp", "InDatagrams")
}

#[test]
fn of_six_starts_at_once_one_runs_and_five_say_why_not() {
    let lab = Lab::new(1, 2);
    let _backends = Backend::all(&lab, 2);
    let toml = Setup::of(2).toml(0, &socket(&lab, 0));
    fs::write(config(&lab, 0), toml).expect("the lab's directory can be written");
    let mut starts: Vec<_> = (0..STARTS).map(|_| start(&lab, &config(&lab, 0))).collect();
    let lost = within(PATIENCE * 2, || {
        let ended = starts.iter_mut().filter_map(Process::ended).count();
        (ended == STARTS - 1).then_some(())
    });
    lost.expect("all but one end");
    for start in &mut starts {
        let Some(status) = start.ended() else { continue };
        let said = start.stderr();
        assert_eq!(status.code(), Some(1), "{said}");
        let last = said.lines().last().unwrap_or_default();
        let answered = "error: admin socket: another appliance answers on ";
        let claimed = "error: port `lan`: another appliance forwards by eth0, and both would forward each packet: stop it (process ";
        assert!(last.starts_with(answered) || last.starts_with(claimed), "{said}");
    }
    assert_eq!(lab.curl(Vip::OnLink.web(Family::V4), 20).len(), 20, "the one that is left serves");
}

#[test]
fn an_interface_has_one_appliance_whatever_its_configuration() {
    let lab = Lab::new(1, 2);
    let _backends = Backend::all(&lab, 2);
    let mut appliance = Appliance::start(&lab, 0, &Setup::of(2));
    // Elsewhere in all that two appliances could quarrel about, but for the interface.
    let other = lab.directory().join("other.toml");
    let text =
        Setup::of(1).toml(0, &lab.directory().join("other.sock")).replace("192.0.2.1/24", "192.0.2.77/24");
    fs::write(&other, text + &metrics()).expect("the lab's directory can be written");
    let ended = start(&lab, &other).finish(PATIENCE);
    assert_eq!(ended.status.code(), Some(1));
    assert!(
        ended.stderr.starts_with("error: port `lan`: another appliance forwards by eth0, and "),
        "{}",
        ended.stderr
    );
    assert!(appliance.is_healthy());
    // However it ends, the interface is free.
    appliance.kill();
    let mut next = start(&lab, &other);
    let forwards = within(PATIENCE, || match next.ended() {
        Some(status) => panic!("it has ended ({status}): {}", next.stderr()),
        None => next.stderr().contains("forwarding").then_some(()),
    });
    forwards.expect("the next one starts");
}

/// Program of the user `nobody` that takes the name by which eth0 of its namespace is claimed, and listens by it if told to.
const SQUATTER: &str = r#"
import os, socket, sys, time
os.setuid(65534)
taken = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
taken.bind("\0guideway-forwards-by-eth0")
if sys.argv[1] == "listen":
    taken.listen()
print("taken", file=sys.stderr, flush=True)
time.sleep(600)
"#;

#[test]
fn a_claim_that_another_user_holds_is_told_with_process_and_user() {
    let lab = Lab::new(1, 1);
    let _backends = Backend::all(&lab, 1);
    let toml = Setup::of(1).toml(0, &socket(&lab, 0));
    fs::write(config(&lab, 0), &toml).expect("the lab's directory can be written");
    for how in ["listen", "bind"] {
        let mut command = lab.appliance(0).command("python3");
        command.args(["-c", SQUATTER, how]);
        let squatter = Process::start(lab.directory(), "squatter", command);
        let taken = within(PATIENCE, || squatter.stderr().contains("taken").then_some(()));
        taken.unwrap_or_else(|| panic!("the name can be taken: {}", squatter.stderr()));
        let ended = start(&lab, &config(&lab, 0)).finish(PATIENCE);
        assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
        let expected = if how == "listen" {
            format!("error: port `lan`: process {} of user nobody holds the claim on eth0 (", squatter.id())
        } else {
            "error: port `lan`: a process that is no appliance, or hangs, holds the claim on eth0: end it (`ss -xap"
                .to_owned()
        };
        assert!(ended.stderr.starts_with(&expected), "{}", ended.stderr);
    }
    let appliance = Appliance::start_with(&lab, 0, &toml);
    assert!(appliance.is_healthy());
}

fn metrics() -> String {
    format!("[metrics]\nlisten = \"127.0.0.1:{}\"\n", free_port())
}

#[test]
fn starts_beside_a_running_appliance_disturb_nothing_of_it() {
    let lab = Lab::new(1, 2);
    let _backends = Backend::all(&lab, 2);
    // A start that knew the way to a backend from its file could forward at once.
    let mut toml = Setup { keeps_state: true, ..Setup::of(2) }.toml(0, &socket(&lab, 0));
    for backend in 0..2 {
        let address = format!("ip_address = \"{}\"", address::backend(backend, Family::V4));
        toml = toml
            .replace(&address, &format!("{address}, mac_address = \"{}\"", lab.backend(backend).mac("eth0")));
    }
    let appliance = Appliance::start_with(&lab, 0, &toml);
    appliance.must(&["backend", "drain", "v4", "b1"]);
    let mut conversations = Conversation::several(&lab, Vip::OnLink.web(Family::V4), CONVERSATIONS);
    let kept = fs::read_to_string(appliance.socket().with_extension("state.toml")).expect("a drain is kept");
    let before = datagrams(&lab, 0);
    let (mut ended, mut sent) = (0, 0);
    let socket = lab.client().inside(|| UdpSocket::bind("0.0.0.0:0")).expect("a port is free");
    for _ in 0..RIVALS {
        let mut rival = start(&lab, &config(&lab, 0));
        let has_ended = AtomicBool::new(false);
        let lost = thread::scope(|scope| {
            scope.spawn(|| {
                while !has_ended.load(Ordering::Relaxed) {
                    socket.send_to(b"who?", Vip::OnLink.echo(Family::V4)).expect("there is a way to the VIP");
                    sent += 1;
                    thread::sleep(BETWEEN_DATAGRAMS);
                }
            });
            let lost = within(PATIENCE, || rival.ended());
            has_ended.store(true, Ordering::Relaxed);
            lost
        });
        assert_eq!(lost.and_then(|status| status.code()), Some(1), "{}", rival.stderr());
        go_on(&mut conversations, "beside another start");
        ended += 1;
    }
    let arrived = within(PATIENCE, || Some(datagrams(&lab, 0) - before).filter(|arrived| *arrived >= sent));
    assert_eq!(arrived, Some(sent), "each comes once");
    assert_eq!(ended, STARTS - 1);
    let now = fs::read_to_string(appliance.socket().with_extension("state.toml"));
    assert_eq!(now.ok(), Some(kept));
    assert!(appliance.is_healthy());
}
