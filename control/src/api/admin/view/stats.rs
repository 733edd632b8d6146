//! What the appliance has counted since it started.

use std::collections::BTreeMap;

use guideway_dataplane::counters::{ConntrackCounters, Counters};
use guideway_dataplane::traffic_counters::Volume;
use guideway_dataplane::verdict::{DropReason, PassReason};
use guideway_engine::counters::IoCounters;
use serde::{Deserialize, Serialize};

use crate::net::host_stack;

/// All counters. None goes back while the process runs; those of a rule, service or backend go with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// What all workers counted.
    pub total: PacketStats,
    /// What each worker counted, by its number.
    pub workers: Vec<WorkerStats>,
    /// What each device counted, in the order of the configuration.
    pub ports: Vec<PortStats>,
    /// By rule, in the order of the configuration.
    pub rules: Vec<RuleStats>,
    /// By service and name.
    pub services: Vec<ServiceStats>,
    /// By service and name, the draining ones too.
    pub backends: Vec<BackendStats>,
    /// What connection tracking did.
    pub conntrack: ConntrackStats,
    /// What the appliance did as a host on its links.
    pub host_stack: HostStackStats,
}

/// Packets, and the bytes of their frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// How many packets.
    pub packets: u64,
    /// Bytes of their frames: offered ones as they came in, forwarded ones as they are sent.
    pub bytes: u64,
}

/// What became of packets: `offered` = `forwarded` + all of `passed` + all of `dropped`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketStats {
    /// Packets that came in.
    pub offered: u64,
    /// Packets that went to a backend.
    pub forwarded: u64,
    /// Packets that weren't ours, by reason.
    pub passed: BTreeMap<String, u64>,
    /// Packets that ended here, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Packets forwarded though they exceed the path's MTU and will be fragmented on it.
    pub exceeding_mtu: u64,
    /// ICMP errors.
    pub icmp_errors: IcmpErrorStats,
    /// What happened between ports and data plane.
    pub link: LinkStats,
}

/// What became of ICMP errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IcmpErrorStats {
    /// Sent, because a packet was too big.
    pub sent: u64,
    /// Not sent, by the limit or because none may answer that packet.
    pub suppressed: u64,
    /// Received, and steered by the packet that they quote.
    pub steered: u64,
}

/// What happened to frames between ports and data plane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkStats {
    /// Frames that a port took to send: forwarded ones, ICMP errors, and the appliance's own.
    pub sent: u64,
    /// Frames lost because a port's transmit queue stayed full.
    pub tx_full: u64,
    /// Passed frames lost because too many waited for the host stack.
    pub host_full: u64,
    /// Frames that came in and that the driver could not hand on.
    pub refused: u64,
}

/// What one worker counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerStats {
    /// Its number.
    pub number: u16,
    /// How often it has polled its ports.
    pub polls: u64,
    /// Of these, how often it found a frame.
    pub busy_polls: u64,
    /// What became of its packets.
    #[serde(flatten)]
    pub packets: PacketStats,
    /// What connection tracking did for them.
    pub conntrack: ConntrackCounts,
}

/// What a device counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortStats {
    /// The port's name.
    pub name: String,
    /// Packets received.
    pub received: u64,
    /// Packets sent.
    pub sent: u64,
    /// Packets lost by the device because no worker took them in time.
    pub missed: u64,
    /// Packets received with errors.
    pub rx_errors: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
    /// Packets lost because there was no buffer for them.
    pub no_mbuf: u64,
}

/// What went through a forwarding rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleStats {
    /// Its name.
    pub name: String,
    /// Its service.
    pub service: String,
    /// Its packets, whatever became of them.
    #[serde(flatten)]
    pub offered: Traffic,
}

/// What went through a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStats {
    /// Its name.
    pub name: String,
    /// Packets of its rules, whatever became of them.
    pub offered: Traffic,
    /// Packets that went to its backends.
    pub forwarded: Traffic,
}

