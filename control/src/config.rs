//! The configuration: TOML as an operator writes it, parsed into a [`Config`] that is valid by construction.

mod backend_group;
mod backend_service;
mod forwarding_rule;
mod health_check;
mod network;
mod route;

pub use backend_group::{BackendGroup, Endpoint};
pub use backend_service::{BackendService, FailoverPolicy, GroupMember, ServiceProtocol};
pub use forwarding_rule::{ForwardingRule, Ports, RuleProtocol};
pub use health_check::{Exchange, HealthCheck, HttpRequest, Probe, ProxyHeader};
pub use network::{Conntrack, Fleet, MacAddress, Network};
pub use route::Route;

/// A whole configuration whose every rule has been checked; references are indices into its lists.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The appliance's own place in the network.
    pub network: Network,
    /// What all appliances of a fleet share.
    pub fleet: Fleet,
    /// The size of the conntrack table.
    pub conntrack: Conntrack,
    /// The forwarding rules, in the order of the file.
    pub rules: Vec<ForwardingRule>,
    /// The backend services, in the order of the file.
    pub services: Vec<BackendService>,
    /// The backend groups, in the order of the file.
    pub groups: Vec<BackendGroup>,
    /// The health checks, in the order of the file.
    pub health_checks: Vec<HealthCheck>,
    /// The routes, in the order of the file.
    pub routes: Vec<Route>,
}
