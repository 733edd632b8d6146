//! Tests of the health of backends: what results, reloads and weights come to.

use guideway_model::config::Network;

use super::*;

/// A weighted service behind these rules, with these endpoints and their weights.
fn config(rules: &[&str], endpoints: &[(&str, u16)]) -> Config {
    let mut text = String::from(
        "[[health_check]]\nname = \"hc\"\ntype = \"HTTP\"\nhealthy_threshold = 2\nunhealthy_threshold = 1\n\
         [[backend_service]]\nname = \"svc\"\nlocality_lb_policy = \"WEIGHTED_MAGLEV\"\nhealth_checks = [\"hc\"]\n\
         backends = [{ group = \"group\" }]\n[[backend_group]]\nname = \"group\"\nendpoints = [\n",
    );
    for (index, (name, weight)) in endpoints.iter().enumerate() {
        text +=
            &format!("{{ name = \"{name}\", ip_address = \"10.0.0.{}\", weight = {weight} }},\n", index + 1);
    }
    text += "]\n";
    for (index, rule) in rules.iter().enumerate() {
        text += &format!(
            "[[forwarding_rule]]\nname = \"{rule}\"\nip_address = \"203.0.113.{}\"\nports = [80]\n\
             backend_service = \"svc\"\n",
            index + 1
        );
    }
    Config::parse("state", &text).unwrap_or_else(|errors| panic!("{errors}"))
}

fn id(backend: &str, rule: &str) -> CheckId {
    CheckId { service: "svc".to_owned(), backend: backend.to_owned(), rule: rule.to_owned() }
}

const LATENCY: Duration = Duration::from_millis(3);

fn passed(weight: u16) -> ProbeResult {
    ProbeResult::Well(Some(WeightReport::Weight(weight)))
}

fn failed() -> ProbeResult {
    ProbeResult::unwell("status 503")
}

fn health_of(backend: &str, healthy: bool) -> HealthChange {
    turned("svc", backend, healthy)
}

#[test]
fn a_backend_is_healthy_while_the_probes_of_every_rule_are() {
    let mut state = HealthState::default();
    let now = Duration::from_secs(1);
    assert!(state.configure(&config(&["one", "two"], &[("a", 1)]), now).is_empty());
    assert_eq!(state.ids().collect::<Vec<_>>(), [id("a", "one"), id("a", "two")]);
    for rule in ["one", "one", "two"] {
        assert!(state.observe(&id("a", rule), &passed(1), LATENCY, now).is_empty());
    }
    let later = Duration::from_secs(2);
    assert_eq!(state.observe(&id("a", "two"), &passed(1), LATENCY, later), [health_of("a", true)]);
    assert_eq!(state.backend("svc", "a").unwrap().since, later);
    assert_eq!(state.observe(&id("a", "one"), &failed(), LATENCY, later), [health_of("a", false)]);
    let health = state.backend("svc", "a").unwrap();
    assert_eq!(health.rules["one"].last_error.as_deref(), Some("status 503"));
    assert_eq!((health.rules["one"].passed, health.rules["one"].failed, health.turns), (2, 1, 2));
}

#[test]
fn a_new_rule_takes_nobody_out_of_service_and_a_removed_one_may_let_somebody_in() {
    let mut state = HealthState::default();
    let now = Duration::ZERO;
    state.configure(&config(&["one"], &[("a", 1), ("b", 1)]), now);
    for _ in 0..2 {
        state.observe(&id("a", "one"), &passed(1), LATENCY, now);
    }
    assert!(state.configure(&config(&["one", "two"], &[("a", 1), ("b", 1)]), now).is_empty());
    assert!(state.backend("svc", "a").unwrap().is_healthy());
    assert!(!state.backend("svc", "b").unwrap().is_healthy());
    assert_eq!(state.observe(&id("a", "two"), &failed(), LATENCY, now), [health_of("a", false)]);
    let changes = state.configure(&config(&["one"], &[("a", 1), ("b", 1)]), now);
    assert_eq!(changes, [health_of("a", true)]);
}

