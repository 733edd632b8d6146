//! Requests of operators and of Prometheus: each goes to the part that it concerns, and gets its reply.

use std::time::{Duration, SystemTime};

use guideway_model::config::{BackendService, VipRange};
use guideway_model::forwarding_state::StateChange;
use guideway_model::service::UnknownName;

use super::capture::{Capture, CaptureOrder};
use super::conntrack_reader::{Counted, Wanted};
use super::event_log::Note;
use super::flow_watch::FlowWatch;
use super::hand_probes::Ended;
use super::packet_tracer::PacketTracer;
use super::views::Backends;
use super::what_if::Copied;
use super::{Next, Supervisor, operator, tunnels, views};
use crate::api::packet_filter::PacketFilter;
use crate::api::request::{Refused, Reply, Request};
use crate::api::view::{self, ConntrackList, Remaining};
use crate::health::change::HealthChange;
use crate::run::kept_state::KeptState;
use crate::run::ports::Ports;

impl<P: Ports> Supervisor<P> {
    /// Does what a request asks for, and replies. Whoever asked may be gone by then, which is no error.
    pub(super) fn serve(&mut self, request: Request) -> Next {
        let now = self.now();
        match request {
            Request::Status { reply } => drop(reply.send(Ok(self.status()))),
            Request::Stats { reply } => {
                drop(reply.send(Ok(views::stats(&self.appliance, &self.workers))));
            }
            Request::Xstats { reply } => {
                drop(reply.send(Ok(view::Xstats { ports: self.workers.ports().xstats() })));
            }
            Request::ServiceList { reply } => {
                let health = self.probes.as_ref().map(|probes| probes.monitor().state());
                let states = views::services(&self.appliance, health);
                drop(reply.send(Ok(views::service_list(&self.appliance, states))));
            }
            Request::RuleList { reply } => drop(reply.send(Ok(views::rule_list(&self.appliance)))),
            Request::ConntrackList { service, backend, limit, reply } => {
                self.list_conntrack(Wanted { service, backend, limit }, reply);
            }
            Request::ConntrackGet { flow, network, reply } => {
                let state = self.appliance.state();
                let network = state.network_named(network.as_deref());
                let look_up = |network| self.conntrack.look_up(&flow, network, state);
                drop(reply.send(network.map(look_up).map_err(Refused::from)));
            }
            Request::BackendList { service, reply } => {
                drop(reply.send(self.backends().list(service.as_deref())));
            }
            Request::BackendGet { service, backend, reply } => {
                drop(reply.send(self.backends().get(&service, &backend)));
            }
            Request::BackendRemaining { service, backend, reply } => {
                self.count_remaining(&service, &backend, reply);
            }
            Request::BackendProbe { service, backend, reply } => {
                self.probe_by_hand(service, backend, reply);
            }
            Request::BackendDrain { service, backend, deadline, reply } => {
                let done = operator::drain(&mut self.appliance, &service, &backend, deadline, now);
                self.answer_backend(done, &service, &backend, reply);
            }
            Request::BackendUndrain { service, backend, reply } => {
                let done = operator::undrain(&mut self.appliance, &service, &backend, now);
                self.answer_backend(done, &service, &backend, reply);
            }
            Request::BackendReset { service, backend, reply } => {
                let standing = self.standing_weight(&service, &backend);
                let done = operator::reset(&mut self.appliance, &service, &backend, standing, now);
                self.answer_backend(done, &service, &backend, reply);
            }
            Request::BackendSetWeight { service, backend, weight, reply } => {
                let done = operator::set_weight(&mut self.appliance, &service, &backend, weight, now);
                self.answer_backend(done, &service, &backend, reply);
            }
            Request::VipList { reply } => {
                drop(reply.send(Ok(view::VipList { vips: views::vips(&self.appliance) })));
            }
            Request::VipAnnounce { address, network, reply } => {
                drop(reply.send(self.set_vip_announced(address, network.as_deref(), true)));
            }
            Request::VipWithdraw { address, network, reply } => {
                drop(reply.send(self.set_vip_announced(address, network.as_deref(), false)));
            }
            Request::Capture { reasons, filter, copies, packets, blocks, reply } => {
                let order = CaptureOrder { reasons, filter, copies, packets, blocks };
                drop(reply.send(self.begin_capture(order)));
            }
            Request::Trace { filter, count, lines, reply } => {
                drop(reply.send(self.begin_trace(filter, PacketTracer::new(lines, count))));
            }
            Request::ConntrackWatch { filter, count, lines, reply } => {
                let watch = FlowWatch::new(lines, count, now);
                drop(reply.send(self.begin_watch(filter, watch)));
            }
            Request::Events { limit, after, reply } => {
                drop(reply.send(Ok(self.event_log.list(limit, after))));
            }
            // Refused before the copy, which takes the control thread some time where there is much.
            Request::Plan { config: None, reply } => self.plan_reader.ask(&self.config_source, reply, now),
            Request::Plan { reply, .. } if self.what_if.is_busy() => refuse(reply),
            Request::Explain { reply, .. } if self.what_if.is_busy() => refuse(reply),
            Request::Ring { reply, .. } if self.what_if.is_busy() => refuse(reply),
            Request::Plan { config: Some(config), reply } => {
                let copied = self.copied();
                self.what_if.plan(copied, config, &self.config_source, reply);
            }
            Request::Explain { flow, network, unhealthy, reply } => {
                let copied = self.copied();
                self.what_if.explain(copied, flow, network, unhealthy, reply);
            }
            Request::Ring { query, unhealthy, reply } => {
                let copied = self.copied();
                self.what_if.ring(copied, query, unhealthy, reply);
            }
            Request::Reload { confirms_removals, reply } => {
                self.config_reader.ask(Some(reply), confirms_removals, now);
            }
            Request::Drain { deadline, stop, reply } => drop(reply.send(Ok(self.drain(deadline, stop)))),
            Request::Undrain { reply } => drop(reply.send(Ok(self.undrain()))),
            Request::Stop { reply } => {
                drop(reply.send(Ok(view::Stopping { pid: std::process::id() })));
                return Next::Stop;
            }
        }
        Next::Turn
    }

