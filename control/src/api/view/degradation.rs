//! Degradation of the appliance: the reasons that its status gives, the worst first.

use super::condition::Condition;
use super::status::{Port, PortState, Service, Status, WorkerState};

impl Status {
    /// Status with the condition that all the rest of it comes to.
    #[must_use]
    pub fn with_condition(self) -> Self {
        let reasons = reasons(&self);
        Self { condition: Condition { degraded: !reasons.is_empty(), reasons }, ..self }
    }
}

fn reasons(status: &Status) -> Vec<String> {
    let mut reasons: Vec<String> = status.services.iter().filter_map(unserved).collect();
    if status.drain.is_some() {
        reasons.push("the appliance is drained".to_owned());
    }
    let stalled = status.workers.iter().filter(|worker| worker.state == WorkerState::Stalled);
    reasons.extend(stalled.map(|worker| format!("worker {} has stalled", worker.number)));
    reasons.extend(status.ports.iter().filter_map(unusable));
    let untold = status.announcements.iter().filter(|one| one.last_error.is_some());
    reasons.extend(untold.map(|one| format!("announcement {} {} fails", one.announcement, one.address)));
    if !status.announcements.is_empty() && status.guard.as_ref().is_some_and(|guard| guard.pid.is_none()) {
        reasons.push("no guard stands over announcements".to_owned());
    }
    reasons.extend(status.services.iter().filter_map(weakened));
    if status.unresolved_neighbors > 0 {
        reasons.push(format!("{} next hops are unresolved", status.unresolved_neighbors));
    }
    let failed = status.endpoints_files.iter().filter(|file| file.last_error.is_some());
    reasons.extend(failed.map(|file| {
        format!("endpoints of group {} are as last read: their file fails", file.backend_groups.join(", "))
    }));
    let unanswered = status.endpoints_dns.iter().filter(|question| question.last_error.is_some());
    reasons.extend(unanswered.map(|question| {
        let state = if question.answered_at_unix_sec.is_some() { "as last answered" } else { "unknown" };
        format!("endpoints of group {} are {state}: DNS fails", question.backend_groups.join(", "))
    }));
    if status.operator_settings.last_error.is_some() {
        reasons.push("drains and weights set by hand are not kept".to_owned());
    }
    reasons
}

/// Reason why nobody serves a service as configured.
fn unserved(service: &Service) -> Option<String> {
    let Service { name, backends, healthy, eligible, ever_healthy, .. } = service;
    if !ever_healthy && *backends > 0 {
        return Some(format!("no backend of service {name} has ever been healthy"));
    }
    match (eligible, healthy) {
        (0, _) => Some(format!("nobody serves service {name}")),
        (_, 0) if *backends > 0 => Some(format!("no backend of service {name} is healthy")),
        _ => None,
    }
}

/// Reason why a service that is served has less than it is configured with.
fn weakened(service: &Service) -> Option<String> {
    let Service { name, backends, healthy, weights_valid, .. } = service;
    if unserved(service).is_some() {
        return None;
    }
    if healthy < backends {
        return Some(format!("service {name} has {healthy} of {backends} backends healthy"));
    }
    (*weights_valid == Some(false)).then(|| format!("service {name} runs with equal weights"))
}

fn unusable(port: &Port) -> Option<String> {
    let name = &port.name;
    match port.state {
        PortState::Removed => Some(format!("the device of port {name} is gone")),
        PortState::Resetting => Some(format!("port {name} is being reset")),
        PortState::Running => (!port.link_up).then(|| format!("port {name} has no link")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::view::{EndpointsFile, Worker};

    fn service(name: &str, backends: u32, healthy: u32, eligible: u32) -> Service {
        Service {
            name: name.to_owned(),
            network: None,
            backends,
            healthy,
            ever_healthy: true,
            operator_drained: 0,
            eligible,
            pool: None,
            weights_valid: None,
            lookup_table_digest: String::new(),
        }
    }

    fn status(services: Vec<Service>) -> Status {
        Status {
            condition: Condition::default(),
            version: String::new(),
            pid: 1,
            started_at_unix_sec: 0,
            uptime_sec: 0,
            config_path: String::new(),
            config_loaded_at_unix_sec: 0,
            configuration_generation: 1,
            snapshot_generation: 1,
            unreclaimed_snapshots: 0,
            changes_coalesced: 0,
            unresolved_neighbors: 0,
            log_lines_lost: 0,
            control_loop: crate::api::view::ControlLoop::default(),
            health_checks: None,
            ports: Vec::new(),
            workers: Vec::new(),
            services,
            vips: Vec::new(),
            announcements: Vec::new(),
            guard: None,
            drain: None,
            endpoints_files: Vec::new(),
            endpoints_dns: Vec::new(),
            operator_settings: crate::api::view::OperatorSettings::default(),
        }
    }

    #[test]
    fn an_appliance_that_serves_as_configured_is_ok() {
        assert_eq!(status(vec![service("web", 3, 3, 3)]).with_condition().condition.line(), "OK");
        assert_eq!(status(Vec::new()).with_condition().condition.line(), "OK");
    }

    #[test]
    fn reasons_come_worst_first_and_no_more_than_can_be_read() {
        let mut all = status(vec![
            service("a", 3, 2, 2),
            service("b", 2, 0, 2),
            Service { ever_healthy: false, ..service("c", 2, 0, 2) },
            service("d", 2, 2, 0),
        ]);
        all.unresolved_neighbors = 4;
        all.endpoints_files = vec![EndpointsFile {
            path: "/run/web.json".to_owned(),
            backend_groups: vec!["web".to_owned()],
            loaded_at_unix_sec: 0,
            last_error: Some("it has no target".to_owned()),
        }];
        all.ports = vec![Port { name: "lan".to_owned(), ..Port::default() }];
        all.workers = vec![Worker {
            number: 1,
            core: 3,
            node: None,
            state: WorkerState::Stalled,
            polls: 0,
            busy_share: 0.0,
            packet_share: 0.0,
            queues: Vec::new(),
        }];
        let condition = all.with_condition().condition;
        assert_eq!(
            condition.reasons,
            [
                "no backend of service b is healthy",
                "no backend of service c has ever been healthy",
                "nobody serves service d",
                "worker 1 has stalled",
                "port lan has no link",
                "service a has 2 of 3 backends healthy",
                "4 next hops are unresolved",
                "endpoints of group web are as last read: their file fails",
            ]
        );
        assert_eq!(
            condition.line(),
            "DEGRADED: no backend of service b is healthy; no backend of service c has ever been healthy; \
             nobody serves service d; worker 1 has stalled; and 4 more"
        );
    }
}
