//! The supervisor's state as an operator sees it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use guideway_dataplane::address::Address;
use guideway_dataplane::counters::Counters;
use guideway_dataplane::traffic_counters::Volume;
use guideway_engine::counters::{IoCounters, WorkerCounters};
use guideway_model::service::{BackendState, ServiceState, WeightSource};
use guideway_model::traffic_totals::Volumes;

use super::{Ports, Supervisor};
use crate::api::view::{self, NeighborReplies};
use crate::health::state::{HealthState, RuleHealth};
use crate::net::host_stack::{Answers, Vip};

impl<P: Ports> Supervisor<P> {
    pub(super) fn status(&self) -> view::Status {
        let appliance = &self.appliance;
        view::Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_at_unix_sec: unix_sec(self.started_at),
            uptime_sec: self.now().as_secs(),
            config_path: self.config_path.display().to_string(),
            config_loaded_at_unix_sec: unix_sec(self.config_loaded_at),
            configuration_generation: appliance.configuration_generation(),
            snapshot_generation: appliance.snapshot_generation(),
            unreclaimed_snapshots: appliance.unreclaimed_snapshots() as u64,
            unresolved_neighbors: appliance.unresolved_next_hops() as u64,
            log_lines_lost: self.log.as_ref().map_or(0, crate::log::Log::lost),
            health_checks: self.health_checks(),
            ports: self.ports.states(),
            workers: self.worker_states(),
            services: self.service_states(),
            vips: self.vips(),
            announcements: self.announcement_states(),
            drain: self.drain_state(),
        }
    }

    pub(super) fn stats(&self) -> view::Stats {
        let counted: Vec<WorkerCounters> = self.workers.iter().map(|worker| worker.counters.read()).collect();
        let (mut pipeline, mut link) = (Counters::default(), IoCounters::default());
        for worker in &counted {
            pipeline.add(&worker.pipeline);
            link.add(&worker.link);
        }
        let volumes = self.appliance.traffic_totals().volumes();
        view::Stats {
            total: view::PacketStats::new(&pipeline, &link),
            workers: self.workers.iter().zip(&counted).enumerate().map(worker_stats).collect(),
            ports: self.ports.stats(),
            rules: self.rule_stats(&volumes),
            services: self.service_stats(&volumes),
            backends: backend_stats(&volumes),
            conntrack: view::ConntrackStats {
                capacity: self.appliance.config().conntrack.max_entries.into(),
                // A worker that has just counted a sweep may be read before the one that counted the entry.
                entries: pipeline.conntrack.occupied.saturating_sub(pipeline.conntrack.swept),
                counts: view::ConntrackCounts::from(&pipeline.conntrack),
            },
            host_stack: view::HostStackStats {
                queue_full: self.appliance.host().counters().queue_full + self.unsent,
                ..view::HostStackStats::from(self.appliance.host().counters())
            },
        }
    }

    pub(super) fn backends(&self, service: Option<&str>) -> view::BackendList {
        let volumes = self.appliance.traffic_totals().volumes();
        let services = self.appliance.services().iter();
        let wanted = services.filter(|(name, _)| service.is_none_or(|service| service == *name));
        let backends = wanted.flat_map(|(name, state)| {
            let shares = self.shares(name);
            let volumes = &volumes;
            state.backends().map(move |backend| self.backend(name, state, backend, &shares, volumes))
        });
        view::BackendList { backends: backends.collect() }
    }

    /// A backend that is configured or drains.
    pub(super) fn backend_of(&self, service: &str, backend: &str) -> Option<view::Backend> {
        let state = self.appliance.services().get(service)?;
        let backend = state.backends().find(|known| known.endpoint.name == backend)?;
        let volumes = self.appliance.traffic_totals().volumes();
        Some(self.backend(service, state, backend, &self.shares(service), &volumes))
    }

    pub(super) fn vips(&self) -> Vec<view::Vip> {
        self.appliance.host().vips().map(|(vip, announced)| self.vip(vip, announced)).collect()
    }

    fn vip(&self, vip: Vip, announced: bool) -> view::Vip {
        let rules = self.appliance.config().rules.iter();
        let (neighbor_replies, announced) = match vip.answers {
            Answers::Always => (NeighborReplies::Always, true),
            Answers::WhenAnnounced => (NeighborReplies::WhenAnnounced, announced),
            Answers::Never => (NeighborReplies::Never, false),
        };
        view::Vip {
            address: vip.address.into(),
            neighbor_replies,
            announced,
            conflicts: self.appliance.conflicts(vip.address),
            forwarding_rules: rules
                .filter(|rule| Address::from(rule.address) == vip.address)
                .map(|rule| rule.name.clone())
                .collect(),
        }
    }

    fn worker_states(&self) -> Vec<view::Worker> {
        let state = |(number, worker): (usize, &super::WorkerEnd<P::Frame>)| view::Worker {
            number: number as u16,
            core: worker.core as u32,
            state: if self.watchdog.is_stalled(number) {
                view::WorkerState::Stalled
            } else {
                view::WorkerState::Running
            },
            polls: worker.counters.heartbeat(),
            busy_share: self.watchdog.busy_share(number),
        };
        self.workers.iter().enumerate().map(state).collect()
    }

    fn service_states(&self) -> Vec<view::Service> {
        let digests: std::collections::HashMap<&str, u64> = self
            .appliance
            .state()
            .lookup_tables()
            .map(|table| (table.service(), table.table().digest()))
            .collect();
        let services = self.appliance.services().iter();
        let state = |(name, state): (&str, &ServiceState)| view::Service {
            name: name.to_owned(),
            backends: state.configured().count() as u32,
            healthy: state.configured().filter(|backend| backend.healthy).count() as u32,
            operator_drained: state.configured().filter(|backend| backend.operator_drained).count() as u32,
            eligible: state.eligible().len() as u32,
            pool: state.pool().filter(|_| state.has_failover()).map(view::Pool::from),
            weights_valid: self.health_state().and_then(|health| health.weights_are_valid(name)),
            lookup_table_digest: format!("{:016x}", digests.get(name).copied().unwrap_or(0)),
        };
        services.map(state).collect()
    }

    /// Each eligible backend's share of a service's lookup table.
    fn shares(&self, service: &str) -> Vec<(&str, f64)> {
        let mut tables = self.appliance.state().lookup_tables();
        let Some(table) = tables.find(|table| table.service() == service) else { return Vec::new() };
        let slots = table.table().len().max(1) as f64;
        table.shares().map(|share| (share.backend, f64::from(share.slots) / slots)).collect()
    }

    fn backend(
        &self,
        service: &str,
        state: &ServiceState,
        backend: &BackendState,
        shares: &[(&str, f64)],
        volumes: &Volumes,
    ) -> view::Backend {
        let name = &*backend.endpoint.name;
        let share =
            shares.binary_search_by(|(known, _)| (*known).cmp(name)).ok().map(|place| shares[place].1);
        let eligible = share.filter(|_| backend.removed_at.is_none());
        let volume = volumes.backends.get(&(service.into(), name.into())).copied().unwrap_or_default();
        view::Backend {
            service: service.to_owned(),
            name: name.to_owned(),
            address: backend.endpoint.address,
            role: if backend.failover { view::Pool::Failover } else { view::Pool::Primary },
            health: if backend.healthy { view::Health::Healthy } else { view::Health::Unhealthy },
            health_check: self.health_check(service, name),
            draining: backend.removed_at.is_some(),
            operator_drained: backend.operator_drained,
            weight: state.is_weighted().then_some(backend.weight),
            weight_source: match backend.weight_source {
                WeightSource::Configured => view::WeightSource::Configured,
                WeightSource::Reported => view::WeightSource::Reported,
                WeightSource::Operator => view::WeightSource::Operator,
            },
            eligible: eligible.is_some(),
            share: eligible.unwrap_or(0.0),
            warning: shares.is_empty().then(|| {
                format!(
                    "nobody is eligible in service `{service}`: packets of new connections are dropped \
                     (no_eligible_backend); undrain a backend, or find out why others are unhealthy"
                )
            }),
            forwarded: volume.into(),
            next_hop: self.next_hop(backend),
        }
    }

    fn health_state(&self) -> Option<&HealthState> {
        self.monitor.as_ref().map(crate::health::monitor::Monitor::state)
    }

    fn health_check(&self, service: &str, backend: &str) -> Option<view::HealthCheck> {
        let state = self.health_state()?;
        let checkup = state.backend(service, backend)?;
        let ago = self.now().saturating_sub(checkup.since);
        Some(view::HealthCheck {
            since_unix_sec: SystemTime::now().checked_sub(ago).map_or(0, unix_sec),
            for_sec: ago.as_secs(),
            turns: checkup.turns,
            weight_status: state.weight_status(service, backend).map(view::WeightStatus::from),
            rules: checkup.rules.iter().map(rule_check).collect(),
        })
    }

    fn health_checks(&self) -> Option<view::HealthChecks> {
        let lag = self.monitor.as_ref()?.lag();
        Some(view::HealthChecks {
            probes_begun: lag.begun(),
            intervals_missed: lag.missed(),
            start_lag: view::Quantiles::of(|share| lag.at_quantile(share)),
            publications_measured: self.publish_latency.measured(),
            probe_to_packet: view::Quantiles::of(|share| self.publish_latency.at_quantile(share)),
        })
    }

    fn next_hop(&self, backend: &BackendState) -> Option<view::NextHop> {
        let host = self.appliance.host();
        let way = host.next_hop(backend.endpoint.address.into());
        let port = |place: usize| self.appliance.config().ports.get(place).map(|port| port.name.clone());
        let named = backend.next_hop_mac().map(guideway_dataplane::wire::ethernet::MacAddress);
        match way {
            Some(way) => Some(view::NextHop {
                port: port(usize::from(host.link(way.link).port.0))?,
                address: named.is_none().then(|| way.address.into()),
                mac: named.or_else(|| host.mac(way)).map(|mac| mac.to_string()),
            }),
            None => Some(view::NextHop { port: port(0)?, address: None, mac: Some(named?.to_string()) }),
        }
    }

    fn rule_stats(&self, volumes: &Volumes) -> Vec<view::RuleStats> {
        let config = self.appliance.config();
        let stats = |rule: &guideway_model::config::ForwardingRule| view::RuleStats {
            name: rule.name.clone(),
            service: config.services[rule.service].name.clone(),
            offered: volumes.rules.get(&*rule.name).copied().unwrap_or_default().into(),
        };
        config.rules.iter().map(stats).collect()
    }

    fn service_stats(&self, volumes: &Volumes) -> Vec<view::ServiceStats> {
        let mut forwarded = std::collections::BTreeMap::<&str, Volume>::new();
        for ((service, _), volume) in &volumes.backends {
            forwarded.entry(service).or_default().add(*volume);
        }
        let services = self.appliance.services().iter();
        let stats = |(name, _): (&str, &ServiceState)| view::ServiceStats {
            name: name.to_owned(),
            offered: volumes.services.get(name).copied().unwrap_or_default().into(),
            forwarded: forwarded.get(name).copied().unwrap_or_default().into(),
        };
        services.map(stats).collect()
    }
}

