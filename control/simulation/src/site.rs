//! Site of an appliance: its files, the process that runs on them if one does, and what is known about it from outside.

use std::collections::BTreeMap;
use std::time::Duration;

use guideway::api::view::Status;

use crate::appliance::{Answer, Appliance, Files};
use crate::backend::Backend;
use crate::invariant::{
    Choices, Invariant, MOST_SNAPSHOTS, Member, SLOWEST_FAILURE, SLOWEST_WITHDRAWAL, View, Views,
};
use crate::operator::{Knowledge, Pending};
use crate::router::Routes;
use crate::scenario::{Scenario, Service, Setting, Weighting};
use crate::sight::Sight;

/// Finding about a site: the invariant that does not hold, and how.
pub type Finding = Option<(Invariant, String)>;

/// Site of an appliance.
pub struct Site {
    /// Files of the appliance.
    pub files: Files,
    /// Process that runs.
    pub running: Option<Appliance>,
    /// Time of the next start, where none runs.
    pub starts_at: Duration,
    /// Time at which an operator has asked it to stop.
    pub stops_since: Option<Duration>,
    /// Views of its backends.
    pub views: Views,
    /// Snapshot that the latest view is of.
    pub seen_generation: Option<u64>,
    /// Connections that it tracks.
    pub choices: Choices,
    /// Answers that an operator waits for.
    pub pending: Vec<Pending>,
    /// Operator's knowledge.
    pub knowledge: Knowledge,
    /// Setting that is in force; none where nobody knows which of two.
    pub in_force: Option<Setting>,
    /// Setting in the file; none where the file is wrong.
    pub written: Option<Setting>,
    /// Numbers of packets that were given to workers, until these have polled.
    pub waiting: Vec<u64>,
    /// True while the operator has the appliance drained.
    pub is_drained: bool,
    /// Answer to a question for the status.
    pub asked: Option<Answer<Status>>,
    /// Latest status.
    pub status: Option<Status>,
    /// Time since which each service is not served.
    unserved_since: BTreeMap<Service, Duration>,
    /// End of the latest stall, of the control thread or of a worker.
    pub stalled_until: Duration,
    /// End of the latest stall of the control thread.
    control_stalled_until: Duration,
    /// True while the control thread stands still.
    pub is_control_stalled: bool,
    /// Time since which a worker stands still.
    pub worker_stalled_since: Option<Duration>,
    /// Time at which the link returns.
    pub link_returns: Option<Duration>,
    /// Sights of the backends, by their numbers.
    pub sights: Vec<Sight>,
}

impl Site {
    /// Site where an appliance starts at once.
    pub fn new(files: Files, setting: &Setting) -> Self {
        Self {
            files,
            running: None,
            starts_at: Duration::ZERO,
            stops_since: None,
            views: Views::default(),
            seen_generation: None,
            choices: Choices::default(),
            pending: Vec::new(),
            knowledge: Knowledge::default(),
            in_force: Some(setting.clone()),
            written: None,
            waiting: Vec::new(),
            is_drained: false,
            asked: None,
            status: None,
            unserved_since: BTreeMap::new(),
            stalled_until: Duration::ZERO,
            control_stalled_until: Duration::ZERO,
            is_control_stalled: false,
            worker_stalled_since: None,
            link_returns: None,
            sights: vec![Sight::default(); setting.has.len()],
        }
    }

    /// Forgets what went with the process.
    pub fn forget_process(&mut self, starts_at: Duration) {
        for pending in self.pending.drain(..) {
            match pending {
                Pending::Backend(service, backend, ..) => self.knowledge.doubt(service, backend),
                Pending::Reload(..) => self.in_force = None,
            }
        }
        self.running = None;
        self.starts_at = starts_at;
        (self.stops_since, self.seen_generation, self.asked, self.status) = (None, None, None, None);
        (self.views, self.is_drained) = (Views::default(), false);
        (self.is_control_stalled, self.worker_stalled_since) = (false, None);
        self.choices.forget();
        self.waiting.clear();
        self.unserved_since.clear();
    }

    /// Notes which backends the appliance cannot hear: all of them while it does not run or has no link.
    pub fn note_trouble(&mut self, backends: &[Backend], now: Duration) {
        let is_deaf = self.running.as_ref().is_none_or(|running| !running.has_link());
        for (sight, backend) in self.sights.iter_mut().zip(backends) {
            if self.running.is_none() {
                sight.forget(now);
            } else if is_deaf || !backend.is_up {
                sight.note_trouble(now);
            }
        }
    }

