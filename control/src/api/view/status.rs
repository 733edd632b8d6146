//! State of the appliance: ports, workers, services.

use serde::{Deserialize, Serialize};

use super::announcement::{Announcement, Drain, Guard};
use super::backend::Pool;
use super::condition::Condition;
use super::control_loop::ControlLoop;
use super::health::HealthChecks;
use super::operator::OperatorSettings;
use super::vip::Vip;

/// State of the appliance at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Condition of the whole: OK, or degraded for these reasons.
    #[serde(default)]
    pub condition: Condition,
    /// Version of the program.
    pub version: String,
    /// Number of the process.
    pub pid: u32,
    /// Start of the process, in seconds since 1970.
    pub started_at_unix_sec: u64,
    /// Seconds since the process started.
    pub uptime_sec: u64,
    /// Path of the configuration file.
    pub config_path: String,
    /// Time at which the running configuration was read, in seconds since 1970.
    pub config_loaded_at_unix_sec: u64,
    /// Number of configurations accepted, the first included.
    pub configuration_generation: u64,
    /// Number of snapshots published.
    pub snapshot_generation: u64,
    /// Snapshots that a worker may still be reading; more than a few belong to one that is stalled.
    pub unreclaimed_snapshots: u64,
    /// Changes by probes that came while an earlier one of their service waited for a snapshot.
    #[serde(default)]
    pub changes_coalesced: u64,
    /// Next hops whose MAC address is not known, so that nothing can be sent to the backends behind them.
    pub unresolved_neighbors: u64,
    /// Lines of the log that were lost, because nobody read standard error in time.
    pub log_lines_lost: u64,
    /// Stalls of the control thread.
    #[serde(default)]
    pub control_loop: ControlLoop,
    /// Timeliness of the health checks; `null` where none are made.
    pub health_checks: Option<HealthChecks>,
    /// Ports, in the order of the configuration.
    pub ports: Vec<Port>,
    /// Workers, by number.
    pub workers: Vec<Worker>,
    /// Backend services, by name.
    pub services: Vec<Service>,
    /// VIPs, by address.
    pub vips: Vec<Vip>,
    /// Announcements of VIPs to routers.
    pub announcements: Vec<Announcement>,
    /// Guard that withdraws announcements of an appliance that dies; `null` where there is to be none.
    #[serde(default)]
    pub guard: Option<Guard>,
    /// State of the drain; `null` while the appliance serves.
    pub drain: Option<Drain>,
    /// Files that backend groups have their endpoints from.
    #[serde(default)]
    pub endpoints_files: Vec<EndpointsFile>,
    /// Questions of the domain name system that backend groups have their endpoints from.
    #[serde(default)]
    pub endpoints_dns: Vec<EndpointsDns>,
    /// Drains and weights that operators have set by hand.
    pub operator_settings: OperatorSettings,
}

/// File that backend groups have their endpoints from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointsFile {
    /// Path of the file.
    pub path: String,
    /// Backend groups whose endpoints it has.
    pub backend_groups: Vec<String>,
    /// Time at which the endpoints in force were read, in seconds since 1970.
    pub loaded_at_unix_sec: u64,
    /// Fault of the file, for which its last good answer holds; `null` while it is right.
    pub last_error: Option<String>,
}

/// Question of the domain name system that backend groups have their endpoints from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointsDns {
    /// Name that is asked for.
    pub name: String,
    /// Type of the records: `A`, `AAAA` or `SRV`.
    #[serde(rename = "type")]
    pub record: String,
    /// Servers that are asked, each with its port; those of `/etc/resolv.conf` if there are none.
    pub servers: Vec<String>,
    /// Backend groups whose endpoints the answer is.
    pub backend_groups: Vec<String>,
    /// Time at which the endpoints in force were answered, in seconds since 1970; `null` before the first answer.
    pub answered_at_unix_sec: Option<u64>,
    /// Reason why there is no answer now, for which the last good one holds; `null` while there is one.
    pub last_error: Option<String>,
}

