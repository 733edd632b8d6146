//! The conntrack entry that a packet met, why it is valid or void, and what the packet did to the table.

use guideway_dataplane::conntrack::{Entry, Stage};
use guideway_dataplane::pipeline::{Connection, Tracking};
use guideway_dataplane::snapshot::EntryFault;
use guideway_dataplane::verdict::{DropReason, Verdict};
use serde::{Deserialize, Serialize};

use super::{Knowledge, Passage};

/// Conntrack entry that a packet met.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EntryStep {
    /// Result of the lookup.
    pub found: EntryFound,
    /// Hash of the tracked fields, in hexadecimal; it differs in every process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Backend that the entry names, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// Seconds since the connection's latest packet before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_sec: Option<u32>,
    /// State of the connection: `half_open`, `unconfirmed`, `established` or `closed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// True if the connection stays on its backend when that turns unhealthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persists: Option<bool>,
    /// Result and its reason, in words.
    pub words: String,
}

/// Result of the lookup of a packet's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryFound {
    /// Packets like this are not tracked.
    NotTracked,
    /// A SYN starts its connection anew, whatever entry there is.
    NotAsked,
    /// The connection has no entry.
    None,
    /// The entry is valid, and decides.
    Valid,
    /// The entry is void.
    Void,
}

impl EntryStep {
    pub(super) fn new(connection: &Connection, passage: &Passage<'_>, known: Knowledge<'_>) -> Self {
        let entry = connection.entry.as_ref();
        let found = match (connection.key, entry, connection.fault) {
            (None, ..) => EntryFound::NotTracked,
            _ if connection.restarts => EntryFound::NotAsked,
            (Some(_), None, _) => EntryFound::None,
            (Some(_), Some(_), None) => EntryFound::Valid,
            (Some(_), Some(_), Some(_)) => EntryFound::Void,
        };
        let backend = entry.and_then(|entry| known.backend_name(entry.backend));
        let words = match (found, entry) {
            (EntryFound::NotTracked, _) => "not looked for: such packets are not tracked".to_owned(),
            (EntryFound::NotAsked, None) => "none; a SYN starts its connection anew".to_owned(),
            (EntryFound::NotAsked, Some(entry)) => {
                let entry = described(entry, backend.as_deref(), passage);
                format!("left aside, as a SYN starts its connection anew: {entry}")
            }
            (EntryFound::Valid, Some(entry)) => valid(entry, backend.as_deref(), passage, known),
            (EntryFound::Void, Some(entry)) => {
                let why =
                    connection.fault.map_or_else(String::new, |fault| void(fault, entry, passage, known));
                format!("void: {}; {why}", described(entry, backend.as_deref(), passage))
            }
            (_, _) => "none".to_owned(),
        };
        Self {
            found,
            key: connection.key.map(|key| format!("{:016x}", key.0)),
            backend,
            idle_sec: entry.map(|entry| entry.idle(passage.look.now)),
            state: entry.map(|entry| word(entry.stage).replace(' ', "_")),
            persists: entry.map(|entry| entry.persists),
            words,
        }
    }
}

/// Describes an entry: `to b1, established, idle 3 s`.
fn described(entry: &Entry, backend: Option<&str>, passage: &Passage<'_>) -> String {
    let backend = backend.unwrap_or("a backend that is gone");
    format!("to {backend}, {}, idle {} s", word(entry.stage), entry.idle(passage.look.now))
}

fn word(stage: Stage) -> &'static str {
    match stage {
        Stage::HalfOpen => "half open",
        Stage::Unconfirmed => "unconfirmed",
        Stage::Established => "established",
        Stage::Closed => "closed",
    }
}

fn valid(entry: &Entry, backend: Option<&str>, passage: &Passage<'_>, known: Knowledge<'_>) -> String {
    let mut words = format!("valid: {}", described(entry, backend, passage));
    let timeout = known.snapshot.and_then(|snapshot| snapshot.backend(entry.backend));
    if let Some(backend) = timeout {
        words += &format!(" of {}", backend.idle_timeout_sec);
    }
    if let Some((_, backend)) = known.backend(entry.backend) {
        words += match (backend.removed_at, backend.healthy, entry.persists) {
            (Some(_), ..) => "; its backend was removed, and drains",
            (None, false, true) => "; its backend is unhealthy, and the connection stays on it",
            (None, false, false) => {
                "; its backend is unhealthy, and there was nobody healthy to divert to since the entry was made"
            }
            (None, true, _) if backend.operator_drained => {
                "; its backend is drained, and keeps its connections"
            }
            (None, true, _) => "",
        };
    }
    words
}

/// Reason for which an entry is void, in words.
fn void(fault: EntryFault, entry: &Entry, passage: &Passage<'_>, known: Knowledge<'_>) -> String {
    let timeout = known.snapshot.and_then(|snapshot| snapshot.backend(entry.backend));
    match fault {
        EntryFault::NoBackend => "its backend is no longer there".to_owned(),
        EntryFault::Drained => "the draining of its backend is over".to_owned(),
        EntryFault::Idle => {
            let timeout = timeout.map_or_else(String::new, |backend| format!(", of {}", backend.idle_timeout_sec));
            format!("it was not used for {} s{timeout}", entry.idle(passage.look.now))
        }
        EntryFault::Voided if entry.persists => {
            "voided since it was made: by a switch between pools, the end of a drain, or its backend's removal".to_owned()
        }
        EntryFault::Voided => "voided since it was made: its backend was unhealthy while somebody healthy was eligible, or by \
                               a switch between pools, the end of a drain, or its backend's removal"
            .to_owned(),
    }
}

/// Consequence of a packet for the conntrack table, in words; none where it has no connection.
pub(super) fn consequence(passage: &Passage<'_>, known: Knowledge<'_>) -> Option<String> {
    let connection = passage.look.connection.as_ref()?;
    let decision = passage.decision;
    let after = connection.entry_after.map(|entry| {
        let backend = known.backend_name(entry.backend);
        format!("to {}, {}", backend.as_deref().unwrap_or("a backend that is gone"), word(entry.stage))
    });
    let after = after.map_or_else(String::new, |after| format!(": {after}"));
    Some(match decision.tracking {
        Tracking::New if connection.entry.is_some() => format!("its entry was replaced{after}"),
        Tracking::New => format!("an entry was made{after}"),
        Tracking::Hit if passage.look.quoted.is_some() => {
            "its entry was left as it is: an ICMP error keeps none alive".to_owned()
        }
        Tracking::Hit if connection.valid_entry().is_none() => {
            format!("another worker made the entry{after}")
        }
        Tracking::Hit => format!("its entry was used{after}"),
        Tracking::Off if connection.key.is_none() => {
            "no entry was made: such packets are not tracked".to_owned()
        }
        Tracking::Off if passage.look.quoted.is_some() => {
            "no entry was made: an ICMP error makes none".to_owned()
        }
        Tracking::Off if decision.verdict == Verdict::Drop(DropReason::SourceRateLimited) => {
            "no entry was made: its source has begun as many connections at this worker in this second as it may".to_owned()
        }
        Tracking::Off if decision.verdict == Verdict::Drop(DropReason::NoEligibleBackend) => {
            "no entry was made: there is no backend for it".to_owned()
        }
        Tracking::Off => {
            "no entry was made: its slots in the table are full, or a limit was reached, and packets go by their hash".to_owned()
        }
    })
}
