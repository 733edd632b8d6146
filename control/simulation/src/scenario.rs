//! Scenario of a seed: how many appliances, workers and backends there are, and the configuration that operators write.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use crate::backend;
use crate::dice::Dice;

/// Service of the simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// TCP over IPv4, with failover groups in some scenarios.
    Web,
    /// UDP over IPv4.
    Dns,
    /// TCP over IPv6.
    WebSix,
}

impl Service {
    /// Services, in the order of the configuration.
    pub const ALL: [Self; 3] = [Self::Web, Self::Dns, Self::WebSix];

    /// Name of the service and of its rule.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Dns => "dns",
            Self::WebSix => "web6",
        }
    }

    /// Service of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.name() == name)
    }

    /// Virtual IP address.
    pub fn vip(self) -> IpAddr {
        match self {
            Self::Web => IpAddr::from([203, 0, 113, 10]),
            Self::Dns => IpAddr::from([203, 0, 113, 20]),
            Self::WebSix => IpAddr::from([0x2001, 0xdb8, 0x100, 0, 0, 0, 0, 0x10]),
        }
    }

    /// Port of the service.
    pub const fn port(self) -> u16 {
        match self {
            Self::Web | Self::WebSix => 80,
            Self::Dns => 53,
        }
    }

    /// True if connections are of TCP, which stay with a backend that turns unhealthy.
    pub const fn is_tcp(self) -> bool {
        !matches!(self, Self::Dns)
    }
}

/// Source of the weights by which TCP services choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weighting {
    /// None: every backend counts alike.
    Even,
    /// Answers of backends to their health checks.
    Reported,
    /// Operators.
    Configured,
}

/// Weights that are reported or set: none so small beside the others that few connections show nothing of it.
pub const WEIGHTS: [u16; 4] = [0, 2, 3, 4];

/// Way of packets to the backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// On the link.
    Link,
    /// IP in IP.
    Ipip,
    /// GRE.
    Gre,
    /// GUE.
    Gue,
}

impl Delivery {
    /// Word of the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Link => "l2",
            Self::Ipip => "ipip",
            Self::Gre => "gre",
            Self::Gue => "gue",
        }
    }
}

/// Shape of a seed's world.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Seed.
    pub seed: u64,
    /// Number of appliances with one configuration, among which the router chooses.
    pub appliances: usize,
    /// Workers of each appliance.
    pub workers: usize,
    /// Number of backends.
    pub backends: usize,
    /// Number of these that are in the failover group of `web`.
    pub spares: usize,
    /// Type of the health checks: `TCP` or `HTTP`.
    pub check: &'static str,
    /// Healthy backends without which an address is withdrawn.
    pub min_healthy: u32,
    /// Time that an address stays withdrawn at least.
    pub hold_down_sec: u64,
    /// Time that a removed backend keeps its connections.
    pub draining_timeout_sec: u64,
    /// Time in which faults happen.
    pub chaos: Duration,
    /// Time from one packet of a client to the next, on average.
    pub pause: Duration,
    /// Source of weights.
    pub weighting: Weighting,
    /// Way of packets to the backends.
    pub delivery: Delivery,
    /// True if tunnels are of the other family than the packets in them.
    pub crosses: bool,
}

