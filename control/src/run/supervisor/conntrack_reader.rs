//! The conntrack table as operators read it.
//!
//! A table of millions of entries takes a while to read. A thread of its own does that, one at a time, so that neither
//! the workers nor the control thread notice. It has the snapshot in its hands for a few entries at a time and lets go of
//! it in between: snapshots that are replaced meanwhile can be freed.

use std::sync::{Arc, Weak};

use guideway_dataplane::backend::BackendHandle;
use guideway_dataplane::conntrack::{ConntrackTable, Entry, Stage, Standing, TrackingKey};
use guideway_dataplane::forwarding_rule::RuleMatch;
use guideway_dataplane::ingress::NetworkId;
use guideway_dataplane::snapshot::Snapshot;
use guideway_dataplane::time::Tick;
use guideway_dataplane::traffic_counters::TrafficCounters;
use guideway_engine::publish::Feed;
use guideway_model::flow_text::{FlowText, describe_tuple};
use guideway_model::forwarding_state::ForwardingState;
use guideway_model::names::Names;

use crate::api::request::{Refused, Reply};
use crate::api::view::{ConntrackEntry, ConntrackList, ConntrackLookup, Remaining};
use crate::run::worker::Shared;

/// Entries that are looked at with one snapshot in hand.
const CHUNK: usize = 1_024;

/// The conntrack table, the snapshots that its entries are judged by, and the one list that may be in the making.
#[derive(Debug)]
pub(super) struct ConntrackReader {
    shared: Shared,
    feed: Feed<Snapshot>,
    /// The pass of the list in the making.
    listing: Weak<()>,
}

/// The entries that a list is to hold, and how many at most.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) service: Option<String>,
    pub(super) backend: Option<String>,
    pub(super) limit: usize,
}

/// The backend whose entries are counted, and what its service makes of them.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) service: String,
    pub(super) handle: BackendHandle,
    /// True if an entry is a session, which new connections of its client go on with.
    pub(super) are_sessions: bool,
    pub(super) idle_timeout_sec: u32,
}

/// The names of a numbering, and the counters that tell its snapshots from those after a reload.
struct Numbering {
    names: Arc<Names>,
    traffic_counters: Arc<TrafficCounters>,
}

impl Wanted {
    /// A list of the entries that are valid and wanted; `None` where nobody waits for it any more.
    fn list(
        &self,
        entries: impl Iterator<Item = (TrackingKey, Entry)>,
        numbering: &Numbering,
        feed: &Feed<Snapshot>,
        now: Tick,
        is_awaited: impl Fn() -> bool,
    ) -> Option<Result<ConntrackList, Refused>> {
        let mut list = ConntrackList { matching: 0, entries: Vec::new() };
        let read = numbering.read(entries, feed, is_awaited, |key, entry, snapshot| {
            let Some(shown) = show(key, entry, &numbering.names, snapshot, now) else { return };
            let wanted = self.service.as_ref().is_none_or(|name| *name == shown.service)
                && self.backend.as_ref().is_none_or(|name| *name == shown.backend);
            list.matching += u64::from(wanted);
            if wanted && list.entries.len() < self.limit {
                list.entries.push(shown);
            }
        })?;
        Some(read.map(|()| list))
    }
}

impl Counted {
    /// The number of the backend's valid entries; `None` where nobody waits for it any more.
    fn count(
        &self,
        entries: impl Iterator<Item = (TrackingKey, Entry)>,
        numbering: &Numbering,
        feed: &Feed<Snapshot>,
        now: Tick,
        is_awaited: impl Fn() -> bool,
    ) -> Option<Result<Remaining, Refused>> {
        let mut count = 0;
        let read = numbering.read(entries, feed, is_awaited, |_, entry, snapshot| {
            let holds = entry.backend == self.handle && snapshot.standing(entry, now) != Standing::Void;
            count += u64::from(holds);
        })?;
        Some(read.map(|()| self.remaining(count)))
    }

    fn remaining(&self, count: u64) -> Remaining {
        let (connections, sessions) = if self.are_sessions { (0, count) } else { (count, 0) };
        let warning = (sessions > 0).then(|| {
            format!(
                "service `{}` tracks sessions (PER_SESSION): new connections of their clients still come to this \
                 backend, and each keeps its session for another {} s; a drain with a deadline ends them",
                self.service, self.idle_timeout_sec
            )
        });
        Remaining { connections, sessions, warning }
    }
}

