//! Counters of the appliance since it started.

use std::collections::BTreeMap;

use guideway_dataplane::counters::{ConntrackCounters, Counters};
use guideway_dataplane::traffic_counters::{self, Volume};
use guideway_dataplane::verdict::{DropReason, PassReason};
use guideway_engine::counters::IoCounters;
use guideway_model::path_mtu::TunnelErrorCounts;
use guideway_model::recent_traffic;
use serde::{Deserialize, Serialize};

use crate::net::host_stack;

/// All counters. None decreases while the process runs; those of a rule, service or backend are removed with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Packet counters of all workers together.
    pub total: PacketStats,
    /// Rates of the packets of all rules; zero from an appliance that has none.
    #[serde(default)]
    pub rates: Rates,
    /// Counters of each worker, by number.
    pub workers: Vec<WorkerStats>,
    /// Counters of each device, in the order of the configuration.
    pub ports: Vec<PortStats>,
    /// Counters of each rule, in the order of the configuration.
    pub rules: Vec<RuleStats>,
    /// Counters of each service, by name.
    pub services: Vec<ServiceStats>,
    /// Counters of each backend, by service and name, the draining ones too.
    pub backends: Vec<BackendStats>,
    /// Counters of each access list, in the order of the configuration.
    #[serde(default)]
    pub access_lists: Vec<AccessListStats>,
    /// Counters of connection tracking.
    pub conntrack: ConntrackStats,
    /// Counters of the appliance as a host on its links.
    pub host_stack: HostStackStats,
    /// Counters of ICMP errors about the appliance's own tunnel packets.
    pub tunnel_errors: TunnelErrorStats,
}

/// Counters of an access list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessListStats {
    /// Name of the list.
    pub name: String,
    /// Packets that the list admitted.
    pub admitted: u64,
    /// Packets that the list denied, and that were dropped.
    pub denied: u64,
}

/// Counters of ICMP errors about the appliance's own tunnel packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelErrorStats {
    /// Errors that lowered the MTU of a path.
    pub learnt: u64,
    /// Errors that told of a backend that tunnel packets did not reach.
    pub unreachable: u64,
    /// Errors that no packet of the appliance can have caused, that taught nothing new, or that were too many.
    pub ignored: u64,
}

/// Packets, and the bytes of their frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Number of packets.
    pub packets: u64,
    /// Bytes of the frames: offered ones as they came in, forwarded ones as they are sent.
    pub bytes: u64,
}

/// Traffic a second, over the last ten seconds; zero from an appliance that has no rates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rates {
    /// Packets a second.
    pub packets_per_sec: f64,
    /// Bytes of their frames a second.
    pub bytes_per_sec: f64,
    /// New connections a second.
    pub new_connections_per_sec: f64,
}

/// Connections that have begun, and rates; zero from an appliance that does not count them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Arrivals {
    /// Conntrack entries made for a packet, or replaced under their own key: connections that have begun, or sessions.
    pub new_connections: u64,
    /// Traffic a second.
    #[serde(flatten)]
    pub rates: Rates,
}

/// Packet counters by verdict: `offered` = `forwarded` + all of `passed` + all of `dropped`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketStats {
    /// Packets that came in.
    pub offered: u64,
    /// Packets that went to a backend.
    pub forwarded: u64,
    /// Packets that were not for a forwarding rule, by reason.
    pub passed: BTreeMap<String, u64>,
    /// Packets dropped, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Packets forwarded though they exceed the path's MTU and will be fragmented on it.
    pub exceeding_mtu: u64,
    /// Packets forwarded whose tunnel packet left in fragments.
    pub fragmented: u64,
    /// Counters of ICMP errors.
    pub icmp_errors: IcmpErrorStats,
    /// Counters of later fragments.
    pub fragments: FragmentStats,
    /// Counters of frames between ports and data plane.
    pub link: LinkStats,
}

/// Counters of ICMP errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IcmpErrorStats {
    /// ICMP errors sent because a packet was too big.
    pub sent: u64,
    /// ICMP errors not sent, by the limit or because none may answer that packet.
    pub suppressed: u64,
    /// ICMP errors received, and steered by the packet that they quote.
    pub steered: u64,
}

/// Counters of later fragments of TCP and UDP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FragmentStats {
    /// Later fragments that went where the first of their datagram had gone.
    pub followed: u64,
    /// Later fragments for a VIP or a route whose first the worker had not forwarded within the time.
    pub first_unseen: u64,
}

