//! Plans of reloads, explanations of the running state, and reloads that change nothing or need a word.

use guideway::api::request::{Refused, Request};
use guideway::api::view;
use guideway_model::config::Sources;

use crate::operator::*;

/// Text of the configuration's only rule.
fn rule() -> &'static str {
    &CONFIG[CONFIG.find("[[forwarding_rule]]").unwrap()..CONFIG.find("[[backend_service]]").unwrap()]
}

#[test]
fn a_plan_counts_connections_and_changes_nothing() {
    let result = with_appliance("plan", |mut operator| async move {
        operator.answer_arp().await;
        let mut on_b = 0;
        for src_port in 1_000..1_040 {
            operator.send(&to_vip(src_port));
            on_b += u64::from(operator.receive(|frame| frame[12..14] == [8, 0]).await[5] == 0xb);
        }
        operator.drain("b", None).await.unwrap();
        let plan = |text: String| {
            let config = Some(Sources::of_text("new.toml", text));
            operator.ask(|reply| Request::Plan { config, reply })
        };
        let same = plan(CONFIG.to_owned()).await.unwrap();
        assert_eq!((same.verdict, same.services[0].tracked), (view::PlanVerdict::Nothing, Some(40)));
        let without_b = CONFIG.replace("    { name = \"b\", ip_address = \"192.0.2.12\" },\n", "");
        let drains = plan(without_b.clone()).await.unwrap();
        assert_eq!(drains.verdict, view::PlanVerdict::Changes);
        let [fate] = &drains.connections[..] else { panic!("{drains:?}") };
        assert_eq!((&*fate.backend, fate.fate, fate.count), ("b", view::Fate::Drain, Some(on_b)));
        assert_eq!(drains.services[0].slots_moved, Some(0), "it was drained before, and had no slot");
        let ends =
            plan(without_b.replace("draining_timeout_sec = 60", "draining_timeout_sec = 0")).await.unwrap();
        assert_eq!(ends.verdict, view::PlanVerdict::ConnectionsAtRisk);
        assert_eq!((ends.connections[0].fate, ends.connections[0].count), (view::Fate::End, Some(on_b)));
        let own = operator.ask(|reply| Request::Plan { config: None, reply }).await.unwrap();
        assert_eq!((own.verdict, own.configuration_generation), (view::PlanVerdict::Nothing, Some(1)));
        assert!(matches!(plan("ports = 1".to_owned()).await, Err(Refused::Config(_))));
        let status = operator.ask(|reply| Request::Status { reply }).await.unwrap();
        assert_eq!(status.configuration_generation, 1);
        assert!(operator.backend("b").await.operator_drained);
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn the_running_state_is_explained_with_its_drains_and_next_hops() {
    let result = with_appliance("live", |mut operator| async move {
        let explain = |unhealthy: &[&str]| {
            let flow = "tcp 192.0.2.50:1000 > 192.0.2.100:80".parse().unwrap();
            let unhealthy = unhealthy.iter().map(|name| name.parse().unwrap()).collect();
            operator.ask(move |reply| Request::Explain { flow, network: None, unhealthy, reply })
        };
        operator.drain("a", None).await.unwrap();
        let explained = explain(&[]).await.unwrap();
        assert_eq!((explained.configuration_generation, &*explained.explanation.verdict), (1, "drop"));
        assert_eq!(
            explained.explanation.reason.as_deref(),
            Some("next_hop_unresolved"),
            "nobody answers ARP"
        );
        assert_eq!(explained.explanation.selection.unwrap().eligible, ["b"], "the other one is drained");
        assert!(matches!(explain(&["web/z"]).await, Err(Refused::UnknownName(_))));
        operator.answer_arp().await;
        let flow = "tcp 192.0.2.50:1000 > 192.0.2.100:80".parse().unwrap();
        let known = |reply| Request::Explain { flow, network: None, unhealthy: Vec::new(), reply };
        assert_eq!(operator.ask(known).await.unwrap().explanation.verdict, "forward");
        let query = view::RingQuery { service: Some("web".to_owned()), ..view::RingQuery::default() };
        let list = operator.ask(|reply| Request::Ring { query, unhealthy: Vec::new(), reply }).await.unwrap();
        let shares: Vec<_> =
            list.rings[0].backends.iter().map(|share| (&*share.backend, share.share)).collect();
        assert_eq!(shares, [("b", 1.0)]);
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn a_file_that_says_nothing_new_changes_nothing_and_removals_need_a_word() {
    let result = with_appliance("removals", |operator| async move {
        let reload =
            |confirms_removals| operator.ask(move |reply| Request::Reload { confirms_removals, reply });
        let write = |text: &str| std::fs::write(&operator.config_path, text).unwrap();
        write(&format!("{CONFIG}\n# a remark\n"));
        let same = reload(false).await.unwrap();
        assert_eq!((same.configuration_generation, same.changes.len()), (1, 0));
        let text = async || operator.latest_event().await;
        assert_eq!(text().await, "nothing changed, configuration 1 stays in force");
        // A setting that waits for a restart is told each time, and makes no other configuration.
        write(&CONFIG.replace("10_000", "20_000"));
        let waiting = reload(false).await.unwrap();
        assert_eq!((waiting.configuration_generation, waiting.changes.len()), (1, 1));

        let without_rules = CONFIG.replace(rule(), "");
        write(&without_rules);
        assert!(matches!(reload(false).await, Err(Refused::RemovalsUnconfirmed(_))));
        assert_eq!(
            text().await,
            "configuration not reloaded, nothing has changed: the file removes every forwarding rule (1); if that is \
             meant, `guideway reload --yes`"
        );
        // A file that an appliance could not start with is refused, whoever means it.
        write("");
        assert!(matches!(reload(true).await, Err(Refused::Config(_))));
        write(&without_rules);
        assert_eq!(reload(true).await.unwrap().configuration_generation, 2);
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn removals_need_no_word_where_the_configuration_says_so() {
    let unconfirmed = format!("[admin]\nconfirm_removals = false\n{CONFIG}");
    let result = with_watch("unconfirmed", &unconfirmed, |operator| async move {
        std::fs::write(&operator.config_path, CONFIG.replace(rule(), "")).unwrap();
        let reload = operator.ask(|reply| Request::Reload { confirms_removals: false, reply }).await.unwrap();
        assert_eq!(reload.configuration_generation, 2);
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn the_condition_names_a_service_that_was_never_healthy_and_a_drain_the_vips_that_are_answered_for() {
    let result = with_watch("condition", CONFIG, |operator| async move {
        let status = || operator.ask(|reply| Request::Status { reply });
        let never = "no backend of service web has ever been healthy";
        let before = status().await.unwrap();
        assert!(before.condition.degraded && !before.services[0].ever_healthy);
        assert_eq!(before.condition.reasons[0], never);
        for backend in ["a", "a", "b", "b"] {
            operator.report(backend, Ok(None)).await;
        }
        while !status().await.unwrap().services[0].ever_healthy {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        for backend in ["a", "b"] {
            for _ in 0..2 {
                operator.report(backend, Err("no answer")).await;
            }
        }
        let mut after = status().await.unwrap();
        while after.services[0].healthy > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            after = status().await.unwrap();
        }
        assert!(after.services[0].ever_healthy, "it was, and is no more");
        assert_eq!(after.condition.reasons[0], "no backend of service web is healthy");
        let deadline = std::time::Duration::from_secs(9);
        let drain = operator.ask(|reply| Request::Drain { deadline, stop: false, reply }).await.unwrap();
        let vip = "192.0.2.100".parse().unwrap();
        assert_eq!(drain.answered_vips, [vip]);
        let drained = status().await.unwrap();
        assert!(drained.condition.reasons.iter().any(|reason| reason == "the appliance is drained"));
        assert_eq!(drained.drain.unwrap().answered_vips, [vip]);
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}
