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

/// Keeps new connections away from a backend; with a deadline, its entries end then.
pub(super) fn drain(
    appliance: &mut Appliance,
    service: &str,
    backend: &str,
    deadline: Option<Duration>,
    now: Duration,
) -> Result<Note, Refused> {
    must_be_configured(appliance.state().services(), service, backend)?;
    let entries_end_at = deadline.map(|deadline| now + deadline);
    let (owned_service, owned_backend) = (service.to_owned(), backend.to_owned());
    let drain = StateChange::OperatorDrain { service: owned_service, backend: owned_backend, entries_end_at };
    appliance.apply([drain], now).all_known()?;
    let end = deadline.map_or_else(String::new, |deadline| {
        format!(", and ends its connections in {} s", deadline.as_secs())
    });
    let nobody = nobody_serves(appliance, service);
    let text = format!("the operator drains it{end}{nobody}");
    Ok(Note::of_backend(EventKind::BackendDrained, service, backend, text))
}

/// Lets new connections come to a backend again.
pub(super) fn undrain(
    appliance: &mut Appliance,
    service: &str,
    backend: &str,
    now: Duration,
) -> Result<Note, Refused> {
    must_be_configured(appliance.state().services(), service, backend)?;
    let undrain = StateChange::OperatorUndrain { service: service.to_owned(), backend: backend.to_owned() };
    appliance.apply([undrain], now).all_known()?;
    let text = format!("the operator undrains it{}", nobody_serves(appliance, service));
    Ok(Note::of_backend(EventKind::BackendUndrained, service, backend, text))
}

/// Takes back whatever operators have set of a backend; `standing` is the change that gives it its reported weight.
pub(super) fn reset(
    appliance: &mut Appliance,
    service: &str,
    backend: &str,
    standing: Option<StateChange>,
    now: Duration,
) -> Result<Note, Refused> {
    must_be_configured(appliance.state().services(), service, backend)?;
    let names = || (service.to_owned(), backend.to_owned());
    let ((service_of, undrained), (weighed_service, weighed)) = (names(), names());
    let changes = [
        StateChange::OperatorUndrain { service: service_of, backend: undrained },
        StateChange::ConfiguredWeight { service: weighed_service, backend: weighed },
    ];
    appliance.apply(changes.into_iter().chain(standing), now).all_known()?;
    let text = format!("the operator takes back drain and weight{}", nobody_serves(appliance, service));
    Ok(Note::of_backend(EventKind::BackendReset, service, backend, text))
}

fn nobody_serves(appliance: &Appliance, service: &str) -> &'static str {
    let state = appliance.state().services().get(service);
    let nobody = state.is_some_and(|state| state.eligible().is_empty());
    if nobody { "; nobody is eligible in its service now" } else { "" }
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
