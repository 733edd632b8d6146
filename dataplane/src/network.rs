//! Networks: each a world of its own, with virtual IP addresses, clients, routes and the appliance's own addresses, that may
//! be those of another network too.

/// Largest number of networks of an appliance.
pub const MAX_NETWORKS: usize = 64;

/// Number of a network: its index in the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkId(pub u8);

impl NetworkId {
    /// First network, and the only one of nearly all appliances.
    pub const FIRST: Self = Self(0);
}
