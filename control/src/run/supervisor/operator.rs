//! Changes that an operator makes to backends and VIPs: each is refused, or made and noted.

use std::net::IpAddr;
use std::time::Duration;

use guideway_model::forwarding_state::StateChange;
use guideway_model::service::{Services, UnknownName};

use super::event_log::Note;
use super::views;
use crate::api::request::Refused;
use crate::api::view::{EventKind, NeighborReplies};
use crate::run::appliance::Appliance;

/// Keeps new connections away from a backend, or lets them come again.
pub(super) fn set_drain(
    appliance: &mut Appliance,
    service: &str,
    backend: &str,
    drained: bool,
    now: Duration,
) -> Result<Note, Refused> {
    must_be_configured(appliance.state().services(), service, backend)?;
    let (owned_service, owned_backend) = (service.to_owned(), backend.to_owned());
    let drain = StateChange::OperatorDrain { service: owned_service, backend: owned_backend, drained };
    appliance.apply([drain], now).all_known()?;
    let (kind, text) = if drained {
        (EventKind::BackendDrained, "the operator drains it")
    } else {
        (EventKind::BackendUndrained, "the operator undrains it")
    };
    let nobody = if appliance.state().services().get(service).is_some_and(|state| state.eligible().is_empty())
    {
        "; nobody is eligible in its service now"
    } else {
        ""
    };
    Ok(Note::of_backend(kind, service, backend, format!("{text}{nobody}")))
}

/// Sets the weight of a backend.
pub(super) fn set_weight(
    appliance: &mut Appliance,
    service: &str,
    backend: &str,
    weight: u16,
    now: Duration,
) -> Result<Note, Refused> {
    must_be_configured(appliance.state().services(), service, backend)?;
    if appliance.state().services().get(service).is_some_and(|state| !state.is_weighted()) {
        return Err(Refused::ServiceNotWeighted(service.to_owned()));
    }
    let (owned_service, owned_backend) = (service.to_owned(), backend.to_owned());
    let change = StateChange::OperatorWeight { service: owned_service, backend: owned_backend, weight };
    appliance.apply([change], now).all_known()?;
    let text = format!("the operator sets its weight to {weight}");
    Ok(Note::of_backend(EventKind::WeightSet, service, backend, text))
}

/// Begins or stops to answer ARP and neighbour discovery for a VIP.
pub(super) fn set_vip_announced(
    appliance: &mut Appliance,
    address: IpAddr,
    announced: bool,
    now: Duration,
) -> Result<Note, Refused> {
    let vip = views::vip(appliance, address).ok_or(Refused::UnknownVip(address))?;
    if vip.neighbor_replies != NeighborReplies::WhenAnnounced {
        let neighbor_replies = vip.neighbor_replies;
        return Err(Refused::VipNotAnnounceable { address, neighbor_replies });
    }
    let (kind, does) = if announced {
        // The VIP is one that is answered for when it is announced, as was seen above.
        let _ = appliance.host_mut().announce(address.into(), now);
        (EventKind::VipAnnounced, "announces")
    } else {
        appliance.host_mut().withdraw(address.into());
        (EventKind::VipWithdrawn, "withdraws")
    };
    Ok(Note::new(kind, format!("the operator {does} {address}")))
}

/// Refuses a backend that is unknown, or that drains because it was removed.
fn must_be_configured(services: &Services, service: &str, backend: &str) -> Result<(), Refused> {
    let state = services.get(service).ok_or_else(|| UnknownName::Service(service.to_owned()))?;
    let known = state.backends().find(|known| known.endpoint.name == backend);
    let unknown = || UnknownName::Backend(service.to_owned(), backend.to_owned());
    match known.ok_or_else(unknown)?.removed_at {
        None => Ok(()),
        Some(_) => Err(Refused::BackendRemoved { service: service.to_owned(), backend: backend.to_owned() }),
    }
}
