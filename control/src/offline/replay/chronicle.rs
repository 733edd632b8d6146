//! Chronicle of a replay: what its report shows beyond the summary. Time, events, connections, clients.
//!
//! It is kept by the thread that reads the capture, frame by frame in the capture's order, so that it doesn't depend on the
//! number of workers. Its memory is bounded, however long the capture: points in time are merged (`series`), connections
//! and choices of backends are sampled beyond a million (`sample`), clients are counted by space-saving (`clients`).

mod choices;
mod clients;
mod connections;
mod sample;
mod series;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use guideway_dataplane::affinity::AffinityPolicy;
use guideway_dataplane::flow::{Flow, Fragment};
use guideway_dataplane::forwarding_rule::ServiceId;
use guideway_dataplane::ingress::NetworkId;
use guideway_dataplane::packet::Packet;
use guideway_dataplane::pipeline::{Decision, Tracking};
use guideway_dataplane::snapshot::Snapshot;
use guideway_dataplane::verdict::{DropReason, Verdict};
use guideway_dataplane::wire::tcp;
use guideway_model::config::Config;
use guideway_model::config_diff::Change;
use guideway_model::forwarding_state::{ForwardingState, StateChange};
use guideway_model::names::Names;

use choices::Choices;
pub use choices::ServiceChoices;
use clients::TopClients;
pub use clients::{Client, MOST_CLIENTS};
pub use connections::Crossings;
use connections::{Connections, End};
pub use sample::MOST_SAMPLED;
use series::Samples;
pub use series::TimeSeries;

/// Service and backend, by name.
pub type BackendName = (Arc<str>, Arc<str>);

/// History of a replay, for its report.
#[derive(Debug)]
pub struct Chronicle {
    /// Time of the first frame, in nanoseconds since 1970; none before there was one.
    pub start_nanos: Option<u64>,
    /// Packets that were forwarded, passed and dropped, and conntrack entries that were made, over time.
    pub packets: TimeSeries<4>,
    /// Valid entries of the conntrack table over time.
    pub entries: Samples,
    /// Events in their order.
    pub events: Vec<Event>,
    /// Instants of events after the last frame, which were not reached.
    pub unreached: usize,
    /// Connections that went on at another backend for want of an entry, and for no event.
    pub moved_without_event: u64,
    /// First packet of each reason to drop: the frame's number, and its time.
    pub first_drops: BTreeMap<&'static str, (u64, Duration)>,
    /// Services whose clients each meet a subset of the backends, at any time.
    pub subset_services: Vec<Arc<str>>,
    choices: Choices,
    clients: TopClients,
    connections: Connections,
    /// By service.
    policies: Vec<AffinityPolicy>,
    /// Seconds that entries last without a packet, by service.
    idle_timeouts: Vec<u32>,
}

/// Changes of one instant, and what they did.
#[derive(Debug)]
pub struct Event {
    /// Time since the first frame.
    pub at: Duration,
    /// Changes in words.
    pub words: Vec<String>,
    /// Conntrack entries that were valid before the event.
    pub entries: usize,
    /// Conntrack entries that the event ended.
    pub ended: usize,
    /// Connections whose next packet came after the event, and where it went.
    pub crossings: Crossings,
}

/// Frame as the chronicle needs it, read before its delivery changed it.
#[derive(Debug)]
pub(super) struct Sighting {
    flow: Flow,
    network: Option<NetworkId>,
    opens: bool,
}

impl Sighting {
    /// Reads a frame that came by `network`; none of what belongs to no connection of its own.
    pub(super) fn of(frame: &[u8], network: Option<NetworkId>) -> Option<Self> {
        let packet = Packet::parse(frame).ok()?;
        // A later fragment goes where its first went, an ICMP error where the packet that it quotes did.
        let follows =
            packet.icmp_error || (packet.flow.is_followed() && packet.flow.fragment == Fragment::Later);
        (!follows).then_some(Self { flow: packet.flow, network, opens: packet.tcp_flags & tcp::SYN != 0 })
    }
}

