//! Counters as operators and Prometheus see them.

use std::collections::BTreeMap;
use std::sync::Arc;

use guideway_dataplane::counters::Counters;
use guideway_dataplane::traffic_counters::Volume;
use guideway_engine::counters::{IoCounters, WorkerCounters};
use guideway_model::config::ForwardingRule;
use guideway_model::service::ServiceState;
use guideway_model::traffic_totals::Volumes;

use crate::api::view;
use crate::run::appliance::Appliance;
use crate::run::ports::Ports;
use crate::run::supervisor::workers::Workers;

/// Counters of the workers and the ports, the rules, the services and their backends.
pub(in super::super) fn stats<P: Ports>(appliance: &Appliance, workers: &Workers<P>) -> view::Stats {
    let counted = workers.counters();
    let (mut pipeline, mut io) = (Counters::default(), IoCounters::default());
    for worker in &counted {
        pipeline.add(&worker.pipeline);
        io.add(&worker.io);
    }
    let volumes = appliance.state().traffic_totals().volumes();
    let host = appliance.host_counters();
    view::Stats {
        total: view::PacketStats::new(&pipeline, &io),
        workers: workers.heartbeats().zip(&counted).enumerate().map(worker_stats).collect(),
        ports: workers.ports().stats(),
        rules: rule_stats(appliance, &volumes),
        services: service_stats(appliance, &volumes),
        backends: backend_stats(&volumes),
        conntrack: view::ConntrackStats {
            capacity: appliance.config().conntrack.max_entries.into(),
            // A worker that has just counted a sweep may be read before the one that counted the entry.
            entries: pipeline.conntrack.occupied.saturating_sub(pipeline.conntrack.swept),
            counts: view::ConntrackCounts::from(&pipeline.conntrack),
        },
        host_stack: view::HostStackStats {
            queue_full: host.queue_full + workers.unsent(),
            ..view::HostStackStats::from(&host)
        },
        tunnel_errors: appliance.state().path_mtus().counts().into(),
    }
}

fn worker_stats((number, (polls, counted)): (usize, (u64, &WorkerCounters))) -> view::WorkerStats {
    view::WorkerStats {
        number: number as u16,
        polls,
        busy_polls: counted.io.busy_polls,
        packets: view::PacketStats::new(&counted.pipeline, &counted.io),
        conntrack: view::ConntrackCounts::from(&counted.pipeline.conntrack),
    }
}

fn rule_stats(appliance: &Appliance, volumes: &Volumes) -> Vec<view::RuleStats> {
    let config = appliance.config();
    let stats = |rule: &ForwardingRule| view::RuleStats {
        name: rule.name.clone(),
        service: config.services[rule.service].name.clone(),
        offered: volumes.rules.get(&*rule.name).copied().unwrap_or_default().into(),
    };
    config.rules.iter().map(stats).collect()
}

fn service_stats(appliance: &Appliance, volumes: &Volumes) -> Vec<view::ServiceStats> {
    let mut forwarded = BTreeMap::<&str, Volume>::new();
    for ((service, _), volume) in &volumes.backends {
        forwarded.entry(service).or_default().add(*volume);
    }
    let stats = |(name, _): (&str, &ServiceState)| view::ServiceStats {
        name: name.to_owned(),
        offered: volumes.services.get(name).copied().unwrap_or_default().into(),
        forwarded: forwarded.get(name).copied().unwrap_or_default().into(),
    };
    appliance.state().services().iter().map(stats).collect()
}

fn backend_stats(volumes: &Volumes) -> Vec<view::BackendStats> {
    let stats = |((service, name), volume): (&(Arc<str>, Arc<str>), &Volume)| view::BackendStats {
        service: service.to_string(),
        name: name.to_string(),
        forwarded: (*volume).into(),
    };
    volumes.backends.iter().map(stats).collect()
}
