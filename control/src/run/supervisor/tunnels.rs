//! Tunnels as routers and backends tell of them by ICMP: events of learnt path MTUs, and the reason why a probe got no
//! answer.

use std::net::IpAddr;
use std::time::Duration;

use guideway_dataplane::address::Address;
use guideway_dataplane::delivery::DeliveryMode;
use guideway_dataplane::ingress::NetworkId;
use guideway_model::config::Transport;
use guideway_model::path_mtu::{self, PathMtu};

use super::event_log::Note;
use crate::api::view::EventKind;
use crate::health::by_hand::HandProbe;
use crate::health::probe::ProbeResult;
use crate::health::scheduler::ProbeReport;
use crate::run::appliance::Appliance;

/// Events of a path MTU that was learnt in a network: one for each backend whose configured MTU is higher.
pub(super) fn notes(
    appliance: &Appliance,
    network: NetworkId,
    endpoint: Address,
    learnt: PathMtu,
) -> Vec<Note> {
    let backends = appliance
        .state()
        .services()
        .iter()
        .filter(|(_, state)| state.network() == network)
        .flat_map(|(service, state)| state.backends().map(move |backend| (service, backend)));
    let concerned = backends.filter(|(_, backend)| {
        Address::from(backend.endpoint.address) == endpoint
            && backend.delivery != DeliveryMode::L2
            && learnt.mtu < backend.mtu
    });
    let note = |(service, backend): (&str, &guideway_model::service::BackendState)| {
        let text = format!(
            "the path to its tunnel takes packets of {} bytes, {} tells; `mtu` says {}: for {} minutes, clients are told",
            learnt.mtu,
            IpAddr::from(learnt.told_by),
            backend.mtu,
            path_mtu::LIFETIME.as_secs() / 60
        );
        Note::of_backend(EventKind::PathMtuLearnt, service, &backend.endpoint.name, text)
    };
    concerned.map(note).collect()
}

/// Adds to the failure of a probe what ICMP has told of the backend's tunnel while the probe went on.
pub(super) fn explain(appliance: &Appliance, report: &mut ProbeReport, now: Duration) {
    let began = now.saturating_sub(report.ended.elapsed() + report.latency);
    add_icmp(appliance, &report.id.service, &report.id.backend, began, &mut report.result);
}

/// Adds to the failure of a probe by hand what ICMP has told of the backend's tunnel since it began.
pub(super) fn explain_by_hand(
    appliance: &Appliance,
    (service, backend): (&str, &str),
    probe: &mut HandProbe,
    now: Duration,
) {
    let began = now.saturating_sub(probe.began.elapsed());
    add_icmp(appliance, service, backend, began, &mut probe.result);
}

fn add_icmp(appliance: &Appliance, service: &str, backend: &str, began: Duration, result: &mut ProbeResult) {
    let ProbeResult::Unwell { reason, .. } = result else { return };
    let config = appliance.config();
    let in_path = config
        .services
        .iter()
        .find(|known| known.name == service)
        .is_some_and(|known| config.health_checks[known.health_check].transport == Transport::InPath);
    let state = appliance.state();
    let Some(service) = state.services().get(service).filter(|_| in_path) else { return };
    let backend = service.backends().find(|known| known.endpoint.name == backend);
    let Some(backend) = backend.filter(|backend| backend.delivery != DeliveryMode::L2) else { return };
    if let Some(error) =
        state.path_mtus().unreachable_since(service.network(), backend.endpoint.address.into(), began)
    {
        *reason = format!("{reason}; {error}");
    }
}
