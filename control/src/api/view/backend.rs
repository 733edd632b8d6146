//! Backends: health, weight, share, and the way to them.

use std::net::IpAddr;

use guideway_model::service;
use serde::{Deserialize, Serialize};

use super::health::HealthCheck;
use super::stats::Traffic;

/// Backends, the draining ones too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendList {
    /// By service and name.
    pub backends: Vec<Backend>,
}

/// A backend of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backend {
    /// Its service.
    pub service: String,
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
    /// Whether its group is primary or failover.
    pub role: Pool,
    /// What its health checks say.
    pub health: Health,
    /// What they have found, in full; `null` where none are made, as for a backend that was removed.
    pub health_check: Option<HealthCheck>,
    /// It was removed from the configuration, and keeps its connections for a while.
    pub draining: bool,
    /// The operator has drained it: it keeps its connections and gets no new ones.
    #[serde(rename = "drained")]
    pub operator_drained: bool,
    /// Its weight; `null` where the service does not choose by weight.
    pub weight: Option<u16>,
    /// Where that weight comes from.
    pub weight_source: WeightSource,
    /// It may get new connections.
    pub eligible: bool,
    /// Its share of the lookup table's slots.
    pub share: f64,
    /// What is wrong with its service as a whole; `null` where nothing is.
    pub warning: Option<String>,
    /// What was forwarded to it.
    #[serde(flatten)]
    pub forwarded: Traffic,
    /// Who its frames are sent to; `null` where there is no way to it.
    pub next_hop: Option<NextHop>,
}

/// A pool, which is also the role of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pool {
    /// The groups that serve by default.
    Primary,
    /// The groups that stand in for them.
    Failover,
}

impl Pool {
    /// The word that JSON and tables show.
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

/// What a backend's health checks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// They succeed.
    Healthy,
    /// They fail.
    Unhealthy,
}

/// Where a weight comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightSource {
    /// The configuration.
    Configured,
    /// The backend's own reports.
    Reported,
    /// The operator, over the admin interface.
    Operator,
}

/// The neighbour that a backend's frames are sent to: the backend, or a gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NextHop {
    /// The port.
    pub port: String,
    /// Its address; `null` where the configuration names its MAC address alone.
    pub address: Option<IpAddr>,
    /// Its MAC address; `null` while nobody has answered for it.
    pub mac: Option<String>,
}
