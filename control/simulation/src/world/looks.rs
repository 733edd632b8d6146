//! Looks at what changes slowly: status, health, announcements, and the way back to a state in which all is well.

use std::time::Duration;

use guideway::api::request::Request;

use super::World;
use crate::invariant::{CONVERGENCE, Invariant};
use crate::scenario::Service;

/// Flows to each service by which it is seen that new connections reach every backend, at each of a few looks: a backend of six
/// that is left out by chance is one in a billion, though two appliances share the flows, and no queue overflows.
const FLOWS: usize = 64;

/// Time in which they are opened, and until it is looked where they went.
const OPENING: Duration = Duration::from_millis(200);
const REACHING: Duration = Duration::from_millis(400);

impl World {
    /// Looks at all appliances.
    pub(super) fn look(&mut self) {
        let now = self.now;
        for number in 0..self.sites.len() {
            self.renew_link(number);
            self.renew_status(number);
            let site = &mut self.sites[number];
            let finding = site.compare_health(&self.backends, now).or_else(|| site.compare_status());
            let weighting = self.scenario.weighting;
            let finding = finding.or_else(|| site.compare_weights(weighting, &self.backends));
            if let Some((invariant, text)) = finding {
                self.break_off(number, invariant, text);
            }
        }
        if let Some(healed_at) = self.healed_at {
            self.converge(healed_at);
        }
    }

    /// Takes a link up whose time has come.
    fn renew_link(&mut self, number: usize) {
        if self.sites[number].link_returns.is_some_and(|at| at <= self.now) {
            self.set_link(number, None);
        }
    }

    /// Takes in the answer to the latest question for the status, and asks anew.
    fn renew_status(&mut self, number: usize) {
        let site = &mut self.sites[number];
        let Some(running) = &site.running else { return };
        if let Some(answer) = &mut site.asked {
            let Ok(status) = answer.try_recv() else { return };
            site.status = status.ok();
        }
        site.asked = running.ask(|reply| Request::Status { reply });
    }

    /// Waits until all is well, and then has new connections show it.
    fn converge(&mut self, healed_at: Duration) {
        let now = self.now;
        if let Some((since, _)) = self.well_since {
            if now < since + OPENING {
                self.open_flows();
            } else if now >= since + REACHING {
                self.compare_reach();
            }
            return;
        }
        self.put_right();
        let unwell = self.sites.iter().enumerate().find_map(|(number, site)| {
            let why = site.unwell(number, &self.scenario, &self.routes, &self.backends)?;
            Some((number, why))
        });
        match unwell {
            None => {
                self.report.tell(now, format_args!("all is well"));
                self.well_since = Some((now, self.clients.last_flow()));
                self.open_flows();
            }
            Some((number, why)) if now > healed_at + CONVERGENCE => {
                let text = format!("{:?} after the last fault {why}", now - healed_at);
                self.break_off(number, Invariant::Convergence, text);
            }
            Some(_) => {}
        }
    }

    fn open_flows(&mut self) {
        for service in Service::ALL {
            for _ in 0..FLOWS {
                let flow = self.clients.open(service);
                for (_, frame) in self.clients.send(flow) {
                    self.send_of_client(&frame);
                }
            }
        }
    }

    /// Looks if new connections by each appliance have reached every backend that may have some.
    fn compare_reach(&mut self) {
        for service in Service::ALL {
            for number in 0..self.sites.len() {
                let is_up = self.routes.get(number, service.vip()).is_some_and(|route| route.is_up);
                let Some(view) = self.sites[number].views.latest().filter(|_| is_up) else { continue };
                let missed: Vec<usize> = view
                    .eligible(service)
                    .into_keys()
                    .filter(|backend| !self.reached.contains(&(number, service, *backend)))
                    .collect();
                if !missed.is_empty() {
                    let text = format!("no new connection to {} reaches {missed:?}", service.name());
                    self.break_off(number, Invariant::Convergence, text);
                }
            }
        }
    }
}
