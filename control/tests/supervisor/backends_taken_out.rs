//! Backends that an operator takes out by hand: what they still have, when that ends, and what a restart remembers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use guideway::api::request::Request;
use guideway::api::view::{Backend, EventKind, OperatorSettings, Remaining, WeightSource};
use guideway::health::probe::WeightReport;
use guideway::run::assemble::Probing;
use guideway::run::worker::WorkerFailure;
use pcap_fixtures::packet::Packet;

use crate::operator::{CONFIG, Operator, run, stop, to_vip, with_appliance, with_watch};

/// Services whose clients keep their backend: sessions by the client's address.
fn sessions() -> String {
    CONFIG.replace(
        "connection_draining",
        "session_affinity = \"CLIENT_IP\"\n\
         connection_tracking_policy = { tracking_mode = \"PER_SESSION\" }\nconnection_draining",
    )
}

/// Services that choose by weight.
fn weighted() -> String {
    CONFIG
        .replace("connection_draining", "locality_lb_policy = \"WEIGHTED_MAGLEV\"\nconnection_draining")
        .replace("\"TCP\"", "\"HTTP\"")
}

impl Operator {
    async fn remaining(&self, backend: &str) -> Remaining {
        let (service, backend) = ("web".to_owned(), backend.to_owned());
        self.ask(|reply| Request::BackendRemaining { service, backend, reply }).await.unwrap()
    }

    async fn undrain(&self, backend: &str) -> Backend {
        let (service, backend) = ("web".to_owned(), backend.to_owned());
        self.ask(|reply| Request::BackendUndrain { service, backend, reply }).await.unwrap()
    }

    async fn weigh(&self, backend: &str, weight: u16) -> Backend {
        let (service, backend) = ("web".to_owned(), backend.to_owned());
        self.ask(|reply| Request::BackendSetWeight { service, backend, weight, reply }).await.unwrap()
    }

    async fn settings(&self) -> OperatorSettings {
        self.ask(|reply| Request::Status { reply }).await.unwrap().operator_settings
    }

    /// Last byte of the MAC address that a packet of a client goes to.
    async fn backend_of(&mut self, packet: &Packet) -> u8 {
        self.send(packet);
        self.receive(|frame| frame[12..14] == [8, 0]).await[5]
    }

