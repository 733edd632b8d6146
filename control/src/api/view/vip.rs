//! Virtual IP addresses, and whether the appliance answers for them.

use std::fmt;

use guideway_model::config::VipRange;
use serde::{Deserialize, Serialize};

/// List of all VIPs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VipList {
    /// VIPs, by network and address.
    pub vips: Vec<Vip>,
}

/// VIP: the address, or the prefix, of one forwarding rule or several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vip {
    /// Address or prefix of the VIP.
    pub address: VipRange,
    /// Network of the VIP; absent where the appliance is in one network alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Configured condition under which the appliance answers ARP and neighbour discovery for the VIP.
    pub neighbor_replies: NeighborReplies,
    /// True if the appliance answers for the VIP now.
    pub announced: bool,
    /// Claims of the VIP heard from other hosts.
    pub conflicts: u64,
    /// Names of the VIP's forwarding rules.
    pub forwarding_rules: Vec<String>,
}

/// Condition under which the appliance answers ARP and neighbour discovery for a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum NeighborReplies {
    /// Always: the VIP is on a link, and of this appliance alone.
    Always,
    /// From an announcement to a withdrawal: of the appliances that share it, one holds it at a time.
    WhenAnnounced,
    /// Never: the VIP is routed to the appliance's own address.
    Never,
}

impl NeighborReplies {
    /// Word of the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "ALWAYS",
            Self::WhenAnnounced => "WHEN_ANNOUNCED",
            Self::Never => "NEVER",
        }
    }
}

impl fmt::Display for NeighborReplies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
