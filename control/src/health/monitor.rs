//! The health checks of all services: keeps the checks those of the configuration, and the backends' health.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use guideway_dataplane::ingress::NetworkId;
use guideway_model::config::{Config, Transport};
use guideway_model::service::{ServiceState, Services};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::by_hand::{self, HandProbe};
use super::change::HealthChange;
use super::lag::Lag;
use super::probe_job::ProbeJob;
use super::scheduler::{Pace, ProbeReport, Scheduler};
use super::state::{CheckId, HealthState};
use crate::net::probe_tcp;

/// The health checks of all services.
pub struct Monitor {
    state: HealthState,
    scheduler: Scheduler,
    /// The job of each check; a reload that changes it begins the check's probes anew.
    jobs: BTreeMap<CheckId, Rc<ProbeJob>>,
    stacks: Stacks,
    /// The services whose first round of probes goes on, each with the round's deadline.
    ///
    /// After a restart the connections of before come with no entries and go by their hashes. If backends became
    /// healthy one by one, the first of them would be sent all the others' connections. So until each has had its
    /// chance, all backends of a service stay as they began.
    first_rounds: BTreeMap<String, Duration>,
}

/// The stacks of probes in the path of traffic, by the networks that they are in.
pub type Stacks = BTreeMap<NetworkId, probe_tcp::Handle>;

/// The most rules that a backend is asked through by hand.
const MOST_BY_HAND: usize = 64;

/// The longest time of a service's first round, however slow its checks are.
const FIRST_ROUND: Duration = Duration::from_secs(30);

impl Monitor {
    /// A monitor without checks, whose probes in the path of traffic are connections of their network's stack, and whose
    /// reports go to `reports`.
    pub fn new(stacks: Stacks, reports: mpsc::Sender<ProbeReport>) -> Self {
        Self {
            state: HealthState::default(),
            scheduler: Scheduler::new(reports),
            jobs: BTreeMap::new(),
            stacks,
            first_rounds: BTreeMap::new(),
        }
    }

    /// Takes over a configuration that the services have already; returns what changes for backends that stay.
    ///
    /// # Panics
    /// Outside of a [`tokio::task::LocalSet`].
    pub fn configure(&mut self, config: &Config, services: &Services, now: Duration) -> Vec<HealthChange> {
        for service in &config.services {
            if !self.state.knows(service, config) {
                self.first_rounds.insert(service.name.clone(), now + FIRST_ROUND);
            }
        }
        self.first_rounds.retain(|name, _| config.services.iter().any(|service| service.name == *name));
        let changes = self.state.configure(config, now);
        self.state.begin_with(|service, backend| {
            let known = services.get(service).into_iter().flat_map(ServiceState::configured);
            known.filter(|known| known.endpoint.name == backend).any(|known| known.healthy)
        });
        // In order: a check's jitter is drawn as it begins, and a simulation of one seed has one course.
        let wanted: BTreeMap<CheckId, ProbeJob> =
            self.state.ids().filter_map(|id| Some((id.clone(), job(&id, config, services)?))).collect();
        let gone: Vec<_> = self.jobs.keys().filter(|id| !wanted.contains_key(id)).cloned().collect();
        for id in gone {
            self.scheduler.stop(&id);
            self.jobs.remove(&id);
        }
        for (id, job) in wanted {
            if self.jobs.get(&id).is_some_and(|known| **known == job) {
                continue;
            }
            let Some(stack) = self.stacks.get(&job.network) else { continue };
            let job = Rc::new(job);
            let pace = Pace { interval: job.check.interval, timeout: job.check.timeout };
            let (of_task, stack) = (Rc::clone(&job), stack.clone());
            self.scheduler.start(id.clone(), pace, move || {
                let (job, stack) = (Rc::clone(&of_task), stack.clone());
                async move { job.run(&stack).await }
            });
            self.jobs.insert(id, job);
        }
        self.outside_first_rounds(changes)
    }

    /// Takes in the report of a probe; returns what it changes.
    pub fn take_in(&mut self, report: &ProbeReport, now: Duration) -> Vec<HealthChange> {
        let changes = self.state.observe(&report.id, &report.result, report.latency, now);
        self.outside_first_rounds(changes)
    }

    /// Ends the first rounds that are over at `now`; returns the changes that they come to.
    pub fn end_first_rounds(&mut self, now: Duration) -> Vec<HealthChange> {
        let state = &self.state;
        let over = |service: &String, deadline: &mut Duration| now >= *deadline || state.are_decided(service);
        let ended: Vec<_> = self.first_rounds.extract_if(.., over).map(|(service, _)| service).collect();
        ended.iter().flat_map(|service| self.state.standing(service)).collect()
    }

    /// The changes of services that are past their first round: those of a first round come together at its end.
    fn outside_first_rounds(&self, mut changes: Vec<HealthChange>) -> Vec<HealthChange> {
        changes.retain(|change| !self.first_rounds.contains_key(change.service()));
        changes
    }

    /// Replaces the stacks whose connections the probes in the path of traffic are, and ends the checks of these
    /// networks: the next [`Monitor::configure`] begins them anew.
    pub fn replace_stacks(&mut self, stacks: Stacks, changed: &[NetworkId]) {
        self.stacks = stacks;
        let ended = self.jobs.extract_if(.., |_, job| changed.contains(&job.network));
        for (id, _) in ended {
            self.scheduler.stop(&id);
        }
    }