    /// Waits until nothing remains on a backend, which takes a second of the data plane's clock.
    async fn empty(&self, backend: &str) {
        for _ in 0..5_000 {
            if self.remaining(backend).await.connections + self.remaining(backend).await.sessions == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("{:?}", self.remaining(backend).await);
    }
}

/// Backends with settings, each with its drain and its weight.
fn set_by_hand(settings: &OperatorSettings) -> Vec<(&str, bool, Option<u16>)> {
    let backends = settings.backends.iter();
    backends.map(|one| (&*one.backend, one.drained_at_unix_sec.is_some(), one.weight)).collect()
}

#[test]
fn a_drain_says_what_remains_and_its_deadline_ends_it() {
    let result = with_appliance("deadline", |mut operator| async move {
        operator.answer_arp().await;
        let mut on_b = Vec::new();
        for src_port in 1_000..1_040 {
            if operator.backend_of(&to_vip(src_port)).await == 0xb {
                on_b.push(src_port);
            }
        }
        let drained = operator.drain("b", None).await.unwrap();
        assert_eq!(drained.entries_end_sec, None);
        let connections = on_b.len() as u64;
        assert_eq!(operator.remaining("b").await, Remaining { connections, sessions: 0, warning: None });
        assert_eq!(operator.remaining("a").await.connections, 40 - connections);
        let go_on = |src_port| Packet::between("192.0.2.50", "192.0.2.100").tcp(src_port, 80, 0x10);
        assert_eq!(operator.backend_of(&go_on(on_b[0])).await, 0xb);

        let drained = operator.drain("b", Some(Duration::from_secs(3_600))).await.unwrap();
        assert!(drained.entries_end_sec.is_some_and(|left| left >= 3_000), "{drained:?}");
        assert_eq!(operator.backend_of(&go_on(on_b[0])).await, 0xb);
        operator.drain("b", Some(Duration::ZERO)).await.unwrap();
        operator.empty("b").await;
        for src_port in &on_b {
            assert_eq!(operator.backend_of(&go_on(*src_port)).await, 0xa, "{src_port}");
        }
        // Connections that went elsewhere stay there.
        assert!(operator.undrain("b").await.eligible);
        for src_port in on_b {
            assert_eq!(operator.backend_of(&go_on(src_port)).await, 0xa, "{src_port}");
        }
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn sessions_of_a_drained_backend_go_on_which_is_said_until_a_deadline_ends_them() {
    let result = run("sessions", &sessions(), Probing::Off, None, |mut operator| async move {
        operator.answer_arp().await;
        let at = operator.backend_of(&to_vip(1_000)).await;
        let (name, other) = if at == 0xa { ("a", 0xb) } else { ("b", 0xa) };
        operator.drain(name, None).await.unwrap();
        for src_port in 2_000..2_008 {
            assert_eq!(operator.backend_of(&to_vip(src_port)).await, at, "a new connection of the client");
        }
        let remaining = operator.remaining(name).await;
        assert_eq!((remaining.connections, remaining.sessions), (0, 1));
        let warning = remaining.warning.unwrap();
        assert!(warning.starts_with("service `web` tracks sessions (PER_SESSION): new conn"), "{warning}");

        operator.drain(name, Some(Duration::ZERO)).await.unwrap();
        operator.empty(name).await;
        assert_eq!(operator.remaining(name).await.warning, None);
        for src_port in 3_000..3_008 {
            assert_eq!(operator.backend_of(&to_vip(src_port)).await, other);
        }

        // A removed backend brings as much, for as long as it drains.
        let without_b = sessions().replace("{ name = \"b\", ip_address = \"192.0.2.12\" },", "");
        std::fs::write(&operator.config_path, without_b).unwrap();
        let reload = operator.ask(|reply| Request::Reload { confirms_removals: false, reply }).await.unwrap();
        assert_eq!(
            reload.changes[0].text,
            "backend web/b: drains for 60 s, in which new connections of its sessions (PER_SESSION) still come to it"
        );
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn a_reset_takes_back_drain_and_weight_and_the_reported_weight_counts_again() {
    let result = with_watch("reset", &weighted(), |operator| async move {
        for backend in ["a", "b"] {
            for _ in 0..2 {
                operator.report(backend, Ok(Some(WeightReport::Weight(7)))).await;
            }
        }
        operator.backend_when("b", |backend| backend.weight == Some(7)).await;
        operator.weigh("b", 0).await;
        operator.drain("b", None).await.unwrap();
        assert_eq!(set_by_hand(&operator.settings().await), [("b", true, Some(0))]);
        assert_eq!(operator.settings().await.state_path, None);
        let (service, backend) = ("web".to_owned(), "b".to_owned());
        let reset = operator.ask(|reply| Request::BackendReset { service, backend, reply }).await.unwrap();
        assert_eq!((reset.weight, reset.weight_source), (Some(7), WeightSource::Reported));
        assert!(!reset.operator_drained);
        assert_eq!(set_by_hand(&operator.settings().await), []);
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

/// Runs `test` beside an appliance that chooses by weight, and keeps what its operator does in a file.
fn with_state<T: Future<Output = ()>>(
    name: &str,
    state: &Path,
    test: impl FnOnce(Operator) -> T,
) -> Result<(), WorkerFailure> {
    run(name, &weighted(), Probing::Off, Some(state), test)
}

fn state_in(directory: &tempfile::TempDir) -> PathBuf {
    directory.path().join("state.toml")
}

async fn kinds(operator: &Operator) -> Vec<EventKind> {
    operator.events_after(0).await.into_iter().map(|(kind, _)| kind).collect()
}

#[test]
fn a_restart_finds_what_operators_had_set() {
    let directory = tempfile::tempdir().unwrap();
    let state = state_in(&directory);
    let first = with_state("before-restart", &state, |operator| {
        let state = state.clone();
        async move {
            operator.drain("b", None).await.unwrap();
            let on_disk = || std::fs::read_to_string(&state).unwrap();
            assert!(on_disk().contains("drained_at_unix_sec"), "it is there when the operator is answered");
            assert_eq!(operator.weigh("a", 5).await.warning, None);
            assert!(on_disk().contains("weight = 5"), "{}", on_disk());
            stop(&operator).await;
        }
    });
    assert_eq!(first, Ok(()));
    let second = with_state("after-restart", &state, |mut operator| async move {
        operator.answer_arp().await;
        for src_port in 1_000..1_040 {
            assert_eq!(operator.backend_of(&to_vip(src_port)).await, 0xa, "{src_port}");
        }
        let settings = operator.settings().await;
        assert_eq!(set_by_hand(&settings), [("a", false, Some(5)), ("b", true, None)]);
        assert!(settings.backends[1].drained_at_unix_sec.is_some_and(|at| at > 1_700_000_000));
        assert_eq!(kinds(&operator).await, [EventKind::OperatorStateKept]);
        assert!(operator.undrain("b").await.eligible);
        stop(&operator).await;
    });
    assert_eq!(second, Ok(()));
    let third = with_state("after-another", &state, |operator| async move {
        assert_eq!(set_by_hand(&operator.settings().await), [("a", false, Some(5))]);
        stop(&operator).await;
    });
    assert_eq!(third, Ok(()));
}

#[test]
fn a_reload_that_removes_a_backend_drops_what_was_set_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let state = state_in(&directory);
    let result = with_state("dropped", &state, |operator| async move {
        operator.drain("b", None).await.unwrap();
        operator.weigh("a", 5).await;
        let before = operator.latest_event_id().await;
        let other = weighted().replace("name = \"b\"", "name = \"c\"").replace(":0a\"", ":0a\", weight = 2");
        std::fs::write(&operator.config_path, other).unwrap();
        operator.ask(|reply| Request::Reload { confirms_removals: false, reply }).await.unwrap();
        let dropped = |backend: &str| (EventKind::OperatorSettingDropped, Some(backend.to_owned()));
        let events = operator.events_after(before).await;
        assert_eq!(events, [dropped("a"), dropped("b"), (EventKind::Reloaded, None)]);
        assert_eq!(set_by_hand(&operator.settings().await), []);
        // The file that is reloaded next has it again: as a new one, that nobody has drained.
        std::fs::write(&operator.config_path, weighted()).unwrap();
        operator.ask(|reply| Request::Reload { confirms_removals: false, reply }).await.unwrap();
        assert!(!operator.backend("b").await.operator_drained);
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
    let kept = std::fs::read_to_string(&state).unwrap();
    assert!(!kept.contains("[[backend]]"), "{kept}");
}

#[test]
fn a_spoiled_state_is_told_and_kept_aside() {
    let directory = tempfile::tempdir().unwrap();
    let state = state_in(&directory);
    std::fs::write(&state, "version = 1\n[[backend]]\nserv").unwrap();
    let result = with_state("spoiled", &state, |operator| async move {
        assert_eq!(kinds(&operator).await, [EventKind::OperatorStateFailed]);
        operator.drain("b", None).await.unwrap();
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
    let aside = std::fs::read_to_string(directory.path().join("state.toml.bad")).unwrap();
    assert_eq!(aside, "version = 1\n[[backend]]\nserv");
    assert!(std::fs::read_to_string(&state).unwrap().contains("drained_at_unix_sec"));
}

#[test]
fn a_change_that_cannot_be_kept_is_made_and_warned_of() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    let result = with_state("unkept", &missing.join("state.toml"), |operator| async move {
        let drained = operator.drain("b", None).await.unwrap();
        assert!(drained.operator_drained);
        let warning = drained.warning.unwrap();
        assert!(warning.starts_with("the change is lost with a restart: cannot write "), "{warning}");
        assert!(operator.settings().await.last_error.is_some());
        assert_eq!(
            kinds(&operator).await.iter().filter(|kind| **kind == EventKind::OperatorStateFailed).count(),
            1
        );
        std::fs::create_dir(&missing).unwrap();
        assert_eq!(operator.undrain("b").await.warning, None);
        assert_eq!(operator.settings().await.last_error, None);
        assert_eq!(kinds(&operator).await.last(), Some(&EventKind::OperatorStateKept));
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}
