//! Weights that backends report with their answers, and that operators see.

use guideway::api::request::Request;
use guideway::api::view::{self, EventKind, WeightStatus};
use guideway::health::probe::{ProbeResult, WeightReport};

use crate::operator::*;

#[test]
fn reported_weights_count_until_a_backend_sends_none() {
    let policy = "locality_lb_policy = \"WEIGHTED_MAGLEV\"\nhealth_checks";
    let config = CONFIG.replace("TCP", "HTTP").replace("health_checks", policy);
    let result = with_watch("weights", &config, |operator| async move {
        for _ in 0..2 {
            operator.report("a", Ok(Some(WeightReport::Weight(30)))).await;
            operator.report("b", Ok(Some(WeightReport::Weight(10)))).await;
        }
        let a = operator.backend_when("a", |backend| (0.6..0.9).contains(&backend.share)).await;
        assert!((a.share - 0.75).abs() < 0.01, "{}", a.share);
        assert_eq!((a.weight, a.weight_source), (Some(30), view::WeightSource::Reported));
        let status = |backend: view::Backend| backend.health_check.and_then(|check| check.weight_status);
        assert_eq!(status(a), Some(WeightStatus::ValidWeight));
        let latest = operator.ask(|reply| Request::Events { limit: 1, after: None, reply }).await.unwrap();
        let last = latest.events[0].id;

        operator.report("b", Ok(Some(WeightReport::Missing))).await;
        let a = operator.backend_when("a", |backend| backend.share < 0.6).await;
        assert_eq!(a.weight, Some(1));
        assert!((a.share - 0.5).abs() < 0.01, "{}", a.share);
        assert_eq!(status(operator.backend("b").await), Some(WeightStatus::MissingWeight));
        let services = operator.ask(|reply| Request::Status { reply }).await.unwrap().services;
        assert_eq!(services[0].weights_valid, Some(false));

        operator.report("b", Ok(Some(WeightReport::Weight(10)))).await;
        operator.backend_when("a", |backend| backend.weight == Some(30)).await;
        let changed = |name: &str| (EventKind::WeightChanged, Some(name.to_owned()));
        assert_eq!(
            operator.events_after(last).await,
            [
                (EventKind::WeightsInvalid, None),
                changed("a"),
                changed("b"),
                (EventKind::WeightsValid, None),
                changed("a"),
                changed("b"),
            ]
        );
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

/// A backend that never reported is not shown as if it had, whatever weight it runs with meanwhile.
#[test]
fn an_outage_of_all_moves_no_weights_and_who_never_reported_is_not_shown_as_reported() {
    let policy = "locality_lb_policy = \"WEIGHTED_MAGLEV\"\nhealth_checks";
    let config = CONFIG
        .replace("TCP", "HTTP")
        .replace("health_checks", policy)
        .replace("ip_address = \"192.0.2.12\"", "ip_address = \"192.0.2.12\", weight = 5");
    let result = with_watch("outage", &config, |operator| async move {
        for _ in 0..2 {
            operator.report("a", Ok(Some(WeightReport::Weight(30)))).await;
            operator.report("b", Ok(Some(WeightReport::Missing))).await;
        }
        let source = async |name| operator.backend(name).await.weight_source;
        operator.backend_when("b", |backend| backend.weight_source == view::WeightSource::Equal).await;
        assert_eq!(source("a").await, view::WeightSource::Equal);
        let latest = operator.ask(|reply| Request::Events { limit: 1, after: None, reply }).await.unwrap();
        let last = latest.events[0].id;
        for backend in ["a", "b", "a", "b"] {
            operator.report(backend, Err("no answer")).await;
        }
        operator.backend_when("b", |backend| backend.health == view::Health::Unhealthy).await;
        // `a` fell silent first, when `b` still made all weights equal: nothing has moved since.
        let events = operator.events_after(last).await;
        assert!(events.iter().all(|(kind, _)| *kind == EventKind::BackendUnhealthy), "{events:?}");
        operator.report_result("a", weight_zero_and_503()).await;
        operator.backend_when("a", |backend| backend.weight == Some(0)).await;
        assert_eq!(source("a").await, view::WeightSource::Reported);
        let b = operator.backend("b").await;
        assert_eq!((b.weight, b.weight_source), (Some(5), view::WeightSource::Configured));
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

/// The result of a probe whose backend takes itself out.
fn weight_zero_and_503() -> ProbeResult {
    ProbeResult::Unwell { reason: "status 503".to_owned(), weight: Some(WeightReport::Weight(0)) }
}
