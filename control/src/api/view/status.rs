//! What the appliance is, and how it is.

use serde::{Deserialize, Serialize};

use super::announcement::{Announcement, Drain};
use super::backend::Pool;
use super::health::HealthChecks;
use super::vip::Vip;

/// The appliance at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The version of the program.
    pub version: String,
    /// The number of its process.
    pub pid: u32,
    /// When the process started, in seconds since 1970.
    pub started_at_unix_sec: u64,
    /// How long ago that was.
    pub uptime_sec: u64,
    /// The configuration file.
    pub config_path: String,
    /// When the running configuration was read, in seconds since 1970.
    pub config_loaded_at_unix_sec: u64,
    /// How many configurations have been accepted, the first included.
    pub configuration_generation: u64,
    /// How many snapshots have been published.
    pub snapshot_generation: u64,
    /// Snapshots that a worker may still be reading; more than a few belong to one that is stalled.
    pub unreclaimed_snapshots: u64,
    /// Next hops whose MAC address is not known, so that nothing can be sent to the backends behind them.
    pub unresolved_neighbors: u64,
    /// Lines of the log that were lost, because nobody read standard error in time.
    pub log_lines_lost: u64,
    /// How well health checks keep up; `null` where none are made.
    pub health_checks: Option<HealthChecks>,
    /// The ports, in the order of the configuration.
    pub ports: Vec<Port>,
    /// The workers, by their number.
    pub workers: Vec<Worker>,
    /// The backend services, by name.
    pub services: Vec<Service>,
    /// The VIPs, by address.
    pub vips: Vec<Vip>,
    /// What routers are told of the VIPs.
    pub announcements: Vec<Announcement>,
    /// How far the appliance is drained; `null` where it serves.
    pub drain: Option<Drain>,
}

/// A port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Port {
    /// Its name in the configuration.
    pub name: String,
    /// Its device, as configured.
    pub device: String,
    /// DPDK's driver of the device.
    pub driver: String,
    /// Its MAC address.
    pub mac: String,
    /// Whether its link carries.
    pub link_up: bool,
    /// The link's speed; `null` where the device does not know.
    pub speed_mbps: Option<u32>,
    /// The longest packet that it takes.
    pub mtu: u16,
    /// Whether the device spreads flows over its queues by a hash.
    pub rss: bool,
    /// Queue pairs in use.
    pub queues: u16,
}

/// A worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Worker {
    /// Its number, from 0.
    pub number: u16,
    /// The core that it is pinned to.
    pub core: u32,
    /// Whether it goes on.
    pub state: WorkerState,
    /// How often it has polled its ports: its heartbeat.
    pub polls: u64,
    /// The share of its latest polls that found a frame.
    pub busy_share: f64,
}

/// Whether a worker goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// It polls.
    Running,
    /// It has not polled for a while.
    Stalled,
}

/// A backend service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Configured backends.
    pub backends: u32,
    /// Of these, those that are healthy.
    pub healthy: u32,
    /// Of these, those that the operator has drained.
    #[serde(rename = "drained")]
    pub operator_drained: u32,
    /// Of these, those that may get new connections.
    pub eligible: u32,
    /// The pool that serves; `null` in a service without failover groups, or where none has served yet.
    pub pool: Option<Pool>,
    /// Whether each backend that answers its health checks sends a weight, as without one of them all weights are
    /// equal; `null` where weights don't come from health checks.
    pub weights_valid: Option<bool>,
    /// Names the lookup table's content: appliances of a fleet choose alike where theirs are the same. In
    /// hexadecimal.
    pub lookup_table_digest: String,
}