impl Chronicle {
    /// Chronicle that has nothing to tell yet.
    pub fn new() -> Self {
        Self {
            start_nanos: None,
            packets: TimeSeries::new(),
            entries: Samples::default(),
            events: Vec::new(),
            unreached: 0,
            moved_without_event: 0,
            first_drops: BTreeMap::new(),
            subset_services: Vec::new(),
            choices: Choices::default(),
            clients: TopClients::default(),
            connections: Connections::default(),
            policies: Vec::new(),
            idle_timeouts: Vec::new(),
        }
    }

    /// Choices of a service's backends, as far as they were independent of each other.
    pub fn choices(&self, service: &str) -> Option<ServiceChoices> {
        self.choices.of(service)
    }

    /// Clients with the most packets, and how many packets at most any count of them is too high.
    pub fn top_clients(&self, most: usize) -> (Vec<Client>, u64) {
        self.clients.top(most)
    }

    /// Number of connections among which one was followed: 1 where all were.
    pub fn connections_per_sample(&self) -> u64 {
        self.connections.per_sample()
    }

    /// Takes in the snapshot that decides from now on.
    pub(super) fn published(&mut self, state: &ForwardingState, snapshot: &Snapshot) {
        for table in state.lookup_tables() {
            let service: Arc<str> = table.service().into();
            if table.subsets().is_some() && !self.subset_services.contains(&service) {
                self.subset_services.push(service);
            }
        }
        let services = &state.config().services;
        let policy = |index: usize| snapshot.service(ServiceId(index as u16)).policy;
        self.policies = (0..services.len()).map(policy).collect();
        self.idle_timeouts = services.iter().map(|service| service.idle_timeout_sec).collect();
    }

    /// Takes in the decision on the frame of this number.
    pub(super) fn decided(
        &mut self,
        frame: u64,
        at: Duration,
        decision: &Decision,
        sighting: Option<&Sighting>,
        names: &Names,
        wire_len: u32,
    ) {
        let mut counts = [0, 0, 0, u64::from(decision.tracking == Tracking::New)];
        match decision.verdict {
            Verdict::Forward => counts[0] = 1,
            Verdict::Pass(_) => counts[1] = 1,
            Verdict::Drop(reason) => {
                counts[2] = 1;
                self.first_drops.entry(reason.as_str()).or_insert((frame, at));
            }
        }
        self.packets.add(at, counts);
        let Some((_, service)) = decision.rule else { return };
        let name = names.service(service);
        let backend = decision.backend.and_then(|handle| names.backend(handle));
        let is_selection = decision.verdict == Verdict::Forward && decision.tracking != Tracking::Hit;
        let is_selection = is_selection && backend.is_some();
        let Some(Sighting { flow, network, opens }) = sighting else { return };
        self.clients.add(flow.src, u64::from(wire_len), is_selection);
        if is_selection && let Some(policy) = self.policies.get(usize::from(service.0)) {
            self.choices.add(name, policy, flow);
        }
        let end = match (decision.verdict, backend) {
            (Verdict::Forward, Some(backend)) => End::Backend(name, backend),
            (Verdict::Drop(DropReason::NoEligibleBackend | DropReason::NextHopUnresolved), _) => End::Dropped,
            // Other drops are the packet's own fault, and no event's.
            _ => return,
        };
        let idle_timeout_sec = self.idle_timeouts.get(usize::from(service.0)).copied().unwrap_or(u32::MAX);
        let (network, opens, second) = (*network, *opens, at.as_secs() as u32);
        let packet = connections::Packet { flow, network, opens, end, second, idle_timeout_sec };
        let Some(crossed) = self.connections.see(&packet, self.events.len()) else { return };
        match self.events.last_mut() {
            Some(event) if crossed.is_by_event => event.crossings.add(&crossed),
            _ => self.moved_without_event += crossed.of_moved(),
        }
    }