impl Scenario {
    /// Scenario of a seed.
    pub fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed, "scenario");
        let backends = 3 + dice.below(4);
        let mut scenario = Self {
            seed,
            appliances: 1 + usize::from(dice.chance(0.4)),
            workers: 1 + dice.below(3),
            backends,
            spares: if dice.chance(0.5) { 1 + dice.below(2) } else { 0 },
            check: if dice.chance(0.5) { "TCP" } else { "HTTP" },
            min_healthy: 1 + dice.below(2) as u32,
            hold_down_sec: dice.below(3) as u64,
            draining_timeout_sec: [0, 2, 60][dice.below(3)],
            chaos: dice.time(6_000, 10_000),
            pause: dice.time(2, 10),
            weighting: Weighting::Even,
            delivery: Delivery::Link,
            crosses: false,
        };
        let mut dice = Dice::new(seed, "weights and tunnels");
        if dice.chance(0.4) {
            let reports = scenario.check == "HTTP" && dice.chance(0.7);
            scenario.weighting = if reports { Weighting::Reported } else { Weighting::Configured };
        }
        if dice.chance(0.3) {
            scenario.delivery = [Delivery::Ipip, Delivery::Gre, Delivery::Gue][dice.below(3)];
            scenario.crosses = dice.chance(0.5);
        }
        scenario
    }

    /// True if a service chooses by weight.
    pub fn is_weighted(&self, service: Service) -> bool {
        self.weighting != Weighting::Even && service.is_tcp()
    }

    /// True if packets go to the backends in tunnels.
    pub fn has_tunnels(&self) -> bool {
        self.delivery != Delivery::Link
    }

    /// True if a backend is in the failover group of a service.
    pub fn is_spare(&self, service: Service, backend: usize) -> bool {
        service == Service::Web && backend >= self.backends - self.spares
    }

    /// IPv4 address of an appliance.
    pub fn address(appliance: usize) -> [u8; 4] {
        [192, 0, 2, 1 + appliance as u8]
    }

    /// Link-layer address of an appliance.
    pub fn mac(appliance: usize) -> [u8; 6] {
        [2, 0, 0, 0, 0, 1 + appliance as u8]
    }

    /// Configuration of an appliance, with these backends in it.
    pub fn config(&self, appliance: usize, setting: &Setting) -> String {
        let own = appliance + 1;
        let mut text = format!(
            "# Edition {}\n[conntrack]\nmax_entries = 10_000\n\
             [[port]]\nname = \"lan\"\ndevice = \"net_null0\"\n\
             ip_addresses = [\"192.0.2.{own}/24\", \"2001:db8:2::{own}/64\"]\n\
             gateways = [\"192.0.2.254\"]\n\
             [[health_check]]\nname = \"alive\"\ntype = \"{}\"\nport = 80\ncheck_interval_sec = 1\ntimeout_sec = 1\n\
             [network]\nipv4_address = \"192.0.2.{own}\"\nipv6_address = \"2001:db8:2::{own}\"\n\
             [[announcement]]\nname = \"bgp\"\ncommand = [\"/simulated\"]\nmin_healthy = {}\nhold_down_sec = {}\n",
            setting.edition, self.check, self.min_healthy, self.hold_down_sec
        );
        for service in Service::ALL {
            let (name, protocol) = (service.name(), if service.is_tcp() { "TCP" } else { "UDP" });
            let has_spares = service == Service::Web && self.spares > 0;
            let spare = if has_spares { ", { group = \"spare\", failover = true }" } else { "" };
            let weighted = match self.weighting {
                _ if !self.is_weighted(service) => "",
                Weighting::Configured => {
                    "locality_lb_policy = \"WEIGHTED_MAGLEV\"\nweight_source = \"CONFIGURED\"\n"
                }
                _ => "locality_lb_policy = \"WEIGHTED_MAGLEV\"\n",
            };
            let _ = write!(
                text,
                "[[forwarding_rule]]\nname = \"{name}\"\nip_address = \"{}\"\nip_protocol = \"{protocol}\"\n\
                 ports = [{}]\nbackend_service = \"{name}\"\nload_balancing_scheme = \"INTERNAL\"\n\
                 [[backend_service]]\nname = \"{name}\"\nprotocol = \"{protocol}\"\nhealth_checks = [\"alive\"]\n{weighted}\
                 load_balancing_scheme = \"INTERNAL\"\nbackends = [{{ group = \"{name}\" }}{spare}]\n\
                 connection_draining = {{ draining_timeout_sec = {} }}\n",
                service.vip(),
                service.port(),
                self.draining_timeout_sec,
            );
            self.write_group(&mut text, name, service, false, setting);
            if has_spares {
                self.write_group(&mut text, "spare", service, true, setting);
            }
        }
        text
    }

    fn write_group(&self, text: &mut String, name: &str, service: Service, spare: bool, setting: &Setting) {
        let _ = writeln!(
            text,
            "[[backend_group]]\nname = \"{name}\"\ndelivery = \"{}\"\nendpoints = [",
            self.delivery.as_str()
        );
        for backend in setting.members() {
            if self.is_spare(service, backend) == spare {
                let address = if (service == Service::WebSix) != self.crosses {
                    backend::v6(backend)
                } else {
                    backend::v4(backend)
                };
                let _ = writeln!(text, "    {{ name = \"b{backend}\", ip_address = \"{address}\" }},");
            }
        }
        text.push_str("]\n");
    }
}

/// Configuration as operators have written it last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Number of the edition, which the text holds.
    pub edition: u64,
    /// True for each backend that is configured.
    pub has: Vec<bool>,
}

impl Setting {
    /// Setting with all backends.
    pub fn whole(scenario: &Scenario) -> Self {
        Self { edition: 1, has: vec![true; scenario.backends] }
    }

    /// Numbers of the backends that are configured.
    pub fn members(&self) -> impl Iterator<Item = usize> {
        self.has.iter().enumerate().filter_map(|(number, has)| has.then_some(number))
    }
}

#[cfg(test)]
mod tests {
    use guideway_model::config::Config;

    use super::*;

    #[test]
    fn every_scenario_has_a_configuration_that_is_right() {
        for seed in 0..100 {
            let scenario = Scenario::new(seed);
            let text = scenario.config(1, &Setting::whole(&scenario));
            let config =
                Config::parse("guideway.toml", &text).unwrap_or_else(|errors| panic!("{seed}: {errors}"));
            assert_eq!(config.services.len(), 3);
        }
    }
}
