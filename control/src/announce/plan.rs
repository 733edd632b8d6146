//! Plan of what is to be announced, and why: worked out from configuration, health, the appliance's own state and what was
//! planned before, without I/O; time is an argument.

use std::collections::BTreeMap;
use std::time::Duration;

use guideway_model::config::{Announcement, AnnouncementPolicy, Config, ForwardingRule, Hook, VipRange};

/// Plan: the wish for each address of each hook.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan(pub(super) BTreeMap<Hook, BTreeMap<VipRange, Wish>>);

/// Wish for one address: announced or not, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Name of the announcement that the address is part of.
    pub announcement: String,
    /// Name of the announcement's first rule that has the address.
    pub rule: String,
    /// Name of the rule's network; none where the appliance is in one network alone.
    pub network: Option<String>,
    /// Reason why the address is announced or not.
    pub reason: Reason,
    /// End of the hold-down that the latest withdrawal began, as a time of the planner's clock; none without one.
    pub held_until: Option<Duration>,
}

#[cfg(test)]
impl Wish {
    /// Wish of an announcement `bgp` for a rule `web`, for this reason.
    pub(super) fn of_web(reason: Reason) -> Self {
        let (announcement, rule) = ("bgp".to_owned(), "web".to_owned());
        Self { announcement, rule, network: None, reason, held_until: None }
    }
}

/// Reason why an address is announced or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The policy is met: the address is announced.
    Served,
    /// No rule's service has enough healthy backends.
    TooFewHealthy,
    /// The policy is met again, and the hold-down of the latest withdrawal is not over.
    HeldDown,
    /// A worker has stalled, and what comes to its queues is lost.
    WorkerStalled,
    /// No port has a link.
    LinkDown,
    /// The appliance is drained.
    Draining,
    /// The appliance stops.
    Stopping,
    /// The address is no longer configured.
    Removed,
}

/// State of the appliance, as far as announcements depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApplianceState {
    /// Stage of the appliance's life.
    pub stage: Stage,
    /// True if a worker has not polled for a while.
    pub has_stalled_worker: bool,
    /// True if the links of all ports are down.
    pub has_no_link: bool,
}

/// Stage of the appliance's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The appliance serves.
    Running,
    /// The appliance is to lose its traffic, and forwards what still comes.
    Draining,
    /// The appliance ends.
    Stopping,
}

/// Planner: makes plans, and remembers what each address depends on beyond the present.
#[derive(Debug, Default)]
pub struct Planner {
    standings: BTreeMap<(Hook, VipRange), Standing>,
}

/// Standing of an address: a drain or a stop of the appliance does not change it, health, stalls and links do.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    /// True from the time when enough backends were healthy until too few are, a worker stalls, or no port has a link.
    is_up: bool,
    /// Time of the latest withdrawal.
    went_down: Option<Duration>,
    /// End of the hold-down, where nothing else keeps the address down.
    due: Option<Duration>,
}

impl Wish {
    /// Seconds until the hold-down is over, rounded up; none where none goes on at `now`.
    pub fn hold_down_left_sec(&self, now: Duration) -> Option<u64> {
        let left = self.held_until?.checked_sub(now).filter(|left| !left.is_zero())?;
        Some(left.as_millis().div_ceil(1_000) as u64)
    }

    /// The wish with another reason, which no hold-down delays.
    pub(super) fn for_good(&self, reason: Reason) -> Self {
        Self { reason, held_until: None, ..self.clone() }
    }
}

impl Reason {
    /// True if this is a reason to announce.
    pub fn announces(self) -> bool {
        self == Self::Served
    }
}

impl Planner {
    /// Works out what `config` asks for at `now`; `healthy` tells the number of a service's healthy backends, by name.
    pub fn plan(
        &mut self,
        config: &Config,
        healthy: impl Fn(&str) -> u32,
        state: ApplianceState,
        now: Duration,
    ) -> Plan {
        let mut plan = Plan::default();
        let mut standings = BTreeMap::new();
        for announcement in &config.announcements {
            let wishes = plan.0.entry(announcement.hook.clone()).or_default();
            for (address, (rule, healthy)) in best_by_address(announcement, config, &healthy) {
                let key = (announcement.hook.clone(), address);
                let mut standing = self.standings.get(&key).copied().unwrap_or_default();
                let reason = standing.follow(announcement, healthy, state.obstacle(), now);
                let reason = state.stage.prevents().unwrap_or(reason);
                let held_until = standing.held_until(announcement, now);
                let network = &config.networks[rule.network].name;
                let network = config.has_several_networks().then(|| network.clone());
                let (announcement, rule) = (announcement.name.clone(), rule.name.clone());
                wishes.insert(address, Wish { announcement, rule, network, reason, held_until });
                standings.insert(key, standing);
            }
        }
        self.standings = standings;
        plan
    }

