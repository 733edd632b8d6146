//! Requests to the running appliance, and the reasons why it may refuse them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use guideway_dataplane::verdict::{DropReason, PassReason};
use guideway_model::config::{ConfigErrors, Sources, VipRange};
use guideway_model::flow_text::FlowText;
use guideway_model::removals::Removals;
use guideway_model::service::UnknownName;
use tokio::sync::{mpsc, oneshot};

use super::packet_filter::PacketFilter;
use super::view::{
    Backend, BackendList, BackendProbes, ConntrackList, ConntrackLookup, Drain, EventList, Explained,
    NeighborReplies, Plan, Reload, Remaining, RingList, RingQuery, RuleList, ServiceList, Stats, Status,
    Stopping, Undrained, Vip, VipList, Xstats,
};

/// Channel for one answer; a receiver that is gone by then is no error.
pub type Reply<T> = oneshot::Sender<Result<T, Refused>>;

/// A question or a command, with the channel for its answer.
#[derive(Debug)]
pub enum Request {
    /// Asks for the appliance's identity and state.
    Status {
        /// Channel for the status.
        reply: Reply<Status>,
    },
    /// Asks for all counters.
    Stats {
        /// Channel for the counters.
        reply: Reply<Stats>,
    },
    /// Asks for the counters of the drivers, which have names of their own.
    Xstats {
        /// Channel for the counters.
        reply: Reply<Xstats>,
    },
    /// Lists backend services with their traffic.
    ServiceList {
        /// Channel for the list.
        reply: Reply<ServiceList>,
    },
    /// Lists forwarding rules with their traffic.
    RuleList {
        /// Channel for the list.
        reply: Reply<RuleList>,
    },
    /// Lists tracked connections.
    ConntrackList {
        /// Service to list; all without it.
        service: Option<String>,
        /// Backend to list; all without it.
        backend: Option<String>,
        /// Largest number of entries; the answer tells how many match.
        limit: usize,
        /// Channel for the list.
        reply: Reply<ConntrackList>,
    },
    /// Looks up the entry that a packet of a flow would find.
    ConntrackGet {
        /// Flow to look up.
        flow: FlowText,
        /// Network of the flow; the first without it.
        network: Option<String>,
        /// Channel for the flow's entry.
        reply: Reply<ConntrackLookup>,
    },
    /// Lists backends.
    BackendList {
        /// Service to list; all without it.
        service: Option<String>,
        /// Channel for the list.
        reply: Reply<BackendList>,
    },
    /// Asks for the state of one backend.
    BackendGet {
        /// Service of the backend.
        service: String,
        /// Name of the backend.
        backend: String,
        /// Channel for the backend.
        reply: Reply<Backend>,
    },
    /// Counts the tracked connections and sessions of a backend.
    BackendRemaining {
        /// Service of the backend.
        service: String,
        /// Name of the backend.
        backend: String,
        /// Channel for the numbers.
        reply: Reply<Remaining>,
    },
    /// Probes a backend once through each rule, beside the schedule.
    BackendProbe {
        /// Service of the backend.
        service: String,
        /// Name of the backend.
        backend: String,
        /// Channel for the results.
        reply: Reply<BackendProbes>,
    },
    /// Drains a backend: no new connections, tracked ones go on. Draining one twice is no error.
    BackendDrain {
        /// Service of the backend.
        service: String,
        /// Name of the backend.
        backend: String,
        /// Time after which tracked connections and sessions end; without one, an earlier drain's holds.
        deadline: Option<Duration>,
        /// Channel for the backend as it is afterwards.
        reply: Reply<Backend>,
    },
    /// Undrains a backend: new connections again. Undraining one that is not drained is no error.
    BackendUndrain {
        /// Service of the backend.
        service: String,
        /// Name of the backend.
        backend: String,
        /// Channel for the backend as it is afterwards.
        reply: Reply<Backend>,
    },
    /// Resets a backend: takes back its drain and the weight that an operator has set.
    BackendReset {
        /// Service of the backend.
        service: String,
        /// Name of the backend.
        backend: String,
        /// Channel for the backend as it is afterwards.
        reply: Reply<Backend>,
    },
    /// Sets a backend's weight, until a reload changes the configured one.
    BackendSetWeight {
        /// Service of the backend.
        service: String,
        /// Name of the backend.
        backend: String,
        /// New weight, at most [`MAX_WEIGHT`](guideway_model::config::MAX_WEIGHT).
        weight: u16,
        /// Channel for the backend as it is afterwards.
        reply: Reply<Backend>,
    },
    /// Lists the VIPs.
    VipList {
        /// Channel for the list.
        reply: Reply<VipList>,
    },
    /// Starts to answer ARP and neighbour discovery for a VIP, and tells its neighbours.
    VipAnnounce {
        /// Address or prefix of the VIP.
        address: VipRange,
        /// Network of the VIP; the only one that has it without it.
        network: Option<String>,
        /// Channel for the VIP as it is afterwards.
        reply: Reply<Vip>,
    },
    /// Stops answering ARP and neighbour discovery for a VIP.
    VipWithdraw {
        /// Address or prefix of the VIP.
        address: VipRange,
        /// Network of the VIP; the only one that has it without it.
        network: Option<String>,
        /// Channel for the VIP as it is afterwards.
        reply: Reply<Vip>,
    },
    /// Captures packets that end for these reasons, and agree with a filter.
    ///
    /// Each item that is sent to `blocks` is a whole number of pcapng blocks, the section header first, so
    /// that a file is whole wherever the capture ends. The capture ends when either side drops its end: the
    /// supervisor after `packets`, the server when the time is over or the client has gone. A full channel is
    /// no reason to wait: what does not fit is lost, and counted by the writer.
    Capture {
        /// Reasons for which a packet is captured, none twice; of none, packets of every end that agree with the filter.
        reasons: Vec<CaptureReason>,
        /// Packets that are captured.
        filter: PacketFilter,
        /// Copies of a packet that is forwarded or answered; without it, both of a forwarded packet, if such are captured, and
        /// otherwise what is sent.
        copies: Option<Copies>,
        /// Largest number of packets; 1 or more.
        packets: Option<u64>,
        /// Channel for the pcapng blocks.
        blocks: mpsc::Sender<Bytes>,
        /// Channel that tells that the capture has begun; before the first block.
        reply: Reply<()>,
    },
    /// Watches tracked connections, by packets that are forwarded: each item that is sent to `lines` is a JSON line, once a
    /// second. The watch ends when either side drops its end.
    ConntrackWatch {
        /// Packets that are watched.
        filter: PacketFilter,
        /// Number of lines after which the watch ends; 1 or more.
        count: Option<u64>,
        /// Channel for the lines.
        lines: mpsc::Sender<Bytes>,
        /// Channel that tells that the watch has begun; before the first line.
        reply: Reply<()>,
    },
    /// Traces packets through every stage: each item that is sent to `lines` is a JSON line, one a packet. The trace ends when
    /// either side drops its end.
    Trace {
        /// Packets that are traced.
        filter: PacketFilter,
        /// Number of packets after which the trace ends; 1 or more.
        count: u64,
        /// Channel for the lines.
        lines: mpsc::Sender<Bytes>,
        /// Channel that tells that the trace has begun; before the first line.
        reply: Reply<()>,
    },
    /// Lists events.
    Events {
        /// Largest number of events.
        limit: usize,
        /// Number of an event: lists the first events after it, instead of the latest.
        after: Option<u64>,
        /// Channel for the list.
        reply: Reply<EventList>,
    },
    /// Says what a reload would change, and what would become of tracked connections; changes nothing.
    Plan {
        /// New configuration; the appliance's own file without it.
        config: Option<Sources>,
        /// Channel for the plan.
        reply: Reply<Plan>,
    },
    /// Explains where the first packet of a flow would go now, and why.
    Explain {
        /// Flow to explain.
        flow: FlowText,
        /// Network of the flow; the first without it.
        network: Option<String>,
        /// Backends that count as unhealthy, each with its service.
        unhealthy: Vec<BackendName>,
        /// Channel for the explanation.
        reply: Reply<Explained>,
    },
    /// Shows lookup tables as they are now.
    Ring {
        /// Tables that are shown, and the parts of them.
        query: RingQuery,
        /// Backends that count as unhealthy, each with its service.
        unhealthy: Vec<BackendName>,
        /// Channel for the tables.
        reply: Reply<RingList>,
    },
    /// Reads the configuration file again and takes it over whole, or not at all.
    Reload {
        /// True if removals of every rule, or of most backends, are meant.
        confirms_removals: bool,
        /// Channel for the list of changes.
        reply: Reply<Reload>,
    },
    /// Withdraws all announcements, and waits until no packet is forwarded any more. The reply comes at once; asking
    /// again changes deadline and end.
    Drain {
        /// Longest wait for the end of traffic.
        deadline: Duration,
        /// True if the appliance stops after the drain.
        stop: bool,
        /// Channel for the state of the drain.
        reply: Reply<Drain>,
    },
    /// Undrains the appliance: it serves again.
    Undrain {
        /// Channel that tells if the appliance was drained.
        reply: Reply<Undrained>,
    },
    /// Stops the appliance in good order: withdraws what it announced, then ends. The reply comes before the
    /// end.
    Stop {
        /// Channel for the process that ends.
        reply: Reply<Stopping>,
    },
}