    /// Asks a backend once through each rule, beside the schedule; no more than 64 rules. The answers count for nothing.
    ///
    /// # Panics
    /// Outside of a [`tokio::task::LocalSet`].
    pub fn probe_by_hand(
        &self,
        service: &str,
        backend: &str,
    ) -> impl Future<Output = Vec<HandProbe>> + 'static {
        let is_asked = |(id, _): &(&CheckId, &Rc<ProbeJob>)| id.service == service && id.backend == backend;
        let mut asked: Vec<_> = self.jobs.iter().filter(is_asked).collect();
        asked.sort_by(|one, other| one.0.rule.cmp(&other.0.rule));
        asked.truncate(MOST_BY_HAND);
        let mut probes = JoinSet::new();
        for (id, job) in asked {
            let Some(stack) = self.stacks.get(&job.network).cloned() else { continue };
            let (rule, job) = (id.rule.clone(), Rc::clone(job));
            probes.spawn_local(async move { by_hand::probe(rule, &job, &stack).await });
        }
        async move {
            let mut ended = Vec::new();
            while let Some(probe) = probes.join_next().await {
                ended.extend(probe);
            }
            ended.sort_by(|one, other| one.rule.cmp(&other.rule));
            ended
        }
    }

    /// The health of all backends.
    pub fn state(&self) -> &HealthState {
        &self.state
    }

    /// True if the probes of a check go by the workers, in the path of traffic.
    pub fn is_in_path(&self, id: &CheckId) -> bool {
        self.jobs.get(id).is_some_and(|job| job.check.transport == Transport::InPath)
    }

    /// The delays with which probes begin.
    pub fn lag(&self) -> &Lag {
        self.scheduler.lag()
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").field("checks", &self.jobs.len()).finish_non_exhaustive()
    }
}

/// The job of a check; `None` where no backend or rule has its names.
fn job(id: &CheckId, config: &Config, services: &Services) -> Option<ProbeJob> {
    let service = config.services.iter().find(|service| service.name == id.service)?;
    let rule = config.rules.iter().find(|rule| rule.name == id.rule)?;
    let mut backends = services.get(&id.service)?.configured();
    let backend = backends.find(|backend| backend.endpoint.name == id.backend)?;
    Some(ProbeJob {
        check: config.health_checks[service.health_check].clone(),
        vip: rule.probe_address,
        address: backend.endpoint.address,
        backend: backend.handle,
        network: config.networks[service.network].id,
    })
}

#[cfg(test)]
mod tests {
    use guideway_model::forwarding_state::{ForwardingState, StateChange};

    use super::*;

    #[test]
    fn probes_go_on_in_a_sole_network_that_is_renamed() {
        let text = |network: &str| {
            format!(
                "[network]\nname = \"{network}\"\n\
                 [[forwarding_rule]]\nname = \"web\"\nip_address = \"192.0.2.9\"\nports = [80]\n\
                 backend_service = \"web\"\n\
                 [[backend_service]]\nname = \"web\"\nhealth_checks = [\"alive\"]\n\
                 backends = [{{ group = \"web\" }}]\n\
                 [[backend_group]]\nname = \"web\"\nendpoints = [{{ name = \"b\", ip_address = \"192.0.2.1\" }}]\n\
                 [[health_check]]\nname = \"alive\"\ntype = \"TCP\"\n"
            )
        };
        let config =
            |network| Config::parse("test", &text(network)).unwrap_or_else(|errors| panic!("{errors}"));
        let mut state = ForwardingState::offline(config("blue"));
        let id = CheckId { service: "web".to_owned(), rule: "web".to_owned(), backend: "b".to_owned() };
        let before = job(&id, state.config(), state.services());
        state.apply([StateChange::Config(Box::new(config("red")))], Duration::ZERO);
        assert_eq!(job(&id, state.config(), state.services()), before);
    }

    #[test]
    fn probes_of_a_prefix_go_to_one_address_of_it() {
        let probed = |vip: &str| {
            let text = format!(
                "[[forwarding_rule]]\nname = \"web\"\n{vip}\nports = [80]\nbackend_service = \"web\"\n\
                 [[backend_service]]\nname = \"web\"\nhealth_checks = [\"alive\"]\n\
                 backends = [{{ group = \"web\" }}]\n\
                 [[backend_group]]\nname = \"web\"\nendpoints = [{{ name = \"b\", ip_address = \"2001:db8:1::1\" }}]\n\
                 [[health_check]]\nname = \"alive\"\ntype = \"TCP\"\n"
            );
            let config = Config::parse("test", &text).unwrap_or_else(|errors| panic!("{errors}"));
            let state = ForwardingState::offline(config);
            let (service, rule, backend) = ("web".to_owned(), "web".to_owned(), "b".to_owned());
            let job = job(&CheckId { service, rule, backend }, state.config(), state.services());
            job.expect("all have their names").vip.to_string()
        };
        assert_eq!(probed("ip_address = \"2001:db8::7\""), "2001:db8::7");
        assert_eq!(probed("ip_address = \"2001:db8:1234::/96\""), "2001:db8:1234::");
        let named = "ip_address = \"2001:db8:1234::/96\"\nprobe_address = \"2001:db8:1234::80\"";
        assert_eq!(probed(named), "2001:db8:1234::80");
    }
}
