//! Backends that an operator takes out by hand: what goes on, what ends it, and what a restart remembers.

use std::fs;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use guideway::api::view::{BackendDrain, EventKind};
use rustix::process::Signal;

use crate::lab::Lab;
use crate::lab::address::{Family, Vip};
use crate::lab::appliance::Appliance;
use crate::lab::backend::Backend;
use crate::lab::client::names;
use crate::lab::conversation::Conversation;
use crate::lab::setup::Setup;

/// Number of new connections that show where a client goes.
const CONNECTIONS: usize = 8;
/// Number of connections: enough for each of three backends to have some.
const CONVERSATIONS: usize = 24;
/// Kills amid an operator's drains, each at a later moment.
const KILLS: u64 = 5;

/// Name of the one backend that all connections of the client go to.
fn only_backend(lab: &Lab) -> String {
    let pages = lab.curl(Vip::OnLink.web(Family::V4), CONNECTIONS);
    let names: Vec<_> = names(&pages).into_iter().map(str::to_owned).collect();
    assert_eq!(names.len(), 1, "a client has one backend: {names:?}");
    names.concat()
}

#[test]
fn sessions_of_a_drained_backend_are_told_and_end_at_the_deadline() {
    let lab = Lab::new(1, 3);
    let _backends = Backend::all(&lab, 3);
    let appliance = Appliance::start(&lab, 0, &Setup { sessions: true, ..Setup::of(3) });
    let before = only_backend(&lab);
    let told = appliance.must(&["backend", "drain", "v4", &before]);
    assert!(
        told.contains("1 session remains\nwarning: service `v4` tracks sessions (PER_SESSION)"),
        "{told}"
    );
    assert_eq!(only_backend(&lab), before, "new connections of a tracked client");
    let late = appliance.verb(&["backend", "drain", "v4", &before, "--wait", "1"]);
    assert_eq!(late.status.code(), Some(1), "{}", late.stdout);
    assert_eq!(late.stderr, "error: the time is over, and 1 session remains\n");

    let words = ["backend", "drain", "v4", &before, "--wait", "--deadline", "1", "--output", "json"];
    let ended: BackendDrain = serde_json::from_str(&appliance.must(&words)).unwrap();
    assert!(ended.backend.operator_drained);
    assert_eq!(ended.remaining.map(|remaining| remaining.total()), Some(0));
    let after = only_backend(&lab);
    assert_ne!(after, before);
    appliance.must(&["backend", "undrain", "v4", &before]);
    assert_eq!(only_backend(&lab), after, "what has ended does not come back");
}

#[test]
fn a_wait_ends_with_the_last_connection() {
    let lab = Lab::new(1, 3);
    let _backends = Backend::all(&lab, 3);
    let appliance = Appliance::start(&lab, 0, &Setup::of(3));
    let conversations = Conversation::several(&lab, Vip::OnLink.web(Family::V4), CONVERSATIONS);
    let on_b2 = conversations.iter().filter(|(_, who)| who == "b2").count();
    let told = appliance.must(&["backend", "drain", "v4", "b2"]);
    let counted: usize = told
        .lines()
        .find_map(|line| line.strip_suffix(" connections remain"))
        .and_then(|count| count.parse().ok())
        .unwrap_or_else(|| panic!("{told}"));
    assert!(on_b2 > 1 && counted >= on_b2, "{on_b2} of these at least: {told}");
    drop(conversations);
    let ended = appliance.must(&["backend", "drain", "v4", "b2", "--wait", "--deadline", "2"]);
    assert!(ended.ends_with("no connection remains any more\n"), "{ended}");
}

#[test]
fn a_drain_holds_over_a_restart_from_the_first_packet_on() {
    let lab = Lab::new(1, 3);
    let _backends = Backend::all(&lab, 3);
    let setup = Setup { keeps_state: true, ..Setup::of(3) };
    let mut appliance = Appliance::start(&lab, 0, &setup);
    appliance.must(&["backend", "drain", "v4", "b2"]);
    appliance.restart();
    lab.new_connections_go_to(Family::V4, &["b0", "b1"]);
    lab.new_connections_go_to(Family::V6, &["b0", "b1", "b2"]);
    let settings = appliance.status().operator_settings;
    assert_eq!(settings.last_error, None);
    let drained: Vec<_> = settings.backends.iter().map(|one| (&*one.service, &*one.backend)).collect();
    assert_eq!(drained, [("v4", "b2")]);
    assert!(appliance.must(&["status"]).contains("kept over a restart in "));
    appliance.must(&["backend", "undrain", "v4", "b2"]);
    appliance.restart();
    lab.new_connections_go_to(Family::V4, &["b0", "b1", "b2"]);
    // Without a file in the configuration the next start knows nothing of a drain.
    appliance.must(&["backend", "drain", "v4", "b2"]);
    appliance.configure(&Setup::of(3));
    appliance.restart();
    lab.new_connections_go_to(Family::V4, &["b0", "b1", "b2"]);
}

/// Kills the appliance while its operator drains and undrains without a pause, and starts it again.
#[test]
fn a_kill_at_any_moment_leaves_a_whole_state() {
    let lab = Lab::new(1, 3);
    let _backends = Backend::all(&lab, 3);
    let mut appliance = Appliance::start(&lab, 0, &Setup { keeps_state: true, ..Setup::of(3) });
    for round in 0..KILLS {
        thread::scope(|scope| {
            let appliance = &appliance;
            let (answered, answers) = mpsc::channel();
            scope.spawn(move || {
                for verb in ["drain", "undrain"].into_iter().cycle() {
                    if !appliance.verb(&["backend", verb, "v4", "b2"]).status.success() {
                        break;
                    }
                    // Nobody listens after the first answer.
                    let _ = answered.send(());
                }
            });
            answers.recv().expect("the appliance answers");
            thread::sleep(Duration::from_millis(37 * round));
            appliance.signal(Signal::KILL);
        });
        appliance.restart();
        let kinds: Vec<_> = appliance.events().into_iter().map(|event| event.kind).collect();
        assert!(!kinds.contains(&EventKind::OperatorStateFailed), "{}", appliance.log());
        let b2 = appliance.backends().into_iter().find(|one| (&*one.service, &*one.name) == ("v4", "b2"));
        let is_drained = b2.expect("it is configured").operator_drained;
        let file = fs::read_to_string(appliance.socket().with_extension("state.toml")).unwrap();
        assert_eq!(file.contains("drained_at_unix_sec"), is_drained, "{file}");
    }
}