/// Name of a backend and of its service: `web/web-1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendName {
    /// Name of the service.
    pub service: String,
    /// Name of the backend.
    pub backend: String,
}

impl FromStr for BackendName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (service, backend) =
            text.split_once('/').ok_or_else(|| format!("`{text}` is not of the form SERVICE/BACKEND"))?;
        Ok(Self { service: service.to_owned(), backend: backend.to_owned() })
    }
}

impl fmt::Display for BackendName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.backend)
    }
}

/// Copies of a packet that a capture holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copies {
    /// Packets as they were received.
    Received,
    /// Packets as they are sent; those that are passed or dropped are left out.
    Sent,
    /// Packets as they were received and as they are sent.
    Both,
}

impl Copies {
    /// Choices, each with its word below.
    pub const ALL: [Self; 3] = [Self::Received, Self::Sent, Self::Both];

    /// Word that the command line and the admin interface take.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Sent => "sent",
            Self::Both => "both",
        }
    }
}

impl FromStr for Copies {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|copies| copies.as_str() == word);
        found.ok_or_else(|| format!("`{word}` is none of `received`, `sent` and `both`"))
    }
}

/// End of a packet, for which it is captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptureReason {
    /// The packet went to a backend.
    Forward,
    /// The packet was not for a forwarding rule.
    Pass(PassReason),
    /// The packet was dropped.
    Drop(DropReason),
}

