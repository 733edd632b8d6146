//! Changes by an operator while clients are served: reloads, drains, a new address, a stop.

use std::thread;
use std::time::Duration;

use guideway::api::view::EventKind;
use rustix::process::Signal;

use crate::lab::Lab;
use crate::lab::address::{self, Family, Vip};
use crate::lab::appliance::Appliance;
use crate::lab::backend::Backend;
use crate::lab::conversation::{Conversation, go_on};
use crate::lab::load::{Connections, Load};
use crate::lab::patience::{PATIENCE, within};
use crate::lab::setup::{PROBES, Setup, http_check};
use crate::lab::web_server::Probed;

/// Number of connections: enough for each of three backends to have some.
const CONVERSATIONS: usize = 24;
/// Time between two reloads, so that traffic meets each of them.
const PAUSE: Duration = Duration::from_millis(50);
/// Source ports of the datagram flows.
const PORTS: std::ops::Range<u16> = 20_000..20_050;
/// Signals to reload, one after the other without a pause.
const SIGNALS: u32 = 20_000;
/// Growth over all reloads that is none: events, and the allocator's own.
const GROWTH_KIB: u64 = 16 << 10;
const ALL: [&str; 3] = ["b0", "b1", "b2"];
/// Backends that serve once b2 does not.
const REST: [&str; 2] = ["b0", "b1"];

/// Connections and datagram flows that began while all three backends served, each with its backend's name.
struct Established<'l> {
    lab: &'l Lab,
    family: Family,
    conversations: Vec<(Conversation, String)>,
    flows: Vec<(u16, String)>,
}

impl<'l> Established<'l> {
    fn new(lab: &'l Lab, family: Family) -> Self {
        let conversations = Conversation::several(lab, Vip::OnLink.web(family), CONVERSATIONS);
        let flows: Vec<_> = PORTS.map(|port| (port, lab.ask(Vip::OnLink.echo(family), port))).collect();
        assert!(conversations.iter().any(|(_, who)| who == "b2"), "b2 has connections to lose");
        assert!(flows.iter().any(|(_, who)| who == "b2"), "b2 has flows to lose");
        Self { lab, family, conversations, flows }
    }

    /// Checks that all are served by the backend that they began with.
    fn all_go_on(&mut self) {
        go_on(&mut self.conversations, "after the change");
        for (port, who) in &self.flows {
            assert_eq!(&self.lab.ask(Vip::OnLink.echo(self.family), *port), who, "from port {port}");
        }
    }

    /// Checks that connections that begin now go to these backends, and to no others.
    fn new_ones_go_to(&self, expected: &[&str]) {
        self.lab.new_connections_go_to(self.family, expected);
    }
}

#[test]
fn a_removed_backend_drains() {
    let lab = Lab::new(1, 3);
    let _backends = Backend::all(&lab, 3);
    let appliance = Appliance::start(&lab, 0, &Setup::of(3));
    let mut established = Family::BOTH.map(|family| Established::new(&lab, family));
    appliance.reload(&Setup::of(2));
    for established in &mut established {
        established.new_ones_go_to(&REST);
        established.all_go_on();
    }
    appliance.reload(&Setup::of(3));
    appliance.wait_for_health();
    for established in &mut established {
        established.new_ones_go_to(&ALL);
        established.all_go_on();
    }
}

#[test]
fn a_removed_backend_that_does_not_drain_loses_its_connections() {
    let lab = Lab::new(1, 3);
    let _backends = Backend::all(&lab, 3);
    let appliance = Appliance::start(&lab, 0, &Setup { draining_timeout_sec: 0, ..Setup::of(3) });
    let Established { conversations, .. } = Established::new(&lab, Family::V4);
    appliance.reload(&Setup { draining_timeout_sec: 0, ..Setup::of(2) });
    for (mut conversation, who) in conversations {
        let now = conversation.who();
        match who.as_str() {
            // Another backend gets the packets now; it does not know the connection, and resets it.
            "b2" => drop(now.expect_err("the backend is removed")),
            _ => assert_eq!(now.expect("the connection goes on"), who),
        }
    }
}

