//! Routes: destination prefixes whose next hop is an internal forwarding rule.

use ipnet::IpNet;

/// A destination prefix whose next hop is an internal forwarding rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its name, unique among routes.
    pub name: String,
    /// The destinations it takes; of the forwarding rule's family.
    pub dest_range: IpNet,
    /// Index of its forwarding rule in [`super::Config::rules`].
    pub next_hop_rule: usize,
}
