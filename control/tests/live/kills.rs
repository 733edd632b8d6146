//! A process that is killed, stopped or hung under load: what becomes of connections.

use std::thread;

use guideway::api::view::EventKind;
use rustix::process::Signal;

use crate::lab::Lab;
use crate::lab::address::{Family, Vip};
use crate::lab::appliance::{Appliance, socket};
use crate::lab::backend::Backend;
use crate::lab::client::retransmissions;
use crate::lab::conversation::{Conversation, go_on};
use crate::lab::load::{Connections, Load};
use crate::lab::patience::{PATIENCE, within};
use crate::lab::setup::Setup;

/// Connections that are open when something happens: enough for each of three backends to have some.
const CONVERSATIONS: usize = 24;
/// Segments that TCP has sent again when a stopped process goes on: it has waited for a second and a half by then.
const SENT_AGAIN: u64 = 3;
/// Connections that are open while a worker stands still.
const CONVERSATIONS_OF_STALL: usize = 12;
/// Packets after which a worker stands still for three seconds: the conversations are open by then.
const PACKETS_BEFORE_STALL: usize = 300;

/// The drain is kept by its file, the connections to the drained backend are known to the conntrack table alone.
#[test]
fn a_kill_loses_the_connections_that_only_the_table_knew_and_no_others() {
    let lab = Lab::new(1, 3);
    let _backends = Backend::all(&lab, 3);
    let mut appliance = Appliance::start(&lab, 0, &Setup { keeps_state: true, ..Setup::of(3) });
    let mut conversations = Conversation::several(&lab, Vip::OnLink.web(Family::V4), CONVERSATIONS);
    appliance.must(&["backend", "drain", "v4", "b2"]);
    go_on(&mut conversations, "while b2 drains");
    appliance.kill();
    appliance.restart();
    let (on_b2, mut others): (Vec<_>, Vec<_>) = conversations.into_iter().partition(|(_, who)| who == "b2");
    assert!(!on_b2.is_empty() && others.len() + on_b2.len() == CONVERSATIONS);
    go_on(&mut others, "after the restart");
    for (mut conversation, _) in on_b2 {
        // Another backend gets the packets, which answers with a reset.
        drop(conversation.who().expect_err("nobody knows of the connection"));
    }
    lab.new_connections_go_to(Family::V4, &["b0", "b1"]);
}

#[test]
fn a_kill_under_load_fails_no_request() {
    let lab = Lab::new(1, 3);
    let _backends = Backend::all(&lab, 3);
    let mut appliance = Appliance::start(&lab, 0, &Setup::of(3));
    let vip = Vip::OnLink.web(Family::V4);
    let mut conversations = Conversation::several(&lab, vip, CONVERSATIONS);
    let mut load = Load::start(&lab, vip, Connections::Kept, 5);
    let goes_on = || (appliance.stats().total.forwarded > 1_000).then_some(());
    within(PATIENCE, goes_on).expect("requests come");
    appliance.kill();
    appliance.restart();
    assert!(load.runs(), "the kill is under load");
    let summary = load.finish();
    assert_eq!((summary.socket_errors, summary.bad_answers), (0, 0), "{summary:?}");
    go_on(&mut conversations, "after the kill");
}

#[test]
fn a_process_that_is_stopped_loses_no_connection_and_says_that_it_stood_still() {
    let lab = Lab::new(1, 3);
    let _backends = Backend::all(&lab, 3);
    let appliance = Appliance::start(&lab, 0, &Setup::of(3));
    let mut conversations = Conversation::several(&lab, Vip::OnLink.web(Family::V4), CONVERSATIONS);
    appliance.signal(Signal::STOP);
    let before = retransmissions(&lab);
    thread::scope(|scope| {
        let asking = scope.spawn(|| go_on(&mut conversations, "after the stop"));
        // The first of them waits, and TCP sends again, later each time.
        let repeated = || (retransmissions(&lab) >= before + SENT_AGAIN).then_some(());
        let waited = within(PATIENCE, repeated);
        appliance.signal(Signal::CONT);
        waited.expect("the connection sends again");
        asking.join().expect("every connection goes on");
    });
    let told = || {
        let events = appliance.events();
        events.iter().any(|event| event.kind == EventKind::ControlStalled).then_some(())
    };
    within(PATIENCE, told).expect("the stall is an event");
    assert_no_backend_failed(&appliance);
}

#[test]
fn a_worker_that_stalls_loses_no_connection_and_no_backend() {
    let lab = Lab::new(1, 3);
    let _backends = Backend::all(&lab, 3);
    let fault = format!("GUIDEWAY_FAULT=stall:0:{PACKETS_BEFORE_STALL}");
    let appliance =
        Appliance::start_by(&lab, 0, &Setup::of(3).toml(0, &socket(&lab, 0)), vec!["env".to_owned(), fault]);
    let mut conversations = Conversation::several(&lab, Vip::OnLink.web(Family::V4), CONVERSATIONS_OF_STALL);
    let has = |kind| appliance.events().iter().any(|event| event.kind == kind);
    let ended = within(PATIENCE, || {
        go_on(&mut conversations, "before, in and after the stall");
        has(EventKind::WorkerResumed).then_some(())
    });
    ended.expect("the worker stalls and goes on");
    assert!(has(EventKind::WorkerStalled));
    go_on(&mut conversations, "after the stall");
    assert_no_backend_failed(&appliance);
}

/// Checks that stalls on this side have taken no backend out.
fn assert_no_backend_failed(appliance: &Appliance<'_>) {
    let events = appliance.events();
    let failed: Vec<_> = events.iter().filter(|event| event.kind == EventKind::BackendUnhealthy).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert!(appliance.is_healthy());
}
