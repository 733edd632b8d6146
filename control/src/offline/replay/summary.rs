//! Summary of a replay: packets by verdict and reason, conntrack's work, and each backend's share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use guideway_dataplane::counters::{ConntrackCounters, Counters};
use guideway_dataplane::pipeline::{Decision, Tracking};
use guideway_dataplane::verdict::{DropReason, PassReason, Verdict};
use guideway_engine::capture::Record;
use guideway_model::forwarding_state::ForwardingState;
use guideway_model::names::Names;
use serde::Serialize;

use super::chronicle::Chronicle;
use super::expected_shares::ExpectedShares;
use super::tracer::Traces;

/// Counts and shares of a replay.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    /// Frames read.
    pub packets: u64,
    /// Bytes of the frames on the wire.
    pub bytes: u64,
    /// Seconds from the first frame to the last, on the capture's clock.
    pub seconds: f64,
    /// Frames that the capture holds a part of; zeros stand for the rest.
    pub cut_in_capture: u64,
    /// Packets that went to a backend.
    pub forwarded: u64,
    /// Packets that were not for a forwarding rule, by reason.
    pub passed: BTreeMap<&'static str, u64>,
    /// Packets dropped, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Counters of connection tracking.
    pub conntrack: Conntrack,
    /// ICMP errors steered by the packet that they quote.
    pub icmp_errors_steered: u64,
    /// Later fragments that went where the first of their datagram had gone.
    pub fragments_followed: u64,
    /// Later fragments for a VIP or a route whose first had not been forwarded within the time.
    pub fragments_first_unseen: u64,
    /// ICMP errors sent because a packet was too big.
    pub icmp_errors_sent: u64,
    /// ICMP errors not sent, by the limit or because none may answer that packet.
    pub icmp_errors_suppressed: u64,
    /// Packets forwarded though they exceed the path's MTU and will be fragmented on it.
    pub exceeding_mtu: u64,
    /// Packets forwarded whose tunnel packet left in fragments.
    pub fragmented: u64,
    /// Share of each backend that is eligible at the end or got packets.
    pub backends: Vec<BackendShare>,
    /// Traces of packets, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traces: Option<Traces>,
    /// Chronicle of the replay, where one was asked for.
    #[serde(skip)]
    pub chronicle: Option<Box<Chronicle>>,
    /// Time of the first frame, in nanoseconds since 1970; zero where there was none.
    #[serde(skip)]
    pub start_unix_nanos: u64,
    #[serde(skip)]
    counts: BTreeMap<(Arc<str>, Arc<str>), BackendCounts>,
    #[serde(skip)]
    expected: ExpectedShares,
}

/// Counters of connection tracking.
#[derive(Debug, Default, Serialize)]
pub struct Conntrack {
    /// Packets that a valid entry decided.
    pub hits: u64,
    /// Entries made or replaced.
    pub new: u64,
    /// Entries made that pushed out another connection's.
    pub evicted: u64,
    /// Entries made that pushed out a void one.
    pub evicted_void: u64,
    /// Entries made that pushed out a half-open one.
    pub evicted_half_open: u64,
    /// Entries made that pushed out one after its FIN or RST.
    pub evicted_closed: u64,
    /// Entries made that pushed out one, all of whose packets had come within a second.
    pub evicted_unconfirmed: u64,
    /// Packets forwarded by their hash alone, for want of room for an entry.
    pub full: u64,
    /// Packets forwarded by their hash alone, as a limit of new connections was reached.
    pub limited: u64,
    /// SYNs on established connections that went to the connection's backend, by `protect_established`.
    pub protected: u64,
    /// Packets that are not tracked.
    pub untracked: u64,
}

/// Share that a backend got, beside the share that its weight gives.
#[derive(Debug, Serialize)]
pub struct BackendShare {
    /// Service of the backend.
    pub backend_service: String,
    /// Name of the backend.
    pub backend: String,
    /// Share of the service's selections to expect, by the weights and the health at each of them; of a service without
    /// selections, the share of the hash space at the end.
    pub expected_share: f64,
    /// Packets whose hash chose the backend, because no entry did: one a connection, and each one that is not tracked.
    pub selections: u64,
    /// Share of the service's selections.
    pub selection_share: f64,
    /// Packets that went to the backend, tracked or not.
    pub packets: u64,
    /// Bytes of these packets, before delivery.
    pub bytes: u64,
}