    /// Takes in an event that has happened.
    pub(super) fn event(&mut self, at: Duration, words: Vec<String>, entries: usize, left: usize) {
        let ended = entries.saturating_sub(left);
        self.entries.add(at, entries);
        self.entries.add(at, left);
        self.events.push(Event { at, words, entries, ended, crossings: Crossings::default() });
    }

    /// Takes in the end of the capture, and the number of instants whose events were not reached.
    pub(super) fn conclude(&mut self, unreached: usize) {
        self.unreached = unreached;
    }
}

impl Default for Chronicle {
    fn default() -> Self {
        Self::new()
    }
}

/// Describes a change of the events file under a configuration; a reload's is in `reload`.
pub(super) fn words(change: &StateChange, config: &Config) -> Option<String> {
    Some(match change {
        StateChange::Config(_) | StateChange::Egress => return None,
        StateChange::Health { service, backend, healthy } => {
            format!("{service}: {backend} becomes {}", if *healthy { "healthy" } else { "unhealthy" })
        }
        StateChange::ReportedWeight { service, backend, weight } => {
            let known = config.services.iter().find(|known| known.name == *service);
            let effect = match known {
                Some(known) if !known.weighted => ", of no effect in a service without weights",
                Some(known) if known.configured_weights => {
                    ", of no effect beside `weight_source = \"CONFIGURED\"`"
                }
                _ if *weight == 0 => " (no new connections)",
                _ => "",
            };
            format!("{service}: {backend} reports weight {weight}{effect}")
        }
        StateChange::OperatorWeight { service, backend, weight } => {
            format!("{service}: an operator gives {backend} weight {weight}")
        }
        StateChange::ConfiguredWeight { service, backend } => {
            format!("{service}: {backend} has its configured weight again")
        }
        StateChange::OperatorDrain { service, backend, entries_end_at } => match entries_end_at {
            Some(end) => format!("{service}: an operator drains {backend}, until {} s", end.as_secs_f64()),
            None => format!("{service}: an operator drains {backend}"),
        },
        StateChange::OperatorUndrain { service, backend } => {
            format!("{service}: an operator undrains {backend}")
        }
    })
}

/// Describes a reload by the changes that it made.
pub(super) fn reload(changes: &[Change]) -> String {
    /// Changes that are told one by one.
    const MOST: usize = 8;
    if changes.is_empty() {
        return "reload that changes nothing".to_owned();
    }
    let told: Vec<String> = changes.iter().take(MOST).map(ToString::to_string).collect();
    let more = changes.len().saturating_sub(MOST);
    let more = if more > 0 { format!(", and {more} more changes") } else { String::new() };
    format!("reload: {}{more}", told.join(", "))
}

#[cfg(test)]
mod tests {
    use guideway_model::sample::sample;

    use super::*;

    #[test]
    fn a_reported_weight_is_told_with_its_effect() {
        let told = |weighted: bool, configured_weights: bool| {
            let group = "[[backend_group]]\nname = \"group\"\nendpoints = []";
            let mut config = sample("", "backends = [{ group = \"group\" }]", group);
            config.services[0].weighted = weighted;
            config.services[0].configured_weights = configured_weights;
            let (service, backend) = (config.services[0].name.clone(), "b".to_owned());
            words(&StateChange::ReportedWeight { service, backend, weight: 0 }, &config).expect("words")
        };
        assert!(told(true, false).ends_with("b reports weight 0 (no new connections)"));
        assert!(told(true, true).contains("b reports weight 0, of no effect beside"));
        assert!(
            told(false, false).ends_with("b reports weight 0, of no effect in a service without weights")
        );
    }

    #[test]
    fn a_reload_tells_its_first_changes() {
        let change = |number: usize| Change {
            kind: guideway_model::config_diff::ChangeKind::Added,
            text: format!("backend {number}"),
        };
        assert_eq!(reload(&[]), "reload that changes nothing");
        assert_eq!(reload(&[change(1), change(2)]), "reload: + backend 1, + backend 2");
        let many: Vec<Change> = (0..20).map(change).collect();
        assert!(reload(&many).ends_with("+ backend 7, and 12 more changes"), "{}", reload(&many));
    }
}
