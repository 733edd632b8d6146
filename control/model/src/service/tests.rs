//! Tests of the state of backend services: voiding, draining, pools, weights.

use super::*;
use crate::sample::sample;

/// A service with primaries `a` and `b` and failover backend `c`, but for the endpoints in `gone`.
fn config(policy: &str, gone: &[&str]) -> Config {
    let endpoint = |name: &str, last: u8| {
        let listed = !gone.contains(&name);
        if listed {
            format!("{{ name = \"{name}\", ip_address = \"10.1.0.{last}\" }},")
        } else {
            String::new()
        }
    };
    let service =
        format!("backends = [{{ group = \"primary\" }}, {{ group = \"spare\", failover = true }}]\n{policy}");
    let groups = format!(
        r#"
        [[backend_group]]
        name = "primary"
        endpoints = [{} {}]
        [[backend_group]]
        name = "spare"
        endpoints = [{}]
        "#,
        endpoint("a", 1),
        endpoint("b", 2),
        endpoint("c", 3),
    );
    sample("", &service, &groups)
}

fn started(policy: &str) -> Services {
    let mut services = Services::default();
    services.configure(&config(policy, &[]), Duration::ZERO, true);
    services.settle();
    services
}

fn backend<'a>(services: &'a Services, name: &str) -> &'a BackendState {
    services.get("svc").unwrap().backends().find(|backend| backend.endpoint.name == name).unwrap()
}

fn eligible_names(services: &Services) -> Vec<String> {
    let state = services.get("svc").unwrap();
    state.eligible().iter().map(|backend| backend.endpoint.name.clone()).collect()
}

#[test]
fn a_loss_of_health_voids_ordinary_entries_once_while_somebody_healthy_is_eligible() {
    let mut services = started("");
    let handle = backend(&services, "a").handle;
    let before = services.handles().generations(handle);
    for healthy in [false, false, true] {
        services.set_health("svc", "a", healthy).unwrap();
        services.settle();
    }
    let after = services.handles().generations(handle);
    assert_eq!(after.ordinary, before.ordinary.next(), "one loss, counted once; recovery brings none back");
    assert_eq!(after.persistent, before.persistent);
}

#[test]
fn nothing_is_voided_while_nobody_healthy_is_eligible() {
    let mut services = started("");
    let [a, b] = ["a", "b"].map(|name| backend(&services, name).handle);
    let before = [a, b].map(|handle| services.handles().generations(handle));
    for name in ["a", "b", "c"] {
        services.set_health("svc", name, false).unwrap();
    }
    services.settle();
    assert_eq!(eligible_names(&services), ["a", "b"], "as a last resort");
    assert_eq!([a, b].map(|handle| services.handles().generations(handle)), before);
    services.set_health("svc", "b", true).unwrap();
    services.settle();
    let now = [a, b].map(|handle| services.handles().generations(handle).ordinary);
    assert_eq!(now, [before[0].ordinary.next(), before[1].ordinary], "there is somebody to divert to");
}

#[test]
fn a_backend_that_fails_and_recovers_within_one_instant_loses_nothing() {
    let mut services = started("");
    let handle = backend(&services, "a").handle;
    let before = services.handles().generations(handle);
    services.set_health("svc", "a", false).unwrap();
    services.set_health("svc", "a", true).unwrap();
    services.settle();
    assert_eq!(services.handles().generations(handle), before);
}

#[test]
fn a_removed_backend_keeps_its_entries_whatever_its_health() {
    const DRAINING: &str = "connection_draining = { draining_timeout_sec = 30 }";
    let mut services = started(DRAINING);
    let handle = backend(&services, "a").handle;
    let before = services.handles().generations(handle);
    services.configure(&config(DRAINING, &["a"]), Duration::from_secs(10), true);
    services.settle();
    services.set_health("svc", "a", false).unwrap();
    services.settle();
    assert_eq!(services.handles().generations(handle), before);
    services.configure(&config(DRAINING, &[]), Duration::from_secs(20), true);
    services.settle();
    assert!(!backend(&services, "a").healthy, "it comes back with the health that it had");
    assert_eq!(
        services.handles().generations(handle).ordinary,
        before.ordinary.next(),
        "and is one of the configured again, while others are healthy"
    );
}

#[test]
fn a_pool_switch_voids_every_entry_where_draining_on_failover_is_disabled() {
    const DISABLED: &str = "failover_policy = { disable_connection_drain_on_failover = true }";
    for (policy, voids) in [("", false), (DISABLED, true)] {
        let mut services = started(policy);
        let handle = backend(&services, "c").handle;
        let before = services.handles().generations(handle);
        services.set_health("svc", "a", false).unwrap();
        services.settle();
        assert_eq!(services.handles().generations(handle), before, "no switch yet");
        services.set_health("svc", "b", false).unwrap();
        services.settle();
        assert_eq!(eligible_names(&services), ["c"]);
        assert_eq!(services.handles().generations(handle) != before, voids);
    }
}

/// All backends turn unhealthy at once: by turns, the failover group would have served in between.
#[test]
fn a_pool_that_serves_neither_before_nor_after_an_instant_never_served() {
    const DISABLED: &str = "failover_policy = { disable_connection_drain_on_failover = true }";
    for order in [["a", "b", "c"], ["c", "b", "a"]] {
        let mut services = started(DISABLED);
        let handles = order.map(|name| backend(&services, name).handle);
        let before = handles.map(|handle| services.handles().generations(handle));
        for name in order {
            services.set_health("svc", name, false).unwrap();
        }
        services.settle();
        assert_eq!(services.get("svc").unwrap().pool(), Some(Pool::Primary));
        assert_eq!(handles.map(|handle| services.handles().generations(handle)), before);
    }
}