/// Counters of frames between ports and data plane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkStats {
    /// Frames that a port took to send: forwarded ones, ICMP errors, and the appliance's own.
    pub sent: u64,
    /// Frames lost because a port's transmit queue stayed full.
    pub tx_full: u64,
    /// Frames lost because the appliance has not opened the port that they were to leave by; 0 from an appliance that
    /// does not count them.
    #[serde(default)]
    pub unknown_egress_port: u64,
    /// Passed frames lost because too many waited for the host stack.
    pub host_full: u64,
    /// Frames received that the driver could not hand on.
    pub refused: u64,
    /// Frames received in several buffers and joined in one; 0 from an appliance that does not count them.
    #[serde(default)]
    pub joined: u64,
    /// Fragments that tunnel packets were cut into, each a frame to be sent.
    pub fragments: u64,
    /// Packets lost because there was no memory for their fragments.
    pub no_fragment_memory: u64,
}

/// Counters of one worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerStats {
    /// Number of the worker.
    pub number: u16,
    /// Polls of the ports.
    pub polls: u64,
    /// Polls that found a frame.
    pub busy_polls: u64,
    /// Packet counters of the worker.
    #[serde(flatten)]
    pub packets: PacketStats,
    /// Connection tracking counters of the worker.
    pub conntrack: ConntrackCounts,
}

/// Counters of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortStats {
    /// Name of the port.
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

/// Counters of the drivers, which have names of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Xstats {
    /// Ports, in the order of the configuration.
    pub ports: Vec<PortXstats>,
}

/// Counters of the driver of one port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortXstats {
    /// Name of the port.
    pub name: String,
    /// Counters by the driver's names, those with zero too.
    pub counters: BTreeMap<String, u64>,
}

/// Counters of one forwarding rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RuleStats {
    /// Name of the rule.
    pub name: String,
    /// Service of the rule.
    pub service: String,
    /// Packets of the rule, whatever became of them.
    #[serde(flatten)]
    pub offered: Traffic,
    /// New connections and rates of those packets.
    #[serde(flatten)]
    pub arrivals: Arrivals,
}

/// Counters of one service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceStats {
    /// Name of the service.
    pub name: String,
    /// Packets of the service's rules, whatever became of them.
    pub offered: Traffic,
    /// Packets that went to the service's backends.
    pub forwarded: Traffic,
    /// Entries of the conntrack table that name its backends; 0 from an appliance that does not count them.
    #[serde(default)]
    pub connections: u64,
    /// New connections and rates of the packets of its rules.
    #[serde(flatten)]
    pub arrivals: Arrivals,
}

/// Counters of one backend.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BackendStats {
    /// Service of the backend.
    pub service: String,
    /// Name of the backend.
    pub name: String,
    /// Packets that went to the backend.
    #[serde(flatten)]
    pub forwarded: Traffic,
    /// Entries of the conntrack table that name the backend; 0 from an appliance that does not count them.
    #[serde(default)]
    pub connections: u64,
    /// New connections and rates of those packets.
    #[serde(flatten)]
    pub arrivals: Arrivals,
}

/// Size of the conntrack table, and counters of connection tracking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConntrackStats {
    /// Connections that the table was made for; it has half as many slots again.
    pub capacity: u64,
    /// Entries when they were last counted, void ones that have not been swept included.
    pub entries: u64,
    /// Connection tracking counters of all workers together.
    #[serde(flatten)]
    pub counts: ConntrackCounts,
}

/// Counters of connection tracking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConntrackCounts {
    /// Packets that a valid entry decided.
    pub hits: u64,
    /// Entries made, or replaced under their own key.
    pub inserts: u64,
    /// Inserts that pushed out another connection's entry that was void or idle too long.
    pub evicted_void: u64,
    /// Inserts that pushed out another connection's half-open entry.
    pub evicted_half_open: u64,
    /// Inserts that pushed out another connection's entry after its FIN or RST.
    pub evicted_closed: u64,
    /// Inserts that pushed out another connection's entry, all of whose packets had come within a second.
    pub evicted_unconfirmed: u64,
    /// Packets forwarded by their hash alone, for want of room for an entry.
    pub full: u64,
    /// Packets forwarded by their hash alone, as a limit of new connections was reached.
    #[serde(default)]
    pub limited: u64,
    /// SYNs on established connections that went to the connection's backend, by `protect_established`.
    #[serde(default)]
    pub protected: u64,
    /// Packets that are not tracked.
    pub untracked: u64,
}

