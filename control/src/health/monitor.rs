//! Watches the backends: who is probed, how, and what comes of it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use guideway_model::config::Config;
use guideway_model::service::Services;
use tokio::sync::mpsc;

use super::lag::Lag;
use super::scheduler::{Pace, ProbeReport, Scheduler};
use super::state::{CheckId, HealthChange, HealthState};
use super::transport::ProbeJob;
use crate::net::probe_tcp;

/// The health checks of all services.
pub struct Monitor {
    state: HealthState,
    scheduler: Scheduler,
    /// What each check does; a reload that changes it begins the check's probes anew.
    errands: HashMap<CheckId, Rc<ProbeJob>>,
    stack: probe_tcp::Handle,
    /// The services whose first round of probes goes on, each with its deadline.
    ///
    /// After a restart the connections of before come with no entries and go by their hashes. If backends became
    /// healthy one by one, the first of them would be sent all the others' connections. So until each has had its
    /// chance, all backends of a service stay as they began.
    first_rounds: BTreeMap<String, Duration>,
}

/// How long a service's first round may take, however slow its checks are.
const FIRST_ROUND: Duration = Duration::from_secs(30);

impl Monitor {
    /// A monitor whose probes in the path of traffic are connections of `stack`, and whose reports go to `reports`.
    pub fn new(stack: probe_tcp::Handle, reports: mpsc::Sender<ProbeReport>) -> Self {
        Self {
            state: HealthState::default(),
            scheduler: Scheduler::new(reports),
            errands: HashMap::new(),
            stack,
            first_rounds: BTreeMap::new(),
        }
    }

    /// Takes over a configuration, which the services have already; returns what changes for backends that stay.
    ///
    /// # Panics
    /// Outside of a [`tokio::task::LocalSet`].
    pub fn configure(&mut self, config: &Config, services: &Services, now: Duration) -> Vec<HealthChange> {
        for service in &config.services {
            if !self.state.knows(&service.name) {
                self.first_rounds.insert(service.name.clone(), now + FIRST_ROUND);
            }
        }
        self.first_rounds.retain(|name, _| config.services.iter().any(|service| service.name == *name));
        let changes = self.state.configure(config, now);
        let wanted: HashMap<CheckId, ProbeJob> =
            self.state.ids().filter_map(|id| Some((id.clone(), errand(&id, config, services)?))).collect();
        let gone: Vec<_> = self.errands.keys().filter(|id| !wanted.contains_key(id)).cloned().collect();
        for id in gone {
            self.scheduler.stop(&id);
            self.errands.remove(&id);
        }
        for (id, errand) in wanted {
            if self.errands.get(&id).is_some_and(|known| **known == errand) {
                continue;
            }
            let errand = Rc::new(errand);
            let pace = Pace { interval: errand.check.interval, timeout: errand.check.timeout };
            let (task, stack) = (Rc::clone(&errand), self.stack.clone());
            self.scheduler.start(id.clone(), pace, move || {
                let (errand, stack) = (Rc::clone(&task), stack.clone());
                async move { errand.run(&stack).await }
            });
            self.errands.insert(id, errand);
        }
        self.outside_first_rounds(changes)
    }

    /// Takes in how a probe ended; returns what that changes.
    pub fn take_in(&mut self, report: &ProbeReport, now: Duration) -> Vec<HealthChange> {
        let changes = self.state.observe(&report.id, &report.outcome, now);
        self.outside_first_rounds(changes)
    }

    /// Ends the first rounds that are over at `now`; returns what they come to.
    pub fn end_first_rounds(&mut self, now: Duration) -> Vec<HealthChange> {
        let state = &self.state;
        let over = |service: &String, deadline: &mut Duration| now >= *deadline || state.are_decided(service);
        let ended: Vec<_> = self.first_rounds.extract_if(.., over).map(|(service, _)| service).collect();
        ended.iter().flat_map(|service| self.state.standing(service)).collect()
    }

    /// The changes but for those of first rounds, which are taken in together at their end.
    fn outside_first_rounds(&self, mut changes: Vec<HealthChange>) -> Vec<HealthChange> {
        changes.retain(|change| !self.first_rounds.contains_key(change.service()));
        changes
    }

    /// Has the probes in the path of traffic be connections of another stack.
    pub fn replace_stack(&mut self, stack: probe_tcp::Handle) {
        self.stack = stack;
        for id in std::mem::take(&mut self.errands).into_keys() {
            self.scheduler.stop(&id);
        }
    }

    /// What is known of the backends.
    pub fn state(&self) -> &HealthState {
        &self.state
    }

    /// How late probes begin.
    pub fn lag(&self) -> &Lag {
        self.scheduler.lag()
    }

    /// The connections of probes in the path of traffic.
    pub fn stack(&self) -> &probe_tcp::Handle {
        &self.stack
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").field("checks", &self.errands.len()).finish_non_exhaustive()
    }
}

/// What a check does.
fn errand(id: &CheckId, config: &Config, services: &Services) -> Option<ProbeJob> {
    let service = config.services.iter().find(|service| service.name == id.service)?;
    let rule = config.rules.iter().find(|rule| rule.name == id.rule)?;
    let mut backends = services.get(&id.service)?.configured();
    let backend = backends.find(|backend| backend.endpoint.name == id.backend)?;
    Some(ProbeJob {
        check: config.health_checks[service.health_check].clone(),
        vip: rule.address,
        address: backend.endpoint.address,
        backend: backend.handle,
    })
}
