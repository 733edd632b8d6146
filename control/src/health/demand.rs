//! What the health checks of a configuration ask of the probes' own TCP, beside what that has: more checks
//! than it has connections or local ports for are made too seldom, and find failures too late.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use guideway_model::config::{Config, Transport};

use crate::net::probe_tcp::{LOCAL_PORTS, Limits, MAX_RESTING, REST};

/// More than there is, while nobody answers: then a probe lasts as long as its timeout.
#[derive(Clone, Debug, PartialEq)]
pub enum Excess {
    /// Connections at once.
    Connections(u64),
    /// Local ports to one address and port: in use, or at rest after their probe.
    Ports(IpAddr, u16, u64),
    /// Local ports at rest, to all addresses together.
    Resting(u64),
}

impl Excess {
    /// All that is too much in a configuration.
    pub fn of(config: &Config) -> Vec<Self> {
        let (mut connections, mut resting) = (0.0, 0.0);
        let mut ports = BTreeMap::<(IpAddr, u16), f64>::new();
        for rule in &config.rules {
            let service = &config.services[rule.service];
            let check = &config.health_checks[service.health_check];
            if check.transport != Transport::InPath {
                continue;
            }
            // A backend is probed through every rule of its service, at the check's port.
            let backends = service.endpoints(config).count() as f64;
            let of_interval = |seconds: f64| backends * seconds / check.interval.as_secs_f64();
            let (open, rest) = (check.timeout.as_secs_f64(), REST.as_secs_f64());
            connections += of_interval(open);
            resting += of_interval(rest);
            *ports.entry((rule.address, check.port)).or_default() += of_interval(open + rest);
        }
        let beyond = |needed: f64, limit: usize| (needed > limit as f64).then_some(needed.ceil() as u64);
        let ports = ports
            .into_iter()
            .filter_map(|((vip, port), needed)| Some(Self::Ports(vip, port, beyond(needed, LOCAL_PORTS)?)));
        let connections = beyond(connections, Limits::default().connections).map(Self::Connections);
        let resting = beyond(resting, MAX_RESTING).map(Self::Resting);
        connections.into_iter().chain(ports).chain(resting).collect()
    }
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rest = REST.as_secs();
        match self {
            Self::Connections(needed) => {
                let limit = Limits::default().connections;
                write!(
                    f,
                    "health checks need {needed} connections at once when nobody answers, and have {limit}"
                )?;
                f.write_str(": lower `timeout_sec`, raise `check_interval_sec`")?;
            }
            Self::Ports(vip, port, needed) => {
                write!(
                    f,
                    "health checks need {needed} local ports to {vip} port {port}, as each rests for {rest} s \
                     after its probe, and have {LOCAL_PORTS}: raise `check_interval_sec`, have the address in \
                     fewer rules"
                )?;
            }
            Self::Resting(needed) => {
                write!(
                    f,
                    "health checks need {needed} local ports at rest, each for {rest} s after its probe, \
                     and have {MAX_RESTING}: raise `check_interval_sec`"
                )?;
            }
        }
        f.write_str(", or set `transport = \"kernel\"` for some; probes beyond that are not made in time")
    }
}
