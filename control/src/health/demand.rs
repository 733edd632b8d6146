//! The demand of a configuration's health checks on the probes' own TCP: where it has too few connections or local
//! ports, probes are made too seldom, and find failures too late.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use guideway_model::config::{Config, Network, Transport};
use guideway_model::warnings::Warning;

use crate::net::probe_tcp::{LOCAL_PORTS, Limits, MAX_TIME_WAIT, TIME_WAIT};

/// A demand beyond a limit of the probes' TCP in a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Excess {
    demand: Demand,
    /// The name of the network; none where the appliance is in one network alone.
    network: Option<String>,
}

/// A demand while nobody answers, as a probe then lasts as long as its timeout.
#[derive(Clone, Debug, PartialEq)]
enum Demand {
    /// Number of connections that are needed at once.
    Connections(u64),
    /// Number of local ports that are needed to one address and port: in use, or in TIME-WAIT after their probe.
    Ports(IpAddr, u16, u64),
    /// Number of local ports in TIME-WAIT, to all addresses together.
    TimeWait(u64),
}

impl Excess {
    /// Demands of a configuration that are beyond a limit, of which each network has its own.
    pub fn of(config: &Config) -> Vec<Self> {
        let of_network = |(index, network): (usize, &Arc<Network>)| {
            let name = config.has_several_networks().then(|| network.name.clone());
            let demands = Demand::beyond_limits(config, index).into_iter();
            demands.map(move |demand| Self { demand, network: name.clone() })
        };
        config.networks.iter().enumerate().flat_map(of_network).collect()
    }
}

impl Demand {
    /// Demands of a network's rules that are beyond a limit.
    fn beyond_limits(config: &Config, network: usize) -> Vec<Self> {
        let (mut connections, mut time_wait) = (0.0, 0.0);
        let mut ports = BTreeMap::<(IpAddr, u16), f64>::new();
        for rule in config.rules.iter().filter(|rule| rule.network == network) {
            let service = &config.services[rule.service];
            let check = &config.health_checks[service.health_check];
            // Datagrams hold neither a connection nor a port beyond their answer.
            if check.transport != Transport::InPath || check.probe.is_datagram() {
                continue;
            }
            // A backend is probed through every rule of its service, at the check's port.
            let backends = service.endpoints(config).count() as f64;
            let of_interval = |seconds: f64| backends * seconds / check.interval.as_secs_f64();
            let (open, waiting) = (check.timeout.as_secs_f64(), TIME_WAIT.as_secs_f64());
            connections += of_interval(open);
            time_wait += of_interval(waiting);
            *ports.entry((rule.probe_address, check.port)).or_default() += of_interval(open + waiting);
        }
        let beyond = |needed: f64, limit: usize| (needed > limit as f64).then_some(needed.ceil() as u64);
        let ports = ports
            .into_iter()
            .filter_map(|((vip, port), needed)| Some(Self::Ports(vip, port, beyond(needed, LOCAL_PORTS)?)));
        let connections = beyond(connections, Limits::default().connections).map(Self::Connections);
        let time_wait = beyond(time_wait, MAX_TIME_WAIT).map(Self::TimeWait);
        connections.into_iter().chain(ports).chain(time_wait).collect()
    }
}

impl Excess {
    /// Warning with the figures of the demand and the ways to lower it.
    pub fn warning(&self) -> Warning {
        let rest = TIME_WAIT.as_secs();
        let (text, remedy) = match &self.demand {
            Demand::Connections(needed) => {
                let limit = Limits::default().connections;
                (
                    format!(
                        "health checks need {needed} connections at once when nobody answers, and have {limit}"
                    ),
                    "lower `timeout_sec`, raise `check_interval_sec`",
                )
            }
            Demand::Ports(vip, port, needed) => (
                format!(
                    "health checks need {needed} local ports to {vip} port {port}, as each rests for {rest} s \
                     after its probe, and have {LOCAL_PORTS}"
                ),
                "raise `check_interval_sec`, have the address in fewer rules",
            ),
            Demand::TimeWait(needed) => (
                format!(
                    "health checks need {needed} local ports at rest, each for {rest} s after its probe, and have \
                     {MAX_TIME_WAIT}"
                ),
                "raise `check_interval_sec`",
            ),
        };
        let place = self.network.as_ref().map(|name| format!("in network `{name}`, ")).unwrap_or_default();
        let rest = ", or set `transport = \"kernel\"` for some; probes beyond that are not made in time";
        Warning::new(format!("{place}{text}"), format!("{remedy}{rest}"))
    }
}