#[test]
fn a_drained_backend_keeps_its_connections_and_gets_no_new_ones() {
    let lab = Lab::new(1, 3);
    let _backends = Backend::all(&lab, 3);
    let appliance = Appliance::start(&lab, 0, &Setup::of(3));
    let mut established = Established::new(&lab, Family::V4);
    appliance.must(&["backend", "drain", "v4", "b2"]);
    established.new_ones_go_to(&REST);
    established.all_go_on();
    let backends = appliance.backends();
    let drained = backends.iter().filter(|backend| backend.operator_drained);
    let drained: Vec<_> = drained.map(|backend| (backend.service.as_str(), backend.name.as_str())).collect();
    assert_eq!(drained, [("v4", "b2")]);
    // A reload of the same configuration does not undo the drain.
    appliance.reload(&Setup::of(3));
    established.new_ones_go_to(&REST);
    appliance.must(&["backend", "undrain", "v4", "b2"]);
    appliance.wait_for_health();
    established.new_ones_go_to(&ALL);
    established.all_go_on();
}

/// Addresses of `[[port]]` are fixed at the start; those of `[network]`, which probes come from, can be reloaded.
#[test]
fn probes_go_on_from_the_address_that_the_appliance_moves_to() {
    let lab = Lab::new(1, 3);
    let backends = Backend::all(&lab, 3);
    let setup = Setup::checked_by(3, http_check());
    let appliance = Appliance::start(&lab, 0, &setup);
    let mut established = Family::BOTH.map(|family| Established::new(&lab, family));
    let before = appliance.events().len();

    appliance.reload(&Setup { own_address: address::moved_appliance, ..setup });
    for (family, vip) in Family::BOTH.into_iter().flat_map(|family| Vip::BOTH.map(|vip| (family, vip))) {
        // More probes than would make the backend unhealthy if they were not answered.
        let moved = |probe: &&Probed| {
            (probe.from, probe.to) == (address::moved_appliance(0, family), vip.address(family))
        };
        let answered = |backend: &Backend| backend.web.probes().iter().filter(moved).count() > PROBES;
        let all = within(PATIENCE, || backends.iter().all(answered).then_some(()));
        all.unwrap_or_else(|| {
            panic!("{:?}", backends.iter().map(|backend| backend.web.probes()).collect::<Vec<_>>())
        });
    }
    let events = appliance.events().split_off(before);
    assert!(events.iter().all(|event| event.kind != EventKind::BackendUnhealthy), "{events:#?}");
    assert!(appliance.is_healthy());
    for established in &mut established {
        established.new_ones_go_to(&ALL);
        established.all_go_on();
    }
    // No probe comes from the old address any more.
    for backend in &backends {
        let probes = backend.web.probes();
        let last = &probes[probes.len() - PROBES..];
        let is_moved = |probe: &Probed| {
            Family::BOTH.iter().any(|family| probe.from == address::moved_appliance(0, *family))
        };
        assert!(last.iter().all(is_moved), "{last:?}");
    }
}

/// Reloads again and again while wrk sends requests; each reload removes a backend or adds it again.
fn reloads_lose_no_request(connections: Connections) {
    let lab = Lab::new(1, 3);
    let _backends = Backend::all(&lab, 3);
    let appliance = Appliance::start(&lab, 0, &Setup::of(3));
    for family in Family::BOTH {
        let mut load = Load::start(&lab, Vip::OnLink.web(family), connections, 4);
        let (mut reloads, mut removals) = (0, 0);
        let mut backends = 3;
        while load.runs() && reloads < 1_000 {
            // A backend that was added gets traffic once it is healthy; until then, the same file is reloaded.
            if backends == 2 {
                backends = 3;
            } else if appliance.is_healthy() {
                backends = 2;
                removals += 1;
            }
            appliance.reload(&Setup::of(backends));
            reloads += 1;
            thread::sleep(PAUSE);
        }
        let summary = load.finish();
        let stats = appliance.stats();
        assert_eq!(
            stats.conntrack.counts.full, 0,
            "there is room for all connections: {:?}",
            stats.conntrack
        );
        assert!(
            stats.total.forwarded >= summary.requests,
            "all went through the appliance: {:?}",
            stats.total
        );
        assert_eq!((summary.socket_errors, summary.bad_answers), (0, 0), "{family:?}: {summary:?}");
        assert!(summary.requests > 100 && removals > 1, "{removals} removals, {summary:?}");
        println!("{family:?}, {connections:?}: {reloads} reloads, {removals} removals, {summary:?}");
        appliance.reload(&Setup::of(3));
        appliance.wait_for_health();
    }
}

#[test]
fn reloads_lose_no_request_of_connections_that_last() {
    reloads_lose_no_request(Connections::Kept);
}