impl Numbering {
    /// Shows the entries one by one, each with the snapshot that it is judged by; `None` where nobody waits for that
    /// any more.
    fn read(
        &self,
        mut entries: impl Iterator<Item = (TrackingKey, Entry)>,
        feed: &Feed<Snapshot>,
        is_awaited: impl Fn() -> bool,
        mut see: impl FnMut(TrackingKey, &Entry, &Snapshot),
    ) -> Option<Result<(), Refused>> {
        let mut chunk = Vec::with_capacity(CHUNK);
        loop {
            chunk.extend(entries.by_ref().take(CHUNK));
            if !is_awaited() {
                return None;
            }
            if chunk.is_empty() {
                return Some(Ok(()));
            }
            // A subscriber of this chunk alone: between two entries there may be much to read.
            let mut subscriber = feed.subscribe();
            let snapshot = subscriber.repin();
            if !Arc::ptr_eq(&snapshot.traffic_counters, &self.traffic_counters) {
                return Some(Err(Refused::ReloadedMeanwhile));
            }
            chunk.drain(..).for_each(|(key, entry)| see(key, &entry, snapshot));
        }
    }
}

impl ConntrackReader {
    pub(super) fn new(shared: Shared, feed: Feed<Snapshot>) -> Self {
        Self { shared, feed, listing: Weak::new() }
    }

    /// The pass of the only list, until it is dropped; none while another list has it.
    fn enter(&mut self) -> Option<Arc<()>> {
        if self.listing.strong_count() > 0 {
            return None;
        }
        let pass = Arc::new(());
        self.listing = Arc::downgrade(&pass);
        Some(pass)
    }

    /// Has the table read by a thread, which replies when that is done; `names` are those in force.
    pub(super) fn list(&mut self, wanted: Wanted, names: Arc<Names>, reply: Reply<ConntrackList>) {
        self.read(names, reply, move |table, numbering, feed, now, is_awaited| {
            wanted.list(table.entries(), numbering, feed, now, is_awaited)
        });
    }

    /// Has the entries of a backend counted by a thread, which replies when that is done; `names` are those in force.
    pub(super) fn count(&mut self, counted: Counted, names: Arc<Names>, reply: Reply<Remaining>) {
        self.read(names, reply, move |table, numbering, feed, now, is_awaited| {
            counted.count(table.entries(), numbering, feed, now, is_awaited)
        });
    }

    /// Has the table read by a thread, which replies with what `reading` comes to.
    fn read<T: Send + 'static>(
        &mut self,
        names: Arc<Names>,
        reply: Reply<T>,
        reading: impl FnOnce(
            &ConntrackTable,
            &Numbering,
            &Feed<Snapshot>,
            Tick,
            &dyn Fn() -> bool,
        ) -> Option<Result<T, Refused>>
        + Send
        + 'static,
    ) {
        let Some(pass) = self.enter() else {
            return drop(reply.send(Err(Refused::ListRunning)));
        };
        let (feed, table) = (self.feed.clone(), Arc::clone(&self.shared.table));
        let traffic_counters = Arc::clone(&feed.subscribe().repin().traffic_counters);
        let numbering = Numbering { names, traffic_counters };
        let now = self.shared.clock.now();
        let read = move || {
            let read = reading(&table, &numbering, &feed, now, &|| !reply.is_closed());
            // Dropped before the answer is sent, so that its receiver may ask again at once.
            drop(pass);
            if let Some(read) = read {
                drop(reply.send(read));
            }
        };
        // A thread that cannot be had drops the reply, and whoever asked is told that there is none.
        if let Err(error) = std::thread::Builder::new().name("conntrack-list".to_owned()).spawn(read) {
            tracing::error!("cannot read the conntrack table: {error}");
        }
    }

    /// The rule, the tuple and the entry that a packet of this flow in a network would find.
    pub(super) fn look_up(
        &self,
        text: &FlowText,
        network: NetworkId,
        state: &ForwardingState,
    ) -> ConntrackLookup {
        let names = state.names();
        let mut subscriber = self.feed.subscribe();
        let snapshot = subscriber.repin();
        let mut lookup = ConntrackLookup {
            flow: text.to_string(),
            network: state.network_name(network).map(str::to_owned),
            forwarding_rule: None,
            service: None,
            tracked: false,
            tuple: None,
            entry: None,
        };
        let rules = snapshot.networks.find(network).map(|known| &known.rules);
        let found = rules.map_or(RuleMatch::None, |rules| rules.lookup(&text.0));
        let (rule, id, routed) = match found {
            RuleMatch::Rule(rule, id) => (rule, id, false),
            RuleMatch::Route(rule, id) => (rule, id, true),
            RuleMatch::OutsideRegion | RuleMatch::None => return lookup,
        };
        lookup.forwarding_rule = Some(names.rule(rule).to_owned());
        lookup.service = Some(names.service(id).to_string());
        let service = snapshot.service(id);
        let treatment = service.policy.treatment(text.0.protocol);
        lookup.tracked = treatment.tracked;
        if !lookup.tracked {
            return lookup;
        }
        let tuple = treatment.tracking_tuple(&text.0);
        lookup.tuple = Some(describe_tuple(tuple).to_owned());
        let hashed = if routed { service.policy.routed(&text.0) } else { text.0 };
        let key = self.shared.hasher.key(service.key, tuple, &hashed);
        let found = self.shared.table.lookup(key).map(|found| found.entry());
        let now = self.shared.clock.now();
        lookup.entry = found.and_then(|entry| show(key, &entry, names, snapshot, now));
        lookup
    }
}