    /// Looks which threads stand still.
    pub fn note_stalls(&mut self, now: Duration) {
        let Some(running) = &self.running else { return };
        self.stalled_until = self.stalled_until.max(running.stalled_until().min(now));
        self.is_control_stalled = running.control_stalled_until() > now;
        self.control_stalled_until = self.control_stalled_until.max(running.control_stalled_until().min(now));
        match (running.has_stalled_worker(now), self.worker_stalled_since) {
            (true, None) => self.worker_stalled_since = Some(now),
            (false, Some(_)) => self.worker_stalled_since = None,
            _ => {}
        }
    }

    /// True while a thread stands still.
    pub fn is_stalled(&self) -> bool {
        self.is_control_stalled || self.worker_stalled_since.is_some()
    }

    /// Takes in a view of the backends.
    pub fn take_in(&mut self, view: View, now: Duration) -> Finding {
        if let Some(text) = view.misstated() {
            return Some((Invariant::Stated, text));
        }
        if let Some(text) = view.disproportion() {
            return Some((Invariant::Weights, text));
        }
        self.choices.observe(&view);
        let finding = self.compare_drains(&view).or_else(|| self.compare_members(&view));
        self.views.add(view, now);
        finding
    }

    /// True while an operator waits for the answer to a reload.
    pub fn has_pending_reload(&self) -> bool {
        self.pending.iter().any(|pending| matches!(pending, Pending::Reload(..)))
    }

    fn is_pending(&self, service: Service, backend: usize) -> bool {
        self.pending.iter().any(|pending| match pending {
            Pending::Backend(of, number, ..) => (*of, *number) == (service, backend),
            Pending::Reload(..) => false,
        })
    }

    /// Compares the drains that are in force with those that were answered.
    fn compare_drains(&mut self, view: &View) -> Finding {
        for service in Service::ALL {
            for member in view.of(service).iter().filter(|member| !member.is_removed) {
                let backend = member.backend;
                match self.knowledge.drained(service, backend) {
                    _ if self.is_pending(service, backend) => {}
                    None => {
                        self.knowledge.drained.insert((service, backend), Some(member.is_drained));
                    }
                    Some(known) if known != member.is_drained => {
                        let text = format!(
                            "{}/b{backend}: drained is {}, and was answered otherwise",
                            service.name(),
                            !known
                        );
                        return Some((Invariant::OperatorState, text));
                    }
                    Some(_) => {}
                }
            }
        }
        None
    }

    /// Compares weights with those that backends have reported, or that operators were answered; until then they are 1, and
    /// again while a report of the service is none.
    pub fn compare_weights(&mut self, weighting: Weighting, backends: &[Backend]) -> Finding {
        let view = self.views.latest().cloned()?;
        for service in Service::ALL {
            for member in view.of(service).iter().filter(|member| !member.is_removed) {
                let backend = member.backend;
                let Some(weight) = member.weight else { continue };
                let is_right = match weighting {
                    Weighting::Reported => weight == 1 || backends[backend].has_reported(weight),
                    _ if self.is_pending(service, backend) || self.has_pending_reload() => true,
                    _ => match self.knowledge.weight(service, backend) {
                        Some(known) => known == weight,
                        None => {
                            self.knowledge.weights.insert((service, backend), Some(weight));
                            true
                        }
                    },
                };
                if !is_right {
                    let text =
                        format!("{}/b{backend} has a weight of {weight}, which it never got", service.name());
                    return Some((Invariant::Weights, text));
                }
            }
        }
        None
    }

    /// Compares the backends that are configured with those of the setting in force.
    fn compare_members(&self, view: &View) -> Finding {
        let setting = self.in_force.as_ref()?;
        if self.has_pending_reload() {
            return None;
        }
        let expected: Vec<usize> = setting.members().collect();
        for service in Service::ALL {
            let mut seen: Vec<usize> = view
                .of(service)
                .iter()
                .filter(|member| !member.is_removed)
                .map(|member| member.backend)
                .collect();
            seen.sort_unstable();
            if seen != expected {
                let text = format!("{} has {seen:?}, and {expected:?} are configured", service.name());
                return Some((Invariant::Reload, text));
            }
        }
        None
    }

    /// Compares health with the machines.
    pub fn compare_health(&self, backends: &[Backend], now: Duration) -> Finding {
        let view = self.views.latest()?;
        for service in Service::ALL {
            for member in view.of(service).iter().filter(|member| member.is_healthy && !member.is_removed) {
                let backend = &backends[member.backend];
                let dead_for = now.saturating_sub(backend.since.max(self.stalled_until));
                if backend.is_surely_dead() && !self.is_stalled() && dead_for > SLOWEST_FAILURE {
                    let text = format!(
                        "{}/b{} is healthy, and dead for {dead_for:?}",
                        service.name(),
                        member.backend
                    );
                    return Some((Invariant::Health, text));
                }
            }
        }
        None
    }