#[test]
fn a_removed_backend_drains_and_keeps_its_entries_if_it_comes_back_in_time() {
    const DRAINING: &str = "connection_draining = { draining_timeout_sec = 30 }";
    let (all, without_a) = (config(DRAINING, &[]), config(DRAINING, &["a"]));
    for (back_at, keeps) in [(39, true), (40, false)] {
        let mut services = started(DRAINING);
        let handle = backend(&services, "a").handle;
        let before = services.handles().generations(handle);
        services.configure(&without_a, Duration::from_secs(10), true);
        assert_eq!(backend(&services, "a").removed_at, Some(Duration::from_secs(10)));
        assert_eq!(eligible_names(&services), ["b"]);
        services.configure(&all, Duration::from_secs(back_at), true);
        assert_eq!(services.handles().generations(handle) == before, keeps, "back at {back_at} s");
        assert_eq!(eligible_names(&services), ["a", "b"]);
    }
}

#[test]
fn without_draining_a_removal_voids_at_once() {
    let mut services = started("");
    let handle = backend(&services, "a").handle;
    let before = services.handles().generations(handle);
    services.configure(&config("", &["a"]), Duration::from_secs(10), true);
    assert_ne!(services.handles().generations(handle).persistent, before.persistent);
    assert!(services.get("svc").unwrap().backends().all(|backend| backend.endpoint.name != "a"));
}

#[test]
fn a_reload_keeps_health_and_weight_unless_the_configured_weight_changed() {
    let mut services = started("");
    services.set_health("svc", "a", false).unwrap();
    services.set_weight("svc", "b", 7, WeightSource::Reported).unwrap();
    services.configure(&config("", &[]), Duration::from_secs(1), true);
    assert!(!backend(&services, "a").healthy);
    assert_eq!(backend(&services, "b").weight, 7);
    let mut changed = config("", &[]);
    changed.groups[0].endpoints[1].weight = 3;
    services.configure(&changed, Duration::from_secs(2), true);
    assert_eq!(backend(&services, "b").weight, 3);
}

#[test]
fn configured_weights_replace_reported_ones_and_leave_an_operators() {
    let mut services = started("");
    services.set_weight("svc", "a", 7, WeightSource::Reported).unwrap();
    services.set_weight("svc", "b", 8, WeightSource::Operator).unwrap();
    let mut changed = config("", &[]);
    changed.services[0].configured_weights = true;
    services.configure(&changed, Duration::from_secs(1), true);
    let weight = |name| (backend(&services, name).weight, backend(&services, name).weight_source);
    assert_eq!(weight("a"), (1, WeightSource::Configured));
    assert_eq!(weight("b"), (8, WeightSource::Operator));
}

#[test]
fn an_endpoint_under_another_address_is_the_same_backend() {
    let mut services = started("");
    let handle = backend(&services, "a").handle;
    let before = services.handles().generations(handle);
    let mut moved = config("", &[]);
    moved.groups[0].endpoints[0].address = "10.1.0.99".parse().unwrap();
    services.configure(&moved, Duration::from_secs(1), true);
    assert_eq!(backend(&services, "a").handle, handle);
    assert_eq!(backend(&services, "a").endpoint.address, moved.groups[0].endpoints[0].address);
    assert_eq!(services.handles().generations(handle), before);
}

#[test]
fn unknown_names_change_nothing() {
    let mut services = started("");
    let error = services.set_health("svc", "z", false).unwrap_err();
    assert_eq!(error.to_string(), "backend service `svc` has no backend `z`");
    assert!(matches!(
        services.set_weight("no", "a", 1, WeightSource::Reported),
        Err(UnknownName::Service(_))
    ));
}

#[test]
fn a_round_looks_at_the_backends_of_a_service_only_when_something_ends() {
    let second = Duration::from_secs;
    let policy = "[backend_service.connection_draining]\ndraining_timeout_sec = 100\n";
    let mut services = started(policy);
    let quiet_until = |services: &Services| services.get("svc").unwrap().quiet_until;
    assert_eq!(quiet_until(&services), None, "nobody leaves");
    services.configure(&config(policy, &["b"]), second(10), true);
    assert_eq!(quiet_until(&services), Some(second(110)));
    services.operator_drain("svc", "a", Some(second(50))).unwrap();
    assert_eq!(quiet_until(&services), Some(second(50)), "the earlier one");
    assert!(services.expire(second(49)).is_empty());
    assert_eq!(services.expire(second(50)), ["svc"]);
    assert_eq!(quiet_until(&services), Some(second(110)));
    assert_eq!(services.expire(second(110)), ["svc"]);
    assert_eq!(quiet_until(&services), None);
    assert_eq!(services.get("svc").unwrap().backends().count(), 2, "`b` has drained");
}

#[test]
fn the_healthy_are_counted_with_each_snapshot() {
    let mut services = started("");
    let healthy = |services: &Services| services.get("svc").unwrap().healthy();
    assert_eq!(healthy(&services), 3);
    services.set_health("svc", "b", false).unwrap();
    services.settle();
    assert_eq!(healthy(&services), 2);
    services.configure(&config("", &["a"]), Duration::ZERO, true);
    services.settle();
    assert_eq!(healthy(&services), 1, "a draining backend is nobody's");
}
