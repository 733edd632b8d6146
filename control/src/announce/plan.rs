//! Plan of what is to be announced, and why: worked out from configuration, health and the appliance's own state, without I/O.

use std::collections::BTreeMap;
use std::net::IpAddr;

use guideway_model::config::{AnnouncementPolicy, Config, Hook};

/// Plan: the wish for each address of each hook.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan(pub(super) BTreeMap<Hook, BTreeMap<IpAddr, Wish>>);

/// Wish for one address: announced or not, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Name of the announcement that the address is part of.
    pub announcement: String,
    /// Name of the announcement's first rule that has the address.
    pub rule: String,
    /// Reason why the address is announced or not.
    pub reason: Reason,
}

/// Reason why an address is announced or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The policy is met: the address is announced.
    Served,
    /// No rule's service has enough healthy backends.
    TooFewHealthy,
    /// A worker has stalled, and what comes to its queues is lost.
    WorkerStalled,
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

impl Reason {
    /// True if this is a reason to announce.
    pub fn announces(self) -> bool {
        self == Self::Served
    }
}

impl Plan {
    /// Works out what `config` asks for; `healthy` tells the number of a service's healthy backends, by name.
    pub fn new(config: &Config, healthy: impl Fn(&str) -> u32, state: ApplianceState) -> Self {
        let mut plan = Self::default();
        for announcement in &config.announcements {
            let addresses = plan.0.entry(announcement.hook.clone()).or_default();
            for rule in announcement.rules.iter().map(|rule| &config.rules[*rule]) {
                let healthy = healthy(&config.services[rule.service].name);
                let reason =
                    state.prevents().unwrap_or_else(|| Reason::of_health(announcement.policy, healthy));
                let wish = addresses.entry(rule.address).or_insert_with(|| Wish {
                    announcement: announcement.name.clone(),
                    rule: rule.name.clone(),
                    reason,
                });
                // One rule that serves is enough.
                if reason.announces() {
                    wish.reason = reason;
                }
            }
        }
        plan
    }
}

impl Reason {
    /// Reason that the health of one rule's service gives, under an announcement's policy.
    fn of_health(policy: AnnouncementPolicy, healthy: u32) -> Self {
        match policy {
            AnnouncementPolicy::Healthy { min_healthy } if healthy < min_healthy => Self::TooFewHealthy,
            AnnouncementPolicy::Healthy { .. } | AnnouncementPolicy::Always => Self::Served,
        }
    }
}

impl ApplianceState {
    /// Reason to announce nothing whatever the policies say, if there is one: what lasts comes first.
    fn prevents(self) -> Option<Reason> {
        match self {
            Self { stage: Stage::Stopping, .. } => Some(Reason::Stopping),
            Self { stage: Stage::Draining, .. } => Some(Reason::Draining),
            Self { has_stalled_worker: true, .. } => Some(Reason::WorkerStalled),
            Self { stage: Stage::Running, has_stalled_worker: false } => None,
        }
    }
}

#[cfg(test)]
mod tests {
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
        let last = |address: &IpAddr| match address {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(_) => 0,
        };
        plan.0.values().flatten().map(|(address, wish)| (last(address), wish.reason)).collect()
    }

    fn states() -> impl Iterator<Item = ApplianceState> {
        let stages = [Stage::Running, Stage::Draining, Stage::Stopping];
        let state =
            |stage| [false, true].map(|stalled| ApplianceState { stage, has_stalled_worker: stalled });
        stages.into_iter().flat_map(state)
    }

    /// Expected reason, worked out in another way than a plan does.
    fn expected(announce: bool, state: ApplianceState) -> Reason {
        match (state.stage, state.has_stalled_worker, announce) {
            (Stage::Running, false, true) => Reason::Served,
            (Stage::Running, false, false) => Reason::TooFewHealthy,
            (Stage::Running, true, _) => Reason::WorkerStalled,
            (Stage::Draining, _, _) => Reason::Draining,
            (Stage::Stopping, _, _) => Reason::Stopping,
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
                let plan = Plan::new(&config, healthy, state);
                let (first, second) = (a >= min_healthy || b >= min_healthy, b >= min_healthy);
                let expected = [(10, expected(first, state)), (11, expected(second, state))];
                assert_eq!(reasons(&plan), expected, "{a} {b} of {min_healthy}, {state:?}");
                cases += 1;
            }
        }
        assert_eq!(cases, 6 * 48);
    }

    #[test]
    fn a_policy_of_always_asks_nobody_but_the_appliance_itself() {
        let config = config("command = [\"/bin/announce\"]\npolicy = \"ALWAYS\"\n");
        for state in states() {
            let reason = expected(true, state);
            let plan = Plan::new(&config, |_| 0, state);
            assert_eq!(reasons(&plan), [(10, reason), (11, reason)], "{state:?}");
        }
    }

    #[test]
    fn an_announcement_is_of_its_own_rules_alone() {
        let config = config("forwarding_rules = [\"c\"]\nbird_socket = \"/b\"\nbird_protocol = \"vip\"\n");
        let running = ApplianceState { stage: Stage::Running, has_stalled_worker: false };
        let plan = Plan::new(&config, |service| u32::from(service == "sb"), running);
        let wish = plan.0.values().flatten().next().expect("there is one address").1;
        assert_eq!(reasons(&plan), [(11, Reason::Served)]);
        assert_eq!((&*wish.announcement, &*wish.rule), ("bgp", "c"));
    }
}