    /// True if a hold-down has ended that alone kept an address down: another plan is due.
    pub fn is_due(&self, now: Duration) -> bool {
        self.standings.values().filter_map(|standing| standing.due).any(|due| due <= now)
    }
}

/// Returns each address of an announcement with its first rule, and the most healthy backends of any of its rules' services.
fn best_by_address<'c>(
    announcement: &Announcement,
    config: &'c Config,
    healthy: impl Fn(&str) -> u32,
) -> BTreeMap<VipRange, (&'c ForwardingRule, u32)> {
    let mut addresses = BTreeMap::new();
    for rule in announcement.rules.iter().map(|rule| &config.rules[*rule]) {
        let healthy = healthy(&config.services[rule.service].name);
        let (_, most) = addresses.entry(rule.vip).or_insert((rule, healthy));
        // A single rule that serves is enough.
        *most = healthy.max(*most);
    }
    addresses
}

impl Standing {
    /// Takes in health and what else keeps the appliance from serving; returns the reason that they give, whatever the stage of the appliance.
    fn follow(
        &mut self,
        announcement: &Announcement,
        healthy: u32,
        obstacle: Option<Reason>,
        now: Duration,
    ) -> Reason {
        let is_enough = match announcement.policy {
            AnnouncementPolicy::Always => true,
            AnnouncementPolicy::Healthy { min_healthy, .. } if self.is_up => healthy >= min_healthy,
            AnnouncementPolicy::Healthy { min_healthy_up, .. } => healthy >= min_healthy_up,
        };
        let is_met = is_enough && obstacle.is_none();
        if self.is_up && !is_met {
            (self.is_up, self.went_down) = (false, Some(now));
        }
        self.due = self.held_until(announcement, now).filter(|_| is_met);
        self.is_up = is_met && self.due.is_none();
        if let Some(obstacle) = obstacle {
            obstacle
        } else if !is_enough {
            Reason::TooFewHealthy
        } else if self.is_up {
            Reason::Served
        } else {
            Reason::HeldDown
        }
    }

    /// End of the hold-down that goes on at `now`; none where the address is up, or may come up.
    fn held_until(&self, announcement: &Announcement, now: Duration) -> Option<Duration> {
        let went_down = self.went_down.filter(|_| !self.is_up)?;
        Some(went_down + announcement.hold_down).filter(|until| *until > now)
    }
}

impl ApplianceState {
    /// Reason for which nothing can be served, whatever health says, if there is one.
    fn obstacle(self) -> Option<Reason> {
        // Without links workers go on polling: a stall comes on top, and is the more urgent to know of.
        let stalled = self.has_stalled_worker.then_some(Reason::WorkerStalled);
        stalled.or(self.has_no_link.then_some(Reason::LinkDown))
    }
}