    /// True if the appliance serves a service, as far as the router must know.
    fn serves(&self, scenario: &Scenario, service: Service, now: Duration) -> bool {
        let Some(running) = &self.running else { return false };
        // A worker has a second's patience, and is looked at every 100 ms.
        if self.worker_stalled_since.is_some_and(|since| now > since + Duration::from_millis(1_150)) {
            return false;
        }
        let healthy = self.views.latest().map_or(0, |view| view.healthy(service));
        healthy >= scenario.min_healthy as usize
            && running.has_link()
            && !self.is_drained
            && self.stops_since.is_none()
    }

    /// Looks for addresses that are announced and not served.
    pub fn compare_routes(
        &mut self,
        number: usize,
        scenario: &Scenario,
        routes: &Routes,
        now: Duration,
    ) -> Finding {
        for service in Service::ALL {
            if self.serves(scenario, service, now) {
                self.unserved_since.remove(&service);
                continue;
            }
            let since = *self.unserved_since.entry(service).or_insert(now);
            let route = routes.get(number, service.vip()).filter(|route| route.is_up);
            let (Some(route), Some(running)) = (route, &self.running) else { continue };
            // A router that was deaf is told again after at most four seconds more.
            let deaf = running.session.deaf_until();
            let hears_from =
                if deaf > Duration::ZERO { deaf + Duration::from_secs(4) } else { Duration::ZERO };
            let from = since.max(hears_from).max(self.control_stalled_until);
            let late = now.saturating_sub(from);
            if !self.is_control_stalled && late > SLOWEST_WITHDRAWAL {
                let text = format!(
                    "{} is announced since {:?}, and not served since {since:?}",
                    service.name(),
                    route.since
                );
                return Some((Invariant::Announcement, text));
            }
        }
        None
    }

    /// Looks at what the latest status tells.
    pub fn compare_status(&self) -> Finding {
        let held = self.status.as_ref()?.unreclaimed_snapshots;
        (held > MOST_SNAPSHOTS).then(|| (Invariant::Snapshots, format!("{held} snapshots are held")))
    }

    /// First thing that keeps a site from being well, in words; none once all is well.
    pub fn unwell(
        &self,
        number: usize,
        scenario: &Scenario,
        routes: &Routes,
        backends: &[Backend],
    ) -> Option<String> {
        if self.running.is_none() || self.stops_since.is_some() {
            return Some("it does not run".to_owned());
        }
        if !self.pending.is_empty() {
            return Some(format!("operators wait for {:?}", self.pending));
        }
        let Some(status) = &self.status else { return Some("it has no status".to_owned()) };
        if status.unreclaimed_snapshots > 0 {
            return Some(format!("{} snapshots are held", status.unreclaimed_snapshots));
        }
        if status.unresolved_neighbors > 0 {
            return Some(format!("{} neighbours are unknown", status.unresolved_neighbors));
        }
        if let Some(worker) =
            status.workers.iter().find(|worker| worker.state != guideway::api::view::WorkerState::Running)
        {
            return Some(format!("worker {} is {:?}", worker.number, worker.state));
        }
        let Some(view) = self.views.latest() else {
            return Some("nothing is known of its backends".to_owned());
        };
        for service in Service::ALL {
            if let Some(member) =
                view.of(service).iter().find(|member| !member.is_healthy && !member.is_removed)
            {
                return Some(format!("{}/b{} is unhealthy", service.name(), member.backend));
            }
            let reports = scenario.weighting == Weighting::Reported && scenario.is_weighted(service);
            let lags = |member: &&Member| member.weight != Some(backends[member.backend].weight);
            if let Some(member) =
                view.of(service).iter().filter(|member| reports && !member.is_removed).find(lags)
            {
                let (name, reported) = (service.name(), backends[member.backend].weight);
                return Some(format!(
                    "{name}/b{} has the weight {:?}, and reports {reported}",
                    member.backend, member.weight
                ));
            }
            let can_serve = view.healthy(service) >= scenario.min_healthy as usize;
            let is_up = routes.get(number, service.vip()).is_some_and(|route| route.is_up);
            if can_serve != is_up {
                return Some(format!("{} is {}announced", service.name(), if is_up { "" } else { "not " }));
            }
        }
        None
    }
}
