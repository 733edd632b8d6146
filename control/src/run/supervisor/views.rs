//! The appliance's state as operators and Prometheus see it.

mod backends;
mod stats;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use guideway_dataplane::address::Prefix;
use guideway_dataplane::ingress::NetworkId;
use guideway_model::config::VipRange;
use guideway_model::service::ServiceState;

use super::probes::Probes;
use super::publish_latency::PublishLatency;
use super::stalls::Stalls;
use super::state_keeper::StateKeeper;
use crate::api::view::{self, NeighborReplies};
use crate::health::state::HealthState;
use crate::net::host_stack::{Answers, HostStack, Vip};
use crate::run::appliance::Appliance;
use crate::run::operator_state::{OperatorState, Setting};

pub(super) use backends::Backends;
pub(super) use stats::{rule_list, service_list, stats};

/// Every VIP, network by network.
pub(super) fn vips(appliance: &Appliance) -> Vec<view::Vip> {
    let vips = |(network, host): (NetworkId, &HostStack)| {
        let shown = host.vips().map(|(vip, announced)| show_vip(appliance, network, vip, announced));
        shown.collect::<Vec<_>>()
    };
    appliance.hosts().flat_map(vips).collect()
}

/// The VIP of this address or prefix in a network.
pub(super) fn vip(appliance: &Appliance, network: NetworkId, address: VipRange) -> Option<view::Vip> {
    let mut vips = appliance.host(network).vips();
    let (vip, announced) = vips.find(|(vip, _)| vip.addresses == Prefix::from(address))?;
    Some(show_vip(appliance, network, vip, announced))
}

fn show_vip(appliance: &Appliance, network: NetworkId, vip: Vip, announced: bool) -> view::Vip {
    let config = appliance.config();
    let rules = config.rules.iter().filter(|rule| config.networks[rule.network].id == network);
    let (neighbor_replies, announced) = match vip.answers {
        Answers::Always => (NeighborReplies::Always, true),
        Answers::WhenAnnounced => (NeighborReplies::WhenAnnounced, announced),
        Answers::Never => (NeighborReplies::Never, false),
    };
    view::Vip {
        address: vip.addresses.into(),
        network: appliance.state().network_name(network).map(str::to_owned),
        neighbor_replies,
        announced,
        conflicts: appliance.conflicts(network, vip.addresses),
        forwarding_rules: rules
            .filter(|rule| Prefix::from(rule.vip) == vip.addresses)
            .map(|rule| rule.name.clone())
            .collect(),
    }
}

/// State of each service.
pub(super) fn services(appliance: &Appliance, health: Option<&HealthState>) -> Vec<view::Service> {
    let digests: std::collections::HashMap<&str, u64> =
        appliance.state().lookup_tables().map(|table| (table.service(), table.digest())).collect();
    let state = |(name, state): (&str, &ServiceState)| view::Service {
        name: name.to_owned(),
        network: appliance.state().network_name(state.network()).map(str::to_owned),
        backends: state.configured().count() as u32,
        healthy: state.configured().filter(|backend| backend.healthy).count() as u32,
        ever_healthy: state.has_been_healthy(),
        operator_drained: state.configured().filter(|backend| backend.operator_drained).count() as u32,
        eligible: state.eligible().len() as u32,
        pool: state.pool().filter(|_| state.has_failover()).map(view::Pool::from),
        weights_valid: health.and_then(|health| health.weights_are_valid(name)),
        lookup_table_digest: format!("{:016x}", digests.get(name).copied().unwrap_or(0)),
    };
    appliance.state().services().iter().map(state).collect()
}

/// Punctuality of the probes, and the time from a probe to the workers.
pub(super) fn health_checks(
    probes: &Probes,
    publish_latency: &PublishLatency,
    stalls: &Stalls,
) -> view::HealthChecks {
    let lag = probes.monitor().lag();
    view::HealthChecks {
        probes_begun: lag.begun(),
        intervals_missed: lag.missed(),
        failures_discarded: stalls.discarded(),
        start_lag: view::Quantiles::of(|share| lag.at_quantile(share)),
        publications_measured: publish_latency.measured(),
        probe_to_packet: view::Quantiles::of(|share| publish_latency.at_quantile(share)),
    }
}

/// Settings that operators have made by hand, and the file that keeps them.
pub(super) fn operator_settings(state: &OperatorState, keeper: &StateKeeper) -> view::OperatorSettings {
    let setting = |(service, backend, setting): (&str, &str, &Setting)| view::OperatorSetting {
        service: service.to_owned(),
        backend: backend.to_owned(),
        drained_at_unix_sec: setting.drained_at_unix_sec,
        weight: setting.weight.map(|set| set.weight),
        weight_set_at_unix_sec: setting.weight.map(|set| set.set_at_unix_sec),
    };
    view::OperatorSettings {
        state_path: keeper.file().map(|file| file.path().display().to_string()),
        last_error: keeper.last_error().map(str::to_owned),
        backends: state.backends().map(setting).collect(),
    }
}

/// Milliseconds, to the microsecond.
fn millis(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e3
}

/// Seconds since the epoch; 0 before it.
pub(super) fn unix_sec(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