fn rule_check((rule, checkup): (&String, &RuleHealth)) -> view::RuleCheck {
    let probed = checkup.passed + checkup.failed > 0;
    view::RuleCheck {
        forwarding_rule: rule.clone(),
        healthy: checkup.is_healthy(),
        passed: checkup.passed,
        failed: checkup.failed,
        last_latency_ms: probed.then(|| millis(checkup.latency)),
        last_error: checkup.last_error.clone(),
    }
}

/// Milliseconds, to the microsecond.
fn millis(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e3
}

fn worker_stats<F>(
    (number, (worker, counted)): (usize, (&super::WorkerEnd<F>, &WorkerCounters)),
) -> view::WorkerStats {
    view::WorkerStats {
        number: number as u16,
        polls: worker.counters.heartbeat(),
        busy_polls: counted.link.busy_polls,
        packets: view::PacketStats::new(&counted.pipeline, &counted.link),
        conntrack: view::ConntrackCounts::from(&counted.pipeline.conntrack),
    }
}

fn backend_stats(volumes: &Volumes) -> Vec<view::BackendStats> {
    let stats = |((service, name), volume): (&(std::sync::Arc<str>, std::sync::Arc<str>), &Volume)| {
        view::BackendStats {
            service: service.to_string(),
            name: name.to_string(),
            forwarded: (*volume).into(),
        }
    };
    volumes.backends.iter().map(stats).collect()
}

fn unix_sec(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
