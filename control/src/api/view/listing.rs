//! Services and rules in lists: state and traffic.

use serde::{Deserialize, Serialize};

use super::stats::{Arrivals, RuleStats, Traffic};
use super::status::Service;

/// List of backend services.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceList {
    /// Services, by name.
    pub services: Vec<ListedService>,
}

/// Backend service with its traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListedService {
    /// State of the service.
    #[serde(flatten)]
    pub state: Service,
    /// Entries of the conntrack table that name its backends.
    pub connections: u64,
    /// New connections and rates of the packets of its rules.
    #[serde(flatten)]
    pub arrivals: Arrivals,
    /// Packets of the service's rules, whatever became of them.
    pub offered: Traffic,
    /// Packets that went to the service's backends.
    pub forwarded: Traffic,
}

/// List of forwarding rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleList {
    /// Rules, in the order of the configuration.
    pub rules: Vec<ListedRule>,
}

/// Forwarding rule with its traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListedRule {
    /// Address or prefix of the rule's VIP.
    pub address: String,
    /// IP protocols that the rule takes, as in the configuration.
    pub ip_protocol: String,
    /// Ports that the rule takes: `all`, a range, or a list with commas.
    pub ports: String,
    /// Network of the rule; absent where the appliance is in one network alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Name, service and traffic of the rule.
    #[serde(flatten)]
    pub stats: RuleStats,
}
