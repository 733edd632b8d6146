//! Tracked connections.
//!
//! The table knows a connection by a keyed 64-bit hash and nothing else: it holds no addresses to show. A
//! flow's entry is found by the flow, an entry's flow is not found by the entry.

use serde::{Deserialize, Serialize};

/// Some of the tracked connections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConntrackList {
    /// How many entries there are that were asked for, shown or not.
    pub matching: u64,
    /// The first of them, in no order.
    pub entries: Vec<ConntrackEntry>,
}

/// A valid entry of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConntrackEntry {
    /// The hash of the tracked fields, in hexadecimal; another in every process.
    pub key: String,
    /// The service of its backend.
    pub service: String,
    /// The backend that its packets go to.
    pub backend: String,
    /// How long ago its latest packet came.
    pub idle_sec: u32,
    /// Its client has only asked for a connection so far: such entries give way first.
    pub half_open: bool,
    /// It stays on its backend when that turns unhealthy.
    pub persists: bool,
}

/// What the table knows of a flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConntrackLookup {
    /// The flow that was asked for.
    pub flow: String,
    /// The rule that its packets belong to; `null` where there is none.
    pub forwarding_rule: Option<String>,
    /// That rule's service.
    pub service: Option<String>,
    /// Whether that service tracks such packets.
    pub tracked: bool,
    /// Which fields name its connection, in words.
    pub tuple: Option<String>,
    /// The valid entry that its packets find; `null` where there is none.
    pub entry: Option<ConntrackEntry>,
}
