//! Answers what an operator asks.

use std::net::IpAddr;

use guideway_model::service::UnknownName;

use super::event_log::Note;
use super::{Next, Ports, Supervisor};
use crate::api::request::{Refused, Request};
use crate::api::view::{self, EventKind, NeighborReplies};

impl<P: Ports> Supervisor<P> {
    /// Answers one request. Whoever asked may be gone by then, which is no error.
    pub(super) fn answer(&mut self, request: Request) -> Next {
        match request {
            Request::Status { reply } => drop(reply.send(Ok(self.status()))),
            Request::Stats { reply } => drop(reply.send(Ok(self.stats()))),
            Request::ConntrackList { service, backend, limit, reply } => {
                self.list_conntrack(service, backend, limit, reply);
            }
            Request::ConntrackGet { flow, reply } => drop(reply.send(Ok(self.look_up_flow(flow)))),
            Request::BackendList { service, reply } => {
                drop(reply.send(self.list_backends(service.as_deref())));
            }
            Request::BackendGet { service, backend, reply } => {
                drop(reply.send(self.one_backend(&service, &backend)));
            }
            Request::BackendDrain { service, backend, reply } => {
                drop(reply.send(self.set_operator_drain(&service, &backend, true)));
            }
            Request::BackendUndrain { service, backend, reply } => {
                drop(reply.send(self.set_operator_drain(&service, &backend, false)));
            }
            Request::BackendSetWeight { service, backend, weight, reply } => {
                drop(reply.send(self.set_weight(&service, &backend, weight)));
            }
            Request::VipList { reply } => drop(reply.send(Ok(view::VipList { vips: self.vips() }))),
            Request::VipAnnounce { address, reply } => drop(reply.send(self.announce(address, true))),
            Request::VipWithdraw { address, reply } => drop(reply.send(self.announce(address, false))),
            Request::Capture { reasons, packets, blocks, reply } => {
                drop(reply.send(self.begin_capture(&reasons, packets, blocks)));
            }
            Request::Events { limit, after, reply } => {
                drop(reply.send(Ok(self.event_log.list(limit, after))));
            }
            Request::Reload { reply } => drop(reply.send(self.reload())),
            Request::Drain { deadline, stop, reply } => drop(reply.send(Ok(self.drain(deadline, stop)))),
            Request::Undrain { reply } => drop(reply.send(Ok(self.undrain()))),
            Request::Stop { reply } => {
                drop(reply.send(Ok(view::Stopping { pid: std::process::id() })));
                return Next::Stop;
            }
        }
        Next::Turn
    }

    fn list_backends(&self, service: Option<&str>) -> Result<view::BackendList, Refused> {
        match service {
            Some(service) if self.appliance.services().get(service).is_none() => {
                Err(UnknownName::Service(service.to_owned()).into())
            }
            service => Ok(self.backends(service)),
        }
    }

    fn one_backend(&self, service: &str, backend: &str) -> Result<view::Backend, Refused> {
        let services = self.appliance.services();
        services.get(service).ok_or_else(|| UnknownName::Service(service.to_owned()))?;
        let unknown = || UnknownName::Backend(service.to_owned(), backend.to_owned());
        Ok(self.backend_of(service, backend).ok_or_else(unknown)?)
    }

    fn set_operator_drain(
        &mut self,
        service: &str,
        backend: &str,
        operator_drained: bool,
    ) -> Result<view::Backend, Refused> {
        self.configured(service, backend)?;
        self.appliance.set_operator_drain(service, backend, operator_drained)?;
        let (kind, text) = if operator_drained {
            (EventKind::BackendDrained, "the operator drains it")
        } else {
            (EventKind::BackendUndrained, "the operator undrains it")
        };
        let nobody =
            if self.appliance.services().get(service).is_some_and(|state| state.eligible().is_empty()) {
                "; nobody is eligible in its service now"
            } else {
                ""
            };
        self.note(Note::of_backend(kind, service, backend, format!("{text}{nobody}")));
        self.afterwards(service, backend)
    }

    fn set_weight(&mut self, service: &str, backend: &str, weight: u16) -> Result<view::Backend, Refused> {
        self.configured(service, backend)?;
        if self.appliance.services().get(service).is_some_and(|state| !state.is_weighted()) {
            return Err(Refused::ServiceNotWeighted(service.to_owned()));
        }
        self.appliance.set_weight(service, backend, weight)?;
        let text = format!("the operator sets its weight to {weight}");
        self.note(Note::of_backend(EventKind::WeightSet, service, backend, text));
        self.afterwards(service, backend)
    }

    /// Refuses a backend that is unknown, or that drains because it was removed.
    fn configured(&self, service: &str, backend: &str) -> Result<(), Refused> {
        let services = self.appliance.services();
        let state = services.get(service).ok_or_else(|| UnknownName::Service(service.to_owned()))?;
        let known = state.backends().find(|known| known.endpoint.name == backend);
        let unknown = || UnknownName::Backend(service.to_owned(), backend.to_owned());
        match known.ok_or_else(unknown)?.removed_at {
            None => Ok(()),
            Some(_) => {
                Err(Refused::BackendRemoved { service: service.to_owned(), backend: backend.to_owned() })
            }
        }
    }

    /// The backend as it is after a change, which the workers have as well.
    fn afterwards(&mut self, service: &str, backend: &str) -> Result<view::Backend, Refused> {
        self.appliance.poll(self.now());
        self.one_backend(service, backend)
    }

    fn announce(&mut self, address: IpAddr, announced: bool) -> Result<view::Vip, Refused> {
        let known = |supervisor: &Self| supervisor.vips().into_iter().find(|vip| vip.address == address);
        let vip = known(self).ok_or(Refused::UnknownVip(address))?;
        if vip.neighbor_replies != NeighborReplies::WhenAnnounced {
            let neighbor_replies = vip.neighbor_replies;
            return Err(Refused::VipNotAnnounceable { address, neighbor_replies });
        }
        let now = self.now();
        if announced {
            // It is a VIP that is answered for when it is announced, as was seen above.
            let _ = self.appliance.host_mut().announce(address.into(), now);
        } else {
            self.appliance.host_mut().withdraw(address.into());
        }
        let (kind, does) = if announced {
            (EventKind::VipAnnounced, "announces")
        } else {
            (EventKind::VipWithdrawn, "withdraws")
        };
        self.note(Note::new(kind, format!("the operator {does} {address}")));
        self.appliance.poll(now);
        known(self).ok_or(Refused::UnknownVip(address))
    }
}
