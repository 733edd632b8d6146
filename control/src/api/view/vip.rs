//! Virtual IP addresses, and who answers for them.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// All VIPs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VipList {
    /// By address.
    pub vips: Vec<Vip>,
}

/// A VIP: the address of one forwarding rule or several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vip {
    /// The address.
    pub address: IpAddr,
    /// When the appliance answers ARP and neighbour discovery for it.
    pub neighbor_replies: NeighborReplies,
    /// Whether it answers for it now.
    pub announced: bool,
    /// How often another host was heard to claim it.
    pub conflicts: u64,
    /// The forwarding rules, by name.
    pub forwarding_rules: Vec<String>,
}

/// When the appliance answers ARP and neighbour discovery for a VIP.
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
    /// The word of the configuration.
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