impl CaptureReason {
    /// Lists every reason: to forward, then those to pass, then those to drop.
    pub fn all() -> impl Iterator<Item = Self> {
        let pass = PassReason::ALL.iter().map(|reason| Self::Pass(*reason));
        std::iter::once(Self::Forward)
            .chain(pass)
            .chain(DropReason::ALL.iter().map(|reason| Self::Drop(*reason)))
    }

    /// Stable word that captures, metrics and tools show.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Pass(reason) => reason.as_str(),
            Self::Drop(reason) => reason.as_str(),
        }
    }
}

impl fmt::Display for CaptureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Error: a word names no end of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownReason(pub String);

impl fmt::Display for UnknownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known: Vec<_> = CaptureReason::all().map(CaptureReason::as_str).collect();
        write!(f, "`{}` is no reason; write `pass`, `drop` or some of {}", self.0, known.join(", "))
    }
}

impl std::error::Error for UnknownReason {}

impl FromStr for CaptureReason {
    type Err = UnknownReason;

    fn from_str(word: &str) -> Result<Self, UnknownReason> {
        Self::all().find(|reason| reason.as_str() == word).ok_or_else(|| UnknownReason(word.to_owned()))
    }
}

/// Reasons read from a list of words: `ttl_expired,no_headroom`; `pass` and `drop` are all of their kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaptureReasons(Vec<CaptureReason>);