    /// Copy of the state, to ask it what would be.
    fn copied(&self) -> Copied {
        Copied::of(self.appliance.state(), &self.config_source, self.now())
    }

    /// Plans a reload of the appliance's own file, once it is read.
    pub(super) fn plan_what_was_read(&mut self, now: Duration) {
        match self.plan_reader.poll(&self.config_source, now) {
            None => {}
            Some((reply, Err(refused))) => drop(reply.send(Err(refused))),
            Some((reply, Ok(_))) if self.what_if.is_busy() => drop(reply.send(Err(Refused::WhatIfRunning))),
            Some((reply, Ok(loaded))) => {
                let copied = self.copied();
                self.what_if.plan_of(copied, loaded.config, &self.config_source, reply);
            }
        }
    }

    /// The backends as operators see them now.
    fn backends(&self) -> Backends<'_> {
        let health = self.probes.as_ref().map(|probes| probes.monitor().state());
        Backends { appliance: &self.appliance, health, now: self.now() }
    }

    fn list_conntrack(&mut self, wanted: Wanted, reply: Reply<ConntrackList>) {
        let services = self.appliance.state().services();
        match &wanted.service {
            Some(service) if services.get(service).is_none() => {
                drop(reply.send(Err(UnknownName::Service(service.clone()).into())));
            }
            _ => self.conntrack.list(wanted, self.appliance.state().names().clone(), reply),
        }
    }

    fn count_remaining(&mut self, service: &str, backend: &str, reply: Reply<Remaining>) {
        let state = self.appliance.state();
        let unknown = || UnknownName::Backend(service.to_owned(), backend.to_owned());
        let known = state.services().get(service).ok_or_else(|| UnknownName::Service(service.to_owned()));
        let found = known.and_then(|known| {
            known.backends().find(|known| known.endpoint.name == backend).ok_or_else(unknown)
        });
        let handle = match found {
            Ok(found) => found.handle,
            Err(unknown) => return drop(reply.send(Err(unknown.into()))),
        };
        let configured = state.config().services.iter().find(|known| known.name == service);
        let counted = Counted {
            service: service.to_owned(),
            handle,
            are_sessions: configured.is_some_and(BackendService::tracks_sessions),
            idle_timeout_sec: configured.map_or(0, |service| service.idle_timeout_sec),
        };
        self.conntrack.count(counted, state.names().clone(), reply);
    }

    /// Probes a backend once through each rule; the reply comes when the last probe has ended.
    fn probe_by_hand(&mut self, service: String, backend: String, reply: Reply<view::BackendProbes>) {
        if let Err(refused) = self.backends().get(&service, &backend) {
            return drop(reply.send(Err(refused)));
        }
        match &self.probes {
            Some(probes) => {
                let probing = probes.monitor().probe_by_hand(&service, &backend);
                self.hand_probes.begin(service, backend, probing, reply);
            }
            None => drop(reply.send(Ok(view::BackendProbes { service, backend, probes: Vec::new() }))),
        }
    }

    /// Replies to those whose probes by hand have ended.
    pub(super) fn answer_hand_probes(&mut self) {
        let now = self.now();
        for Ended { service, backend, mut probes, reply } in self.hand_probes.take_ended() {
            for probe in &mut probes {
                tunnels::explain_by_hand(&self.appliance, (&service, &backend), probe, now);
            }
            let probes = probes.into_iter().map(view::RuleProbe::from).collect();
            // The asker may be gone.
            let _ = reply.send(Ok(view::BackendProbes { service, backend, probes }));
        }
    }

    /// The change that gives a backend the weight that it reports; none where it has its configured one.
    fn standing_weight(&self, service: &str, backend: &str) -> Option<StateChange> {
        let standing = self.probes.as_ref()?.monitor().state().standing(service);
        let own = standing
            .into_iter()
            .find(|change| matches!(change, HealthChange::Weight { backend: known, .. } if known == backend));
        own?.into_state_change()
    }

    /// Takes over what operators had set before the start, and writes the file: one that cannot be written is told now.
    pub(super) fn take_over_kept(&mut self, kept: KeptState) {
        self.note_all(operator::taken_over(&kept));
        self.operator_state = kept.operator_state;
        let now = self.now();
        self.state_keeper.keep(|| self.operator_state.encode(), now);
    }

    /// Replies with the backend after an operator's change, once the change is kept.
    fn answer_backend(
        &mut self,
        change: Result<Note, Refused>,
        service: &str,
        backend: &str,
        reply: Reply<view::Backend>,
    ) {
        let shown = match self.backend_after(change, service, backend) {
            Ok(shown) => shown,
            Err(refused) => return drop(reply.send(Err(refused))),
        };
        let (now, unix_now) = (self.now(), views::unix_sec(SystemTime::now()));
        self.operator_state.record(self.appliance.state().services(), service, backend, unix_now);
        self.state_keeper.keep(|| self.operator_state.encode(), now);
        self.state_keeper.answer(reply, shown, now);
    }

    /// The backend after a change, which the workers have as well.
    fn backend_after(
        &mut self,
        change: Result<Note, Refused>,
        service: &str,
        backend: &str,
    ) -> Result<view::Backend, Refused> {
        self.note(change?);
        self.appliance.poll(self.now());
        self.backends().get(service, backend)
    }

    fn set_vip_announced(
        &mut self,
        address: VipRange,
        network: Option<&str>,
        announced: bool,
    ) -> Result<view::Vip, Refused> {
        let now = self.now();
        let network = operator::network_of_vip(&self.appliance, address, network)?;
        let note = operator::set_vip_announced(&mut self.appliance, network, address, announced, now)?;
        self.note(note);
        self.tell_addresses();
        self.appliance.poll(now);
        views::vip(&self.appliance, network, address).ok_or(Refused::UnknownVip(address))
    }

    fn begin_capture(&mut self, order: CaptureOrder) -> Result<(), Refused> {
        let state = self.appliance.state();
        self.listening.check(&order.filter, state.names())?;
        let (note, tapped, filter) = (order.note(), order.tapped(), order.filter.clone());
        let ports = self.appliance.config().ports.iter().map(|port| &*port.name);
        self.listening.begin(tapped, filter, Box::new(Capture::new(order, ports)), state);
        self.note(note);
        Ok(())
    }

    fn begin_trace(&mut self, filter: PacketFilter, tracer: PacketTracer) -> Result<(), Refused> {
        let state = self.appliance.state();
        self.listening.check(&filter, state.names())?;
        let note = PacketTracer::note(&filter);
        self.listening.begin(PacketTracer::tapped(), filter, Box::new(tracer), state);
        self.note(note);
        Ok(())
    }

    fn begin_watch(&mut self, filter: PacketFilter, watch: FlowWatch) -> Result<(), Refused> {
        let state = self.appliance.state();
        self.listening.check(&filter, state.names())?;
        let note = FlowWatch::note(&filter);
        self.listening.begin(FlowWatch::tapped(), filter, Box::new(watch), state);
        self.note(note);
        Ok(())
    }

    fn drain(&mut self, patience: Duration, stops: bool) -> view::Drain {
        let (forwarded, now) = (self.workers.forwarded(), self.now());
        let note = self.announcements.drain(patience, stops, forwarded, now);
        self.note_all(note);
        self.plan_announcements();
        self.drain_state().expect("it has just begun")
    }

    /// State of the drain, with the VIPs that traffic still finds the appliance by.
    pub(super) fn drain_state(&self) -> Option<view::Drain> {
        let drain = self.announcements.drain_state(self.now())?;
        let vips = views::vips(&self.appliance).into_iter().filter(|vip| vip.announced);
        Some(view::Drain { answered_vips: vips.map(|vip| vip.address).collect(), ..drain })
    }

    fn undrain(&mut self) -> view::Undrained {
        let note = self.announcements.undrain();
        let was_drained = note.is_some();
        if was_drained {
            self.note_all(note);
            self.plan_announcements();
        }
        view::Undrained { was_drained }
    }
}

/// Tells that another question about the state is being answered.
fn refuse<T>(reply: Reply<T>) {
    drop(reply.send(Err(Refused::WhatIfRunning)));
}
