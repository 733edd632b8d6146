//! The eligible-backend rules: the backends that may get new connections. Pure; a statement of the specification's
//! section 4.

use std::fmt;

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

/// Eligible backends of a service, and the clause that made them so.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Indices of the eligible backends among the candidates, in order; none if new connections are dropped.
    pub indices: Vec<usize>,
    /// Clause of the eligible-backend rules that applied.
    pub because: Because,
}

/// Clause of the eligible-backend rules.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Because {
    /// The service has no backend that may be asked for.
    NoBackend,
    /// Backends of one class are the first that are there.
    Class(Class),
    /// No backend of a service without failover groups and weights is healthy, so all serve.
    NobodyHealthy,
    /// No primary is usable, so the usable failover backends serve.
    NoUsablePrimary,
    /// No failover backend is usable, so the usable primaries serve.
    NoUsableFailover,
    /// The share of usable primaries meets the failover ratio, so they serve.
    RatioMet(Usable),
    /// The share of usable primaries misses the failover ratio, so the usable failover backends serve.
    RatioMissed(Usable),
    /// No backend is usable, and traffic is then dropped.
    Dropped,
    /// No backend is usable, so all primaries serve.
    AllPrimaries,
    /// No backend is usable, so those of one class serve, the first that are there.
    LastResort(Class),
}

/// Class of backends in a list of which the first that is not empty serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// True for backends of nonzero weight, false for those of weight zero; none where weights do not count.
    pub nonzero: Option<bool>,
    /// True for healthy backends.
    pub healthy: bool,
    /// True for failover backends, false for primaries; none where the service has no failover group.
    pub failover: Option<bool>,
}

/// Primaries that are usable, and the ratio that they are compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usable {
    /// Number of usable primaries.
    pub usable: usize,
    /// Number of primaries.
    pub all: usize,
    /// `failover_ratio` of the service.
    pub ratio: f64,
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBackend => f.write_str("the service has no backend that may get new connections"),
            Self::Class(class) if class.healthy && class.nonzero != Some(false) => write!(f, "{class}"),
            Self::Class(class) => write!(f, "{class}, as nobody comes before them"),
            Self::NobodyHealthy => f.write_str("nobody is healthy, so all serve"),
            Self::NoUsablePrimary => {
                f.write_str("no primary is usable, so the usable failover backends serve")
            }
            Self::NoUsableFailover => {
                f.write_str("no failover backend is usable, so the usable primaries serve")
            }
            Self::RatioMet(Usable { usable, all, ratio }) => {
                write!(f, "{usable} of {all} primaries are usable, enough for failover_ratio {ratio}")
            }
            Self::RatioMissed(Usable { usable, all, ratio }) => write!(
                f,
                "{usable} of {all} primaries are usable, too few for failover_ratio {ratio}, so the usable failover \
                 backends serve"
            ),
            Self::Dropped => {
                f.write_str("nobody is usable, and drop_traffic_if_unhealthy is set, so nobody serves")
            }
            Self::AllPrimaries => f.write_str("nobody is usable, so all primaries serve as the last resort"),
            Self::LastResort(class) => write!(f, "nobody is usable, so the last resort serves: {class}"),
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.healthy { "healthy " } else { "unhealthy " })?;
        f.write_str(match self.failover {
            None => "backends",
            Some(false) => "primaries",
            Some(true) => "failover backends",
        })?;
        match self.nonzero {
            None => Ok(()),
            Some(true) => f.write_str(" of nonzero weight"),
            Some(false) => f.write_str(" of weight zero"),
        }
    }
}

/// Returns the indices of the eligible backends among `candidates`, in order; none if new connections are dropped.
pub fn eligible(candidates: &[Candidate], rules: Rules) -> Vec<usize> {
    choice(candidates, rules).indices
}

/// Returns the eligible backends among `candidates`, and the clause that made them so.
pub fn choice(candidates: &[Candidate], rules: Rules) -> Choice {
    let chosen = match rules.failover {
        Some(policy) => with_failover(candidates, rules.weighted, policy),
        None => without_failover(candidates, rules.weighted),
    };
    if candidates.is_empty() { Choice { because: Because::NoBackend, ..chosen } } else { chosen }
}

/// "No failover group."
fn without_failover(candidates: &[Candidate], weighted: bool) -> Choice {
    let class = |nonzero, healthy| Class { nonzero, healthy, failover: None };
    if weighted {
        let order = [(true, true), (true, false), (false, true), (false, false)];
        let order = order.map(|(nonzero, healthy)| class(Some(nonzero), healthy));
        return first_nonempty(candidates, &order, Because::Class);
    }
    let healthy = first_nonempty(candidates, &[class(None, true)], Because::Class);
    if healthy.indices.is_empty() { select(candidates, Because::NobodyHealthy, |_| true) } else { healthy }
}

