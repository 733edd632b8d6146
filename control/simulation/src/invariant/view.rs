//! View of an appliance's backends, as it tells operators, and the backends that the semantics call eligible in it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use guideway::api::view::{BackendList, Health, Pool};

use crate::scenario::Service;

/// Time for which an earlier view may still be in a snapshot: repetition is slowed to four snapshots a second.
const SLOWED: Duration = Duration::from_millis(300);

/// Eligible backends, each with its weight: 1 where all count alike.
pub type Eligible = BTreeMap<usize, u16>;

/// Most millionths by which a share may differ from its weight's: a lookup table has whole slots.
const UNEVEN_PPM: u32 = 5_000;

/// Backend of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// Number of the backend.
    pub backend: usize,
    /// True if it is in a failover group.
    pub is_spare: bool,
    /// True if its health checks succeed.
    pub is_healthy: bool,
    /// True if an operator has drained it.
    pub is_drained: bool,
    /// True if it was removed, and keeps its connections for a while.
    pub is_removed: bool,
    /// True if the appliance says that it is eligible.
    pub is_stated: bool,
    /// Weight, as the appliance says; none where the service chooses evenly.
    pub weight: Option<u16>,
    /// Share of the lookup table, as the appliance says, in millionths.
    pub share_ppm: u32,
}

/// Backends of all services at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View(pub BTreeMap<Service, Vec<Member>>);

impl From<&BackendList> for View {
    fn from(list: &BackendList) -> Self {
        let mut view = Self::default();
        for backend in &list.backends {
            let number = backend.name.strip_prefix('b').and_then(|number| number.parse().ok());
            let (Some(service), Some(number)) = (Service::named(&backend.service), number) else { continue };
            view.0.entry(service).or_default().push(Member {
                backend: number,
                is_spare: backend.role == Pool::Failover,
                is_healthy: backend.health == Health::Healthy,
                is_drained: backend.operator_drained,
                is_removed: backend.draining,
                is_stated: backend.eligible,
                weight: backend.weight,
                share_ppm: (backend.share * 1e6).round() as u32,
            });
        }
        view
    }
}

impl fmt::Display for View {
    /// Backends by service: `+` healthy, `-` unhealthy, `d` drained, `r` removed, and `*` before a weight.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (service, members) in &self.0 {
            write!(f, " {}", service.name())?;
            for member in members {
                let sign = if member.is_healthy { '+' } else { '-' };
                write!(f, " {sign}{}", member.backend)?;
                f.write_str(if member.is_drained { "d" } else { "" })?;
                f.write_str(if member.is_removed { "r" } else { "" })?;
                member.weight.map_or(Ok(()), |weight| write!(f, "*{weight}"))?;
            }
        }
        Ok(())
    }
}

impl View {
    /// Backends of a service.
    pub fn of(&self, service: Service) -> &[Member] {
        self.0.get(&service).map_or(&[], Vec::as_slice)
    }

    /// Backend of a service.
    pub fn member(&self, service: Service, backend: usize) -> Option<&Member> {
        self.of(service).iter().find(|member| member.backend == backend)
    }

    /// Number of configured backends of a service that are healthy.
    pub fn healthy(&self, service: Service) -> usize {
        self.of(service).iter().filter(|member| member.is_healthy && !member.is_removed).count()
    }

    /// Backends that new connections may go to, as the semantics have it with the default failover policy. Evenly: healthy
    /// primaries, else healthy spares, else all primaries. By weight, a weight of zero comes after all others.
    pub fn eligible(&self, service: Service) -> Eligible {
        let members = || self.of(service).iter().filter(|member| !member.is_removed);
        let candidates = || members().filter(|member| !member.is_drained);
        let pool = |fits: &dyn Fn(&Member) -> bool| -> Eligible {
            let fitting = candidates().filter(|member| fits(member));
            fitting.map(|member| (member.backend, member.weight.unwrap_or(1))).collect()
        };
        let first = |pools: &[Eligible]| pools.iter().find(|pool| !pool.is_empty()).cloned();
        if members().all(|member| member.weight.is_none()) {
            let pools = [
                pool(&|member| member.is_healthy && !member.is_spare),
                pool(&|member| member.is_healthy && member.is_spare),
                pool(&|member| !member.is_spare),
            ];
            return first(&pools).unwrap_or_default();
        }
        let of = |is_healthy: bool, has_weight: bool| {
            [false, true].map(|is_spare| {
                pool(&|member| {
                    (member.is_healthy, member.weight != Some(0), member.is_spare)
                        == (is_healthy, has_weight, is_spare)
                })
            })
        };
        let pools = [of(true, true), of(false, true), of(true, false), of(false, false)].concat();
        let mut pool = first(&pools).unwrap_or_default();
        if pool.values().all(|weight| *weight == 0) {
            pool.values_mut().for_each(|weight| *weight = 1);
        }
        pool
    }

    /// Share of a backend that is not in proportion to its weight, if there is one.
    pub fn disproportion(&self) -> Option<String> {
        Service::ALL.into_iter().find_map(|service| {
            let eligible = self.eligible(service);
            let sum: u32 = eligible.values().map(|weight| u32::from(*weight)).sum();
            let due = |backend| u32::from(*eligible.get(&backend).unwrap_or(&0)) * 1_000_000 / sum.max(1);
            let uneven = |member: &&Member| member.share_ppm.abs_diff(due(member.backend)) > UNEVEN_PPM;
            // A backend that was removed may stand beside its successor of the same name.
            let mut members = self.of(service).iter().filter(|member| !member.is_removed);
            let member = members.find(uneven)?;
            let (name, backend, share) = (service.name(), member.backend, member.share_ppm);
            Some(format!("{name}/b{backend} has a share of {share} millionths by the weights {eligible:?}"))
        })
    }

