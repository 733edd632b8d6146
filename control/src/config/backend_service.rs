//! Backend services: affinity, policies and the backend groups behind forwarding rules.

use guideway_dataplane::affinity::{
    LoadBalancingScheme, PersistenceOnUnhealthy, SessionAffinity, TrackingMode,
};

/// Affinity, policies and backend groups behind forwarding rules.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendService {
    /// Its name, unique among backend services.
    pub name: String,
    /// Which side of the network it faces; its rules' scheme too.
    pub scheme: LoadBalancingScheme,
    /// Which forwarding rules it may serve.
    pub protocol: ServiceProtocol,
    /// Which parts of a packet choose its backend.
    pub affinity: SessionAffinity,
    /// What names a tracked connection.
    pub tracking_mode: TrackingMode,
    /// Whether tracked connections stay on a backend that turned unhealthy.
    pub persistence: PersistenceOnUnhealthy,
    /// How long a conntrack entry outlives its last packet, in seconds.
    pub idle_timeout_sec: u32,
    /// How long a removed backend keeps its entries, in seconds; 0 means not at all.
    pub draining_timeout_sec: u32,
    /// Whether backends are chosen in proportion to their weights (`WEIGHTED_MAGLEV`).
    pub weighted: bool,
    /// When the failover groups take over; the defaults where the file says nothing.
    pub failover_policy: FailoverPolicy,
    /// Its backend groups, in the order of the file; at least one is a primary.
    pub members: Vec<GroupMember>,
    /// Index of its health check in [`super::Config::health_checks`].
    pub health_check: usize,
}

impl BackendService {
    /// Whether any of its groups is a failover group.
    pub fn has_failover(&self) -> bool {
        self.members.iter().any(|member| member.failover)
    }
}

/// The protocol of a backend service, which its forwarding rules must fit (`protocol`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceProtocol {
    /// Serves TCP rules.
    Tcp,
    /// Serves UDP rules.
    Udp,
    /// Serves rules of every protocol, `L3_DEFAULT` among them.
    Unspecified,
}

/// When the failover groups take over.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FailoverPolicy {
    /// The share of usable primaries below which traffic moves to the failover groups, 0.0 to 1.0.
    pub ratio: f64,
    /// Whether new connections are dropped while no backend is usable.
    pub drop_traffic_if_unhealthy: bool,
    /// Whether a switch between the pools voids every entry of the service.
    pub disable_connection_drain_on_failover: bool,
}

/// A backend group in its part within one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// Index of the group in [`super::Config::groups`].
    pub group: usize,
    /// Whether it is a failover group; a primary otherwise.
    pub failover: bool,
}
