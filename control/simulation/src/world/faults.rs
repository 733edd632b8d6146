//! Faults as the world has them, and their end.

use std::time::Duration;

use super::World;
use crate::fault::Fault;
use crate::frame::{self, Mac};
use crate::invariant::Invariant;
use crate::network::{Node, Weather};
use crate::operator::{self, Act, Edit};
use crate::scenario::{Scenario, Service, Setting, Weighting};
use crate::{backend, router};

/// Link-layer address of the stranger who claims appliances' addresses.
const STRANGER: Mac = [2, 0, 0, 0, 2, 0x66];

/// Link-layer address of the stranger who claims the addresses of a backend.
pub(super) const fn stranger(backend: usize) -> Mac {
    [2, 0, 0, 0, 4, backend as u8]
}

/// Backend whose addresses are claimed by a stranger with this link-layer address.
pub(super) fn claimed_by(mac: Mac) -> Option<usize> {
    mac.strip_prefix(&[2, 0, 0, 0, 4]).map(|number| usize::from(number[0]))
}

impl World {
    /// Has a fault happen.
    pub(super) async fn strike(&mut self, fault: Fault) {
        self.report.counts.faults += 1;
        self.report.tell(self.now, format_args!("{fault:?}"));
        let now = self.now;
        match fault {
            Fault::Weather(weather) => self.network.weather = weather,
            Fault::Death(number) => self.change(number, |backend| backend.is_up = false),
            Fault::Revival(number) => self.change(number, |backend| backend.is_up = true),
            Fault::ServerEnds(number) => self.change(number, |backend| backend.serves = false),
            Fault::ServerBegins(number) => self.change(number, |backend| backend.serves = true),
            Fault::Slow(number, slowness) => self.change(number, |backend| backend.slowness = slowness),
            Fault::AnotherMac(number) => {
                self.macs += 1;
                let mac = [2, 0, 0, 0, 3, self.macs];
                let told = self.backends[number].change_mac(mac, now);
                self.sites.iter_mut().for_each(|site| site.sights[number].forget(now));
                if self.backends[number].is_up {
                    told.iter().for_each(|frame| self.switch(frame, Node::Backend(number)));
                }
            }
            Fault::Claim(number) => {
                for address in [backend::v4(number), backend::v6(number)] {
                    self.switch(&frame::announcement(address, stranger(number)), Node::Router);
                }
            }
            Fault::ClaimOfAppliance(number) => {
                let claim = frame::announcement(Scenario::address(number).into(), STRANGER);
                self.switch(&claim, Node::Router);
            }
            Fault::ControlStall(number, time) => {
                if let Some(running) = &self.sites[number].running {
                    running.stall(now + time);
                }
            }
            Fault::WorkerStall(number, worker, time) => {
                if let Some(running) = &mut self.sites[number].running {
                    running.stall_worker(worker, now + time);
                }
            }
            Fault::LinkLoss(number, time) => self.set_link(number, Some(now + time)),
            Fault::Kill(number, pause) => {
                if self.sites[number].running.is_some() {
                    self.end_process(number, pause).await;
                }
            }
            Fault::DeafRouter(number, time) => {
                if let Some(running) = &self.sites[number].running {
                    running.session.deafen(now + time);
                }
            }
            Fault::SlowDisk(time) => self.slow_disk = time,
            Fault::Operator => self.let_operator_act(),
            Fault::Weight(number, weight) => self.change_weight(number, weight),
            Fault::GarbledReport(number, garble) => self.backends[number].garble = Some(garble),
            Fault::RightReport(number) => self.backends[number].garble = None,
        }
    }

    fn change_weight(&mut self, number: usize, weight: u16) {
        if self.scenario.weighting == Weighting::Reported {
            return self.backends[number].change_weight(weight);
        }
        let service = if self.dice.chance(0.5) { Service::Web } else { Service::WebSix };
        let site = self.dice.below(self.sites.len());
        self.act(&Act::SetWeight(service, number, weight), site);
    }

    fn change(&mut self, number: usize, change: impl FnOnce(&mut backend::Backend)) {
        let backend = &mut self.backends[number];
        change(backend);
        backend.since = self.now;
    }

    /// Takes an appliance's link down until a time, or up.
    pub(super) fn set_link(&mut self, number: usize, down_until: Option<Duration>) {
        let site = &mut self.sites[number];
        site.link_returns = down_until;
        if let Some(running) = &site.running {
            running.set_link(down_until.is_none());
        }
    }

    fn let_operator_act(&mut self) {
        let act = operator::draw(&mut self.dice, &self.scenario, &self.setting);
        let Act::Reload(edit) = &act else {
            let number = self.dice.below(self.sites.len());
            return self.act(&act, number);
        };
        // An operator who reloads does so everywhere, one edit after the other.
        let is_waited_for = self.sites.iter().any(|site| site.has_pending_reload() || site.running.is_none());
        if is_waited_for {
            return;
        }
        if let Edit::Right(setting) = edit {
            self.setting = setting.clone();
        }
        for number in 0..self.sites.len() {
            self.act(&act, number);
        }
    }

    /// Ends all faults: machines run, links are up, the network is fair, and operators put right what they have drained.
    pub(super) fn heal(&mut self) {
        let now = self.now;
        self.report.tell(now, format_args!("all faults end"));
        (self.healed_at, self.network.weather, self.slow_disk) =
            (Some(now), Weather::default(), Duration::ZERO);
        for number in 0..self.backends.len() {
            self.change(number, |backend| {
                (backend.is_up, backend.serves, backend.slowness) = (true, true, Duration::ZERO);
                backend.garble = None;
            });
        }
        for number in 0..self.sites.len() {
            self.set_link(number, None);
            if !self.sites[number].has_pending_reload() {
                self.write(number, &Edit::Right(self.setting.clone()));
            }
            if let Some(running) = &mut self.sites[number].running {
                running.stall(now);
                for worker in 0..self.scenario.workers {
                    running.stall_worker(worker, now);
                }
                running.session.deafen(now);
            }
            self.sites[number].starts_at = self.sites[number].starts_at.min(now);
        }
    }

    /// Has operators put right, once faults have ended, what they have left behind: drained appliances, and files that were
    /// read before the last edit.
    pub(super) fn put_right(&mut self) {
        for number in 0..self.sites.len() {
            if self.sites[number].running.is_none() || self.sites[number].has_pending_reload() {
                continue;
            }
            if self.sites[number].is_drained {
                self.act(&Act::UndrainAppliance, number);
            }
            let is_last = |known: &Setting| *known == self.setting;
            if !self.sites[number].in_force.as_ref().is_some_and(is_last) {
                let edit = Edit::Right(self.setting.clone());
                self.act(&Act::Reload(edit), number);
            }
        }
    }

    /// Looks for the link-layer address of the stranger who claims a backend's address where a packet goes: an error unless
    /// the appliance may have been misled.
    pub(super) fn misled(&self, site: usize, sent: &[u8]) -> Option<(Invariant, String)> {
        let number = claimed_by(frame::destination(sent)?)?;
        let is_misled = self.sites[site].sights.get(number)?.is_misled(sent, self.now);
        let text = || format!("a packet goes to one who has claimed the address of b{number}, which answers");
        is_misled.then(|| (Invariant::NextHop, text()))
    }

    /// True if a link-layer address is the router's, or of no machine at all.
    pub(super) fn is_router(destination: Mac) -> bool {
        destination == router::MAC
    }
}
