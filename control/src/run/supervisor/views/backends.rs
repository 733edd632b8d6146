//! Backends as operators see them: configuration, health, share of the lookup table, traffic and next hop.

use std::time::{Duration, SystemTime};

use guideway_dataplane::delivery::DeliveryMode;
use guideway_dataplane::ingress::NetworkId;
use guideway_model::service::{BackendState, ServiceState, UnknownName, WeightSource};
use guideway_model::traffic_totals::Totals;

use super::{millis, unix_sec};
use crate::api::request::Refused;
use crate::api::view;
use crate::health::state::{HealthState, RuleHealth};
use crate::run::appliance::Appliance;

/// The state that backends are shown from.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Backends<'a> {
    pub(in super::super) appliance: &'a Appliance,
    /// The health of the backends; none where nobody probes.
    pub(in super::super) health: Option<&'a HealthState>,
    pub(in super::super) now: Duration,
}

impl Backends<'_> {
    /// Every backend that is configured or drains, of one service where one is named.
    pub(in super::super) fn list(&self, service: Option<&str>) -> Result<view::BackendList, Refused> {
        let services = self.appliance.state().services();
        if let Some(service) = service.filter(|service| services.get(service).is_none()) {
            return Err(UnknownName::Service(service.to_owned()).into());
        }
        let totals = self.appliance.state().traffic_totals().totals();
        let wanted = services.iter().filter(|(name, _)| service.is_none_or(|service| service == *name));
        let backends = wanted.flat_map(|(name, state)| {
            let shares = self.shares(name);
            let totals = &totals;
            state.backends().map(move |backend| self.show(name, state, backend, &shares, totals))
        });
        Ok(view::BackendList { backends: backends.collect() })
    }

    /// A backend that is configured or drains.
    pub(in super::super) fn get(&self, service: &str, backend: &str) -> Result<view::Backend, Refused> {
        let services = self.appliance.state().services();
        let state = services.get(service).ok_or_else(|| UnknownName::Service(service.to_owned()))?;
        let unknown = || UnknownName::Backend(service.to_owned(), backend.to_owned());
        let backend = state.backends().find(|known| known.endpoint.name == backend).ok_or_else(unknown)?;
        let totals = self.appliance.state().traffic_totals().totals();
        Ok(self.show(service, state, backend, &self.shares(service), &totals))
    }

    /// The share of a service's lookup table that each eligible backend has, by name.
    fn shares(&self, service: &str) -> Vec<(&str, f64)> {
        let mut tables = self.appliance.state().lookup_tables();
        let Some(table) = tables.find(|table| table.service() == service) else { return Vec::new() };
        let slots = table.table().len().max(1) as f64;
        table.shares().map(|share| (share.backend, f64::from(share.slots) / slots)).collect()
    }

    fn show(
        &self,
        service: &str,
        state: &ServiceState,
        backend: &BackendState,
        shares: &[(&str, f64)],
        totals: &Totals,
    ) -> view::Backend {
        let name = &*backend.endpoint.name;
        let share =
            shares.binary_search_by(|(known, _)| (*known).cmp(name)).ok().map(|index| shares[index].1);
        let eligible = share.filter(|_| backend.removed_at.is_none());
        let traffic = totals.backends.get(&(service.into(), name.into())).copied().unwrap_or_default();
        let rates = self.appliance.state().traffic_totals().recent().backend(service, name);
        view::Backend {
            service: service.to_owned(),
            name: name.to_owned(),
            network: self.appliance.state().network_name(state.network()).map(str::to_owned),
            address: backend.endpoint.address,
            role: if backend.failover { view::Pool::Failover } else { view::Pool::Primary },
            health: if backend.healthy { view::Health::Healthy } else { view::Health::Unhealthy },
            health_check: self.health_check(service, name),
            draining: backend.removed_at.is_some(),
            operator_drained: backend.operator_drained,
            entries_end_sec: backend.entries_end_at.map(|end| end.saturating_sub(self.now).as_secs()),
            weight: state.is_weighted().then_some(backend.weight),
            weight_source: self.weight_source(service, backend),
            eligible: eligible.is_some(),
            share: eligible.unwrap_or(0.0),
            warning: shares.is_empty().then(|| {
                format!(
                    "nobody is eligible in service `{service}`: packets of new connections are dropped \
                     (no_eligible_backend); undrain a backend, or find out why others are unhealthy"
                )
            }),
            forwarded: traffic.volume.into(),
            connections: self.appliance.state().tracked(backend.handle),
            arrivals: view::Arrivals::new(traffic, rates),
            next_hop: self.next_hop(state.network(), backend),
            path_mtu: self.path_mtu(state.network(), backend),
        }
    }

    /// The source of a backend's weight. The health checks know it best, where the weight in force is theirs: a service
    /// takes over their number alone, and not what it is made of.
    fn weight_source(&self, service: &str, backend: &BackendState) -> view::WeightSource {
        let known = self.health.and_then(|health| health.weight(service, &backend.endpoint.name));
        match (backend.weight_source, known) {
            (WeightSource::Operator, _) => view::WeightSource::Operator,
            (_, Some((weight, basis))) if weight == backend.weight => basis.into(),
            (WeightSource::Configured, _) => view::WeightSource::Configured,
            (WeightSource::Reported, _) => view::WeightSource::Reported,
        }
    }

    fn path_mtu(&self, network: NetworkId, backend: &BackendState) -> Option<view::PathMtu> {
        let endpoint = backend.endpoint.address.into();
        let learnt = self.appliance.state().path_mtus().learnt(network, endpoint)?;
        (backend.delivery != DeliveryMode::L2 && learnt.mtu < backend.mtu).then(|| view::PathMtu {
            mtu: learnt.mtu,
            told_by: learnt.told_by.into(),
            for_sec: learnt.until.saturating_sub(self.now).as_secs(),
        })
    }

    fn health_check(&self, service: &str, backend: &str) -> Option<view::HealthCheck> {
        let state = self.health?;
        let check = state.backend(service, backend)?;
        let ago = self.now.saturating_sub(check.since);
        Some(view::HealthCheck {
            since_unix_sec: SystemTime::now().checked_sub(ago).map_or(0, unix_sec),
            for_sec: ago.as_secs(),
            turns: check.turns,
            weight_status: state.weight_status(service, backend).map(view::WeightStatus::from),
            rules: check.rules.iter().map(rule_check).collect(),
        })
    }

    fn next_hop(&self, network: NetworkId, backend: &BackendState) -> Option<view::NextHop> {
        let host = self.appliance.host(network);
        let next_hop = host.next_hop(backend.endpoint.address.into());
        let port = |index: usize| self.appliance.config().ports.get(index).map(|port| port.name.clone());
        let named = backend.next_hop_mac().map(guideway_dataplane::wire::ethernet::MacAddress);
        match next_hop {
            Some(next_hop) => Some(view::NextHop {
                port: port(usize::from(host.link(next_hop.link).port.0))?,
                address: named.is_none().then(|| next_hop.address.into()),
                mac: named.or_else(|| host.mac(next_hop)).map(|mac| mac.to_string()),
            }),
            None => Some(view::NextHop {
                port: port(backend.network.port.unwrap_or(0))?,
                address: None,
                mac: Some(named?.to_string()),
            }),
        }
    }
}

fn rule_check((rule, check): (&String, &RuleHealth)) -> view::RuleCheck {
    let probed = check.passed + check.failed > 0;
    view::RuleCheck {
        forwarding_rule: rule.clone(),
        healthy: check.is_healthy(),
        passed: check.passed,
        failed: check.failed,
        last_latency_ms: probed.then(|| millis(check.latency)),
        last_error: check.last_error.clone(),
    }
}
