//! Backends: health, weight, share and next hop.

use std::net::IpAddr;

use guideway_model::service;
use serde::{Deserialize, Serialize};

use super::health::HealthCheck;
use super::stats::{Arrivals, Traffic};
use crate::health::weights::WeightBasis;

/// List of backends, the draining ones too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendList {
    /// Backends, by service and name.
    pub backends: Vec<Backend>,
}

/// Backend of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backend {
    /// Service of the backend.
    pub service: String,
    /// Name of the backend.
    pub name: String,
    /// Network that the backend is reached by; absent where the appliance is in one network alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Address of the backend.
    pub address: IpAddr,
    /// Role of the backend's group: primary or failover.
    pub role: Pool,
    /// Health, as the health checks have found it.
    pub health: Health,
    /// Results of the health checks, in full; `null` where none are made, as for a backend that was removed.
    pub health_check: Option<HealthCheck>,
    /// True if the backend was removed from the configuration and keeps its connections for a while.
    pub draining: bool,
    /// True if the operator has drained the backend: tracked connections go on, new ones go elsewhere.
    #[serde(rename = "drained")]
    pub operator_drained: bool,
    /// Seconds until the drain ends the backend's connections; `null` while they go on without a limit.
    pub entries_end_sec: Option<u64>,
    /// Weight of the backend; `null` where the service does not choose by weight.
    pub weight: Option<u16>,
    /// Source of the weight.
    pub weight_source: WeightSource,
    /// True if the backend may receive new connections.
    pub eligible: bool,
    /// Share of the lookup table's slots, from 0 to 1.
    pub share: f64,
    /// Warning about the service as a whole; `null` where there is none.
    pub warning: Option<String>,
    /// Packets and bytes forwarded to the backend.
    #[serde(flatten)]
    pub forwarded: Traffic,
    /// Entries of the conntrack table that name the backend; 0 from an appliance that does not count them.
    #[serde(default)]
    pub connections: u64,
    /// New connections and rates of those packets.
    #[serde(flatten)]
    pub arrivals: Arrivals,
    /// Neighbour that the backend's frames are sent to; `null` where no route leads to the backend.
    pub next_hop: Option<NextHop>,
    /// MTU that routers on the path to the backend have told of; `null` where the configured one holds.
    pub path_mtu: Option<PathMtu>,
}

/// MTU that a router on the path to a backend's tunnel has told of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PathMtu {
    /// MTU, in bytes of the outermost packet.
    pub mtu: u16,
    /// Router that told of it.
    pub told_by: IpAddr,
    /// Seconds until it is forgotten.
    pub for_sec: u64,
}

/// Entries of the conntrack table that still hold packets to a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remaining {
    /// Tracked connections.
    pub connections: u64,
    /// Tracked sessions: new connections of their clients come to the backend too.
    pub sessions: u64,
    /// Warning that sessions do not end by themselves; `null` where there are none.
    pub warning: Option<String>,
}

impl Remaining {
    /// Connections and sessions together.
    pub const fn total(&self) -> u64 {
        self.connections + self.sessions
    }
}

/// Backend that an operator has taken out, and the connections that it still has: what the command line prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendDrain {
    /// Backend after the command.
    #[serde(flatten)]
    pub backend: Backend,
    /// Connections and sessions that remain; `null` where they could not be counted.
    pub remaining: Option<Remaining>,
}

/// Pool of a service, which is also the role of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pool {
    /// The groups that serve by default.
    Primary,
    /// The groups that stand in for them.
    Failover,
}

impl Pool {
    /// Word that JSON and tables show.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Failover => "failover",
        }
    }
}

impl From<service::Pool> for Pool {
    fn from(pool: service::Pool) -> Self {
        match pool {
            service::Pool::Primary => Self::Primary,
            service::Pool::Failover => Self::Failover,
        }
    }
}

/// Health of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// The health checks succeed.
    Healthy,
    /// The health checks fail.
    Unhealthy,
}

/// Source of a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightSource {
    /// The configuration.
    Configured,
    /// The backend's own reports.
    Reported,
    /// None: all weights are equal while a backend of the service answers without a usable one.
    Equal,
    /// The operator, over the admin interface.
    Operator,
}

impl From<WeightBasis> for WeightSource {
    fn from(basis: WeightBasis) -> Self {
        match basis {
            WeightBasis::Reported => Self::Reported,
            WeightBasis::Configured => Self::Configured,
            WeightBasis::Equal => Self::Equal,
        }
    }
}

/// Neighbour that a backend's frames are sent to: the backend, or a gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NextHop {
    /// Name of the port.
    pub port: String,
    /// Address of the neighbour; `null` where the configuration names its MAC address alone.
    pub address: Option<IpAddr>,
    /// MAC address of the neighbour; `null` while nobody has answered for it.
    pub mac: Option<String>,
}
