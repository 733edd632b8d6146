//! Weights that backends report with their answers to probes decide their shares of new connections.

use guideway::api::view::{WeightSource, WeightStatus};

use crate::lab::Lab;
use crate::lab::address::Family;
use crate::lab::appliance::Appliance;
use crate::lab::backend::Backend;
use crate::lab::patience::{PATIENCE, within};
use crate::lab::setup::{Setup, http_check};

const BACKENDS: usize = 3;

/// Largest error of a share of the lookup table, whose slots are whole.
const TOLERANCE: f64 = 0.01;

/// Makes the backends report weights, and waits for their shares.
fn shares_become(
    appliance: &Appliance<'_>,
    backends: &[Backend],
    weights: [Option<&str>; BACKENDS],
    expected: [f64; BACKENDS],
) {
    for (backend, weight) in backends.iter().zip(weights) {
        backend.web.set_weight(weight);
    }
    let mut seen = Vec::new();
    let shared = within(PATIENCE, || {
        seen = appliance.backends();
        let right = |name: &str, share: f64| {
            (0..BACKENDS)
                .any(|number| name == Backend::name(number) && (share - expected[number]).abs() < TOLERANCE)
        };
        seen.iter().all(|backend| right(&backend.name, backend.share)).then_some(())
    });
    assert!(shared.is_some(), "{weights:?} make no shares of {expected:?}: {seen:#?}");
}

#[test]
fn shares_follow_the_weights_that_backends_report_while_all_of_them_do() {
    let lab = Lab::new(1, BACKENDS);
    let backends = Backend::all(&lab, BACKENDS);
    let setup = Setup { weighted: true, ..Setup::checked_by(BACKENDS, http_check()) };
    let appliance = Appliance::start(&lab, 0, &setup);
    let go_to = |expected: &[&str]| {
        for family in Family::BOTH {
            lab.new_connections_go_to(family, expected);
        }
    };
    let status = |backend: &str| {
        let backends = appliance.backends().into_iter();
        let checks = backends.filter(|known| known.name == backend).filter_map(|known| known.health_check);
        checks.map(|check| check.weight_status).collect::<Vec<_>>()
    };
    let of_both = |status| [Some(status); Family::BOTH.len()];
    let even = [1.0 / 3.0; BACKENDS];

    shares_become(&appliance, &backends, [Some("100"), Some("300"), Some("0")], [0.25, 0.75, 0.0]);
    assert!(appliance.backends().iter().all(|backend| backend.weight_source == WeightSource::Reported));
    go_to(&["b0", "b1"]);
    // If one backend reports no weight, or a word that is none, all of them count alike.
    shares_become(&appliance, &backends, [Some("100"), None, Some("0")], even);
    assert_eq!(status("b1"), of_both(WeightStatus::MissingWeight));
    assert_eq!(status("b2"), of_both(WeightStatus::ValidWeight));
    go_to(&["b0", "b1", "b2"]);
    shares_become(&appliance, &backends, [Some("0"), Some("600"), Some("300")], [0.0, 2.0 / 3.0, 1.0 / 3.0]);
    go_to(&["b1", "b2"]);
    shares_become(&appliance, &backends, [Some("0"), Some("heavy"), Some("300")], even);
    assert_eq!(status("b1"), of_both(WeightStatus::InvalidWeight));
    // A fraction is rounded, and not to 0.
    shares_become(&appliance, &backends, [Some("0.2"), Some("2.6"), Some("0")], [0.25, 0.75, 0.0]);
    // A backend whose answers fail without a weight keeps its own, and gets no share.
    shares_become(&appliance, &backends, [Some("600"), Some("300"), Some("100")], [0.6, 0.3, 0.1]);
    backends[2].web.set_unavailable(true);
    shares_become(&appliance, &backends, [Some("600"), Some("300"), None], [2.0 / 3.0, 1.0 / 3.0, 0.0]);
    assert_eq!(status("b2"), of_both(WeightStatus::UnavailableWeight));
    go_to(&["b0", "b1"]);
    // A backend whose answers fail with a weight has that weight: with all others at 0, a nonzero one would make it the
    // last resort.
    shares_become(&appliance, &backends, [Some("0"), Some("0"), Some("0")], [0.5, 0.5, 0.0]);
    assert_eq!(status("b2"), of_both(WeightStatus::ValidWeight));
    go_to(&["b0", "b1"]);
}