impl CaptureReasons {
    /// Joins the reasons of several lists, each once.
    pub fn together(lists: &[Self]) -> Vec<CaptureReason> {
        let mut reasons = Vec::new();
        for reason in lists.iter().flat_map(|list| &list.0) {
            if !reasons.contains(reason) {
                reasons.push(*reason);
            }
        }
        reasons
    }
}

impl FromStr for CaptureReasons {
    type Err = UnknownReason;

    fn from_str(list: &str) -> Result<Self, UnknownReason> {
        let mut reasons = Vec::new();
        for word in list.split(',') {
            match word {
                "pass" => reasons.extend(PassReason::ALL.iter().map(|reason| CaptureReason::Pass(*reason))),
                "drop" => reasons.extend(DropReason::ALL.iter().map(|reason| CaptureReason::Drop(*reason))),
                word => reasons.push(word.parse()?),
            }
        }
        Ok(Self(reasons))
    }
}

/// Reasons why the appliance refuses a request; nothing has changed then.
#[derive(Clone, Debug)]
pub enum Refused {
    /// A service or a backend is neither configured nor draining.
    UnknownName(UnknownName),
    /// An address or a prefix is no VIP.
    UnknownVip(VipRange),
    /// An address or a prefix is a VIP of several networks, and none of them was named.
    AmbiguousVip(VipRange),
    /// A backend is no longer configured: it drains anyway, and nothing about it can be changed.
    BackendRemoved {
        /// Service of the backend.
        service: String,
        /// Name of the backend.
        backend: String,
    },
    /// A weight would change nothing: the service does not choose by weight.
    ServiceNotWeighted(String),
    /// A VIP cannot be announced or withdrawn: by its configuration, it is answered for always or never.
    VipNotAnnounceable {
        /// Address or prefix of the VIP.
        address: VipRange,
        /// Configured `neighbor_replies` of the VIP.
        neighbor_replies: NeighborReplies,
    },
    /// Another capture, a watch of connections or a trace runs already.
    CaptureRunning,
    /// A filter has a name that nobody bears.
    UnknownAmong {
        /// Kind of the name: `service` or `backend`.
        kind: &'static str,
        /// Name.
        name: String,
        /// Names that there are.
        known: Vec<String>,
    },
    /// Several services have a backend of the name that a filter has, and none of them was named.
    AmbiguousBackend {
        /// Name of the backends.
        backend: String,
        /// Names of their services.
        services: Vec<String>,
    },
    /// Another list of connections is being made.
    ListRunning,
    /// The configuration has changed while the list was made, and numbers with it.
    ReloadedMeanwhile,
    /// As many plans and explanations are being made as may.
    WhatIfRunning,
    /// The file removes every rule, or most backends, and nobody has said that this is meant.
    RemovalsUnconfirmed(Removals),
    /// The configuration file is wrong.
    Config(ConfigErrors),
    /// The configuration file cannot be read.
    ConfigUnreadable {
        /// Path of the file.
        path: PathBuf,
        /// Cause, in words.
        error: String,
    },
    /// The appliance stops.
    Stopping,
}

impl From<UnknownName> for Refused {
    fn from(unknown: UnknownName) -> Self {
        Self::UnknownName(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_known_by_its_word() {
        assert_eq!("ttl_expired".parse(), Ok(CaptureReason::Drop(DropReason::TtlExpired)));
        assert_eq!("not_ip".parse(), Ok(CaptureReason::Pass(PassReason::NotIp)));
        let error = "ttl".parse::<CaptureReason>().unwrap_err().to_string();
        assert!(
            error.starts_with("`ttl` is no reason; write `pass`, `drop` or some of forward, "),
            "{error}"
        );
    }

    #[test]
    fn a_list_of_reasons_holds_each_once() {
        let lists = ["drop,ttl_expired".parse().unwrap(), "not_ip,no_headroom".parse().unwrap()];
        let reasons = CaptureReasons::together(&lists);
        assert_eq!(reasons.len(), DropReason::ALL.len() + 1);
        assert_eq!(reasons.last(), Some(&CaptureReason::Pass(PassReason::NotIp)));
        assert!("".parse::<CaptureReasons>().is_err());
    }
}