/// Counters of the appliance as a host on its links.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStackStats {
    /// Frames received for the host stack, by kind.
    pub received: BTreeMap<String, u64>,
    /// ARP and neighbour discovery questions and echo requests that were answered.
    pub answered: u64,
    /// Questions for a VIP left unanswered: it is withdrawn, or never answered for.
    pub withheld: u64,
    /// Questions, queries and echo requests that were not answered because of the limit of answers per second.
    pub limited: u64,
    /// ARP and neighbour discovery questions sent to neighbours.
    pub probes: u64,
    /// Announcements of addresses sent.
    pub announcements: u64,
    /// Announcements sent that defended an address which another host had claimed.
    #[serde(default)]
    pub defences: u64,
    /// Neighbours whose MAC address has changed.
    #[serde(default)]
    pub neighbor_changes: u64,
    /// Claims to a neighbour's address that were refused, as the known MAC address answered.
    #[serde(default)]
    pub refused_claims: u64,
    /// Reports sent of the IPv6 groups that the appliance listens to.
    pub group_reports: u64,
    /// Frames of the appliance's own that were lost because too many waited to be sent.
    pub queue_full: u64,
}

impl PacketStats {
    /// Reads the counters of the data plane and of the I/O.
    pub fn new(counters: &Counters, io: &IoCounters) -> Self {
        Self {
            offered: counters.offered,
            forwarded: counters.forwarded,
            passed: by_word(PassReason::ALL.iter().map(|reason| reason.as_str()), &counters.passed),
            dropped: by_word(DropReason::ALL.iter().map(|reason| reason.as_str()), &counters.dropped),
            exceeding_mtu: counters.exceeding_mtu,
            fragmented: counters.fragmented,
            icmp_errors: IcmpErrorStats {
                sent: counters.icmp_errors_sent,
                suppressed: counters.icmp_errors_suppressed,
                steered: counters.icmp_errors_steered,
            },
            fragments: FragmentStats {
                followed: counters.fragments_followed,
                first_unseen: counters.fragments_first_unseen,
            },
            link: LinkStats {
                sent: io.sent,
                tx_full: io.tx_full,
                unknown_egress_port: io.unknown_egress_port,
                fragments: io.fragments,
                no_fragment_memory: io.no_fragment_memory,
                host_full: io.host_full,
                refused: io.refused,
                joined: io.joined,
            },
        }
    }
}

impl From<&ConntrackCounters> for ConntrackCounts {
    fn from(counters: &ConntrackCounters) -> Self {
        let ConntrackCounters {
            hits,
            inserts,
            evicted_void,
            evicted_half_open,
            evicted_closed,
            evicted_unconfirmed,
            full,
            limited,
            protected,
            untracked,
            ..
        } = *counters;
        Self {
            hits,
            inserts,
            evicted_void,
            evicted_half_open,
            evicted_closed,
            evicted_unconfirmed,
            full,
            limited,
            protected,
            untracked,
        }
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
            defences: counters.defences,
            neighbor_changes: counters.neighbour_changes,
            refused_claims: counters.refused_claims,
            group_reports: counters.group_reports,
            queue_full: counters.queue_full,
        }
    }
}

impl From<TunnelErrorCounts> for TunnelErrorStats {
    fn from(counts: TunnelErrorCounts) -> Self {
        let TunnelErrorCounts { learnt, unreachable, ignored } = counts;
        Self { learnt, unreachable, ignored }
    }
}

impl From<Volume> for Traffic {
    fn from(volume: Volume) -> Self {
        Self { packets: volume.packets, bytes: volume.bytes }
    }
}

impl Arrivals {
    /// Arrivals of some traffic, at these rates.
    pub fn new(traffic: traffic_counters::Traffic, rates: recent_traffic::Rates) -> Self {
        Self { new_connections: traffic.new_connections, rates: rates.into() }
    }
}

impl From<recent_traffic::Rates> for Rates {
    fn from(rates: recent_traffic::Rates) -> Self {
        let recent_traffic::Rates { packets, bytes, new_connections } = rates;
        Self { packets_per_sec: packets, bytes_per_sec: bytes, new_connections_per_sec: new_connections }
    }
}

/// Puts counts under their words.
fn by_word(words: impl Iterator<Item = &'static str>, counts: &[u64]) -> BTreeMap<String, u64> {
    words.map(str::to_owned).zip(counts.iter().copied()).collect()
}
