//! The eligible-backend rules: the backends that may get new connections. Pure; a statement of the specification's
//! section 4.

use crate::config::FailoverPolicy;

/// Properties of a configured backend that decide if it is eligible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// True if the health checks of the backend succeed.
    pub healthy: bool,
    /// Weight of the backend; of no effect in a service that is not weighted.
    pub weight: u16,
    /// True if the backend belongs to a failover group.
    pub failover: bool,
}

/// Properties of a service that decide which of its backends are eligible.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// True if backends are chosen in proportion to their weights (`WEIGHTED_MAGLEV`).
    pub weighted: bool,
    /// Failover policy of a service with a failover group.
    pub failover: Option<FailoverPolicy>,
}

/// Returns the indices of the eligible backends among `candidates`, in order; none if new connections are dropped.
pub fn eligible(candidates: &[Candidate], rules: Rules) -> Vec<usize> {
    match rules.failover {
        Some(policy) => with_failover(candidates, rules.weighted, policy),
        None => without_failover(candidates, rules.weighted),
    }
}

/// "No failover group."
fn without_failover(candidates: &[Candidate], weighted: bool) -> Vec<usize> {
    let select = |wanted: fn(&Candidate) -> bool| select(candidates, wanted);
    if weighted {
        first_nonempty([
            select(|c| c.weight > 0 && c.healthy),
            select(|c| c.weight > 0 && !c.healthy),
            select(|c| c.weight == 0 && c.healthy),
            select(|c| c.weight == 0 && !c.healthy),
        ])
    } else {
        first_nonempty([select(|c| c.healthy), select(|_| true)])
    }
}

/// "With a failover group."
fn with_failover(candidates: &[Candidate], weighted: bool, policy: FailoverPolicy) -> Vec<usize> {
    let usable = |c: &Candidate| c.healthy && (c.weight > 0 || !weighted);
    let primaries = select(candidates, |c| !c.failover && usable(c));
    let failovers = select(candidates, |c| c.failover && usable(c));
    let all_primaries = candidates.iter().filter(|c| !c.failover).count();
    if primaries.is_empty() && failovers.is_empty() {
        return if policy.drop_traffic_if_unhealthy { Vec::new() } else { last_resort(candidates, weighted) };
    }
    if primaries.is_empty() {
        return failovers;
    }
    let enough = policy.ratio == 0.0 || primaries.len() as f64 / all_primaries as f64 >= policy.ratio;
    if failovers.is_empty() || enough { primaries } else { failovers }
}

/// "If none is usable", and the traffic is not to be dropped.
fn last_resort(candidates: &[Candidate], weighted: bool) -> Vec<usize> {
    let select = |wanted: fn(&Candidate) -> bool| select(candidates, wanted);
    if !weighted {
        return select(|c| !c.failover);
    }
    first_nonempty([
        select(|c| c.weight > 0 && !c.healthy && !c.failover),
        select(|c| c.weight > 0 && !c.healthy && c.failover),
        select(|c| c.weight == 0 && c.healthy && !c.failover),
        select(|c| c.weight == 0 && c.healthy && c.failover),
        select(|c| c.weight == 0 && !c.healthy && !c.failover),
        select(|c| c.weight == 0 && !c.healthy && c.failover),
    ])
}

fn select(candidates: &[Candidate], wanted: impl Fn(&Candidate) -> bool) -> Vec<usize> {
    candidates.iter().enumerate().filter(|(_, candidate)| wanted(candidate)).map(|(index, _)| index).collect()
}

fn first_nonempty<const N: usize>(sets: [Vec<usize>; N]) -> Vec<usize> {
    sets.into_iter().find(|set| !set.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(healthy: bool, weight: u16, failover: bool) -> Candidate {
        Candidate { healthy, weight, failover }
    }

    fn plain(weighted: bool) -> Rules {
        Rules { weighted, failover: None }
    }

    fn failover(ratio: f64, drop: bool, weighted: bool) -> Rules {
        let policy = FailoverPolicy {
            ratio,
            drop_traffic_if_unhealthy: drop,
            disable_connection_drain_on_failover: false,
        };
        Rules { weighted, failover: Some(policy) }
    }

    #[test]
    fn without_failover_the_healthy_serve_and_all_where_none_is() {
        let backends = [candidate(true, 0, false), candidate(false, 1, false), candidate(true, 1, false)];
        assert_eq!(eligible(&backends, plain(false)), [0, 2]);
        let dead = [candidate(false, 1, false), candidate(false, 0, false)];
        assert_eq!(eligible(&dead, plain(false)), [0, 1]);
    }

    #[test]
    fn a_weighted_service_prefers_weight_over_health() {
        let mut backends = vec![
            candidate(false, 0, false),
            candidate(true, 0, false),
            candidate(false, 7, false),
            candidate(true, 7, false),
        ];
        for expected in (0..4).rev() {
            assert_eq!(eligible(&backends, plain(true)), [expected]);
            backends.pop();
        }
        assert!(eligible(&backends, plain(true)).is_empty());
    }

    /// Two primaries, one failover backend; the ratio is met, missed, and met exactly.
    #[test]
    fn the_ratio_decides_between_the_pools() {
        let half = [candidate(true, 1, false), candidate(false, 1, false), candidate(true, 1, true)];
        assert_eq!(eligible(&half, failover(0.0, false, false)), [0]);
        assert_eq!(eligible(&half, failover(0.5, false, false)), [0]);
        assert_eq!(eligible(&half, failover(0.51, false, false)), [2]);
        let no_primary = [candidate(false, 1, false), candidate(false, 1, false), candidate(true, 1, true)];
        assert_eq!(eligible(&no_primary, failover(0.0, true, false)), [2]);
        let no_spare = [candidate(true, 1, false), candidate(false, 1, false), candidate(false, 1, true)];
        assert_eq!(eligible(&no_spare, failover(1.0, false, false)), [0]);
    }

    #[test]
    fn a_healthy_backend_of_weight_zero_is_not_usable_in_a_weighted_service() {
        let backends = [candidate(true, 0, false), candidate(true, 5, true)];
        assert_eq!(eligible(&backends, failover(0.0, false, true)), [1]);
        assert_eq!(eligible(&backends, failover(0.0, false, false)), [0]);
    }

    #[test]
    fn with_nobody_usable_the_traffic_is_dropped_or_goes_to_the_last_resort() {
        let dead = [candidate(false, 1, false), candidate(false, 1, false), candidate(false, 1, true)];
        assert!(eligible(&dead, failover(0.5, true, false)).is_empty());
        assert_eq!(eligible(&dead, failover(0.5, false, false)), [0, 1]);
    }

    #[test]
    fn the_weighted_last_resort_goes_by_weight_then_health_then_pool() {
        let mut backends = vec![
            candidate(false, 0, true),
            candidate(false, 0, false),
            candidate(true, 0, true),
            candidate(true, 0, false),
            candidate(false, 3, true),
            candidate(false, 3, false),
        ];
        for expected in (0..6).rev() {
            assert_eq!(eligible(&backends, failover(0.0, false, true)), [expected]);
            backends.pop();
        }
    }
}
