//! Reloads that take their time, or never end: the control thread goes on meanwhile.

use std::fs;
use std::process::Command;
use std::time::Duration;

use guideway::api::request::{Refused, Request};
use guideway::api::view;

use crate::operator::*;

fn reload(
    operator: &Operator,
    confirms_removals: bool,
) -> impl Future<Output = Result<view::Reload, Refused>> {
    operator.ask(move |reply| Request::Reload { confirms_removals, reply })
}

#[test]
fn a_pipe_in_the_place_of_the_file_is_refused_and_stops_nothing() {
    let result = with_appliance("pipe", |operator| async move {
        fs::remove_file(&operator.config_path).unwrap();
        assert!(Command::new("mkfifo").arg(&operator.config_path).status().unwrap().success());
        let refused = reload(&operator, false).await;
        let Err(Refused::ConfigUnreadable { error, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(error, "it is a named pipe, and only regular files are read");
        assert_eq!(
            operator.ask(|reply| Request::Status { reply }).await.unwrap().configuration_generation,
            1
        );
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn questions_are_answered_while_a_large_file_is_read() {
    let result = with_appliance("large", |operator| async move {
        let group = |number: usize| {
            format!(
                "[[backend_group]]\nname = \"g{number}\"\nendpoints = [{{ name = \"a\", ip_address = \"192.0.2.9\" }}]\n"
            )
        };
        let groups: String = (0..10_000).map(group).collect();
        fs::write(&operator.config_path, format!("{CONFIG}{groups}")).unwrap();
        let mut reload = std::pin::pin!(reload(&operator, false));
        for _ in 0..20 {
            tokio::select! {
                biased;
                reload = &mut reload => panic!("it was read between two questions: {reload:?}"),
                status = operator.ask(|reply| Request::Status { reply }) => {
                    assert_eq!(status.unwrap().configuration_generation, 1);
                }
            }
        }
        assert_eq!(reload.await.unwrap().configuration_generation, 2);
        let status = operator.ask(|reply| Request::Status { reply }).await.unwrap();
        let turns: u64 = status.control_loop.turns.iter().map(|turns| turns.turns).sum();
        assert!(turns > 20 && status.control_loop.longest_stall_ms >= 0.0, "{:?}", status.control_loop);
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn reloads_that_come_together_are_answered_together() {
    let result = with_appliance("together", |operator| async move {
        let without_b = CONFIG.replace("    { name = \"b\", ip_address = \"192.0.2.12\" },\n", "");
        fs::write(&operator.config_path, without_b).unwrap();
        let mut replies = Vec::new();
        for _ in 0..60 {
            let (reply, replied) = tokio::sync::oneshot::channel();
            let request = Request::Reload { confirms_removals: false, reply };
            operator.senders.requests.send(request).await.unwrap();
            replies.push(replied);
        }
        for replied in replies {
            assert_eq!(replied.await.unwrap().unwrap().configuration_generation, 2);
        }
        let reloads = operator.events_after(0).await.into_iter();
        let reloads = reloads.filter(|(kind, _)| *kind == view::EventKind::Reloaded).count();
        assert!(reloads <= 30, "{reloads} reads for 60 requests");
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn signals_that_the_last_resort_alone_has_heard_are_followed() {
    let result = with_appliance("unheard", |operator| async move {
        let asked = operator.last_resort.clone();
        let events = || operator.ask(|reply| Request::Events { limit: 100, after: None, reply });
        asked.ask_to_reload();
        within_turns(async || {
            let events = events().await.unwrap().events;
            events.iter().any(|event| event.kind == view::EventKind::Reloaded)
        })
        .await;
        asked.ask_to_stop();
        // Requests end with the appliance.
        operator.senders.requests.closed().await;
    });
    assert_eq!(result, Ok(()));
}

/// Waits until something is true.
async fn within_turns(is_true: impl AsyncFn() -> bool) {
    for _ in 0..10_000 {
        if is_true().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("it does not come true");
}