impl Stage {
    /// Reason to announce nothing whatever health says, if there is one.
    fn prevents(self) -> Option<Reason> {
        match self {
            Self::Running => None,
            Self::Draining => Some(Reason::Draining),
            Self::Stopping => Some(Reason::Stopping),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    /// Rules `a` and `b` of one address before the services of these names, and `c` of another before `b`'s.
    fn config(announcement: &str) -> Config {
        let rule = |name: &str, host: u8, port: u16, service: &str| {
            format!(
                "[[forwarding_rule]]\nname = \"{name}\"\nip_address = \"203.0.113.{host}\"\nports = [{port}]\n\
                 backend_service = \"{service}\"\n"
            )
        };
        let service = |name: &str| {
            format!(
                "[[backend_service]]\nname = \"{name}\"\nhealth_checks = [\"hc\"]\nbackends = [{{ group = \"none\" }}]\n"
            )
        };
        let text = rule("a", 10, 80, "sa")
            + &rule("b", 10, 443, "sb")
            + &rule("c", 11, 443, "sb")
            + &service("sa")
            + &service("sb")
            + "[[backend_group]]\nname = \"none\"\nendpoints = []\n"
            + "[[health_check]]\nname = \"hc\"\ntype = \"TCP\"\nport = 80\n"
            + "[[announcement]]\nname = \"bgp\"\n"
            + announcement;
        Config::parse("test", &text).unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// Reason of each address, by its last byte.
    fn reasons(plan: &Plan) -> Vec<(u8, Reason)> {
        let last = |vip: &VipRange| match vip.first() {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(_) => 0,
        };
        plan.0.values().flatten().map(|(address, wish)| (last(address), wish.reason)).collect()
    }

    fn states() -> impl Iterator<Item = ApplianceState> {
        let stages = [Stage::Running, Stage::Draining, Stage::Stopping];
        let state = |stage| {
            [(false, false), (false, true), (true, false), (true, true)].map(|(stalled, no_link)| {
                ApplianceState { stage, has_stalled_worker: stalled, has_no_link: no_link }
            })
        };
        stages.into_iter().flat_map(state)
    }

    const RUNNING: ApplianceState =
        ApplianceState { stage: Stage::Running, has_stalled_worker: false, has_no_link: false };

    /// Expected reason, worked out in another way than a plan does.
    fn expected(announce: bool, state: ApplianceState) -> Reason {
        match (state.stage, state.has_stalled_worker, state.has_no_link, announce) {
            (Stage::Running, false, false, true) => Reason::Served,
            (Stage::Running, false, false, false) => Reason::TooFewHealthy,
            (Stage::Running, true, _, _) => Reason::WorkerStalled,
            (Stage::Running, false, true, _) => Reason::LinkDown,
            (Stage::Draining, ..) => Reason::Draining,
            (Stage::Stopping, ..) => Reason::Stopping,
        }
    }

    #[test]
    fn an_address_is_announced_while_any_of_its_rules_can_serve_and_nothing_prevents_it() {
        let command = "command = [\"/bin/announce\"]\n";
        let mut cases = 0;
        for state in states() {
            for (a, b, min_healthy) in
                (0..4).flat_map(|a| (0..4).flat_map(move |b| (1..4).map(move |m| (a, b, m))))
            {
                let healthy = |service: &str| if service == "sa" { a } else { b };
                let config = config(&format!("{command}min_healthy = {min_healthy}\n"));
                let plan = Planner::default().plan(&config, healthy, state, Duration::ZERO);
                let (first, second) = (a >= min_healthy || b >= min_healthy, b >= min_healthy);
                let expected = [(10, expected(first, state)), (11, expected(second, state))];
                assert_eq!(reasons(&plan), expected, "{a} {b} of {min_healthy}, {state:?}");
                cases += 1;
            }
        }
        assert_eq!(cases, 12 * 48);
    }

    #[test]
    fn a_policy_of_always_asks_nobody_but_the_appliance_itself() {
        let config = config("command = [\"/bin/announce\"]\npolicy = \"ALWAYS\"\n");
        for state in states() {
            let reason = expected(true, state);
            let plan = Planner::default().plan(&config, |_| 0, state, Duration::ZERO);
            assert_eq!(reasons(&plan), [(10, reason), (11, reason)], "{state:?}");
        }
    }

    #[test]
    fn an_announcement_is_of_its_own_rules_alone() {
        let config = config("forwarding_rules = [\"c\"]\nbird_socket = \"/b\"\nbird_protocol = \"vip\"\n");
        let healthy = |service: &str| u32::from(service == "sb");
        let plan = Planner::default().plan(&config, healthy, RUNNING, Duration::ZERO);
        let wish = plan.0.values().flatten().next().expect("there is one address").1;
        assert_eq!(reasons(&plan), [(11, Reason::Served)]);
        assert_eq!((&*wish.announcement, &*wish.rule), ("bgp", "c"));
    }

    #[test]
    fn a_prefix_is_announced_as_one_and_an_address_in_it_by_itself() {
        let mut text = "command = [\"/bin/announce\"]\n".to_owned();
        for (name, vip) in [("d", "198.51.100.0/28"), ("e", "198.51.100.7"), ("f", "2001:db8:1234::/96")] {
            text += &format!(
                "[[forwarding_rule]]\nname = \"{name}\"\nip_address = \"{vip}\"\nports = [80]\n\
                 backend_service = \"sa\"\n"
            );
        }
        let healthy = |service: &str| u32::from(service == "sa");
        let plan = Planner::default().plan(&config(&text), healthy, RUNNING, Duration::ZERO);
        let wishes: Vec<_> =
            plan.0.values().flatten().map(|(vip, wish)| (vip.to_string(), &*wish.rule)).collect();
        let expected = [
            ("198.51.100.0/28", "d"),
            ("198.51.100.7", "e"),
            ("203.0.113.10", "a"),
            ("203.0.113.11", "c"),
            ("2001:db8:1234::/96", "f"),
        ];
        assert_eq!(wishes, expected.map(|(vip, rule)| (vip.to_owned(), rule)));
    }

    /// Planner of one configuration; each step tells it the healthy backends of `sa` at a second.
    struct Run {
        planner: Planner,
        config: Config,
    }

    impl Run {
        fn new(announcement: &str) -> Self {
            let text = format!("forwarding_rules = [\"a\"]\ncommand = [\"/bin/announce\"]\n{announcement}");
            Self { planner: Planner::default(), config: config(&text) }
        }

        /// Returns the reason, and the second at which the hold-down ends, if one goes on.
        fn at(&mut self, second: u64, healthy: u32, state: ApplianceState) -> (Reason, Option<u64>) {
            let plan = self.planner.plan(&self.config, |_| healthy, state, Duration::from_secs(second));
            let wish = plan.0.values().flatten().next().expect("there is one address").1;
            (wish.reason, wish.held_until.map(|until| until.as_secs()))
        }

        fn is_due(&self, second: u64) -> bool {
            self.planner.is_due(Duration::from_secs(second))
        }
    }

    #[test]
    fn an_address_goes_below_one_number_and_comes_back_at_another() {
        let mut run = Run::new("min_healthy = 2\nmin_healthy_up = 4\n");
        let numbers = [3, 4, 3, 2, 1, 2, 3, 4, 2];
        let announced = numbers.map(|healthy| run.at(0, healthy, RUNNING).0 == Reason::Served);
        assert_eq!(announced, [false, true, true, true, false, false, false, true, true]);
        assert_eq!(run.at(0, 1, RUNNING), (Reason::TooFewHealthy, None));
    }

    #[test]
    fn an_address_that_went_down_stays_down_for_as_long_as_it_is_held() {
        let mut run = Run::new("hold_down_sec = 30\n");
        assert_eq!(run.at(0, 0, RUNNING), (Reason::TooFewHealthy, None), "a start is no withdrawal");
        assert_eq!(run.at(5, 1, RUNNING), (Reason::Served, None));
        assert_eq!(run.at(10, 0, RUNNING), (Reason::TooFewHealthy, Some(40)));
        assert!(!run.is_due(60), "health alone can bring it back");
        assert_eq!(run.at(11, 1, RUNNING), (Reason::HeldDown, Some(40)));
        assert_eq!(run.at(12, 0, RUNNING), (Reason::TooFewHealthy, Some(40)), "it was down already");
        assert_eq!(run.at(13, 1, RUNNING), (Reason::HeldDown, Some(40)));
        assert_eq!([39, 40].map(|second| run.is_due(second)), [false, true]);
        assert_eq!(run.at(40, 1, RUNNING), (Reason::Served, None));
        assert!(!run.is_due(100));
        assert_eq!(run.at(50, 0, RUNNING), (Reason::TooFewHealthy, Some(80)));
        assert_eq!(run.at(90, 0, RUNNING), (Reason::TooFewHealthy, None));
        assert_eq!(run.at(91, 1, RUNNING), (Reason::Served, None), "it was down for long enough");
    }

    #[test]
    fn a_backend_that_flaps_every_second_takes_the_address_down_once_in_each_hold_down() {
        let mut run = Run::new("hold_down_sec = 30\n");
        let announced: Vec<_> =
            (0..120).map(|second| run.at(second, 1 - second as u32 % 2, RUNNING).0.announces()).collect();
        let changes = announced.windows(2).filter(|pair| pair[0] != pair[1]).count();
        // Down at 1, 33, 65 and 97, up one second before each.
        assert_eq!(changes, 7);
    }

    #[test]
    fn a_stalled_worker_begins_a_hold_down_and_a_drain_does_not() {
        let mut run = Run::new("policy = \"ALWAYS\"\nhold_down_sec = 10\n");
        let stalled = ApplianceState { has_stalled_worker: true, ..RUNNING };
        let draining = ApplianceState { stage: Stage::Draining, ..RUNNING };
        assert_eq!(run.at(0, 0, RUNNING), (Reason::Served, None));
        assert_eq!(run.at(1, 0, draining), (Reason::Draining, None));
        assert_eq!(run.at(2, 0, RUNNING), (Reason::Served, None), "an operator waits for nothing");
        assert_eq!(run.at(3, 0, stalled), (Reason::WorkerStalled, Some(13)));
        assert_eq!(run.at(4, 0, RUNNING), (Reason::HeldDown, Some(13)));
        assert_eq!(run.at(5, 0, draining), (Reason::Draining, Some(13)));
        assert_eq!(run.at(13, 0, RUNNING), (Reason::Served, None));
    }

    #[test]
    fn a_reload_keeps_what_is_held_and_may_shorten_it() {
        let mut run = Run::new("hold_down_sec = 30\n");
        run.at(0, 1, RUNNING);
        run.at(1, 0, RUNNING);
        run.config = Run::new("hold_down_sec = 10\n").config;
        assert_eq!(run.at(2, 1, RUNNING), (Reason::HeldDown, Some(11)));
        run.config = Run::new("").config;
        assert_eq!(run.at(3, 1, RUNNING), (Reason::Served, None));
    }
}
