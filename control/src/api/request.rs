//! What an operator asks of the running appliance, and why it may refuse.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use guideway_dataplane::verdict::{DropReason, PassReason};
use guideway_model::config::ConfigErrors;
use guideway_model::flow_text::FlowText;
use guideway_model::service::UnknownName;
use tokio::sync::{mpsc, oneshot};

use super::view::{
    Backend, BackendList, ConntrackList, ConntrackLookup, Drain, EventList, NeighborReplies, Reload, Stats,
    Status, Stopping, Undrained, Vip, VipList,
};

/// Where an answer goes. Whoever asked may be gone by then, which is no error.
pub type Reply<T> = oneshot::Sender<Result<T, Refused>>;

/// A question or a command, with the place for its answer.
#[derive(Debug)]
pub enum Request {
    /// What is the appliance, and how is it?
    Status {
        /// The answer.
        reply: Reply<Status>,
    },
    /// What has it counted?
    Stats {
        /// The answer.
        reply: Reply<Stats>,
    },
    /// Which connections does it track?
    ConntrackList {
        /// Those of this service alone.
        service: Option<String>,
        /// Those on backends of this name alone.
        backend: Option<String>,
        /// How many at most; the answer says how many there are.
        limit: usize,
        /// The answer.
        reply: Reply<ConntrackList>,
    },
    /// Which entry would a packet of this flow find?
    ConntrackGet {
        /// The flow.
        flow: FlowText,
        /// The answer.
        reply: Reply<ConntrackLookup>,
    },
    /// Which backends are there?
    BackendList {
        /// Those of this service alone.
        service: Option<String>,
        /// The answer.
        reply: Reply<BackendList>,
    },
    /// How is this backend?
    BackendGet {
        /// Its service.
        service: String,
        /// Its name.
        backend: String,
        /// The answer.
        reply: Reply<Backend>,
    },
    /// Gives a backend no new connections; those that it has go on. Draining one twice is no error.
    BackendDrain {
        /// Its service.
        service: String,
        /// Its name.
        backend: String,
        /// The backend afterwards.
        reply: Reply<Backend>,
    },
    /// Gives it new connections again. Undraining one that is not drained is no error.
    BackendUndrain {
        /// Its service.
        service: String,
        /// Its name.
        backend: String,
        /// The backend afterwards.
        reply: Reply<Backend>,
    },
    /// Gives it another weight, until a reload changes the configured one.
    BackendSetWeight {
        /// Its service.
        service: String,
        /// Its name.
        backend: String,
        /// The weight, at most [`MAX_WEIGHT`](guideway_model::config::MAX_WEIGHT).
        weight: u16,
        /// The backend afterwards.
        reply: Reply<Backend>,
    },
    /// Which VIPs are there, and who answers for them?
    VipList {
        /// The answer.
        reply: Reply<VipList>,
    },
    /// Begins to answer for a VIP, and tells its neighbours.
    VipAnnounce {
        /// The VIP.
        address: IpAddr,
        /// The VIP afterwards.
        reply: Reply<Vip>,
    },
    /// Ends to answer for a VIP.
    VipWithdraw {
        /// The VIP.
        address: IpAddr,
        /// The VIP afterwards.
        reply: Reply<Vip>,
    },
    /// Captures packets that end for these reasons.
    ///
    /// Each item that is sent to `blocks` is a whole number of pcapng blocks, the section header first, so
    /// that a file is whole wherever the capture ends. The capture ends when either side drops its end: the
    /// supervisor after `packets`, the server when the time is over or the client has gone. A full channel is
    /// no reason to wait: what does not fit is lost, and counted by the writer.
    Capture {
        /// Any of these; never empty, none twice.
        reasons: Vec<CaptureReason>,
        /// How many packets at most; 1 or more.
        packets: Option<u64>,
        /// Where the blocks go.
        blocks: mpsc::Sender<Bytes>,
        /// Whether the capture has begun; before the first block.
        reply: Reply<()>,
    },
    /// What has happened?
    Events {
        /// How many events at most.
        limit: usize,
        /// The first of those after this one, instead of the latest.
        after: Option<u64>,
        /// The answer.
        reply: Reply<EventList>,
    },
    /// Reads the configuration file again and takes it over whole, or not at all.
    Reload {
        /// What has changed.
        reply: Reply<Reload>,
    },
    /// Withdraws all announcements, and waits until no packet is forwarded any more. The reply comes at once; asking
    /// again changes deadline and end.
    Drain {
        /// How long one waits at most.
        deadline: Duration,
        /// Whether the appliance stops then.
        stop: bool,
        /// How far it is.
        reply: Reply<Drain>,
    },
    /// Has the appliance serve again.
    Undrain {
        /// Whether it was drained.
        reply: Reply<Undrained>,
    },
    /// Stops the appliance in good order: withdraws what it announced, then ends. The reply comes before the
    /// end.
    Stop {
        /// That it stops.
        reply: Reply<Stopping>,
    },
}

/// Why a packet is captured: it was passed or dropped for this reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptureReason {
    /// It wasn't ours.
    Pass(PassReason),
    /// It ended here.
    Drop(DropReason),
}

impl CaptureReason {
    /// Every reason, those to pass first.
    pub fn all() -> impl Iterator<Item = Self> {
        let pass = PassReason::ALL.iter().map(|reason| Self::Pass(*reason));
        pass.chain(DropReason::ALL.iter().map(|reason| Self::Drop(*reason)))
    }

    /// The stable word that captures, metrics and tools show.
    pub const fn as_str(self) -> &'static str {
        match self {
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

/// A word names no reason to pass or to drop a packet.
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

/// The reasons that a list of words names: `ttl_expired,no_headroom`; `pass` and `drop` are all of their
/// kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureReasons(Vec<CaptureReason>);

impl CaptureReasons {
    /// All reasons of several lists, each once.
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

/// Why the appliance does not do what it is asked to; nothing has changed then.
#[derive(Debug)]
pub enum Refused {
    /// A service or a backend is neither configured nor draining.
    UnknownName(UnknownName),
    /// An address is no VIP.
    UnknownVip(IpAddr),
    /// A backend is no longer configured: it drains anyway, and nothing about it can be changed.
    BackendRemoved {
        /// Its service.
        service: String,
        /// Its name.
        backend: String,
    },
    /// A weight would change nothing, for the service does not choose by weight.
    ServiceNotWeighted(String),
    /// A VIP is answered for always or never, as it is configured.
    VipNotAnnounceable {
        /// The VIP.
        address: IpAddr,
        /// What is configured.
        neighbor_replies: NeighborReplies,
    },
    /// As many captures run as may.
    CaptureRunning,
    /// Another list of connections is being made.
    ListRunning,
    /// The configuration has changed while the list was made, and numbers with it.
    ReloadedMeanwhile,
    /// The configuration file is wrong.
    Config(ConfigErrors),
    /// The configuration file cannot be read.
    ConfigUnreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
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
        assert!(error.starts_with("`ttl` is no reason; write `pass`, `drop` or some of not_ip, "), "{error}");
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