/// State of a port.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Port {
    /// Name of the port in the configuration.
    pub name: String,
    /// Device of the port, as configured.
    pub device: String,
    /// DPDK's driver of the device.
    pub driver: String,
    /// MAC address of the port.
    pub mac: String,
    /// True if the link is up.
    pub link_up: bool,
    /// Speed of the link; `null` where the device does not know it.
    pub speed_mbps: Option<u32>,
    /// Longest packet that the port takes.
    pub mtu: u16,
    /// NUMA node of the device, where the port's frames lie too; `null` where it belongs to none.
    #[serde(default)]
    pub node: Option<u32>,
    /// True if the device spreads flows over its queues by a hash.
    pub rss: bool,
    /// Queue pairs in use.
    pub queues: u16,
    /// Receive queues in use.
    #[serde(default)]
    pub rx_queues: u16,
    /// Transmit queues in use.
    #[serde(default)]
    pub tx_queues: u16,
    /// Sentence that tells which worker polls which queue, and who shares with whom.
    #[serde(default)]
    pub queue_plan: String,
    /// Numbers of queues that the device has refused at the start, each with its cause.
    #[serde(default)]
    pub queue_refusals: Vec<String>,
    /// Spread of flows over the receive queues, as the device tells it; `null` where it does not spread them.
    #[serde(default)]
    pub rss_state: Option<RssState>,
    /// State of the device; `running` from an appliance that does not watch it.
    #[serde(default)]
    pub state: PortState,
    /// Number of times that the device was reset because it asked for it.
    #[serde(default)]
    pub resets: u64,
    /// Number of times that the link went down.
    #[serde(default)]
    pub link_losses: u64,
    /// Members of a bond; left out for other devices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<PortMember>,
}

/// Member of a bond.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMember {
    /// Name of the member: its PCI address, or that of a virtual device.
    pub name: String,
    /// True if the link is up.
    pub link_up: bool,
}

/// State of a port's device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortState {
    /// Workers poll the device.
    #[default]
    Running,
    /// The device has asked for a reset, and workers keep away until it is done.
    Resetting,
    /// The device is gone, and workers go on without it.
    Removed,
}

/// Spread of flows over the receive queues of a device, by a hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RssState {
    /// Types of frames that are hashed, in DPDK's words.
    pub types: Vec<String>,
    /// True if both directions of a flow come by one queue; `null` where the device does not tell its key.
    pub symmetric: Option<bool>,
    /// Number of the redirection table's entries that lead to each receive queue; `null` where the device does not tell.
    pub table_entries: Option<Vec<u16>>,
    /// Cause for which the device has not taken an even table; `null` where it has one.
    pub table_refusal: Option<String>,
}

/// State of a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Worker {
    /// Number of the worker, from 0.
    pub number: u16,
    /// Core that the worker is pinned to.
    pub core: u32,
    /// NUMA node of the core; `null` where the kernel does not tell.
    #[serde(default)]
    pub node: Option<u32>,
    /// State of the worker: running or stalled.
    pub state: WorkerState,
    /// Polls of the ports: the worker's heartbeat.
    pub polls: u64,
    /// Share of the latest polls that found a frame.
    pub busy_share: f64,
    /// Share of the latest packets of all workers.
    #[serde(default)]
    pub packet_share: f64,
    /// Queues of each port, in the order of the configuration.
    #[serde(default)]
    pub queues: Vec<WorkerQueues>,
}

/// Queues of one port that a worker polls and sends by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerQueues {
    /// Name of the port.
    pub port: String,
    /// Receive queue that the worker polls; `null` where other workers hand it its share.
    pub rx_queue: Option<u16>,
    /// Workers that it hands a share of its receive queue to.
    pub shares_with: Vec<u16>,
    /// Workers that hand it a share of their receive queues.
    pub receives_from: Vec<u16>,
    /// Transmit queue that the worker fills; `null` where another worker sends its frames.
    pub tx_queue: Option<u16>,
    /// Worker that sends its frames; `null` where it has a transmit queue.
    pub sends_by: Option<u16>,
}

/// State of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// The worker polls.
    Running,
    /// The worker has not polled for a while.
    Stalled,
}

/// State of a backend service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Name of the service.
    pub name: String,
    /// Network of the service; absent where the appliance is in one network alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Configured backends.
    pub backends: u32,
    /// Configured backends that are healthy.
    pub healthy: u32,
    /// True if a backend of the service has been healthy since the service was configured.
    #[serde(default = "yes")]
    pub ever_healthy: bool,
    /// Configured backends that the operator has drained.
    #[serde(rename = "drained")]
    pub operator_drained: u32,
    /// Configured backends that may receive new connections.
    pub eligible: u32,
    /// Pool that serves; `null` in a service without failover groups, or where none has served yet.
    pub pool: Option<Pool>,
    /// True if every backend that passes its health checks sends a weight, and none sends an unreadable one; else all
    /// weights are equal. `null` where weights don't come from health checks.
    pub weights_valid: Option<bool>,
    /// Digest of the lookup table's content and of the size of its subsets, in hexadecimal: appliances of a fleet with the same digest choose alike.
    pub lookup_table_digest: String,
}

/// Value of a flag that an older appliance does not tell.
const fn yes() -> bool {
    true
}