#[test]
fn a_backend_that_was_not_asked_stays_as_it_is() {
    let mut state = HealthState::default();
    let now = Duration::ZERO;
    state.configure(&config(&["one"], &[("a", 5)]), now);
    for _ in 0..2 {
        state.observe(&id("a", "one"), &passed(9), LATENCY, now);
    }
    let before = state.backend("svc", "a").cloned();
    let not_asked = ProbeResult::NotAsked("no local port is free for a probe".to_owned());
    assert!(state.observe(&id("a", "one"), &not_asked, Duration::ZERO, now).is_empty());
    assert_eq!(state.backend("svc", "a").cloned(), before);
    assert_eq!(state.weight_status("svc", "a"), Some(WeightStatus::Valid));
}

#[test]
fn who_was_removed_begins_anew() {
    let mut state = HealthState::default();
    let now = Duration::ZERO;
    state.configure(&config(&["one"], &[("a", 5)]), now);
    for _ in 0..2 {
        state.observe(&id("a", "one"), &passed(9), LATENCY, now);
    }
    state.configure(&config(&["one"], &[("b", 1)]), now);
    assert!(
        state.observe(&id("a", "one"), &passed(9), LATENCY, now).is_empty(),
        "nobody asks for it any more"
    );
    assert!(state.configure(&config(&["one"], &[("a", 5)]), now).is_empty());
    assert!(!state.backend("svc", "a").unwrap().is_healthy());
    assert_eq!(state.weight_status("svc", "a"), Some(WeightStatus::UnavailableWeight));
}

#[test]
fn weights_are_told_when_they_change_and_are_all_alike_while_one_is_missing() {
    let mut state = HealthState::default();
    let now = Duration::ZERO;
    state.configure(&config(&["one"], &[("a", 5), ("b", 6)]), now);
    let weight = |backend: &str, weight| HealthChange::Weight {
        service: "svc".to_owned(),
        backend: backend.to_owned(),
        weight,
    };
    assert_eq!(state.observe(&id("a", "one"), &passed(300), LATENCY, now), [weight("a", 300)]);
    let missing = ProbeResult::Well(Some(WeightReport::Missing));
    let valid = |valid| HealthChange::Weights { service: "svc".to_owned(), valid };
    let observed = state.observe(&id("b", "one"), &missing, LATENCY, now);
    assert_eq!(observed, [valid(false), weight("a", 1), weight("b", 1)]);
    assert_eq!(state.weights_are_valid("svc"), Some(false));
    assert_eq!(
        state.observe(&id("b", "one"), &passed(7), LATENCY, now),
        [health_of("b", true), valid(true), weight("a", 300), weight("b", 7)]
    );
    // The services take the new number by themselves.
    assert!(state.configure(&config(&["one"], &[("a", 40), ("b", 6)]), now).is_empty());
    assert_eq!(
        state.observe(&id("a", "one"), &passed(300), LATENCY, now),
        [health_of("a", true), weight("a", 300)]
    );
}

#[test]
fn an_answer_that_fails_reports_its_weight_and_tells_nothing_by_having_none() {
    let mut state = HealthState::default();
    let now = Duration::ZERO;
    state.configure(&config(&["one"], &[("a", 5), ("b", 6)]), now);
    let fails = |weight| ProbeResult::Unwell { reason: "status 503".to_owned(), weight: Some(weight) };
    for backend in ["a", "b", "a", "b"] {
        state.observe(&id(backend, "one"), &passed(5), LATENCY, now);
    }
    let weight = |backend: &str, weight| HealthChange::Weight {
        service: "svc".to_owned(),
        backend: backend.to_owned(),
        weight,
    };
    let drained = state.observe(&id("b", "one"), &fails(WeightReport::Weight(0)), LATENCY, now);
    assert_eq!(drained, [health_of("b", false), weight("b", 0)]);
    assert_eq!(state.weight_status("svc", "b"), Some(WeightStatus::Valid));
    assert_eq!(state.observe(&id("b", "one"), &fails(WeightReport::Missing), LATENCY, now), []);
    assert_eq!(state.weight_status("svc", "b"), Some(WeightStatus::UnavailableWeight));
    assert_eq!(state.weight("svc", "b"), Some((0, WeightBasis::Reported)), "it keeps the last one");
    let unreadable = state.observe(&id("b", "one"), &fails(WeightReport::Invalid), LATENCY, now);
    let equal = HealthChange::Weights { service: "svc".to_owned(), valid: false };
    assert_eq!(unreadable, [equal, weight("a", 1), weight("b", 1)]);
}