#[test]
fn reloads_lose_no_request_of_connections_that_come_and_go() {
    reloads_lose_no_request(Connections::OneEach);
}

#[test]
fn a_wrong_configuration_changes_nothing_and_says_why() {
    let lab = Lab::new(1, 3);
    let _backends = Backend::all(&lab, 3);
    let appliance = Appliance::start(&lab, 0, &Setup::of(3));
    let mut established = Established::new(&lab, Family::V4);
    let generation = || appliance.status().configuration_generation;
    let before = generation();

    appliance.configure(&Setup::of(2));
    appliance.spoil();
    let refused = appliance.verb(&["reload"]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    assert!(refused.stderr.contains("no_such_key"), "{}", refused.stderr);

    appliance.signal(Signal::HUP);
    let logged = within(PATIENCE, || {
        let log = appliance.log();
        (log.contains("configuration not reloaded") && log.contains("no_such_key")).then_some(())
    });
    assert!(logged.is_some(), "{}", appliance.log());

    // A file that takes most backends out needs a word, which a signal does not have.
    appliance.configure(&Setup::of(1));
    appliance.signal(Signal::HUP);
    let logged = within(PATIENCE, || appliance.log().contains("`guideway reload --yes`").then_some(()));
    assert!(logged.is_some(), "{}", appliance.log());
    let refused = appliance.verb(&["reload"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let planned = appliance.verb(&["reload", "--dry-run"]);
    assert_eq!(planned.status.code(), Some(4), "{planned:?}");
    assert!(planned.stdout.contains("a reload needs `--yes`"), "{planned:?}");

    assert_eq!(generation(), before);
    established.new_ones_go_to(&ALL);
    established.all_go_on();

    // Once the file is right, the signal reloads it too.
    appliance.configure(&Setup::of(2));
    appliance.signal(Signal::HUP);
    within(PATIENCE, || (generation() > before).then_some(())).expect("the configuration is reloaded");
    established.new_ones_go_to(&REST);
    established.all_go_on();
    // The same file once more is nothing.
    let reloaded = generation();
    assert!(appliance.must(&["reload"]).contains("nothing changed: configuration"));
    assert_eq!(generation(), reloaded);
}

/// Signals come faster than configurations are read: those in between are one reload.
#[test]
fn twenty_thousand_signals_to_reload_lose_no_connection_and_keep_no_memory() {
    let lab = Lab::new(1, 3);
    let _backends = Backend::all(&lab, 3);
    let appliance = Appliance::start(&lab, 0, &Setup::of(3));
    let mut conversations = Conversation::several(&lab, Vip::OnLink.web(Family::V4), CONVERSATIONS);
    let draining = |seconds| Setup { draining_timeout_sec: seconds, ..Setup::of(3) };
    // Reloads that come first have the room that all others use again.
    for seconds in [301, 302] {
        appliance.reload(&draining(seconds));
    }
    let (before, generation) = (resident_kib(&appliance), appliance.status().configuration_generation);
    for number in 0..SIGNALS {
        if number % (SIGNALS / 10) == 0 {
            appliance.configure(&draining(303 + number * 10 / SIGNALS));
            go_on(&mut conversations, "among the signals");
        }
        appliance.signal(Signal::HUP);
    }
    let in_force = || appliance.must(&["reload"]).contains("nothing changed").then_some(());
    within(PATIENCE, in_force).expect("the last configuration is in force");
    assert!(appliance.status().configuration_generation > generation);
    go_on(&mut conversations, "after the signals");
    let after = resident_kib(&appliance);
    assert!(after <= before + GROWTH_KIB, "{before} KiB before, {after} KiB after");
}

/// Memory of an appliance that is in use.
fn resident_kib(appliance: &Appliance<'_>) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", appliance.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).expect("a number")
}

#[test]
fn the_appliance_stops_when_it_is_told_to() {
    let lab = Lab::new(1, 1);
    let _backends = Backend::all(&lab, 1);
    for tell in [
        (|appliance| drop(appliance.must(&["stop"]))) as fn(&Appliance<'_>),
        |appliance| appliance.signal(Signal::TERM),
        |appliance| appliance.signal(Signal::INT),
    ] {
        let mut appliance = Appliance::start(&lab, 0, &Setup::of(1));
        tell(&appliance);
        let ended = appliance.finish();
        assert!(ended.status.success(), "{ended:?}");
        assert!(!appliance.socket().exists(), "the appliance removes its socket");
    }
}
