//! View of an appliance's backends, as it tells operators, and the backends that the semantics call eligible in it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use guideway::api::view::{BackendList, Health, Pool};

use crate::scenario::Service;

/// Time for which an earlier view may still be in a snapshot: repetition is slowed to four snapshots a second.
const SLOWED: Duration = Duration::from_millis(300);

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
            });
        }
        view
    }
}

impl fmt::Display for View {
    /// Backends by service: `+` healthy, `-` unhealthy, `d` drained, `r` removed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (service, members) in &self.0 {
            write!(f, " {}", service.name())?;
            for member in members {
                let sign = if member.is_healthy { '+' } else { '-' };
                write!(f, " {sign}{}", member.backend)?;
                f.write_str(if member.is_drained { "d" } else { "" })?;
                f.write_str(if member.is_removed { "r" } else { "" })?;
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

    /// Backends that new connections may go to: healthy primaries, else healthy spares, else all primaries, as the semantics
    /// have it of a service without weights and with the default failover policy.
    pub fn eligible(&self, service: Service) -> BTreeSet<usize> {
        let candidates = || self.of(service).iter().filter(|member| !member.is_removed && !member.is_drained);
        let pools: [&dyn Fn(&Member) -> bool; 3] = [
            &|member| member.is_healthy && !member.is_spare,
            &|member| member.is_healthy && member.is_spare,
            &|member| !member.is_spare,
        ];
        let pool = |fits: &&dyn Fn(&Member) -> bool| -> BTreeSet<usize> {
            candidates().filter(|member| fits(member)).map(|member| member.backend).collect()
        };
        pools.iter().map(pool).find(|pool| !pool.is_empty()).unwrap_or_default()
    }

    /// Difference between what the appliance says and what the semantics say, if there is one.
    pub fn misstated(&self) -> Option<String> {
        Service::ALL.into_iter().find_map(|service| {
            let eligible = self.eligible(service);
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
    pub fn eligible(&self, service: Service, now: Duration) -> Vec<BTreeSet<usize>> {
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
        Member { backend, is_spare, is_healthy, is_drained, is_removed, is_stated }
    }

    fn view(members: Vec<Member>) -> View {
        View(BTreeMap::from([(Service::Web, members)]))
    }

    #[test]
    fn pools_serve_in_their_order() {
        let eligible = |members| view(members).eligible(Service::Web).into_iter().collect::<Vec<_>>();
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
        assert_eq!(views.eligible(Service::Web, ms(1_400)), [BTreeSet::from([1])]);
    }
}
