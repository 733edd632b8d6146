//! Looks: the facts that a packet would meet on its way, stage by stage, found by the functions that decide packets.
//!
//! A look changes nothing: it counts nothing, keeps no entry alive and makes none. Taken right before a packet is decided, it
//! tells why the decision is the one that it is; traces put it into words.

use super::general::{Apart, Candidate, datagram_of, unforwardable};
use super::{Decision, Pipeline, Round, Tracking};
use crate::admission::Sender;
use crate::backend::BackendHandle;
use crate::conntrack::{ConntrackTable, Entry, TrackingKey};
use crate::counters::{ConntrackCounters, Counters};
use crate::egress::PortId;
use crate::flow::Flow;
use crate::forwarding_rule::{RuleId, RuleMatch, ServiceId};
use crate::ingress::NetworkId;
use crate::network::OfPort;
use crate::packet::Packet;
use crate::snapshot::{EntryFault, Snapshot};
use crate::time::Tick;
use crate::verdict::{DropReason, Verdict};

/// Number of no worker, whose traffic is counted nowhere.
const NOBODY: usize = usize::MAX;

/// Facts that a packet meets on its way, as far as it goes.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Generation of the snapshot that was looked at.
    pub generation: u64,
    /// Time of the look.
    pub now: Tick,
    /// Network of the frame; none where it is of no network.
    pub network: Option<NetworkId>,
    /// Packet as its own headers have it; none where the frame holds no well-formed one.
    pub packet: Option<Packet>,
    /// Flow of the packet that an ICMP error quotes, where the error goes by it.
    pub quoted: Option<Flow>,
    /// Rule that the packet belongs to.
    pub rule: Option<RuleFound>,
    /// Way of a later fragment of TCP or UDP; none for any other packet.
    pub later_fragment: Option<LaterFragment>,
    /// Verdict on a packet that is neither looked up in the conntrack table nor selected for.
    pub end: Option<Verdict>,
    /// Connection of the packet; none where it has ended before, or follows the first fragment of its datagram.
    pub connection: Option<Connection>,
}

/// Rule that a packet belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleFound {
    /// Rule.
    pub rule: RuleId,
    /// Service behind the rule.
    pub service: ServiceId,
    /// True if the packet came by a route.
    pub routed: bool,
}

/// Way of a later fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaterFragment {
    /// Goes to the backend that the first fragment of its datagram went to.
    Follows(BackendHandle),
    /// Decides for itself: no first fragment was forwarded by this worker in time.
    FirstUnseen,
}

/// Connection of a packet, and the choice that its hash makes.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// Flow that is hashed: of a packet that came by a route, with its ends in order.
    pub hashed: Flow,
    /// Name of the connection in the conntrack table; none where it is not tracked.
    pub key: Option<TrackingKey>,
    /// True for a SYN that starts the connection anew, whatever entry there is but one that is protected.
    pub restarts: bool,
    /// Entry of the connection, valid or void.
    pub entry: Option<Entry>,
    /// Reason for which that entry is void.
    pub fault: Option<EntryFault>,
    /// Backend that the selection hash chooses.
    pub selected: Option<BackendHandle>,
    /// True if the packet is dropped, as its source has begun as many connections in this second as one may.
    pub is_refused: bool,
    /// Entry of the connection after the decision, where a look was [taken again](Look::take_again).
    pub entry_after: Option<Entry>,
}

impl Look {
    /// Backend that the facts come to, and the way to it; none where the packet has ended before.
    ///
    /// A decision differs where another worker has made the connection's entry in between, or where no entry was admitted, for want of room
    /// or by a limit: the way is then [`Tracking::Hit`], or [`Tracking::Off`].
    pub fn outcome(&self) -> Option<(Option<BackendHandle>, Tracking)> {
        if let Some(LaterFragment::Follows(backend)) = self.later_fragment {
            return self.end.is_none().then_some((Some(backend), Tracking::Off));
        }
        let connection = self.connection.as_ref()?;
        if let Some(entry) = connection.valid_entry() {
            return Some((Some(entry.backend), Tracking::Hit));
        }
        if connection.is_refused {
            return Some((None, Tracking::Off));
        }
        let makes_entry = connection.key.is_some() && self.quoted.is_none() && connection.selected.is_some();
        Some((connection.selected, if makes_entry { Tracking::New } else { Tracking::Off }))
    }

    /// Looks the connection's entry up again, after the packet was decided.
    pub fn take_again(&mut self, table: &ConntrackTable) {
        if let Some(connection) = &mut self.connection {
            let found = connection.key.and_then(|key| table.lookup(key));
            connection.entry_after = found.map(|found| found.entry());
        }
    }
}

impl Connection {
    /// Entry that decides the packet.
    pub fn valid_entry(&self) -> Option<&Entry> {
        self.entry.as_ref().filter(|_| self.fault.is_none() && !self.restarts)
    }
}

