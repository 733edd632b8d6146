//! Session affinity: which parts of a packet choose its backend, and which name its connection.

/// Which side of the network a forwarding rule and its backend service face.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadBalancingScheme {
    /// The external passthrough load balancer.
    External,
    /// The internal passthrough load balancer.
    Internal,
}

/// Which parts of a packet choose its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionAffinity {
    /// As [`SessionAffinity::ClientIpPortProto`], but UDP, ESP and GRE go untracked where the scheme is external.
    None,
    /// The 5-tuple of ported packets, the 3-tuple of all others.
    ClientIpPortProto,
    /// The 3-tuple: both addresses and the protocol.
    ClientIpProto,
    /// The 2-tuple: both addresses.
    ClientIp,
    /// The 1-tuple: the client's address alone.
    ClientIpNoDestination,
}

/// What names a tracked connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackingMode {
    /// The 5-tuple, or the 3-tuple where there are no ports.
    PerConnection,
    /// The selection hash.
    PerSession,
}

/// Whether a tracked connection stays on a backend that turned unhealthy
/// (`connection_persistence_on_unhealthy_backends`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PersistenceOnUnhealthy {
    /// TCP does, where connections are tracked by their 5-tuple.
    DefaultForProtocol,
    /// Nothing does.
    NeverPersist,
    /// Everything tracked does.
    AlwaysPersist,
}