#[test]
fn configured_weights_are_left_as_they_are() {
    let mut state = HealthState::default();
    let now = Duration::ZERO;
    let reported = config(&["one"], &[("a", 5), ("b", 1)]);
    let mut configured = reported.clone();
    configured.services[0].configured_weights = true;
    state.configure(&reported, now);
    for _ in 0..2 {
        state.observe(&id("a", "one"), &passed(9), LATENCY, now);
    }
    // The services go back to the configured weight by themselves.
    assert_eq!(state.configure(&configured, now), []);
    let missing = ProbeResult::Well(Some(WeightReport::Missing));
    for result in [passed(9), missing, failed()] {
        let changes = state.observe(&id("a", "one"), &result, LATENCY, now);
        assert!(changes.iter().all(|change| matches!(change, HealthChange::Health { .. })), "{changes:?}");
    }
    assert_eq!((state.weight("svc", "a"), state.weights_are_valid("svc")), (None, None));
    assert_eq!(state.weight_status("svc", "a"), None);
    assert_eq!(state.configure(&reported, now), []);
    let weight = HealthChange::Weight { service: "svc".to_owned(), backend: "a".to_owned(), weight: 9 };
    assert_eq!(state.observe(&id("a", "one"), &passed(9), LATENCY, now), [weight]);
}

#[test]
fn a_first_round_is_decided_when_somebody_is_well_and_everybody_else_has_had_a_chance() {
    let mut state = HealthState::default();
    let now = Duration::ZERO;
    let configured = config(&["one"], &[("a", 5), ("b", 6)]);
    assert!(!state.knows(&configured.services[0], &configured));
    state.configure(&configured, now);
    assert!(state.knows(&configured.services[0], &configured));
    for _ in 0..3 {
        state.observe(&id("a", "one"), &failed(), LATENCY, now);
        state.observe(&id("b", "one"), &failed(), LATENCY, now);
    }
    assert!(!state.are_decided("svc"), "nobody is well: the link may be slow to come up");
    state.observe(&id("b", "one"), &passed(9), LATENCY, now);
    assert!(!state.are_decided("svc"));
    state.observe(&id("b", "one"), &passed(9), LATENCY, now);
    assert!(state.are_decided("svc"));
    let weight = HealthChange::Weight { service: "svc".to_owned(), backend: "b".to_owned(), weight: 9 };
    assert_eq!(state.standing("svc"), [weight, health_of("b", true)]);
    // A backend that is removed and comes back begins anew, whatever was said of it before.
    state.configure(&config(&["one"], &[("a", 5)]), now);
    state.configure(&config(&["one"], &[("a", 5), ("b", 6)]), now);
    assert_eq!(state.standing("svc"), []);
}

#[test]
fn a_service_that_moves_to_another_network_begins_anew() {
    let mut state = HealthState::default();
    let mut config = config(&["one"], &[("a", 1)]);
    state.configure(&config, Duration::ZERO);
    for second in 1..3 {
        state.observe(&id("a", "one"), &passed(1), LATENCY, Duration::from_secs(second));
    }
    assert!(state.backend("svc", "a").is_some_and(BackendHealth::is_healthy));
    let network = |name: &str, id| {
        let of_before = (*config.networks[0]).clone();
        Network { name: name.to_owned(), id: NetworkId(id), ..of_before }.into()
    };
    let (renamed, moved) = (network("red", 0), network("default", 1));
    config.networks[0] = renamed;
    state.configure(&config, Duration::from_secs(3));
    assert!(state.backend("svc", "a").is_some_and(BackendHealth::is_healthy), "a name is no move");
    config.networks[0] = moved;
    assert!(!state.knows(&config.services[0], &config));
    state.configure(&config, Duration::from_secs(4));
    assert!(!state.backend("svc", "a").is_some_and(BackendHealth::is_healthy));
}
