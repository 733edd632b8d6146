//! Counters as operators and Prometheus see them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use guideway_dataplane::backend::BackendHandle;
use guideway_dataplane::counters::Counters;
use guideway_dataplane::traffic_counters::{Access, Traffic, Volume};
use guideway_engine::counters::{IoCounters, WorkerCounters};
use guideway_model::config::{AccessList, ForwardingRule, Ports as RulePorts, RuleProtocol};
use guideway_model::service::ServiceState;
use guideway_model::traffic_totals::Totals;

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
    let traffic = appliance.state().traffic_totals();
    let totals = traffic.totals();
    let host = appliance.host_counters();
    view::Stats {
        total: view::PacketStats::new(&pipeline, &io),
        rates: traffic.recent().whole().into(),
        workers: workers.heartbeats().zip(&counted).enumerate().map(worker_stats).collect(),
        ports: workers.ports().stats(),
        rules: rule_stats(appliance, &totals),
        services: service_stats(appliance, &totals),
        backends: backend_stats(appliance, &totals),
        access_lists: access_list_stats(appliance, &totals),
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

fn rule_stats(appliance: &Appliance, totals: &Totals) -> Vec<view::RuleStats> {
    let config = appliance.config();
    let recent = appliance.state().traffic_totals().recent();
    let stats = |rule: &ForwardingRule| {
        let traffic = totals.rules.get(&*rule.name).copied().unwrap_or_default();
        view::RuleStats {
            name: rule.name.clone(),
            service: config.services[rule.service].name.clone(),
            offered: traffic.volume.into(),
            arrivals: view::Arrivals::new(traffic, recent.rule(&rule.name)),
        }
    };
    config.rules.iter().map(stats).collect()
}

fn access_list_stats(appliance: &Appliance, totals: &Totals) -> Vec<view::AccessListStats> {
    let stats = |list: &AccessList| {
        let Access { admitted, denied } = totals.access_lists.get(&*list.name).copied().unwrap_or_default();
        view::AccessListStats { name: list.name.clone(), admitted, denied }
    };
    appliance.config().access_lists.iter().map(stats).collect()
}

fn service_stats(appliance: &Appliance, totals: &Totals) -> Vec<view::ServiceStats> {
    let mut forwarded = BTreeMap::<&str, Volume>::new();
    for ((service, _), traffic) in &totals.backends {
        forwarded.entry(service).or_default().add(traffic.volume);
    }
    let recent = appliance.state().traffic_totals().recent();
    let stats = |(name, state): (&str, &ServiceState)| {
        let traffic = totals.services.get(name).copied().unwrap_or_default();
        view::ServiceStats {
            name: name.to_owned(),
            offered: traffic.volume.into(),
            forwarded: forwarded.get(name).copied().unwrap_or_default().into(),
            connections: state.backends().map(|backend| appliance.state().tracked(backend.handle)).sum(),
            arrivals: view::Arrivals::new(traffic, recent.service(name)),
        }
    };
    appliance.state().services().iter().map(stats).collect()
}

fn backend_stats(appliance: &Appliance, totals: &Totals) -> Vec<view::BackendStats> {
    let state = appliance.state();
    // A backend that has gone is among the totals until nobody counts for it any more.
    let handles: HashMap<(&str, &str), BackendHandle> = state
        .names()
        .backends()
        .map(|(handle, service, backend)| ((&**service, &**backend), handle))
        .collect();
    let recent = state.traffic_totals().recent();
    let stats = |((service, name), traffic): (&(Arc<str>, Arc<str>), &Traffic)| view::BackendStats {
        service: service.to_string(),
        name: name.to_string(),
        forwarded: traffic.volume.into(),
        connections: handles.get(&(&**service, &**name)).map_or(0, |handle| state.tracked(*handle)),
        arrivals: view::Arrivals::new(*traffic, recent.backend(service, name)),
    };
    totals.backends.iter().map(stats).collect()
}

/// Services with their traffic, by name.
pub(in super::super) fn service_list(appliance: &Appliance, states: Vec<view::Service>) -> view::ServiceList {
    let stats = service_stats(appliance, &appliance.state().traffic_totals().totals());
    let listed = |(state, stats): (view::Service, view::ServiceStats)| {
        let view::ServiceStats { name: _, offered, forwarded, connections, arrivals } = stats;
        view::ListedService { state, connections, arrivals, offered, forwarded }
    };
    view::ServiceList { services: states.into_iter().zip(stats).map(listed).collect() }
}

/// Rules with their traffic, in the order of the configuration.
pub(in super::super) fn rule_list(appliance: &Appliance) -> view::RuleList {
    let stats = rule_stats(appliance, &appliance.state().traffic_totals().totals());
    let networks = &appliance.config().networks;
    let listed = |(rule, stats): (&ForwardingRule, view::RuleStats)| view::ListedRule {
        address: rule.vip.to_string(),
        ip_protocol: protocol(rule.protocol).to_owned(),
        ports: ports(&rule.ports),
        network: appliance.state().network_name(networks[rule.network].id).map(str::to_owned),
        stats,
    };
    view::RuleList { rules: appliance.config().rules.iter().zip(stats).map(listed).collect() }
}

/// Word of a rule's protocol in the configuration.
const fn protocol(protocol: RuleProtocol) -> &'static str {
    match protocol {
        RuleProtocol::Tcp => "TCP",
        RuleProtocol::Udp => "UDP",
        RuleProtocol::L3Default => "L3_DEFAULT",
    }
}

fn ports(ports: &RulePorts) -> String {
    match ports {
        RulePorts::All => "all".to_owned(),
        RulePorts::Range(first, last) => format!("{first}-{last}"),
        RulePorts::List(list) => list.iter().map(u16::to_string).collect::<Vec<_>>().join(","),
    }
}
