//! The eligible backends, for every combination of up to five backends' health, weight and role under every policy:
//! against a statement of the rules that ranks backends instead of selecting sets.

use guideway_model::config::FailoverPolicy;
use guideway_model::eligible::{Candidate, Rules, eligible};

/// Weights that stand for their classes: none, and two that differ.
const WEIGHTS: [u16; 2] = [0, 7];

/// A backend by the number of its combination.
fn candidate(combination: usize) -> Candidate {
    Candidate {
        healthy: combination & 1 == 1,
        weight: WEIGHTS[combination >> 1 & 1],
        failover: combination >> 2 & 1 == 1,
    }
}

/// The backends of the best rank that any has; those without a rank get nothing.
fn best(candidates: &[Candidate], rank: impl Fn(&Candidate) -> Option<u8>) -> Vec<usize> {
    let best = candidates.iter().filter_map(&rank).min();
    let has_it = |index: &usize| best.is_some() && rank(&candidates[*index]) == best;
    (0..candidates.len()).filter(has_it).collect()
}

/// The eligible backends, found by ranks; the failover ratio is in quarters.
fn expected(candidates: &[Candidate], weighted: bool, failover: Option<(usize, bool)>) -> Vec<usize> {
    let weightless = |c: &Candidate| weighted && c.weight == 0;
    let Some((quarters, drop)) = failover else {
        // Weight comes before health, and health before nothing.
        return best(candidates, |c| Some(2 * u8::from(weightless(c)) + u8::from(!c.healthy)));
    };
    let usable = |c: &&Candidate| c.healthy && !weightless(c);
    let count = |failover: bool| candidates.iter().filter(usable).filter(|c| c.failover == failover).count();
    let (primaries, failovers) = (count(false), count(true));
    if primaries + failovers > 0 {
        let all_primaries = candidates.iter().filter(|c| !c.failover).count();
        let too_few = failovers > 0 && quarters > 0 && 4 * primaries < quarters * all_primaries;
        let takes_over = primaries == 0 || too_few;
        return best(candidates, |c| (usable(&c) && c.failover == takes_over).then_some(0));
    }
    if drop {
        return Vec::new();
    }
    if !weighted {
        return best(candidates, |c| (!c.failover).then_some(0));
    }
    // Nobody has both health and weight: weight alone, then health alone, then neither; primaries before failovers.
    best(candidates, |c| {
        let class = match (weightless(c), c.healthy) {
            (false, _) => 0,
            (true, true) => 1,
            (true, false) => 2,
        };
        Some(2 * class + u8::from(c.failover))
    })
}

#[test]
fn every_combination_of_up_to_five_backends_under_every_policy() {
    let mut policies = vec![None];
    for quarters in 0..=4 {
        policies.extend([Some((quarters, false)), Some((quarters, true))]);
    }
    let mut tried = 0_u64;
    for count in 0..=5_u32 {
        for combination in 0..8_usize.pow(count) {
            let candidates: Vec<_> =
                (0..count).map(|index| candidate(combination >> (3 * index) & 7)).collect();
            for policy in &policies {
                for weighted in [false, true] {
                    let failover = policy.map(|(quarters, drop)| FailoverPolicy {
                        ratio: quarters as f64 / 4.0,
                        drop_traffic_if_unhealthy: drop,
                        disable_connection_drain_on_failover: false,
                    });
                    let found = eligible(&candidates, Rules { weighted, failover });
                    let wanted = expected(&candidates, weighted, *policy);
                    assert_eq!(found, wanted, "{candidates:?} {weighted} {policy:?}");
                    tried += 1;
                }
            }
        }
    }
    assert_eq!(tried, 22 * (1 + 8 + 64 + 512 + 4_096 + 32_768));
}