/// What went to a backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendStats {
    /// Its service.
    pub service: String,
    /// Its name.
    pub name: String,
    /// Packets that went to it.
    #[serde(flatten)]
    pub forwarded: Traffic,
}

/// The conntrack table, and what connection tracking did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConntrackStats {
    /// The connections that the table was made for; it has half as many places again.
    pub capacity: u64,
    /// Entries, void ones that have not been swept included, as they were when they were last counted.
    pub entries: u64,
    /// What all workers counted.
    #[serde(flatten)]
    pub counts: ConntrackCounts,
}

/// What connection tracking did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConntrackCounts {
    /// A valid entry decided.
    pub hits: u64,
    /// An entry was made, or replaced under its own key.
    pub inserts: u64,
    /// Of these, how many pushed out another connection's entry that was void or idle too long.
    pub evicted_void: u64,
    /// Of these, how many pushed out another connection's half-open entry.
    pub evicted_half_open: u64,
    /// No room for an entry: forwarded by its hash alone.
    pub full: u64,
    /// Packets that are not tracked.
    pub untracked: u64,
}

/// What the appliance did as a host on its links.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStackStats {
    /// Frames that came in, by kind.
    pub received: BTreeMap<String, u64>,
    /// Questions and echo requests that were answered.
    pub answered: u64,
    /// Questions for a VIP that were not answered, as the operator set it.
    pub withheld: u64,
    /// Questions, queries and echo requests that were not answered, for the limit of answers in a second.
    pub limited: u64,
    /// Questions that were sent to neighbours.
    pub probes: u64,
    /// Announcements that were sent.
    pub announcements: u64,
    /// Reports of the IPv6 groups that the appliance listens to that were sent.
    pub group_reports: u64,
    /// Frames of the appliance's own that were lost because too many waited to be sent.
    pub queue_full: u64,
}

impl PacketStats {
    /// What these counters say.
    pub fn new(counters: &Counters, link: &IoCounters) -> Self {
        Self {
            offered: counters.offered,
            forwarded: counters.forwarded,
            passed: by_word(PassReason::ALL.iter().map(|reason| reason.as_str()), &counters.passed),
            dropped: by_word(DropReason::ALL.iter().map(|reason| reason.as_str()), &counters.dropped),
            exceeding_mtu: counters.exceeding_mtu,
            icmp_errors: IcmpErrorStats {
                sent: counters.icmp_errors_sent,
                suppressed: counters.icmp_errors_suppressed,
                steered: counters.icmp_errors_steered,
            },
            link: LinkStats {
                sent: link.sent,
                tx_full: link.tx_full,
                host_full: link.host_full,
                refused: link.refused,
            },
        }
    }
}

impl From<&ConntrackCounters> for ConntrackCounts {
    fn from(counters: &ConntrackCounters) -> Self {
        let ConntrackCounters { hits, inserts, evicted_void, evicted_half_open, full, untracked, .. } =
            *counters;
        Self { hits, inserts, evicted_void, evicted_half_open, full, untracked }
    }
}

impl From<&host_stack::Counters> for HostStackStats {
    fn from(counters: &host_stack::Counters) -> Self {
        let kinds = host_stack::FrameKind::ALL.iter().map(|kind| kind.as_str());
        Self {
            received: by_word(kinds, &counters.received),
            answered: counters.answered,
            withheld: counters.withheld,
            limited: counters.limited,
            probes: counters.probes,
            announcements: counters.announcements,
            group_reports: counters.group_reports,
            queue_full: counters.queue_full,
        }
    }
}

impl From<Volume> for Traffic {
    fn from(volume: Volume) -> Self {
        Self { packets: volume.packets, bytes: volume.bytes }
    }
}

/// Counts under their words.
fn by_word(words: impl Iterator<Item = &'static str>, counts: &[u64]) -> BTreeMap<String, u64> {
    words.map(str::to_owned).zip(counts.iter().copied()).collect()
}