#[derive(Debug, Default)]
struct BackendCounts {
    selections: u64,
    packets: u64,
    bytes: u64,
}

impl Summary {
    /// True if every packet is accounted for: offered = forwarded + passed + dropped.
    pub fn is_balanced(&self) -> bool {
        self.packets
            == self.forwarded + self.passed.values().sum::<u64>() + self.dropped.values().sum::<u64>()
    }

    /// Counts a frame that was read, so long after the first.
    pub(super) fn read(&mut self, record: &Record<'_>, at: Duration) {
        self.seconds = at.as_secs_f64();
        self.packets += 1;
        self.bytes += u64::from(record.wire_len);
        self.cut_in_capture += u64::from((record.bytes.len() as u64) < u64::from(record.wire_len));
    }

    /// Takes in the state that decides from now on.
    pub(super) fn published(&mut self, state: &ForwardingState) {
        self.expected.published(state);
    }

    /// Counts the decision for a frame.
    pub(super) fn decided(&mut self, decision: &Decision, names: &Names, wire_len: u32) {
        if decision.verdict != Verdict::Forward {
            return;
        }
        let Some((_, service)) = decision.rule else { return };
        let Some(backend) = decision.backend.and_then(|handle| names.backend(handle)) else { return };
        if decision.tracking != Tracking::Hit {
            self.expected.chosen(names.service(service));
        }
        let key = (Arc::clone(names.service(service)), Arc::clone(backend));
        let counts = self.counts.entry(key).or_default();
        counts.packets += 1;
        counts.bytes += u64::from(wire_len);
        counts.selections += u64::from(decision.tracking != Tracking::Hit);
    }

    /// Takes over the workers' counters, and works out the shares.
    pub(super) fn conclude(&mut self, state: &ForwardingState, workers: &[&Counters]) {
        let mut counters = Counters::default();
        workers.iter().for_each(|worker| counters.add(worker));
        self.forwarded = counters.forwarded;
        self.passed = by_reason(PassReason::ALL.iter().map(|reason| reason.as_str()), &counters.passed);
        self.dropped = by_reason(DropReason::ALL.iter().map(|reason| reason.as_str()), &counters.dropped);
        let ConntrackCounters {
            hits,
            inserts: new,
            evicted_void,
            evicted_half_open,
            evicted_closed,
            evicted_unconfirmed,
            full,
            limited,
            protected,
            untracked,
            ..
        } = counters.conntrack;
        let evicted = evicted_void + evicted_half_open + evicted_closed + evicted_unconfirmed;
        self.conntrack = Conntrack {
            hits,
            new,
            evicted,
            evicted_void,
            evicted_half_open,
            evicted_closed,
            evicted_unconfirmed,
            full,
            limited,
            protected,
            untracked,
        };
        self.icmp_errors_steered = counters.icmp_errors_steered;
        self.fragments_followed = counters.fragments_followed;
        self.fragments_first_unseen = counters.fragments_first_unseen;
        self.icmp_errors_sent = counters.icmp_errors_sent;
        self.icmp_errors_suppressed = counters.icmp_errors_suppressed;
        self.exceeding_mtu = counters.exceeding_mtu;
        self.fragmented = counters.fragmented;
        let expected = self.expected.conclude();
        for table in state.lookup_tables() {
            for share in table.shares() {
                self.counts.entry((table.service().into(), share.backend.into())).or_default();
            }
        }
        let mut selections: BTreeMap<Arc<str>, u64> = BTreeMap::new();
        for ((service, _), counts) in &self.counts {
            *selections.entry(Arc::clone(service)).or_default() += counts.selections;
        }
        let share = |((service, backend), counts): (&(Arc<str>, Arc<str>), &BackendCounts)| BackendShare {
            backend_service: service.to_string(),
            backend: backend.to_string(),
            expected_share: expected.get(&(service.clone(), backend.clone())).copied().unwrap_or(0.0),
            selections: counts.selections,
            selection_share: counts.selections as f64 / selections[service].max(1) as f64,
            packets: counts.packets,
            bytes: counts.bytes,
        };
        self.backends = self.counts.iter().map(share).collect();
    }
}

/// Picks the counts that are not zero, by reason.
fn by_reason(words: impl Iterator<Item = &'static str>, counts: &[u64]) -> BTreeMap<&'static str, u64> {
    words.zip(counts.iter().copied()).filter(|(_, count)| *count > 0).collect()
}