/// An entry as operators see it; none where it is void.
fn show(
    key: TrackingKey,
    entry: &Entry,
    names: &Names,
    snapshot: &Snapshot,
    now: Tick,
) -> Option<ConntrackEntry> {
    if snapshot.standing(entry, now) == Standing::Void {
        return None;
    }
    let (service, backend) = names.service_and_backend(entry.backend)?;
    Some(ConntrackEntry {
        key: format!("{:016x}", key.0),
        service: service.to_string(),
        backend: backend.to_string(),
        idle_sec: entry.idle(now),
        state: entry.stage.into(),
        half_open: entry.stage == Stage::HalfOpen,
        persists: entry.persists,
    })
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use guideway_dataplane::backend::Generation;
    use guideway_engine::publish::Publisher;
    use guideway_model::config::Config;

    use super::*;

    const ALL: Wanted = Wanted { service: None, backend: None, limit: 10 };

    fn snapshot(traffic_counters: &Arc<TrafficCounters>) -> Snapshot {
        Snapshot { traffic_counters: Arc::clone(traffic_counters), ..Snapshot::default() }
    }

    /// Entries of a backend that no snapshot knows, which are void; `at` is called before each.
    fn entries(count: u64, at: impl Fn(u64)) -> impl Iterator<Item = (TrackingKey, Entry)> {
        (0..count).map(move |number| {
            at(number);
            let generation = Generation(0);
            let (persists, stage, seen) = (false, Stage::Established, Tick(1));
            (TrackingKey(number), Entry { backend: BackendHandle(9), generation, persists, stage, seen })
        })
    }

    #[test]
    fn one_list_is_made_at_a_time() {
        let config = Config::parse("test", "[conntrack]\nmax_entries = 10_000\n").expect("it is right");
        let shared = Shared::new(&config, [1, 2, 3, 4], &[]).expect("240 kB");
        let mut reader = ConntrackReader::new(shared, Publisher::new(Snapshot::default()).feed());
        let pass = reader.enter().expect("nobody reads");
        assert!(reader.enter().is_none());
        drop(pass);
        assert!(reader.enter().is_some());
    }

    #[test]
    fn what_is_replaced_while_a_list_is_made_can_be_freed() {
        let traffic_counters = Arc::default();
        let publisher = RefCell::new(Publisher::new(snapshot(&traffic_counters)));
        let feed = publisher.borrow().feed();
        let numbering = Numbering { names: Arc::default(), traffic_counters: Arc::clone(&traffic_counters) };
        let unreclaimed = Cell::new(0);
        let entries = entries(10 * CHUNK as u64, |number| {
            if number % 100 == 0 {
                let mut publisher = publisher.borrow_mut();
                publisher.publish(snapshot(&traffic_counters));
                unreclaimed.set(unreclaimed.get().max(publisher.unreclaimed()));
            }
        });
        let listed = ALL.list(entries, &numbering, &feed, Tick(1), || true);
        assert!(matches!(listed, Some(Ok(ConntrackList { matching: 0, .. }))), "{listed:?}");
        assert_eq!(unreclaimed.get(), 0, "nobody holds a snapshot while the table is read");
    }

    #[test]
    fn a_list_that_nobody_waits_for_ends() {
        let (traffic_counters, read) = (Arc::default(), Cell::new(0));
        let publisher = Publisher::new(snapshot(&traffic_counters));
        let numbering = Numbering { names: Arc::default(), traffic_counters };
        let entries = entries(u64::MAX, |number| read.set(number));
        let is_awaited = || read.get() < 5_000;
        assert!(ALL.list(entries, &numbering, &publisher.feed(), Tick(1), is_awaited).is_none());
        assert!(read.get() < 5_000 + CHUNK as u64);
    }

    #[test]
    fn numbers_are_never_named_by_another_configuration() {
        let traffic_counters = Arc::default();
        let publisher = RefCell::new(Publisher::new(snapshot(&traffic_counters)));
        let feed = publisher.borrow().feed();
        let numbering = Numbering { names: Arc::default(), traffic_counters };
        let entries = entries(10 * CHUNK as u64, |number| {
            if number == 3 * CHUNK as u64 {
                publisher.borrow_mut().publish(snapshot(&Arc::default()));
            }
        });
        let listed = ALL.list(entries, &numbering, &feed, Tick(1), || true);
        assert!(matches!(listed, Some(Err(Refused::ReloadedMeanwhile))), "{listed:?}");
    }
}
