//! The event log: the latest events, for operators who come after the fact.

use std::collections::VecDeque;
use std::time::SystemTime;

use crate::api::view::{Event, EventKind, EventList};

/// Events that are kept: this many changes of weights, which may come with every probe, and this many of all others.
const KEPT: usize = 1_000;

/// The latest events, in the order in which they happened.
///
/// Changes of weights have a ring of their own, so that they push out nothing that happens more rarely.
#[derive(Debug, Default)]
pub(super) struct EventLog {
    weights: VecDeque<Event>,
    others: VecDeque<Event>,
    /// Number of the latest event.
    last_id: u64,
}

/// An event before it is logged.
#[derive(Clone, Debug)]
pub(super) struct Note {
    pub(super) kind: EventKind,
    service: Option<String>,
    backend: Option<String>,
    network: Option<String>,
    pub(super) text: String,
}

impl Note {
    /// An event of the appliance.
    pub(super) fn new(kind: EventKind, text: impl Into<String>) -> Self {
        Self { kind, service: None, backend: None, network: None, text: text.into() }
    }

    /// An event of a service.
    pub(super) fn of_service(kind: EventKind, service: &str, text: impl Into<String>) -> Self {
        Self { service: Some(service.to_owned()), ..Self::new(kind, text) }
    }

    /// An event of a backend.
    pub(super) fn of_backend(kind: EventKind, service: &str, backend: &str, text: impl Into<String>) -> Self {
        Self { backend: Some(backend.to_owned()), ..Self::of_service(kind, service, text) }
    }

    /// The event with the network that it happened in, if there are several.
    pub(super) fn in_network(self, network: Option<&str>) -> Self {
        Self { network: network.map(str::to_owned).or(self.network), ..self }
    }

    /// Name of the service that the event is of.
    pub(super) fn service(&self) -> Option<&str> {
        self.service.as_deref()
    }

    /// Writes a line to the log, with the event's kind and names apart.
    fn log(&self) {
        let Self { kind, service, backend, network, text } = self;
        let (kind, service, backend) = (kind.as_str(), service.as_deref(), backend.as_deref());
        let network = network.as_deref();
        match self.level() {
            tracing::Level::ERROR => tracing::error!(kind, service, backend, network, "{text}"),
            tracing::Level::WARN => tracing::warn!(kind, service, backend, network, "{text}"),
            _ => tracing::info!(kind, service, backend, network, "{text}"),
        }
    }

    /// Level of the log line.
    fn level(&self) -> tracing::Level {
        match self.kind {
            EventKind::WorkerStalled
            | EventKind::ReloadRefused
            | EventKind::PortResetFailed
            | EventKind::GuardLost
            | EventKind::PortRemoved => tracing::Level::ERROR,
            EventKind::BackendUnhealthy
            | EventKind::AnnouncementFailed
            | EventKind::EndpointsFileFailed
            | EventKind::EndpointsDnsFailed
            | EventKind::OperatorSettingDropped
            | EventKind::OperatorStateFailed
            | EventKind::WeightsInvalid
            | EventKind::LoadUneven
            | EventKind::ProbesDiscarded
            | EventKind::ControlStalled
            | EventKind::AddressConflict
            | EventKind::NeighborChanged
            | EventKind::NeighborClaimRefused
            | EventKind::LinkDown => tracing::Level::WARN,
            _ => tracing::Level::INFO,
        }
    }
}

impl EventLog {
    /// Writes an event to the process's log, and keeps it for whoever asks later.
    pub(super) fn note(&mut self, note: Note) {
        note.log();
        self.record(note, SystemTime::now());
    }

    fn record(&mut self, note: Note, at: SystemTime) {
        let Note { kind, service, backend, network, text } = note;
        self.last_id += 1;
        let at_unix_sec = unix_millis(at) as f64 / 1e3;
        let event = Event { id: self.last_id, at_unix_sec, kind, service, backend, network, text };
        let ring = if kind == EventKind::WeightChanged { &mut self.weights } else { &mut self.others };
        if ring.len() == KEPT {
            ring.pop_front();
        }
        ring.push_back(event);
    }

    /// The latest `limit` events, or the first `limit` of those after `after`; the earliest first.
    ///
    /// An event that is yet to come is one of an earlier process: after that, everything is new.
    pub(super) fn list(&self, limit: usize, after: Option<u64>) -> EventList {
        let newer = after.filter(|after| *after <= self.last_id).unwrap_or(0);
        let mut events: Vec<&Event> =
            self.weights.iter().chain(&self.others).filter(|event| event.id > newer).collect();
        events.sort_unstable_by_key(|event| event.id);
        if after.is_none() {
            events.drain(..events.len().saturating_sub(limit));
        }
        events.truncate(limit);
        EventList { events: events.into_iter().cloned().collect() }
    }
}

fn unix_millis(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn record(event_log: &mut EventLog, kind: EventKind, count: usize) {
        for _ in 0..count {
            let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_790_000_000_125);
            event_log.record(Note::of_backend(kind, "web", "a", "so it is"), at);
        }
    }

    fn ids(list: &EventList) -> Vec<u64> {
        list.events.iter().map(|event| event.id).collect()
    }

    #[test]
    fn an_event_keeps_its_names_and_its_time() {
        let mut event_log = EventLog::default();
        record(&mut event_log, EventKind::BackendHealthy, 1);
        let event = event_log.list(10, None).events.remove(0);
        assert_eq!((event.id, event.at_unix_sec), (1, 1_790_000_000.125));
        assert_eq!((event.service.as_deref(), event.backend.as_deref()), (Some("web"), Some("a")));
    }

    #[test]
    fn the_latest_are_shown_unless_one_asks_for_those_after_another() {
        let mut event_log = EventLog::default();
        record(&mut event_log, EventKind::BackendHealthy, 3);
        record(&mut event_log, EventKind::WeightChanged, 1);
        record(&mut event_log, EventKind::BackendUnhealthy, 1);
        assert_eq!(ids(&event_log.list(3, None)), [3, 4, 5]);
        assert_eq!(ids(&event_log.list(2, Some(1))), [2, 3], "none is left out");
        assert_eq!(ids(&event_log.list(2, Some(3))), [4, 5]);
        assert!(event_log.list(2, Some(5)).events.is_empty());
        assert_eq!(ids(&event_log.list(2, Some(900))), [1, 2], "a number of an earlier process");
        assert!(event_log.list(0, None).events.is_empty());
    }

    #[test]
    fn a_flood_of_weights_pushes_out_weights_alone() {
        let mut event_log = EventLog::default();
        record(&mut event_log, EventKind::BackendUnhealthy, 1);
        record(&mut event_log, EventKind::WeightChanged, 5_000);
        let kept = event_log.list(usize::MAX, None);
        assert_eq!(kept.events.len(), KEPT + 1);
        assert_eq!(kept.events[0].kind, EventKind::BackendUnhealthy);
        assert_eq!(kept.events[1].id, 5_002 - KEPT as u64);
        record(&mut event_log, EventKind::BackendHealthy, KEPT);
        assert!(event_log.list(usize::MAX, None).events[0].id > 1);
    }
}
