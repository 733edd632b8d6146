//! Changes that an operator makes to backends and VIPs: each is refused, or made and noted.

use std::time::Duration;

use guideway_dataplane::ingress::NetworkId;
use guideway_model::config::VipRange;
use guideway_model::forwarding_state::StateChange;
use guideway_model::service::{Services, UnknownName};

use super::event_log::Note;
use super::views;
use crate::api::request::Refused;
use crate::api::view::{EventKind, NeighborReplies};
use crate::run::appliance::Appliance;
use crate::run::kept_state::KeptState;
use crate::run::operator_state::{Dropped, OperatorState};

/// Settings that are named one by one when a start sets them again.
const NAMED: usize = 20;

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

/// The event of a setting that the configuration has ended.
pub(super) fn dropped(dropped: &Dropped) -> Note {
    let Dropped { service, backend, text } = dropped;
    Note::of_backend(EventKind::OperatorSettingDropped, service, backend, text.clone())
}

/// The events of a start that has found what operators had set before.
pub(super) fn taken_over(kept: &KeptState) -> Vec<Note> {
    let spoiled = kept.spoiled.as_ref().map(|spoiled| {
        let text = format!("drains and weights set by hand before the start are lost: {}", spoiled.text);
        Note::new(EventKind::OperatorStateFailed, text)
    });
    let restored = restored(&kept.operator_state).map(|text| Note::new(EventKind::OperatorStateKept, text));
    spoiled.into_iter().chain(kept.dropped.iter().map(dropped)).chain(restored).collect()
}

/// Words for the settings that hold on from before the start; none where there are none.
fn restored(operator_state: &OperatorState) -> Option<String> {
    let mut settings = Vec::new();
    for (service, backend, setting) in operator_state.backends() {
        if setting.drained_at_unix_sec.is_some() {
            settings.push(format!("{service}/{backend} is drained"));
        }
        if let Some(set) = setting.weight {
            settings.push(format!("{service}/{backend} has weight {}", set.weight));
        }
    }
    let more = settings.len().saturating_sub(NAMED);
    settings.truncate(NAMED);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    (!settings.is_empty())
        .then(|| format!("as operators had set before the start: {}{more}", settings.join(", ")))
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

/// The network of a VIP: the one of this name, or the only one that has the VIP.
pub(super) fn network_of_vip(
    appliance: &Appliance,
    address: VipRange,
    network: Option<&str>,
) -> Result<NetworkId, Refused> {
    if network.is_some() {
        return Ok(appliance.state().network_named(network)?);
    }
    let mut having = appliance.hosts().filter(|(id, _)| views::vip(appliance, *id, address).is_some());
    match (having.next(), having.next()) {
        (None, _) => Err(Refused::UnknownVip(address)),
        (Some((network, _)), None) => Ok(network),
        (Some(_), Some(_)) => Err(Refused::AmbiguousVip(address)),
    }
}

/// Begins or stops to answer ARP and neighbour discovery for a VIP in a network.
pub(super) fn set_vip_announced(
    appliance: &mut Appliance,
    network: NetworkId,
    address: VipRange,
    announced: bool,
    now: Duration,
) -> Result<Note, Refused> {
    let vip = views::vip(appliance, network, address).ok_or(Refused::UnknownVip(address))?;
    if vip.neighbor_replies != NeighborReplies::WhenAnnounced {
        let neighbor_replies = vip.neighbor_replies;
        return Err(Refused::VipNotAnnounceable { address, neighbor_replies });
    }
    let (kind, does) = if announced {
        // The VIP is one that is answered for when it is announced, as was seen above.
        let _ = appliance.host_mut(network).announce(address, now);
        (EventKind::VipAnnounced, "announces")
    } else {
        appliance.host_mut(network).withdraw(address);
        (EventKind::VipWithdrawn, "withdraws")
    };
    let place = vip.network.as_ref().map(|network| format!(" in network {network}")).unwrap_or_default();
    let note = Note::new(kind, format!("the operator {does} {address}{place}"));
    Ok(note.in_network(vip.network.as_deref()))
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