    /// Difference between what the appliance says and what the semantics say, if there is one.
    pub fn misstated(&self) -> Option<String> {
        Service::ALL.into_iter().find_map(|service| {
            let eligible: BTreeSet<usize> = self.eligible(service).into_keys().collect();
            let stated = self.of(service).iter().filter(|member| member.is_stated);
            let stated: BTreeSet<usize> = stated.map(|member| member.backend).collect();
            let differ = stated != eligible;
            differ.then(|| {
                format!(
                    "{}: {stated:?} are said to be eligible, and {eligible:?} are: {:?}",
                    service.name(),
                    self.of(service)
                )
            })
        })
    }
}

/// Views of an appliance in the order of their times.
#[derive(Debug, Default)]
pub struct Views(VecDeque<(Duration, View)>);

impl Views {
    /// Takes in a view.
    pub fn add(&mut self, view: View, now: Duration) {
        // Among views that are too old the latest counts: it was in force until its successor came.
        while self.0.len() > 1 && self.0[1].0 + SLOWED < now {
            self.0.pop_front();
        }
        self.0.push_back((now, view));
    }

    /// Latest view.
    pub fn latest(&self) -> Option<&View> {
        self.0.back().map(|(_, view)| view)
    }

    /// Sets of eligible backends of a service that a snapshot may have now.
    pub fn eligible(&self, service: Service, now: Duration) -> Vec<Eligible> {
        let first_new = self.0.iter().position(|(at, _)| *at + SLOWED >= now).unwrap_or(self.0.len());
        let mut sets: Vec<_> =
            self.0.iter().skip(first_new.saturating_sub(1)).map(|(_, view)| view.eligible(service)).collect();
        sets.sort();
        sets.dedup();
        sets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(backend: usize, is_healthy: bool) -> Member {
        let (is_spare, is_drained, is_removed, is_stated) = (false, false, false, is_healthy);
        let (weight, share_ppm) = (None, 0);
        Member { backend, is_spare, is_healthy, is_drained, is_removed, is_stated, weight, share_ppm }
    }

    fn view(members: Vec<Member>) -> View {
        View(BTreeMap::from([(Service::Web, members)]))
    }

    #[test]
    fn pools_serve_in_their_order() {
        let eligible = |members| view(members).eligible(Service::Web).into_keys().collect::<Vec<_>>();
        let spare = |backend, is_healthy| Member { is_spare: true, ..member(backend, is_healthy) };
        assert_eq!(eligible(vec![member(0, true), member(1, false), spare(2, true)]), [0]);
        assert_eq!(eligible(vec![member(0, false), member(1, false), spare(2, true)]), [2]);
        assert_eq!(eligible(vec![member(0, false), member(1, false), spare(2, false)]), [0, 1]);
        let drained = Member { is_drained: true, ..member(0, true) };
        assert_eq!(eligible(vec![drained.clone(), member(1, false)]), [1]);
        assert_eq!(eligible(vec![drained]), [] as [usize; 0]);
        assert_eq!(eligible(vec![Member { is_removed: true, ..member(0, true) }, member(1, false)]), [1]);
    }

    #[test]
    fn a_weight_of_zero_comes_after_all_others() {
        let eligible = |members| view(members).eligible(Service::Web).into_iter().collect::<Vec<_>>();
        let of = |backend, is_healthy, weight, is_spare| Member {
            weight: Some(weight),
            is_spare,
            ..member(backend, is_healthy)
        };
        assert_eq!(eligible(vec![of(0, true, 0, false), of(1, true, 3, false)]), [(1, 3)]);
        assert_eq!(eligible(vec![of(0, true, 0, false), of(1, true, 3, true)]), [(1, 3)]);
        assert_eq!(eligible(vec![of(0, true, 0, false), of(1, false, 3, false)]), [(1, 3)]);
        assert_eq!(eligible(vec![of(0, true, 0, false), of(1, false, 3, true)]), [(1, 3)]);
        assert_eq!(eligible(vec![of(0, true, 0, true), of(1, false, 0, false)]), [(0, 1)]);
        assert_eq!(eligible(vec![of(0, false, 0, false), of(1, false, 0, true)]), [(0, 1)]);
    }

    #[test]
    fn a_share_that_is_not_its_weights_is_seen() {
        let of =
            |backend, weight, share_ppm| Member { weight: Some(weight), share_ppm, ..member(backend, true) };
        let seen = |shares: [u32; 3]| {
            let [first, second, third] = shares;
            view(vec![of(0, 2, first), of(1, 0, second), of(2, 3, third)]).disproportion()
        };
        assert_eq!(seen([400_010, 0, 599_990]), None);
        assert!(seen([500_000, 0, 500_000]).expect("it is even").contains("web/b0 has a share of 500000"));
        assert!(seen([400_000, 6_000, 594_000]).expect("1 has none").contains("web/b1"));
    }

    #[test]
    fn a_wrong_statement_is_seen() {
        let mut members = vec![member(0, true), member(1, false)];
        assert_eq!(view(members.clone()).misstated(), None);
        members[1].is_stated = true;
        assert!(
            view(members)
                .misstated()
                .expect("1 is not")
                .contains("{0, 1} are said to be eligible, and {0} are")
        );
    }

    #[test]
    fn an_earlier_view_counts_as_long_as_a_snapshot_may_have_it() {
        let ms = Duration::from_millis;
        let mut views = Views::default();
        views.add(view(vec![member(0, true)]), ms(0));
        views.add(view(vec![member(1, true)]), ms(1_000));
        assert_eq!(views.eligible(Service::Web, ms(1_200)).len(), 2);
        assert_eq!(views.eligible(Service::Web, ms(1_400)), [Eligible::from([(1, 1)])]);
    }
}
