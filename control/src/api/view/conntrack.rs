//! Tracked connections.
//!
//! The table knows a connection by a keyed 64-bit hash and nothing else: it holds no addresses to show. A
//! flow's entry is found by the flow, an entry's flow is not found by the entry.

use std::net::IpAddr;

use guideway_dataplane::conntrack::Stage;
use serde::{Deserialize, Serialize};

/// List of tracked connections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConntrackList {
    /// Number of entries that match the request, shown or not.
    pub matching: u64,
    /// Entries shown, in no order.
    pub entries: Vec<ConntrackEntry>,
}

/// Valid entry of the conntrack table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConntrackEntry {
    /// Hash of the tracked fields, in hexadecimal; it differs in every process.
    pub key: String,
    /// Service of the entry's backend.
    pub service: String,
    /// Backend that the connection's packets go to.
    pub backend: String,
    /// Seconds since the connection's latest packet.
    pub idle_sec: u32,
    /// State of the connection, by the packets that have come of it.
    pub state: ConnectionState,
    /// True if the state is `half_open`: such entries give way first.
    pub half_open: bool,
    /// True if the connection stays on its backend when that turns unhealthy.
    pub persists: bool,
}

/// State of a tracked connection, by the packets that have come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionState {
    /// SYNs alone have come: the entry gives way first.
    HalfOpen,
    /// Packets have come within one second alone, and not only SYNs: the entry gives way after half-open ones.
    Unconfirmed,
    /// The entry never gives way.
    Established,
    /// A FIN or RST has come: the entry gives way after half-open ones.
    Closed,
}

impl From<Stage> for ConnectionState {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::HalfOpen => Self::HalfOpen,
            Stage::Unconfirmed => Self::Unconfirmed,
            Stage::Established => Self::Established,
            Stage::Closed => Self::Closed,
        }
    }
}

/// Conntrack lookup of a flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConntrackLookup {
    /// Flow that was looked up.
    pub flow: String,
    /// Network of the flow; absent where the appliance is in one network alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Forwarding rule of the flow's packets; `null` where there is none.
    pub forwarding_rule: Option<String>,
    /// Service of the forwarding rule.
    pub service: Option<String>,
    /// True if the service tracks such packets.
    pub tracked: bool,
    /// Fields that name the flow's connection, in words.
    pub tuple: Option<String>,
    /// Valid entry that the flow's packets find; `null` where there is none.
    pub entry: Option<ConntrackEntry>,
}

/// Connections whose packets were seen in one second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WatchedFlows {
    /// End of the second, in seconds since 1970.
    pub at_unix_sec: f64,
    /// Flows of the second with most packets, 50 at most.
    pub flows: Vec<WatchedFlow>,
    /// Number of further flows, which are left out.
    pub left_out_flows: u64,
    /// Packets of the second that are in no flow: workers had no room to record them, or there were more than 4,096 flows.
    pub missed_packets: u64,
}

/// Packets of a flow that were seen in one second, and the connection that they belong to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WatchedFlow {
    /// Protocol: its name, or its number.
    pub protocol: String,
    /// Address of the client.
    pub client: IpAddr,
    /// Port of the client; `null` where the packets have none.
    pub client_port: Option<u16>,
    /// Address that the client sends to.
    pub vip: IpAddr,
    /// Port that the client sends to; `null` where the packets have none.
    pub vip_port: Option<u16>,
    /// Network of the flow; absent where the appliance is in one network alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Forwarding rule of the packets.
    pub forwarding_rule: String,
    /// Service of the forwarding rule.
    pub service: String,
    /// Backend that the packets went to.
    pub backend: String,
    /// Packets that were seen.
    pub packets: u64,
    /// Bytes of those packets, as their frames were received.
    pub bytes: u64,
    /// State of the tracked connection at the end of the second; `null` where it is not tracked, or has ended.
    pub state: Option<ConnectionState>,
}