/// "With a failover group."
fn with_failover(candidates: &[Candidate], weighted: bool, policy: FailoverPolicy) -> Choice {
    let usable = |c: &Candidate| c.healthy && (c.weight > 0 || !weighted);
    let primaries = |because| select(candidates, because, |c| !c.failover && usable(c));
    let failovers = |because| select(candidates, because, |c| c.failover && usable(c));
    let count = |wanted: &dyn Fn(&&Candidate) -> bool| candidates.iter().filter(wanted).count();
    let (usable_primaries, usable_failovers) =
        (count(&|c| !c.failover && usable(c)), count(&|c| c.failover && usable(c)));
    let share = Usable { usable: usable_primaries, all: count(&|c| !c.failover), ratio: policy.ratio };
    if usable_primaries == 0 && usable_failovers == 0 {
        return if policy.drop_traffic_if_unhealthy {
            Choice { indices: Vec::new(), because: Because::Dropped }
        } else {
            last_resort(candidates, weighted)
        };
    }
    if usable_primaries == 0 {
        return failovers(Because::NoUsablePrimary);
    }
    let enough = policy.ratio == 0.0 || share.usable as f64 / share.all as f64 >= policy.ratio;
    if usable_failovers == 0 {
        primaries(Because::NoUsableFailover)
    } else if enough {
        primaries(Because::RatioMet(share))
    } else {
        failovers(Because::RatioMissed(share))
    }
}

/// "If none is usable", and the traffic is not to be dropped.
fn last_resort(candidates: &[Candidate], weighted: bool) -> Choice {
    if !weighted {
        return select(candidates, Because::AllPrimaries, |c| !c.failover);
    }
    let order = [
        (true, false, false),
        (true, false, true),
        (false, true, false),
        (false, true, true),
        (false, false, false),
        (false, false, true),
    ];
    let class =
        |(nonzero, healthy, failover)| Class { nonzero: Some(nonzero), healthy, failover: Some(failover) };
    first_nonempty(candidates, &order.map(class), Because::LastResort)
}

fn select(candidates: &[Candidate], because: Because, wanted: impl Fn(&Candidate) -> bool) -> Choice {
    let all = candidates.iter().enumerate();
    let indices = all.filter(|(_, candidate)| wanted(candidate)).map(|(index, _)| index).collect();
    Choice { indices, because }
}

/// Candidates of the first class that has any; of the last one, where none has.
fn first_nonempty(candidates: &[Candidate], order: &[Class], because: impl Fn(Class) -> Because) -> Choice {
    let of_class = |class: &Class| {
        select(candidates, because(*class), |c| {
            class.healthy == c.healthy
                && class.nonzero.is_none_or(|nonzero| nonzero == (c.weight > 0))
                && class.failover.is_none_or(|failover| failover == c.failover)
        })
    };
    let found = order.iter().map(of_class).find(|choice| !choice.indices.is_empty());
    found.unwrap_or(Choice { indices: Vec::new(), because: Because::NoBackend })
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
    fn the_clause_that_applied_is_told() {
        let (up, down, spare) =
            (candidate(true, 1, false), candidate(false, 1, false), candidate(true, 1, true));
        let zero = candidate(true, 0, false);
        for (backends, rules, told) in [
            (vec![up, down], plain(false), "healthy backends"),
            (vec![down], plain(false), "nobody is healthy, so all serve"),
            (vec![], plain(false), "the service has no backend that may get new connections"),
            (vec![up, zero], plain(true), "healthy backends of nonzero weight"),
            (
                vec![down, zero],
                plain(true),
                "unhealthy backends of nonzero weight, as nobody comes before them",
            ),
            (vec![zero], plain(true), "healthy backends of weight zero, as nobody comes before them"),
            (
                vec![up, down, spare],
                failover(0.5, false, false),
                "1 of 2 primaries are usable, enough for failover_ratio 0.5",
            ),
            (
                vec![up, down, spare],
                failover(0.6, false, false),
                "1 of 2 primaries are usable, too few for failover_ratio 0.6, so the usable failover backends serve",
            ),
            (
                vec![down, spare],
                failover(0.0, false, false),
                "no primary is usable, so the usable failover backends serve",
            ),
            (
                vec![up],
                failover(1.0, false, false),
                "no failover backend is usable, so the usable primaries serve",
            ),
            (
                vec![down],
                failover(0.0, true, false),
                "nobody is usable, and drop_traffic_if_unhealthy is set, so nobody serves",
            ),
            (
                vec![down],
                failover(0.0, false, false),
                "nobody is usable, so all primaries serve as the last resort",
            ),
            (
                vec![zero, candidate(false, 3, true)],
                failover(0.0, false, true),
                "nobody is usable, so the last resort serves: unhealthy failover backends of nonzero weight",
            ),
        ] {
            assert_eq!(choice(&backends, rules).because.to_string(), told);
        }
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