impl Pipeline {
    /// Facts that a frame which came by a port would meet at `now`.
    #[cold]
    #[inline(never)]
    pub fn look(
        &self,
        port: PortId,
        frame: &[u8],
        now: Tick,
        snapshot: &Snapshot,
        table: &ConntrackTable,
    ) -> Look {
        let Self { hasher, admissions, .. } = self;
        let backends = snapshot.backends.plain();
        let round = Round { snapshot, table, hasher, backends, number: NOBODY, admissions, now };
        let mut look = Look {
            generation: snapshot.generation,
            now,
            network: None,
            packet: Packet::parse(frame).ok(),
            quoted: None,
            rule: None,
            later_fragment: None,
            end: None,
            connection: None,
        };
        let network = match snapshot.networks.of_port(port) {
            OfPort::One(network) => network,
            OfPort::ByTag(by_tag) => match by_tag.get(frame) {
                Ok(id) => snapshot.networks.get(id),
                Err(verdict) => return Look { end: Some(verdict), ..look },
            },
        };
        look.network = Some(network.id);
        let intake = round.intake(network);
        // Read by nobody: a look counts nothing.
        let mut counters = Counters::default();
        let (mut candidate, mut decision) = (Candidate::NONE, Decision::PENDING);
        let mut goes_on = intake.admit_any(&mut candidate, frame, &mut decision, &mut counters);
        if goes_on && candidate.apart == Apart::LaterFragment {
            let first = datagram_of(&candidate, frame, hasher)
                .and_then(|datagram| self.first_fragments.find(datagram, now))
                .and_then(|first| round.followed(&first, network.id));
            if let Some((rule, service, backend)) = first {
                let packet = &candidate.packet;
                let is_denied = intake.denies(rule, packet.flow.src);
                let denied = is_denied.then_some(DropReason::AccessDenied);
                let unforwardable = || unforwardable(frame, packet.flow.src, packet.ttl, intake.rules);
                let end = denied.or_else(unforwardable);
                look.rule = Some(RuleFound { rule, service, routed: false });
                look.later_fragment = Some(LaterFragment::Follows(backend));
                return Look { end: end.map(Verdict::Drop), ..look };
            }
            look.later_fragment = Some(LaterFragment::FirstUnseen);
            goes_on = intake.classify(&mut candidate, frame, &mut decision, &mut counters);
        }
        let own = look.packet.as_ref().map(|packet| packet.flow);
        // An error that ended early has the quoted flow, and is not marked yet.
        let is_quoted = candidate.quoted || own.is_some_and(|own| own != candidate.packet.flow);
        look.quoted = Some(candidate.packet.flow).filter(|_| own.is_some() && is_quoted);
        look.rule = decision.rule.map(|(rule, service)| {
            let found = intake.rules.lookup(&candidate.packet.flow);
            RuleFound { rule, service, routed: matches!(found, RuleMatch::Route(..)) }
        });
        if goes_on {
            look.connection = Some(round.connection_seen(&candidate));
        } else {
            look.end = Some(decision.verdict);
        }
        look
    }
}

impl Round<'_> {
    /// Connection of a candidate, as a look sees it.
    fn connection_seen(&self, candidate: &Candidate) -> Connection {
        let service = self.snapshot.service(candidate.service);
        let flow = &candidate.packet.flow;
        let hashed = if candidate.apart == Apart::Routed { service.policy.routed(flow) } else { *flow };
        let key = candidate.tracked.then_some(candidate.key);
        let entry = key.and_then(|key| self.table.lookup(key)).map(|found| found.entry());
        let opens = candidate.tracked && candidate.packet.opens() && self.is_one_connection(candidate);
        let is_protected = || self.protected(candidate.key, &mut ConntrackCounters::default()).is_some();
        let mut connection = Connection {
            hashed,
            key,
            restarts: opens && !is_protected(),
            entry,
            fault: entry.and_then(|entry| self.snapshot.entry_fault(&entry, self.now)),
            selected: self.snapshot.select(service, &hashed),
            is_refused: false,
            entry_after: None,
        };
        let begins = !candidate.quoted && connection.valid_entry().is_none();
        connection.is_refused = begins && self.would_refuse(&connection, &candidate.sender(service.network));
        connection
    }

    /// True if a connection that would begin now is one too many of its source.
    fn would_refuse(&self, connection: &Connection, sender: &Sender) -> bool {
        let has_backend = connection.selected.is_some_and(|handle| self.snapshot.backend(handle).is_some());
        let (Some(key), Some(limits), true) = (connection.key, &self.snapshot.admission.limits, has_backend)
        else {
            return false;
        };
        !sender.goes_on && self.is_exhausted(limits, self.counted_source(limits, key, sender))
    }
}
